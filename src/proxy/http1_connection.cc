#include "proxy/http1_connection.h"

#include "base/log.h"
#include "proxy/responder.h"
#include "proxy/worker_context.h"

namespace proxy {

namespace {

/// Bodies beyond this get large receive buffers.
constexpr uint64_t bulk_bytes = 64 * 1024;
/// A body of our own goes out in pieces of this size: the stream takes 16 chunks at once, and the
/// status of some hundred domains is more.
constexpr size_t local_piece = 128 * 1024;

std::span<const uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Http1Connection::Http1Connection(ClientTransport& client, WorkerContext& worker)
    : client_(client), worker_(worker), idle_{worker.loop.now_ms(), true} {}

Http1Connection::~Http1Connection() {
    give_back_request();
}

void Http1Connection::move_to(State next) {
    switch (next) {
        case State::Head:
            base::check(state_ == State::Done);
            break;
        case State::Body:
            base::check(state_ == State::Head);
            break;
        case State::Done:
            base::check(state_ == State::Head || state_ == State::Body);
            break;
        case State::Tunnel:
            base::check(state_ == State::Done);
            break;
        case State::Dead:
            break;
    }
    state_ = next;
}

Request& Http1Connection::fresh_request() {
    give_back_request();
    request_ = worker_.take_request();
    return *request_;
}

void Http1Connection::give_back_request() {
    if (!request_) return;
    request_->reset();
    worker_.give_back(std::move(request_));
}

// --- requests

bool Http1Connection::is_full(size_t waiting) const {
    if (waiting == 0) return false;
    // An incomplete head wants more bytes; everything else waits for a backend or for the client to
    // read.
    return state_ != State::Head || client_.room() == 0;
}

bool Http1Connection::is_waiting_for_response() const {
    return state_ != State::Tunnel && request_ && request_->exchange().is_under_way();
}

Idle Http1Connection::idle() const {
    return state_ == State::Head && !head_begun_ ? idle_ : Idle{};
}

Waiting Http1Connection::waiting_for_servers() const {
    return request_ ? request_->exchange().waiting() : Waiting{};
}

size_t Http1Connection::on_bytes(std::string_view input) {
    const base::Reentry::Entered entered(reentry_);
    size_t used = 0;
    while (used < input.size()) {
        const std::string_view rest = input.substr(used);
        size_t step = 0;
        switch (state_) {
            case State::Head:
                step = client_.room() > 0 ? read_head(rest) : 0;
                break;
            case State::Body:
                step = read_body(rest);
                break;
            case State::Tunnel:
                step = read_tunnel(rest);
                break;
            case State::Done:
                break;
            case State::Dead:
                return input.size();
        }
        used += step;
        if (step == 0) break;
    }
    if (request_) request_->exchange().flush();
    return used;
}

void Http1Connection::on_turn() {
    const base::Reentry::Entered entered(reentry_);
    if (request_ && request_->is_finished()) give_back_request();
    if (request_ && state_ == State::Body && request_->body_room() > 0 && request_->resume_body()) {
        request_->set_deadline(request_->limits().body_ms);
    }
}

size_t Http1Connection::read_head(std::string_view input) {
    RequestHead& head = worker_.request_head;
    const ParseResult result = parse_request(input, progress_, head);
    switch (result.state) {
        case ParseResult::State::Incomplete:
            if (!head_begun_) {
                head_begun_ = true;
                client_.set_deadline(worker_.routes.get().limits().head_ms);
            }
            return 0;
        case ParseResult::State::Bad:
            refuse(result.status, result.reason);
            return input.size();
        case ParseResult::State::Complete:
            break;
    }
    progress_.reset();
    head_begun_ = false;
    client_.set_deadline(0);  // from here on the request's own deadline counts
    handle(head);
    return result.consumed;
}

void Http1Connection::handle(const RequestHead& head) {
    minor_ = static_cast<uint8_t>(head.minor);
    is_head_ = head.is_head;
    keep_alive_ = head.keep_alive && !worker_.draining;
    body_framing_ = head.framing;
    body_left_ = head.framing == Framing::Length ? head.content_length : 0;
    chunks_.reset();
    const Decision decision = fresh_request().begin(head, client_.tls_info());
    move_to(head.framing == Framing::Chunked || body_left_ > 0 ? State::Body : State::Done);
    if (const auto* reply = std::get_if<Reply>(&decision)) {
        respond(reply->response, reply->close);
    } else if (const auto* forwarded = std::get_if<Forward>(&decision)) {
        forward(head, *forwarded);
    } else {
        ask_local_handler(head);
    }
}

/// At once, or when the body is there.
void Http1Connection::ask_local_handler(const RequestHead& head) {
    const LocalRequest request = make_local_request(head, client_.is_unix());
    if (state_ == State::Done) {
        respond(worker_.options.local->handle(request), false);
    } else {
        request_->wait_for_body(*this, request);
        begin_request_body(head);
    }
}

void Http1Connection::forward(const RequestHead& head, const Forward& decision) {
    const bool is_tls = client_.tls_info() != nullptr;
    hsts_ = decision.hsts;
    const ForwardInfo info{
        // Nothing is made up for a client that has no address.
        .client_address = client_.is_unix() ? std::string_view() : client_.address(),
        .proto = is_tls ? std::string_view("https") : std::string_view("http"),
        .host_sent = head.host_sent,
        .port = client_.public_port(),
        .upgrade = head.is_websocket,
        .allow_unusual_field_names = request_->limits().allow_unusual_field_names,
    };
    if (!request_->forward(*this, head, info, *decision.site)) {
        base::log_warn("proxy", decision.site->backend->name,
                       "no connection could be made: no descriptor, "
                       "port or memory left");
        respond_error(503, true);
        return;
    }
    if (state_ == State::Body) {
        begin_request_body(head);
    } else {
        // Of a websocket's client nothing goes to the backend before its 101 (H1-41).
        request_->exchange().end_body();
        request_->set_deadline(request_->limits().backend_response_ms);
    }
}

/// The body is wanted: asks for it if the client waits to be asked.
void Http1Connection::begin_request_body(const RequestHead& head) {
    if (head.expect_continue && head.minor >= 1 &&
        (client_.append(std::string_view("HTTP/1.1 100 Continue\r\n\r\n")) == Flow::Gone ||
         client_.flush() == Flow::Gone)) {
        return;
    }
    if (body_framing_ == Framing::Length && body_left_ > bulk_bytes) client_.set_bulk(true);
    request_->begin_body();
    request_->set_deadline(request_->limits().body_ms);
}

size_t Http1Connection::read_body(std::string_view input) {
    if (request_->body_room() == 0) {
        // It is the backend that is slow now.
        if (request_->pause_body()) await_backend();
        return 0;
    }
    size_t used = 0;
    std::string_view data;
    bool done = false;
    if (body_framing_ == Framing::Length) {
        used = static_cast<size_t>(std::min<uint64_t>(input.size(), body_left_));
        used = std::min(used, tls::Session::plaintext_max);
        data = input.substr(0, used);
        body_left_ -= used;
        done = body_left_ == 0;
    } else {
        const ChunkDecoder::Step step =
            chunks_.decode(input.substr(0, tls::Session::plaintext_max));
        if (step.state == ChunkDecoder::State::Bad) {
            break_request(400, step.reason);
            return input.size();
        }
        used = step.consumed;
        data = step.data;
        done = step.state == ChunkDecoder::State::Done;
    }
    switch (request_->take_body(data)) {
        case Request::Body::Taken:
            break;
        case Request::Body::TooLarge:
            break_request(413, "body-too-large");
            return input.size();
        case Request::Body::TooSlow:
            break_request(408, "body-too-slow");
            return input.size();
    }
    if (done) {
        end_request_body();
        return used;
    }
    if (request_->body_bytes() > bulk_bytes) client_.set_bulk(true);
    request_->set_deadline(request_->limits().body_ms);
    return used;
}

void Http1Connection::end_request_body() {
    move_to(State::Done);
    client_.set_bulk(false);
    if (request_->waits_for_body()) {
        respond(request_->ask_local(), false);
        return;
    }
    request_->exchange().end_body();
    await_backend();
}

/// It is the backend's turn: to take the request, or to answer.
void Http1Connection::await_backend() {
    request_->exchange().begin_to_watch();
    request_->set_deadline(request_->limits().backend_response_ms);
}

size_t Http1Connection::read_tunnel(std::string_view input) {
    Exchange& exchange = request_->exchange();
    if (exchange.room() == 0) return 0;
    const size_t size = std::min(input.size(), tls::Session::plaintext_max);
    exchange.send_raw(as_bytes(input.substr(0, size)));
    request_->set_deadline(request_->limits().tunnel_idle_ms);
    return size;
}

// --- ends and deadlines

void Http1Connection::on_end(size_t waiting) {
    const base::Reentry::Entered entered(reentry_);
    switch (state_) {
        case State::Head:
            // Between messages, or in the middle of a head that nobody will finish.
            client_.leave();
            return;
        case State::Body:
            if (waiting > 0) return;
            // The body broke off: the backend must not take it for whole (H1-55, TL-28).
            request_->exchange().reset();
            client_.abort();
            return;
        case State::Done:
            return;  // a half-closed client still reads (H1-56, TL-29)
        case State::Tunnel:
            if (waiting > 0) return;
            end_tunnel();
            return;
        case State::Dead:
            return;
    }
}

void Http1Connection::end_tunnel() {
    request_->exchange().finish_tunnel();
    request_->finish(client_.address());
    move_to(State::Dead);
    client_.finish();
}

void Http1Connection::on_gone() {
    const base::Reentry::Entered entered(reentry_);
    local_rest_.reset();
    if (request_) {
        request_->finish(client_.address());
        give_back_request();
    }
    move_to(State::Dead);
}

void Http1Connection::on_drain() {
    const base::Reentry::Entered entered(reentry_);
    keep_alive_ = false;
    if (state_ == State::Head && !head_begun_) client_.finish();
}

void Http1Connection::on_deadline() {
    const base::Reentry::Entered entered(reentry_);
    if (state_ != State::Head) return;
    if (head_begun_) {
        refuse(408, "head-timeout");
    } else {
        client_.finish();  // idle for long enough: no answer to a question not asked
    }
}

void Http1Connection::on_request_deadline() noexcept {
    const base::Reentry::Entered entered(reentry_);
    switch (state_) {
        case State::Body:
            if (request_->waits_for_body() || request_->exchange().room() > 0) {
                break_request(408, "body-timeout");
                return;
            }
            break;  // it is the backend that is slow
        case State::Done:
            break;
        case State::Tunnel:
            end_tunnel();
            return;
        case State::Head:
        case State::Dead:
            return;
    }
    // A server that takes the request slowly is not one that does not answer.
    const Limits& limits = request_->limits();
    if (request_->exchange().is_being_taken(uint64_t{limits.body_rate_min} *
                                            limits.backend_response_ms / 1000)) {
        return request_->set_deadline(request_->limits().backend_response_ms);
    }
    request_->exchange().reset();
    fail(504, request_->response_begun() ? "response-timeout" : "backend-response-timeout");
}

// --- responses of our own

void Http1Connection::respond(const LocalResponse& response, bool close) {
    // A body that nobody reads cannot be told from the next request: the connection ends (H1-36,
    // H1-57).
    if (close || state_ == State::Body) keep_alive_ = false;
    request_->note_status(response.status);
    if (!is_head_) request_->note_sent(response.body.size());
    std::string head;
    write_local_head(response, minor_, keep_alive_, response.body.size(), worker_.http_date(),
                     head);
    const size_t at_once = is_head_ ? 0 : std::min(response.body.size(), local_piece);
    if (client_.append(head) == Flow::Gone ||
        client_.append(std::string_view(response.body).substr(0, at_once)) == Flow::Gone ||
        client_.flush() == Flow::Gone) {
        return;
    }
    if (is_head_ || at_once == response.body.size()) return message_done();
    local_rest_ = std::make_unique<LocalRest>(LocalRest{response.body, at_once});
}

/// The next piece of a large body of our own. A client that does not take it is the connection's
/// to judge.
void Http1Connection::send_local_rest() {
    const std::string_view rest = std::string_view(local_rest_->body).substr(local_rest_->sent);
    const std::string_view piece = rest.substr(0, local_piece);
    local_rest_->sent += piece.size();
    if (client_.append(piece) == Flow::Gone || client_.flush() == Flow::Gone) return;
    if (piece.size() < rest.size()) return;
    local_rest_.reset();
    message_done();
}

void Http1Connection::respond_error(int status, bool close) {
    respond(error_page(status), close);
}

void Http1Connection::log_refused(const char* what, int status, const char* reason) {
    // The statuses that we refuse with differ in this.
    const auto line = worker_.refused_requests.next(
        static_cast<size_t>(status) % base::LogSampler::keys_max, worker_.loop.now_ms());
    if (!line) return;
    base::log_info("proxy", client_.address(), "{} with {}: {}{}", what, status, reason,
                   line.left_out());
}

void Http1Connection::refuse(int status, const char* reason) {
    log_refused("request refused", status, reason);
    if (state_ == State::Head) {
        minor_ = 1;
        is_head_ = false;
        fresh_request().begin_bad();
        client_.set_deadline(0);
    }
    respond_error(status, true);
}

void Http1Connection::break_request(int status, const char* reason) {
    request_->exchange().reset();
    if (!request_->response_begun()) return refuse(status, reason);
    log_refused("response cut", status, reason);
    client_.abort();
}

/// The response is complete: on to the next request, or the end.
void Http1Connection::message_done() {
    request_->finish(client_.address());
    // A response that came before the end of its request leaves bytes that are no request (BE-06).
    if (!keep_alive_ || state_ != State::Done || worker_.draining) {
        move_to(State::Dead);
        client_.finish();
        return;
    }
    move_to(State::Head);
    idle_ = {worker_.loop.now_ms(), false};
    client_.set_deadline(worker_.routes.get().limits().idle_ms);
    client_.resume();
}

// --- responses of backends

Flow Http1Connection::on_interim_response(const ResponseHead& head) noexcept {
    const base::Reentry::Entered entered(reentry_);
    if (minor_ == 0) return Flow::Go;  // RFC 9110 15.2: not to HTTP/1.0 clients
    auto& text = worker_.head_text;
    const size_t size =
        write_response_head(head, {}, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
    base::check(size > 0);  // head_text has room for any head that the parser accepts
    progress_made();
    return client_.append(std::string_view(text.data(), size));
}

Flow Http1Connection::on_response_head(const ResponseHead& head, bool has_body) noexcept {
    const base::Reentry::Entered entered(reentry_);
    (void)has_body;  // a response without one ends at once
    request_->note_status(head.status);
    if (head.status == 101) {
        response_framing_ = Framing::UntilClose;
        move_to(State::Tunnel);
        keep_alive_ = false;
        client_.resume();  // what the client sent early for the tunnel may go now
    } else {
        response_framing_ = head.framing;
        const bool unbounded =
            head.framing == Framing::Chunked || head.framing == Framing::UntilClose;
        if (unbounded) response_framing_ = minor_ == 0 ? Framing::UntilClose : Framing::Chunked;
        if (response_framing_ == Framing::UntilClose) keep_alive_ = false;
        // The rest of an unread upload cannot be told from the next request (H1-38, BE-06).
        if (state_ == State::Body || worker_.draining) keep_alive_ = false;
    }
    auto& text = worker_.head_text;
    const ResponseRewrite rewrite{
        .framing = response_framing_,
        .content_length = head.content_length,
        .client_minor = minor_,
        .keep_alive = keep_alive_,
        .hsts = hsts_,
        .upgrade = head.status == 101,
        .date = head.find(FieldId::Date) == nullptr ? worker_.http_date() : std::string_view{},
    };
    const size_t size =
        write_response_head(head, rewrite, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
    base::check(size > 0);  // as above
    progress_made();
    return client_.append(std::string_view(text.data(), size));
}

Flow Http1Connection::on_response_data(std::span<const uint8_t> bytes) noexcept {
    const base::Reentry::Entered entered(reentry_);
    request_->note_sent(bytes.size());
    if (response_framing_ != Framing::Chunked) return client_.append(bytes);
    std::array<uint8_t, 18> line;
    const size_t size = write_chunk_size(bytes.size(), line);
    if (client_.append(std::span<const uint8_t>(line).first(size)) == Flow::Gone ||
        client_.append(bytes) == Flow::Gone) {
        return Flow::Gone;
    }
    return client_.append(std::string_view("\r\n"));
}

Flow Http1Connection::on_response_flush() noexcept {
    const base::Reentry::Entered entered(reentry_);
    const Flow flow = client_.flush();
    if (flow == Flow::Go) progress_made();  // by then it shows who has to go on
    return flow;
}

/// A byte of the response moved: its deadline starts anew. It is the backend's: while the client
/// has to take what is there, the connection watches.
void Http1Connection::progress_made() {
    const Limits& limits = request_->limits();
    if (state_ == State::Tunnel) return request_->set_deadline(limits.tunnel_idle_ms);
    request_->set_deadline(client_.room() > 0 ? limits.backend_response_ms : 0);
}

/// Trailers are not for HTTP/1 clients: who asks for them by TE does so hop by hop, and few can
/// merge them (RFC 9110 6.5.1, faults.md H1-34).
void Http1Connection::on_response_end(std::string_view) noexcept {
    const base::Reentry::Entered entered(reentry_);
    if (response_framing_ == Framing::Chunked && client_.append(last_chunk) == Flow::Gone) return;
    if (client_.flush() == Flow::Gone) return;
    message_done();
}

void Http1Connection::on_failed(int status, const char* reason) noexcept {
    const base::Reentry::Entered entered(reentry_);
    fail(status, reason);
}

void Http1Connection::fail(int status, const char* reason) {
    const auto line = worker_.failed_requests.next(
        static_cast<size_t>(status) % base::LogSampler::keys_max, worker_.loop.now_ms());
    if (line) {
        base::log_warn("proxy", client_.address(), "{}: {}{}",
                       request_->response_begun() ? "response cut" : "answered with an error",
                       reason, line.left_out());
    }
    if (request_->response_begun()) {
        // Never a falsely complete body (BE-04): no last chunk, no FIN in order.
        client_.abort();
        return;
    }
    respond_error(status, false);
}

void Http1Connection::on_request_room() noexcept {
    client_.resume();
}

size_t Http1Connection::room() const noexcept {
    return client_.room();
}

void Http1Connection::on_writable() {
    const base::Reentry::Entered entered(reentry_);
    // The request's bytes may have waited for memory.
    if (state_ == State::Body || state_ == State::Tunnel) client_.resume();
    if (request_ && request_->exchange().is_under_way()) {
        request_->exchange().resume_response();
        // It is the backend's turn again. If it was before, that it has sent nothing is no
        // progress.
        if (!request_->has_deadline()) progress_made();
    } else if (local_rest_) {
        send_local_rest();
    } else if (state_ == State::Head) {
        client_.resume();
    }
}

}  // namespace proxy
