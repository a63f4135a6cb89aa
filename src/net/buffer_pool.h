// Memory for received and sent bytes, all of it owned by one worker.
//
// Received bytes land in *provided buffers*: groups that the kernel picks from when bytes are
// there, so that an idle connection owns none (design.md, section 4). Sent bytes stand in *chunks*:
// a LIFO free list of 17 KiB pieces, about one TLS record each; the kernel reads a chunk while its
// send is in flight, so only net frees it then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"

namespace net {

/// One TLS record (2^14 bytes and its overhead) plus head room.
constexpr size_t chunk_bytes = 17 * 1024;
constexpr size_t small_buffer_bytes = 2 * 1024;
constexpr size_t large_buffer_bytes = 16 * 1024 + 512;
/// Bulk: what a backend has ready is taken at once and sealed while it is hot. The odd half KiB
/// keeps buffers from falling on the same cache lines.
constexpr size_t bulk_buffer_bytes = 128 * 1024 + 512;

class ChunkPool;

/// What a chunk is taken for.
enum class Purpose : uint8_t {
    /// Bodies: what can wait, and grows with what peers do not read.
    Data,
    /// Short and needed to go on or to end well: heads of requests to backends, handshakes, alerts,
    /// answers of our own.
    Control,
};

/// A leased piece of outgoing memory, filled from the front. Move-only; gives itself back.
class Chunk {
  public:
    Chunk() = default;
    Chunk(Chunk&& other) noexcept;
    Chunk& operator=(Chunk&& other) noexcept;
    ~Chunk();

    explicit operator bool() const { return data_ != nullptr; }
    uint8_t* data() { return data_; }
    const uint8_t* data() const { return data_; }
    /// Bytes filled so far.
    size_t size() const { return size_; }
    std::span<const uint8_t> bytes() const { return {data_, size_}; }
    /// The part not filled yet.
    std::span<uint8_t> room() { return {data_ + size_, chunk_bytes - size_}; }
    /// Says that `count` bytes of room() were written.
    void filled(size_t count) {
        base::check(count <= chunk_bytes - size_);
        size_ += count;
    }
    void clear() { size_ = 0; }

  private:
    friend class ChunkPool;
    Chunk(ChunkPool& pool, uint8_t* data) : pool_(&pool), data_(data) {}

    ChunkPool* pool_ = nullptr;
    uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

/// Chunks of one worker. Grows to `chunks_max` on demand, keeps at most `idle_max` unused ones,
/// never blocks. The last eighth is for Purpose::Control alone, so that clients who do not read
/// cannot keep others from being answered. Must outlive its chunks.
class ChunkPool {
  public:
    ChunkPool(size_t chunks_max, size_t idle_max);
    ~ChunkPool();

    /// An empty chunk; a null one if all that this purpose may have are in use (the caller waits,
    /// or fails its connection).
    Chunk take(Purpose purpose = Purpose::Data);
    size_t in_use() const { return in_use_; }
    /// So many are in use that nobody should take more than needed to go on.
    bool scarce() const { return in_use_ > chunks_max_ / 4; }

  private:
    friend class Chunk;
    void give_back(uint8_t* data);

    size_t chunks_max_;
    size_t reserve_;  // of those, for Control
    size_t idle_max_;
    size_t in_use_ = 0;
    std::vector<uint8_t*> idle_;
};

}  // namespace net
