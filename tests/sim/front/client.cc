#include "client.h"

#include <algorithm>

namespace sim::front {

namespace {

constexpr uint64_t never = ~uint64_t{0};
/// How much may wait to be taken by the network before a client makes more.
constexpr size_t wire_max = 32 * 1024;
constexpr size_t sessions_kept = 8;

std::span<const uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Client::Client(Scene& scene, uint32_t number, Dice dice)
    : scene_(scene), oracle_(scene.oracle), number_(number), dice_(dice) {
    facts_.number = number;
    facts_.is_tls = dice_.chance(350);
    facts_.address = fmt::format("198.51.{}.{}", 1 + number / 250, 1 + number % 250);
    own_ = address_of(fmt::format("{}:{}", facts_.address, 20'000 + number));
    facts_.site = static_cast<int>(dice_.below(scene.sites.size()));
    const auto& hosts = scene.sites[static_cast<size_t>(facts_.site)].hosts;
    facts_.name = hosts[dice_.below(hosts.size())];
    choose_character();
    oracle_.counts.connections++;
    oracle_.trace().note("client", number_, "connects", facts_.is_tls, is_good_);
    peer_ = scene.kernel.connect(own_, facts_.is_tls ? scene.secure : scene.plain);
}

void Client::choose_character() {
    requests_left_ = static_cast<uint32_t>(dice_.chance(250) ? 1 : 1 + dice_.below(40));
    pipeline_max_ = dice_.chance(450) ? 1 + dice_.below(12) : 1;
    if (dice_.chance(150)) send_max_ = 1 + dice_.some_of(2'000);
    if (dice_.chance(150)) receive_max_ = 1 + dice_.some_of(4'000);
    if (dice_.chance(100)) key_updates_ = 30;
    if (dice_.chance(200)) think_ms_max_ = 1 + dice_.some_of(500);
    const uint64_t ending = dice_.below(100);
    ending_ = ending < 50   ? Ending::Close
              : ending < 70 ? Ending::CloseSilent
              : ending < 80 ? Ending::HalfClose
              : ending < 85 ? Ending::HalfCloseTls
                            : Ending::Linger;
    if (scene_.climate == Climate::Calm || dice_.chance(550)) return;

    is_good_ = false;
    oracle_.counts.faults++;
    switch (dice_.below(14)) {
        case 0:
            sends_garbage_ = true;
            return;
        case 1:
            fails_handshake_ = facts_.is_tls;
            if (fails_handshake_) facts_.name = dice_.chance(500) ? "nobody.test" : "";
            return;
        case 2:
        case 3:
        case 4:
            bad_at_ = 1 + static_cast<uint32_t>(dice_.below(requests_left_));
            return;
        case 5:
            ending_ = Ending::Junk;
            return;
        case 6:
            stalls_ = 100 + static_cast<uint32_t>(dice_.below(400));
            facts_.is_slow = true;
            return;
        default:
            break;
    }
    static constexpr Misfortune all[] = {
        Misfortune::Reset, Misfortune::ResetAtResponse, Misfortune::ResetAtResponse,
        Misfortune::Close, Misfortune::HalfClose,       Misfortune::Vanish,
        Misfortune::Deaf,  Misfortune::Garbage};
    misfortune_ = all[dice_.below(std::size(all))];
    misfortune_in_ = dice_.some_of(400);
    if (misfortune_ == Misfortune::ResetAtResponse) {
        misfortune_in_ = dice_.below(5);
        pipeline_max_ = 2 + dice_.below(12);
    }
    facts_.is_slow = misfortune_ == Misfortune::Vanish || misfortune_ == Misfortune::Deaf;
}

void Client::start() {
    state_ = State::Open;
    idle_since_ms_ = scene_.now_ms();
    oracle_.trace().note("client", number_, "is connected");
    if (sends_garbage_) {
        std::string garbage = make_garbage(dice_);
        if (!facts_.is_tls && garbage.starts_with("GET")) garbage = "SSH-2.0-x\r\n";
        if (!facts_.is_tls) {
            Request request;
            request.client = number_;
            request.kind = Kind::BadHead;
            Request& opened = oracle_.open(std::move(request), dice_.next());
            waiting_.push_back(&opened);
        }
        put_raw(garbage);
        said_last_ = true;
        return;
    }
    if (!facts_.is_tls) return;
    TlsClient::Options options;
    options.server_name = facts_.name;
    options.is_version_12 = dice_.chance(250);
    auto& sessions = scene_.sessions[facts_.name];
    if (!sessions.empty() && !fails_handshake_ && dice_.chance(600)) {
        const size_t at = dice_.below(sessions.size());
        options.session = sessions[at];
        options.is_version_12 =
            SSL_SESSION_get_protocol_version(options.session.get()) == TLS1_2_VERSION;
        sessions.erase(sessions.begin() + static_cast<ptrdiff_t>(at));
    }
    tls_.emplace(options);
    tls_->handshake();
    collect();
}

uint64_t Client::wake_at_ms() const {
    if (state_ == State::Done) return never;
    const uint64_t now = scene_.now_ms();
    uint64_t at = busy_until_ms_ > now ? busy_until_ms_ : never;
    if (awaits_continue_) at = std::min(at, continue_until_ms_);
    return at;
}

bool Client::is_idle() const {
    return state_ == State::Done || misfortune_ == Misfortune::Vanish || is_deaf_ ||
           (state_ == State::Open && waiting_.empty() && tunnel_ == nullptr &&
            (requests_left_ == 0 || said_last_));
}

// ---- Acting

bool Client::act(bool eager) {
    if (state_ == State::Done) return false;
    if (state_ == State::Connecting) {
        if (peer_->is_refused() || peer_->is_reset()) {
            if (is_good_ && !oracle_.excuses.kernel && !oracle_.excuses.draining) {
                oracle_.violate("client {} cannot connect", number_);
            }
            state_ = State::Done;
            return true;
        }
        if (!peer_->is_connected()) return false;
        start();
        return true;
    }
    if (misfortune_ != Misfortune::None && suffer()) return true;
    if (state_ == State::Done || misfortune_ == Misfortune::Vanish) return false;
    if (!scene_.is_fair && busy_until_ms_ > scene_.now_ms()) return false;
    bool moved = false;
    if (eager || dice_.chance(700)) moved |= receive();
    if (state_ != State::Done && (eager || dice_.chance(700))) moved |= produce();
    if (state_ != State::Done) moved |= send();
    if (moved && !scene_.is_fair && dice_.chance(stalls_)) {
        busy_until_ms_ = scene_.now_ms() + dice_.some_of(3'000);
    }
    return moved;
}

bool Client::suffer() {
    const bool waits_for_response = misfortune_ == Misfortune::ResetAtResponse;
    if (waits_for_response && (waiting_.empty() || !peer_->has_data())) return false;
    if (misfortune_in_ > 0) {
        --misfortune_in_;
        return false;
    }
    switch (misfortune_) {
        case Misfortune::Reset:
        case Misfortune::ResetAtResponse:
            oracle_.trace().note("client", number_, "resets");
            peer_->reset();
            leave();
            return true;
        case Misfortune::Close:
            oracle_.trace().note("client", number_, "closes");
            leave();
            return true;
        case Misfortune::HalfClose:
            oracle_.trace().note("client", number_, "ends its side anywhere");
            misfortune_ = Misfortune::None;
            wire_.clear();
            wire_at_ = 0;
            milestones_.clear();
            has_shut_ = said_last_ = true;
            uploading_ = nullptr;
            peer_->shut_write();
            return true;
        case Misfortune::Deaf:
            oracle_.trace().note("client", number_, "stops reading");
            misfortune_ = Misfortune::None;
            is_deaf_ = true;
            return true;
        case Misfortune::Garbage:
            oracle_.trace().note("client", number_, "sends garbage");
            misfortune_ = Misfortune::None;
            // Behind a request it would be read as one more: over TLS it is a bad record.
            if (!tls_) return false;
            said_last_ = sent_garbage_ = true;
            uploading_ = nullptr;
            put_raw(make_garbage(dice_));
            return true;
        case Misfortune::None:
        case Misfortune::Vanish:
            return false;
    }
    return false;
}

void Client::leave() {
    peer_.reset();  // closes it
    state_ = State::Done;
    if (tls_ && tls_->session()) {
        auto& sessions = scene_.sessions[facts_.name];
        sessions.push_back(tls_->session());
        if (sessions.size() > sessions_kept) sessions.erase(sessions.begin());
    }
}

// ---- Sending

void Client::put(std::string_view plaintext) {
    if (plaintext.empty()) return;
    if (tls_) {
        tls_->write(plaintext);
        collect();
    } else {
        put_raw(plaintext);
    }
}

/// As it is, also where there is TLS.
void Client::put_raw(std::string_view bytes) {
    wire_ += bytes;
    wire_end_ += bytes.size();
}

/// What TLS wants sent.
void Client::collect() {
    const size_t before = wire_.size();
    tls_->take_output(wire_);
    wire_end_ += wire_.size() - before;
}

void Client::mark(Mark what, Request& request) {
    milestones_.push_back({wire_end_, what, &request});
}

bool Client::send() {
    if (wire_at_ == wire_.size() || !peer_->can_send()) return false;
    const size_t most = scene_.is_fair ? wire_.size() : dice_.some_of(send_max_);
    const size_t size = std::min(wire_.size() - wire_at_, most);
    const size_t sent = peer_->send(as_bytes(std::string_view(wire_).substr(wire_at_, size)));
    wire_at_ += sent;
    const uint64_t at = wire_end_ - (wire_.size() - wire_at_);
    for (; !milestones_.empty() && milestones_.front().at <= at; milestones_.pop_front()) {
        const Milestone& reached = milestones_.front();
        switch (reached.what) {
            case Mark::HeadSent:
                reached.request->is_head_sent = true;
                oracle_.counts.requests++;
                break;
            case Mark::Whole:
                reached.request->is_sent_whole = true;
                break;
        }
    }
    if (wire_at_ == wire_.size()) {
        wire_.clear();
        wire_at_ = 0;
    } else if (wire_at_ > 2 * wire_max) {
        wire_.erase(0, wire_at_);
        wire_at_ = 0;
    }
    return sent > 0;
}

bool Client::may_begin() const {
    if (requests_left_ == 0 || said_last_ || has_shut_ || is_told_to_end_) return false;
    if (uploading_ != nullptr || tunnel_ != nullptr) return false;
    return waiting_.size() < pipeline_max_ && wire_.size() - wire_at_ < wire_max;
}

bool Client::produce() {
    if (tls_ && !tls_->is_done()) return false;
    if (tunnel_ != nullptr) return produce_tunnel();
    if (uploading_ != nullptr) {
        if (wire_.size() - wire_at_ >= wire_max) return false;
        if (awaits_continue_) {
            if (continue_until_ms_ > scene_.now_ms()) return false;
            awaits_continue_ = false;
        }
        produce_body();
        return true;
    }
    if (may_begin()) {
        if (bad_at_ > 0 && requests_left_ <= bad_at_) {
            begin_bad_request();
        } else {
            begin_request();
        }
        return true;
    }
    return end_in_order();
}

void Client::begin_request() {
    if (tls_ && dice_.chance(key_updates_)) tls_->update_key(dice_.chance(500));
    Draft draft = make_request(scene_, dice_, facts_, --requests_left_ == 0);
    Request& request = *draft.request;
    oracle_.trace().note("client", number_, "begins request", request.id, request.body_size);
    if (draft.closes || request.is_websocket || request.kind != Kind::Good) said_last_ = true;
    waiting_.push_back(&request);
    // A record, or a piece of one, for each of several parts.
    std::string_view head = draft.head;
    if (dice_.chance(100)) {
        const size_t cut = 1 + dice_.below(head.size() - 1);
        put(head.substr(0, cut));
        head.remove_prefix(cut);
    }
    body_ = BodyWriter(request.salt, request.body_size, request.framing, dice_.fork());
    if (body_.is_done()) {
        put(head);
        mark(Mark::HeadSent, request);
        mark(Mark::Whole, request);
        if (request.is_websocket && dice_.chance(400)) begin_tunnel_early(request);
        return;
    }
    awaits_continue_ = request.expects_continue && dice_.chance(800);
    continue_until_ms_ = scene_.now_ms() + 500;
    uploading_ = &request;
    put(head);
    mark(Mark::HeadSent, request);
    if (!awaits_continue_ && dice_.chance(700)) produce_body();
}

void Client::produce_body() {
    Request& request = *uploading_;
    std::string piece;
    body_.write(piece, dice_.some_of(16'000));
    request.body_sent = body_.written();
    put(piece);
    if (!body_.is_done()) return;
    mark(Mark::Whole, request);
    uploading_ = nullptr;
}

/// Sends for the tunnel before it stands: the front keeps it until the server's 101 (H1-41). If
/// there will be no tunnel, it is one more request, and a bad one.
void Client::begin_tunnel_early(Request& request) {
    Request after;
    after.client = number_;
    after.kind = Kind::BadHead;
    Request& opened = oracle_.open(std::move(after), dice_.next());
    opened.is_head_sent = true;
    waiting_.push_back(&opened);
    put_tunnel(request, 1 + dice_.below(2'000));
}

void Client::begin_bad_request() {
    requests_left_ = 0;
    said_last_ = true;
    Request request;
    request.client = number_;
    request.is_tls = facts_.is_tls;
    request.is_slow = true;
    request.client_address = facts_.address;
    request.host = facts_.name;
    request.kind = Kind::BadHead;
    Request hidden = request;
    Request& opened = oracle_.open(std::move(request), dice_.next());
    Request& inner = oracle_.open(std::move(hidden), dice_.next());
    opened.target = "/bad?r=" + std::to_string(opened.id);
    inner.target = "/hidden?r=" + std::to_string(inner.id);
    const BadRequest bad = make_bad_request(dice_, opened.target, opened.host, inner.target);
    if (bad.is_in_body) {
        opened.kind = Kind::BadBody;
        opened.method = "POST";
        opened.framing = Framing::Chunked;
        opened.site = facts_.site;
        const auto& site = scene_.sites[static_cast<size_t>(facts_.site)];
        if (!facts_.is_tls && site.requires_https) opened.local_status = 308;
    }
    waiting_.push_back(&opened);
    oracle_.trace().note("client", number_, bad.fault, opened.id);
    put(bad.bytes);
    opened.is_head_sent = true;
    opened.body_sent = bad.bytes.size();
}

bool Client::produce_tunnel() {
    if (has_ended_tunnel_ || has_shut_ || has_notified_) return false;
    if (wire_.size() - wire_at_ >= wire_max) return false;
    if (tunnel_left_ == 0) {
        // One side has to end it.
        if (wire_at_ != wire_.size() || (!scene_.is_fair && !dice_.chance(200))) return false;
        has_ended_tunnel_ = tunnel_->is_tunnel_ended = true;
        oracle_.trace().note("client", number_, "ends its tunnel", tunnel_->id);
        if (tls_) {
            tls_->close_notify();
            collect();
            has_notified_ = true;
        } else {
            has_shut_ = true;
            peer_->shut_write();
        }
        return true;
    }
    const size_t size = static_cast<size_t>(std::min<uint64_t>(tunnel_left_, dice_.some_of(9'000)));
    tunnel_left_ -= size;
    put_tunnel(*tunnel_, size);
    return true;
}

void Client::put_tunnel(Request& request, size_t size) {
    std::string piece(size, '\0');
    write_pattern(~request.salt, tunnel_sent_, piece);
    tunnel_sent_ += size;
    request.body_sent = tunnel_sent_;
    put(piece);
}

/// The last request is sent, or answered: goes away as it is its way.
bool Client::end_in_order() {
    const bool is_through = requests_left_ == 0 || said_last_ || is_told_to_end_;
    if (!is_through || has_shut_ || uploading_ != nullptr || wire_at_ != wire_.size()) return false;
    const bool is_early = ending_ == Ending::HalfClose || ending_ == Ending::HalfCloseTls;
    if (!waiting_.empty() &&
        (!is_early || waiting_.back()->kind != Kind::Good || waiting_.back()->is_websocket)) {
        return false;
    }
    if (ending_ == Ending::Linger && !is_told_to_end_) return false;
    if (sends_garbage_) return false;
    owed_at_shut_ = waiting_.size();
    if (tls_ && !has_notified_ && ending_ != Ending::CloseSilent) {
        has_notified_ = true;
        oracle_.trace().note("client", number_, "sends close_notify");
        tls_->close_notify();
        collect();
        if (ending_ == Ending::Junk) put_raw(std::string(1 + dice_.some_of(9'000), 'j'));
        return true;
    }
    if (ending_ == Ending::HalfCloseTls && tls_ && !waiting_.empty()) return false;
    has_shut_ = true;
    oracle_.trace().note("client", number_, "sends FIN", waiting_.size());
    peer_->shut_write();
    return true;
}

}  // namespace sim::front
