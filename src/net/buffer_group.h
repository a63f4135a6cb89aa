// Receive buffers of one size, shared with the kernel. Its worker's thread.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "net/ring.h"

namespace net {

/// Buffers of one size that the kernel takes from when bytes have arrived ("provided buffers").
/// Must outlive its ring.
///
/// The kernel takes them in the order in which they were given, so that all that are in the ring
/// are used in turn: 256 large ones are 4 MiB that pass through the caches. So only a few are given
/// at first, and more when they have run out: as many as the load really needs at a time stay hot.
class BufferGroup {
  public:
    /// `count` is a power of two, at most 32768.
    BufferGroup(uint16_t id, uint32_t count, uint32_t bytes_each);
    ~BufferGroup();
    BufferGroup(const BufferGroup&) = delete;
    BufferGroup& operator=(const BufferGroup&) = delete;

    /// Allocates all and gives the first few to the ring. Once, before Ring::enable().
    base::Status attach(Ring& ring);
    void detach(Ring& ring);

    uint16_t id() const { return id_; }
    uint32_t count() const { return count_; }
    /// The first `size` bytes of a buffer that a completion named.
    std::span<uint8_t> bytes(uint16_t buffer, size_t size) {
        base::check(buffer < count_);
        base::check(size <= bytes_each_);
        return {buffers_ + size_t{buffer} * bytes_each_, size};
    }
    /// All buffers in the ring were taken: gives it twice as many. False if it has all.
    bool grow();
    /// The kernel may use it again.
    void give_back(uint16_t buffer);
    /// Buffers given back since the group was made: how starved streams see progress.
    uint64_t returned() const { return returned_; }

  private:
    void provide(uint16_t buffer);

    /// 16, or fewer of those that are larger than a level 1 cache.
    uint32_t given_first() const;

    uint16_t id_;
    uint16_t tail_ = 0;
    uint32_t count_;
    uint32_t bytes_each_;
    uint32_t given_ = 0;  // buffers that the ring has or had
    uint64_t returned_ = 0;
    void* memory_ = nullptr;
    size_t memory_bytes_ = 0;
    io_uring_buf* entries_ = nullptr;
    uint8_t* buffers_ = nullptr;
};

}  // namespace net
