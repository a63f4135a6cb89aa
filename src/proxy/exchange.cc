#include "proxy/exchange.h"

#include <cerrno>

#include "proxy/worker_context.h"

namespace proxy {

namespace {

std::span<const uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// Lack of our own descriptors, ports or memory, as opposed to a server that does not answer.
bool is_shortage(const base::Error& error) {
    return error.domain == base::ErrorDomain::System &&
           (error.code == EMFILE || error.code == ENFILE || error.code == EADDRNOTAVAIL ||
            error.code == ENOBUFS || error.code == ENOMEM);
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

bool Exchange::start(ExchangeSource& source, const RequestHead& head, const ForwardInfo& forward,
                     const std::shared_ptr<const Backend>& backend, const Limits& limits) {
    base::check(state_ == State::Idle);
    backend_ = backend;
    connect_ms_ = limits.backend_connect_ms;
    pool_idle_ms_ = limits.backend_idle_ms;
    servers_tried_ = 0;
    connection_ = lease(false);
    if (connection_ == nullptr) {
        backend_.reset();
        return false;
    }
    source_ = &source;
    state_ = State::Sending;
    request_framing_ = head.framing;
    pushed_ = request_ended_ = body_begun_ = beyond_first_ = replayed_ = false;
    idempotent_ = head.is_idempotent;
    to_head_ = head.is_head;
    websocket_ = forward.upgrade;
    interims_ = 0;
    progress_.reset();
    partial_.clear();

    out_ = worker_.loop.chunks().take();
    if (!out_) {
        release(false, 0);
        return false;
    }
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
    const auto& pools = worker_.pools.of(backend_, worker_.routes.get());
    const size_t count = pools.size();
    if (count == 0) return nullptr;
    if (servers_tried_ == 0) worker_.next_server++;
    for (; servers_tried_ < count; ++servers_tried_) {
        ServerPool& pool = *pools[(worker_.next_server + servers_tried_) % count];
        if (!fresh) {
            if (BackendConnection* pooled = pool.reuse(*this)) {
                worker_.counters.backend_reused++;
                return pooled;
            }
        }
        auto made = pool.connect(*this, connect_ms_);
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
            connection_->stream().close();
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
    const bool may_replay = connection_->reused() || backend_->servers.size() > 1;
    if (pushed_) {
        beyond_first_ = true;
    } else if (may_replay && !replayed_) {
        first_ = worker_.loop.chunks().take();
        if (first_) {
            std::memcpy(first_.data(), out_.data(), out_.size());
            first_.filled(out_.size());
        }
    }
    pushed_ = true;
    connection_->stream().send(std::move(out_));
    out_ = {};
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
    if (request_framing_ == Framing::Chunked) append(as_bytes(last_chunk));
    request_ended_ = true;
}

void Exchange::resume_response() {
    if (connection_ != nullptr && connection_->stream().paused()) connection_->stream().resume();
}

void Exchange::release(bool reusable, uint64_t idle_until_ms) {
    if (BackendConnection* connection = std::exchange(connection_, nullptr)) {
        connection->give_back(reusable, idle_until_ms);
    }
    state_ = State::Idle;
    out_ = {};
    first_ = {};
    backend_.reset();
}

/// The exchange ends without a response, or in the middle of one. Nothing is touched after the call
/// back.
void Exchange::fail(int status, const char* reason) {
    worker_.counters.backend_failures++;
    release(false, 0);
    source_->on_exchange_failed(status, reason);
}

/// RFC 9112 9.3.1, faults.md BE-01, BE-03, BE-15: once, on a fresh connection, if the server cannot
/// have acted on the request, or acting twice is harmless, and all that was sent is still here.
bool Exchange::try_replay() {
    if (state_ != State::Sending || beyond_first_ || !(first_ || !pushed_)) return false;
    if (lost_before_connect_) {
        if (++servers_tried_ >= backend_->servers.size()) return false;
    } else {
        // Of a request that is not idempotent nothing may have been sent that a server acts on: a
        // byte of its body, or all of a request without one (RFC 9110 9.2.2).
        const bool may_act = body_begun_ || request_ended_;
        if (replayed_ || !lost_reused_ || (may_act && !idempotent_)) return false;
        replayed_ = true;
    }
    BackendConnection* next = lease(true);
    if (next == nullptr) return false;
    connection_ = next;
    worker_.counters.backend_replays++;
    if (first_) {
        net::Chunk again = worker_.loop.chunks().take();
        if (!again) {
            connection_->stream().close();
            return true;
        }
        std::memcpy(again.data(), first_.data(), first_.size());
        again.filled(first_.size());
        connection_->stream().send(std::move(again));
    }
    return true;
}

void Exchange::on_backend_connected() noexcept {}

void Exchange::on_backend_writable() noexcept {
    if (can_take()) source_->on_exchange_writable();
}

void Exchange::on_backend_data(std::span<uint8_t> bytes) noexcept {
    std::string_view input(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    first_ = {};
    if (state_ == State::Sending) state_ = State::Head;
    if (state_ == State::Head) {
        const bool pieced = !partial_.empty();
        if (pieced) {
            partial_.append(input);
            input = partial_;
        }
        if (!read_head(input)) {
            // Over, or incomplete: then the rest waits in partial_.
            if (state_ == State::Head) {
                if (pieced) {
                    partial_.erase(0, partial_.size() - input.size());
                } else {
                    partial_.assign(input);
                }
            }
            return;
        }
    }
    if (state_ == State::Tunnel) {
        if (!input.empty()) source_->on_response_data(as_bytes(input));
        source_->on_response_flush();
    } else {
        read_body(input);
    }
    if (connection_ != nullptr && !source_->can_take_response()) connection_->stream().pause();
}

bool Exchange::read_head(std::string_view& input) {
    ResponseHead& head = worker_.response_head;
    for (;;) {
        const ParseResult result = parse_response(input, progress_, to_head_, head);
        if (result.state == ParseResult::State::Incomplete) return false;
        if (result.state == ParseResult::State::Bad) {
            fail(502, result.reason);
            return false;
        }
        input.remove_prefix(result.consumed);
        progress_.reset();
        if (head.status >= 200) break;
        if (head.status == 101) {
            if (!websocket_) {
                fail(502, "unasked-101");
                return false;
            }
            state_ = State::Tunnel;
            source_->on_response_head(head, true);
            return true;
        }
        if (++interims_ > interim_responses_max) {
            fail(502, "too-many-interim-responses");
            return false;
        }
        // 100 is ours to say: we answered Expect ourselves.
        if (head.status != 100) source_->on_interim_response(head);
    }
    state_ = State::Body;
    response_framing_ = head.framing;
    response_left_ = head.framing == Framing::Length ? head.content_length : 0;
    chunks_.reset();
    backend_keep_alive_ = head.keep_alive && head.keep_alive_max != 0;
    keep_alive_timeout_s_ = head.keep_alive_timeout_s;
    const bool has_body = response_framing_ == Framing::Chunked ||
                          response_framing_ == Framing::UntilClose || response_left_ > 0;
    source_->on_response_head(head, has_body);
    return true;
}

void Exchange::read_body(std::string_view input) {
    switch (response_framing_) {
        case Framing::None:
            response_complete(!input.empty());
            return;
        case Framing::Length: {
            const size_t size =
                static_cast<size_t>(std::min<uint64_t>(input.size(), response_left_));
            if (size > 0) source_->on_response_data(as_bytes(input.substr(0, size)));
            response_left_ -= size;
            if (response_left_ == 0) {
                response_complete(size < input.size());
                return;
            }
            break;
        }
        case Framing::Chunked:
            while (!input.empty()) {
                const ChunkDecoder::Step step = chunks_.decode(input);
                if (step.state == ChunkDecoder::State::Bad) {
                    fail(502, step.reason);
                    return;
                }
                if (!step.data.empty()) source_->on_response_data(as_bytes(step.data));
                input.remove_prefix(step.consumed);
                if (step.state == ChunkDecoder::State::Done) {
                    response_complete(!input.empty());
                    return;
                }
                if (step.consumed == 0) break;
            }
            break;
        case Framing::UntilClose:
            if (!input.empty()) source_->on_response_data(as_bytes(input));
            break;
    }
    source_->on_response_flush();
}

/// `surplus`: the server sent more than its message: nobody else may get that connection (BE-12).
void Exchange::response_complete(bool surplus) {
    const bool reusable = backend_keep_alive_ && request_ended_ && !surplus &&
                          response_framing_ != Framing::UntilClose;
    const uint64_t until_ms =
        worker_.loop.now_ms() + reuse_ms(pool_idle_ms_, keep_alive_timeout_s_);
    release(reusable, until_ms);
    source_->on_response_end();
}

/// The server ended or lost the connection; what that means depends on how far the response was.
void Exchange::broke_off(int status, const char* reason) {
    if (try_replay()) return;
    fail(status, reason);
}

void Exchange::on_backend_end() noexcept {
    switch (state_) {
        case State::Idle:
            return;
        case State::Sending:
            lost_before_connect_ = false;
            lost_reused_ = connection_->reused();
            std::exchange(connection_, nullptr)->drop();
            broke_off(502, "backend-closed-before-response");
            return;
        case State::Head:
            fail(502, "backend-closed-in-head");
            return;
        case State::Body:
            if (response_framing_ == Framing::UntilClose) {
                response_complete(false);
            } else {
                fail(502, "backend-closed-in-body");
            }
            return;
        case State::Tunnel:
            release(false, 0);
            source_->on_response_end();
            return;
    }
}

void Exchange::on_backend_closed(base::Error error) noexcept {
    // The lease ended with the connection; the object behind it goes after this call.
    const bool connected = connection_->connected();
    lost_before_connect_ = !connected;
    lost_reused_ = connection_->reused();
    connection_ = nullptr;
    if (state_ == State::Sending) {
        if (!connected) {
            const bool timed_out = error.domain == base::ErrorDomain::Net;
            broke_off(is_shortage(error) ? 503 : (timed_out ? 504 : 502),
                      timed_out ? "backend-connect-timeout" : "backend-connect-failed");
        } else if (error.domain == base::ErrorDomain::None) {
            fail(503, "out-of-memory");
        } else {
            broke_off(502, "backend-reset-before-response");
        }
        return;
    }
    if (state_ == State::Tunnel) {
        release(false, 0);
        source_->on_response_end();
        return;
    }
    fail(502, "backend-reset-in-response");
}

}  // namespace proxy
