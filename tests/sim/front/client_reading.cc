// What a simulated client receives, and what that means.
#include <algorithm>

#include "client.h"

namespace sim::front {

namespace {

/// How long the front reads on, after its end, what comes from a client that sends now and then.
constexpr uint64_t linger_quiet_ms = 5'000;

}  // namespace

bool Client::receive() {
    if (is_deaf_) {
        if (peer_->is_reset()) leave();
        return state_ == State::Done;
    }
    bool moved = false;
    if (peer_->has_data()) {
        uint8_t buffer[16 * 1024];
        const size_t most = scene_.is_fair ? sizeof buffer : dice_.some_of(receive_max_);
        const size_t size = peer_->receive(std::span(buffer).first(std::min(most, sizeof buffer)));
        const std::string_view bytes(reinterpret_cast<const char*>(buffer), size);
        moved = size > 0;
        if (tls_) {
            if (!receive_tls(bytes)) return true;
        } else {
            reader_.feed(bytes);
            read_messages();
        }
    }
    if (peer_ && !peer_->has_data() && (peer_->at_end() || peer_->is_reset())) {
        check_end_of_connection();
        moved = true;
    }
    return moved;
}

/// False: the connection is over.
bool Client::receive_tls(std::string_view bytes) {
    tls_->feed(bytes);
    if (!tls_->is_done()) {
        tls_->handshake();
        if (tls_->is_done()) {
            oracle_.counts.handshakes++;
            if (tls_->is_resumed()) oracle_.counts.resumed++;
            oracle_.trace().note("client", number_, "is through its handshake", tls_->is_resumed());
            if (fails_handshake_) {
                oracle_.violate("client {} is served under a name that nobody has", number_);
            }
        }
    }
    plaintext_.clear();
    tls_->read(plaintext_);
    collect();
    reader_.feed(plaintext_);
    read_messages();
    if (!tls_->has_failed()) return true;
    // A record that cannot be opened is never the network's doing.
    const bool is_own_fault = fails_handshake_ || sent_garbage_;
    const bool is_excused = tls_->is_alerted() && (!is_good_ || oracle_.excuses.kernel);
    if (!is_own_fault && !is_excused) {
        oracle_.violate("TLS of client {} fails{}", number_,
                        tls_->is_alerted() ? " with an alert" : ": no record of this connection");
    }
    oracle_.trace().note("client", number_, "gets an alert");
    leave();
    return false;
}

void Client::read_messages() {
    for (;;) {
        if (!in_response_ && tunnel_ == nullptr) {
            reader_.set_to_head(!waiting_.empty() && waiting_.front()->is_to_head);
        }
        switch (reader_.next()) {
            case Reader::Event::NeedMore:
                return;
            case Reader::Event::Head:
                on_head();
                break;
            case Reader::Event::Data:
                on_data();
                break;
            case Reader::Event::End:
                on_end();
                break;
            case Reader::Event::Bad:
                oracle_.violate("client {} gets no HTTP: {}", number_, reader_.why());
        }
    }
}

void Client::on_head() {
    const Head& head = reader_.head();
    if (waiting_.empty()) {
        oracle_.violate("client {} gets {} to nothing that it asked", number_, head.status);
    }
    if (is_told_to_end_) {
        oracle_.violate("client {} gets {} after the response that was the last", number_,
                        head.status);
    }
    Request& request = *waiting_.front();
    if (head.status < 200 && head.status != 101) {
        oracle_.on_interim(request, head);
        if (head.status == 100) awaits_continue_ = false;
        return;
    }
    attempt_ = oracle_.on_response(request, head);
    body_read_ = 0;
    if (head.status == 101) {
        oracle_.counts.tunnels++;
        tunnel_ = &request;
        waiting_.clear();  // what was sent early is the tunnel's
        tunnel_left_ = dice_.some_of(30'000);
        return;
    }
    in_response_ = true;
    is_told_to_end_ = head.has_option("close");
}

void Client::on_data() {
    if (tunnel_ == nullptr) {
        oracle_.on_response_data(*waiting_.front(), attempt_, body_read_, reader_.data());
    } else if (!is_pattern(~attempt_->salt, body_read_, reader_.data())) {
        oracle_.violate("the bytes of the tunnel of request {} are others from {} on", tunnel_->id,
                        body_read_);
    }
    body_read_ += reader_.data().size();
}

void Client::on_end() {
    Request& request = *waiting_.front();
    oracle_.on_response_end(request, attempt_, body_read_);
    if (request.kind != Kind::Good) oracle_.counts.refused++;
    if ((!request.is_sent_whole || request.kind != Kind::Good) && !is_told_to_end_) {
        oracle_.violate(
            "the connection goes on after the response to request {}, whose end is "
            "nowhere to be seen",
            request.id);
    }
    waiting_.pop_front();
    in_response_ = false;
    attempt_ = nullptr;
    idle_since_ms_ = scene_.now_ms();
    if (has_shut_ || has_notified_) answered_after_shut_++;
    if (uploading_ == &request) {
        uploading_ = nullptr;
        said_last_ = true;
    }
    if (think_ms_max_ > 0 && dice_.chance(300)) {
        busy_until_ms_ = scene_.now_ms() + dice_.some_of(static_cast<size_t>(think_ms_max_));
    }
}

void Client::check_end_of_connection() {
    const bool is_reset = peer_->is_reset();
    const bool is_clean = !is_reset && (!tls_ || tls_->is_closed());
    oracle_.trace().note("client", number_, "sees the end of its connection", is_reset, is_clean);
    if (is_clean && in_response_ && reader_.is_until_close()) on_end();
    if (is_good_) check_owed(is_reset);
    leave();
}

void Client::check_owed(bool is_reset) const {
    const Excuses& excuses = oracle_.excuses;
    if (tls_ && !tls_->is_done() && !excuses.kernel && !excuses.draining) {
        oracle_.violate("the handshake of client {} ends in the middle", number_);
    }
    // Who still sends is not waited for without end: what he has not read by then is lost.
    const bool is_late = is_reset && attempt_ != nullptr && attempt_->ended_ms != 0 &&
                         scene_.now_ms() >= attempt_->ended_ms + linger_quiet_ms;
    if (tunnel_ != nullptr && attempt_->is_sent_whole && !has_ended_tunnel_ && !is_late &&
        !attempt_->was_reset && !excuses.kernel && body_read_ != attempt_->size) {
        oracle_.violate("client {} gets {} of {} bytes out of its tunnel", number_, body_read_,
                        attempt_->size);
    }
    if (waiting_.empty() || is_told_to_end_) return;
    const Request& first = *waiting_.front();
    if (!first.is_head_sent || first.kind != Kind::Good) return;
    // After our end the front answers what it had begun, and need not begin more.
    const bool has_shut = has_shut_ || has_notified_;
    if (has_shut && (owed_at_shut_ == 0 || answered_after_shut_ > 0)) return;
    // A later response that had to be cut takes with it what is still on its way.
    const auto is_cut = [](const Request* request) {
        return !request->attempts.empty() && request->attempts.back().response_bytes > 0 &&
               (request->attempts.back().is_broken || request->attempts.back().is_lost);
    };
    if (is_reset && std::any_of(waiting_.begin(), waiting_.end(), is_cut)) return;
    // It may have ended the connection just before, as nothing was asked for so long.
    if (first.begun_ms >= idle_since_ms_ + scene_.idle_ms / 2) return;
    oracle_.check_unanswered(first);
}

void Client::check_at_end() const {
    if (state_ == State::Done || misfortune_ == Misfortune::Vanish || is_deaf_) return;
    oracle_.violate("after all is over, {}", describe());
}

std::string Client::describe() const {
    return fmt::format(
        "client {} ({}, {}) is {}, waits for {} responses, has {} requests left and {} bytes to "
        "send{}{}{}",
        number_, facts_.is_tls ? "TLS" : "plain", is_good_ ? "good" : "not good",
        state_ == State::Connecting ? "connecting" : "open", waiting_.size(), requests_left_,
        wire_.size() - wire_at_, has_shut_ ? ", has sent FIN" : "",
        tunnel_ != nullptr ? ", in a tunnel" : "", uploading_ != nullptr ? ", uploading" : "");
}

}  // namespace sim::front
