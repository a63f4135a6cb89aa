#include "proxy/http1_connection.h"

#include "base/text.h"
#include "proxy/client_connection.h"
#include "proxy/client_identity.h"
#include "proxy/responder.h"

namespace proxy {

namespace {

constexpr std::string_view challenge_prefix = "/.well-known/acme-challenge/";
constexpr std::string_view well_known_prefix = "/.well-known/";
constexpr std::string_view certificate_status_path = "/.httpd/certificate-status";
/// Bodies beyond this get large receive buffers.
constexpr uint64_t bulk_bytes = 64 * 1024;
/// A body of our own goes out in pieces of this size: the stream takes 16 chunks at once, and the
/// status of some hundred domains is more.
constexpr size_t local_piece = 128 * 1024;
/// A body may be slow for so long before its average rate counts.
constexpr uint64_t body_grace_ms = 10'000;

std::string_view path_of(std::string_view target) {
    return target.substr(0, target.find('?'));
}

std::span<const uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Http1Connection::~Http1Connection() {
    drop_exchange();
}

void Http1Connection::drop_exchange() {
    waiting_local_.reset();
    if (!exchange_) return;
    exchange_->cancel();
    worker_.give_back(std::move(exchange_));
}

// --- requests

bool Http1Connection::is_full(size_t waiting) const {
    if (waiting == 0) return false;
    // An incomplete head wants more bytes; everything else waits for a backend or for the client to
    // read.
    return state_ != State::Head || !client_.can_write();
}

size_t Http1Connection::on_bytes(std::string_view input) {
    size_t used = 0;
    while (used < input.size()) {
        const std::string_view rest = input.substr(used);
        size_t step = 0;
        switch (state_) {
            case State::Head:
                step = client_.can_write() ? read_head(rest) : 0;
                break;
            case State::Body:
                step = read_body(rest);
                break;
            case State::Tunnel:
                if (exchange_->can_take()) {
                    step = std::min(rest.size(), tls::Session::plaintext_max);
                    exchange_->send_raw(as_bytes(rest.substr(0, step)));
                    client_.set_deadline(worker_.routes.get().limits().tunnel_idle_ms);
                }
                break;
            case State::Done:
                break;
            case State::Dead:
                return input.size();
        }
        used += step;
        if (step == 0) break;
    }
    if (exchange_) exchange_->flush();
    return used;
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
    first_ = false;
    handle(head);
    return result.consumed;
}

void Http1Connection::handle(const RequestHead& head) {
    worker_.counters.requests++;
    const Routes& routes = worker_.routes.get();
    const Limits& limits = routes.limits();
    minor_ = static_cast<uint8_t>(head.minor);
    is_head_ = head.is_head;
    keep_alive_ = head.keep_alive && !worker_.draining;
    response_begun_ = false;
    hsts_ = false;
    body_framing_ = head.framing;
    body_left_ = head.framing == Framing::Length ? head.content_length : 0;
    body_bytes_ = 0;
    chunks_.reset();
    const bool has_body = head.framing == Framing::Chunked || body_left_ > 0;
    state_ = has_body ? State::Body : State::Done;
    if (worker_.access_log.enabled()) {
        if (!record_) record_ = std::make_unique<AccessRecord>();
        worker_.access_log.begin(*record_, head);
    }

    const Site* site = routes.find(head.host);
    if (limits.request_body_max > 0 && body_left_ > limits.request_body_max) {
        respond_error(413, true);
        return;
    }
    if (answer_locally(head, site, routes)) return;
    forward(head, *site, routes);
}

/// Everything that does not go to a backend, in mod_md's order (mod_md.md section 9).
bool Http1Connection::answer_locally(const RequestHead& head, const Site* site,
                                     const Routes& routes) {
    const std::string_view path = path_of(head.target);
    if (worker_.options.local != nullptr) {
        ask_local_handler(head);
        return true;
    }

    const bool readable = head.method == "GET" || head.is_head;
    Admission admission = Admission::Served;
    if (const tls::SessionInfo* session = client_.tls_info()) {
        admission = admit(*session, head.host, site, routes);
    }
    if (admission == Admission::Misdirected) {
        respond_error(421, false);
        return true;
    }
    // The status of a certificate can be asked for before there is one.
    if (path == certificate_status_path && readable) {
        const std::string* body = worker_.certificate_status.get().find(head.host);
        if (body != nullptr) {
            respond({200, "application/json", {}, *body}, false);
            return true;
        }
    }
    if (admission == Admission::NotReady) {
        respond_error(503, false);
        return true;
    }
    if (path.starts_with(challenge_prefix)) {
        // Exactly our token on its own name; all else is normal traffic (H1-62).
        const auto& answers = worker_.http01.get().by_token;
        if (!answers.empty()) {
            const auto answer = answers.find(std::string(path.substr(challenge_prefix.size())));
            if (answer != answers.end() && base::iequals(answer->second.name, head.host)) {
                if (readable) {
                    respond({200, "", {}, answer->second.key_authorization}, false);
                } else {
                    respond_error(501, false);
                }
                return true;
            }
        }
    }
    if (site == nullptr) {
        respond_error(client_.tls_info() != nullptr ? 421 : 404, false);
        return true;
    }
    if (site->require_https != RequireHttps::Off && client_.tls_info() == nullptr &&
        !path.starts_with(well_known_prefix)) {
        respond(https_redirect(site->require_https == RequireHttps::Temporary, head.method,
                               head.host.empty() ? std::string_view(site->name) : head.host,
                               site->https_port, head.target),
                false);
        return true;
    }
    return false;
}

/// At once, or when the body is there.
void Http1Connection::ask_local_handler(const RequestHead& head) {
    const LocalRequest request = make_local_request(head, client_.is_unix());
    if (state_ == State::Done) {
        respond(worker_.options.local->handle(request), false);
    } else if (body_left_ > LocalHandler::body_bytes_max) {
        respond_error(413, true);
    } else {
        waiting_local_ = std::make_unique<WaitingLocalRequest>(request);
        begin_request_body(head, worker_.routes.get().limits());
    }
}

/// The body is wanted: asks for it if the client waits to be asked.
void Http1Connection::begin_request_body(const RequestHead& head, const Limits& limits) {
    if (head.expect_continue && head.minor >= 1) {
        client_.append(std::string_view("HTTP/1.1 100 Continue\r\n\r\n"));
        client_.flush();
    }
    body_since_ms_ = worker_.loop.now_ms();
    if (body_framing_ == Framing::Length && body_left_ > bulk_bytes) client_.set_bulk(true);
    client_.set_deadline(limits.body_ms);
}

void Http1Connection::forward(const RequestHead& head, const Site& site, const Routes& routes) {
    const bool is_tls = client_.tls_info() != nullptr;
    hsts_ = is_tls && site.hsts && !head.target.starts_with(well_known_prefix);
    const ForwardInfo info{
        .client_address = client_.address(),
        .proto = is_tls ? std::string_view("https") : std::string_view("http"),
        .host_sent = head.host_sent,
        .port = client_.public_port(),
        .upgrade = head.is_websocket,
    };
    exchange_ = worker_.take_exchange();
    if (!exchange_->start(*this, head, info, site.backend, routes.limits())) {
        worker_.give_back(std::move(exchange_));
        base::log_warn("proxy", site.backend->name,
                       "no connection could be made: no descriptor, "
                       "port or memory left");
        respond_error(503, true);
        return;
    }
    if (head.is_websocket) {
        // Nothing of the client's goes to the backend before its 101 (H1-41).
        state_ = State::Done;
    }
    if (state_ == State::Body) {
        begin_request_body(head, routes.limits());
    } else {
        exchange_->end_body();
        client_.set_deadline(routes.limits().backend_response_ms);
    }
}

size_t Http1Connection::read_body(std::string_view input) {
    const bool can_take = waiting_local_ || (exchange_ && exchange_->can_take());
    if (!can_take) return 0;
    const Limits& limits = worker_.routes.get().limits();
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
    body_bytes_ += data.size();
    const bool is_too_large =
        (limits.request_body_max > 0 && body_bytes_ > limits.request_body_max) ||
        (waiting_local_ && body_bytes_ > LocalHandler::body_bytes_max);
    if (is_too_large) {
        break_request(413, "body-too-large");
        return input.size();
    }
    if (waiting_local_) {
        waiting_local_->add(data);
    } else if (!data.empty()) {
        exchange_->send_body(as_bytes(data));
    }
    if (body_bytes_ > bulk_bytes && !done) client_.set_bulk(true);
    if (done) {
        end_request_body();
        return used;
    }
    const uint64_t elapsed_ms = worker_.loop.now_ms() - body_since_ms_;
    if (elapsed_ms > body_grace_ms &&
        body_bytes_ * 1000 < static_cast<uint64_t>(limits.body_rate_min) * elapsed_ms) {
        on_deadline();
        return input.size();
    }
    client_.set_deadline(limits.body_ms);
    return used;
}

void Http1Connection::end_request_body() {
    state_ = State::Done;
    if (waiting_local_) {
        const auto whole = std::exchange(waiting_local_, nullptr);
        respond(worker_.options.local->handle(whole->request()), false);
        return;
    }
    exchange_->end_body();
    client_.set_bulk(false);
    client_.set_deadline(worker_.routes.get().limits().backend_response_ms);
}

void Http1Connection::on_end(bool clean) {
    switch (state_) {
        case State::Head:
            // Between messages, or in the middle of a head that nobody will finish.
            client_.leave();
            return;
        case State::Body:
            // The body broke off: the backend must not take it for whole (H1-55, TL-28).
            drop_exchange();
            client_.abort();
            return;
        case State::Done:
            // A half-closed client still reads (H1-56, TL-29).
            keep_alive_ = false;
            (void)clean;  // the request was complete: how the rest ended does not matter
            return;
        case State::Tunnel:
            drop_exchange();
            log_access();
            state_ = State::Dead;
            client_.finish();
            return;
        case State::Dead:
            return;
    }
}

void Http1Connection::on_gone() {
    drop_exchange();
    local_rest_.reset();
    if (state_ == State::Dead) return;
    if (state_ != State::Head) log_access();
    state_ = State::Dead;
}

void Http1Connection::drain() {
    keep_alive_ = false;
    if (state_ == State::Head && !head_begun_) client_.finish();
}

void Http1Connection::on_deadline() {
    if (local_rest_) {
        client_.abort();  // who does not read gets no more
        return;
    }
    switch (state_) {
        case State::Head:
            if (head_begun_) {
                refuse(408, "head-timeout");
            } else {
                client_.finish();  // idle for long enough: no answer to a question not asked
            }
            return;
        case State::Body:
            if (exchange_ && !exchange_->can_take()) break;  // it is the backend that is slow
            break_request(408, "body-timeout");
            return;
        case State::Done:
            break;
        case State::Tunnel:
            drop_exchange();
            log_access();
            state_ = State::Dead;
            client_.finish();
            return;
        case State::Dead:
            return;
    }
    if (exchange_) {
        drop_exchange();
        on_exchange_failed(504, response_begun_ ? "response-timeout" : "backend-response-timeout");
    }
}

// --- responses of our own

void Http1Connection::respond(const LocalResponse& response, bool close) {
    // A body that nobody reads cannot be told from the next request: the connection ends (H1-36,
    // H1-57).
    if (close || state_ == State::Body) keep_alive_ = false;
    worker_.counters.responses[std::clamp(response.status / 100, 0, 5)]++;
    response_begun_ = true;
    std::string head;
    write_local_head(response, minor_, keep_alive_, response.body.size(), worker_.http_date(),
                     head);
    if (record_) {
        record_->status = response.status;
        record_->body_bytes = is_head_ ? 0 : response.body.size();
    }
    client_.append(head);
    const size_t at_once = is_head_ ? 0 : std::min(response.body.size(), local_piece);
    client_.append(std::string_view(response.body).substr(0, at_once));
    client_.flush();
    if (is_head_ || at_once == response.body.size()) {
        message_done();
        return;
    }
    local_rest_ = std::make_unique<LocalRest>(LocalRest{response.body, at_once});
    client_.set_deadline(worker_.routes.get().limits().body_ms);
}

/// The next piece of a large body of our own.
void Http1Connection::send_local_rest() {
    const std::string_view rest = std::string_view(local_rest_->body).substr(local_rest_->sent);
    const std::string_view piece = rest.substr(0, local_piece);
    local_rest_->sent += piece.size();
    client_.append(piece);
    client_.flush();
    if (!local_rest_) return;  // the connection is gone
    if (piece.size() < rest.size()) {
        client_.set_deadline(worker_.routes.get().limits().body_ms);
        return;
    }
    local_rest_.reset();
    message_done();
}

void Http1Connection::respond_error(int status, bool close) {
    respond(error_page(status), close);
}

void Http1Connection::refuse(int status, const char* reason) {
    base::log_info("proxy", client_.address(), "request refused with {}: {}", status, reason);
    if (state_ == State::Head) {
        minor_ = 1;
        is_head_ = false;
        if (worker_.access_log.enabled()) {
            if (!record_) record_ = std::make_unique<AccessRecord>();
            worker_.access_log.begin_bad(*record_);
        }
    }
    respond_error(status, true);
}

/// A request that goes wrong after its head: refused if nothing was answered yet, else cut.
void Http1Connection::break_request(int status, const char* reason) {
    drop_exchange();
    if (response_begun_) {
        client_.abort();
    } else {
        refuse(status, reason);
    }
}

/// The response is complete: on to the next request, or the end.
void Http1Connection::message_done() {
    log_access();
    // A response that came before the end of its request leaves bytes that are no request (BE-06).
    if (!keep_alive_ || state_ == State::Body || worker_.draining) {
        state_ = State::Dead;
        client_.finish();
        return;
    }
    state_ = State::Head;
    client_.set_deadline(worker_.routes.get().limits().idle_ms);
    client_.resume();
}

void Http1Connection::log_access() {
    if (!record_) return;
    worker_.access_log.end(*record_, client_.address(), worker_.loop.now_ms());
    record_.reset();
}

// --- responses of backends

void Http1Connection::on_interim_response(const ResponseHead& head) noexcept {
    if (minor_ == 0) return;  // RFC 9110 15.2: not to HTTP/1.0 clients
    auto& text = worker_.head_text;
    const size_t size =
        write_response_head(head, {}, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
    base::check(size > 0);
    client_.append(std::string_view(text.data(), size));
    client_.flush();
}

void Http1Connection::on_response_head(const ResponseHead& head, bool has_body) noexcept {
    worker_.counters.responses[std::clamp(head.status / 100, 0, 5)]++;
    response_begun_ = true;
    if (record_) record_->status = head.status;
    if (head.status == 101) {
        response_framing_ = Framing::UntilClose;
        state_ = State::Tunnel;
        keep_alive_ = false;
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
    base::check(size > 0);
    client_.append(std::string_view(text.data(), size));
    if (!has_body || head.status == 101) client_.flush();
    on_progress();
    // What the client sent early for the tunnel may go now.
    if (state_ == State::Tunnel) client_.resume();
}

void Http1Connection::on_response_data(std::span<const uint8_t> bytes) noexcept {
    if (record_) record_->body_bytes += bytes.size();
    if (response_framing_ == Framing::Chunked) {
        std::array<uint8_t, 18> line;
        client_.append(std::span<const uint8_t>(line).first(write_chunk_size(bytes.size(), line)));
        client_.append(bytes);
        client_.append(std::string_view("\r\n"));
    } else {
        client_.append(bytes);
    }
}

void Http1Connection::on_response_flush() noexcept {
    client_.flush();
    on_progress();
}

/// A byte of the response moved: its deadline starts anew.
void Http1Connection::on_progress() {
    const Limits& limits = worker_.routes.get().limits();
    client_.set_deadline(state_ == State::Tunnel ? limits.tunnel_idle_ms
                                                 : limits.backend_response_ms);
}

void Http1Connection::on_response_end() noexcept {
    worker_.give_back(std::move(exchange_));
    if (state_ == State::Dead) return;
    if (response_framing_ == Framing::Chunked) client_.append(last_chunk);
    client_.flush();
    message_done();
}

void Http1Connection::on_exchange_failed(int status, const char* reason) noexcept {
    if (exchange_) worker_.give_back(std::move(exchange_));
    if (state_ == State::Dead) return;
    base::log_warn("proxy", client_.address(), "{}: {}",
                   response_begun_ ? "response cut" : "answered with an error", reason);
    if (response_begun_) {
        // Never a falsely complete body (BE-04): no last chunk, no FIN in order.
        client_.abort();
        return;
    }
    respond_error(status, false);
}

void Http1Connection::on_exchange_writable() noexcept {
    client_.resume();
}

bool Http1Connection::can_take_response() const noexcept {
    return client_.can_write();
}

void Http1Connection::on_writable() {
    if (exchange_) {
        exchange_->resume_response();
        on_progress();
    } else if (local_rest_) {
        send_local_rest();
    } else if (state_ == State::Head) {
        client_.resume();
    }
}

}  // namespace proxy
