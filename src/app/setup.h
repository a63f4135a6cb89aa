// What a configuration amounts to: routes, managed domains and certificates from files, all checked
// and looked up, ready to be served. Made at the start, by `mdfront check`, and at each reload; it
// reads files and asks name servers, and changes nothing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/config/configuration.h"
#include "app/config/mistakes.h"
#include "md/domain.h"
#include "proxy/routes.h"
#include "tls/certificate_index.h"

namespace app {

/// The certificates of a site that has its own.
struct StaticCertificates {
    std::vector<std::string> names;
    tls::CertificateSetPtr set;
};

struct Setup {
    Configuration configuration;
    std::shared_ptr<const proxy::Routes> routes;
    std::vector<md::Domain> domains;
    md::EngineSettings engine;
    std::vector<StaticCertificates> statics;
    /// How the certificates of `statics` are stapled and watched: as a domain without names.
    md::Domain others;
    /// By a domain's name: hosts of the sites that belong to it.
    std::map<std::string, std::vector<std::string>> domain_hosts;
    /// Whose certificate clients get that ask for no name or an unknown one: hosts of the default
    /// site; empty: nobody's.
    std::vector<std::string> default_hosts;

    /// Somebody has certificates whose staples or revocation are looked after: needs the store.
    bool needs_stapler() const;
    /// "2 sites, 3 names, 1 managed domain"
    std::string summary() const;
};

/// Reads the file and everything it names. Nothing if there are mistakes.
std::optional<Setup> load_setup(const std::string& path, Mistakes& mistakes, base::Time now);

/// The second half, for a configuration that was read; for tests.
Setup make_setup(Configuration configuration, Mistakes& mistakes, base::Time now);

/// Listeners cannot change in a running process: what depends on them of the domains and of the
/// engine's settings is made for those of `running`.
void keep_listeners(Setup& setup, const Configuration& running);

/// One certificate per key type, the preferred first.
tls::CertificateSetPtr make_set(std::vector<std::shared_ptr<const tls::Certificate>> certificates);

}  // namespace app
