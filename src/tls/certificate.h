// A certificate as the snapshots hold it: plain DER bytes and the facts that selection needs. No
// OpenSSL object lives here: each worker makes its own at first use, in its own library context
// (certificate_cache.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"

struct x509_st;  // OpenSSL's X509

namespace tls {

using Der = std::vector<uint8_t>;

enum class KeyType : uint8_t { Rsa, Ecdsa, Ed25519, Ed448 };

/// A private key in PKCS#8 DER.
using KeyDer = base::Secret;

/// One leaf with its chain and key. Immutable and shared between snapshots.
struct Certificate {
    Der leaf;
    std::vector<std::shared_ptr<const Der>> chain;  // intermediates, leaf's issuer first; interned
    std::shared_ptr<const KeyDer> key;
    KeyType key_type = KeyType::Rsa;
    std::string curve;  // for Ecdsa: OpenSSL's short name, e.g. "prime256v1"
    int key_bits = 0;
    /// dNSName SANs (CN if there is none), which may be wildcards, and iPAddress SANs; normalised.
    std::vector<std::string> names;
    base::Time not_before{};
    base::Time not_after{};
    std::string issuer;                // RFC 2253 text
    std::string serial;                // upper-case hex, no separators (mod_md.md 3.5)
    Der authority_key_id;              // RFC 5280 4.2.1.1, its key identifier; may be empty
    std::array<uint8_t, 32> sha256{};  // of the leaf's DER
    bool must_staple = false;          // RFC 7633 status_request
    std::string ocsp_url;              // first AIA entry, may be empty
    bool fallback = false;  // stands in until the real one is there: requests over it get 503

    /// A signature takes milliseconds (RSA 3072: 2, RSA 4096: 5; RSA 2048 and P-256: 0.3 and less):
    /// not on a worker where there is a HandshakePool.
    bool has_slow_key() const { return key_type == KeyType::Rsa && key_bits >= 3072; }
    /// A name of the certificate covers `name` (exact or one-label wildcard). An IP address is
    /// covered by an iPAddress alone (RFC 2818 3.1).
    bool covers(std::string_view name) const;
};

/// Reads a PEM chain (leaf first) and its key, and checks that they belong together, that each
/// certificate is followed by its issuer, and that nothing else stands in the text. Errors say
/// which of these failed. The same texts give the same object as long as somebody has it.
base::Result<std::shared_ptr<const Certificate>> read_certificate(std::string_view chain_pem,
                                                                  std::string_view key_pem);

/// The certificate of whoever issued it, decoded once for all that have the same one; null: there
/// is no chain, or it cannot be read.
std::shared_ptr<x509_st> decoded_issuer(const Certificate& certificate);

/// A self-signed certificate for `names`, IP addresses among them as iPAddress, with a fresh P-256
/// key: fallback pairs. mod_md.md 5.11: CN
/// "Apache Managed Domain Fallback", 14 days from `now`.
base::Result<std::shared_ptr<const Certificate>> make_fallback_certificate(
    const std::vector<std::string>& names, base::Time now);

/// The tls-alpn-01 answer (RFC 8737 section 3, RFC 8738 section 6): SAN `name`, critical
/// acmeIdentifier with the SHA-256 of the key authorization; P-256, 7 days from `now`.
base::Result<std::shared_ptr<const Certificate>> make_challenge_certificate(
    const std::string& name, std::span<const uint8_t, 32> key_authorization_sha256, base::Time now);

}  // namespace tls
