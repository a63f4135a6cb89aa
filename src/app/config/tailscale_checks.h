// Domains whose certificate comes from the tailscale daemon: what has to go together, and what says
// nothing there (mod_md.md 8).
#pragma once

#include "app/config/configuration.h"
#include "app/config/mistakes.h"

namespace app {

/// Of a domain after inheritance.
bool is_from_tailscale(const Configuration& configuration, const DomainSettings& domain);

/// Told are also CAs and protocols of other domains that do not go together.
void check_tailscale(const Configuration& configuration, Mistakes& mistakes);

}  // namespace app
