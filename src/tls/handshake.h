// OpenSSL's callbacks: what a ClientHello asks for, and which certificate, protocol, staple and
// ticket key it gets.
//
// Order in OpenSSL 3.0: ClientHello callback (peek, choose the set of certificates), extensions,
// ticket (may resume), server name (acknowledge), ALPN in TLS 1.3, certificate callback unless
// resumed, status request, ALPN in TLS 1.2.
#pragma once

#include "tls/client_hello.h"
#include "tls/worker_tls.h"

namespace tls {

/// What a session's handshake has settled so far. Owned by the session; fed by the callbacks.
struct Handshake {
    CertificateSetPtr set;                           // for this name; null for a challenge
    std::shared_ptr<const Certificate> certificate;  // the one presented
    std::shared_ptr<const Staple> staple;            // for it
    ClientAbilities abilities;
    std::string server_name;                 // see SessionInfo
    const Certificate* installed = nullptr;  // in the SSL
    base::Time authenticated{};              // by the full handshake that an opened ticket tells of
    bool challenge = false;
    bool by_address = false;          // server_name is no SNI
    bool using_slow_key = false;      // in Session::use_slow_key(): maybe on another thread
    std::string error;                // why a callback refused; says more than OpenSSL's reason
    Failure failure = Failure::None;  // its kind

    /// ECDSA if the client can verify it, else the first that it can verify, else the first
    /// (faults.md TL-35). Sets certificate and staple.
    void choose_certificate(Version version);
};

/// Registers the callbacks; they find their worker through the session.
void install_callbacks(SSL_CTX* context);

}  // namespace tls
