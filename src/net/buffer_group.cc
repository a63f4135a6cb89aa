#include "net/buffer_group.h"

#include <linux/io_uring.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>

namespace net {

BufferGroup::BufferGroup(uint16_t id, uint32_t count, uint32_t bytes_each)
    : id_(id), count_(count), bytes_each_(bytes_each) {
    base::check(count > 0 && count <= 32768 && (count & (count - 1)) == 0);
}

BufferGroup::~BufferGroup() {
    if (memory_ != nullptr) (void)::munmap(memory_, memory_bytes_);  // cannot fail: it is ours
}

base::Status BufferGroup::attach(Ring& ring) {
    base::check(memory_ == nullptr);
    constexpr size_t page = 4096;
    const size_t entry_bytes = (count_ * sizeof(io_uring_buf) + page - 1) / page * page;
    const size_t bytes = entry_bytes + size_t{count_} * bytes_each_;
    void* memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return base::system_error(errno, "memory for buffers");
    memory_ = memory;
    memory_bytes_ = bytes;
    entries_ = static_cast<io_uring_buf*>(memory_);
    buffers_ = static_cast<uint8_t*>(memory_) + entry_bytes;

    if (const base::Status s = ring.register_buffers(id_, entries_, count_); !s) return s;
    for (; given_ < given_first(); ++given_) provide(static_cast<uint16_t>(given_));
    return {};
}

uint32_t BufferGroup::given_first() const {
    constexpr uint32_t hot_bytes = 512 * 1024;
    return std::min(count_, std::clamp(hot_bytes / bytes_each_, uint32_t{4}, uint32_t{16}));
}

bool BufferGroup::grow() {
    const uint32_t target = std::min(count_, 2 * given_);
    if (given_ == target) return false;
    for (; given_ < target; ++given_) provide(static_cast<uint16_t>(given_));
    return true;
}

void BufferGroup::detach(Ring& ring) {
    ring.unregister_buffers(id_);
}

void BufferGroup::provide(uint16_t buffer) {
    io_uring_buf& entry = entries_[tail_ & (count_ - 1)];
    entry.addr = reinterpret_cast<uintptr_t>(buffers_ + size_t{buffer} * bytes_each_);
    entry.len = bytes_each_;
    entry.bid = buffer;
    ++tail_;
    // The ring's tail lies in the reserved field of the first entry (struct io_uring_buf_ring).
    std::atomic_ref(entries_[0].resv).store(tail_, std::memory_order_release);
}

void BufferGroup::give_back(uint16_t buffer) {
    base::check(buffer < count_);
    provide(buffer);
    ++returned_;
}

}  // namespace net
