// What a stream owns only at times, apart from it so that an idle one stays small. Private to net.
#pragma once

#include <array>
#include <vector>

#include "net/address.h"
#include "net/buffer_pool.h"
#include "net/stream.h"
#include "net/timer_wheel.h"

namespace net {

struct Stream::Outgoing {
    std::array<Chunk, chunks_queued_max> chunks;
    uint32_t first = 0;
    uint32_t count = 0;
    size_t sent = 0;  // bytes of the first chunk that the kernel has taken

    Chunk& front() { return chunks[first]; }
    void push(Chunk chunk) {
        base::check(count < chunks_queued_max);
        chunks[(first + count++) % chunks_queued_max] = std::move(chunk);
    }
    void pop() {
        chunks[first] = Chunk();
        first = (first + 1) % chunks_queued_max;
        --count;
        sent = 0;
    }
};

struct Stream::Held {
    std::vector<uint8_t> bytes;
    size_t delivered = 0;
};

struct Stream::Waiting {
    /// Counts bytes that came while draining; all of them so far.
    size_t discard(size_t bytes) { return discarded += bytes; }

    Timer timer;
    size_t discarded = 0;
    Address address;  // read by the kernel while it connects
};

}  // namespace net
