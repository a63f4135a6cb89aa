// What people and programs are told of a managed domain and of an account: the status page, the
// admin listener's JSON, `mdfront certs`. Plain values, made by the engine.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "md/revocation.h"
#include "md/status_json.h"
#include "tls/certificate.h"

namespace md {

/// A certificate that is served.
struct CertificateSummary {
    std::string label;     // "rsa", "P-256"; static files "0", "1", …
    std::string key_type;  // "RSA 2048", "EC P-256"
    std::string issuer;    // RFC 2253 text, escape it
    std::string serial;    // upper-case hex
    std::string sha256;    // of its DER, hex
    std::vector<std::string> names;
    base::Time not_before{};
    base::Time not_after{};
    std::optional<base::Time> revoked_at;  // by us, or as its CA says
    std::string revocation_reason;         // "keyCompromise", …, or ""
    std::optional<StapleReport> staple{};  // nullopt: nobody is asked about it
};

/// `revoked`: all that is known to be; only the entry of this certificate counts.
CertificateSummary summarize(const std::string& label, const tls::Certificate& certificate,
                             const std::vector<RevokedCertificate>& revoked);

/// A managed domain.
struct DomainSummary {
    std::string name;
    std::vector<std::string> names;
    std::string state;  // "good", "expired", "incomplete: …", "error: …"
    std::vector<CertificateSummary> certificates;
    std::optional<base::Time> not_after;  // the earliest of what is served, fallback excepted
    std::string issuer;                   // of that one
    std::string ca_url;                   // the last or configured CA's directory
    std::string account;                  // directory in accounts/, or ""

    std::string renew_mode;                     // "auto", "manual", "always"; static files "static"
    std::string renew_window;                   // "33%", "30d"
    std::optional<base::Time> next_renewal;     // by window or advice; nullopt: none planned
    std::optional<base::Time> advised_renewal;  // by the CA (RFC 9773)
    std::string renewal_explanation;            // URL where the CA explains its advice, or ""

    // Of the renewal's job.
    std::string activity;                // what is being done, or "" if nothing is
    int errors = 0;                      // failures in a row
    std::string last_error;              // of the job that failed last, escape it
    std::string last_problem;            // its type, "urn:ietf:params:acme:error:…", or ""
    std::optional<base::Time> last_run;  // when the last attempt began
    std::optional<base::Time> next_run;  // of a job that waits
    std::optional<base::Time> ready_at;  // a new set is there and is installed then

    bool is_revoked = false;  // something that is served was revoked
    /// What came of the requests (renew_now and so on): how many visits have seen to some, and what
    /// went wrong with the last, or "". Who asked waits until the number has grown and nothing is
    /// pending.
    uint64_t requests_done = 0;
    std::string request_error;
    bool is_request_pending = false;
};

}  // namespace md
