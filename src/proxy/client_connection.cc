#include "proxy/client_connection.h"

#include "tls/handshake_pool.h"

namespace proxy {

ClientConnection::ClientConnection(WorkerContext& worker, net::Stream& stream,
                                   const ListenSocket& listener,
                                   std::unique_ptr<tls::Session> session)
    : worker_(worker),
      stream_(&stream),
      session_(std::move(session)),
      http1_(*this, worker),
      timer_(this, on_timer),
      public_port_(listener.public_port),
      state_(session_ ? State::Handshaking : State::Open) {
    next = worker_.first_connection;
    if (next != nullptr) next->previous = this;
    worker_.first_connection = this;
    const Limits& limits = worker_.routes.get().limits();
    set_deadline(session_ ? limits.handshake_ms : limits.head_ms);
}

ClientConnection::~ClientConnection() {
    if (previous != nullptr) previous->next = next;
    if (next != nullptr) next->previous = previous;
    if (worker_.first_connection == this) worker_.first_connection = next;
}

const std::string& ClientConnection::address() {
    if (address_.empty()) address_ = stream_->peer().host_text();
    return address_;
}

// --- receiving

void ClientConnection::on_data(std::span<uint8_t> bytes) noexcept {
    if (state_ == State::Finishing) return;
    worker_.counters.bytes_in += bytes.size();
    if (!session_) {
        deliver(bytes);
        block_if_pending();
        return;
    }
    if (lent_) {
        // Nothing is due from a client that waits for our flight; it is early, or wants to do harm.
        pending_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        stream_->pause();
        return;
    }
    feed_session(bytes);
}

void ClientConnection::feed_session(std::span<const uint8_t> bytes) {
    session_->feed(bytes);
    read_session();
    if (state_ != State::Finishing && !lent_) session_->keep_input();
}

/// Opens what was fed until it is used up or the protocol cannot take more.
void ClientConnection::read_session() {
    while (state_ != State::Finishing) {
        if (state_ == State::Open && http1_.is_full(pending_.size())) {
            block_if_pending();
            return;
        }
        if (!out_) out_ = worker_.loop.chunks().take();
        if (!out_) {
            abort();
            return;
        }
        size_t produced = 0;
        const tls::Session::Read read = session_->read(worker_.plaintext, out_.room(), produced);
        out_.filled(produced);
        if (state_ == State::Handshaking && session_->handshake_done()) handshake_done();
        switch (read.state) {
            case tls::Session::State::Ok:
                if (read.size > 0 && state_ == State::Open) {
                    deliver({worker_.plaintext.data(), read.size});
                }
                break;
            case tls::Session::State::NeedOutput:
                push_out();
                break;
            case tls::Session::State::NeedInput:
                if (read.size > 0 && state_ == State::Open) {
                    deliver({worker_.plaintext.data(), read.size});
                }
                // A ticket that comes with the first request travels with its response.
                if (!http1_.is_waiting_for_response()) push_out();
                block_if_pending();
                return;
            case tls::Session::State::NeedSlowKey:
                push_out();
                lend_session();
                return;
            case tls::Session::State::Closed:
                push_out();
                peer_ended(true);
                return;
            case tls::Session::State::Failed:
                base::log_debug("tls", address(), "{}", session_->error());
                push_out();
                state_ = State::Finishing;
                http1_.on_gone();
                stream_->finish();
                return;
        }
    }
}

void ClientConnection::lend_session() {
    if (state_ == State::Finishing) return;
    session_->keep_input();
    lent_ = true;
    // Called on the pool's thread. We are there until then: see on_closed().
    const bool taken = worker_.options.tls.handshake_pool->submit(
        *session_, [this] { worker_.loop.mailbox().post([this] { take_session_back(); }); });
    if (taken) return;
    lent_ = false;
    base::log_debug("tls", address(), "too many handshakes with slow keys wait");
    state_ = State::Finishing;
    stream_->close();
}

void ClientConnection::take_session_back() {
    lent_ = false;
    if (dead_) {
        if (!run_wanted_) delete this;
        return;
    }
    if (state_ == State::Finishing) return;
    const std::string early = std::exchange(pending_, {});
    read_session();  // what the pool made goes out
    if (state_ == State::Finishing) return;
    if (lent_) {
        pending_ = early;  // the second hello of a retried handshake was there already
        return;
    }
    if (!early.empty()) {
        feed_session({reinterpret_cast<const uint8_t*>(early.data()), early.size()});
    }
    const bool has_room = state_ != State::Finishing && !http1_.is_full(pending_.size());
    if (has_room && !lent_ && stream_->paused()) stream_->resume();
}

void ClientConnection::handshake_done() {
    state_ = State::Open;
    if (session_->info().challenge) {
        // RFC 8737 section 3: the handshake was all.
        push_out();
        finish();
        return;
    }
    set_deadline(worker_.routes.get().limits().head_ms);
}

void ClientConnection::deliver(std::span<const uint8_t> bytes) {
    if (pending_.empty()) {
        const std::string_view input(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        const size_t used = http1_.on_bytes(input);
        if (used < input.size() && state_ != State::Finishing) pending_.assign(input.substr(used));
        return;
    }
    pending_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const size_t used = http1_.on_bytes(pending_);
    pending_.erase(0, used);
}

/// Stops receiving while the protocol has more than it can use.
void ClientConnection::block_if_pending() {
    if (state_ == State::Open && http1_.is_full(pending_.size()) && !stream_->paused()) {
        stream_->pause();
    }
}

void ClientConnection::resume() {
    if (pending_.empty() && !stream_->paused() && !(session_ && session_->has_input())) return;
    run_soon();
}

void ClientConnection::run_soon() {
    run_wanted_ = true;
    worker_.loop.defer(*this);
}

void ClientConnection::run_deferred() noexcept {
    run_wanted_ = false;
    if (dead_) {
        if (!lent_) delete this;
        return;
    }
    if (state_ == State::Finishing || lent_) return;
    if (leaving_) {
        finish();
        return;
    }
    if (!pending_.empty()) {
        const size_t used = http1_.on_bytes(pending_);
        pending_.erase(0, used);
        if (pending_.empty()) pending_.shrink_to_fit();
    }
    if (state_ != State::Finishing && session_ && session_->has_input() &&
        !http1_.is_full(pending_.size())) {
        read_session();
        if (state_ != State::Finishing) session_->keep_input();
    }
    if (state_ == State::Open && !http1_.is_full(pending_.size()) && stream_->paused()) {
        stream_->resume();
    }
}

void ClientConnection::on_end() noexcept {
    if (state_ == State::Finishing) return;
    if (state_ == State::Handshaking) {
        state_ = State::Finishing;
        stream_->close();
        return;
    }
    has_ended_ = true;
    if (leaving_) return part();
    // FIN without close_notify (RFC 8446 6.1): whether that is an error depends on the message.
    peer_ended(!session_);
}

void ClientConnection::peer_ended(bool clean) {
    if (state_ != State::Open) return;
    http1_.on_end(clean);
}

void ClientConnection::set_bulk(bool bulk) {
    if (bulk_ == bulk) return;
    bulk_ = bulk;
    stream_->set_buffers(bulk ? net::BufferKind::Large : net::BufferKind::Small);
}

// --- sending

void ClientConnection::append(std::span<const uint8_t> bytes) {
    if (bytes.empty() || state_ == State::Finishing) return;
    if (!direct_.empty()) {
        const std::span<const uint8_t> earlier = std::exchange(direct_, {});
        if (earlier.size() == worker_.gather.size()) {
            seal(earlier);
        } else {
            std::memcpy(worker_.gather.data(), earlier.data(), earlier.size());
            gathered_ = static_cast<uint16_t>(earlier.size());
        }
    }
    while (!bytes.empty()) {
        if (gathered_ == 0 && bytes.size() > small_piece) {
            // A large piece with nothing before it is sealed from where it stands.
            const auto piece = bytes.first(std::min(bytes.size(), worker_.gather.size()));
            bytes = bytes.subspan(piece.size());
            if (bytes.empty()) {
                direct_ = piece;
                return;
            }
            seal(piece);
            continue;
        }
        const size_t size = std::min(bytes.size(), worker_.gather.size() - gathered_);
        std::memcpy(worker_.gather.data() + gathered_, bytes.data(), size);
        gathered_ = static_cast<uint16_t>(gathered_ + size);
        bytes = bytes.subspan(size);
        if (gathered_ == worker_.gather.size()) {
            seal(worker_.gather);
            gathered_ = 0;
        }
    }
}

void ClientConnection::flush() {
    if (!direct_.empty()) {
        seal(std::exchange(direct_, {}));
    } else if (gathered_ > 0) {
        seal(std::span(worker_.gather).first(std::exchange(gathered_, uint16_t{0})));
    }
    push_out();
}

void ClientConnection::seal(std::span<const uint8_t> plaintext) {
    if (state_ == State::Finishing) return;
    const size_t overhead = session_ ? tls::Session::overhead_max : 0;
    if (out_ && out_.room().size() < plaintext.size() + overhead) push_out();
    if (!out_) out_ = worker_.loop.chunks().take();
    if (!out_) {
        abort();
        return;
    }
    if (session_) {
        const size_t size = session_->write(plaintext, out_.room());
        if (size == 0) {
            abort();
            return;
        }
        out_.filled(size);
    } else {
        std::memcpy(out_.room().data(), plaintext.data(), plaintext.size());
        out_.filled(plaintext.size());
    }
}

void ClientConnection::push_out() {
    if (!out_ || out_.size() == 0) {
        out_ = {};
        return;
    }
    if (!stream_->can_send()) {
        // Only a handshake or alerts can get here, from a client that never reads.
        out_ = {};
        abort();
        return;
    }
    worker_.counters.bytes_out += out_.size();
    stream_->send(std::move(out_));
    out_ = {};
}

void ClientConnection::on_writable() noexcept {
    if (state_ == State::Open && can_write()) http1_.on_writable();
}

// --- ending

void ClientConnection::finish() {
    if (state_ == State::Finishing) return;
    flush();
    if (session_ && session_->handshake_done() && stream_->can_send()) {
        if (!out_) out_ = worker_.loop.chunks().take();
        if (out_) {
            out_.filled(session_->close(out_.room()));
            push_out();
        }
    }
    if (state_ != State::Finishing) part();  // else aborted on the way
}

void ClientConnection::leave() {
    if (state_ != State::Open || leaving_) return;
    if (has_ended_) return part();
    leaving_ = true;
    run_soon();
}

void ClientConnection::part() {
    state_ = State::Finishing;
    timer_.cancel();
    stream_->finish();
}

void ClientConnection::abort() {
    if (state_ == State::Finishing) return;
    state_ = State::Finishing;
    direct_ = {};
    gathered_ = 0;
    out_ = {};
    timer_.cancel();
    http1_.on_gone();
    stream_->abort();
}

void ClientConnection::on_closed(base::Error) noexcept {
    state_ = State::Finishing;
    http1_.on_gone();
    timer_.cancel();
    if (lent_ && worker_.options.tls.handshake_pool->withdraw(*session_)) lent_ = false;
    if (run_wanted_ || lent_) {
        dead_ = true;  // queued in this turn: run_deferred() does it; or take_session_back()
    } else {
        delete this;
    }
}

void ClientConnection::drain() {
    if (state_ == State::Open) http1_.drain();
}

// --- time

void ClientConnection::set_deadline(uint32_t delay_ms) {
    net::TimerWheel& timers = worker_.loop.timers();
    if (delay_ms == 0) {
        deadline_ms_ = 0;
        return;
    }
    const uint64_t deadline_ms = timers.now_ms() + delay_ms;
    // A timer that fires too early looks again (on_timer): most moves are one store.
    const bool earlier = !timer_.armed() || deadline_ms < timer_at_ms_;
    deadline_ms_ = deadline_ms;
    if (earlier) {
        timer_at_ms_ = deadline_ms;
        timers.arm(timer_, delay_ms);
    }
}

void ClientConnection::on_timer(void* self) noexcept {
    auto& connection = *static_cast<ClientConnection*>(self);
    if (connection.deadline_ms_ == 0 || connection.state_ == State::Finishing) return;
    const uint64_t now_ms = connection.worker_.loop.timers().now_ms();
    if (connection.deadline_ms_ > now_ms) {
        connection.timer_at_ms_ = connection.deadline_ms_;
        connection.worker_.loop.timers().arm(connection.timer_, connection.deadline_ms_ - now_ms);
        return;
    }
    if (connection.state_ == State::Handshaking) {
        connection.state_ = State::Finishing;
        connection.stream_->close();
        return;
    }
    connection.http1_.on_deadline();
}

}  // namespace proxy
