// Bytes in a ring that grows to a bound: what is on a path.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace sim::front {

class ByteQueue {
  public:
    size_t size() const { return size_; }

    void write(std::span<const uint8_t> bytes) {
        if (size_ + bytes.size() > data_.size()) grow(size_ + bytes.size());
        const size_t at = (head_ + size_) & (data_.size() - 1);
        const size_t first = std::min(bytes.size(), data_.size() - at);
        std::copy_n(bytes.data(), first, data_.data() + at);
        std::copy_n(bytes.data() + first, bytes.size() - first, data_.data());
        size_ += bytes.size();
    }
    /// Fills `out`, which must not be larger than size().
    void read(std::span<uint8_t> out) {
        if (out.empty()) return;
        const size_t first = std::min(out.size(), data_.size() - head_);
        std::copy_n(data_.data() + head_, first, out.data());
        std::copy_n(data_.data(), out.size() - first, out.data() + first);
        head_ = (head_ + out.size()) & (data_.size() - 1);
        size_ -= out.size();
    }
    /// Only the oldest `size` bytes stay.
    void truncate(size_t size) { size_ = std::min(size_, size); }

  private:
    void grow(size_t needed) {
        std::vector<uint8_t> larger(std::bit_ceil(std::max<size_t>(needed, 2048)));
        const size_t size = size_;
        read({larger.data(), size});
        data_ = std::move(larger);
        head_ = 0;
        size_ = size;
    }

    std::vector<uint8_t> data_;
    size_t head_ = 0;
    size_t size_ = 0;
};

}  // namespace sim::front
