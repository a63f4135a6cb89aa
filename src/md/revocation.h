// Revoking certificates at their CA (RFC 8555 7.6), and remembering that it was done: revoked.json
// in domains/<md>, which goes to the archive with the set that it is about. One engine thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "md/acme_client.h"
#include "md/credentials.h"
#include "md/store.h"

namespace md {

/// CRLReason (RFC 5280 5.3.1): those that a subscriber can give.
enum class RevocationReason : uint8_t {
    Unspecified = 0,
    KeyCompromise = 1,
    AffiliationChanged = 3,
    Superseded = 4,
    CessationOfOperation = 5
};
/// "keyCompromise", …; compared without regard to case.
std::optional<RevocationReason> parse_revocation_reason(std::string_view name);
std::string_view revocation_reason_name(RevocationReason reason);
/// All names with commas, for messages.
std::string revocation_reason_names();

/// A certificate that is not to be trusted any more.
struct RevokedCertificate {
    std::string sha256;  // of its DER, hex
    std::string serial;  // upper-case hex
    std::string reason;  // revocation_reason_name(), or what the CA says
    base::Time when{};
};

/// Tells the CA. The request is signed by the client's account; without one (`has_account`), or if
/// the CA does not take it from that account, by the certificate's own key. A certificate that was
/// revoked before is a success.
Outcome<void> revoke_certificate(AcmeClient& client, bool has_account, const Slot& slot,
                                 RevocationReason reason);

/// Empty if there is no file, or one that cannot be read.
std::vector<RevokedCertificate> load_revoked(Store& store, const std::string& domain);
Outcome<void> save_revoked(Store& store, const std::string& domain,
                           const std::vector<RevokedCertificate>& revoked);

/// The entry about that certificate, or nullptr.
const RevokedCertificate* find_revoked(const std::vector<RevokedCertificate>& revoked,
                                       const tls::Certificate& certificate);

}  // namespace md
