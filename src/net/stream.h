// A connected byte stream on a worker: TCP or Unix, accepted or connected.
//
// Streams are owned by the EventLoop and addressed by reference between set-up and on_closed().
// Nothing above net frees one: it calls close() or finish(), and gets exactly one on_closed(),
// after which the reference is dead. No handler is called from inside a call into net; all come
// from the loop.
//
//   Connecting ─▶ Open ─▶ Draining ─▶ Closing ─▶ (on_closed, slot freed, generation + 1)
//        └──────────┴──────────────────▲
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "net/address.h"
#include "net/buffer_pool.h"

namespace net {

class EventLoop;

/// The owner's side of a stream. Default thread: the stream's worker.
class StreamHandler {
  public:
    virtual ~StreamHandler() = default;
    /// An outgoing connection stands. What was queued before is being sent.
    virtual void on_connected() noexcept {}
    /// Bytes arrived; valid, and writable as scratch, during the call only. All are consumed: what
    /// cannot be used yet is copied by the receiver, who pauses the stream.
    virtual void on_data(std::span<uint8_t> bytes) noexcept = 0;
    /// The peer sent FIN. Writing goes on working.
    virtual void on_end() noexcept = 0;
    /// A queued chunk was sent: can_send() is true.
    virtual void on_writable() noexcept = 0;
    /// The last call. `error` is {None} after close() or finish(), else what broke the stream.
    virtual void on_closed(base::Error error) noexcept = 0;
};

/// How bytes are received (design.md, section 4).
enum class ReceiveMode : uint8_t {
    /// Multishot: one arm for many receives; pausing costs a cancel. For the client side.
    Multishot,
    /// One receive at a time, armed anew when the handler returns and is not paused. For the
    /// backend
    /// side: natural back-pressure without a cancel.
    OneShot,
};

enum class BufferKind : uint8_t { Small, Large };

class Stream {
  public:
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    /// The handler may be exchanged at any time before on_closed().
    void set_handler(StreamHandler& handler);
    /// Takes effect at the next arm; an armed multishot is cancelled and armed anew.
    void set_buffers(BufferKind kind);

    /// No on_data()/on_end() from now on, also not for bytes already taken from the kernel: those
    /// wait, in order, until resume().
    void pause();
    void resume();
    bool paused() const;

    /// At most chunks_queued_max chunks wait, one of them in flight.
    static constexpr size_t chunks_queued_max = 4;
    bool can_send() const;
    /// Bytes queued and not yet taken by the kernel.
    size_t unsent() const;
    /// Queues a filled chunk; needs can_send() and size() > 0. Sent in order.
    void send(Chunk chunk);

    /// Sends what is queued, then FIN; the other direction stays open (half-close).
    void shutdown_write();
    /// Closes in order: sends what is queued, then FIN, reads and discards until the peer closes or
    /// 2 s have passed, so that the peer can read our last bytes even if it was still sending.
    /// on_data() is not called any more.
    void finish();
    /// Closes now; what is queued is lost. Synchronous shutdown, then on_closed() from the loop.
    void close();
    /// As close(), and the peer sees RST: for messages that broke off and must not look complete.
    void abort();

    /// The peer, asked from the kernel; an empty address if it is gone.
    Address peer() const;
    /// Our end.
    Address local() const;
    /// Milliseconds (loop time) of the last received or sent byte: for idle limits.
    EventLoop& loop() const;
};

}  // namespace net
