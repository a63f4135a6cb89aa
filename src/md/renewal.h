// When things are due: arithmetic on given times, no clock (mod_md.md 4.2–4.8). The back-off after
// failures is retry_after() in job.h.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "md/credentials.h"
#include "md/domain.h"
#include "md/store.h"

namespace md {

/// A certificate that is due for renewal as soon as it is installed is asked for once a day.
inline constexpr base::Duration always_due_interval = std::chrono::hours{24};

/// not_after minus the window's share of the lifetime (mod_md.md 4.2).
base::Time renew_at(const tls::Certificate& certificate, const Window& window);
/// The earliest over all slots; `now` if a slot has no certificate or there is no slot, or if
/// `state` is Incomplete.
base::Time renew_at(const Domain& domain, const std::vector<Slot>& slots, DomainState state,
                    base::Time now);
/// mod_md.md 4.8: some certificate is inside its warn window.
bool in_warn_window(const Domain& domain, std::span<const Slot> slots, base::Time now);

/// Until the next regular check: interval + interval × r/256, r uniform in −128..127 (mod_md.md
/// 4.3). At least one second.
base::Duration check_delay(base::Duration interval, base::Random& random);

/// How long the certificate of `served` that ends first is still valid, of those that are; zero if
/// none is.
base::Duration validity_left(const std::vector<Slot>& served, base::Time now);
/// A wait after something failed, so short that what is served does not end meanwhile: half of what
/// is left of its validity at most, but an hour need never be less. A CA that is back for the last
/// day is thus asked several times. Nothing is left: as it is.
base::Duration wait_before_end(base::Duration wait, base::Duration left);

/// mod_md.md 4.7: when a new set may be used: not before its leaves are valid; if what is served is
/// complete and good at `now`, the activation delay later, but not later than that ends.
base::Time ready_at(const std::vector<Slot>& served, DomainState served_state,
                    const std::vector<Slot>& fresh, base::Duration activation_delay,
                    base::Time now);

/// mod_md.md 4.5: why a drive has to start from nothing instead of going on in staging; "" if it
/// can go on. `requested`: somebody asked for it, or the CA was switched.
std::string staging_reset_reason(Store& store, const Domain& domain, bool requested,
                                 base::Time now);

/// mod_md.md 4.2: domains that are looked after: not in state error; mode auto only if a site uses
/// it.
bool is_watched(const Domain& domain, DomainState state);
/// Watched, and the mode allows a renewal: auto (not static) or always.
bool may_renew(const Domain& domain, DomainState state);

/// The CA to use after `errors` failures in a row (mod_md.md 4.4, failover): the next of the list
/// from `current` on at the threshold, the first if `current` is not configured (any more).
std::string choose_ca(const std::vector<std::string>& urls, const std::string& current, int errors,
                      int failover_threshold);

}  // namespace md
