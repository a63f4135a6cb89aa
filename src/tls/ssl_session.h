// A Session on OpenSSL's SSL object.
//
// Worker's thread, but for use_slow_key(); owned by a connection. Its context outlives it.
#pragma once

#include "tls/handshake.h"
#include "tls/hello_guard.h"
#include "tls/ring_bio.h"
#include "tls/session.h"
#include "tls/worker_tls.h"

namespace tls {

class SslSession final : public Session {
  public:
    /// Null if memory is out.
    static std::unique_ptr<SslSession> create(WorkerTls& worker, const LocalAddress& local);
    ~SslSession() override;
    SslSession(const SslSession&) = delete;
    SslSession& operator=(const SslSession&) = delete;

    void feed(std::span<const uint8_t> ciphertext) override;
    void keep_input() override;
    bool has_input() const override;
    Read read(std::span<uint8_t> plaintext, std::span<uint8_t> output, size_t& produced) override;
    void use_slow_key() override;
    size_t write(std::span<const uint8_t> plaintext, std::span<uint8_t> output) override;
    size_t close(std::span<uint8_t> output) override;
    bool handshake_done() const override { return done_; }
    const SessionInfo& info() const override { return info_; }
    std::string_view error() const override { return handshake_.error; }
    Failure failure() const override { return handshake_.failure; }
    void give_up(Failure reason) override;

    /// For the callbacks.
    static SslSession& from(const SSL* ssl);
    Handshake& handshake() { return handshake_; }
    /// Not for what runs in use_slow_key(), which may be another thread.
    WorkerTls& worker() {
        base::check(!handshake_.using_slow_key);
        return worker_;
    }

    std::optional<base::IpAddress> local_address() const {
        return local_.ask != nullptr ? local_.ask(local_.connection) : std::nullopt;
    }

  private:
    // Handshaking -> Open -> Closed; all but Failed -> Failed.
    enum class Phase : uint8_t { Handshaking, Open, Closed, Failed };

    SslSession(WorkerTls& worker, const LocalAddress& local)
        : worker_(worker), ring_(*this), local_(local) {}
    Read advance(std::span<uint8_t> plaintext);
    Read stopped(int result);
    /// What a callback said before stands.
    Read fail(Failure failure, std::string text);
    Read closed_early();
    Read fail_as_openssl_says();
    void count_failure();
    bool is_over() const { return phase_ == Phase::Failed || phase_ == Phase::Closed; }
    void on_handshake_done();
    static void on_info(const SSL* ssl, int where, int result);

    WorkerTls& worker_;
    RingBio ring_;  // before ssl_, which uses it until it dies
    const LocalAddress local_;
    SslPtr ssl_;
    Handshake handshake_;
    SessionInfo info_;
    HelloGuard guard_;
    Phase phase_ = Phase::Handshaking;
    bool was_fed_ = false;
    bool done_ = false;             // the handshake; stays true afterwards
    bool close_sent_ = false;       // our close_notify
    uint32_t idle_steps_ = 0;       // see idle_steps_free
    uint64_t plaintext_bytes_ = 0;  // both directions
};

}  // namespace tls
