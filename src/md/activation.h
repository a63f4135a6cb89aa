// From a staged set to what is served: the guards that a certificate has to pass, and its way
// through the store (mod_md.md 3.7). mod_md checks only that keys match.
//
// A set that is refused never replaces what is served (faults.md CA-34..37).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "md/credentials.h"
#include "md/domain.h"
#include "md/domain_json.h"
#include "md/job.h"
#include "md/store.h"
#include "tls/certificate.h"

namespace md {

class AccountRegistry;

/// A clock that differs from the CA's by so much is no reason to refuse a certificate that is not
/// valid yet: it waits until it is (faults.md CA-36).
inline constexpr base::Duration clock_skew_max = std::chrono::hours{1};

/// Chain and key as a certificate: both parse, belong together, and each certificate is followed by
/// its issuer.
Outcome<std::shared_ptr<const tls::Certificate>> read_chain(std::string_view chain_pem,
                                                            std::string_view key_pem);

/// Guards: exactly the domain's names, in subjectAltName; an issuer with it; dates.
Outcome<void> check_certificate(const Domain& domain, const tls::Certificate& certificate,
                                base::Time now);

/// The set in staging/<name>, one slot per key spec, all guards passed.
Outcome<std::vector<Slot>> check_staged(Store& store, const Domain& domain, base::Time now);

/// A handshake with each certificate of a set that has passed check_staged, before anybody is
/// served with it.
Outcome<void> try_staged(const Domain& domain, const std::vector<Slot>& staged);

/// A pair that is refused, kept for people to look at: archive/<domain>.rejected, with the reason
/// in rejected.json. It replaces what was kept there for the same key spec.
void keep_rejected(Store& store, const std::string& domain, const KeySpec& spec,
                   std::string_view chain_pem, std::string_view key_pem, const Problem& why,
                   base::Time now);

/// staging → tmp → domains, the old set to the archive; staging and challenges are cleared. `job`
/// goes with it. The set has passed check_staged. Killed at any point, the next start finds the
/// old or the new set.
Outcome<void> transfer_staged(Store& store, AccountRegistry& accounts, const Domain& domain,
                              const std::vector<Slot>& staged, const Job& job, base::Time now);

/// Empties staging/<name> but for the job's record.
Outcome<void> reset_staging(Store& store, const std::string& name);

}  // namespace md
