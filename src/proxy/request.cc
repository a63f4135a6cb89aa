#include "proxy/request.h"

#include "proxy/worker_context.h"

namespace proxy {

Request::Request(WorkerContext& worker)
    : worker_(worker), exchange_(worker), deadline_(worker.loop.timers(), this, on_deadline) {}

Request::~Request() {
    reset();
}

Decision Request::begin(const RequestHead& head, const tls::SessionInfo* session) {
    base::check(routes_ == nullptr);
    worker_.counters.requests++;
    routes_ = worker_.routes.hold();
    record_.status = 0;
    record_.body_bytes = 0;
    if (worker_.access_log.enabled()) worker_.access_log.begin(record_, head);
    return decide(head, session,
                  {.routes = *routes_,
                   .http01 = worker_.http01.get(),
                   .certificate_status = worker_.certificate_status.get(),
                   .local_only = worker_.options.local != nullptr});
}

void Request::begin_bad() {
    base::check(routes_ == nullptr);
    routes_ = worker_.routes.hold();
    record_.status = 0;
    record_.body_bytes = 0;
    if (worker_.access_log.enabled()) worker_.access_log.begin_bad(record_);
}

bool Request::forward(ResponseSink& sink, const RequestHead& head, const ForwardInfo& info,
                      const Site& site) {
    sink_ = &sink;
    return exchange_.start(sink, head, info, site, limits());
}

void Request::wait_for_body(ResponseSink& sink, const LocalRequest& request) {
    sink_ = &sink;
    local_ = std::make_unique<WaitingLocalRequest>(request);
}

LocalResponse Request::ask_local() {
    const auto whole = std::exchange(local_, nullptr);
    return worker_.options.local->handle(whole->request());
}

// --- the body

void Request::begin_body() {
    clock_.start(worker_.loop.now_ms());
}

size_t Request::body_room() const {
    if (local_) return tls::Session::plaintext_max;
    if (worker_.memory_is_out()) {
        worker_.watch_memory();
        return 0;
    }
    return exchange_.room();
}

Request::Body Request::take_body(std::string_view data) {
    clock_.add(data.size());
    const uint64_t size = clock_.bytes();
    if (limits().request_body_max > 0 && size > limits().request_body_max) return Body::TooLarge;
    if (local_ && size > LocalHandler::body_bytes_max) return Body::TooLarge;
    if (clock_.is_too_slow(worker_.loop.now_ms(), limits().body_rate_min)) return Body::TooSlow;
    if (data.empty()) return Body::Taken;
    if (local_) {
        local_->add(data);
    } else {
        exchange_.send_body({reinterpret_cast<const uint8_t*>(data.data()), data.size()});
    }
    return Body::Taken;
}

bool Request::pause_body() {
    return clock_.pause(worker_.loop.now_ms());
}

bool Request::resume_body() {
    return clock_.resume(worker_.loop.now_ms());
}

// --- the response and the end

void Request::note_status(int status) {
    record_.status = status;
    worker_.counters.responses[std::clamp(status / 100, 0, 5)]++;
}

void Request::finish(std::string_view client_address) {
    if (finished_) return;
    finished_ = true;
    deadline_.clear();
    if (worker_.access_log.enabled() && routes_ != nullptr) {
        worker_.access_log.end(record_, client_address, worker_.loop.now_ms());
    }
}

void Request::reset() {
    exchange_.reset();
    deadline_.disarm();
    local_.reset();
    sink_ = nullptr;
    finished_ = false;
    routes_.reset();
}

void Request::on_deadline(void* self) noexcept {
    auto& request = *static_cast<Request*>(self);
    if (request.sink_ != nullptr) request.sink_->on_request_deadline();
}

}  // namespace proxy
