// Signatures of ACME requests: JWS in flattened JSON (RFC 7515, RFC 8555 6.2), the account keys
// that make them, and what is derived from such a key (RFC 7638). ES256 and RS256.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "md/domain.h"
#include "md/problem.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace md {

/// The key of an account: ECDSA P-256, or RSA as mod_md makes them. Immutable, cheap to copy.
class AccountKey {
  public:
    /// A new P-256 key.
    static Outcome<AccountKey> generate();
    /// P-256 or RSA with at least 2048 bits.
    static Outcome<AccountKey> from_pem(std::string_view pem);

    /// Plain PKCS#8.
    Outcome<base::Secret> pem() const;
    /// "ES256" or "RS256".
    std::string_view algorithm() const { return rsa_ ? "RS256" : "ES256"; }
    /// "EC P-256" or "RSA 3072".
    std::string type() const;
    /// The public key with exactly the members, and in the order, that RFC 7638 hashes.
    const std::string& jwk() const { return jwk_; }
    std::string thumbprint() const;
    /// RFC 8555 8.1.
    std::string key_authorization(std::string_view token) const;
    Outcome<std::vector<uint8_t>> sign(std::string_view input) const;

  private:
    using Key = std::shared_ptr<evp_pkey_st>;
    static Outcome<AccountKey> from_key(Key key);
    AccountKey(Key key, bool rsa, std::string jwk)
        : key_(std::move(key)), rsa_(rsa), jwk_(std::move(jwk)) {}

    Key key_;
    bool rsa_;
    std::string jwk_;
};

/// SHA-256 of a JWK in RFC 7638's form, base64url.
std::string jwk_thumbprint(std::string_view canonical_jwk);
std::vector<uint8_t> sha256(std::string_view bytes);

/// What is signed and how the key is named.
struct JwsRequest {
    std::string url;
    std::string nonce;    // "": none, as in the inner JWS of a key change (RFC 8555 7.3.5)
    std::string kid;      // the account's URL; "": the JWK itself is sent (newAccount)
    std::string payload;  // "": POST-as-GET
};

/// The body of a request.
Outcome<std::string> sign_jws(const AccountKey& key, const JwsRequest& request);

/// externalAccountBinding (RFC 8555 7.3.4), HS256. Problem apache:eab-hmac-invalid if the HMAC key
/// is not base64url (mod_md.md 5.4).
Outcome<std::string> sign_external_account(const AccountKey& key, const ExternalAccount& account,
                                           const std::string& new_account_url);

}  // namespace md
