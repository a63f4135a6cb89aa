// OpenSSL for this room: owning pointers, times, keys in PEM, and the error queue as a Problem.
// Private to md: included by .cc files only.
#pragma once

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/secret.h"
#include "md/problem.h"

namespace md {

template <auto free_function>
struct OpenSslFree {
    template <typename T>
    void operator()(T* object) const {
        free_function(object);
    }
};
inline void free_borrowed_certificates(STACK_OF(X509) * stack) {
    sk_X509_free(stack);
}

using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using EvpKeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, OpenSslFree<X509_free>>;
using X509CrlPtr = std::unique_ptr<X509_CRL, OpenSslFree<X509_CRL_free>>;
using X509StorePtr = std::unique_ptr<X509_STORE, OpenSslFree<X509_STORE_free>>;
/// The stack alone: the certificates in it belong to somebody else.
using BorrowedX509StackPtr =
    std::unique_ptr<STACK_OF(X509), OpenSslFree<free_borrowed_certificates>>;
using OcspCertIdPtr = std::unique_ptr<OCSP_CERTID, OpenSslFree<OCSP_CERTID_free>>;
using OcspRequestPtr = std::unique_ptr<OCSP_REQUEST, OpenSslFree<OCSP_REQUEST_free>>;
using OcspResponsePtr = std::unique_ptr<OCSP_RESPONSE, OpenSslFree<OCSP_RESPONSE_free>>;
using OcspBasicPtr = std::unique_ptr<OCSP_BASICRESP, OpenSslFree<OCSP_BASICRESP_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpenSslFree<BN_free>>;

/// One object that fills `der` entirely, read by OpenSSL's `decode` (d2i_X509 and so on); null
/// otherwise. The error queue is empty afterwards.
template <typename Ptr, typename Decode>
Ptr decode_der(std::span<const uint8_t> der, Decode decode) {
    const unsigned char* at = der.data();
    Ptr object(decode(nullptr, &at, static_cast<long>(der.size())));
    ERR_clear_error();
    if (object && at != der.data() + der.size()) object.reset();
    return object;
}

/// nullopt: `time` is null, or none.
inline std::optional<base::Time> time_of(const ASN1_TIME* time) {
    tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
    return base::Time(std::chrono::seconds(timegm(&parts)));
}

/// The reasons of RFC 5280 5.3.1 by number: "keyCompromise", …
inline std::string reason_text(int code) {
    const char* names[] = {
        "unspecified",   "keyCompromise",        "cACompromise",    "affiliationChanged",
        "superseded",    "cessationOfOperation", "certificateHold", "",
        "removeFromCRL", "privilegeWithdrawn",   "aACompromise"};
    const bool is_known = code >= 0 && code < static_cast<int>(std::size(names));
    return is_known && *names[code] != '\0' ? names[code] : "unspecified";
}

/// `what`, and OpenSSL's first reason; empties the queue.
inline Problem openssl_problem(int status, std::string_view what) {
    const char* reason = ERR_reason_error_string(ERR_peek_error());
    Problem problem = make_problem(
        status, reason != nullptr ? fmt::format("{} ({})", what, reason) : std::string(what));
    ERR_clear_error();
    return problem;
}

/// For reading; `text` must outlive it. Null: it is too large.
BioPtr bio_of(std::string_view text);
/// What was written to it.
std::string contents(BIO* bio);
/// A pem_password_cb that never asks a terminal: a server has none.
int no_pass_phrase(char*, int, int, void*);
/// In any form that is not encrypted; null, with a reason in the error queue, if it is none.
EvpKeyPtr read_key_pem(std::string_view pem);
/// Plain PKCS#8; nullopt, with a reason in the error queue, if that fails.
std::optional<base::Secret> key_pem(const EVP_PKEY* key);

}  // namespace md
