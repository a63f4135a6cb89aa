#include "md/jws.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <cerrno>

#include "base/text.h"
#include "md/acme_json.h"
#include "md/openssl.h"

namespace md {

namespace {

constexpr size_t p256_bytes = 32;
constexpr int rsa_bits_min = 2048;

using DigestPtr = std::unique_ptr<EVP_MD_CTX, OpenSslFree<EVP_MD_CTX_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, OpenSslFree<ECDSA_SIG_free>>;

/// A number of the public key, big endian, `size` bytes or as many as it needs.
std::string key_number(EVP_PKEY* key, const char* name, size_t size = 0) {
    BIGNUM* raw = nullptr;
    if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return {};
    const BignumPtr number(raw);
    const size_t needed = static_cast<size_t>(BN_num_bytes(number.get()));
    std::vector<uint8_t> bytes(std::max(size, needed));
    if (BN_bn2binpad(number.get(), bytes.data(), static_cast<int>(bytes.size())) < 0) return {};
    return base::base64url(bytes);
}

std::string public_jwk(EVP_PKEY* key, bool rsa) {
    if (rsa) {
        return fmt::format(R"({{"e":"{}","kty":"RSA","n":"{}"}})",
                           key_number(key, OSSL_PKEY_PARAM_RSA_E),
                           key_number(key, OSSL_PKEY_PARAM_RSA_N));
    }
    return fmt::format(R"({{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}})",
                       key_number(key, OSSL_PKEY_PARAM_EC_PUB_X, p256_bytes),
                       key_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, p256_bytes));
}

bool is_p256(EVP_PKEY* key) {
    char group[64] = {};
    return EVP_PKEY_is_a(key, "EC") == 1 &&
           EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) == 1 &&
           std::string_view(group) == SN_X9_62_prime256v1;
}

std::span<const uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// ECDSA-Sig-Value → R and S as JWS wants them (RFC 7518 3.4).
Outcome<std::vector<uint8_t>> raw_signature(std::span<const uint8_t> der) {
    const uint8_t* at = der.data();
    const SignaturePtr signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
    std::vector<uint8_t> raw(2 * p256_bytes);
    if (!signature || BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), raw.data(), p256_bytes) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), raw.data() + p256_bytes, p256_bytes) < 0) {
        return openssl_problem(EINVAL, "signing with the account key");
    }
    return raw;
}

std::string flattened(const std::string& header, const std::string& payload,
                      std::span<const uint8_t> signature) {
    Json body;
    body["protected"] = header;
    body["payload"] = payload;
    body["signature"] = base::base64url(signature);
    return body.dump();
}

}  // namespace

std::vector<uint8_t> sha256(std::string_view bytes) {
    std::vector<uint8_t> digest(SHA256_DIGEST_LENGTH);
    base::check(
        EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
    return digest;
}

std::string jwk_thumbprint(std::string_view canonical_jwk) {
    return base::base64url(sha256(canonical_jwk));
}

Outcome<AccountKey> AccountKey::from_key(Key key) {
    const bool rsa = EVP_PKEY_is_a(key.get(), "RSA") == 1;
    if (rsa && EVP_PKEY_get_bits(key.get()) < rsa_bits_min) {
        return make_problem(
            EINVAL, fmt::format("the account key has only {} bits", EVP_PKEY_get_bits(key.get())));
    }
    if (!rsa && !is_p256(key.get())) {
        return make_problem(EINVAL, "the account key is neither RSA nor ECDSA P-256");
    }
    std::string jwk = public_jwk(key.get(), rsa);
    return AccountKey(std::move(key), rsa, std::move(jwk));
}

Outcome<AccountKey> AccountKey::generate() {
    Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), EVP_PKEY_free);
    if (!key) return openssl_problem(EINVAL, "making an account key");
    return from_key(std::move(key));
}

Outcome<AccountKey> AccountKey::from_pem(std::string_view pem) {
    Key key = read_key_pem(pem);  // the store hands keys over in plain
    if (!key) return openssl_problem(EINVAL, "reading the account key");
    return from_key(std::move(key));
}

Outcome<base::Secret> AccountKey::pem() const {
    auto pem = key_pem(key_.get());
    if (!pem) return openssl_problem(EINVAL, "writing the account key");
    return *std::move(pem);
}

std::string AccountKey::type() const {
    return rsa_ ? fmt::format("RSA {}", EVP_PKEY_get_bits(key_.get())) : "EC P-256";
}

std::string AccountKey::thumbprint() const {
    return jwk_thumbprint(jwk_);
}

std::string AccountKey::key_authorization(std::string_view token) const {
    return std::string(token) + "." + thumbprint();
}

Outcome<std::vector<uint8_t>> AccountKey::sign(std::string_view input) const {
    const DigestPtr context(EVP_MD_CTX_new());
    const auto bytes = bytes_of(input);
    size_t size = 0;
    if (!context ||
        EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
        EVP_DigestSign(context.get(), nullptr, &size, bytes.data(), bytes.size()) != 1) {
        return openssl_problem(EINVAL, "signing with the account key");
    }
    std::vector<uint8_t> signature(size);
    if (EVP_DigestSign(context.get(), signature.data(), &size, bytes.data(), bytes.size()) != 1) {
        return openssl_problem(EINVAL, "signing with the account key");
    }
    signature.resize(size);
    if (rsa_) return signature;
    return raw_signature(signature);
}

Outcome<std::string> sign_jws(const AccountKey& key, const JwsRequest& request) {
    Json header;
    header["alg"] = key.algorithm();
    if (request.kid.empty()) {
        header["jwk"] = Json::parse(key.jwk());
    } else {
        header["kid"] = request.kid;
    }
    if (!request.nonce.empty()) header["nonce"] = request.nonce;
    header["url"] = request.url;
    const std::string head = base::base64url(bytes_of(header.dump()));
    const std::string payload = base::base64url(bytes_of(request.payload));
    auto signature = key.sign(head + "." + payload);
    if (!signature) return signature.error();
    return flattened(head, payload, signature.value());
}

Outcome<std::string> sign_external_account(const AccountKey& key, const ExternalAccount& account,
                                           const std::string& new_account_url) {
    std::string_view text = account.hmac.text();
    while (text.ends_with('=')) text.remove_suffix(1);  // some CAs hand it out padded
    const auto hmac_key = base::secret_from_base64url(text);
    if (!hmac_key || hmac_key->empty()) {
        Problem problem = make_problem(
            EINVAL,
            "the HMAC key of external_account_binding is not base64url; compare it with "
            "what the CA gave you");
        problem.type = "apache:eab-hmac-invalid";
        problem.pause = std::chrono::hours{24};  // nothing changes before somebody mends it
        return problem;
    }
    Json header;
    header["alg"] = "HS256";
    header["kid"] = account.kid;
    header["url"] = new_account_url;
    const std::string head = base::base64url(bytes_of(header.dump()));
    const std::string payload = base::base64url(bytes_of(key.jwk()));
    const std::string input = head + "." + payload;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    const uint8_t* made =
        HMAC(EVP_sha256(), hmac_key->bytes().data(), static_cast<int>(hmac_key->size()),
             bytes_of(input).data(), input.size(), digest, &size);
    if (made == nullptr) return openssl_problem(EINVAL, "signing the external account binding");
    return flattened(head, payload, std::span(digest, size));
}

}  // namespace md
