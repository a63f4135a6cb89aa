#include "app/config/tailscale_checks.h"

#include "app/config/checks.h"
#include "md/tailscale.h"

namespace app {

namespace {

/// Protocol and URLs go together.
void check_ca_urls(const Configuration& configuration, const DomainSettings& domain,
                   const std::string& name, Mistakes& mistakes) {
    if (mistakes.is_unread("certificate_authority") || mistakes.is_unread("certificate_protocol")) {
        return;
    }
    const bool is_tailscale = is_from_tailscale(configuration, domain);
    for (const std::string& url : ca_urls_of(configuration, domain)) {
        const bool is_socket = md::tailscale_socket(url).ok();
        if (is_socket == is_tailscale) continue;
        if (is_socket) {
            mistakes.add(domain.place,
                         "{} has {} as certificate_authority, which is no ACME CA; write "
                         "certificate_protocol = \"tailscale\" beside it",
                         name, url);
        } else {
            mistakes.add(domain.place,
                         "{} gets its certificate from tailscale, and {} is no socket of its "
                         "daemon; leave certificate_authority out, or write \"{}\"",
                         name, url, md::tailscale_default_url);
        }
    }
}

/// The daemon certifies the machine's own name, and nothing else with it.
void check_one_name(const DomainSettings& domain, const std::string& name, Mistakes& mistakes) {
    if (domain.names.size() > 1) {
        mistakes.add(domain.place,
                     "{} has {} names, and tailscale certifies one, that of this machine in its "
                     "tailnet; leave the others out{}",
                     name, domain.names.size(),
                     domain.from_site ? ", and make a site of their own for them" : "");
    }
    if (name.starts_with("*.")) {
        mistakes.add(domain.names.front().place,
                     "{} is a wildcard, which is not asked of tailscale; write this machine's name "
                     "in its tailnet",
                     name);
    } else if (!name.ends_with(".ts.net")) {
        mistakes.warn(domain.names.front().place,
                      "{} does not end with .ts.net: tailscale certifies names of its tailnet, and "
                      "hardly ever others",
                      name);
    }
}

/// Keys that say something about an ACME CA or an order.
void warn_of_unused(const DomainDirectives& directives, const Place& place, Mistakes& mistakes) {
    const std::pair<std::string_view, bool> keys[] = {
        {"certificate_agreement", directives.agreement.has_value()},
        {"contact_email", directives.contact.has_value()},
        {"ca_challenges", directives.challenges.has_value()},
        {"challenge_dns01", directives.challenge_dns01.has_value()},
        {"ca_certificate_file", directives.ca_certificate_file.has_value()},
        {"external_account_binding", directives.external_account.has_value()},
        {"http_proxy", directives.http_proxy.has_value()},
        {"http_proxy_ca_certificate_file", directives.http_proxy_ca_file.has_value()},
        {"profile", directives.profile.has_value()},
        {"profile_mandatory", directives.profile_mandatory.has_value()},
        {"preferred_chain", directives.preferred_chain.has_value()},
        {"private_keys", directives.private_keys.has_value()},
        {"must_staple", directives.must_staple.has_value()},
        {"renew_via_ari", directives.renew_via_ari.has_value()},
        {"members", directives.auto_members == true}};
    std::vector<std::string_view> unused;
    for (const auto& [key, is_set] : keys) {
        if (is_set) unused.push_back(key);
    }
    if (unused.empty()) return;
    mistakes.warn(place,
                  "{} {} nothing to a certificate from tailscale, whose daemon orders it; leave {} "
                  "out",
                  fmt::join(unused, ", "), unused.size() == 1 ? "says" : "say",
                  unused.size() == 1 ? "it" : "them");
}

}  // namespace

bool is_from_tailscale(const Configuration& configuration, const DomainSettings& domain) {
    return ca_protocol_of(configuration, domain) == "tailscale";
}

void check_tailscale(const Configuration& configuration, Mistakes& mistakes) {
    bool orders = false;
    for (const DomainSettings& domain : configuration.domains) {
        if (domain.names.empty()) continue;
        const std::string& name = domain.names.front().name;
        check_ca_urls(configuration, domain, name, mistakes);
        if (is_from_tailscale(configuration, domain)) {
            check_one_name(domain, name, mistakes);
            warn_of_unused(domain.directives, domain.place, mistakes);
        } else {
            orders = true;
        }
    }
    // What [md] says is for those that order, if there are any.
    if (!configuration.domains.empty() && !orders) {
        warn_of_unused(configuration.md.directives, configuration.md.place, mistakes);
    }
}

}  // namespace app
