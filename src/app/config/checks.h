// Contradictions between keys: everything that can be told without opening files or asking anybody
// (faults.md 2i). Single values are checked by their readers, files and names by setup.h.
#pragma once

#include "app/config/configuration.h"
#include "app/config/mistakes.h"

namespace app {

void check_configuration(const Configuration& configuration, Mistakes& mistakes);

/// What the hosts of sites that became members of a domain would spoil: known once sites are
/// matched. `names`: those configured, then the members.
void check_members(const Configuration& configuration, const DomainSettings& settings,
                   const std::vector<std::string>& names, Mistakes& mistakes);

/// Whether connecting to `server` arrives at a socket of ours that listens on `listen`: a loop
/// (CF-10).
bool arrives_at(const net::Address& server, const net::Address& listen);

/// A directive of a domain, inherited from [md] if the domain has none.
template <auto member>
auto inherited(const Configuration& configuration, const DomainSettings& domain) {
    const auto& own = domain.directives.*member;
    return own ? own : configuration.md.directives.*member;
}

/// Of a domain after inheritance.
md::RenewMode renew_mode_of(const Configuration& configuration, const DomainSettings& domain);
std::string ca_protocol_of(const Configuration& configuration, const DomainSettings& domain);
/// Those of [md] belong to the protocol of [md]: a domain with another one and without CAs of its
/// own has its protocol's default.
std::vector<std::string> ca_urls_of(const Configuration& configuration,
                                    const DomainSettings& domain);

}  // namespace app
