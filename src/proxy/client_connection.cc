#include "proxy/client_connection.h"

#include "proxy/http1_connection.h"
#include "tls/handshake_pool.h"

namespace proxy {

namespace {

/// Pieces from this size on are sealed from where they stand, if they fill a record.
constexpr size_t record_bytes = tls::Session::plaintext_max;
/// One read from a backend may bring so much while at most one chunk waits for the client.
constexpr size_t output_bytes_max = net::bulk_buffer_bytes + net::chunk_bytes;
/// What a session says of itself besides a request: a ticket, a new key.
constexpr size_t kept_bytes_max = 1024;
/// How long the stream reads on after the end, while nothing comes; and where others wait for the
/// place, and there was no response to be lost.
constexpr uint64_t linger_ms = 5'000;
constexpr uint64_t hurried_linger_ms = 1'000;
/// Nobody takes as long for what he was sent last, at any rate.
constexpr uint64_t last_output_ms = 3'600'000;

}  // namespace

ClientConnection::ClientConnection(WorkerContext& worker, net::Stream& stream,
                                   const net::Address& client, const ListenSocket& listener,
                                   std::unique_ptr<tls::Session> session)
    : worker_(worker),
      stream_(&stream),
      session_(std::move(session)),
      deadline_(worker.loop.timers(), this, on_deadline),
      output_deadline_(worker.loop.timers(), this, on_output_deadline),
      public_port_(listener.public_port),
      is_unix_(client.is_unix()),
      address_(client.host_text()) {
    next = worker_.first_connection;
    if (next != nullptr) next->previous = this;
    worker_.first_connection = this;
    const Limits& limits = worker_.routes.get().limits();
    if (session_) {
        set_deadline(limits.handshake_ms);
    } else {
        move_to(State::Open);
        set_deadline(limits.head_ms);
    }
}

ClientConnection::~ClientConnection() {
    if (previous != nullptr) previous->next = next;
    if (next != nullptr) next->previous = previous;
    if (worker_.first_connection == this) worker_.first_connection = next;
}

void ClientConnection::move_to(State next_state) {
    switch (next_state) {
        case State::Handshaking:
            base::check(false);  // only a new one
            break;
        case State::Open:
            base::check(state_ == State::Handshaking);
            protocol_ = std::make_unique<Http1Connection>(*this, worker_);
            break;
        case State::Over:
            gather_ = {};
            out_ = {};
            kept_ = {};
            over_since_ms_ = worker_.loop.now_ms();
            deadline_.clear();  // the other one goes on: what was sent last is watched as well
            run_soon();         // settle()
            break;
    }
    state_ = next_state;
}

// --- receiving

void ClientConnection::on_data(std::span<uint8_t> bytes) noexcept {
    const base::Reentry::Entered entered(reentry_);
    if (state_ == State::Over || input_over_) return;
    worker_.counters.bytes_in += bytes.size();
    has_spoken_ = true;
    if (!session_) {
        deliver(bytes);
        block_if_full();
    } else if (lent_) {
        // Nothing is due from a client that waits for our flight; it is early, or wants to do harm.
        pending_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        stream_->pause();
    } else {
        feed_session(bytes);
    }
    settle();
}

void ClientConnection::feed_session(std::span<const uint8_t> bytes) {
    session_->feed(bytes);
    read_session();
    if (state_ != State::Over && !lent_ && !input_over_) session_->keep_input();
}

/// Opens what was fed until it is used up or the protocol cannot take more.
void ClientConnection::read_session() {
    while (state_ != State::Over) {
        if (state_ == State::Open && protocol_->is_full(pending_.size())) {
            block_if_full();
            return;
        }
        // A handshake has much to say; later it is an alert or a new key, and rare.
        if (state_ == State::Handshaking && !make_room(1, net::Purpose::Control)) return;
        size_t produced = 0;
        const tls::Session::Read read =
            session_->read(worker_.plaintext, out_ ? out_.room() : std::span<uint8_t>(), produced);
        if (produced > 0) out_.filled(produced);
        if (state_ == State::Handshaking && session_->handshake_done()) handshake_done();
        if (read.size > 0 && state_ == State::Open) {
            deliver({worker_.plaintext.data(), read.size});
            if (state_ == State::Over) return;
        }
        switch (read.state) {
            case tls::Session::State::Ok:
                break;
            case tls::Session::State::NeedOutput:
                if (push_out() == Flow::Gone || !make_room(1, net::Purpose::Control)) return;
                break;
            case tls::Session::State::NeedInput:
                block_if_full();
                return;  // settle() sends what the session had to say
            case tls::Session::State::NeedSlowKey:
                if (push_out() == Flow::Go) lend_session();
                return;
            case tls::Session::State::Closed:
                if (push_out() == Flow::Go) input_ended();
                return;
            case tls::Session::State::Failed:
                session_failed();
                return;
        }
    }
}

/// The session has failed, in its handshake or later: what it has to say, an alert, is the last.
void ClientConnection::session_failed() {
    if (session_->handshake_done()) {
        base::log_debug("tls", address_, "{}", session_->error());
    } else {
        log_failed_handshake(session_->failure(), session_->error());
    }
    if (push_out() == Flow::Go) part();
}

void ClientConnection::log_failed_handshake(tls::Failure failure, std::string_view what) {
    const auto line =
        worker_.failed_handshakes.next(static_cast<size_t>(failure), worker_.loop.now_ms());
    if (!line) return;
    base::log_info("tls", address_, "handshake failed ({}): {}{}", tls::label(failure), what,
                   line.left_out());
}

void ClientConnection::lend_session() {
    session_->keep_input();
    lent_ = true;
    // Called on the pool's thread. We are there until then: see on_closed().
    const bool taken = worker_.options.tls.handshake_pool->submit(
        *session_, [this] { worker_.loop.mailbox().post([this] { take_session_back(); }); });
    if (taken) return;
    lent_ = false;
    session_->give_up(tls::Failure::Overload);
    log_failed_handshake(tls::Failure::Overload, "too many handshakes with slow keys wait");
    close_now();
}

void ClientConnection::take_session_back() {
    lent_ = false;
    if (dead_) {
        if (!run_wanted_) delete this;
        return;
    }
    const base::Reentry::Entered entered(reentry_);
    if (state_ == State::Over) return;
    std::string early = std::exchange(pending_, {});
    read_session();  // what the pool made goes out
    if (lent_) {
        pending_ = std::move(early);  // the second hello of a retried handshake was there already
    } else if (state_ != State::Over) {
        if (!early.empty()) {
            feed_session({reinterpret_cast<const uint8_t*>(early.data()), early.size()});
        }
        const bool has_room = state_ == State::Handshaking ||
                              (state_ == State::Open && !protocol_->is_full(pending_.size()));
        if (has_room && !lent_) stream_->resume();
    }
    settle();
}

void ClientConnection::handshake_done() {
    move_to(State::Open);
    if (session_->info().challenge) {
        finish();  // RFC 8737 section 3: the handshake was all
        return;
    }
    set_deadline(worker_.routes.get().limits().head_ms);
}

void ClientConnection::deliver(std::span<const uint8_t> bytes) {
    if (pending_.empty()) {
        const std::string_view input(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        const size_t used = protocol_->on_bytes(input);
        if (used < input.size() && state_ == State::Open) pending_.assign(input.substr(used));
        return;
    }
    pending_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    use_pending();
}

void ClientConnection::use_pending() {
    const size_t used = protocol_->on_bytes(pending_);
    pending_.erase(0, used);
    if (pending_.empty()) pending_.shrink_to_fit();
}

/// Stops receiving while the protocol has more than it can use.
void ClientConnection::block_if_full() {
    if (state_ != State::Open || !protocol_->is_full(pending_.size())) return;
    stream_->pause();
    worker_.watch_paused();
}

/// close_notify or FIN: the client sends no more. What waits is still used when its time comes.
void ClientConnection::input_ended() {
    input_over_ = true;
    if (state_ == State::Handshaking) {
        if (has_spoken_) log_failed_handshake(tls::Failure::GivenUp, "the client left");
        return close_now();
    }
    protocol_->on_end(waiting());
}

size_t ClientConnection::waiting() const {
    return pending_.size() + (session_ && session_->has_input() ? 1 : 0);
}

void ClientConnection::resume() {
    turn_wanted_ = true;
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
    const base::Reentry::Entered entered(reentry_);
    if (state_ == State::Open && leaving_) finish();
    if (state_ == State::Open && std::exchange(turn_wanted_, false)) {
        protocol_->on_turn();
        if (state_ == State::Open && !pending_.empty()) use_pending();
        if (state_ == State::Open && session_ && session_->has_input() &&
            !protocol_->is_full(pending_.size())) {
            read_session();
            if (state_ == State::Open && !input_over_) session_->keep_input();
        }
        if (state_ == State::Open && input_over_) protocol_->on_end(waiting());
        if (state_ == State::Open && !protocol_->is_full(pending_.size())) stream_->resume();
    }
    settle();
}

void ClientConnection::on_end() noexcept {
    const base::Reentry::Entered entered(reentry_);
    has_ended_ = true;
    worker_.watch_paused();  // nothing more is received: a reset would not be seen
    if (state_ != State::Over) {
        if (leaving_) {
            part();
        } else if (!input_over_) {
            // Without close_notify before it (RFC 8446 6.1) it is the same to us: what was complete
            // is answered, what was not is not.
            input_ended();
        }
    }
    settle();
}

void ClientConnection::set_bulk(bool bulk) {
    if (bulk_ == bulk || state_ == State::Over) return;
    bulk_ = bulk;
    stream_->set_buffers(bulk ? net::BufferKind::Large : net::BufferKind::Small);
}

// --- sending

Flow ClientConnection::append(std::span<const uint8_t> bytes) {
    if (state_ == State::Over) return Flow::Gone;
    if (!session_) {
        while (!bytes.empty()) {
            if (!make_room(1, net::Purpose::Data)) return Flow::Gone;
            const size_t size = std::min(bytes.size(), out_.room().size());
            std::memcpy(out_.room().data(), bytes.data(), size);
            out_.filled(size);
            bytes = bytes.subspan(size);
            if (out_.room().empty() && push_out() == Flow::Gone) return Flow::Gone;
        }
        return Flow::Go;
    }
    while (!bytes.empty()) {
        if (!gather_ && bytes.size() >= record_bytes) {
            if (seal(bytes.first(record_bytes)) == Flow::Gone) return Flow::Gone;
            bytes = bytes.subspan(record_bytes);
            continue;
        }
        if (!gather_) gather_ = worker_.loop.chunks().take();
        if (!gather_) {
            abort();
            return Flow::Gone;
        }
        const size_t size = std::min(bytes.size(), record_bytes - gather_.size());
        std::memcpy(gather_.room().data(), bytes.data(), size);
        gather_.filled(size);
        bytes = bytes.subspan(size);
        if (gather_.size() == record_bytes) {
            const net::Chunk full = std::exchange(gather_, {});
            if (seal(full.bytes()) == Flow::Gone) return Flow::Gone;
        }
    }
    return Flow::Go;
}

Flow ClientConnection::flush() {
    if (state_ == State::Over) return Flow::Gone;
    if (gather_) {
        const net::Chunk last = std::exchange(gather_, {});
        if (seal(last.bytes()) == Flow::Gone) return Flow::Gone;
    }
    return push_out();
}

size_t ClientConnection::room() const {
    if (state_ == State::Over) return 0;
    if (stream_->queued() > 1) return 0;  // however small they are
    const size_t unsent = stream_->unsent();
    // Where memory is short one small piece at a time goes to each, so that all go on; where it is
    // nearly used up, nobody gets more before somebody gives back (WorkerContext::watch_memory()).
    if (worker_.memory_is_low()) {
        worker_.watch_memory();
        return unsent > 0 || worker_.memory_is_out() ? 0 : 1;
    }
    return output_bytes_max - unsent;
}

bool ClientConnection::make_room(size_t bytes, net::Purpose purpose) {
    if (!take_chunk(purpose)) return false;
    if (out_.room().size() >= bytes) return true;
    return push_out() == Flow::Go && take_chunk(purpose);
}

/// What was kept is the first in it.
bool ClientConnection::take_chunk(net::Purpose purpose) {
    if (out_) return true;
    out_ = worker_.loop.chunks().take(purpose);
    if (!out_) {
        worker_.counters.memory_aborts++;
        abort();
        return false;
    }
    if (!kept_.empty()) {
        std::memcpy(out_.room().data(), kept_.data(), kept_.size());
        out_.filled(kept_.size());
        kept_ = {};
    }
    return true;
}

/// What the session has said in this event goes out. If a response is due it goes with that, a
/// ticket mostly; until then it waits in memory of its own size: a chunk for each of those who wait
/// would leave none for others.
void ClientConnection::send_or_keep() {
    if (!out_ || state_ == State::Over) return;
    if (protocol_ && protocol_->is_waiting_for_response() && out_.size() <= kept_bytes_max) {
        kept_.assign(reinterpret_cast<const char*>(out_.data()), out_.size());
        out_ = {};
    } else {
        (void)push_out();
    }
}

/// Needs handshake_done().
Flow ClientConnection::seal(std::span<const uint8_t> plaintext) {
    if (!make_room(plaintext.size() + tls::Session::overhead_max, net::Purpose::Data)) {
        return Flow::Gone;
    }
    const size_t size = session_->write(plaintext, out_.room());
    if (size == 0) {
        abort();
        return Flow::Gone;
    }
    out_.filled(size);
    return Flow::Go;
}

Flow ClientConnection::push_out() {
    if (state_ == State::Over) return Flow::Gone;
    if (!kept_.empty() && !take_chunk(net::Purpose::Control)) return Flow::Gone;
    net::Chunk chunk = std::exchange(out_, {});
    if (!chunk || chunk.size() == 0) return Flow::Go;
    if (!stream_->can_send()) {
        // Only a handshake or alerts can get here, from a client that never reads.
        abort();
        return Flow::Gone;
    }
    worker_.counters.bytes_out += chunk.size();
    stream_->send(std::move(chunk));
    if (output_clock_.since_ms() == 0) begin_to_wait();
    return Flow::Go;
}

/// A client that takes what it is sent slower than the minimal rate is cut: it holds our memory,
/// and the backend's (Limits::response_rate_min).
void ClientConnection::begin_to_wait() {
    output_clock_.begin(worker_.loop.now_ms());
    if (!output_deadline_.is_set() && worker_.routes.get().limits().response_rate_min > 0) {
        output_deadline_.set(OutputClock::grace_ms);
    }
}

void ClientConnection::on_writable() noexcept {
    const base::Reentry::Entered entered(reentry_);
    if (stream_->unsent() > 0) {
        output_clock_.progress(worker_.loop.now_ms());
    } else {
        output_clock_.end(worker_.loop.now_ms());
    }
    if (state_ == State::Open && room() > 0) protocol_->on_writable();
    settle();
}

void ClientConnection::on_memory() {
    const base::Reentry::Entered entered(reentry_);
    if (state_ == State::Open && room() > 0) protocol_->on_writable();
    settle();
}

Waiting ClientConnection::waiting_output() const {
    Waiting waiting;
    if (output_clock_.since_ms() != 0) waiting = {stream_->unsent(), output_clock_.since_ms()};
    if (state_ != State::Open) return waiting;
    const Waiting servers = protocol_->waiting_for_servers();
    if (servers.bytes == 0) return waiting;
    if (waiting.bytes == 0 || servers.since_ms < waiting.since_ms) {
        waiting.since_ms = servers.since_ms;
    }
    waiting.bytes += servers.bytes;
    return waiting;
}

void ClientConnection::shed() {
    const base::Reentry::Entered entered(reentry_);
    cut();
}

/// Also what is left of a connection that is over and waits for its last bytes to be taken.
void ClientConnection::cut() {
    output_clock_.stop();
    if (state_ == State::Over) {
        stream_->abort();
    } else {
        abort();
    }
    settle();
}

Idle ClientConnection::idle() const {
    // Who has not taken his last response leaves no place when he is closed.
    const bool is_quiet = state_ == State::Open && waiting() == 0 && stream_->unsent() == 0;
    return is_quiet ? protocol_->idle() : Idle{};
}

void ClientConnection::close_idle() {
    const base::Reentry::Entered entered(reentry_);
    if (idle().since_ms != 0) {
        is_hurried_ = true;
        protocol_->on_deadline();
    }
    settle();
}

void ClientConnection::stop() {
    const base::Reentry::Entered entered(reentry_);
    if (state_ == State::Open && protocol_->idle().since_ms == 0) abort();
    settle();
}

bool ClientConnection::look_if_paused() {
    if (state_ != State::Open || !(stream_->paused() || has_ended_)) return false;
    if (!stream_->is_broken()) return true;
    const base::Reentry::Entered entered(reentry_);
    cut();
    return false;
}

// --- ending

void ClientConnection::finish() {
    if (flush() == Flow::Gone) return;
    if (session_ && session_->handshake_done()) {
        if (!make_room(tls::Session::overhead_max, net::Purpose::Control)) return;
        out_.filled(session_->close(out_.room()));
        if (push_out() == Flow::Gone) return;
    }
    part();
}

void ClientConnection::leave() {
    if (state_ != State::Open || leaving_) return;
    if (has_ended_) return part();
    leaving_ = true;
    run_soon();
}

void ClientConnection::part() {
    if (state_ == State::Over) return;
    move_to(State::Over);
    stream_->finish(last_output_ms, is_hurried_ ? hurried_linger_ms : linger_ms);
}

void ClientConnection::abort() {
    if (state_ == State::Over) return;
    move_to(State::Over);
    stream_->abort();
}

void ClientConnection::close_now() {
    if (state_ == State::Over) return;
    move_to(State::Over);
    stream_->close();
}

void ClientConnection::settle() {
    send_or_keep();
    if (state_ != State::Over || protocol_told_) return;
    protocol_told_ = true;
    if (protocol_) protocol_->on_gone();
}

void ClientConnection::on_closed(base::Error) noexcept {
    reentry_.check_outside();
    if (state_ == State::Handshaking && has_spoken_) {
        log_failed_handshake(tls::Failure::GivenUp, "the client left");
    }
    if (state_ != State::Over) move_to(State::Over);
    settle();
    output_clock_.stop();  // the stream is another one's soon, and we may be lent out and stay
    deadline_.disarm();
    output_deadline_.disarm();
    if (lent_ && worker_.options.tls.handshake_pool->withdraw(*session_)) lent_ = false;
    dead_ = true;
    if (run_wanted_ || lent_) return;  // run_deferred() does it, or take_session_back()
    delete this;
}

void ClientConnection::drain() {
    const base::Reentry::Entered entered(reentry_);
    if (state_ == State::Open) protocol_->on_drain();
    settle();
}

// --- time

void ClientConnection::on_deadline(void* self) noexcept {
    auto& connection = *static_cast<ClientConnection*>(self);
    const base::Reentry::Entered entered(connection.reentry_);
    if (connection.state_ == State::Handshaking) {
        // A lent session is the pool's: it counts as given up when it comes back.
        if (!connection.lent_) connection.session_->give_up(tls::Failure::TimedOut);
        connection.log_failed_handshake(tls::Failure::TimedOut, "not done in time");
        connection.close_now();
    }
    if (connection.state_ == State::Open) connection.protocol_->on_deadline();
    connection.settle();
}

void ClientConnection::on_output_deadline(void* self) noexcept {
    auto& connection = *static_cast<ClientConnection*>(self);
    const base::Reentry::Entered entered(connection.reentry_);
    const uint64_t rate_min = connection.worker_.routes.get().limits().response_rate_min;
    if (rate_min == 0) return;
    const OutputClock::Look look = connection.output_clock_.look(
        connection.worker_.loop.now_ms(), connection.stream_->delivery().taken, rate_min);
    if (!look.is_too_slow) return connection.output_deadline_.set(look.next_ms);
    base::log_debug("proxy", connection.address_, "cut: too slow in taking the response");
    connection.worker_.counters.slow_clients++;
    connection.cut();
}

}  // namespace proxy
