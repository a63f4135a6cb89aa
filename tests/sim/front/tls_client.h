// TLS as a simulated client speaks it: OpenSSL over memory, verifying nothing. And OpenSSL's
// randomness and clock, for all of the process: with a seed, handshakes are the same to the byte.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

namespace sim::front {

/// From here on OpenSSL draws from `seed`, in clients and in the front.
void seed_openssl(uint64_t seed);

using SessionPtr = std::shared_ptr<SSL_SESSION>;

class TlsClient {
  public:
    struct Options {
        std::string server_name;
        bool is_version_12 = false;
        SessionPtr session;  // to be resumed
    };
    explicit TlsClient(const Options& options);
    ~TlsClient();
    TlsClient(const TlsClient&) = delete;
    TlsClient& operator=(const TlsClient&) = delete;

    /// Ciphertext that arrived.
    void feed(std::string_view bytes);
    /// Moves the ciphertext to be sent to the end of `out`.
    void take_output(std::string& out);
    /// Goes on with the handshake.
    void handshake();
    bool is_done() const { return is_done_; }
    /// An alert came, or nonsense: it is over.
    bool has_failed() const { return has_failed_; }
    /// … by an alert: not by bytes that are no records of this connection.
    bool is_alerted() const { return is_alerted_; }
    bool is_resumed() const;
    /// The newest ticket; null: none came.
    const SessionPtr& session() const { return session_; }

    void write(std::string_view plaintext);
    /// Appends what can be opened.
    void read(std::string& plaintext);
    void close_notify();
    void update_key(bool ask_for_theirs);
    /// The front's close_notify came.
    bool is_closed() const;

  private:
    void fail();
    static int on_session(SSL* ssl, SSL_SESSION* session);

    SSL* ssl_;
    bool is_done_ = false;
    bool has_failed_ = false;
    bool is_alerted_ = false;
    SessionPtr session_;
};

}  // namespace sim::front
