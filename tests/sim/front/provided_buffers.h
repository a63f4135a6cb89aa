// One group of provided buffers, as the kernel sees it: a ring of entries that the front fills, of
// which the kernel takes from the head. While the kernel owns a buffer it is full of a pattern (and
// poisoned under AddressSanitizer): who reads it after giving it back sees rubbish, and who writes
// to it is found when the kernel takes it. Giving back what was not taken ends the process.
#pragma once

#include <linux/io_uring.h>

#include <cstdint>
#include <span>
#include <vector>

namespace sim::front {

class ProvidedBuffers {
  public:
    static constexpr uint8_t pattern = 0xdb;

    ProvidedBuffers(uint16_t id, io_uring_buf* entries, uint32_t count);
    ~ProvidedBuffers();
    ProvidedBuffers(ProvidedBuffers&&) noexcept;
    ProvidedBuffers& operator=(ProvidedBuffers&&) = delete;

    uint16_t id() const { return id_; }
    /// Takes notice of what was given since the last time.
    void observe();
    bool is_empty() const { return head_ == tail_; }
    /// Room of the next buffer.
    uint32_t next_size() const;
    /// Takes the next buffer, whose first `size` bytes are the front's when it has the completion.
    struct Taken {
        uint16_t buffer;
        std::span<uint8_t> bytes;
    };
    Taken take(size_t size);
    /// The front has the completion.
    void hand_over(uint16_t buffer);
    /// The completion was lost with its ring.
    void forget(uint16_t buffer) { hand_over(buffer); }
    /// Buffers that the front has, or that wait for it in completions.
    size_t held() const { return held_; }

  private:
    enum class Owner : uint8_t { Nobody, Kernel, Completion, Front };
    struct Buffer {
        uint8_t* data = nullptr;
        uint32_t size = 0;
        uint32_t dirty = 0;  // bytes that are no pattern
        Owner owner = Owner::Nobody;
    };

    io_uring_buf& entry(uint16_t position) const { return entries_[position & (count_ - 1)]; }
    void check_pattern(uint16_t id, const Buffer& buffer, uint32_t from, uint32_t to) const;

    uint16_t id_;
    uint16_t head_ = 0;
    uint16_t tail_ = 0;  // as last seen
    uint32_t count_;
    uint32_t taken_ = 0;
    size_t held_ = 0;
    io_uring_buf* entries_;
    std::vector<Buffer> buffers_;  // by id
};

}  // namespace sim::front
