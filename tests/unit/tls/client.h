// A TLS client on memory BIOs, and the wire between it and a Session.
#pragma once

#include <openssl/ssl.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tls/server_context.h"

namespace test {

using Bytes = std::vector<uint8_t>;

/// An OpenSSL client that verifies nothing and remembers sessions.
class Client {
  public:
    struct Options {
        int version = 0;  // TLS1_2_VERSION, TLS1_3_VERSION, 0: both
        std::string server_name = "a.test";
        std::vector<std::string> alpn = {};
        std::string signature_algorithms = {};  // OpenSSL's list; "": its default
        std::string ciphers = {};               // TLS 1.2
        std::string suites = {};                // TLS 1.3
        std::string groups = {};
        bool status_request = false;
        bool accept_renegotiation = false;
        SSL_SESSION* session = nullptr;
        std::function<void(SSL*)> tweak = {};
    };
    explicit Client(const Options& options);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    SSL* ssl() const { return ssl_; }
    /// What the client wants sent.
    Bytes take_output();
    void put_input(const Bytes& bytes);
    /// Goes on with the handshake; true when done.
    bool handshake();
    bool done() const { return done_; }
    /// The alert that the server sent, e.g. "unrecognized name"; "" if none.
    const std::string& alert() const { return alert_; }
    bool write(std::string_view text);
    std::string read();
    /// The newest session that can be resumed. The caller frees it.
    std::shared_ptr<SSL_SESSION> session() const { return session_; }
    int tickets() const { return tickets_; }
    std::string peer_common_name() const;
    Bytes peer_der() const;
    std::string alpn() const;

  private:
    static int on_session(SSL* ssl, SSL_SESSION* session);
    static void on_info(const SSL* ssl, int where, int value);

    SSL_CTX* context_;
    SSL* ssl_;
    bool done_ = false;
    std::string alert_;
    int tickets_ = 0;
    std::shared_ptr<SSL_SESSION> session_;
};

/// The server's end: a Session and what its owner would keep.
class Server {
  public:
    explicit Server(std::unique_ptr<tls::Session> session) : session_(std::move(session)) {}

    tls::Session& session() { return *session_; }
    size_t output_room = 32 * 1024;
    size_t input_step = SIZE_MAX;
    std::string received;
    Bytes output;
    tls::Session::State state = tls::Session::State::NeedInput;
    size_t need_output_seen = 0;

    /// Feeds in pieces of input_step and reads until nothing is left to do.
    void put(const Bytes& bytes);
    void drive();
    Bytes take_output() { return std::exchange(output, {}); }
    bool write(std::string_view text);

  private:
    std::unique_ptr<tls::Session> session_;
};

/// Moves bytes both ways until both are quiet. True if both ends finished the handshake.
bool connect(Client& client, Server& server);
void pump(Client& client, Server& server);

/// Real time and as much more as a test adds. OpenSSL's own clock stays where it is.
class MovedClock final : public base::Clock {
  public:
    base::Time now() override {
        return std::chrono::floor<base::Duration>(std::chrono::system_clock::now()) + moved;
    }
    bool sleep(base::Duration) override { return false; }
    base::Duration moved{};
};

/// A world with snapshots and one context.
struct World {
    explicit World(tls::Policy policy = tls::Policy::Intermediate,
                   tls::HandshakePool* pool = nullptr);
    void set(const std::vector<std::string>& names,
             std::vector<std::shared_ptr<const tls::Certificate>> certificates,
             std::vector<std::shared_ptr<const tls::Staple>> staples = {});
    void set_default(std::vector<std::shared_ptr<const tls::Certificate>> certificates);
    void rotate_tickets();
    Server accept() { return Server(context->accept()); }
    /// A client that connected to `address`; `times_asked` counts who wants to know.
    Server accept_at(const char* address);
    std::string local_address;
    int times_asked = 0;

    MovedClock clock;
    tls::Snapshots snapshots;
    std::unique_ptr<tls::ServerContext> context;
};

}  // namespace test
