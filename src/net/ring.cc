#include "net/ring.h"

#include <liburing.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"

namespace net {

namespace {

/// DEFER_TASKRUN is what makes io_uring cheaper than epoll here: completions are worked off inside
/// our own system call instead of interrupting us.
constexpr unsigned setup_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                                 IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;

constexpr uint8_t allowed_operations[] = {
    IORING_OP_ACCEPT,  IORING_OP_RECV,     IORING_OP_SEND,         IORING_OP_SENDMSG,
    IORING_OP_CONNECT, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL, IORING_OP_CLOSE};
constexpr uint8_t allowed_registrations[] = {IORING_UNREGISTER_PBUF_RING,
                                             IORING_UNREGISTER_RING_FDS};

static_assert(IORING_CQE_F_BUFFER == 1 && IORING_CQE_F_MORE == 2 &&
              IORING_CQE_F_SOCK_NONEMPTY == 4 && IORING_CQE_BUFFER_SHIFT == 16);

int restrict_ring(io_uring& ring) {
    std::vector<io_uring_restriction> rules;
    for (const uint8_t operation : allowed_operations) {
        io_uring_restriction rule{};
        rule.opcode = IORING_RESTRICTION_SQE_OP;
        rule.sqe_op = operation;
        rules.push_back(rule);
    }
    for (const uint8_t registration : allowed_registrations) {
        io_uring_restriction rule{};
        rule.opcode = IORING_RESTRICTION_REGISTER_OP;
        rule.register_op = registration;
        rules.push_back(rule);
    }
    io_uring_restriction flags{};
    flags.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    flags.sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
    rules.push_back(flags);
    // Debian's liburing 2.3 declares io_uring_register_restrictions() and io_uring_enable_rings()
    // but does not export them.
    return io_uring_register(static_cast<unsigned>(ring.ring_fd), IORING_REGISTER_RESTRICTIONS,
                             rules.data(), static_cast<unsigned>(rules.size()));
}

}  // namespace

std::string refused_setup_flag() {
    struct Flag {
        unsigned flags;  // with those that it needs
        const char* name;
    };
    static constexpr Flag flags[] = {
        {IORING_SETUP_CQSIZE, "IORING_SETUP_CQSIZE"},
        {IORING_SETUP_R_DISABLED, "IORING_SETUP_R_DISABLED"},
        {IORING_SETUP_SUBMIT_ALL, "IORING_SETUP_SUBMIT_ALL"},
        {IORING_SETUP_COOP_TASKRUN, "IORING_SETUP_COOP_TASKRUN"},
        {IORING_SETUP_SINGLE_ISSUER, "IORING_SETUP_SINGLE_ISSUER"},
        {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, "IORING_SETUP_DEFER_TASKRUN"},
    };
    for (const Flag& flag : flags) {
        io_uring_params params{};
        params.flags = flag.flags;
        params.cq_entries = 8;
        const int fd = io_uring_setup(4, &params);
        if (fd == -EINVAL) return flag.name;
        if (fd >= 0) (void)::close(fd);  // it was only asked for
    }
    return {};
}

struct Ring::Kernel {
    ~Kernel() {
        if (created) io_uring_queue_exit(&ring);
    }
    /// Submits what was prepared, and waits for a completion or until `wait_ms` have passed. 0, or
    /// the negative errno of what could not be done now.
    int enter(uint64_t wait_ms);
    static int check(int result);

    io_uring ring{};
    bool created = false;
};

Ring::Ring(std::unique_ptr<Kernel> kernel) : kernel_(std::move(kernel)) {}

base::Result<std::unique_ptr<Ring>> Ring::create(uint32_t sq_entries, uint32_t cq_entries) {
    auto kernel = std::make_unique<Kernel>();
    io_uring& uring = kernel->ring;
    io_uring_params params{};
    params.flags = setup_flags;
    params.cq_entries = cq_entries;
    if (const int r = io_uring_queue_init_params(sq_entries, &uring, &params); r < 0) {
        return base::system_error(r, "io_uring_setup");
    }
    kernel->created = true;
    if (const int r = restrict_ring(uring); r < 0) {
        return base::system_error(r, "io_uring restrictions");
    }
    // Saves looking up the descriptor at each call. The kernel has 16 places per thread: without
    // one the ring works all the same.
    (void)io_uring_register_ring_fd(&uring);
    return std::unique_ptr<Ring>(new Ring(std::move(kernel)));
}

Ring::~Ring() = default;

base::Status Ring::enable() {
    const int r = io_uring_register(static_cast<unsigned>(kernel_->ring.ring_fd),
                                    IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    return r < 0 ? base::Status(base::system_error(r, "io_uring enable")) : base::Status();
}

int Ring::Kernel::enter(uint64_t wait_ms) {
    if (wait_ms == 0) return check(io_uring_submit_and_get_events(&ring));
    __kernel_timespec timeout{};
    timeout.tv_sec = static_cast<int64_t>(wait_ms / 1000);
    timeout.tv_nsec = static_cast<int64_t>(wait_ms % 1000) * 1'000'000;
    io_uring_cqe* first = nullptr;  // stays in the queue for reap()
    return check(io_uring_submit_and_wait_timeout(&ring, &first, 1, &timeout, nullptr));
}

int Ring::Kernel::check(int result) {
    if (result >= 0) return 0;
    switch (-result) {
        case ETIME:   // nothing happened in time
        case EINTR:   // a signal; the turn goes on
        case EAGAIN:  // no memory for a request now: entries stay queued
        case ENOMEM:
        case EBUSY:  // completions have to be taken first
            return result;
        case EBADR:  // the kernel had no memory even for the list of what overflowed
            base::log_error("net", "", "the kernel lost completions for lack of memory");
            return result;
    }
    base::check(false);  // a wrong thread or a wrong argument: ours alone
    return result;
}

io_uring_sqe& Ring::next_entry() {
    for (int attempt = 0;; ++attempt) {
        if (io_uring_sqe* entry = io_uring_get_sqe(&kernel_->ring); entry != nullptr) [[likely]] {
            return *entry;
        }
        // The kernel copies each entry when it takes it, so that the whole queue is free after
        // this; unless memory is short, when only time helps.
        if (kernel_->enter(0) < 0 && attempt > 0) ::usleep(1000);
    }
}

base::Status Ring::register_buffers(uint16_t group, io_uring_buf* entries, uint32_t count) {
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uintptr_t>(entries);
    registration.ring_entries = count;
    registration.bgid = group;
    const int r = io_uring_register_buf_ring(&kernel_->ring, &registration, 0);
    return r < 0 ? base::Status(base::system_error(r, "io_uring buffers")) : base::Status();
}

void Ring::unregister_buffers(uint16_t group) {
    (void)io_uring_unregister_buf_ring(&kernel_->ring, group);  // the ring ends next in any case
}

void Ring::accept_multishot(Tag tag, int fd) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_multishot_accept(&entry, fd, nullptr, nullptr, SOCK_CLOEXEC);
    entry.user_data = tag.packed();
}

void Ring::accept_one(Tag tag, int fd) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_accept(&entry, fd, nullptr, nullptr, SOCK_CLOEXEC);
    entry.user_data = tag.packed();
}

void Ring::receive(Tag tag, int fd, uint16_t group, bool multishot, bool poll_first) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_recv(&entry, fd, nullptr, 0, 0);
    if (multishot) entry.ioprio |= IORING_RECV_MULTISHOT;
    if (poll_first) entry.ioprio |= IORING_RECVSEND_POLL_FIRST;
    entry.flags = IOSQE_BUFFER_SELECT;
    entry.buf_group = group;
    entry.user_data = tag.packed();
}

void Ring::send(Tag tag, int fd, std::span<const uint8_t> bytes) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_send(&entry, fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_WAITALL);
    entry.user_data = tag.packed();
}

void Ring::send(Tag tag, int fd, const msghdr& message) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_sendmsg(&entry, fd, &message, MSG_NOSIGNAL | MSG_WAITALL);
    entry.user_data = tag.packed();
}

void Ring::connect(Tag tag, int fd, const sockaddr* address, uint32_t length) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_connect(&entry, fd, address, length);
    entry.user_data = tag.packed();
}

void Ring::poll_multishot(Tag tag, int fd) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_poll_multishot(&entry, fd, 0x001 /* POLLIN */);
    entry.user_data = tag.packed();
}

void Ring::cancel(Tag target) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_cancel64(&entry, target.packed(), 0);
    entry.flags = IOSQE_CQE_SKIP_SUCCESS;
    entry.user_data = Tag{}.packed();
}

void Ring::cancel_each(Tag targets) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_cancel64(&entry, targets.packed(), IORING_ASYNC_CANCEL_ALL);
    entry.flags = IOSQE_CQE_SKIP_SUCCESS;
    entry.user_data = Tag{}.packed();
}

void Ring::cancel_descriptor(int fd) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_cancel_fd(&entry, fd, IORING_ASYNC_CANCEL_ALL);
    entry.flags = IOSQE_CQE_SKIP_SUCCESS;
    entry.user_data = Tag{}.packed();
}

void Ring::cancel_all() {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_cancel64(&entry, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    entry.flags = IOSQE_CQE_SKIP_SUCCESS;
    entry.user_data = Tag{}.packed();
}

void Ring::close(int fd) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_close(&entry, fd);
    entry.flags = IOSQE_CQE_SKIP_SUCCESS;
    entry.user_data = Tag{}.packed();
}

void Ring::submit_and_wait(uint64_t wait_ms) {
    (void)kernel_->enter(wait_ms);  // what could not be done now is tried next turn
}

bool Ring::has_completions() const {
    return io_uring_cq_ready(&kernel_->ring) > 0 || io_uring_cq_has_overflow(&kernel_->ring);
}

size_t Ring::reap(std::span<Completion> out) {
    io_uring& uring = kernel_->ring;
    size_t count = 0;
    unsigned head = 0;
    io_uring_cqe* entry = nullptr;
    io_uring_for_each_cqe(&uring, head, entry) {
        if (count == out.size()) break;
        out[count++] = {entry->user_data, entry->res, entry->flags};
    }
    io_uring_cq_advance(&uring, static_cast<unsigned>(count));
    if (count < out.size() && io_uring_cq_has_overflow(&uring)) [[unlikely]] {
        ++overflows_;
        (void)kernel_->enter(0);  // moves what overflowed into the queue
    }
    return count;
}

}  // namespace net
