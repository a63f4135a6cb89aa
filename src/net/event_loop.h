// The io_uring engine of one worker: one ring, its buffers, timers, mailbox, listeners and streams
// (design.md, section 4). Created, run and destroyed on the worker's thread.
//
// A turn of the loop: drain completions (bounded) → timers → mailbox → deferred work → one
// submit-and-wait with the next deadline as its timeout.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/address.h"
#include "net/buffer_group.h"
#include "net/buffer_pool.h"
#include "net/mailbox.h"
#include "net/ring.h"
#include "net/stream.h"
#include "net/timer_wheel.h"

namespace net {

class Acceptor;
class StreamTable;

/// Sizes of one engine. The defaults are the production ones; tests go down to 4 entries and 4
/// buffers.
struct LoopOptions {
    uint32_t sq_entries = 1024;
    uint32_t cq_entries = 16384;
    uint32_t small_buffers = 1024;       // × 2 KiB
    uint32_t large_buffers = 256;        // × 16.5 KiB; each a power of two
    uint32_t bulk_buffers = 32;          // × 128.5 KiB
    uint32_t connections_max = 65536;    // accepted streams; accept stops there and resumes at 90 %
    uint32_t accept_burst_max = 4096;    // the listeners' backlogs together
    uint32_t outgoing_max = UINT32_MAX;  // streams that are not accepted; connect() fails beyond
    size_t chunks_max = 8192;            // × 17 KiB
    size_t chunks_idle_max = 256;
};

/// A place in a circular list, and such a list's head. In none it is its own neighbour; destroyed
/// it leaves the list.
class DeferredLink {
  public:
    DeferredLink() = default;
    ~DeferredLink() { unlink(); }
    DeferredLink(const DeferredLink&) = delete;
    DeferredLink& operator=(const DeferredLink&) = delete;

    bool is_linked() const { return next_ != this; }
    DeferredLink& next() const { return *next_; }
    /// Becomes the last of that head's list; needs !is_linked().
    void append_to(DeferredLink& head) {
        base::check(!is_linked());
        next_ = &head;
        before_ = std::exchange(head.before_, this);
        before_->next_ = this;
    }
    void unlink() {
        before_->next_ = next_;
        next_->before_ = before_;
        before_ = next_ = this;
    }

  private:
    DeferredLink* next_ = this;
    DeferredLink* before_ = this;
};

/// Work to be done at the end of the current turn, when no handler is on the stack: mostly
/// destruction. Embedded in its owner, which run_deferred() may delete; destroyed before its turn
/// comes, it is not run.
class Deferred : DeferredLink {
  public:
    virtual void run_deferred() noexcept = 0;

  protected:
    ~Deferred() = default;

  private:
    friend class EventLoop;
};

/// Gives an accepted stream its handler.
class AcceptHandler {
  public:
    virtual ~AcceptHandler() = default;
    /// Must call stream.set_handler() or stream.close().
    virtual void on_accept(Stream& stream) noexcept = 0;
};

/// What happened in a loop since it was made; read by the same thread only.
struct LoopCounters {
    uint64_t accepted = 0;
    uint64_t accept_errors = 0;
    uint64_t connected = 0;
    uint64_t bytes_received = 0;
    uint64_t bytes_sent = 0;
    uint64_t stale_completions = 0;
    uint64_t buffer_starvations = 0;
    uint64_t cq_overflows = 0;
    uint64_t turns = 0;
    uint32_t connections = 0;  // accepted and not closed
    uint32_t outgoing = 0;     // connected or adopted, and not closed
};

class EventLoop {
  public:
    /// The calling thread's loop. A failure's text is made by explain_ring_error().
    static base::Result<std::unique_ptr<EventLoop>> create(const LoopOptions& options);
    /// Closes everything; streams that still exist end without on_closed(), as their owners may be
    /// gone. Chunks taken from chunks() must be back.
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    /// Runs until stop(). May be called again.
    void run();
    /// One turn, waiting at most `wait_ms`: for tests and for loops inside other loops.
    void turn(uint64_t wait_ms);
    /// Ends run() after the current turn, or the next run() at once. This thread; others post to
    /// the mailbox.
    void stop();
    bool is_stopping() const { return stopping_; }

    /// Takes over a bound, listening socket (see net/listener.h). The handler must outlive it.
    base::Status add_listener(int fd, AcceptHandler& handler);
    /// Closes all listeners; streams go on.
    void close_listeners();

    /// A stream in state Connecting; on_connected() or on_closed() follows. Chunks may be queued at
    /// once. Fails only for lack of descriptors or memory, and with EMFILE beyond outgoing_max.
    base::Result<Stream*> connect(const Address& address, uint64_t timeout_ms,
                                  StreamHandler& handler, ReceiveMode mode, BufferKind buffers);
    /// Takes over a connected socket: for socket pairs in tests and descriptors from elsewhere.
    Stream& adopt(int fd, StreamHandler& handler, ReceiveMode mode, BufferKind buffers);

    /// Runs `work` at the end of this turn. Queuing it twice is one run.
    void defer(Deferred& work);

    Mailbox& mailbox() { return mailbox_; }  // thread-safe
    TimerWheel& timers() { return timers_; }
    ChunkPool& chunks() { return chunks_; }
    /// Monotonic milliseconds, read once per turn.
    uint64_t now_ms() const { return now_ms_; }
    const LoopCounters& counters() const { return counters_; }
    /// Streams that exist, closing ones included.
    size_t streams() const;
    /// Chunks in the queues of streams. Looks at each stream.
    size_t queued_chunks() const;

  private:
    friend class Acceptor;
    friend class Stream;
    friend struct LoopProbe;  // tests

    /// A stream that waits for something, by name: it may be closed before its turn comes.
    struct Waiter {
        uint32_t slot;
        uint32_t generation;
    };

    explicit EventLoop(const LoopOptions& options);
    base::Status start();

    void drain_completions();
    void dispatch(const Completion& completion);
    void dispatch_stale(const Tag& tag, const Completion& completion);
    void run_work();
    void run_streams();
    void run_deferred();
    void feed_starved();
    void retry_waiting();
    bool has_work() const { return work_ != nullptr || deferred_.is_linked(); }

    // For streams.
    BufferGroup& group(BufferKind kind) { return groups_[static_cast<size_t>(kind)]; }
    void enqueue(Stream& stream);
    void add_starved(Stream& stream);
    void add_retry(Stream& stream);
    Stream::Outgoing* lend_queue();
    void return_queue(Stream::Outgoing* queue);
    /// The end of a stream: closes its descriptor, tells its handler, frees its slot.
    void release(Stream& stream);

    LoopOptions options_;
    LoopCounters counters_;
    uint64_t now_ms_;
    bool stopping_ = false;
    bool in_turn_ = false;
    bool mail_waits_ = false;
    bool mail_armed_ = false;

    // Groups outlive the ring, chunks and timers outlive the streams that use them.
    ChunkPool chunks_;
    TimerWheel timers_;
    Mailbox mailbox_;
    std::array<BufferGroup, buffer_kinds> groups_;  // by BufferKind
    std::unique_ptr<Ring> ring_;
    std::unique_ptr<StreamTable> table_;
    std::unique_ptr<Acceptor> acceptor_;

    Stream* work_ = nullptr;
    Stream** work_end_ = &work_;
    DeferredLink deferred_;  // head
    std::vector<std::unique_ptr<Stream::Outgoing>> idle_queues_;
    std::deque<Waiter> starved_[buffer_kinds];  // by BufferKind, first come first served
    uint64_t returned_before_[buffer_kinds] = {};
    std::vector<Waiter> retry_;
    Timer retry_timer_;
};

/// Why io_uring is not to be had and what to change, in one sentence (faults.md 4.3): sysctl,
/// seccomp, kernel version or memory limit. `errno_value` is what io_uring_setup gave.
std::string explain_ring_error(int errno_value);

}  // namespace net
