// The simulated kernel: what a program of the front's simulation links in place of net_kernel. It
// implements net/ring.h and net/kernel.h on simulated sockets, so that real EventLoop, Stream,
// Acceptor, Mailbox, BufferGroup, tls and proxy run on it, on one thread and from a seed.
//
//   dice.h              choices
//   tcp.h               connections: windows, cuts, FIN, RST, half-close, as Linux has them
//   schedule.h          what could move next
//   machine.h           descriptors, listeners, handshakes: all that is not a ring
//   provided_buffers.h  buffers that the kernel owns for a while, and whether it alone does
//   sim_ring.h          a ring: its queues and the operations in flight
//   sim_operations.cc   … and what each operation does when its turn comes
//   ring.cc, sockets.cc net/ring.h and net/kernel.h
//
// Nothing moves by itself. Between two turns of a worker the world calls step(), which moves one
// thing, in an order that comes from the dice: bytes along a path, a FIN, a handshake, the
// completion of an operation. To a worker it looks as if its system call had lasted so long. Time
// passes in advance() only.
//
// A worker that does what would hurt somebody on Linux ends the process, with a message: using a
// descriptor that it closed, changing bytes that are being sent, writing to a buffer that the
// kernel owns, giving one back twice.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "dice.h"
#include "net/address.h"

namespace sim::front {

class Connection;
class End;
class Machine;

/// The far end of a connection with the front: what a simulated client or server holds. Letting go
/// of it is close().
class Peer {
  public:
    Peer(std::shared_ptr<Connection> connection, End& end);
    ~Peer();
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    /// How many were taken: the path's window is bounded.
    size_t send(std::span<const uint8_t> bytes);
    /// Bytes that have arrived; 0: none now.
    size_t receive(std::span<uint8_t> out);
    bool has_data() const;
    /// The front's FIN arrived and all before it was read.
    bool at_end() const;
    /// RST arrived (what was not read is lost), or ours was sent, or nobody answers any more.
    bool is_reset() const;
    /// A client's: the kernel has accepted it, maybe only into the backlog.
    bool is_connected() const;
    /// Nobody listens there.
    bool is_refused() const;
    /// There is room in the window, no RST came, our FIN was not sent.
    bool can_send() const;
    /// How many bytes send() would take now.
    size_t room() const { return can_send() ? send_room() : 0; }
    /// All that was sent has reached the front's kernel.
    bool is_flushed() const;
    /// FIN after what was sent.
    void shut_write();
    /// FIN, and RST in answer to what comes later or was unread. Nothing can be received after it.
    void close();
    /// RST now.
    void reset();
    /// The address of the front's end.
    net::Address front_end() const;
    net::Address own() const;

  private:
    size_t send_room() const;

    std::shared_ptr<Connection> connection_;
    End& end_;
};
using PeerPtr = std::shared_ptr<Peer>;

/// How often things go wrong, per mille of the times when they could; and some sizes. All zero: a
/// kind machine, whose order still comes from the dice.
struct KernelFaults {
    // Order and time.
    uint32_t cuts = 0;         // bytes arrive in pieces
    uint32_t short_sends = 0;  // the kernel takes less than there is room for, for now
    uint32_t late = 0;         // what could move waits for up to late_steps_max others
    uint32_t late_steps_max = 500;
    uint32_t inline_runs = 300;   // an operation is done while it is submitted; no fault at all
    uint32_t spurious_wakes = 0;  // a wait ends without reason
    uint32_t short_submits = 0;   // only some entries are taken now
    // Operations.
    uint32_t multishot_ends = 0;     // F_MORE is missing
    uint32_t cq_overflows = 0;       // there is no room in the completion queue
    uint32_t cancels_late = 0;       // EALREADY, or the target is done first
    uint32_t stray_cancels = 0;      // ECANCELED or EINTR that nobody asked for
    uint32_t interrupted_sends = 0;  // a send that was under way ends short
    uint32_t zero_with_buffer = 0;   // FIN comes with a buffer of no bytes
    uint32_t receive_enobufs = 0;    // although there is a buffer
    uint32_t receive_enomem = 0;     // or EAGAIN
    uint32_t send_enomem = 0;        // or EAGAIN, ENOBUFS
    uint32_t accept_errors = 0;      // EMFILE, ENFILE, ENOBUFS, ENOMEM
    uint32_t accept_aborts = 0;      // ECONNABORTED
    uint32_t open_errors = 0;        // open_socket(): EMFILE, ENFILE, ENOBUFS, ENOMEM
    uint32_t connect_errors = 0;     // EADDRNOTAVAIL, ENETUNREACH, EHOSTUNREACH, ENOBUFS …
    // Connections.
    uint32_t resets = 0;    // a middle box sends RST to both, each time that something moves
    uint32_t timeouts = 0;  // the path breaks: ETIMEDOUT
    // Sizes.
    size_t window_min = 16 * 1024;  // of each path; between these, small ones as likely as large
    size_t window_max = 256 * 1024;
    size_t backlog_max = 128;
    size_t descriptors_max = 100'000;

    /// Everything goes wrong at times: the shortages a little, order and cuts a lot.
    static KernelFaults stormy();
    /// Any of these, by dice: each world has weather of its own.
    static KernelFaults some(Dice& dice);
};

/// What happened: tests ask whether a fault came about at all.
struct KernelCounts {
    uint64_t steps = 0;
    uint64_t submitted = 0;
    uint64_t completions = 0;
    uint64_t overflown = 0;
    uint64_t multishots_ended = 0;
    uint64_t cancels_late = 0;
    uint64_t no_buffers = 0;
    uint64_t short_sends = 0;
    uint64_t resets = 0;
    uint64_t bytes = 0;  // that arrived somewhere
};

class Kernel {
  public:
    /// Becomes current() of this thread until destroyed. All rings must be gone before it is.
    Kernel(Dice dice, const KernelFaults& faults);
    ~Kernel();
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;
    static Kernel& current();

    /// A descriptor for Worker::add_listener. Several may listen at one address, as with
    /// SO_REUSEPORT; an any-address listens at all of its port.
    int listen(const net::Address& address);
    /// A client dials the front.
    PeerPtr connect(const net::Address& from, const net::Address& to);
    /// A connected pair: a descriptor for EventLoop::adopt() and its far end.
    std::pair<int, PeerPtr> pair(const net::Address& front, const net::Address& peer);
    /// A server of ours, for the front's connects. Called from step(), when a handshake is done.
    void serve(const net::Address& address, std::function<void(PeerPtr)> on_accept);
    enum class Reach { Accepts, Refuses, BlackHole, Unreachable };
    /// What becomes of connects to it from now on. Accepts at first, where somebody listens.
    void set_reach(const net::Address& address, Reach reach);

    /// Moves something; false if nothing could move. Under fair(): everything that could.
    bool step();
    /// Nothing is under way in the kernel: no bytes on a path, no operation that could complete.
    /// Completions that the front has not taken and entries that it has not submitted are the
    /// front's, see front_is_runnable().
    bool is_quiet() const;
    /// Simulated CLOCK_MONOTONIC.
    uint64_t now_ms() const;
    void advance(uint64_t ms);
    /// Until when the front sleeps: what it asked submit_and_wait() for.
    uint64_t wake_at_ms() const;
    /// There are completions to take, or its wake time has come.
    bool front_is_runnable() const;

    // What the front holds.
    size_t open_descriptors() const;
    size_t operations_in_flight() const;
    /// Of those: a listener has up to sixteen.
    size_t accepts_in_flight() const;
    size_t buffers_held() const;
    /// Descriptors in completions that nobody took before their ring ended.
    size_t descriptors_lost() const;

    /// The other faults from here on; windows and limits of what is open stay.
    void set_faults(const KernelFaults& faults);
    /// No faults from here on, everything moves at once.
    void fair();
    const KernelCounts& counts() const;

    Machine& machine() { return *machine_; }

  private:
    std::unique_ptr<Machine> machine_;
};

/// Ends the process with this sentence: the front did what it must not.
[[noreturn]] void fail(const std::string& sentence);
/// Printed with it: the seed.
void set_failure_note(const std::string& note);

}  // namespace sim::front
