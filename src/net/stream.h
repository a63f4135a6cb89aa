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
#include <memory>
#include <span>

#include "base/result.h"
#include "net/address.h"
#include "net/buffer_pool.h"

namespace net {

class BufferGroup;
class EventLoop;
struct Completion;
struct Tag;

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
    /// What went out as one message was sent: can_send() is true.
    virtual void on_writable() noexcept = 0;
    /// The last call. `error` is {None} after close() or finish(), else what broke the stream.
    virtual void on_closed(base::Error error) noexcept = 0;
};

/// How bytes are received (design.md, section 4).
enum class ReceiveMode : uint8_t {
    /// Multishot: one arm for many receives; pausing costs a cancel. For the client side. Unix
    /// sockets are received from one at a time all the same (see can_multishot()).
    Multishot,
    /// One receive at a time, armed anew when the handler returns and is not paused. For the
    /// backend side: natural back-pressure without a cancel.
    OneShot,
};

/// Small for heads, Large for about one TLS record, Bulk for the middle of large bodies: where
/// those run out, Large ones serve.
enum class BufferKind : uint8_t { Small, Large, Bulk };
constexpr size_t buffer_kinds = 3;

/// Whether a socket of this family can be received from with a multishot. Until a fix of March
/// 2026, kernels lose the FIN of a Unix socket that comes right behind data, and the receive waits
/// for ever (liburing issue 1549). TCP says that there is more to receive and is not concerned.
bool can_multishot(int family);

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

    /// At most chunks_queued_max chunks wait, those in flight included: what waits at the end of a
    /// turn goes out as one message.
    static constexpr size_t chunks_queued_max = 16;
    bool can_send() const;
    /// Chunks that wait, the one in flight included: what back-pressure is measured by.
    size_t queued() const;
    /// Bytes queued and not yet taken by the kernel.
    size_t unsent() const;
    /// Queues a filled chunk; needs can_send() and size() > 0. Sent in order. On a stream that
    /// broke and whose on_closed() is on its way, can_send() is false and a chunk is dropped.
    void send(Chunk chunk);

    /// Sends what is queued, then FIN; the other direction stays open (half-close).
    void shutdown_write();
    /// Closes in order: sends what is queued, for `flush_ms` at most, then FIN, reads and discards
    /// until the peer closes, or sends nothing for `quiet_ms`, or 30 s have passed, so that the
    /// peer can read our last bytes even if it was still sending. on_data() is not called any more.
    void finish(uint64_t flush_ms = 30'000, uint64_t quiet_ms = 5'000);
    /// Closes now; what is queued is lost. Synchronous shutdown, then on_closed() from the loop.
    void close();
    /// As close(), and the peer sees RST: for messages that broke off and must not look complete.
    void abort();

    /// The peer, asked from the kernel; an empty address if it is gone.
    Address peer() const;
    struct Delivery {
        uint64_t taken = 0;   ///< bytes that the peer's kernel has
        bool is_all = false;  ///< of what was given to send()
    };
    /// How much the peer has: what our kernel took says nothing of that. Over Unix sockets the two
    /// are the same. A system call.
    Delivery delivery() const;
    /// The connection has broken (TCP). While paused() nothing else tells; a system call.
    bool is_broken() const;
    /// Our end.
    Address local() const;
    EventLoop& loop() const { return loop_; }

  private:
    friend class Acceptor;
    friend class EventLoop;
    friend class StreamTable;
    friend struct LoopProbe;  // tests

    enum class State : uint8_t { Free, Connecting, Open, Draining, Closing };
    /// Chunks that wait; lent by the loop while there are any.
    struct Outgoing;
    /// Received bytes that wait for resume().
    struct Held;
    /// What only connecting and draining need.
    struct Waiting;

    static constexpr uint8_t op_receive = 1;
    static constexpr uint8_t op_send = 2;
    static constexpr uint8_t op_connect = 4;

    Stream(EventLoop& loop, uint32_t slot);
    ~Stream();
    void open(int fd, State state, StreamHandler* handler, ReceiveMode mode, BufferKind buffers);
    /// Closed and told: the next one to use this slot has another generation.
    void free();

    // From the loop.
    void on_accepted() noexcept;
    void on_connect_done(int result) noexcept;
    void on_receive(const Completion& completion, BufferGroup& group) noexcept;
    void on_sent(int result) noexcept;
    void on_timer() noexcept;
    /// What was put off until no handler is on the stack: cancelling, delivering, closing.
    void run_work() noexcept;
    /// Does again what failed for lack of memory.
    void retry() noexcept;

    void start_connect(const Address& address, uint64_t timeout_ms);
    void submit_connect();
    void arm_receive();
    Tag receive_tag() const;
    void receive_ended(int result);
    void hold(std::span<const uint8_t> bytes);
    void deliver_held();
    /// All that is queued, as one operation.
    void start_send();
    void drop_queue();
    void send_failed(int result);
    void queue_empty();
    /// The peer does not take what is queued, or does not stop sending.
    bool lingers_on();
    void stop_draining();
    void begin_close(base::Error error);
    Waiting& waiting();

    EventLoop& loop_;
    StreamHandler* handler_ = nullptr;
    Outgoing* outgoing_ = nullptr;
    std::unique_ptr<Held> held_;
    std::unique_ptr<Waiting> waiting_;
    Stream* next_work_ = nullptr;
    base::Error error_;   // for on_closed(), once Closing; before: what broke sending
    uint64_t given_ = 0;  // bytes, to send()
    int fd_ = -1;
    uint32_t slot_;
    uint32_t generation_ = 0;
    State state_ = State::Free;
    ReceiveMode mode_ = ReceiveMode::Multishot;
    BufferKind buffers_ = BufferKind::Small;
    BufferKind armed_buffers_ = BufferKind::Small;
    uint8_t ops_ = 0;  // in flight
    bool accepted_ : 1 = false;
    bool paused_ : 1 = false;
    bool armed_multishot_ : 1 = false;
    bool cancelling_ : 1 = false;  // the receive in flight
    bool backed_up_ : 1 = false;   // receives one at a time until the owner keeps up
    bool poll_first_ : 1 = false;  // nothing was left to receive
    bool ended_ : 1 = false;       // FIN came
    bool end_held_ : 1 = false;    // and the owner does not know
    bool doubtful_ : 1 = false;    // a send came back short: what broke it may look like FIN
    bool starved_ : 1 = false;     // in the loop's list of streams without a buffer
    bool retrying_ : 1 = false;    // in the loop's list of streams without memory
    bool broken_ : 1 = false;      // what can still be received comes first, then on_closed()
    bool shutdown_wanted_ : 1 = false;
    bool shutdown_done_ : 1 = false;
    bool aborting_ : 1 = false;
    bool queued_ : 1 = false;  // in the loop's list of work
};
// An idle connection is this and its socket, nothing else.
static_assert(sizeof(Stream) <= 112);

}  // namespace net
