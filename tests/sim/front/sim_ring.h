// A simulated io_uring: entries that wait for submission, operations in flight, completions that
// wait to be taken. Semantics of 6.1 to 6.18 where they agree, one of theirs by dice where not.
// Private to the simulated kernel.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <deque>
#include <memory>
#include <vector>

#include "machine.h"
#include "net/ring.h"
#include "provided_buffers.h"

namespace sim::front {

enum class Code : uint8_t {
    Receive,
    Send,
    Connect,
    Accept,
    Poll,
    Cancel,
    CancelEach,
    CancelDescriptor,
    CancelAll,
    Close,
};

/// An entry, and what becomes of it. Used again by its ring.
struct Operation : Movable {
    explicit Operation(SimRing& of) : Movable(Kind::Operation), ring(of) {}

    SimRing& ring;
    Code code = Code::Close;
    uint64_t tag = 0;
    int fd = -1;
    FilePtr file;        // in flight: holds it
    uint32_t place = 0;  // in flight
    bool cancelled = false;
    bool hurried = false;  // a cancel came too late: ends soon, one way or the other
    // Receive.
    ProvidedBuffers* buffers = nullptr;
    bool multishot = false;
    bool poll_first = false;
    // Send: what was to be sent when it was queued. The front has to leave it as it is.
    const msghdr* message = nullptr;
    std::vector<iovec> pieces;
    std::vector<uint8_t> content;
    size_t sent = 0;
    // Connect.
    net::Address address;
    // Poll.
    bool woken = false;
    // Cancel.
    uint64_t target_tag = 0;
};

class SimRing {
  public:
    SimRing(Machine& machine, uint32_t sq_entries, uint32_t cq_entries);
    ~SimRing();
    SimRing(const SimRing&) = delete;
    SimRing& operator=(const SimRing&) = delete;

    void enable() { enabled_ = true; }
    void register_buffers(uint16_t group, io_uring_buf* entries, uint32_t count);
    void unregister_buffers(uint16_t group);

    /// A new entry. Submits what waits if the queue is full.
    Operation& prepare(Code code, net::Tag tag, int fd);
    ProvidedBuffers* group(uint16_t id);
    void prepare_send(net::Tag tag, int fd, std::span<const iovec> pieces, const msghdr* message);

    void submit_and_wait(uint64_t wait_ms);
    size_t reap(std::span<net::Completion> out, uint64_t& overflows);
    bool has_completions() const { return ready_count_ > 0 || !overflown_.empty(); }

    bool is_runnable() const;
    uint64_t wake_at_ms() const { return wake_at_ms_; }
    size_t in_flight() const { return in_flight_.size(); }
    /// Of those.
    size_t accepts_in_flight() const;
    size_t buffers_held() const;

    // For the machine.
    /// The operation's turn has come.
    static void run(Operation& operation);
    /// Schedules it if it could do something.
    static void consider(Operation& operation);
    /// A poll: its descriptor became readable.
    static void wake(Operation& operation);

  private:
    bool submit();
    void submit_some(size_t count);
    void issue(Operation& operation);
    void start(Operation& operation);
    /// Ends what `request` names; -ENOENT, -EALREADY, or how many.
    int cancel(const Operation& request);
    int cancel_one(Operation& target);
    void block(uint64_t wait_ms);
    void observe_buffers();

    static bool could_move(const Operation& operation);
    void try_once(Operation& operation);
    // One try each; they complete the operation or leave it in flight.
    void run_receive(Operation& operation);
    void run_send(Operation& operation);
    void run_connect(Operation& operation);
    void run_accept(Operation& operation);
    void run_poll(Operation& operation);
    /// Ends it with ECANCELED or EINTR that nobody asked for, at times.
    bool strays(Operation& operation);
    int one_of(std::span<const int> errors);
    void check_content(const Operation& operation, size_t size) const;

    /// A completion with F_MORE; false if the multishot has to end with it.
    bool post_more(Operation& operation, int result, uint32_t flags = 0);
    /// The operation's last completion.
    void complete(Operation& operation, int result, uint32_t flags = 0);
    /// False: there is no room, and it must not overflow.
    bool post(const Operation& operation, int result, uint32_t flags, bool may_overflow);
    void finish(Operation& operation);

    /// A completion that was not taken yet.
    struct Posted {
        net::Completion completion;
        ProvidedBuffers* buffers;  // of its buffer, if it has one
        bool is_descriptor;
    };
    void lose(const Posted& posted);

    Machine& machine_;
    const uint32_t sq_entries_;
    const uint32_t cq_entries_;
    bool enabled_ = false;
    bool winding_up_ = false;  // the ring was told to cancel all: waits are real from here on
    uint64_t wake_at_ms_ = 0;
    std::vector<Operation*> queue_;  // to be submitted
    std::vector<Operation*> in_flight_;
    std::vector<Posted> ready_;  // the completion queue: a ring
    uint32_t ready_head_ = 0;
    uint32_t ready_count_ = 0;
    std::deque<Posted> overflown_;
    std::vector<std::unique_ptr<ProvidedBuffers>> groups_;  // by id
    std::vector<std::unique_ptr<ProvidedBuffers>> ended_groups_;
    std::vector<std::unique_ptr<Operation>> all_;
    std::vector<Operation*> idle_;
};

}  // namespace sim::front
