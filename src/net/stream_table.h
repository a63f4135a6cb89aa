// The streams of one loop: a slab whose slots are used again under a new generation. Addresses are
// stable; memory grows by blocks of 256 streams and is kept for the next peak.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "net/ring.h"
#include "net/stream.h"

namespace net {

/// Owns all Stream objects of a loop, in use or not.
class StreamTable {
  public:
    explicit StreamTable(EventLoop& loop) : loop_(loop) {}
    ~StreamTable();
    StreamTable(const StreamTable&) = delete;
    StreamTable& operator=(const StreamTable&) = delete;

    /// A slot that is free: the one that was freed last.
    Stream& take();
    void give_back(Stream& stream);
    /// The stream that a tag names; null if that one is gone.
    Stream* find(uint32_t slot, uint32_t generation) {
        if (slot >= size_) return nullptr;
        Stream& stream = at(slot);
        return stream.generation_ == generation && stream.state_ != Stream::State::Free ? &stream
                                                                                        : nullptr;
    }
    size_t in_use() const { return size_ - free_.size(); }
    /// Calls `visit` for every stream that exists.
    template <typename Visit>
    void for_each(Visit visit) {
        for (uint32_t slot = 0; slot < size_; ++slot) {
            if (at(slot).state_ != Stream::State::Free) visit(at(slot));
        }
    }

  private:
    static constexpr uint32_t block_streams = 256;
    struct Block {
        alignas(Stream) unsigned char bytes[block_streams * sizeof(Stream)];
    };

    Stream& at(uint32_t slot) {
        return reinterpret_cast<Stream*>(
            blocks_[slot / block_streams]->bytes)[slot % block_streams];
    }

    EventLoop& loop_;
    std::vector<std::unique_ptr<Block>> blocks_;
    std::vector<uint32_t> free_;
    uint32_t size_ = 0;  // slots that were ever used
};

}  // namespace net
