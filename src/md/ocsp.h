// OCSP (RFC 6960): what a CA's responder is asked about one certificate, and what it answers. Only
// answers that were verified leave this file: signature and authority of whoever signed, the
// certificate that it is about, its time, the nonce. mod_md checks none of these (mod_md.md 6.3).
// Pure: no network, no clock. Any engine thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/clock.h"
#include "md/problem.h"
#include "tls/certificate.h"

namespace md {

enum class CertificateStatus : uint8_t { Unknown, Good, Revoked };
/// "good", "revoked", "unknown": mod_md's words.
std::string_view certificate_status_name(CertificateStatus status);

/// A verified answer.
struct OcspAnswer {
    tls::Der response;  // the whole OCSPResponse, as it is stapled
    CertificateStatus status = CertificateStatus::Unknown;  // never Unknown
    base::Time from{};                                      // thisUpdate
    base::Time until{};  // nextUpdate; 12 h after thisUpdate if the responder gives none
    std::optional<base::Time> revoked_at;
    std::string reason;  // why it was revoked, "keyCompromise"; "" unless revoked
};

/// How far the responder's clock and ours may be apart.
constexpr base::Duration ocsp_skew_max = std::chrono::minutes{5};
/// Whether an answer or list that is of `from` is none yet.
inline bool is_of_the_future(base::Time from, base::Time now) {
    return from > now + ocsp_skew_max;
}
/// How long an answer without nextUpdate is taken for true (mod_md.md 6.3).
constexpr base::Duration ocsp_life_default = std::chrono::hours{12};

/// One certificate and its issuer, and what is said of it.
class OcspQuestion {
  public:
    /// About `certificate`, whose chain begins with its issuer's certificate. The Problem: there is
    /// no issuer, or one of both cannot be read.
    static Outcome<OcspQuestion> about(const tls::Certificate& certificate);
    ~OcspQuestion();
    OcspQuestion(OcspQuestion&&) noexcept;
    OcspQuestion& operator=(OcspQuestion&&) noexcept;

    /// An OCSPRequest in DER, with a CertID of SHA-1 as all responders know it (RFC 5019 2.1.1).
    /// `nonce` may be empty: none.
    Outcome<tls::Der> request(std::span<const uint8_t> nonce) const;

    /// Verifies an OCSPResponse. The Problem says what is wrong with it; the status that the
    /// responder gave instead of an answer (tryLater, unauthorized, …), "unknown" among them. An
    /// answer without a nonce is as good as one with ours (RFC 5019 4). `check_signature`: false
    /// only for what this process has verified before.
    Outcome<OcspAnswer> read(std::span<const uint8_t> response, std::span<const uint8_t> nonce,
                             base::Time now, bool check_signature = true) const;

  private:
    struct Parts;
    explicit OcspQuestion(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace md
