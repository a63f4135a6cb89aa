#include "tls_client.h"

#include <openssl/err.h>
#include <openssl/rand.h>

#include <ctime>

#include "base/result.h"
#include "dice.h"

// OpenSSL 3 calls its older way to replace the generator deprecated, and has no other that also
// reaches contexts which exist already.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/// OpenSSL's clock stands still: times are in certificates and tickets, and with them what is
/// signed in a handshake, and so how long its signature is.
extern "C" time_t time(time_t* out) noexcept {
    constexpr time_t now = 1'800'000'000;
    if (out != nullptr) *out = now;
    return now;
}

namespace sim::front {

namespace {

Dice& randomness() {
    static Dice dice(0);
    return dice;
}

int draw(unsigned char* out, int size) {
    for (int at = 0; at < size; at += 8) {
        const uint64_t word = randomness().next();
        for (int i = at; i < std::min(size, at + 8); ++i) {
            out[i] = static_cast<unsigned char>(word >> (8 * (i - at)));
        }
    }
    return 1;
}

int is_ready() {
    return 1;
}

SSL_CTX* client_context() {
    static SSL_CTX* const context = [] {
        SSL_CTX* made = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_verify(made, SSL_VERIFY_NONE, nullptr);
        SSL_CTX_set_session_cache_mode(made,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        SSL_CTX_set1_groups_list(made, "X25519:P-256");
        return made;
    }();
    return context;
}

}  // namespace

void seed_openssl(uint64_t seed) {
    static const RAND_METHOD method = {nullptr, draw, nullptr, nullptr, draw, is_ready};
    base::check(RAND_set_rand_method(&method) == 1);
    (void)client_context();  // making it draws, too: not in one world and not in the others
    randomness() = Dice(seed);
}

TlsClient::TlsClient(const Options& options) : ssl_(SSL_new(client_context())) {
    SSL_CTX_sess_set_new_cb(client_context(), on_session);
    SSL_set_app_data(ssl_, this);
    SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(ssl_), -1);
    SSL_set_connect_state(ssl_);
    if (options.is_version_12) SSL_set_max_proto_version(ssl_, TLS1_2_VERSION);
    if (!options.server_name.empty()) {
        SSL_set_tlsext_host_name(ssl_, options.server_name.c_str());
    }
    if (options.session) SSL_set_session(ssl_, options.session.get());
}

TlsClient::~TlsClient() {
    // OpenSSL calls a session that did not end well not resumable.
    SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl_);
}

int TlsClient::on_session(SSL* ssl, SSL_SESSION* session) {
    auto* self = static_cast<TlsClient*>(SSL_get_app_data(ssl));
    self->session_ = SessionPtr(session, SSL_SESSION_free);
    return 1;
}

void TlsClient::feed(std::string_view bytes) {
    if (bytes.empty()) return;
    BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
}

void TlsClient::take_output(std::string& out) {
    BIO* bio = SSL_get_wbio(ssl_);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    if (size <= 0) return;
    out.append(data, static_cast<size_t>(size));
    (void)BIO_reset(bio);  // a memory BIO cannot refuse
}

void TlsClient::handshake() {
    if (is_done_ || has_failed_) return;
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_);
    is_done_ = result == 1;
    if (!is_done_ && SSL_get_error(ssl_, result) != SSL_ERROR_WANT_READ) fail();
    ERR_clear_error();
}

void TlsClient::fail() {
    has_failed_ = true;
    is_alerted_ = ERR_GET_REASON(ERR_peek_last_error()) >= SSL_AD_REASON_OFFSET;
}

bool TlsClient::is_resumed() const {
    return SSL_session_reused(ssl_) == 1;
}

void TlsClient::write(std::string_view plaintext) {
    if (plaintext.empty() || has_failed_) return;
    ERR_clear_error();
    size_t size = 0;
    if (SSL_write_ex(ssl_, plaintext.data(), plaintext.size(), &size) != 1) fail();
    ERR_clear_error();
}

void TlsClient::read(std::string& plaintext) {
    if (!is_done_ || has_failed_) return;
    char buffer[16 * 1024];
    size_t size = 0;
    ERR_clear_error();
    while (SSL_read_ex(ssl_, buffer, sizeof buffer, &size) == 1) plaintext.append(buffer, size);
    const int error = SSL_get_error(ssl_, 0);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_ZERO_RETURN) fail();
    ERR_clear_error();
}

void TlsClient::close_notify() {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    ERR_clear_error();
}

void TlsClient::update_key(bool ask_for_theirs) {
    if (!is_done_ || SSL_version(ssl_) != TLS1_3_VERSION) return;
    ERR_clear_error();
    SSL_key_update(ssl_, ask_for_theirs ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_do_handshake(ssl_);
    ERR_clear_error();
}

bool TlsClient::is_closed() const {
    return (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0;
}

}  // namespace sim::front
