// A worker on the simulated kernel (tests/sim/front), and any client and server: what they send, in
// which order, in which pieces, and how they leave. What must hold: no check fails and nothing is
// entered twice; a server sees requests that llhttp reads, each with one field that says who asks;
// and when all have gone, nothing of them is left: no stream, chunk, buffer, timer or descriptor.
// (Whose bytes are whose is tests/sim/front's business.)
//
// The input is a byte with options and then steps, each of a byte that says what is done, two
// bytes with a number, and where bytes are sent, so many of them.
#include <llhttp.h>

#include <deque>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "base/text.h"
#include "proxy/worker.h"
#include "sim/front/kernel.h"
#include "sim/front/machine.h"
#include "sim/front/scene.h"
#include "sim/front/tls_client.h"

namespace sim::front {

namespace {

using base::check;

constexpr size_t steps_max = 64;
constexpr uint64_t wait_limit_ms = 60'000;

/// What all inputs share: making certificates takes longer than all that is tried with them.
struct Fixed {
    Fixed() {
        const auto now = std::chrono::floor<base::Duration>(std::chrono::system_clock::now());
        auto certificate = tls::make_fallback_certificate({"a.test"}, now);
        check(certificate.ok());
        auto set = std::make_shared<tls::CertificateSet>();
        set->certificates = {*certificate};
        snapshots.tls.certificates.update(
            [&](const tls::CertificateIndex& index) { return index.with({"a.test"}, set); });
        base::SeededRandom random(1);
        snapshots.tls.ticket_keys.update(
            [&](const tls::TicketKeys& keys) { return keys.rotated(random, now); });
        publish();
    }
    void publish() {
        auto backend = std::make_shared<proxy::Backend>();
        backend->name = "a";
        backend->servers = {server};
        auto site = std::make_shared<proxy::Site>();
        site->name = "a.test";
        site->hosts = {site->name};
        site->backend = std::move(backend);
        snapshots.routes.publish(std::make_shared<proxy::Routes>(
            std::vector<std::shared_ptr<const proxy::Site>>{std::move(site)}, -1, proxy::Limits{}));
    }

    const net::Address server = address_of("10.0.0.1:8000");
    const net::Address plain = address_of("192.0.2.1:80");
    const net::Address secure = address_of("192.0.2.1:443");
    proxy::Snapshots snapshots;
};

/// Takes what was written there until nothing comes.
void drink(Peer& peer, std::string& into) {
    uint8_t bytes[16384];
    while (const size_t size = peer.receive(bytes)) {
        into.append(reinterpret_cast<const char*>(bytes), size);
    }
}

std::span<const uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// A client or a connection of a server: what it could not send yet waits here.
struct Party {
    PeerPtr peer;
    std::string to_send;
    std::string received;
    bool reads = true;

    bool move() {
        bool moved = false;
        if (!to_send.empty() && peer->can_send()) {
            const size_t size = peer->send(bytes_of(to_send));
            to_send.erase(0, size);
            moved = size > 0;
        }
        if (reads && peer->has_data()) {
            drink(*peer, received);
            moved = true;
        }
        return moved;
    }
};

constexpr std::string_view client_ip = "198.51.100.7";

/// Reads the requests that a server gets, as strictly as servers can.
class StrictServer {
  public:
    StrictServer() {
        llhttp_settings_init(&settings_);
        settings_.on_message_begin = [](llhttp_t* parser) {
            of(parser).forwarded_for_ = 0;
            return 0;
        };
        settings_.on_header_field = [](llhttp_t* parser, const char* at, size_t size) {
            of(parser).name_.append(at, size);
            return 0;
        };
        settings_.on_header_value = [](llhttp_t* parser, const char* at, size_t size) {
            of(parser).value_.append(at, size);
            return 0;
        };
        settings_.on_header_value_complete = [](llhttp_t* parser) {
            StrictServer& self = of(parser);
            if (base::to_lower(std::exchange(self.name_, {})) == "x-forwarded-for") {
                ++self.forwarded_for_;
                check(self.value_ == client_ip);
            }
            self.value_.clear();
            return 0;
        };
        settings_.on_headers_complete = [](llhttp_t* parser) {
            check(of(parser).forwarded_for_ == 1);
            return 0;
        };
        llhttp_init(&parser_, HTTP_REQUEST, &settings_);
        parser_.data = this;
    }
    StrictServer(const StrictServer&) = delete;
    StrictServer& operator=(const StrictServer&) = delete;
    void read(std::string_view bytes) {
        if (over_) return;
        const llhttp_errno_t error = llhttp_execute(&parser_, bytes.data(), bytes.size());
        if (error == HPE_OK) return;
        over_ = true;
        // Tunnels carry any bytes, and llhttp does not know all methods.
        check(error == HPE_PAUSED_UPGRADE || error == HPE_INVALID_METHOD);
    }

  private:
    static StrictServer& of(llhttp_t* parser) { return *static_cast<StrictServer*>(parser->data); }

    llhttp_settings_t settings_{};
    llhttp_t parser_{};
    std::string name_, value_;
    int forwarded_for_ = 0;
    bool over_ = false;
};

class Trial {
  public:
    explicit Trial(Fixed& fixed) : fixed_(fixed), kernel_(Dice(1), {}) {
        seed_openssl(1);
        proxy::WorkerOptions made;
        made.loop.sq_entries = 16;
        made.loop.cq_entries = 32;
        made.loop.small_buffers = 8;
        made.loop.large_buffers = 4;
        made.loop.bulk_buffers = 4;
        made.loop.connections_max = 8;
        made.loop.chunks_max = 64;
        made.loop.chunks_idle_max = 4;
        made.tls.certificates_decoded_max = 1;
        std::string why;
        auto worker = proxy::Worker::create(made, fixed.snapshots, why);
        check(worker.ok());
        worker_ = std::move(*worker);
        kernel_.serve(fixed.server, [this](PeerPtr peer) { serve(std::move(peer)); });
        listen(fixed.plain, proxy::Protocol::Http);
        listen(fixed.secure, proxy::Protocol::Https);
        settle();
        descriptors_at_first_ = kernel_.open_descriptors();
    }
    ~Trial() { worker_.reset(); }

    void begin(uint8_t options) {
        is_secure_ = (options & 1) != 0;
        is_version_12_ = (options & 2) != 0;
        seed_openssl(options);
        kernel_.machine().dice() = Dice(options);
        kernel_.machine().faults = faults(options);
        fixed_.publish();
        kernel_.set_reach(fixed_.server, Kernel::Reach::Accepts);
        dial();
    }

    void step(uint8_t what, uint16_t number, std::string_view bytes) {
        switch (what % 16) {
            case 0:
            case 1:
                say(bytes);
                break;
            case 2:
                client_.to_send += bytes;  // within TLS: ciphertext of its own making
                break;
            case 3:
            case 4:
                if (Party* server = server_now(number)) {
                    server->to_send += bytes;
                } else {
                    answer_ += bytes;
                }
                break;
            case 5:
                if (Party* server = server_now(number)) server->peer->shut_write();
                break;
            case 6:
                if (Party* server = server_now(number)) server->peer->reset();
                break;
            case 7:
                if (tls_) tls_->close_notify();
                break;
            case 8:
                client_.peer->shut_write();
                break;
            case 9:
                client_.peer->reset();
                break;
            case 10:
                dial();
                break;
            case 11:
                kernel_.advance(number);
                break;
            case 12:
                client_.reads = !client_.reads;
                break;
            case 13:
                if (Party* server = server_now(number)) server->reads = !server->reads;
                break;
            case 14:
                if (number % 4 == 0) fixed_.publish();
                if (number % 4 == 1 && tls_ && tls_->is_done() && !is_version_12_) {
                    tls_->update_key(number % 8 == 1);
                }
                if (number % 4 == 2) worker_->post([] {});
                if (number % 32 == 3) worker_->post([this] { worker_->drain(); });
                break;
            case 15:
                kernel_.set_reach(fixed_.server, Kernel::Reach(number % 4));
                break;
        }
        // Odd ones come at once with what follows.
        if ((what & 0x80) == 0) settle();
    }

    /// All leave; then all is over, as at the beginning. False if the worker has ended, too.
    bool end() {
        settle();
        kernel_.machine().faults = {};
        for (Party& server : servers_) server.peer->close();
        client_.peer->close();
        settle();
        // Whatever waits: for deadlines, lingering, idle tunnels, idle backends.
        for (int waits = 0; !is_over(); ++waits) {
            check(waits < 400);
            const uint64_t wake_ms = kernel_.wake_at_ms();
            kernel_.advance(wake_ms > kernel_.now_ms() ? wake_ms - kernel_.now_ms() : 1);
            settle();
            for (Party& server : servers_) server.peer->close();
        }
        const auto load = worker_->load();
        check(worker_->counters().connections == 0);
        if (load.is_stopping) return false;  // what closes, ends with the process
        check(load.chunks == 0 && load.timers == 0 && load.requests == 0);
        check(load.backends_leased == 0 && load.backends_idle == 0);
        check(kernel_.buffers_held() == 0);
        check(kernel_.open_descriptors() == descriptors_at_first_);
        servers_.clear();
        readers_.clear();
        client_ = {};
        answer_.clear();
        kernel_.advance(120'000);  // no server counts as down
        settle();
        return true;
    }

  private:
    static KernelFaults faults(uint8_t options) {
        KernelFaults faults;
        if ((options & 4) != 0) faults.cuts = 300;
        if ((options & 8) != 0) faults.short_sends = 300;
        if ((options & 16) != 0) faults.multishot_ends = 200;
        if ((options & 32) != 0) faults.window_min = faults.window_max = 2'000;
        return faults;
    }
    void listen(const net::Address& address, proxy::Protocol protocol) {
        check(worker_
                  ->add_listener({.fd = kernel_.listen(address),
                                  .protocol = protocol,
                                  .public_port = address.port()})
                  .ok());
    }
    void dial() {
        if (client_.peer) client_.peer->close();
        client_ = {};
        tls_.reset();
        client_.peer = kernel_.connect(address_of(fmt::format("{}:4000", client_ip)),
                                       is_secure_ ? fixed_.secure : fixed_.plain);
        if (is_secure_) {
            tls_ =
                std::make_unique<TlsClient>(TlsClient::Options{"a.test", is_version_12_, nullptr});
        }
        to_say_.clear();
        settle();
    }
    void serve(PeerPtr peer) {
        servers_.push_back({});
        servers_.back().peer = std::move(peer);
        readers_.emplace_back();
    }
    /// The newest, or one before it.
    Party* server_now(uint16_t number) {
        if (servers_.empty()) return nullptr;
        return &servers_[servers_.size() - 1 - number / 1024 % servers_.size()];
    }
    void say(std::string_view bytes) {
        if (!tls_) {
            client_.to_send += bytes;
        } else {
            to_say_ += bytes;
        }
    }
    bool move_tls() {
        if (!tls_) return false;
        const std::string came = std::exchange(client_.received, {});
        tls_->feed(came);
        if (!tls_->is_done() && !tls_->has_failed()) tls_->handshake();
        if (tls_->is_done() && !tls_->has_failed()) {
            if (!to_say_.empty()) tls_->write(std::exchange(to_say_, {}));
            std::string plaintext;
            tls_->read(plaintext);
        }
        const size_t before = client_.to_send.size();
        tls_->take_output(client_.to_send);
        return !came.empty() || client_.to_send.size() != before;
    }
    /// Until nothing moves.
    void settle() {
        for (int rounds = 0;; ++rounds) {
            check(rounds < 100'000);
            bool moved = false;
            while (kernel_.step()) moved = true;
            moved |= client_.peer && client_.move();
            moved |= client_.peer && move_tls();
            for (size_t i = 0; i < servers_.size(); ++i) moved |= move_server(i);
            if (kernel_.front_is_runnable()) {
                worker_->turn(wait_limit_ms);
                moved = true;
            }
            if (!moved && kernel_.is_quiet()) return;
            if (worker_->load().is_stopping) return;
        }
    }
    bool move_server(size_t at) {
        Party& server = servers_[at];
        // What was said before the front came is the answer to its first request.
        if (!answer_.empty() && at + 1 == servers_.size() && !server.received.empty()) {
            server.to_send += std::exchange(answer_, {});
        }
        const size_t before = server.received.size();
        const bool moved = server.move();
        readers_[at].read(std::string_view(server.received).substr(before));
        return moved;
    }
    bool is_over() const {
        const auto load = worker_->load();
        return load.is_stopping || (load.streams == 0 && load.timers == 0);
    }

    Fixed& fixed_;
    bool is_secure_ = false;
    bool is_version_12_ = false;
    Kernel kernel_;
    std::unique_ptr<proxy::Worker> worker_;
    Party client_;
    std::unique_ptr<TlsClient> tls_;
    std::string to_say_;  // once the handshake is done
    std::vector<Party> servers_;
    std::deque<StrictServer> readers_;
    std::string answer_;
    size_t descriptors_at_first_ = 0;
};

}  // namespace

}  // namespace sim::front

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static auto* const fixed = [] {
        base::Log::set_level(base::LogLevel::Error);
        return new sim::front::Fixed;
    }();
    if (size == 0) return 0;
    // A worker takes longer to make than to try: it serves all until one has ended it.
    static std::unique_ptr<sim::front::Trial> trial;
    if (!trial) trial = std::make_unique<sim::front::Trial>(*fixed);
    trial->begin(data[0]);
    std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    for (size_t steps = 0; rest.size() >= 3 && steps < sim::front::steps_max; ++steps) {
        const auto what = static_cast<uint8_t>(rest[0]);
        const auto number = static_cast<uint16_t>(static_cast<uint8_t>(rest[1]) * 256 +
                                                  static_cast<uint8_t>(rest[2]));
        rest.remove_prefix(3);
        std::string_view bytes;
        if (what % 16 <= 4) {
            bytes = rest.substr(0, number % 4096);
            rest.remove_prefix(bytes.size());
        }
        trial->step(what, number, bytes);
    }
    if (!trial->end()) trial.reset();
    return 0;
}
