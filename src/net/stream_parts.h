// What a stream owns only at times, apart from it so that an idle one stays small. Private to net.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <vector>

#include "net/address.h"
#include "net/buffer_pool.h"
#include "net/ring.h"
#include "net/stream.h"
#include "net/timer_wheel.h"

namespace net {

/// A receive's name tells its buffer group.
inline Op receive_op(BufferKind kind) {
    return static_cast<Op>(static_cast<uint8_t>(Op::ReceiveSmall) + static_cast<uint8_t>(kind));
}
inline BufferKind received_in(Op op) {
    return static_cast<BufferKind>(static_cast<uint8_t>(op) -
                                   static_cast<uint8_t>(Op::ReceiveSmall));
}
static_assert(static_cast<uint8_t>(Op::ReceiveBulk) - static_cast<uint8_t>(Op::ReceiveSmall) ==
              static_cast<uint8_t>(BufferKind::Bulk));

struct Stream::Outgoing {
    std::array<Chunk, chunks_queued_max> chunks;
    uint32_t first = 0;
    uint32_t count = 0;
    uint32_t in_flight = 0;  // chunks that the kernel reads
    size_t sent = 0;         // bytes of the first chunk that the kernel has taken
    size_t unsent = 0;       // bytes of all chunks that it has not
    // What the kernel was told to send; it may read these until the completion.
    msghdr message{};
    std::array<iovec, chunks_queued_max> pieces;

    Chunk& front() { return chunks[first]; }
    void push(Chunk chunk) {
        base::check(count < chunks_queued_max);
        unsent += chunk.size();
        chunks[(first + count++) % chunks_queued_max] = std::move(chunk);
    }
    /// Gives up the first chunk, which the kernel has taken.
    void pop() {
        chunks[first] = Chunk();
        first = (first + 1) % chunks_queued_max;
        --count;
        sent = 0;
    }
    /// Gives up the last chunk, which the kernel does not read.
    void drop_last() {
        Chunk& last = chunks[(first + --count) % chunks_queued_max];
        unsent -= last.size();
        if (count == 0) unsent += std::exchange(sent, 0);  // part of it was taken
        last = Chunk();
    }
    /// All that waits, as one message.
    const msghdr& gather() {
        for (uint32_t i = 0; i < count; ++i) {
            Chunk& chunk = chunks[(first + i) % chunks_queued_max];
            pieces[i] = {chunk.data(), chunk.size()};
        }
        pieces[0].iov_base = front().data() + sent;
        pieces[0].iov_len -= sent;
        message.msg_iov = pieces.data();
        message.msg_iovlen = count;
        return message;
    }
    /// The kernel took so many bytes. How many chunks of those in flight it still has to send.
    uint32_t take(size_t bytes) {
        sent += bytes;
        unsent -= bytes;
        while (in_flight > 0 && sent >= front().size()) {
            const size_t rest = sent - front().size();
            pop();
            sent = rest;
            --in_flight;
        }
        return in_flight;
    }
};

struct Stream::Held {
    std::vector<uint8_t> bytes;
    size_t delivered = 0;
};

struct Stream::Waiting {
    Timer timer;
    uint64_t heard_ms = 0;  // loop time of the last bytes that came while draining
    uint64_t quiet_ms = 0;  // draining ends when nothing has come for so long
    uint64_t linger_until_ms = 0;
    Address address;  // read by the kernel while it connects
};

}  // namespace net
