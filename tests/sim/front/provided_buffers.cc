#include "provided_buffers.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "kernel.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace sim::front {

namespace {

#ifdef __SANITIZE_ADDRESS__
void poison(uint8_t* data, size_t size) {
    ASAN_POISON_MEMORY_REGION(data, size);
}
void unpoison(uint8_t* data, size_t size) {
    ASAN_UNPOISON_MEMORY_REGION(data, size);
}
#else
void poison(uint8_t* /*data*/, size_t /*size*/) {}
void unpoison(uint8_t* /*data*/, size_t /*size*/) {}
#endif

/// How far behind what is written the pattern is looked at each time; every nth time to its end.
constexpr uint32_t margin = 256;
constexpr uint32_t whole_every = 16;

}  // namespace

ProvidedBuffers::ProvidedBuffers(uint16_t id, io_uring_buf* entries, uint32_t count)
    : id_(id), count_(count), entries_(entries), buffers_(count) {}

ProvidedBuffers::ProvidedBuffers(ProvidedBuffers&& other) noexcept = default;

ProvidedBuffers::~ProvidedBuffers() {
    // Whoever has this memory next may use it.
    for (const Buffer& buffer : buffers_) unpoison(buffer.data, buffer.size);
}

void ProvidedBuffers::observe() {
    // The ring's tail lies in the reserved field of the first entry (struct io_uring_buf_ring).
    const uint16_t tail = std::atomic_ref(entries_[0].resv).load(std::memory_order_acquire);
    if (tail == tail_) return;
    if (static_cast<uint16_t>(tail - head_) > count_) {
        fail(fmt::format("more buffers were given than the ring of group {} has places", id_));
    }
    for (; tail_ != tail; ++tail_) {
        const io_uring_buf& given = entry(tail_);
        if (given.bid >= count_) fail(fmt::format("group {} has no buffer {}", id_, given.bid));
        Buffer& buffer = buffers_[given.bid];
        switch (buffer.owner) {
            case Owner::Kernel:
                fail(fmt::format("buffer {} of group {} was given back twice", given.bid, id_));
            case Owner::Completion:
                fail(
                    fmt::format("buffer {} of group {} was given back before its completion was "
                                "taken",
                                given.bid, id_));
            case Owner::Front:
                --held_;
                if (buffer.data != reinterpret_cast<uint8_t*>(given.addr) ||
                    buffer.size != given.len) {
                    fail(fmt::format("buffer {} of group {} came back as other memory", given.bid,
                                     id_));
                }
                break;
            case Owner::Nobody:
                buffer.data = reinterpret_cast<uint8_t*>(given.addr);
                buffer.size = buffer.dirty = given.len;
                break;
        }
        std::memset(buffer.data, pattern, buffer.dirty);
        buffer.dirty = 0;
        buffer.owner = Owner::Kernel;
        poison(buffer.data, buffer.size);
    }
}

uint32_t ProvidedBuffers::next_size() const {
    return buffers_[entry(head_).bid].size;
}

void ProvidedBuffers::check_pattern(uint16_t id, const Buffer& buffer, uint32_t from,
                                    uint32_t to) const {
    static const std::array<uint8_t, 4096> untouched = [] {
        std::array<uint8_t, 4096> bytes{};
        bytes.fill(pattern);
        return bytes;
    }();
    for (uint32_t at = from; at < to;) {
        const auto size = std::min<uint32_t>(to - at, untouched.size());
        if (std::memcmp(buffer.data + at, untouched.data(), size) != 0) {
            fail(
                fmt::format("buffer {} of group {} was written to (from {} on) while the kernel "
                            "owned it",
                            id, id_, at));
        }
        at += size;
    }
}

ProvidedBuffers::Taken ProvidedBuffers::take(size_t size) {
    const io_uring_buf& given = entry(head_);
    Buffer* buffer = given.bid < count_ ? &buffers_[given.bid] : nullptr;
    if (buffer == nullptr || buffer->owner != Owner::Kernel ||
        buffer->data != reinterpret_cast<uint8_t*>(given.addr) || buffer->size != given.len) {
        fail(fmt::format("an entry of group {} was changed after it was given", id_));
    }
    ++head_;
    const auto used = static_cast<uint32_t>(size);
    unpoison(buffer->data, buffer->size);
    const bool whole = ++taken_ % whole_every == 0;
    check_pattern(given.bid, *buffer, 0,
                  whole ? buffer->size : std::min(buffer->size, used + margin));
    // What lies behind is no business of the front's.
    if (used < buffer->size) {
        const uint32_t aligned = (used + 7) / 8 * 8;
        if (aligned < buffer->size) poison(buffer->data + aligned, buffer->size - aligned);
    }
    buffer->dirty = used;
    buffer->owner = Owner::Completion;
    ++held_;
    return {given.bid, {buffer->data, size}};
}

void ProvidedBuffers::hand_over(uint16_t buffer) {
    buffers_[buffer].owner = Owner::Front;
}

}  // namespace sim::front
