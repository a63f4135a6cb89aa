#include "tls/library.h"

#include "base/text.h"
#include "tls/certificate.h"
#include "tls/failure.h"

namespace tls {

Library::Library() : context_(OSSL_LIB_CTX_new()) {
    if (context_) provider_.reset(OSSL_PROVIDER_load(context_.get(), "default"));
}

void clear_errors() {
    if (ERR_peek_error() != 0) ERR_clear_error();
}

base::Error openssl_error(const char* text) {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    return {base::ErrorDomain::Tls, static_cast<int32_t>(code & 0x7fffffff), text};
}

/// The oldest entry that libssl made, for below it lie details of providers; else the oldest.
unsigned long take_error() {
    unsigned long chosen = 0;
    while (const unsigned long code = ERR_get_error()) {
        const bool is_better =
            ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_LIB(chosen) != ERR_LIB_SSL;
        if (chosen == 0 || is_better) chosen = code;
    }
    return chosen;
}

Failure failure_of(unsigned long error) {
    if (error == 0) return Failure::ProtocolError;  // the wire ended it: refuse_input()
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) return Failure::Overload;
    if (ERR_GET_LIB(error) != ERR_LIB_SSL) return Failure::ProtocolError;
    const int reason = ERR_GET_REASON(error);
    switch (reason) {
        case SSL_R_HTTP_REQUEST:
        case SSL_R_HTTPS_PROXY_REQUEST:
        case SSL_R_WRONG_VERSION_NUMBER:
            return Failure::NotTls;
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_UNKNOWN_PROTOCOL:
        case SSL_R_VERSION_TOO_LOW:
        case SSL_R_INAPPROPRIATE_FALLBACK:
            return Failure::NoSharedVersion;
        case SSL_R_NO_SHARED_CIPHER:
        case SSL_R_NO_SHARED_GROUPS:
        case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        case SSL_R_NO_SUITABLE_GROUPS:
        case SSL_R_NO_SUITABLE_KEY_SHARE:
        case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
            return Failure::NoSharedCipher;
        default:
            break;
    }
    const bool is_alert = reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256;
    return is_alert ? Failure::ClientAlert : Failure::ProtocolError;
}

std::string take_error_text() {
    return error_text(take_error());
}

std::string error_text(unsigned long code) {
    if (code == 0) return {};
    const int reason = ERR_GET_REASON(code);
    if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
        switch (reason) {
            case SSL_R_HTTP_REQUEST:
            case SSL_R_HTTPS_PROXY_REQUEST:
                return "not TLS: HTTP request on a TLS port";
            case SSL_R_WRONG_VERSION_NUMBER:
                return "not TLS: no TLS record, or one of an unknown version";
            case SSL_R_UNSUPPORTED_PROTOCOL:
            case SSL_R_VERSION_TOO_LOW:
                return "the client offers no TLS version that we allow";
            case SSL_R_INAPPROPRIATE_FALLBACK:
                return "fallback to an older TLS version than both sides can (TLS_FALLBACK_SCSV)";
            case SSL_R_NO_SUITABLE_KEY_SHARE:
                return "no shared group";
            case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
                return "no shared signature algorithm";
            case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
                return "bad record MAC";
            default:
                break;
        }
        // OpenSSL files an alert of the peer under 1000 + its number.
        if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
            return std::string("peer's alert: ") +
                   SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET);
        }
    }
    const char* text = ERR_reason_error_string(code);
    return text != nullptr ? std::string(text) : fmt::format("OpenSSL error {:x}", code);
}

X509Ptr decode_x509(std::span<const uint8_t> der, OSSL_LIB_CTX* library) {
    X509* x509 = X509_new_ex(library, nullptr);
    if (x509 == nullptr) return nullptr;
    const uint8_t* at = der.data();
    // d2i_X509 frees the object that it was given and clears the pointer when it fails.
    if (d2i_X509(&x509, &at, static_cast<long>(der.size())) == nullptr) return nullptr;
    X509Ptr result(x509);
    if (at != der.data() + der.size()) return nullptr;
    return result;
}

PkeyPtr decode_pkcs8(std::span<const uint8_t> der, int type, OSSL_LIB_CTX* library) {
    const uint8_t* at = der.data();
    PkeyPtr key(
        d2i_PrivateKey_ex(type, nullptr, &at, static_cast<long>(der.size()), library, nullptr));
    if (!key || at != der.data() + der.size()) return nullptr;
    return key;
}

int openssl_type(KeyType type) {
    switch (type) {
        case KeyType::Rsa:
            return EVP_PKEY_RSA;
        case KeyType::Ecdsa:
            return EVP_PKEY_EC;
        case KeyType::Ed25519:
            return EVP_PKEY_ED25519;
        case KeyType::Ed448:
            return EVP_PKEY_ED448;
    }
    return EVP_PKEY_NONE;
}

}  // namespace tls
