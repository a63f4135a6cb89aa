#include "tls/policy.h"

#include "tls/ticket_keys.h"

namespace tls {

namespace {

// Mozilla's server side recommendations 5.7, with AES-128 first: it is as good as AES-256 here and
// costs less (measured: -9% per byte). Without DHE, which is slow. That leaves out who knows AEAD
// with an RSA certificate by DHE alone: Internet Explorer 11 on Windows 7 and 8.1, whose ECDHE_RSA
// suites are all CBC; with an ECDSA certificate it does ECDHE with GCM. docs/configuration.md says
// who is left out.
constexpr const char* suites_tls13 =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* suites_tls12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* signature_algorithms =
    "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA384:RSA+SHA384:"
    "ECDSA+SHA512:RSA-PSS+SHA512:RSA+SHA512:ed25519:ed448";

/// A session resumes only under the very policy that made it (faults.md TL-14).
bool set_session_id_context(SSL_CTX* context, Policy policy, const std::string& groups) {
    const std::string text = fmt::format("mdfront {} {} {} {} {}", static_cast<int>(policy),
                                         suites_tls13, suites_tls12, groups, signature_algorithms);
    std::array<uint8_t, 32> digest{};
    return EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr) ==
               1 &&
           SSL_CTX_set_session_id_context(context, digest.data(), digest.size()) == 1;
}

}  // namespace

bool apply_policy(SSL_CTX* context, Policy policy, const std::vector<std::string>& groups) {
    // All is said here, so that nothing comes from the system's openssl.cnf. The change_cipher_spec
    // of RFC 8446 D.4 is among it: middleboxes want to see it. Level 0 forbids
    // nothing by itself: the lists below and read_certificate() hold the rules (key sizes, curves),
    // and OpenSSL need not weigh each suite and certificate again in each handshake.
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_clear_options(context, SSL_CTX_get_options(context));
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                     SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_ENABLE_MIDDLEBOX_COMPAT | SSL_OP_NO_SSLv3 |
                                     SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1);
    // An idle connection holds no record buffers; write() may move on to another buffer; the chain
    // is what the certificate's file says, never built anew from a store in each handshake.
    SSL_CTX_clear_mode(context, SSL_CTX_get_mode(context));
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_AUTO_RETRY | SSL_MODE_NO_AUTO_CHAIN);
    // Tickets are stateless: no cache of sessions. One per handshake: the second one that OpenSSL
    // sends by default costs 12 us of 265, a resumption spares 62, so that one in five would have
    // to be used. Each resumed connection brings the next one: a client that keeps several
    // connections has as many after its first round, and resumes all of them from then on.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, std::chrono::seconds(TicketKeys::lifetime).count());
    SSL_CTX_set_read_ahead(context, 0);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
    // One list without OpenSSL 3.5's '/': of the groups that a client has sent a key share for the
    // first one is taken, and nobody is asked for another share (HelloRetryRequest) in order to
    // get a better one.
    const std::string list = fmt::format("{}", fmt::join(groups, ":"));
    const int version_min = policy == Policy::Modern ? TLS1_3_VERSION : TLS1_2_VERSION;
    return SSL_CTX_set_min_proto_version(context, version_min) == 1 &&
           SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(context, suites_tls13) == 1 &&
           SSL_CTX_set_cipher_list(context, suites_tls12) == 1 &&
           SSL_CTX_set1_groups_list(context, list.c_str()) == 1 &&
           SSL_CTX_set1_sigalgs_list(context, signature_algorithms) == 1 &&
           SSL_CTX_set_num_tickets(context, 1) == 1 &&
           SSL_CTX_set_max_early_data(context, 0) == 1 &&
           set_session_id_context(context, policy, list);
}

}  // namespace tls
