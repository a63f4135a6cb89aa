// One io_uring instance. ring.cc is the only file that knows liburing; everything above speaks in
// tags and completions. The front's simulation links another implementation (tests/sim/front).
//
// Preparing an operation only writes a submission entry. The kernel sees all entries of a turn in
// the one system call at its end, submit_and_wait(); when the queue is full in between they are
// submitted early and preparing goes on (faults.md PR-06).
//
// All of it belongs to the thread that called enable().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

struct io_uring_buf;
struct io_uring_sqe;
struct msghdr;
struct sockaddr;

namespace net {

/// What a completion answers. Receives carry their buffer group, so that even the buffer of a stale
/// completion finds its way back.
enum class Op : uint8_t {
    Cancel,  // also Close: completions that only come on failure and mean nothing
    Accept,
    Mailbox,
    ReceiveSmall,
    ReceiveLarge,
    ReceiveBulk,
    Send,
    Connect,
};

/// An operation's name, {op, generation, slot} in 64 bits. Never a pointer: a completion may come
/// after its stream is gone (faults.md PR-07).
struct Tag {
    Op op = Op::Cancel;
    uint32_t generation = 0;  // 24 bits
    uint32_t slot = 0;

    static constexpr uint32_t generation_mask = 0xffffff;
    uint64_t packed() const {
        return uint64_t{static_cast<uint8_t>(op)} << 56 |
               uint64_t{generation & generation_mask} << 32 | slot;
    }
    static Tag unpack(uint64_t value) {
        return {static_cast<Op>(value >> 56), static_cast<uint32_t>(value >> 32) & generation_mask,
                static_cast<uint32_t>(value)};
    }
};

/// What became of an operation.
struct Completion {
    uint64_t tag = 0;
    int32_t result = 0;  // as the system call would give it, or a negative errno
    uint32_t flags = 0;

    /// A multishot operation goes on.
    bool more() const { return (flags & 2) != 0; }
    bool has_buffer() const { return (flags & 1) != 0; }
    uint16_t buffer() const { return static_cast<uint16_t>(flags >> 16); }
    /// There was more to receive than fitted.
    bool more_waiting() const { return (flags & 4) != 0; }
};

/// After io_uring_setup gave EINVAL: the set-up flag that this kernel does not know, "" if it knows
/// all of them.
std::string refused_setup_flag();

class Ring {
  public:
    /// A ring that takes registrations and no operations yet. Errors: io_uring_setup's errno.
    static base::Result<std::unique_ptr<Ring>> create(uint32_t sq_entries, uint32_t cq_entries);
    ~Ring();
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    /// From here on only the operations below can be submitted, by this thread alone: a ring is
    /// invisible to seccomp, so it restricts itself (faults.md 4.3).
    base::Status enable();

    /// Before enable(): receives of that group take their buffers from `entries`, a ring of `count`
    /// (a power of two) of which the group's owner moves the tail.
    base::Status register_buffers(uint16_t group, io_uring_buf* entries, uint32_t count);
    void unregister_buffers(uint16_t group);

    void accept_multishot(Tag tag, int fd);
    void accept_one(Tag tag, int fd);
    void receive(Tag tag, int fd, uint16_t group, bool multishot, bool poll_first);
    /// `bytes` stay where they are until the completion.
    void send(Tag tag, int fd, std::span<const uint8_t> bytes);
    /// `message` and what it names stay where they are until the completion.
    void send(Tag tag, int fd, const msghdr& message);
    /// `address` stays where it is until the completion.
    void connect(Tag tag, int fd, const sockaddr* address, uint32_t length);
    /// One completion for each time that `fd` becomes readable.
    void poll_multishot(Tag tag, int fd);
    /// The target completes, with ECANCELED unless it was done already.
    void cancel(Tag target);
    /// As cancel(), for several operations of one name: so many cancel()s would all find the first,
    /// which the kernel keeps in its place until it is told of in this turn's completions.
    void cancel_each(Tag targets);
    /// All operations on `fd`.
    void cancel_descriptor(int fd);
    void cancel_all();
    /// Closes in the next submission, in order with what was prepared before.
    void close(int fd);

    /// Gives the kernel what was prepared and waits until there is a completion or `wait_ms` have
    /// passed.
    void submit_and_wait(uint64_t wait_ms);
    /// Takes completions out of the queue; how many.
    size_t reap(std::span<Completion> out);
    bool has_completions() const;
    /// How often the completion queue was found overflown: reaped later, nothing is lost.
    uint64_t overflows() const { return overflows_; }

  private:
    friend struct RingProbe;  // tests
    /// What ring.cc, or the simulation, makes of it.
    struct Kernel;
    explicit Ring(std::unique_ptr<Kernel> kernel);
    io_uring_sqe& next_entry();

    std::unique_ptr<Kernel> kernel_;
    uint64_t overflows_ = 0;
};

}  // namespace net
