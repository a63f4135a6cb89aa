// What each operation of a ring does when its turn comes, and what cancelling does to it.
#include <cerrno>

#include "sim_ring.h"
#include "trace.h"

namespace sim::front {

namespace {

constexpr uint32_t flag_buffer = 1;
constexpr uint32_t flag_nonempty = 4;

}  // namespace

bool SimRing::could_move(const Operation& operation) {
    if (operation.cancelled || operation.hurried) return true;
    const File& file = *operation.file;
    switch (operation.code) {
        case Code::Receive:
            return file.end == nullptr || file.end->can_receive();
        case Code::Send:
            return file.end == nullptr || file.end->has_send_error() || file.end->room() > 0;
        case Code::Connect:
            return file.connection && (file.connection->stage == Connection::Stage::Established ||
                                       file.connection->stage == Connection::Stage::Failed);
        case Code::Accept:
            return !file.backlog.empty();
        case Code::Poll:
            return operation.woken;
        default:
            return false;
    }
}

void SimRing::consider(Operation& operation) {
    if (could_move(operation)) operation.ring.machine_.schedule().add(operation);
}

void SimRing::wake(Operation& operation) {
    operation.woken = true;
    consider(operation);
}

void SimRing::run(Operation& operation) {
    SimRing& ring = operation.ring;
    ring.observe_buffers();
    if (operation.cancelled) {
        const bool under_way = operation.code == Code::Send && operation.sent > 0;
        return ring.complete(operation, under_way ? static_cast<int>(operation.sent) : -ECANCELED);
    }
    const bool hurried = std::exchange(operation.hurried, false);
    ring.try_once(operation);
    if (operation.file == nullptr) return;  // it is done
    if (hurried) {
        operation.cancelled = true;
        return run(operation);
    }
    consider(operation);
}

void SimRing::try_once(Operation& operation) {
    switch (operation.code) {
        case Code::Receive:
            return run_receive(operation);
        case Code::Send:
            return run_send(operation);
        case Code::Connect:
            return run_connect(operation);
        case Code::Accept:
            return run_accept(operation);
        case Code::Poll:
            return run_poll(operation);
        default:
            return;
    }
}

int SimRing::one_of(std::span<const int> errors) {
    return -errors[machine_.dice().below(errors.size())];
}

bool SimRing::strays(Operation& operation) {
    if (!machine_.chance(machine_.faults.stray_cancels)) return false;
    static constexpr int errors[] = {ECANCELED, EINTR};
    complete(operation, one_of(errors));
    return true;
}

// ---- Receiving

void SimRing::run_receive(Operation& operation) {
    const KernelFaults& faults = machine_.faults;
    if (operation.buffers == nullptr) return complete(operation, -ENOBUFS);  // unregistered
    ProvidedBuffers& buffers = *operation.buffers;
    if (strays(operation)) return;
    if (machine_.chance(faults.receive_enomem)) {
        static constexpr int errors[] = {ENOMEM, EAGAIN};
        return complete(operation, one_of(errors));
    }
    if (buffers.is_empty() || machine_.chance(faults.receive_enobufs)) {
        ++machine_.counts().no_buffers;
        return complete(operation, -ENOBUFS);
    }
    End* end = operation.file->end;
    if (end == nullptr) return complete(operation, -ENOTCONN);
    if (end->readable() == 0) {
        const int result = end->take_receive_state();
        if (result == -EAGAIN) return;
        if (result == 0 && machine_.chance(faults.zero_with_buffer)) {
            const uint32_t buffer = buffers.take(0).buffer;
            return complete(operation, 0, flag_buffer | buffer << 16);
        }
        return complete(operation, result, result == 0 ? flag_nonempty : 0);
    }
    const size_t size = std::min<size_t>(end->readable(), buffers.next_size());
    const ProvidedBuffers::Taken taken = buffers.take(size);
    (void)end->receive(taken.bytes);  // all of it is there
    const uint32_t flags =
        flag_buffer | uint32_t{taken.buffer} << 16 | (end->has_more() ? flag_nonempty : 0);
    if (operation.multishot && post_more(operation, static_cast<int>(size), flags)) return;
    complete(operation, static_cast<int>(size), flags);
}

// ---- Sending

void SimRing::check_content(const Operation& operation, size_t size) const {
    if (const msghdr* message = operation.message) {
        bool same = message->msg_iovlen == operation.pieces.size();
        for (size_t i = 0; same && i < operation.pieces.size(); ++i) {
            same = message->msg_iov[i].iov_base == operation.pieces[i].iov_base &&
                   message->msg_iov[i].iov_len == operation.pieces[i].iov_len;
        }
        if (!same) fail("a message was changed while it was being sent");
    }
    size_t skip = operation.sent;
    size_t at = operation.sent;
    const size_t end = operation.sent + size;
    for (const iovec& piece : operation.pieces) {
        if (at == end) return;
        if (skip >= piece.iov_len) {
            skip -= piece.iov_len;
            continue;
        }
        const size_t here = std::min(piece.iov_len - skip, end - at);
        const auto* bytes = static_cast<const uint8_t*>(piece.iov_base) + skip;
        if (std::memcmp(bytes, operation.content.data() + at, here) != 0) {
            fail(
                fmt::format("bytes {} to {} of a send of {} on descriptor {} were changed while "
                            "it was in flight",
                            at, at + here, operation.content.size(), operation.fd));
        }
        at += here;
        skip = 0;
    }
}

void SimRing::run_send(Operation& operation) {
    const KernelFaults& faults = machine_.faults;
    const auto sent = static_cast<int>(operation.sent);
    End* end = operation.file->end;
    if (machine_.chance(faults.send_enomem)) {
        static constexpr int errors[] = {ENOMEM, EAGAIN, ENOBUFS};
        return complete(operation, sent > 0 ? sent : one_of(errors));
    }
    if (end == nullptr || end->has_send_error()) {
        // Short, if something went out before: the error is gone, and EPIPE follows.
        const int error = end == nullptr ? -EPIPE : end->take_send_error();
        return complete(operation, sent > 0 ? sent : error);
    }
    size_t size = std::min(end->room(), operation.content.size() - operation.sent);
    if (size > 0 && machine_.chance(faults.short_sends)) {
        size = machine_.dice().some_of(size);
        ++machine_.counts().short_sends;
    }
    check_content(operation, size);
    end->send({operation.content.data() + operation.sent, size});
    operation.sent += size;
    if (operation.sent == operation.content.size() ||
        (size > 0 && machine_.chance(faults.interrupted_sends))) {
        complete(operation, static_cast<int>(operation.sent));
    }
}

// ---- Connecting and accepting

void SimRing::run_connect(Operation& operation) {
    const FilePtr file = operation.file;
    if (!file->connection) {
        if (machine_.chance(machine_.faults.connect_errors)) {
            static constexpr int errors[] = {EADDRNOTAVAIL, ENETUNREACH, EHOSTUNREACH,
                                             ENOBUFS,       EAGAIN,      EACCES,
                                             ETIMEDOUT,     ECONNREFUSED};
            return complete(operation, one_of(errors));
        }
        const int result = machine_.start_connect(file, operation.address);
        if (result < 0) complete(operation, result);
        return;
    }
    switch (file->connection->stage) {
        case Connection::Stage::Established:
            return complete(operation, 0);
        case Connection::Stage::Failed:
            return complete(operation, -file->connection->connect_error);
        default:
            return;
    }
}

void SimRing::run_accept(Operation& operation) {
    const KernelFaults& faults = machine_.faults;
    const FilePtr listener = operation.file;
    if (strays(operation)) return;
    if (machine_.chance(faults.accept_errors)) {
        static constexpr int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
        return complete(operation, one_of(errors));
    }
    if (machine_.chance(faults.accept_aborts)) return complete(operation, -ECONNABORTED);
    const int fd = machine_.accept(*listener);
    if (fd == -EAGAIN) return;
    if (fd >= 0 && operation.multishot && post_more(operation, fd)) return;
    complete(operation, fd);
}

// ---- Polling

void SimRing::run_poll(Operation& operation) {
    constexpr int poll_in = 1;
    operation.woken = false;
    if (strays(operation)) return;
    // The wake-up may be older than the last read.
    if (operation.file->count == 0 || post_more(operation, poll_in)) return;
    complete(operation, poll_in);
}

// ---- Cancelling

int SimRing::cancel(const Operation& request) {
    trace("cancel {:x} {}", request.target_tag, request.fd);
    std::vector<Operation*> targets;
    if (request.code == Code::CancelDescriptor) {
        for (Operation* one : machine_.file(request.fd, "cancel")->operations) {
            if (&one->ring == this) targets.push_back(one);
        }
    } else {
        for (Operation* one : in_flight_) {
            const bool meant = request.code == Code::CancelAll || one->tag == request.target_tag;
            if (meant) targets.push_back(one);
            if (meant && request.code == Code::Cancel) break;
        }
    }
    if (targets.empty()) return request.code == Code::Cancel ? -ENOENT : 0;
    int result = 0;
    for (Operation* target : targets) result = cancel_one(*target);
    return request.code == Code::Cancel ? result : static_cast<int>(targets.size());
}

int SimRing::cancel_one(Operation& target) {
    if (target.file == nullptr) return -ENOENT;  // done, while another was cancelled
    if (machine_.chance(machine_.faults.cancels_late)) {
        ++machine_.counts().cancels_late;
        if (!could_move(target) || machine_.dice().below(2) == 0) {
            target.hurried = true;
            consider(target);
            return -EALREADY;
        }
        run(target);
        if (target.file == nullptr) return -ENOENT;
    }
    target.cancelled = true;
    consider(target);
    return 0;
}

}  // namespace sim::front
