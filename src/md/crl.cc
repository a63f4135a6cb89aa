#include "md/crl.h"

#include <cerrno>

#include "base/text.h"
#include "md/ocsp.h"
#include "md/ocsp_client.h"
#include "md/openssl.h"

namespace md {

namespace {

using PointsPtr = std::unique_ptr<CRL_DIST_POINTS, OpenSslFree<CRL_DIST_POINTS_free>>;
using ScopePtr = std::unique_ptr<ISSUING_DIST_POINT, OpenSslFree<ISSUING_DIST_POINT_free>>;

Problem refused(std::string_view why) {
    return openssl_problem(EPROTO, fmt::format("the CRL is refused: {}", why));
}

/// The URIs of a distribution point's fullName.
std::vector<std::string> urls_of(const DIST_POINT_NAME* name) {
    std::vector<std::string> urls;
    if (name == nullptr || name->type != 0) return urls;
    for (int i = 0; i < sk_GENERAL_NAME_num(name->name.fullname); ++i) {
        const GENERAL_NAME* one = sk_GENERAL_NAME_value(name->name.fullname, i);
        if (one->type != GEN_URI) continue;
        const ASN1_IA5STRING* text = one->d.uniformResourceIdentifier;
        urls.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                          static_cast<size_t>(ASN1_STRING_length(text)));
    }
    return urls;
}

/// Why the list does not tell about every certificate that names `url`; "" if it does.
std::string scope_refusal(const X509_CRL* crl, std::string_view url) {
    int critical = 0;
    // -1 with critical -1: there is no such extension.
    const ScopePtr scope(static_cast<ISSUING_DIST_POINT*>(
        X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &critical, nullptr)));
    if (!scope) return critical == -1 ? "" : "its issuing distribution point cannot be read";
    if (scope->onlyCA > 0 || scope->onlyattr > 0) return "it is not about servers' certificates";
    if (scope->indirectCRL > 0) return "it is an indirect one";
    if (scope->onlysomereasons != nullptr) return "it is about some reasons only";
    if (scope->distpoint == nullptr) return "";
    const std::vector<std::string> urls = urls_of(scope->distpoint);
    if (urls.empty() || std::find(urls.begin(), urls.end(), url) != urls.end()) return "";
    return fmt::format("it is that of {}", base::escape_for_log(urls.front(), 200));
}

/// Whether there is a critical extension that changes what the list says in a way unknown to us: it
/// must not be used then (RFC 5280 5.2).
bool has_unknown_critical(const X509_CRL* crl) {
    for (int i = 0; i < X509_CRL_get_ext_count(crl); ++i) {
        X509_EXTENSION* extension = X509_CRL_get_ext(crl, i);
        if (X509_EXTENSION_get_critical(extension) <= 0) continue;
        switch (OBJ_obj2nid(X509_EXTENSION_get_object(extension))) {
            case NID_issuing_distribution_point:  // scope_refusal
            case NID_authority_key_identifier:
            case NID_crl_number:
                break;
            default:
                return true;
        }
    }
    return false;
}

}  // namespace

std::string crl_url(const tls::Certificate& certificate) {
    const auto leaf = decode_der<X509Ptr>(certificate.leaf, d2i_X509);
    if (!leaf) return {};
    const PointsPtr points(static_cast<CRL_DIST_POINTS*>(
        X509_get_ext_d2i(leaf.get(), NID_crl_distribution_points, nullptr, nullptr)));
    ERR_clear_error();
    for (int i = 0; points && i < sk_DIST_POINT_num(points.get()); ++i) {
        const DIST_POINT* point = sk_DIST_POINT_value(points.get(), i);
        if (point->reasons != nullptr || point->CRLissuer != nullptr) continue;
        for (std::string& url : urls_of(point->distpoint)) {
            if (is_http_url(url)) return std::move(url);
        }
    }
    return {};
}

struct Crl::Parts {
    X509CrlPtr crl;
    base::Time from{};
    base::Time until{};
};

Crl::Crl(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Crl::~Crl() = default;
Crl::Crl(Crl&&) noexcept = default;
Crl& Crl::operator=(Crl&&) noexcept = default;

Outcome<Crl> Crl::read(std::span<const uint8_t> der, const tls::Der& issuer_der,
                       std::string_view url, base::Time now) {
    auto parts = std::make_unique<Parts>();
    parts->crl = decode_der<X509CrlPtr>(der, d2i_X509_CRL);
    X509_CRL* crl = parts->crl.get();
    if (crl == nullptr) return refused("it is no CertificateList in DER");
    const auto issuer = decode_der<X509Ptr>(issuer_der, d2i_X509);
    if (!issuer) return make_problem(EINVAL, "the issuer's certificate cannot be read");
    if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(issuer.get())) != 0) {
        return refused("it is not of the certificate's issuer");
    }
    if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0) return refused("it is a delta only");
    if (has_unknown_critical(crl)) return refused("it has a critical extension that is unknown");
    if (const std::string why = scope_refusal(crl, url); !why.empty()) return refused(why);
    const auto from = time_of(X509_CRL_get0_lastUpdate(crl));
    const auto until = time_of(X509_CRL_get0_nextUpdate(crl));
    if (!from || !until) return refused("it does not say when the next one comes");
    parts->from = *from;
    parts->until = *until;
    if (is_of_the_future(parts->from, now)) {
        return refused(fmt::format("it is not valid before {}; is the clock of this machine right?",
                                   base::format_rfc3339(parts->from)));
    }
    if (parts->until <= now) {
        return refused(
            fmt::format("it is out of date since {}; is the clock of this machine right?",
                        base::format_rfc3339(parts->until)));
    }
    const EvpKeyPtr key(X509_get_pubkey(issuer.get()));
    if (!key || X509_CRL_verify(crl, key.get()) != 1) {
        return refused("the certificate's issuer has not signed it");
    }
    return Crl(std::move(parts));
}

base::Time Crl::from() const {
    return parts_->from;
}

base::Time Crl::until() const {
    return parts_->until;
}

std::optional<CrlEntry> Crl::find(const std::string& serial) const {
    BIGNUM* raw = nullptr;
    const bool is_number = BN_hex2bn(&raw, serial.c_str()) != 0;
    const BignumPtr number(raw);
    const std::unique_ptr<ASN1_INTEGER, OpenSslFree<ASN1_INTEGER_free>> wanted(
        is_number ? BN_to_ASN1_INTEGER(number.get(), nullptr) : nullptr);
    if (!wanted) return std::nullopt;
    X509_REVOKED* entry = nullptr;
    // 2: taken off the list again.
    if (X509_CRL_get0_by_serial(parts_->crl.get(), &entry, wanted.get()) != 1) return std::nullopt;
    int critical = 0;
    const std::unique_ptr<ASN1_ENUMERATED, OpenSslFree<ASN1_ENUMERATED_free>> reason(
        static_cast<ASN1_ENUMERATED*>(
            X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, &critical, nullptr)));
    const long code = reason ? ASN1_ENUMERATED_get(reason.get()) : 0;
    ERR_clear_error();
    return CrlEntry{time_of(X509_REVOKED_get0_revocationDate(entry)).value_or(parts_->from),
                    reason_text(static_cast<int>(std::clamp(code, -1L, 255L)))};
}

}  // namespace md
