// What a ClientHello says about names, protocols and what the client can verify. Peeked from
// OpenSSL's already split extensions; what is malformed here is left for OpenSSL to refuse.
#pragma once

#include <string_view>

#include "tls/certificate.h"
#include "tls/library.h"
#include "tls/session.h"

namespace tls {

/// Filled in the ClientHello callback; the views end with it.
struct ClientHello {
    /// Reads what `ssl` holds; only inside its ClientHello callback.
    explicit ClientHello(SSL* ssl);

    std::string_view server_name;  // raw
    bool has_server_name = false;
    bool has_malformed_server_name = false;  // not as RFC 6066 3 wants it
    bool offers_acme = false;                // acme-tls/1 is among the protocols
    bool offers_only_acme = false;           // and is the only one (RFC 8737 3)
};

/// Which certificates the client can use. A few bits, kept until the certificate is chosen.
class ClientAbilities {
  public:
    ClientAbilities() = default;
    /// Only inside the ClientHello callback of `ssl`.
    explicit ClientAbilities(SSL* ssl);

    /// The client can verify `certificate`'s key in a handshake of `version`.
    bool can_verify(const Certificate& certificate, Version version) const;

  private:
    void add_signature_algorithms(std::span<const uint8_t> extension);
    void add_groups(std::span<const uint8_t> extension);
    void add_suites(std::span<const uint8_t> suites);

    enum Bit : uint16_t {
        EcdsaSha256 = 1 << 0,
        EcdsaSha384 = 1 << 1,
        EcdsaSha512 = 1 << 2,
        RsaPss = 1 << 3,
        RsaPkcs1 = 1 << 4,
        Ed25519 = 1 << 5,
        Ed448 = 1 << 6,
        GroupP256 = 1 << 7,
        GroupP384 = 1 << 8,
        GroupP521 = 1 << 9,
        SuiteEcdsa = 1 << 10,  // a TLS 1.2 suite of ours that authenticates by ECDSA
        SuiteRsa = 1 << 11,
    };
    bool has(unsigned bits) const { return (bits_ & bits) != 0; }
    uint16_t bits_ = 0;
};

}  // namespace tls
