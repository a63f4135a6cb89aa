#include "md/domain_summary.h"

#include "base/text.h"

namespace md {

namespace {

/// As AccountKey::type() calls them.
std::string key_type_of(const tls::Certificate& certificate) {
    switch (certificate.key_type) {
        case tls::KeyType::Rsa:
            return fmt::format("RSA {}", certificate.key_bits);
        case tls::KeyType::Ecdsa:
            if (certificate.curve == "prime256v1") return "EC P-256";
            if (certificate.curve == "secp384r1") return "EC P-384";
            if (certificate.curve == "secp521r1") return "EC P-521";
            return "EC " + certificate.curve;
        case tls::KeyType::Ed25519:
            return "Ed25519";
        case tls::KeyType::Ed448:
            break;
    }
    return "Ed448";
}

}  // namespace

CertificateSummary summarize(const std::string& label, const tls::Certificate& certificate,
                             const std::vector<RevokedCertificate>& revoked) {
    CertificateSummary summary;
    summary.label = label;
    summary.key_type = key_type_of(certificate);
    summary.issuer = certificate.issuer;
    summary.serial = certificate.serial;
    summary.sha256 = base::hex(certificate.sha256);
    summary.names = certificate.names;
    summary.not_before = certificate.not_before;
    summary.not_after = certificate.not_after;
    if (const RevokedCertificate* entry = find_revoked(revoked, certificate)) {
        summary.revoked_at = entry->when;
        summary.revocation_reason = entry->reason;
    }
    return summary;
}

}  // namespace md
