#include "tls/trial_handshake.h"

#include <algorithm>

#include "tls/library.h"

namespace tls {

namespace {

constexpr int turns_max = 10;  // a handshake takes two of each side
/// 112 bits, which is what browsers ask for: no SHA-1, no RSA below 2048. Whatever the system's
/// openssl.cnf says.
constexpr int security_level = 2;
constexpr int signature_bits_min = 112;

/// SHA-1 and older: clients refuse them, and OpenSSL 3.5 says nothing of a server's own. A root's
/// own signature counts for nobody.
bool is_signed_too_weakly(const X509* x509) {
    const bool is_root =
        X509_NAME_cmp(X509_get_subject_name(x509), X509_get_issuer_name(x509)) == 0;
    int bits = 0;
    // OpenSSL looks into the certificate's algorithms, and keeps what it found: not const to it.
    return !is_root && (X509_get_signature_info(const_cast<X509*>(x509), nullptr, nullptr, &bits,
                                                nullptr) != 1 ||
                        bits < signature_bits_min);
}

/// A context that has the certificate, or what is wrong.
std::string make_server(const Certificate& certificate, SslCtxPtr& server) {
    server.reset(SSL_CTX_new(TLS_server_method()));
    if (server) SSL_CTX_set_security_level(server.get(), security_level);
    const X509Ptr leaf = decode_x509(certificate.leaf, nullptr);
    const PkeyPtr key =
        decode_pkcs8(certificate.key->bytes(), openssl_type(certificate.key_type), nullptr);
    if (leaf && is_signed_too_weakly(leaf.get())) return "its signature is too weak";
    if (!server || !leaf || !key || SSL_CTX_use_certificate(server.get(), leaf.get()) != 1 ||
        SSL_CTX_use_PrivateKey(server.get(), key.get()) != 1) {
        return take_error_text();
    }
    for (const auto& der : certificate.chain) {
        X509Ptr issuer = decode_x509(*der, nullptr);
        if (issuer && is_signed_too_weakly(issuer.get()))
            return "its issuer's signature is too weak";
        if (!issuer || SSL_CTX_add0_chain_cert(server.get(), issuer.get()) != 1) {
            return take_error_text();
        }
        (void)issuer.release();  // the context's
    }
    return {};
}

bool is_encoded_as(const X509* x509, const Der& der) {
    uint8_t* bytes = nullptr;
    const int size = x509 != nullptr ? i2d_X509(x509, &bytes) : -1;
    const bool is_same = size >= 0 && std::equal(bytes, bytes + size, der.begin(), der.end());
    OPENSSL_free(bytes);
    return is_same;
}

std::string shake_hands(SSL_CTX* server_context, SSL_CTX* client_context, int version,
                        const Certificate& certificate, const std::string& name) {
    const SslPtr server(SSL_new(server_context));
    const SslPtr client(SSL_new(client_context));
    BIO* server_side = nullptr;
    BIO* client_side = nullptr;
    if (!server || !client || BIO_new_bio_pair(&server_side, 0, &client_side, 0) != 1) {
        return take_error_text();
    }
    SSL_set_bio(server.get(), server_side, server_side);
    SSL_set_bio(client.get(), client_side, client_side);
    SSL_set_accept_state(server.get());
    SSL_set_connect_state(client.get());
    SSL_set_min_proto_version(client.get(), version);
    SSL_set_max_proto_version(client.get(), version);
    if (SSL_set_tlsext_host_name(client.get(), name.c_str()) != 1) return take_error_text();
    for (int turn = 0; turn < turns_max; ++turn) {
        for (SSL* side : {client.get(), server.get()}) {
            const int result = SSL_do_handshake(side);
            const int error = SSL_get_error(side, result);
            if (result != 1 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
                return take_error_text();
            }
        }
        if (SSL_is_init_finished(client.get()) != 1 || SSL_is_init_finished(server.get()) != 1) {
            continue;
        }
        const X509Ptr shown(SSL_get1_peer_certificate(client.get()));
        if (!is_encoded_as(shown.get(), certificate.leaf)) return "another certificate was shown";
        return certificate.covers(name) ? std::string() : "it does not cover " + name;
    }
    return "it does not come to an end";
}

}  // namespace

std::string why_no_handshake(const Certificate& certificate, const std::string& name) {
    clear_errors();
    SslCtxPtr server;
    if (std::string why = make_server(certificate, server); !why.empty()) return why;
    const SslCtxPtr client(SSL_CTX_new(TLS_client_method()));
    if (!client) return take_error_text();
    SSL_CTX_set_security_level(client.get(), security_level);
    for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
        std::string why = shake_hands(server.get(), client.get(), version, certificate, name);
        clear_errors();
        if (why.empty()) continue;
        return fmt::format("{}: {}", version == TLS1_3_VERSION ? "TLS 1.3" : "TLS 1.2", why);
    }
    return {};
}

}  // namespace tls
