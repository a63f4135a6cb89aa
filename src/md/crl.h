// Certificate revocation lists (RFC 5280 section 5), for certificates whose CA has no OCSP
// responder any more. Only lists that were verified leave this file: the issuer's signature, its
// time, its scope. Pure: no network, no clock. Any engine thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "md/problem.h"
#include "tls/certificate.h"

namespace md {

/// Where a certificate's CRL is: the first http URL of its distribution points that gives all
/// reasons and is signed by the certificate's own issuer (RFC 5280 4.2.1.13); "" if there is none.
std::string crl_url(const tls::Certificate& certificate);

/// An entry about a certificate.
struct CrlEntry {
    base::Time revoked_at{};
    std::string reason;  // "keyCompromise", …
};

/// A verified list.
class Crl {
  public:
    /// Reads a CRL in DER that was found at `url`. The Problem: it is none, not signed by `issuer`
    /// (DER), not valid at `now`, or not about all certificates that name `url` (an indirect, delta
    /// or CA-only one, or one for another distribution point).
    static Outcome<Crl> read(std::span<const uint8_t> der, const tls::Der& issuer,
                             std::string_view url, base::Time now);
    ~Crl();
    Crl(Crl&&) noexcept;
    Crl& operator=(Crl&&) noexcept;

    base::Time from() const;   // thisUpdate
    base::Time until() const;  // nextUpdate
    /// `serial`: upper-case hex. nullopt: it is not revoked. A certificate that is merely on hold
    /// counts as revoked: clients do not accept it either.
    std::optional<CrlEntry> find(const std::string& serial) const;

  private:
    struct Parts;
    explicit Crl(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace md
