#include "net/stream.h"

#include <cerrno>

#include "net/event_loop.h"
#include "net/kernel.h"
#include "net/ring.h"
#include "net/stream_parts.h"
#include "net/stream_table.h"

namespace net {

namespace {

/// How long finish() reads on after its FIN: while something comes now and then, as a reset would
/// take from the peer what it has not read yet, but not for ever (faults.md H1-57).
constexpr uint64_t linger_ms = 30'000;
/// Held bytes are delivered in pieces that a receiver knows from the wire.
constexpr size_t held_piece_bytes = large_buffer_bytes;

/// The connection is dead for sending; what came before may still be there to be received.
bool is_peer_gone(int result) {
    return result == -EPIPE || result == -ECONNRESET || result == -ETIMEDOUT;
}

}  // namespace

bool can_multishot(int family) {
    return family != AF_UNIX;
}

// ---- Set-up ----

Stream::Stream(EventLoop& loop, uint32_t slot) : loop_(loop), slot_(slot) {}

Stream::~Stream() {
    base::check(ops_ == 0);
    base::check(outgoing_ == nullptr);
}

void Stream::open(int fd, State state, StreamHandler* handler, ReceiveMode mode,
                  BufferKind buffers) {
    base::check(state_ == State::Free);
    handler_ = handler;
    error_ = {};
    fd_ = fd;
    given_ = 0;
    state_ = state;
    mode_ = mode;
    buffers_ = buffers;
    accepted_ = false;
    paused_ = false;
    armed_multishot_ = false;
    cancelling_ = false;
    backed_up_ = false;
    poll_first_ = false;
    ended_ = false;
    end_held_ = false;
    doubtful_ = false;
    starved_ = false;
    retrying_ = false;
    broken_ = false;
    shutdown_wanted_ = false;
    shutdown_done_ = false;
    aborting_ = false;
}

void Stream::free() {
    base::check(ops_ == 0);
    base::check(!queued_);
    held_.reset();
    waiting_.reset();
    handler_ = nullptr;
    fd_ = -1;
    state_ = State::Free;
    generation_ = (generation_ + 1) & Tag::generation_mask;
}

void Stream::set_handler(StreamHandler& handler) {
    handler_ = &handler;
}

Stream::Waiting& Stream::waiting() {
    if (!waiting_) {
        const auto callback = [](void* owner) noexcept { static_cast<Stream*>(owner)->on_timer(); };
        waiting_.reset(new Waiting{Timer(this, callback), 0, 0, 0, {}});
    }
    return *waiting_;
}

void Stream::start_connect(const Address& address, uint64_t timeout_ms) {
    base::check(state_ == State::Connecting);
    waiting().address = address;
    loop_.timers_.arm(waiting_->timer, timeout_ms);
    submit_connect();
}

void Stream::submit_connect() {
    ops_ |= op_connect;
    loop_.ring_->connect({Op::Connect, generation_, slot_}, fd_, waiting_->address.data(),
                         waiting_->address.length());
}

void Stream::on_accepted() noexcept {
    // The handler was set, or the stream closed (event_loop.h, AcceptHandler).
    base::check(handler_ != nullptr || state_ == State::Closing);
    arm_receive();
}

void Stream::on_connect_done(int result) noexcept {
    ops_ = static_cast<uint8_t>(ops_ & ~op_connect);
    if (state_ == State::Closing) {
        if (ops_ == 0) loop_.enqueue(*this);
        return;
    }
    base::check(state_ == State::Connecting);
    if (result == -EINTR) return submit_connect();  // faults.md PR-08
    // A Unix socket whose backlog is full.
    if (result == -EAGAIN) return loop_.add_retry(*this);
    if (result < 0) return begin_close(base::system_error(result, "connect"));

    waiting_.reset();
    state_ = State::Open;
    poll_first_ = true;  // whoever is connected to speaks second
    ++loop_.counters_.connected;
    handler_->on_connected();
    if (state_ == State::Closing) return;
    if (outgoing_ != nullptr) {
        if ((ops_ & op_send) == 0) start_send();
    } else if (shutdown_wanted_ && !shutdown_done_) {
        queue_empty();
    }
    arm_receive();
}

void Stream::on_timer() noexcept {
    if (state_ == State::Connecting) {
        begin_close({base::ErrorDomain::Net, 0, "connect timed out"});
    } else if (state_ == State::Draining && !lingers_on()) {
        stop_draining();
    }
}

// ---- Receiving ----

void Stream::set_buffers(BufferKind kind) {
    buffers_ = kind;
    if ((ops_ & op_receive) != 0 && armed_multishot_ && armed_buffers_ != kind)
        loop_.enqueue(*this);
}

bool Stream::paused() const {
    return paused_;
}

void Stream::pause() {
    if (state_ > State::Open || paused_) return;
    paused_ = true;
    // A receive that stands by itself is left to end by itself. The multishot is cancelled when
    // the handlers of this turn are through: many a pause is over by then.
    if ((ops_ & op_receive) != 0 && armed_multishot_) loop_.enqueue(*this);
}

void Stream::resume() {
    if (!paused_) return;
    paused_ = false;
    if (held_ || end_held_) {
        loop_.enqueue(*this);
    } else {
        arm_receive();
    }
}

void Stream::arm_receive() {
    if ((ops_ & op_receive) != 0 || ended_ || paused_ || held_ || starved_) return;
    if (state_ != State::Open && state_ != State::Draining) return;
    armed_buffers_ = buffers_;
    armed_multishot_ = mode_ == ReceiveMode::Multishot && !backed_up_;
    ops_ |= op_receive;
    loop_.ring_->receive(receive_tag(), fd_, loop_.group(buffers_).id(), armed_multishot_,
                         poll_first_);
}

Tag Stream::receive_tag() const {
    return {receive_op(armed_buffers_), generation_, slot_};
}

void Stream::on_receive(const Completion& completion, BufferGroup& group) noexcept {
    if (!completion.more()) {
        ops_ = static_cast<uint8_t>(ops_ & ~op_receive);
        cancelling_ = false;
    }
    if (completion.has_buffer()) {
        if (completion.result > 0) {
            const auto size = static_cast<size_t>(completion.result);
            const std::span<uint8_t> bytes = group.bytes(completion.buffer(), size);
            loop_.counters_.bytes_received += size;
            if (state_ == State::Open) {
                if (paused_ || held_) [[unlikely]] {
                    hold(bytes);
                } else {
                    handler_->on_data(bytes);
                }
            } else if (state_ == State::Draining) {
                waiting().heard_ms = loop_.now_ms();
            }
        }
        group.give_back(completion.buffer());
    }
    if ((ops_ & op_receive) != 0) return;  // the multishot goes on

    if (state_ == State::Closing) {
        if (ops_ == 0) loop_.enqueue(*this);
    } else if (completion.result > 0) {
        poll_first_ = !completion.more_waiting();
        // After a pause, receives come one at a time, so that back-pressure costs no more cancels
        // and no more copies, until the owner has taken everything there was.
        if (backed_up_ && !paused_ && poll_first_) backed_up_ = false;
        arm_receive();
    } else {
        receive_ended(completion.result);
    }
}

void Stream::receive_ended(int result) {
    switch (-result) {
        case 0:
            ended_ = true;
            if (state_ == State::Draining) {
                if (shutdown_done_) begin_close({});
            } else if (held_ || doubtful_ || (paused_ && !broken_)) {
                end_held_ = true;
            } else if (broken_) {
                begin_close(error_);
            } else {
                handler_->on_end();
            }
            return;
        case ECANCELED:  // ours, or somebody's who is none of our business (faults.md PR-08)
        case EINTR:
            return arm_receive();
        case ENOBUFS:
            if (loop_.group(armed_buffers_).grow()) return arm_receive();
            if (armed_buffers_ == BufferKind::Bulk) {
                buffers_ = BufferKind::Large;
                return arm_receive();
            }
            ++loop_.counters_.buffer_starvations;
            return loop_.add_starved(*this);
        case EAGAIN:
        case ENOMEM:
            return loop_.add_retry(*this);
    }
    if (held_) {
        // What came before the error is delivered before it. A reset end is no orderly one: the
        // error follows when the owner resumes.
        if (!broken_) error_ = base::system_error(result, "receive");
        broken_ = true;
        ended_ = true;
        end_held_ = true;
        drop_queue();
        return;
    }
    if (state_ == State::Draining) return begin_close({});
    begin_close(broken_ ? error_ : base::system_error(result, "receive"));
}

void Stream::hold(std::span<const uint8_t> bytes) {
    if (!held_) held_ = std::make_unique<Held>();
    // A copy: a stream that has to wait must not keep the buffers that others receive with.
    held_->bytes.insert(held_->bytes.end(), bytes.begin(), bytes.end());
}

void Stream::deliver_held() {
    // Not ours during the calls, so that close() and finish() inside them need not spare it.
    std::unique_ptr<Held> held = std::move(held_);
    while (held && state_ == State::Open && !paused_) {
        const size_t size = std::min(held->bytes.size() - held->delivered, held_piece_bytes);
        const std::span<uint8_t> piece(held->bytes.data() + held->delivered, size);
        held->delivered += size;
        const bool last = held->delivered == held->bytes.size();
        handler_->on_data(piece);
        if (last) held.reset();
    }
    if (state_ != State::Open) return;
    if (held) {
        held_ = std::move(held);
    } else if (end_held_ && !paused_ && !doubtful_) {
        end_held_ = false;
        if (broken_) return begin_close(error_);
        handler_->on_end();
    } else {
        arm_receive();
    }
}

// ---- Sending ----

bool Stream::can_send() const {
    return (state_ == State::Open || state_ == State::Connecting) && !shutdown_wanted_ &&
           !broken_ && (outgoing_ == nullptr || outgoing_->count < chunks_queued_max);
}

size_t Stream::queued() const {
    return outgoing_ == nullptr ? 0 : outgoing_->count;
}

size_t Stream::unsent() const {
    return outgoing_ == nullptr ? 0 : outgoing_->unsent;
}

void Stream::send(Chunk chunk) {
    base::check(chunk.size() > 0);
    if (state_ > State::Open || broken_) return;
    base::check(!shutdown_wanted_);
    if (outgoing_ == nullptr) outgoing_ = loop_.lend_queue();
    given_ += chunk.size();
    outgoing_->push(std::move(chunk));
    // At the end of the turn, together with what is still to come in it.
    if (state_ == State::Open && (ops_ & op_send) == 0 && !retrying_) loop_.enqueue(*this);
}

void Stream::start_send() {
    ops_ |= op_send;
    const Tag tag{Op::Send, generation_, slot_};
    outgoing_->in_flight = outgoing_->count;
    if (outgoing_->count == 1) {
        loop_.ring_->send(tag, fd_, outgoing_->front().bytes().subspan(outgoing_->sent));
    } else {
        loop_.ring_->send(tag, fd_, outgoing_->gather());
    }
}

void Stream::on_sent(int result) noexcept {
    ops_ = static_cast<uint8_t>(ops_ & ~op_send);
    if (state_ == State::Closing || broken_) {
        drop_queue();
        if (state_ == State::Closing && ops_ == 0) loop_.enqueue(*this);
        return;
    }
    if (result <= 0) return send_failed(result);

    const auto size = static_cast<size_t>(result);
    loop_.counters_.bytes_sent += size;
    if (outgoing_->take(size) > 0) {
        // All is sent, unless the connection broke in between. Linux tells its error once: this
        // send swallowed it, and a receive finds nothing left, as after FIN. What the rest of the
        // bytes meet tells which it was.
        doubtful_ = true;
        return start_send();
    }
    doubtful_ = false;
    if (end_held_) loop_.enqueue(*this);
    if (outgoing_->count > 0) {
        loop_.enqueue(*this);
    } else {
        loop_.return_queue(std::exchange(outgoing_, nullptr));
        if (shutdown_wanted_) return queue_empty();
    }
    if (state_ == State::Open && !shutdown_wanted_) handler_->on_writable();
}

void Stream::send_failed(int result) {
    switch (-result) {
        case 0:
        case EINTR:
        case ECANCELED:
            return start_send();
        case EAGAIN:
        case ENOMEM:
        case ENOBUFS:
            return loop_.add_retry(*this);
    }
    const base::Error error = base::system_error(result, "send");
    doubtful_ = false;
    drop_queue();
    if (state_ == State::Draining) return begin_close({});
    // A backend that answers early and closes makes us fail while its answer is waiting to be read:
    // it comes first. Receiving ends soon, as the connection has. A paused client is not worth it.
    if (is_peer_gone(result) && !ended_ && (mode_ == ReceiveMode::OneShot || !paused_)) {
        broken_ = true;
        error_ = error;
        return;
    }
    begin_close(error);
}

void Stream::drop_queue() {
    if (outgoing_ == nullptr) return;
    // The kernel may still read what is in flight.
    const uint32_t kept = (ops_ & op_send) != 0 ? outgoing_->in_flight : 0;
    while (outgoing_->count > kept) outgoing_->drop_last();
    if (kept == 0) loop_.return_queue(std::exchange(outgoing_, nullptr));
}

// ---- Closing ----

void Stream::shutdown_write() {
    if (state_ > State::Open || shutdown_wanted_) return;
    shutdown_wanted_ = true;
    if (state_ == State::Open && outgoing_ == nullptr && !broken_) queue_empty();
}

void Stream::queue_empty() {
    base::check(shutdown_wanted_);
    if (!shutdown_done_ && !(state_ == State::Draining && ended_)) {
        kernel::shut_write(fd_);
    }
    shutdown_done_ = true;
    if (state_ != State::Draining) return;
    if (ended_) return begin_close({});
    waiting().heard_ms = loop_.now_ms();
    waiting().linger_until_ms = loop_.now_ms() + linger_ms;
    (void)lingers_on();
}

/// False: it has read on for long enough.
bool Stream::lingers_on() {
    if (!shutdown_done_) return false;
    const uint64_t until_ms =
        std::min(waiting().heard_ms + waiting().quiet_ms, waiting().linger_until_ms);
    if (loop_.now_ms() >= until_ms) return false;
    loop_.timers_.arm(waiting().timer, until_ms - loop_.now_ms());
    return true;
}

void Stream::finish(uint64_t flush_ms, uint64_t quiet_ms) {
    if (state_ > State::Open) return;
    if (state_ == State::Connecting || broken_) return close();
    state_ = State::Draining;
    paused_ = false;
    held_.reset();
    end_held_ = false;
    shutdown_wanted_ = true;
    waiting().quiet_ms = quiet_ms;
    if (outgoing_ == nullptr) {
        queue_empty();
    } else {
        loop_.timers_.arm(waiting().timer, flush_ms);
    }
    arm_receive();
}

void Stream::stop_draining() {
    base::check(state_ == State::Draining);
    // What was not sent must not be followed by a FIN: it would look like the end of a message.
    if (outgoing_ != nullptr) return abort();
    begin_close({});
}

void Stream::close() {
    if (state_ == State::Closing) return;
    begin_close({});
}

Stream::Delivery Stream::delivery() const {
    const int64_t acknowledged = fd_ < 0 ? -1 : kernel::acknowledged(fd_);
    // A SYN of ours counts as a byte, and does no harm here.
    const uint64_t taken =
        acknowledged < 0 ? given_ - unsent() : static_cast<uint64_t>(acknowledged);
    return {taken, taken >= given_};
}

bool Stream::is_broken() const {
    return fd_ < 0 || kernel::is_broken(fd_);
}

void Stream::abort() {
    if (state_ == State::Closing && fd_ < 0) return;
    kernel::reset_at_close(fd_);
    if (state_ == State::Closing) return;
    aborting_ = true;
    begin_close({});
}

void Stream::begin_close(base::Error error) {
    base::check(state_ != State::Free);
    if (state_ == State::Closing) return;
    state_ = State::Closing;
    error_ = error;
    paused_ = false;
    if (waiting_) waiting_->timer.cancel();
    drop_queue();
    if (ops_ == 0) return loop_.enqueue(*this);
    if ((ops_ & op_connect) != 0) {
        loop_.ring_->cancel({Op::Connect, generation_, slot_});
    } else if (aborting_) {
        // shutdown(2) would send FIN, which looks like an orderly end.
        loop_.ring_->cancel_descriptor(fd_);
    } else {
        // Ends receives and sends in flight, and tells the peer now. If the peer is gone, they end
        // by themselves.
        kernel::shut_both(fd_);
    }
}

void Stream::run_work() noexcept {
    if (state_ == State::Closing) {
        if (ops_ == 0) loop_.release(*this);
        return;
    }
    if ((ops_ & op_receive) != 0 && armed_multishot_ && !cancelling_ &&
        (paused_ || armed_buffers_ != buffers_)) {
        cancelling_ = true;
        if (paused_) backed_up_ = true;
        loop_.ring_->cancel(receive_tag());
    }
    if (state_ == State::Open && !paused_ && (held_ || end_held_)) deliver_held();
    if (outgoing_ != nullptr && (ops_ & op_send) == 0 && !retrying_ &&
        (state_ == State::Open || state_ == State::Draining)) {
        start_send();
    }
}

void Stream::retry() noexcept {
    if (state_ == State::Closing) return;
    if (state_ == State::Connecting) return submit_connect();
    if (outgoing_ != nullptr && (ops_ & op_send) == 0) start_send();
    arm_receive();
}

// ---- Asking ----

Address Stream::peer() const {
    return kernel::peer_of(fd_);
}

Address Stream::local() const {
    return kernel::local_of(fd_);
}

}  // namespace net
