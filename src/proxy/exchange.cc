#include "proxy/exchange.h"

#include "proxy/worker_context.h"

namespace proxy {

namespace {

/// What a request began with is kept for a replay until its server answers. Where many wait for
/// that, for instance long polls, only of those of the usual size.
constexpr size_t replay_bytes_usual = 2 * 1024;
constexpr size_t replays_unusual_max = 1024;
/// Trailers of more than this do not keep their memory for the next request.
constexpr size_t trailers_usual = 1024;

std::span<const uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// An announced Keep-Alive timeout less a margin for the way there: httpd counts from its own last
/// byte.
uint64_t reuse_ms(uint32_t pool_idle_ms, int announced_s) {
    if (announced_s < 0) return pool_idle_ms;
    const uint64_t announced_ms = static_cast<uint64_t>(announced_s) * 1000;
    const uint64_t margin_ms = std::max<uint64_t>(500, announced_ms / 5);
    return std::min<uint64_t>(pool_idle_ms,
                              announced_ms > margin_ms ? announced_ms - margin_ms : 0);
}

}  // namespace

void Exchange::move_to(State next) {
    switch (next) {
        case State::Idle:
            break;
        case State::Sending:
            base::check(state_ == State::Idle);
            break;
        case State::Head:
            base::check(state_ == State::Sending);
            break;
        case State::Body:
        case State::Tunnel:
            base::check(state_ == State::Head);
            break;
        case State::Over:
            base::check(is_under_way());
            break;
    }
    state_ = next;
}

// --- the request

bool Exchange::start(ResponseSink& sink, const RequestHead& head, const ForwardInfo& forward,
                     const Site& site, const Limits& limits) {
    base::check(state_ == State::Idle);
    sink_ = &sink;
    site_ = &site;
    connect_ms_ = limits.backend_connect_ms;
    pool_idle_ms_ = limits.backend_idle_ms;
    attempts_ = {};
    request_framing_ = head.framing;
    pushed_ = request_ended_ = body_begun_ = beyond_first_ = replayed_ = held_ = false;
    is_watched_ = false;
    idempotent_ = head.is_idempotent;
    to_head_ = head.is_head;
    websocket_ = forward.upgrade;
    interims_ = 0;
    progress_.reset();
    partial_.clear();
    trailers_.clear();

    out_ = worker_.loop.chunks().take(net::Purpose::Control);
    if (!out_) return false;
    connection_ = lease(false);
    if (connection_ == nullptr) {
        out_ = {};
        return false;
    }
    move_to(State::Sending);
    if (const size_t size = write_request_head(head, forward, out_.room()); size > 0) {
        out_.filled(size);
    } else {
        // A head beyond one chunk: written aside and cut.
        auto& text = worker_.request_text;
        const size_t whole = write_request_head(
            head, forward, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
        base::check(whole > 0);  // request_text has room for any head that the parser accepts
        append({reinterpret_cast<uint8_t*>(text.data()), whole});
    }
    return true;
}

BackendConnection* Exchange::lease(bool fresh) {
    Balancer& balancer = worker_.pools.of(site_->backend, worker_.routes.get());
    const uint64_t now_ms = worker_.loop.now_ms();
    while (ServerPool* pool = balancer.next(attempts_, now_ms)) {
        if (!fresh) {
            if (BackendConnection* pooled = pool->reuse(*this)) {
                worker_.counters.backend_reused++;
                return pooled;
            }
        }
        auto made = pool->connect(*this, connect_ms_);
        if (made) {
            worker_.counters.backend_connects++;
            return *made;
        }
    }
    return nullptr;
}

void Exchange::append(std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
        if (!out_) out_ = worker_.loop.chunks().take();
        if (!out_) {
            // No memory for this request: its connection breaks, and on_backend_closed() says so.
            connection_->give_up();
            return;
        }
        const size_t size = std::min(bytes.size(), out_.room().size());
        std::memcpy(out_.room().data(), bytes.data(), size);
        out_.filled(size);
        bytes = bytes.subspan(size);
        if (out_.room().empty()) push_out();
    }
}

void Exchange::push_out() {
    if (held_) send_first();
    if (pushed_) {
        beyond_first_ = true;
    } else if (!connection_->connected() && out_.size() <= replay_bytes_usual) {
        first_.assign(reinterpret_cast<const char*>(out_.data()), out_.size());
        held_ = pushed_ = true;
        out_ = {};
        return;
    } else if (may_replay() && !replayed_ &&
               (out_.size() <= replay_bytes_usual || worker_.requests() <= replays_unusual_max)) {
        first_.assign(reinterpret_cast<const char*>(out_.data()), out_.size());
    }
    pushed_ = true;
    connection_->send(std::exchange(out_, {}));
}

bool Exchange::may_replay() const {
    return connection_->reused() || site_->backend->servers.size() > 1;
}

void Exchange::send_first() {
    held_ = false;
    net::Chunk chunk = worker_.loop.chunks().take(net::Purpose::Control);
    if (!chunk) return connection_->give_up();
    std::memcpy(chunk.data(), first_.data(), first_.size());
    chunk.filled(first_.size());
    connection_->send(std::move(chunk));
    if (!may_replay()) forget_first();
}

/// Its memory is kept for the next request, if it is of the usual size.
void Exchange::forget_first() {
    held_ = false;
    first_.clear();
    if (first_.capacity() > replay_bytes_usual) first_.shrink_to_fit();
}

void Exchange::flush() {
    if (out_ && out_.size() > 0 && connection_ != nullptr) push_out();
}

void Exchange::send_body(std::span<const uint8_t> bytes) {
    base::check(!request_ended_);
    body_begun_ = true;
    if (request_framing_ == Framing::Chunked) {
        std::array<uint8_t, 18> line;
        append(std::span(line).first(write_chunk_size(bytes.size(), line)));
        append(bytes);
        append(as_bytes("\r\n"));
    } else {
        append(bytes);
    }
}

void Exchange::end_body() {
    base::check(!request_ended_);
    request_ended_ = true;
    if (connection_ == nullptr) return;  // over already: nobody reads it
    if (request_framing_ == Framing::Chunked) append(as_bytes(last_chunk));
}

size_t Exchange::room() const {
    if (connection_ == nullptr || held_) return 0;
    // As for clients, see ClientConnection::room().
    if (worker_.memory_is_low()) {
        worker_.watch_memory();
        return waiting().bytes > 0 || worker_.memory_is_out() ? 0 : 1;
    }
    return connection_->send_room();
}

void Exchange::begin_to_watch() {
    // Of a small request the server has all: there is nothing to ask.
    is_watched_ = connection_ != nullptr && (beyond_first_ || waiting().bytes > 0);
    if (is_watched_) (void)connection_->has_taken(1);
}

bool Exchange::is_being_taken(uint64_t bytes_min) {
    return is_watched_ && connection_ != nullptr &&
           connection_->has_taken(std::max<uint64_t>(1, bytes_min));
}

void Exchange::resume_response() {
    if (connection_ == nullptr) return;
    if (const size_t room = sink_->room(); room > 0) connection_->set_room(room);
}

void Exchange::finish_tunnel() {
    reentry_.check_outside();
    flush();
    if (BackendConnection* connection = std::exchange(connection_, nullptr)) connection->finish();
    reset();
}

void Exchange::reset() {
    reentry_.check_outside();
    if (BackendConnection* connection = std::exchange(connection_, nullptr)) connection->release();
    move_to(State::Idle);
    out_ = {};
    forget_first();
    trailers_.clear();
    if (trailers_.capacity() > trailers_usual) trailers_.shrink_to_fit();
    sink_ = nullptr;
    site_ = nullptr;
}

// --- ends

Exchange::Step Exchange::over(const Lease& lease) {
    move_to(State::Over);
    connection_ = nullptr;
    lease_ = lease;
    out_ = {};
    forget_first();
    return Step::Over;
}

Exchange::Step Exchange::gone() {
    return over(Lease::abort());
}

Exchange::Step Exchange::fail(int status, const char* reason) {
    worker_.counters.backend_failures++;
    (void)over(Lease::abort());
    sink_->on_failed(status, reason);
    return Step::Over;
}

/// `surplus`: the server sent more than its message: nobody else may get that connection (BE-12).
Exchange::Step Exchange::complete(bool surplus) {
    const bool reusable = backend_keep_alive_ && request_ended_ && !surplus &&
                          response_framing_ != Framing::UntilClose;
    (void)over(reusable ? Lease::pool(worker_.loop.now_ms() +
                                      reuse_ms(pool_idle_ms_, keep_alive_timeout_s_))
                        : Lease::close());
    sink_->on_response_end(trailers_);
    return Step::Over;
}

/// RFC 9112 9.3.1, faults.md BE-01, BE-03, BE-15: once, on a fresh connection, if the server cannot
/// have acted on the request, or acting twice is harmless, and all that was sent is still here.
bool Exchange::try_replay() {
    if (state_ != State::Sending || beyond_first_ || (first_.empty() && pushed_)) return false;
    if (!lost_before_connect_) {
        // Of a request that is not idempotent nothing may have been sent that a server acts on: a
        // byte of its body, or all of a request without one (RFC 9110 9.2.2).
        const bool may_act = body_begun_ || request_ended_;
        if (replayed_ || !lost_reused_ || (may_act && !idempotent_)) return false;
        replayed_ = true;
        attempts_.tried = 0;  // it was there a moment ago
    }
    BackendConnection* next = lease(true);
    if (next == nullptr) return false;
    connection_ = next;
    worker_.counters.backend_replays++;
    if (first_.empty()) return true;
    held_ = true;
    if (first_.size() > replay_bytes_usual) send_first();
    return true;
}

Exchange::Step Exchange::lost(int status, const char* reason) {
    connection_ = nullptr;
    if (try_replay()) return Step::Go;
    return fail(status, reason);
}

// --- the response

Lease Exchange::on_backend_data(std::span<uint8_t> bytes) noexcept {
    const base::Reentry::Entered entered(reentry_);
    base::check(is_under_way());
    const std::string_view input(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    forget_first();
    if (state_ == State::Sending) move_to(State::Head);
    const Step step = state_ == State::Head ? read_head_bytes(input) : read_body(input);
    if (step == Step::Over) return lease_;
    connection_->set_room(sink_->room());
    return Lease::keep();
}

/// Bytes while the final head is not there: what is incomplete waits in partial_.
Exchange::Step Exchange::read_head_bytes(std::string_view input) {
    const bool pieced = !partial_.empty();
    if (pieced) {
        partial_.append(input);
        input = partial_;
    }
    if (read_heads(input) == Step::Over) return Step::Over;
    if (state_ != State::Head) return read_body(input);
    if (pieced) {
        partial_.erase(0, partial_.size() - input.size());
    } else {
        partial_.assign(input);
    }
    // Interim responses must not wait for the final one.
    return interims_ > 0 && sink_->on_response_flush() == Flow::Gone ? gone() : Step::Go;
}

Exchange::Step Exchange::read_heads(std::string_view& input) {
    ResponseHead& head = worker_.response_head;
    for (;;) {
        const ParseResult result = parse_response(input, progress_, to_head_, head);
        if (result.state == ParseResult::State::Incomplete) return Step::Go;
        if (result.state == ParseResult::State::Bad) return fail(502, result.reason);
        input.remove_prefix(result.consumed);
        progress_.reset();
        if (head.status >= 200) break;
        if (head.status == 101) {
            if (!websocket_) return fail(502, "unasked-101");
            move_to(State::Tunnel);
            return sink_->on_response_head(head, true) == Flow::Gone ? gone() : Step::Go;
        }
        if (++interims_ > interim_responses_max) return fail(502, "too-many-interim-responses");
        // 100 is ours to say: we answered Expect ourselves. Hints beyond the number that is relayed
        // are left out (BE-08): the response is what counts.
        if (head.status == 100 || interims_ > interim_responses_relayed_max) continue;
        if (sink_->on_interim_response(head) == Flow::Gone) return gone();
    }
    move_to(State::Body);
    response_framing_ = head.framing;
    response_left_ = head.framing == Framing::Length ? head.content_length : 0;
    chunks_.reset();
    backend_keep_alive_ = head.keep_alive && head.keep_alive_max != 0;
    keep_alive_timeout_s_ = head.keep_alive_timeout_s;
    const bool has_body = response_framing_ == Framing::Chunked ||
                          response_framing_ == Framing::UntilClose || response_left_ > 0;
    return sink_->on_response_head(head, has_body) == Flow::Gone ? gone() : Step::Go;
}

Exchange::Step Exchange::read_body(std::string_view input) {
    if (state_ == State::Tunnel) {
        if (!input.empty() && sink_->on_response_data(as_bytes(input)) == Flow::Gone) {
            return gone();
        }
        return sink_->on_response_flush() == Flow::Gone ? gone() : Step::Go;
    }
    switch (response_framing_) {
        case Framing::None:
            return complete(!input.empty());
        case Framing::Length: {
            const size_t size =
                static_cast<size_t>(std::min<uint64_t>(input.size(), response_left_));
            response_left_ -= size;
            if (size > 0 &&
                sink_->on_response_data(as_bytes(input.substr(0, size))) == Flow::Gone) {
                return gone();
            }
            if (response_left_ == 0) return complete(size < input.size());
            break;
        }
        case Framing::Chunked:
            while (!input.empty()) {
                const ChunkDecoder::Step step = chunks_.decode(input, &trailers_);
                if (step.state == ChunkDecoder::State::Bad) return fail(502, step.reason);
                if (!step.data.empty() &&
                    sink_->on_response_data(as_bytes(step.data)) == Flow::Gone) {
                    return gone();
                }
                input.remove_prefix(step.consumed);
                if (step.state == ChunkDecoder::State::Done) return complete(!input.empty());
                if (step.consumed == 0) break;
            }
            break;
        case Framing::UntilClose:
            if (!input.empty() && sink_->on_response_data(as_bytes(input)) == Flow::Gone) {
                return gone();
            }
            break;
    }
    return sink_->on_response_flush() == Flow::Gone ? gone() : Step::Go;
}

void Exchange::on_backend_connected() noexcept {
    const base::Reentry::Entered entered(reentry_);
    if (!held_) return;
    send_first();
    if (room() > 0) sink_->on_request_room();
}

void Exchange::on_backend_writable() noexcept {
    const base::Reentry::Entered entered(reentry_);
    if (room() > 0) sink_->on_request_room();
}

Lease Exchange::on_backend_end() noexcept {
    const base::Reentry::Entered entered(reentry_);
    base::check(is_under_way());
    switch (state_) {
        case State::Sending:
            lost_before_connect_ = false;
            lost_reused_ = connection_->reused();
            (void)lost(502, "backend-closed-before-response");
            break;
        case State::Head:
            (void)fail(502, "backend-closed-in-head");
            break;
        case State::Body:
            if (response_framing_ == Framing::UntilClose) {
                (void)complete(false);
            } else {
                (void)fail(502, "backend-closed-in-body");
            }
            break;
        case State::Tunnel:
            (void)over(Lease::close());
            sink_->on_response_end({});
            break;
        case State::Idle:
        case State::Over:
            break;
    }
    return Lease::close();  // of the connection that ended; a replay leased another one
}

void Exchange::on_backend_closed(base::Error error) noexcept {
    const base::Reentry::Entered entered(reentry_);
    base::check(is_under_way());
    // The lease ended with the connection; the object behind it goes after this call.
    const bool connected = connection_->connected();
    lost_before_connect_ = !connected;
    lost_reused_ = connection_->reused();
    connection_ = nullptr;
    if (error.domain == base::ErrorDomain::None) {
        (void)fail(503, "out-of-memory");  // give_up()
    } else if (state_ == State::Tunnel) {
        (void)over(Lease::close());
        sink_->on_response_end({});
    } else if (state_ != State::Sending) {
        (void)fail(502, "backend-reset-in-response");
    } else if (connected) {
        (void)lost(502, "backend-reset-before-response");
    } else {
        const bool timed_out = error.domain == base::ErrorDomain::Net;
        (void)lost(is_shortage(error) ? 503 : (timed_out ? 504 : 502),
                   timed_out ? "backend-connect-timeout" : "backend-connect-failed");
    }
}

}  // namespace proxy
