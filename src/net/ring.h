// The kernel's side: one io_uring instance and the buffer groups that it picks from. ring.cc is the
// only file that knows liburing; everything above speaks in tags and completions.
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

struct io_uring;
struct io_uring_sqe;
struct io_uring_buf;
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

/// Whether a socket of this family can be received from with a multishot. Until a fix of March
/// 2026, kernels lose the FIN of a Unix socket that comes right behind data, and the receive waits
/// for ever (liburing issue 1549). TCP says that there is more to receive and is not concerned.
bool can_multishot(int family);
/// AF_UNIX, AF_INET, ... of a socket.
int family_of(int fd);

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

    void accept_multishot(Tag tag, int fd);
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
    friend class BufferGroup;
    friend struct RingProbe;  // tests
    Ring();

    io_uring_sqe& next_entry();
    /// The system call. 0, or the negative errno of what could not be done now.
    int enter(uint32_t wait_count, uint64_t wait_ms);

    std::unique_ptr<io_uring> ring_;
    bool created_ = false;
    uint64_t overflows_ = 0;
};

/// Buffers of one size that the kernel takes from when bytes have arrived ("provided buffers").
/// Must outlive its ring.
///
/// The kernel takes them in the order in which they were given, so that all that are in the ring
/// are used in turn: 256 large ones are 4 MiB that pass through the caches. So only a few are given
/// at first, and more when they have run out: as many as the load really needs at a time stay hot.
class BufferGroup {
  public:
    /// `count` is a power of two, at most 32768.
    BufferGroup(uint16_t id, uint32_t count, uint32_t bytes_each);
    ~BufferGroup();
    BufferGroup(const BufferGroup&) = delete;
    BufferGroup& operator=(const BufferGroup&) = delete;

    /// Allocates all and gives the first few to the ring. Once, before Ring::enable().
    base::Status attach(Ring& ring);
    void detach(Ring& ring);

    uint16_t id() const { return id_; }
    uint32_t count() const { return count_; }
    /// The first `size` bytes of a buffer that a completion named.
    std::span<uint8_t> bytes(uint16_t buffer, size_t size) {
        base::check(buffer < count_);
        base::check(size <= bytes_each_);
        return {buffers_ + size_t{buffer} * bytes_each_, size};
    }
    /// All buffers in the ring were taken: gives it twice as many. False if it has all.
    bool grow();
    /// The kernel may use it again.
    void give_back(uint16_t buffer);
    /// Buffers given back since the group was made: how starved streams see progress.
    uint64_t returned() const { return returned_; }

  private:
    void provide(uint16_t buffer);

    /// 16, or fewer of those that are larger than a level 1 cache.
    uint32_t given_first() const;

    uint16_t id_;
    uint16_t tail_ = 0;
    uint32_t count_;
    uint32_t bytes_each_;
    uint32_t given_ = 0;  // buffers that the ring has or had
    uint64_t returned_ = 0;
    void* memory_ = nullptr;
    size_t memory_bytes_ = 0;
    io_uring_buf* entries_ = nullptr;
    uint8_t* buffers_ = nullptr;
};

}  // namespace net
