#include "server.h"

#include <algorithm>

namespace sim::front {

namespace {

constexpr uint64_t never = ~uint64_t{0};
constexpr size_t wire_max = 24 * 1024;
/// The front relays so many (proxy/limits.h): more only where it may give up.
constexpr size_t interims_calm = 16;
constexpr size_t interims_rough = 40;

std::span<const uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

uint64_t response_size(Dice& dice) {
    if (dice.chance(720)) return dice.below(1'500);
    if (dice.chance(850)) return dice.some_of(30'000);
    return dice.some_of(400'000);
}

}  // namespace

ServerConnection::ServerConnection(Scene& scene, uint32_t server, uint32_t number, Dice dice,
                                   const Manners& manners, PeerPtr peer)
    : scene_(scene),
      oracle_(scene.oracle),
      server_(server),
      number_(number),
      dice_(dice),
      manners_(manners),
      peer_(std::move(peer)) {
    oracle_.trace().note("server", server_, "accepts connection", number_);
}

bool ServerConnection::act(bool eager) {
    if (!peer_) return false;
    if (misbehave()) return true;
    bool moved = false;
    if (eager || dice_.chance(700)) moved |= receive();
    if (peer_ && (eager || dice_.chance(700))) moved |= produce();
    if (peer_) moved |= send();
    if (peer_ && is_begun_ && is_written_ && wire_at_ == wire_.size()) moved |= end_response();
    return moved;
}

uint64_t ServerConnection::wake_at_ms() const {
    if (!peer_ || !is_answering() || is_begun_ || is_silent_) return never;
    return answer_at_ms_ > scene_.now_ms() ? answer_at_ms_ : never;
}

bool ServerConnection::is_idle() const {
    return !peer_ || !is_answering() || is_silent_;
}

bool ServerConnection::misbehave() {
    if (scene_.is_fair) return false;
    if (dice_.chance(manners_.resets)) {
        oracle_.counts.faults++;
        end(true);
        return true;
    }
    if (!is_answering() && !has_shut_ && dice_.chance(manners_.drops_idle)) {
        oracle_.counts.faults++;
        end(dice_.chance(200));
        return true;
    }
    return false;
}

// ---- Reading

bool ServerConnection::receive() {
    bool moved = false;
    if (peer_->has_data()) {
        uint8_t buffer[16 * 1024];
        const size_t most = scene_.is_fair ? sizeof buffer : dice_.some_of(sizeof buffer);
        const size_t size = peer_->receive(std::span(buffer).first(most));
        moved = size > 0;
        // After our FIN, or before our RST, nobody cares.
        if (!has_shut_ || is_tunnel_) {
            reader_.feed({reinterpret_cast<const char*>(buffer), size});
            read_requests();
        }
        if (!peer_) return true;
    }
    if (peer_->has_data() || (!peer_->at_end() && !peer_->is_reset())) return moved;
    if (peer_->is_reset() && seen_.attempt != nullptr) seen_.attempt->was_reset = true;
    oracle_.trace().note("server", server_, "sees the end of connection", number_,
                         peer_->is_reset());
    if (is_tunnel_ && !has_shut_ && scene_.climate == Climate::Calm &&
        seen_.request->is_tunnel_ended && tunnel_read_ != seen_.request->body_sent) {
        oracle_.violate("the tunnel of request {} ends after {} of {} bytes", seen_.request->id,
                        tunnel_read_, seen_.request->body_sent);
    }
    peer_.reset();
    return true;
}

void ServerConnection::read_requests() {
    while (peer_) {
        switch (reader_.next()) {
            case Reader::Event::NeedMore:
                return;
            case Reader::Event::Head:
                on_request();
                break;
            case Reader::Event::Data:
                on_data();
                break;
            case Reader::Event::End:
                oracle_.on_request_end(seen_);
                is_read_ = true;
                break;
            case Reader::Event::Bad:
                oracle_.violate("server {} gets no HTTP: {}", server_, reader_.why());
        }
    }
}

void ServerConnection::on_request() {
    if (is_answering() && may_not_be_used_ && seen_.attempt->is_sent_whole) {
        // The response was whole when its connection was taken again; the rest is on its way.
        end(true);
        return;
    }
    if (is_answering()) {
        oracle_.violate("server {} gets a request while it answers request {}", server_,
                        seen_.request->id);
    }
    if (closes_) {
        oracle_.violate("server {} gets a request on a connection that it said it would close",
                        server_);
    }
    seen_ = oracle_.on_request(server_, number_, reader_.head());
    oracle_.trace().note("server", server_, "sees request, on connection", seen_.request->id,
                         number_);
    is_read_ = is_over_ = is_begun_ = is_written_ = false;
    whole_at_ = never;
    const bool has_body = seen_.request->framing != Framing::None;
    is_early_ = has_body && !scene_.is_fair && dice_.chance(manners_.early);
    answer_at_ms_ = scene_.now_ms();
    if (dice_.chance(manners_.slow)) answer_at_ms_ += dice_.some_of(4'000);
    fault_ = choose_fault();
    if (may_not_be_used_) fault_ = Fault::RefuseReset;
}

void ServerConnection::on_data() {
    if (!is_tunnel_) return oracle_.on_request_data(seen_, reader_.data());
    const Request& request = *seen_.request;
    if (!is_pattern(~request.salt, tunnel_read_, reader_.data())) {
        oracle_.violate("the bytes of the tunnel of request {} are others from {} on", request.id,
                        tunnel_read_);
    }
    tunnel_read_ += reader_.data().size();
    if (tunnel_read_ > request.body_sent) {
        oracle_.violate("the tunnel of request {} gives more than was sent", request.id);
    }
}

// ---- Answering

ServerConnection::Fault ServerConnection::choose_fault() {
    if (scene_.is_fair || !dice_.chance(manners_.faults)) return Fault::None;
    oracle_.counts.faults++;
    return static_cast<Fault>(1 + dice_.below(static_cast<uint64_t>(Fault::ResetAfter)));
}

bool ServerConnection::begin_response() {
    Attempt& attempt = *seen_.attempt;
    const Request& request = *seen_.request;
    const std::string mark = fmt::format("X-Sim: {}.{}\r\n", request.id, request.attempts.size());
    if (attempt.is_superseded) {
        // The front has given this connection up: nobody hears us.
        end(true);
        return true;
    }
    is_begun_ = true;
    switch (fault_) {
        case Fault::Silent:
            attempt.is_broken = is_silent_ = true;
            is_begun_ = false;
            return true;
        case Fault::Refuse:
        case Fault::RefuseReset:
            attempt.is_broken = true;
            end(fault_ == Fault::RefuseReset);
            return true;
        case Fault::Junk:
            if (request.is_websocket) break;
            attempt.is_junk = attempt.is_broken = is_written_ = closes_ = true;
            wire_ = make_junk_response(dice_, mark);
            wire_end_ += wire_.size();
            return true;
        default:
            break;
    }
    choose_body();
    const bool cuts = fault_ == Fault::CutFin || fault_ == Fault::CutReset;
    cut_at_ = dice_.below(attempt.size + 1);
    write_interims(mark);
    write_head(mark);
    oracle_.trace().note("server", server_, "answers request with", request.id,
                         static_cast<uint64_t>(status_));
    if (cuts) {
        attempt.is_broken = true;
        if (attempt.size == 0 || dice_.chance(300)) {
            const size_t cut = dice_.below(wire_.size());
            wire_end_ -= wire_.size() - cut;
            wire_.resize(cut);
            is_written_ = true;
            whole_at_ = never;
        }
    }
    return true;
}

void ServerConnection::choose_body() {
    Attempt& attempt = *seen_.attempt;
    const Request& request = *seen_.request;
    const uint64_t kind = dice_.below(100);
    status_ = kind < 82 ? 200 : kind < 87 ? 404 : kind < 92 ? 204 : kind < 96 ? 304 : 500;
    minor_ = 1;
    if (request.is_websocket && dice_.chance(800)) {
        status_ = 101;
        if (fault_ != Fault::CutReset && fault_ != Fault::CutFin) fault_ = Fault::None;
    } else if (dice_.chance(40)) {
        minor_ = 0;
    }
    const bool has_body = !request.is_to_head && status_ != 204 && status_ != 304 && status_ != 101;
    const uint64_t how = dice_.below(100);
    framing_ = !has_body || status_ == 101 ? Framing::None
               : how < 60                  ? Framing::Length
               : how < 90 && minor_ > 0    ? Framing::Chunked
                                           : Framing::UntilClose;
    closes_ = framing_ == Framing::UntilClose || dice_.chance(60) || minor_ == 0;
    if (status_ == 101) closes_ = false;
    // Nobody can tell a body that ends with its connection from one that was cut there.
    if (framing_ == Framing::UntilClose && fault_ == Fault::CutFin) fault_ = Fault::None;
    if (framing_ == Framing::UntilClose && fault_ == Fault::Surplus) fault_ = Fault::None;
    attempt.status = status_;
    attempt.size = framing_ == Framing::None ? 0 : response_size(dice_);
    attempt.padding = 1 + dice_.below(40);
    if (dice_.chance(20)) attempt.padding = dice_.some_of(9'000);
    body_ = BodyWriter(attempt.salt, attempt.size, framing_, dice_.fork());
}

void ServerConnection::write_interims(std::string_view mark) {
    Attempt& attempt = *seen_.attempt;
    if (!dice_.chance(60)) return;
    const bool is_calm = scene_.climate == Climate::Calm;
    size_t count = 1 + dice_.below(3);
    if (dice_.chance(150)) count = 1 + dice_.below(is_calm ? interims_calm : interims_rough);
    attempt.interims = static_cast<int>(count);
    const size_t before = wire_.size();
    for (; count > 0; --count) {
        const uint64_t kind = dice_.below(10);
        wire_ += kind == 0   ? "HTTP/1.1 100 Continue\r\n"
                 : kind == 1 ? "HTTP/1.1 102 Processing\r\n"
                             : "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n";
        wire_ += mark;
        wire_ += "\r\n";
    }
    wire_end_ += wire_.size() - before;
}

void ServerConnection::write_head(std::string_view mark) {
    const Attempt& attempt = *seen_.attempt;
    const Request& request = *seen_.request;
    std::string head = fmt::format("HTTP/1.{} {} Whatever\r\n", minor_, status_);
    head += mark;
    head += "X-Padding: " + pattern_text(attempt.salt, attempt.padding) + "\r\n";
    if (dice_.chance(500)) head += "Date: Sun, 22 Nov 2026 03:55:46 GMT\r\n";
    if (dice_.chance(50)) head += "Proxy-Authenticate: Basic\r\nSet-Cookie: a=b\r\n";
    if (dice_.chance(100)) head += "Keep-Alive: timeout=5, max=100\r\n";
    if (status_ == 101) {
        head += "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    } else if (closes_ && minor_ > 0 && framing_ != Framing::UntilClose) {
        head += "Connection: close, X-Hop\r\nX-Hop: 1\r\n";
    } else if (dice_.chance(50)) {
        head += "Connection: X-Hop\r\nX-Hop: 1\r\n";
    }
    if (framing_ == Framing::Length) {
        head += "Content-Length: " + std::to_string(attempt.size) + "\r\n";
    } else if (framing_ == Framing::Chunked) {
        head += "Transfer-Encoding: chunked\r\n";
    } else if ((request.is_to_head || status_ == 304) && dice_.chance(700)) {
        head += "Content-Length: 4711\r\n";  // of what GET would have
    }
    head += "\r\n";
    wire_ += head;
    wire_end_ += head.size();
    if (status_ == 101) {
        is_tunnel_ = true;
        reader_.raw();
        tunnel_left_ = dice_.some_of(30'000);
    }
    if (body_.is_done() && !is_tunnel_) write_body();
}

bool ServerConnection::produce() {
    if (!is_answering() || wire_.size() - wire_at_ >= wire_max) return false;
    if (!is_begun_) {
        if (is_silent_ || !(is_read_ || is_early_)) return false;
        if (answer_at_ms_ > scene_.now_ms() && !scene_.is_fair) return false;
        return begin_response();
    }
    if (is_written_) return false;
    if (is_tunnel_) return produce_tunnel();
    write_body();
    return true;
}

/// A piece of the body, or what stands behind it.
void ServerConnection::write_body() {
    const size_t before = wire_.size();
    const bool cuts = fault_ == Fault::CutFin || fault_ == Fault::CutReset;
    body_.write(wire_, dice_.some_of(20'000));
    if (cuts && body_.written() >= cut_at_) {
        is_written_ = true;
        // Never a whole one by chance: the last byte stays here.
        if (body_.is_done()) wire_.pop_back();
    } else if (body_.is_done()) {
        is_written_ = true;
        if (framing_ != Framing::UntilClose) whole_at_ = wire_end_ + wire_.size() - before;
        if (fault_ == Fault::Surplus) {
            wire_ += "more than a response\r\n";
            may_not_be_used_ = true;
        }
    }
    wire_end_ += wire_.size() - before;
}

bool ServerConnection::produce_tunnel() {
    if (has_shut_) return false;
    Attempt& attempt = *seen_.attempt;
    if (tunnel_left_ == 0) {
        if (wire_at_ != wire_.size() || (!scene_.is_fair && !dice_.chance(100))) return false;
        oracle_.trace().note("server", server_, "ends the tunnel of request", seen_.request->id);
        has_shut_ = attempt.is_sent_whole = true;
        attempt.ended_ms = scene_.now_ms();
        peer_->shut_write();
        return true;
    }
    std::string piece(static_cast<size_t>(std::min<uint64_t>(tunnel_left_, dice_.some_of(9'000))),
                      '\0');
    write_pattern(~attempt.salt, tunnel_sent_, piece);
    tunnel_sent_ += piece.size();
    tunnel_left_ -= piece.size();
    attempt.size = tunnel_sent_;
    wire_ += piece;
    wire_end_ += piece.size();
    return true;
}

bool ServerConnection::send() {
    if (wire_at_ == wire_.size() || !peer_->can_send()) return false;
    const size_t most = scene_.is_fair ? wire_.size() : dice_.some_of(wire_.size());
    const size_t size = std::min(wire_.size() - wire_at_, most);
    const size_t sent = peer_->send(as_bytes(std::string_view(wire_).substr(wire_at_, size)));
    wire_at_ += sent;
    if (sent > 0 && seen_.attempt != nullptr) {
        seen_.attempt->response_bytes += sent;
        if (wire_end_ - (wire_.size() - wire_at_) >= whole_at_) seen_.attempt->is_sent_whole = true;
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

/// All that there will be of the response is sent.
bool ServerConnection::end_response() {
    if (is_over_ || is_tunnel_) return false;
    const bool resets = fault_ == Fault::CutReset || fault_ == Fault::ResetAfter;
    if (framing_ == Framing::UntilClose && !seen_.attempt->is_junk && !resets) {
        seen_.attempt->is_sent_whole = true;
    }
    switch (fault_) {
        case Fault::CutFin:
        case Fault::EndAfter:
            end(false);
            break;
        case Fault::CutReset:
        case Fault::ResetAfter:
            end(true);
            break;
        default:
            if (closes_) end(false);
            break;
    }
    is_over_ = true;
    return true;
}

void ServerConnection::end(bool by_reset) {
    oracle_.trace().note("server", server_, by_reset ? "resets connection" : "ends connection",
                         number_);
    if (seen_.attempt != nullptr) {
        Attempt& attempt = *seen_.attempt;
        if (!attempt.is_sent_whole || by_reset) attempt.is_lost = true;
        if (by_reset) attempt.was_reset = true;
    }
    if (by_reset) {
        peer_->reset();
        peer_.reset();
        return;
    }
    // With bytes of the request unread, closing would be a reset. FIN, and reading on, is not.
    const bool is_rude = !is_read_ && dice_.chance(300) && !scene_.is_fair;
    if (is_rude && seen_.attempt != nullptr) {
        seen_.attempt->is_lost = seen_.attempt->was_reset = true;
    }
    has_shut_ = is_over_ = true;
    peer_->shut_write();
    if (is_rude) peer_.reset();
}

std::string ServerConnection::describe() const {
    return fmt::format("connection {} of server {}{}{}{}{}", number_, server_,
                       is_answering() ? fmt::format(" answers request {}", seen_.request->id)
                                      : std::string(" is idle"),
                       is_read_ ? "" : ", has not all of the request",
                       has_shut_ ? ", has sent FIN" : "", is_tunnel_ ? ", is a tunnel" : "");
}

Server::Server(Scene& scene, uint32_t number, const net::Address& address, Dice dice,
               const Manners& manners)
    : scene_(scene), number_(number), address_(address), dice_(dice), manners_(manners) {
    scene.kernel.serve(address, [this](PeerPtr peer) {
        connections_.push_back(std::make_unique<ServerConnection>(
            scene_, number_, ++accepted_, dice_.fork(), manners_, std::move(peer)));
    });
}

}  // namespace sim::front
