#include "net/buffer_pool.h"

namespace net {

Chunk::Chunk(Chunk&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Chunk& Chunk::operator=(Chunk&& other) noexcept {
    if (this != &other) {
        if (data_ != nullptr) pool_->give_back(data_);
        pool_ = std::exchange(other.pool_, nullptr);
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

Chunk::~Chunk() {
    if (data_ != nullptr) pool_->give_back(data_);
}

ChunkPool::ChunkPool(size_t chunks_max, size_t idle_max)
    : chunks_max_(chunks_max), reserve_(chunks_max / 8), idle_max_(idle_max) {
    idle_.reserve(idle_max);
}

ChunkPool::~ChunkPool() {
    base::check(in_use_ == 0);
    for (uint8_t* data : idle_) delete[] data;
}

Chunk ChunkPool::take(Purpose purpose) {
    const size_t limit = purpose == Purpose::Data ? chunks_max_ - reserve_ : chunks_max_;
    if (in_use_ >= limit) return {};
    uint8_t* data = nullptr;
    if (idle_.empty()) {
        data = new (std::nothrow) uint8_t[chunk_bytes];
        if (data == nullptr) return {};
    } else {
        // The last one given back is the one that the caches know best.
        data = idle_.back();
        idle_.pop_back();
    }
    ++in_use_;
    return {*this, data};
}

void ChunkPool::give_back(uint8_t* data) {
    --in_use_;
    if (idle_.size() < idle_max_) {
        idle_.push_back(data);
    } else {
        delete[] data;
    }
}

}  // namespace net
