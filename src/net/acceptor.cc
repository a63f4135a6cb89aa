#include "net/acceptor.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "net/stream_table.h"

namespace net {

namespace {

constexpr uint64_t back_off_ms = 100;
constexpr uint64_t log_interval_ms = 1000;
constexpr uint32_t single_accepts_max = 16;

/// Accepting goes on at 90 % of the limit, so that it is not armed and cancelled for each
/// connection.
uint32_t resume_at(uint32_t connections_max) {
    return connections_max - (connections_max + 9) / 10;
}

Tag tag_of(uint32_t slot) {
    return {Op::Accept, 0, slot};
}

}  // namespace

Acceptor::Acceptor(EventLoop& loop, uint32_t connections_max, uint32_t accept_burst_max)
    : loop_(loop),
      connections_max_(connections_max),
      accept_burst_max_(accept_burst_max),
      back_off_timer_(this, [](void* owner) noexcept {
          auto& self = *static_cast<Acceptor*>(owner);
          self.backing_off_ = false;
          self.arm_all();
      }) {
    base::check(connections_max > 0);
}

Acceptor::~Acceptor() = default;

base::Status Acceptor::add(int fd, AcceptHandler& handler) {
    kernel::Descriptor owned(fd);
    if (!kernel::is_listening(fd)) {
        return base::system_error(EINVAL, "listener: not a listening socket");
    }

    uint32_t slot = 0;
    while (slot < listeners_.size() && (listeners_[slot].fd || listeners_[slot].armed > 0)) ++slot;
    if (slot == listeners_.size()) listeners_.emplace_back();
    listeners_[slot].fd = std::move(owned);
    listeners_[slot].handler = &handler;
    listeners_[slot].mode =
        can_multishot(kernel::family_of(fd)) ? ReceiveMode::Multishot : ReceiveMode::OneShot;
    arm(slot);
    return {};
}

void Acceptor::close_all() {
    for (uint32_t slot = 0; slot < listeners_.size(); ++slot) {
        Listener& listener = listeners_[slot];
        if (!listener.fd) continue;
        cancel(slot);
        // No shutdown(2): another process may hold the same socket.
        loop_.ring_->close(listener.fd.release());
    }
    back_off_timer_.cancel();
    backing_off_ = false;
}

void Acceptor::arm(uint32_t slot) {
    Listener& listener = listeners_[slot];
    if (!listener.fd || full_ || backing_off_) return;
    if (listener.armed == 0) {
        listener.cancelling = false;
        listener.multishot = !is_nearly_full();
    }
    if (listener.cancelling) return;  // until all of those are back
    if (listener.multishot) {
        if (listener.armed > 0) return;
        listener.armed = 1;
        loop_.ring_->accept_multishot(tag_of(slot), listener.fd.fd());
        return;
    }
    // With room again those in flight are used up before a multishot takes their place.
    if (listener.armed > 0 && !is_nearly_full()) return;
    for (; listener.armed < single_accepts(); ++listener.armed) {
        loop_.ring_->accept_one(tag_of(slot), listener.fd.fd());
    }
}

uint32_t Acceptor::single_accepts() const {
    const uint32_t places = connections_max_ - loop_.counters_.connections;
    const auto each = places / static_cast<uint32_t>(listeners_.size());
    return std::clamp(each, uint32_t{1}, single_accepts_max);
}

void Acceptor::cancel(uint32_t slot) {
    Listener& listener = listeners_[slot];
    if (listener.armed == 0 || listener.cancelling) return;
    listener.cancelling = true;
    loop_.ring_->cancel_each(tag_of(slot));
}

bool Acceptor::is_nearly_full() const {
    return uint64_t{loop_.counters_.connections} + accept_burst_max_ > connections_max_;
}

void Acceptor::arm_all() {
    for (uint32_t slot = 0; slot < listeners_.size(); ++slot) arm(slot);
}

void Acceptor::on_completion(uint32_t slot, const Completion& completion) {
    base::check(slot < listeners_.size());
    if (!completion.more()) {
        base::check(listeners_[slot].armed > 0);
        --listeners_[slot].armed;
    }
    if (completion.result >= 0) {
        kernel::Descriptor fd(completion.result);
        if (full_) {
            parked_.push_back({std::move(fd), slot});
        } else {
            welcome(slot, std::move(fd));
        }
    } else {
        accept_failed(slot, completion.result);
    }
    arm(slot);  // if the kernel ended it (faults.md PR-08)
}

void Acceptor::welcome(uint32_t slot, kernel::Descriptor fd) {
    Stream& stream = loop_.table_->take();
    stream.open(fd.release(), Stream::State::Open, nullptr, listeners_[slot].mode,
                BufferKind::Small);
    stream.accepted_ = true;
    ++loop_.counters_.accepted;
    if (++loop_.counters_.connections >= connections_max_) {
        hold_off();
    } else if (is_nearly_full()) {
        for (uint32_t each = 0; each < listeners_.size(); ++each) {
            if (listeners_[each].multishot) cancel(each);
        }
    }
    listeners_[slot].handler->on_accept(stream);
    stream.on_accepted();
}

void Acceptor::hold_off() {
    full_ = true;
    for (uint32_t slot = 0; slot < listeners_.size(); ++slot) cancel(slot);
}

void Acceptor::on_stream_closed() {
    if (full_ && loop_.counters_.connections <= resume_at(connections_max_)) {
        full_ = false;
        while (!parked_.empty() && !full_) {
            Parked parked = std::move(parked_.front());
            parked_.pop_front();
            welcome(parked.slot, std::move(parked.fd));
        }
    }
    if (backing_off_) {  // the descriptor that just came free may be what was missing
        backing_off_ = false;
        back_off_timer_.cancel();
    }
    arm_all();
}

void Acceptor::accept_failed(uint32_t slot, int result) {
    switch (-result) {
        case ECANCELED:
        case EINTR:
        case EAGAIN:
            return;
    }
    ++loop_.counters_.accept_errors;
    switch (-result) {
        case ECONNABORTED:  // that client is gone; accept(2) lists these as errors of the
        case EPROTO:        // connection, not of the listener
        case EPERM:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENOPROTOOPT:
        case ENONET:
        case EOPNOTSUPP:
        case ETIMEDOUT:
            return;
    }
    // EMFILE, ENFILE, ENOBUFS, ENOMEM: something has run out. Whatever else comes here is no
    // better for being tried again at once.
    backing_off_ = true;
    loop_.timers_.arm(back_off_timer_, back_off_ms);
    if (listeners_[slot].fd) log_once_per_second(result);
}

void Acceptor::log_once_per_second(int error) {
    if (last_log_ms_ != 0 && loop_.now_ms_ - last_log_ms_ < log_interval_ms) return;
    last_log_ms_ = loop_.now_ms_;
    base::log_warn("net", "", "{}; clients wait, trying again every {} ms ({} times so far)",
                   base::system_error(error, "accept").message(), back_off_ms,
                   loop_.counters_.accept_errors);
}

}  // namespace net
