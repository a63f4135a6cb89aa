#include "tls/ssl_session.h"

namespace tls {

namespace {

// KeyUpdates, refused renegotiations and alerts are work without data: 64 are free, and one more
// for each 16 KiB of data (faults.md TL-21, TL-22, TL-31). A client renews its keys once in
// gigabytes. OpenSSL reports 2 steps for a KeyUpdate and 2 more for the answer to it.
constexpr uint32_t idle_steps_free = 64 * 4;
constexpr uint64_t bytes_per_idle_step = 16 * 1024 / 4;

constexpr std::string_view alpn_name(std::string_view selected) {
    if (selected == "http/1.1") return "http/1.1";
    if (selected == "http/1.0") return "http/1.0";
    if (selected == "acme-tls/1") return "acme-tls/1";
    return {};
}

}  // namespace

std::unique_ptr<SslSession> SslSession::create(WorkerTls& worker, const LocalAddress& local) {
    std::unique_ptr<SslSession> session(new (std::nothrow) SslSession(worker, local));
    if (!session) return nullptr;
    session->ssl_.reset(SSL_new(worker.ssl_ctx.get()));
    BIO* bio = session->ssl_ ? session->ring_.make_bio() : nullptr;
    if (bio == nullptr) return nullptr;
    SSL_set_bio(session->ssl_.get(), bio, bio);
    SSL_set_accept_state(session->ssl_.get());
    return session;
}

SslSession::~SslSession() {
    // Given up by its owner in the middle: a client that went away or ran out of time.
    if (was_fed_) give_up(Failure::GivenUp);
}

SslSession& SslSession::from(const SSL* ssl) {
    // The reading BIO is always ours; in front of the writing one OpenSSL puts a buffer.
    return RingBio::from(SSL_get_rbio(ssl)).session();
}

void SslSession::feed(std::span<const uint8_t> ciphertext) {
    if (is_over() || ciphertext.empty()) return;
    if (ring_.has_input() && ring_.input_size() + ciphertext.size() > input_waiting_max) {
        fail(Failure::ProtocolError, "too much input waits to be read");
        return;
    }
    if (!done_ && !guard_.pass(ciphertext)) {
        // OpenSSL must not see it; so the alert (illegal_parameter) is ours.
        constexpr uint8_t alert[] = {21, 3, 3, 0, 2, 2, SSL_AD_ILLEGAL_PARAMETER};
        ring_.refuse_input();
        fail(Failure::ProtocolError, "ClientHello is too long");
        BIO_write(SSL_get_rbio(ssl_.get()), alert, sizeof alert);  // into the spill
        return;
    }
    was_fed_ = true;
    ring_.feed(ciphertext);
}

void SslSession::keep_input() {
    ring_.keep_input();
}

bool SslSession::has_input() const {
    // After a failure OpenSSL may still count what it never handed out.
    return !is_over() && (ring_.has_input() || SSL_pending(ssl_.get()) > 0);
}

Session::Read SslSession::read(std::span<uint8_t> plaintext, std::span<uint8_t> output,
                               size_t& produced) {
    base::check(!plaintext.empty());
    const bool has_room = ring_.open_output(output);
    const Read result = has_room ? advance(plaintext) : Read{State::NeedOutput, 0};
    produced = ring_.close_output();
    return result;
}

Session::Read SslSession::advance(std::span<uint8_t> plaintext) {
    clear_errors();
    switch (phase_) {
        case Phase::Failed:
            return {State::Failed, 0};
        case Phase::Closed:
            return {State::Closed, 0};
        case Phase::Handshaking: {
            const int result = SSL_do_handshake(ssl_.get());
            if (result != 1) return stopped(result);
            on_handshake_done();
            [[fallthrough]];
        }
        case Phase::Open: {
            size_t size = 0;
            const int result = SSL_read_ex(ssl_.get(), plaintext.data(), plaintext.size(), &size);
            if (result != 1) return stopped(result);
            // RFC 8737 4: such a connection carries nothing.
            if (info_.challenge)
                return fail(Failure::ProtocolError, "data after an acme-tls/1 handshake");
            plaintext_bytes_ += size;
            return {State::Ok, size};
        }
    }
    return {State::Failed, 0};
}

/// Why OpenSSL did not go on.
Session::Read SslSession::stopped(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ:
            return {ring_.wants_output() ? State::NeedOutput : State::NeedInput, 0};
        case SSL_ERROR_WANT_WRITE:
            return {State::NeedOutput, 0};
        case SSL_ERROR_WANT_X509_LOOKUP:  // see on_certificate()
            return {State::NeedSlowKey, 0};
        case SSL_ERROR_ZERO_RETURN:
            if (!done_) return closed_early();
            phase_ = Phase::Closed;
            ring_.drop_input();
            return {State::Closed, 0};
        default:
            if (ring_.refused()) {
                return fail(Failure::ProtocolError,
                            "too many KeyUpdates, renegotiations or alerts");
            }
            // OpenSSL 3.5 has no word for a close_notify before the end of a TLS 1.3 handshake.
            if (!done_ && ERR_peek_error() == 0 &&
                (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0) {
                return closed_early();
            }
            return fail_as_openssl_says();
    }
}

Session::Read SslSession::closed_early() {
    return fail(Failure::GivenUp, "the client closed in the middle of the handshake");
}

void SslSession::use_slow_key() {
    if (phase_ != Phase::Handshaking) return;
    clear_errors();
    handshake_.using_slow_key = true;
    // Nothing is read: a second ClientHello, sent ahead, would have its callbacks run here.
    ring_.begin_flight();
    const int result = SSL_do_handshake(ssl_.get());
    // The error queue is this thread's; SSL_do_handshake() fails again on the worker, without one.
    if (result != 1 && ERR_peek_error() != 0 && handshake_.failure == Failure::None) {
        const unsigned long error = take_error();
        handshake_.failure = failure_of(error);
        handshake_.error = error_text(error);
    }
    ERR_clear_error();
    ring_.end_flight();
    handshake_.using_slow_key = false;
}

Session::Read SslSession::fail(Failure failure, std::string text) {
    ERR_clear_error();
    if (handshake_.failure == Failure::None) {
        handshake_.failure = failure;
        handshake_.error = std::move(text);
    }
    if (handshake_.error.empty()) handshake_.error = "closed by the peer's fault";
    if (!done_) count_failure();
    phase_ = Phase::Failed;
    ring_.drop_input();
    // An alert that found no room goes out first.
    return {ring_.wants_output() ? State::NeedOutput : State::Failed, 0};
}

Session::Read SslSession::fail_as_openssl_says() {
    const unsigned long error = take_error();
    return fail(failure_of(error), error_text(error));
}

void SslSession::count_failure() {
    TlsCounters& counters = worker_.counters;
    ++counters.failed_handshakes;
    ++counters.failed_by_reason[static_cast<size_t>(handshake_.failure)];
}

void SslSession::give_up(Failure reason) {
    if (phase_ != Phase::Handshaking) return;
    (void)fail(reason, "given up: " + std::string(label(reason)));
}

void SslSession::on_handshake_done() {
    SSL* ssl = ssl_.get();
    done_ = true;
    phase_ = Phase::Open;
    info_.version = SSL_version(ssl) == TLS1_3_VERSION ? Version::Tls13 : Version::Tls12;
    info_.resumed = SSL_session_reused(ssl) == 1;
    info_.challenge = handshake_.challenge;
    info_.server_name = handshake_.server_name;
    const unsigned char* alpn = nullptr;
    unsigned alpn_size = 0;
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
    if (alpn_size > 0) info_.alpn = alpn_name({reinterpret_cast<const char*>(alpn), alpn_size});
    info_.cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(ssl));
    // Nothing was presented in a resumed handshake, but rules for the name still want to know.
    if (info_.resumed) handshake_.choose_certificate(info_.version);
    info_.certificate = handshake_.certificate.get();

    TlsCounters& counters = worker_.counters;
    ++(info_.challenge ? counters.challenge_handshakes
                       : (info_.resumed ? counters.resumed_handshakes : counters.full_handshakes));

    // What only a handshake needs goes; an idle connection should be small.
    SSL_certs_clear(ssl);
    SSL_set_tlsext_status_ocsp_resp(ssl, nullptr, 0);
    handshake_.set = nullptr;
    handshake_.staple = nullptr;
    handshake_.error.clear();
    handshake_.failure = Failure::None;
    SSL_set_info_callback(ssl, on_info);
}

/// After the handshake only: OpenSSL tells of each step through a message and of each alert.
void SslSession::on_info(const SSL* ssl, int where, int result) {
    (void)result;
    if ((where & (SSL_CB_LOOP | SSL_CB_ALERT)) == 0) return;
    SslSession& self = from(ssl);
    if (++self.idle_steps_ > idle_steps_free + self.plaintext_bytes_ / bytes_per_idle_step) {
        self.ring_.refuse_input();
    }
}

size_t SslSession::write(std::span<const uint8_t> plaintext, std::span<uint8_t> output) {
    base::check(done_);
    base::check(!plaintext.empty());
    base::check(plaintext.size() <= plaintext_max);
    base::check(output.size() >= plaintext.size() + overhead_max);
    if (phase_ == Phase::Failed || close_sent_) return 0;
    clear_errors();
    ring_.open_output(output);
    size_t size = 0;
    const int result = SSL_write_ex(ssl_.get(), plaintext.data(), plaintext.size(), &size);
    const size_t produced = ring_.close_output();
    if (result != 1) {
        fail_as_openssl_says();
        return 0;
    }
    plaintext_bytes_ += size;
    return produced;
}

size_t SslSession::close(std::span<uint8_t> output) {
    if (!done_ || phase_ == Phase::Failed || close_sent_) return 0;
    clear_errors();
    close_sent_ = true;
    if (ring_.open_output(output)) {
        SSL_shutdown(ssl_.get());
        ERR_clear_error();
    }
    return ring_.close_output();
}

}  // namespace tls
