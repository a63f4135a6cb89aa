#include "oracle.h"

#include <algorithm>

namespace sim::front {

namespace {

constexpr size_t attempts_max = 6;
/// More interim responses than the front relays (proxy/limits.h): it may give up.
constexpr int interims_relayed = 16;

/// "…r=17": the number at the end of a target; 0: none.
uint64_t id_of(std::string_view target) {
    const size_t at = target.rfind("r=");
    uint64_t id = 0;
    return at != target.npos && read_number(target.substr(at + 2), id) ? id : 0;
}

/// Fields that end at the front, whoever sends them.
constexpr std::string_view ends_here[] = {
    "Forwarded",
    "Proxy",
    "X-Real-IP",
    "X-Forwarded-Server",
    "X-Forwarded-Scheme",
    "X-Hop",
    "TE",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authorization",
    "Expect",
    "Trailer",
    "HTTP2-Settings",
    "X_Tag",
};

}  // namespace

void Counts::add(const Counts& other) {
    requests += other.requests;
    bad += other.bad;
    answered += other.answered;
    local += other.local;
    refused += other.refused;
    attempts += other.attempts;
    replays += other.replays;
    interims += other.interims;
    tunnels += other.tunnels;
    connections += other.connections;
    handshakes += other.handshakes;
    resumed += other.resumed;
    faults += other.faults;
    kernel_faults += other.kernel_faults;
    reloads += other.reloads;
    finals += other.finals;
}

Request& Oracle::open(Request request, uint64_t salt) {
    requests_.push_back(std::move(request));
    Request& added = requests_.back();
    added.id = requests_.size();
    added.salt = salt;
    added.routes_from = publication();
    added.begun_ms = now_ms_;
    if (added.kind != Kind::Good) counts.bad++;
    return added;
}

Request* Oracle::find(uint64_t id) {
    return id == 0 || id > requests_.size() ? nullptr : &requests_[static_cast<size_t>(id - 1)];
}

void Oracle::publish(std::vector<std::set<uint32_t>> servers_of_site) {
    publications_.push_back(std::move(servers_of_site));
}

bool Oracle::may_see(const Request& request, uint32_t server) const {
    if (request.site < 0) return false;
    for (size_t i = request.routes_from; i < publications_.size(); ++i) {
        if (publications_[i][static_cast<size_t>(request.site)].contains(server)) return true;
    }
    return false;
}

// ---- What servers see

Oracle::Seen Oracle::on_request(uint32_t server, uint32_t connection, const Head& head) {
    Request* request = find(id_of(head.target));
    if (request == nullptr) {
        violate("server {} sees a request that nobody sent: {} {}", server, head.method,
                head.target);
    }
    if (request->kind == Kind::BadHead) {
        violate("server {} sees request {}, which had to be refused", server, request->id);
    }
    if (request->local_status != 0) {
        violate("server {} sees request {}, which the front answers with {}", server, request->id,
                request->local_status);
    }
    if (!request->is_head_sent) {
        violate("server {} sees request {} before its head was sent", server, request->id);
    }
    if (!may_see(*request, server)) {
        violate("server {} sees request {} of site {}, which is none of its own", server,
                request->id, request->site);
    }
    if (head.method != request->method || head.target != request->target) {
        violate("request {} came as \"{} {}\" and was \"{} {}\"", request->id, head.method,
                head.target, request->method, request->target);
    }
    if (head.framing != request->framing ||
        (head.framing == Framing::Length && head.length != request->body_size)) {
        violate("request {} came with {} of {} and had {} of {}", request->id,
                name_of(head.framing), head.length, name_of(request->framing), request->body_size);
    }
    check_fields(*request, head);
    check_repetition(*request);
    for (Attempt& earlier : request->attempts) earlier.is_superseded = true;
    request->attempts.emplace_back();
    Attempt& attempt = request->attempts.back();
    attempt.server = server;
    attempt.connection = connection;
    attempt.salt = request->salt * 31 + request->attempts.size();
    counts.attempts++;
    if (request->attempts.size() > 1) counts.replays++;
    return {request, &attempt};
}

void Oracle::check_fields(const Request& request, const Head& head) const {
    const auto has_once = [&](std::string_view name, std::string_view value) {
        std::string_view found;
        if (head.count(name, &found) != 1 || found != value) {
            violate("request {} has {} times {}, at last \"{}\", and not once \"{}\"", request.id,
                    head.count(name), name, found, value);
        }
    };
    has_once("Host", request.host);
    has_once("X-Forwarded-For", request.client_address);
    has_once("X-Forwarded-Proto", request.is_tls ? "https" : "http");
    has_once("X-Forwarded-Host", request.host);
    has_once("X-Forwarded-Port", request.is_tls ? "443" : "80");
    if (!request.tag.empty()) has_once("X-Tag", request.tag);
    for (const std::string_view name : ends_here) {
        if (head.count(name) > 0) violate("request {} still has {}", request.id, name);
    }
    if (request.is_websocket) {
        has_once("Upgrade", "websocket");
        if (!head.has_option("upgrade")) violate("request {} lost its upgrade", request.id);
    } else if (head.count("Upgrade") > 0 || head.has_option("upgrade")) {
        violate("request {} offers an upgrade that is none", request.id);
    }
    if (head.has_option("X-Hop")) violate("request {} still names X-Hop", request.id);
}

void Oracle::check_repetition(const Request& request) const {
    if (request.attempts.size() >= attempts_max) {
        violate("request {} was sent {} times", request.id, request.attempts.size() + 1);
    }
    // The first time it may be late: what was refused for its body, or for its time, was on its
    // way.
    if (request.final_status != 0 && !request.attempts.empty()) {
        violate("request {} comes again although its client has the head of a response",
                request.id);
    }
    for (const Attempt& earlier : request.attempts) {
        if (earlier.response_bytes > 0 && !earlier.was_reset && !excuses.kernel) {
            violate("request {} comes again although server {} had begun to answer", request.id,
                    earlier.server);
        }
        if (!request.is_idempotent && (earlier.is_whole || earlier.body_read > 0)) {
            violate("{} request {} comes again although server {} could act on it", request.method,
                    request.id, earlier.server);
        }
    }
}

void Oracle::on_request_data(const Seen& seen, std::string_view bytes) {
    const Request& request = *seen.request;
    Attempt& attempt = *seen.attempt;
    const bool is_known = request.kind == Kind::Good;  // a bad one's is whatever it is
    if (is_known && !is_pattern(request.salt, attempt.body_read, bytes)) {
        violate("the body of request {} is another from {} on", request.id, attempt.body_read);
    }
    attempt.body_read += bytes.size();
    if (attempt.body_read > request.body_sent) {
        violate("server {} has {} bytes of the body of request {}, of which {} were sent",
                attempt.server, attempt.body_read, request.id, request.body_sent);
    }
    if (attempt.is_superseded && !request.is_idempotent) {
        violate("a body goes on at server {} after request {} was sent again", attempt.server,
                request.id);
    }
}

void Oracle::on_request_end(const Seen& seen) {
    const Request& request = *seen.request;
    Attempt& attempt = *seen.attempt;
    if (request.kind != Kind::Good || !request.is_sent_whole) {
        violate("request {}, which is {}, looks complete to server {}", request.id,
                request.kind == Kind::Good ? "cut" : "bad", attempt.server);
    }
    if (attempt.body_read != request.body_size) {
        violate("the body of request {} ends after {} of {} bytes", request.id, attempt.body_read,
                request.body_size);
    }
    if (attempt.is_superseded && !request.is_idempotent) {
        violate("request {} becomes complete at server {} after it was sent again", request.id,
                attempt.server);
    }
    attempt.is_whole = true;
}

// ---- What clients see

void Oracle::on_interim(Request& request, const Head& head) {
    counts.interims++;
    if (!request.is_head_sent) violate("an interim response to a request that was not sent");
    if (request.minor == 0) violate("request {} in HTTP/1.0 gets {}", request.id, head.status);
    if (head.status == 100) {
        if (!request.expects_continue) violate("request {} gets 100 unasked", request.id);
        return;
    }
    const std::string mark = fmt::format("{}.{}", request.id, request.attempts.size());
    if (request.attempts.empty() || request.attempts.back().interims == 0 ||
        head.value_of("X-Sim") != mark) {
        violate("request {} gets {} of \"{}\"", request.id, head.status, head.value_of("X-Sim"));
    }
}

Attempt* Oracle::on_response(Request& request, const Head& head) {
    trace_.note("client", request.client, "gets a response", request.id,
                static_cast<uint64_t>(head.status));
    counts.finals++;
    // A head that did not come in time gets 408.
    const bool is_given_up = head.status == 408 && is_late(request);
    if (!request.is_head_sent && request.kind == Kind::Good && !is_given_up) {
        violate("client {} gets {} to a request that it did not send", request.client, head.status);
    }
    request.final_status = head.status;
    const std::string_view mark = head.value_of("X-Sim");
    if (mark.empty()) {
        check_local(request, head);
        return nullptr;
    }
    if (request.attempts.empty() ||
        mark != fmt::format("{}.{}", request.id, request.attempts.size())) {
        violate("request {}, attempt {}, gets the response \"{}\"", request.id,
                request.attempts.size(), mark);
    }
    Attempt& attempt = request.attempts.back();
    if (attempt.is_junk) violate("request {} gets what is no response", request.id);
    if (attempt.status != head.status || attempt.response_bytes == 0) {
        violate("request {} gets {}, server {} sent {}", request.id, head.status, attempt.server,
                attempt.status);
    }
    if (head.status == 101 && !request.is_websocket) {
        violate("request {} gets 101 unasked", request.id);
    }
    if (head.value_of("X-Padding") != pattern_text(attempt.salt, attempt.padding)) {
        violate("the fields of the response to request {} are others", request.id);
    }
    for (const std::string_view name : {"X-Hop", "Keep-Alive", "Proxy-Authenticate"}) {
        if (head.count(name) > 0) violate("response to {} still has {}", request.id, name);
    }
    if (head.count("Date") != 1) violate("response to {} has no Date", request.id);
    return &attempt;
}

void Oracle::check_local(const Request& request, const Head& head) const {
    const int status = head.status;
    if (head.value_of("Server") != "mdfront") {
        violate("request {} gets {} of nobody", request.id, status);
    }
    if (request.kind != Kind::Good) {
        if (status >= 400 || status == request.local_status) return;
        violate("request {} had to be refused and gets {}", request.id, status);
    }
    if (request.local_status != 0) {
        if (status == request.local_status || (status >= 500 && excuses.kernel)) return;
        if (status == 408 && is_late(request)) return;
        violate("request {} gets {} and had to get {}", request.id, status, request.local_status);
    }
    if (status == 200 && !request.local_body.empty()) return;
    if (status == 408 && is_late(request)) return;
    if (status >= 502 && status <= 504 && is_excused(request)) return;
    violate("request {} gets {} although nothing went wrong with it", request.id, status);
}

/// Its deadlines may be over, for the time that its client, or the world, has let pass.
bool Oracle::is_late(const Request& request) const {
    return request.is_slow || now_ms_ - request.begun_ms >= excuses.times_out_ms;
}

bool Oracle::is_excused(const Request& request) const {
    if (excuses.kernel || now_ms_ - request.begun_ms >= excuses.times_out_ms) return true;
    if (request.attempts.empty()) return excuses.bad_servers;
    const Attempt& last = request.attempts.back();
    return last.is_broken || last.is_junk || last.is_lost || last.interims > interims_relayed;
}

void Oracle::on_response_data(const Request& request, const Attempt* attempt, uint64_t offset,
                              std::string_view bytes) {
    if (attempt != nullptr) {
        if (offset + bytes.size() > attempt->size || !is_pattern(attempt->salt, offset, bytes)) {
            violate("the body of the response to request {} is another from {} on", request.id,
                    offset);
        }
        return;
    }
    if (request.final_status == 200 &&
        (offset > request.local_body.size() ||
         request.local_body.compare(static_cast<size_t>(offset), bytes.size(), bytes) != 0)) {
        violate("request {} gets another challenge's answer", request.id);
    }
}

void Oracle::on_response_end(Request& request, const Attempt* attempt, uint64_t size) {
    const bool has_body =
        !request.is_to_head && request.final_status != 204 && request.final_status != 304;
    if (attempt != nullptr) {
        if (!attempt->is_sent_whole || (has_body && size != attempt->size)) {
            violate("the response to request {} looks complete with {} of {} bytes{}", request.id,
                    size, attempt->size, attempt->is_sent_whole ? "" : ", which were never sent");
        }
    } else {
        counts.local++;
        if (request.final_status == 200 && has_body && size != request.local_body.size()) {
            violate("request {} gets {} of {} bytes of an answer", request.id, size,
                    request.local_body.size());
        }
    }
    request.is_answered = true;
    counts.answered++;
}

std::string Oracle::describe_unanswered() const {
    std::string text;
    for (const Request& one : requests_) {
        if (one.final_status != 0 || !one.is_head_sent) continue;
        text += fmt::format("\n  request {} of client {}: {} {}, {} attempts", one.id, one.client,
                            one.method, one.target, one.attempts.size());
    }
    return text;
}

void Oracle::check_unanswered(const Request& request) const {
    if (is_excused(request) || excuses.draining) return;
    violate("request {} of client {} was sent whole and has {} when its connection ends",
            request.id, request.client,
            request.final_status == 0 ? "no response" : "a part of its response");
}

}  // namespace sim::front
