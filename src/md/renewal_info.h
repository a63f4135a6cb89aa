// When the CA would like certificates to be renewed (ARI, RFC 9773). What it advised is kept in
// ari.json of domains/<md>, so that a point in its window is drawn once, and not asked for again
// before the CA wants to be, also over a restart. One engine thread per domain.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "md/acme_client.h"
#include "md/store.h"

namespace md {

/// RFC 9773 4.2, for one certificate.
struct RenewalInfo {
    std::string certificate_id;  // RFC 9773 4.1
    base::Time window_start{};
    base::Time window_end{};
    base::Time renew_at{};        // drawn uniformly in the window, once for each window
    std::string explanation_url;  // "": none; somebody else's text
    base::Time next_look{};       // not asked again before
};

/// What a certificate without a usable answer looks like: only next_look is set.
bool has_window(const RenewalInfo& info);

/// Reads an answer's body. `former` is what was known of this certificate: if the window is the
/// same its point is kept. `wait` is the answer's Retry-After (6 h without one, 4.3).
Outcome<RenewalInfo> parse_renewal_info(std::string_view body, const std::string& certificate_id,
                                        const RenewalInfo* former,
                                        std::optional<base::Duration> wait, base::Time now,
                                        base::Random& random);

/// Asks the CA. Errors: its problem, or what is wrong with its answer.
Outcome<RenewalInfo> fetch_renewal_info(AcmeClient& client, const std::string& certificate_id,
                                        const RenewalInfo* former, base::Random& random);

/// When to ask again after a failure (4.3.3): as the CA says, else after 6 h.
base::Time next_look_after(const Problem& problem, base::Time now);

/// ari.json: empty if there is none, or one that cannot be read (nothing is lost by asking again).
std::vector<RenewalInfo> load_renewal_info(Store& store, const std::string& domain);
Outcome<void> save_renewal_info(Store& store, const std::string& domain,
                                const std::vector<RenewalInfo>& infos);

}  // namespace md
