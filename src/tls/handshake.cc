#include "tls/handshake.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "base/text.h"
#include "tls/server_name.h"
#include "tls/ssl_session.h"

namespace tls {

namespace {

constexpr std::string_view http_protocol = "http/1.1";
constexpr std::string_view old_http_protocol = "http/1.0";
constexpr std::string_view acme_protocol = "acme-tls/1";
constexpr size_t staple_bytes_max = 64 * 1024;  // faults.md TL-38
constexpr long lifetime_seconds = std::chrono::seconds(TicketKeys::lifetime).count();

Handshake& handshake_of(SSL* ssl) {
    return SslSession::from(ssl).handshake();
}

Version version_of(const SSL* ssl) {
    return SSL_version(ssl) == TLS1_3_VERSION ? Version::Tls13 : Version::Tls12;
}

std::string quoted(std::string_view name) {
    return fmt::format("\"{}\"", base::escape_for_log(name, 128));
}

int refuse(Handshake& handshake, int* alert, int number, Failure failure, std::string text) {
    handshake.failure = failure;
    handshake.error = std::move(text);
    *alert = number;
    return SSL_CLIENT_HELLO_ERROR;
}

/// RFC 8737: the challenge's certificate and nothing else, or an alert (faults.md TL-16 to TL-19).
int on_acme_hello(SSL* ssl, int* alert, const ClientHello& hello, WorkerTls& worker) {
    Handshake& handshake = handshake_of(ssl);
    if (!hello.offers_only_acme) {
        return refuse(handshake, alert, SSL_AD_NO_APPLICATION_PROTOCOL, Failure::NoProtocol,
                      "acme-tls/1 together with other protocols");
    }
    handshake.certificate = worker.challenges.get().hold(hello.server_name);
    if (!handshake.certificate) {
        return refuse(handshake, alert, SSL_AD_UNRECOGNIZED_NAME, Failure::UnknownName,
                      "acme-tls/1 without a challenge for " + quoted(hello.server_name));
    }
    handshake.challenge = true;
    // Neither resumed nor to be resumed.
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_set_num_tickets(ssl, 0);
    return SSL_CLIENT_HELLO_SUCCESS;
}

/// A client that connects to an address sends no name (RFC 6066 3): the address is its name. Null
/// if it has no certificate; behind a translated address it never has.
const CertificateSetPtr* find_by_address(SSL* ssl, const CertificateIndex& index,
                                         Handshake& handshake) {
    if (!index.has_addresses()) return nullptr;
    const std::optional<base::IpAddress> address = SslSession::from(ssl).local_address();
    const CertificateSetPtr* set = address ? index.find(*address) : nullptr;
    if (set == nullptr) return nullptr;
    handshake.server_name = address->text();
    handshake.by_address = true;
    return set;
}

/// Called twice if the client was asked to retry (RFC 8446 4.1.4): the second one counts.
int on_client_hello(SSL* ssl, int* alert, void* arg) {
    (void)arg;
    WorkerTls& worker = SslSession::from(ssl).worker();
    const ClientHello hello(ssl);
    Handshake& handshake = handshake_of(ssl);
    handshake.abilities = ClientAbilities(ssl);
    const ServerName name(hello.server_name);
    handshake.server_name = name.text();
    handshake.set = nullptr;
    handshake.certificate = nullptr;
    handshake.challenge = false;
    handshake.by_address = false;
    if (hello.has_malformed_server_name) {
        // OpenSSL says so, too, but after this callback, which might find no certificate first.
        return refuse(handshake, alert, SSL_AD_DECODE_ERROR, Failure::ProtocolError,
                      "malformed server name");
    }
    if (hello.offers_acme) return on_acme_hello(ssl, alert, hello, worker);

    const CertificateIndex& index = worker.certificates.get();
    const CertificateSetPtr* set =
        hello.has_server_name ? index.find(name.text()) : find_by_address(ssl, index, handshake);
    handshake.set = set != nullptr ? *set : index.fallback();
    if (!handshake.set || handshake.set->certificates.empty()) {
        return refuse(handshake, alert, SSL_AD_UNRECOGNIZED_NAME, Failure::UnknownName,
                      hello.has_server_name
                          ? "unrecognized name " + quoted(hello.server_name)
                          : "no server name, and there is no default certificate");
    }
    if (worker.ticket_keys.get().keys.empty()) {
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_set_num_tickets(ssl, 0);
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

/// Acknowledges the name (RFC 6066 3) and so ties the session to it.
int on_server_name(SSL* ssl, int* alert, void* arg) {
    (void)alert;
    (void)arg;
    const Handshake& handshake = handshake_of(ssl);
    const bool is_known = !handshake.server_name.empty() && !handshake.by_address;
    return is_known ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/// Makes the chosen certificate the SSL's own. False: `handshake.error` says why not.
bool install_certificate(SSL* ssl, Handshake& handshake, CertificateCache& cache) {
    // After a retry request the choice is made again, mostly with the same outcome.
    if (handshake.installed == handshake.certificate.get()) return true;
    if (handshake.installed != nullptr) SSL_certs_clear(ssl);
    const DecodedCertificate* decoded = cache.get(handshake.certificate);
    if (decoded == nullptr) {
        handshake.failure = Failure::CertificateFault;
        handshake.error = "the certificate cannot be decoded: " + take_error_text();
        return false;
    }
    // One call, one look for the key's type; its check that key and certificate match is cheap.
    if (SSL_use_cert_and_key(ssl, decoded->leaf.get(), decoded->key.get(), decoded->chain.get(),
                             1) != 1) {
        handshake.failure = Failure::CertificateFault;
        handshake.error = "the certificate cannot be used: " + take_error_text();
        return false;
    }
    handshake.installed = handshake.certificate.get();
    return true;
}

/// Presents what choose_certificate() found. 0 ends the handshake with internal_error; below 0
/// stops it with SSL_ERROR_WANT_X509_LOOKUP, and this is called again when it goes on. Then all is
/// installed, and what follows up to the signature (suite, staple, ALPN) needs the session alone.
int on_certificate(SSL* ssl, void* arg) {
    (void)arg;
    Handshake& handshake = handshake_of(ssl);
    if (handshake.using_slow_key) return 1;
    WorkerTls& worker = SslSession::from(ssl).worker();
    if (!handshake.challenge) handshake.choose_certificate(version_of(ssl));
    if (!install_certificate(ssl, handshake, worker.cache)) return 0;
    return worker.has_pool && handshake.certificate->has_slow_key() ? -1 : 1;
}

int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
            const unsigned char* offered, unsigned offered_size, void* arg) {
    (void)arg;
    Handshake& handshake = handshake_of(ssl);
    const auto choose = [&](std::string_view wanted) {
        // OpenSSL has checked the list: names of 1 to 255 bytes that fill it exactly.
        for (unsigned at = 0; at < offered_size; at += 1u + offered[at]) {
            const std::string_view name(reinterpret_cast<const char*>(offered + at + 1),
                                        offered[at]);
            if (name != wanted) continue;
            *out = offered + at + 1;
            *out_size = offered[at];
            return true;
        }
        return false;
    };
    const bool is_chosen = handshake.challenge ? choose(acme_protocol)
                                               : choose(http_protocol) || choose(old_http_protocol);
    if (is_chosen) return SSL_TLSEXT_ERR_OK;
    handshake.failure = Failure::NoProtocol;
    handshake.error = "the client offers no application protocol that we speak: ";
    for (unsigned at = 0; at < offered_size; at += 1u + offered[at]) {
        const std::string_view name(reinterpret_cast<const char*>(offered + at + 1), offered[at]);
        if (at > 0) handshake.error += ", ";
        handshake.error += base::escape_for_log(name, 32);
        if (handshake.error.size() > 256) break;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol, RFC 7301 3.2
}

bool is_out_of_date(const Staple& staple) {
    return std::chrono::floor<base::Duration>(std::chrono::system_clock::now()) >= staple.until;
}

/// Hands the staple over; OpenSSL wants a copy that it can free. An old one is worse than none:
/// some clients take it for an attack.
int on_status_request(SSL* ssl, void* arg) {
    (void)arg;
    const std::shared_ptr<const Staple> staple = std::move(handshake_of(ssl).staple);
    if (!staple || staple->response.empty() || staple->response.size() > staple_bytes_max ||
        is_out_of_date(*staple)) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    const Der& response = staple->response;
    void* copy = OPENSSL_memdup(response.data(), response.size());
    if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(response.size()));
    return SSL_TLSEXT_ERR_OK;
}

bool use_ticket_key(const WorkerTls& worker, const TicketKey& key, const unsigned char* iv,
                    EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, bool seal) {
    char digest[] = "SHA256";
    std::array<uint8_t, 32> secret = key.hmac;
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret.data(), secret.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    const bool ok = EVP_CipherInit_ex2(cipher, worker.ticket_cipher.get(), key.aes.data(), iv,
                                       seal ? 1 : 0, nullptr) == 1 &&
                    EVP_MAC_CTX_set_params(mac, parameters) == 1;
    OPENSSL_cleanse(secret.data(), secret.size());
    return ok;
}

/// Tickets are sealed with the current key. A previous one opens, and has a new ticket made; no
/// key: a full handshake (faults.md TL-25). -1 ends the handshake.
int on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                  EVP_MAC_CTX* mac, int seal) {
    WorkerTls& worker = SslSession::from(ssl).worker();
    const TicketKeys& ticket_keys = worker.ticket_keys.get();
    const auto& keys = ticket_keys.keys;
    if (seal != 0) {
        // Keys do not vanish once there were some; on_client_hello() has seen some.
        if (keys.empty()) return -1;
        const TicketKey& key = *keys.front();
        if (RAND_bytes_ex(worker.library.get(), iv, 16, 0) != 1) return -1;
        std::copy(key.name.begin(), key.name.end(), name);
        return use_ticket_key(worker, key, iv, cipher, mac, true) ? 1 : -1;
    }
    for (size_t i = 0; i < keys.size(); ++i) {
        if (std::memcmp(keys[i]->name.data(), name, keys[i]->name.size()) != 0) continue;
        if (!use_ticket_key(worker, *keys[i], iv, cipher, mac, false)) return -1;
        return i == 0 ? 1 : 2;
    }
    return 0;
}

/// What a ticket tells beside OpenSSL's own: when the client was authenticated by a full handshake,
/// and the address that stood in for the name, of which OpenSSL knows nothing. The time, since
/// OpenSSL (3.0 as 3.5) dates a session anew with each ticket of TLS 1.3: it would resume for ever.
class TicketNote {
  public:
    TicketNote(base::Time authenticated, std::string_view address) {
        const auto seconds = std::chrono::floor<std::chrono::seconds>(authenticated);
        const int64_t number = seconds.time_since_epoch().count();
        std::memcpy(bytes_.data(), &number, sizeof number);
        base::check(address.size() <= address_max);
        std::copy(address.begin(), address.end(), bytes_.begin() + sizeof number);
        size_ = sizeof number + address.size();
    }
    bool put(SSL_SESSION* session) const {
        return SSL_SESSION_set1_ticket_appdata(session, bytes_.data(), size_) == 1;
    }
    /// nullopt: the ticket is not ours.
    static std::optional<TicketNote> in(SSL_SESSION* session) {
        void* data = nullptr;
        size_t size = 0;
        SSL_SESSION_get0_ticket_appdata(session, &data, &size);
        if (size < sizeof(int64_t) || size > sizeof(int64_t) + address_max) return std::nullopt;
        TicketNote note;
        std::memcpy(note.bytes_.data(), data, size);
        note.size_ = size;
        return note;
    }
    base::Time authenticated() const {
        int64_t number = 0;
        std::memcpy(&number, bytes_.data(), sizeof number);
        return base::Time(std::chrono::seconds(number));
    }
    std::string_view address() const {
        return {reinterpret_cast<const char*>(bytes_.data()) + sizeof(int64_t),
                size_ - sizeof(int64_t)};
    }

  private:
    TicketNote() = default;
    static constexpr size_t address_max = 45;  // of IPv6 in its longest form
    std::array<uint8_t, sizeof(int64_t) + address_max> bytes_{};
    size_t size_ = 0;
};

int on_ticket_made(SSL* ssl, void* arg) {
    (void)arg;
    const Handshake& handshake = handshake_of(ssl);
    const base::Time now = SslSession::from(ssl).worker().now();
    const bool is_resumed = SSL_session_reused(ssl) == 1;
    const base::Time authenticated = is_resumed ? handshake.authenticated : now;
    const auto left =
        std::chrono::floor<std::chrono::seconds>(authenticated + TicketKeys::resumption_max - now);
    SSL_SESSION* session = SSL_get_session(ssl);
    SSL_SESSION_set_timeout(session, std::min<long>(left.count(), lifetime_seconds));
    const TicketNote note(authenticated,
                          handshake.by_address ? handshake.server_name : std::string_view{});
    return note.put(session) ? 1 : 0;
}

/// A session resumes under the name that it was made for only (RFC 6066 3, faults.md TL-14), and
/// not for ever. Clients use a ticket of TLS 1.3 once (RFC 8446 C.4), so each brings the next one;
/// one of TLS 1.2 serves for its whole life, which OpenSSL counts from the full handshake.
SSL_TICKET_RETURN on_ticket_opened(SSL* ssl, SSL_SESSION* session, const unsigned char* key_name,
                                   size_t key_name_size, SSL_TICKET_STATUS status, void* arg) {
    (void)key_name;
    (void)key_name_size;
    (void)arg;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    Handshake& handshake = handshake_of(ssl);
    const char* made_for = SSL_SESSION_get0_hostname(session);
    const ServerName name(made_for != nullptr ? made_for : "");
    const std::optional<TicketNote> note = TicketNote::in(session);
    if (!note) return SSL_TICKET_RETURN_IGNORE_RENEW;
    const std::string_view known_by = handshake.by_address ? note->address() : name.text();
    const bool was_by_address = !note->address().empty();
    if (was_by_address != handshake.by_address || known_by != handshake.server_name) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    // Before it happened: the clock was set back, and nobody knows.
    const base::Duration age = SslSession::from(ssl).worker().now() - note->authenticated();
    if (age < base::Duration::zero() || age >= TicketKeys::resumption_max) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    handshake.authenticated = note->authenticated();
    const bool is_renewed = status == SSL_TICKET_SUCCESS_RENEW || version_of(ssl) == Version::Tls13;
    return is_renewed ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

}  // namespace

void Handshake::choose_certificate(Version version) {
    size_t chosen = set->certificates.size();
    for (size_t i = 0; i < set->certificates.size(); ++i) {
        if (!abilities.can_verify(*set->certificates[i], version)) continue;
        if (set->certificates[i]->key_type == KeyType::Ecdsa) {
            chosen = i;
            break;
        }
        chosen = std::min(chosen, i);
    }
    if (chosen == set->certificates.size()) chosen = 0;
    certificate = set->certificates[chosen];
    staple = chosen < set->staples.size() ? set->staples[chosen] : nullptr;
}

void install_callbacks(SSL_CTX* context) {
    SSL_CTX_set_client_hello_cb(context, on_client_hello, nullptr);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_cert_cb(context, on_certificate, nullptr);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, nullptr);
    SSL_CTX_set_tlsext_status_cb(context, on_status_request);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket_key);
    SSL_CTX_set_session_ticket_cb(context, on_ticket_made, on_ticket_opened, nullptr);
}

}  // namespace tls
