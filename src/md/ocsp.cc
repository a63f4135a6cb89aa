#include "md/ocsp.h"

#include <cerrno>

#include "md/openssl.h"

namespace md {

namespace {

constexpr base::Duration second = std::chrono::seconds{1};

Problem refused(std::string_view why) {
    return openssl_problem(EPROTO, fmt::format("the OCSP answer is refused: {}", why));
}

/// What the responder says instead of an answer (RFC 6960 4.2.1).
std::string_view response_status_text(int status) {
    switch (status) {
        case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST:
            return "malformedRequest: it does not understand the question";
        case OCSP_RESPONSE_STATUS_INTERNALERROR:
            return "internalError: it has a fault, and may be well again soon";
        case OCSP_RESPONSE_STATUS_TRYLATER:
            return "tryLater: it is busy";
        case OCSP_RESPONSE_STATUS_SIGREQUIRED:
            return "sigRequired: it answers signed questions only";
        case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
            return "unauthorized: it does not know this certificate (yet)";
        default:
            return "a status that RFC 6960 does not have";
    }
}

/// The extension's value as RFC 8954 has it: an OCTET STRING in DER.
tls::Der encoded_nonce(std::span<const uint8_t> nonce) {
    const std::unique_ptr<ASN1_OCTET_STRING, OpenSslFree<ASN1_OCTET_STRING_free>> text(
        ASN1_OCTET_STRING_new());
    if (!text ||
        ASN1_OCTET_STRING_set(text.get(), nonce.data(), static_cast<int>(nonce.size())) != 1) {
        return {};
    }
    unsigned char* out = nullptr;
    const int size = i2d_ASN1_OCTET_STRING(text.get(), &out);
    tls::Der der;
    if (size > 0) der.assign(out, out + size);
    OPENSSL_free(out);
    return der;
}

/// False if there is a nonce, and it is another one (faults.md OC-14).
bool has_fitting_nonce(OCSP_BASICRESP* basic, std::span<const uint8_t> nonce) {
    if (nonce.empty()) return true;  // cached answers may have somebody's
    const int at = OCSP_BASICRESP_get_ext_by_NID(basic, NID_id_pkix_OCSP_Nonce, -1);
    if (at < 0) return true;
    const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(OCSP_BASICRESP_get_ext(basic, at));
    const tls::Der ours = encoded_nonce(nonce);
    const auto* bytes = ASN1_STRING_get0_data(value);
    const auto size = static_cast<size_t>(ASN1_STRING_length(value));
    return std::equal(bytes, bytes + size, ours.begin(), ours.end());
}

/// What one SingleResponse says.
struct Single {
    int status = 0;
    int reason = 0;
    std::optional<base::Time> revoked_at;
    std::optional<base::Time> from;
    std::optional<base::Time> until;
};

/// The newest that is about `id`: others in the same answer are none of our business (OC-08).
std::optional<Single> find_single(OCSP_BASICRESP* basic, OCSP_CERTID* id) {
    std::optional<Single> newest;
    for (int at = OCSP_resp_find(basic, id, -1); at >= 0; at = OCSP_resp_find(basic, id, at)) {
        OCSP_SINGLERESP* entry = OCSP_resp_get0(basic, at);
        ASN1_GENERALIZEDTIME* revoked = nullptr;
        ASN1_GENERALIZEDTIME* from = nullptr;
        ASN1_GENERALIZEDTIME* until = nullptr;
        Single single;
        single.status = OCSP_single_get0_status(entry, &single.reason, &revoked, &from, &until);
        single.revoked_at = time_of(revoked);
        single.from = time_of(from);
        if (!single.from) continue;
        if (until != nullptr) {
            single.until = time_of(until);
            if (!single.until) continue;
        }
        if (!newest || *newest->from < *single.from) newest = single;
    }
    return newest;
}

}  // namespace

std::string_view certificate_status_name(CertificateStatus status) {
    switch (status) {
        case CertificateStatus::Good:
            return "good";
        case CertificateStatus::Revoked:
            return "revoked";
        case CertificateStatus::Unknown:
            break;
    }
    return "unknown";
}

namespace {

using NamePtr = std::unique_ptr<X509_NAME, OpenSslFree<X509_NAME_free>>;
using IntegerPtr = std::unique_ptr<ASN1_INTEGER, OpenSslFree<ASN1_INTEGER_free>>;

/// Who issued a certificate under which number (RFC 5280 4.1); null where the DER is none.
struct Issued {
    NamePtr by;
    IntegerPtr serial;
};

/// Read without decoding the public key, which takes OpenSSL 3 a hundred times as long: at a start
/// each stored answer needs it.
Issued issued(const tls::Der& certificate) {
    const unsigned char* at = certificate.data();
    const unsigned char* const end = at + certificate.size();
    int tag = 0;
    long size = 0;
    const auto read_head = [&] {
        int kind = 0;
        return (ASN1_get_object(&at, &size, &tag, &kind, end - at) & 0x80) == 0;
    };
    for (int depth = 0; depth < 2; ++depth) {  // Certificate, TBSCertificate
        if (!read_head() || tag != V_ASN1_SEQUENCE) return {};
    }
    const unsigned char* const version = at;
    if (!read_head()) return {};
    at = tag == 0 ? at + size : version;  // [0], which version 1 leaves out
    Issued found;
    found.serial.reset(d2i_ASN1_INTEGER(nullptr, &at, end - at));
    if (!found.serial || !read_head()) return {};
    at += size;  // the signature's algorithm
    found.by.reset(d2i_X509_NAME(nullptr, &at, end - at));
    return found;
}

}  // namespace

struct OcspQuestion::Parts {
    std::shared_ptr<X509> issuer;  // of all that it has issued
    OcspCertIdPtr id;

    Outcome<void> check_signature(OCSP_BASICRESP* basic, base::Time now) const;
};

OcspQuestion::OcspQuestion(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
OcspQuestion::~OcspQuestion() = default;
OcspQuestion::OcspQuestion(OcspQuestion&&) noexcept = default;
OcspQuestion& OcspQuestion::operator=(OcspQuestion&&) noexcept = default;

Outcome<OcspQuestion> OcspQuestion::about(const tls::Certificate& certificate) {
    if (certificate.chain.empty()) {
        return make_problem(EINVAL,
                            "the certificate has no chain: put its issuer's certificate behind it "
                            "in the file, since OCSP answers are verified with that");
    }
    auto parts = std::make_unique<Parts>();
    parts->issuer = tls::decoded_issuer(certificate);
    const Issued leaf = issued(certificate.leaf);
    if (!leaf.by || !parts->issuer) return openssl_problem(EINVAL, "a certificate cannot be read");
    parts->id.reset(OCSP_cert_id_new(EVP_sha1(), leaf.by.get(),
                                     X509_get0_pubkey_bitstr(parts->issuer.get()),
                                     leaf.serial.get()));
    if (!parts->id) return openssl_problem(EINVAL, "no OCSP certificate id can be made");
    return OcspQuestion(std::move(parts));
}

Outcome<tls::Der> OcspQuestion::request(std::span<const uint8_t> nonce) const {
    const auto failed = [] { return openssl_problem(EINVAL, "no OCSP request can be made"); };
    const OcspRequestPtr request(OCSP_REQUEST_new());
    OcspCertIdPtr id(OCSP_CERTID_dup(parts_->id.get()));
    if (!request || !id || OCSP_request_add0_id(request.get(), id.get()) == nullptr) {
        return failed();
    }
    (void)id.release();  // the request's now
    if (!nonce.empty()) {
        tls::Der copy(nonce.begin(), nonce.end());
        if (OCSP_request_add1_nonce(request.get(), copy.data(), static_cast<int>(copy.size())) !=
            1) {
            return failed();
        }
    }
    unsigned char* out = nullptr;
    const int size = i2d_OCSP_REQUEST(request.get(), &out);
    if (size <= 0) return failed();
    tls::Der der(out, out + size);
    OPENSSL_free(out);
    return der;
}

/// Signed by the issuer, or by somebody whom the issuer gave a certificate for it (RFC
/// 6960 4.2.2.2; faults.md OC-11), valid by our clock.
Outcome<void> OcspQuestion::Parts::check_signature(OCSP_BASICRESP* basic, base::Time now) const {
    const X509StorePtr trusted(X509_STORE_new());
    const BorrowedX509StackPtr certificates(sk_X509_new_null());
    if (!trusted || !certificates || X509_STORE_add_cert(trusted.get(), issuer.get()) != 1 ||
        sk_X509_push(certificates.get(), issuer.get()) <= 0) {
        return openssl_problem(ENOMEM, "an OCSP answer cannot be verified");
    }
    X509_VERIFY_PARAM* how = X509_STORE_get0_param(trusted.get());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
    X509_VERIFY_PARAM_set_time(how, static_cast<time_t>(seconds));
    // The issuer is trusted for this, whoever has issued it.
    X509_VERIFY_PARAM_set_flags(how, X509_V_FLAG_PARTIAL_CHAIN);
    if (OCSP_basic_verify(basic, certificates.get(), trusted.get(), 0) != 1) {
        return refused(
            "neither the certificate's issuer nor a responder that it authorized has signed it");
    }
    return {};
}

Outcome<OcspAnswer> OcspQuestion::read(std::span<const uint8_t> bytes,
                                       std::span<const uint8_t> nonce, base::Time now,
                                       bool check_signature) const {
    const auto response = decode_der<OcspResponsePtr>(bytes, d2i_OCSP_RESPONSE);
    if (!response) return refused("it is no OCSPResponse in DER");
    const int status = OCSP_response_status(response.get());
    if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        return make_problem(
            EAGAIN, fmt::format("the OCSP responder answers {}", response_status_text(status)));
    }
    const OcspBasicPtr basic(OCSP_response_get1_basic(response.get()));
    if (!basic) return refused("it holds no BasicOCSPResponse");
    if (!has_fitting_nonce(basic.get(), nonce)) return refused("its nonce is another one's");
    const auto single = find_single(basic.get(), parts_->id.get());
    if (!single) return refused("it is not about this certificate");

    OcspAnswer answer;
    answer.from = *single->from;
    answer.until = single->until.value_or(answer.from + ocsp_life_default);
    if (is_of_the_future(answer.from, now)) {
        return refused(fmt::format("it is not valid before {}; is the clock of this machine right?",
                                   base::format_rfc3339(answer.from)));
    }
    if (answer.until < answer.from + second) {
        return refused("its nextUpdate is not later than its thisUpdate");
    }
    if (answer.until <= now) {
        return refused(
            fmt::format("it is out of date since {}; is the clock of this machine right?",
                        base::format_rfc3339(answer.until)));
    }
    if (check_signature) {
        if (auto signed_well = parts_->check_signature(basic.get(), now); !signed_well) {
            return signed_well.error();
        }
    }
    switch (single->status) {
        case V_OCSP_CERTSTATUS_GOOD:
            answer.status = CertificateStatus::Good;
            break;
        case V_OCSP_CERTSTATUS_REVOKED:
            answer.status = CertificateStatus::Revoked;
            answer.revoked_at = single->revoked_at.value_or(answer.from);
            answer.reason = reason_text(single->reason);
            break;
        default:
            return make_problem(ENOENT,
                                "the OCSP responder does not know this certificate (unknown)");
    }
    answer.response.assign(bytes.begin(), bytes.end());
    return answer;
}

}  // namespace md
