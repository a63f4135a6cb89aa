// What the engine tells the world in mod_md's JSON: md-status and certificate-status (mod_md.md
// 7.1, 7.2).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "md/domain_json.h"
#include "md/job.h"
#include "md/revocation.h"
#include "tls/certificate.h"

namespace md {

/// What its CA says about a served certificate, by OCSP or by a CRL.
struct StapleReport {
    std::string status;               // "good", "revoked", "unknown"
    std::optional<base::Time> from;   // of the answer or list
    std::optional<base::Time> until;  // … until then it holds
    std::string url;                  // who is asked
    bool is_crl = false;              // url is that of a CRL
    bool is_stapled = false;          // clients are to be given the answer
    bool has_staple = false;          // … and there is a good one
    std::optional<base::Time> refresh_at;
    std::optional<base::Time> revoked_at;
    std::string reason;                        // of the revocation, or ""
    std::optional<base::Time> last_success{};  // when an answer came last, in this process
    std::optional<Job> renewal{};              // of the question
};

/// A certificate whose status is watched: a row in server-status.
struct StapleRow {
    std::string domain;
    std::shared_ptr<const tls::Certificate> certificate;
    StapleReport report;
};

/// A certificate as it is shown.
struct ShownCertificate {
    std::string label;  // "rsa", "P-256"; static files "0", "1", …
    std::shared_ptr<const tls::Certificate> certificate;
    std::optional<StapleReport> staple;
    std::optional<RevokedCertificate> revoked = {};  // by us, or as its CA says
};

/// Everything that is told of one domain.
struct DomainStatus {
    StoredDomain stored;
    std::vector<ShownCertificate> served;
    std::vector<ShownCertificate> staged;
    std::optional<Job> job;  // the renewal in staging
    std::optional<base::Time> renew_at;
    base::Time advised_at = base::Time::max();  // by the CA (RFC 9773); max(): no advice
    std::string explanation_url;                // where it explains, or ""
    bool renewal_due = false;
    bool watched = false;
    int error = 0;  // errno if collecting failed
};

/// The list, without logs, sorted by name: {"version": …, "managed-domains": […]}.
std::string md_status_list(std::span<const DomainStatus> domains);
/// One domain with its logs.
std::string md_status(const DomainStatus& status);
/// Body of /.httpd/certificate-status.
std::string certificate_status(const DomainStatus& status);

/// RFC 9773 4.1: base64url of the AKI key identifier, '.', base64url of the serial's DER content;
/// "" if the certificate has no such key identifier.
std::string ari_certificate_id(const tls::Certificate& certificate);

}  // namespace md
