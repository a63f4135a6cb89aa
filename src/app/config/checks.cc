#include "app/config/checks.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>

#include "app/config/access_checks.h"
#include "app/config/tailscale_checks.h"
#include "app/config/values.h"
#include "base/ip_address.h"
#include "base/text.h"
#include "md/tailscale.h"

namespace app {

namespace {

constexpr size_t names_per_certificate_max = 100;  // Let's Encrypt and most others
constexpr const char* acme_protocol = "ACME";

std::string protocol_name(proxy::Protocol protocol) {
    return protocol == proxy::Protocol::Https ? "https" : "http";
}

bool is_wildcard(const net::Address& address) {
    const std::string host = address.host_text();
    return host == "0.0.0.0" || host == "::" || host == "*";
}

/// Whether two sockets would be offered the same connections (CF-07).
bool clashes(const net::Address& a, const net::Address& b) {
    if (a.is_unix() || b.is_unix()) return a == b;
    if (a.port() != b.port()) return false;
    if (a == b) return true;
    // "[::]" takes both families.
    const auto takes = [](const net::Address& wide, const net::Address& other) {
        return is_wildcard(wide) && (wide.family() == AF_INET6 || other.family() == AF_INET);
    };
    return takes(a, b) || takes(b, a);
}

void check_listeners(const Configuration& configuration, Mistakes& mistakes) {
    const auto& listens = configuration.listens;
    if (listens.empty()) {
        mistakes.add(configuration.place,
                     "there is no [[listen]]; write one with address = \"[::]:443\" and protocol = "
                     "\"https\"");
    }
    std::vector<PlacedAddress> all;
    for (const ListenSettings& listen : listens) {
        if (listen.address) all.push_back({listen.place, *listen.address});
    }
    all.insert(all.end(), configuration.admin.listen.begin(), configuration.admin.listen.end());
    for (size_t i = 0; i < all.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
            if (!clashes(all[i].address, all[j].address)) continue;
            mistakes.add(all[i].place, "{} takes the same connections as {} at {}; remove one",
                         all[i].address.text(), all[j].address.text(), all[j].place.text());
            break;
        }
        if (all[i].address.is_unix()) {
            const std::string path = all[i].address.text().substr(5);
            const std::string directory = path.substr(0, path.rfind('/'));
            if (!directory.empty() && ::access(directory.c_str(), F_OK) != 0) {
                mistakes.add(all[i].place, "{}: the directory {} does not exist; create it",
                             all[i].address.text(), directory);
            }
        }
    }
    for (const PlacedAddress& listen : configuration.admin.listen) {
        if (listen.address.is_loopback() || configuration.admin.is_public) continue;
        mistakes.add(
            listen.place,
            "admin.listen: {} can be reached from other machines, and the pages ask for no "
            "password; use 127.0.0.1 or unix:/path, or write public = true",
            listen.address.text());
    }
}

void check_server(const Configuration& configuration, Mistakes& mistakes) {
    const ServerSettings& server = configuration.server;
    if (!server.user.empty()) {
        const passwd* entry = ::getpwnam(server.user.c_str());
        if (entry == nullptr) {
            mistakes.add(server.user_place, "user: there is no user \"{}\" on this machine",
                         server.user);
        } else if (entry->pw_uid == 0) {
            mistakes.add(server.user_place,
                         "user: \"{}\" is root; name a user without privileges, or leave user out",
                         server.user);
        }
    }
    const std::string& log = server.access_log.path;
    if (!log.empty() && log != "-") {
        struct stat status {};
        const size_t slash = log.rfind('/');
        const std::string directory = slash == std::string::npos ? "." : log.substr(0, slash + 1);
        if (::stat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
            mistakes.add(server.access_log.place,
                         "access_log: the directory {} does not exist; create it", directory);
        } else if (::stat(log.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
            mistakes.add(server.access_log.place, "access_log: {} is a directory; name a file",
                         log);
        }
    } else if (log.empty() && server.access_log.place.file && !mistakes.is_unread("access_log") &&
               !mistakes.is_unread("path")) {
        mistakes.add(server.access_log.place,
                     "access_log has no path; write access_log = {{ path = \"…\" }}, or \"-\" for "
                     "standard output");
    }
}

void check_backends(const Configuration& configuration, Mistakes& mistakes) {
    std::map<std::string, Place> seen;
    for (const BackendSettings& backend : configuration.backends) {
        if (backend.name.empty()) continue;
        const auto [old, is_new] = seen.emplace(backend.name, backend.place);
        if (!is_new) {
            mistakes.add(backend.place, "backend \"{}\" is already defined at {}; rename one",
                         backend.name, old->second.text());
        }
        const bool used =
            std::any_of(configuration.sites.begin(), configuration.sites.end(),
                        [&](const SiteSettings& site) { return site.backend == backend.name; });
        if (!used) mistakes.warn(backend.place, "no site uses backend \"{}\"", backend.name);
    }
}

void check_site_certificates(const SiteSettings& site, const Configuration& configuration,
                             Mistakes& mistakes) {
    const size_t certificates = site.certificate_files.size();
    const size_t keys = site.key_files.size();
    if (certificates != keys) {
        mistakes.add(
            site.certificate_place,
            "site {} has {} certificate_file and {} certificate_key_file; each certificate "
            "needs its key",
            site.hosts.empty() ? "" : site.hosts.front().name, certificates, keys);
    }
    if (certificates > 0 && site.managed) {
        mistakes.add(site.certificate_place,
                     "a site has either managed = true or certificate_file; remove one of them");
    }
    if (certificates > 0 && !site.managed) {
        for (const DomainSettings& domain : configuration.domains) {
            for (const PlacedName& name : domain.names) {
                for (const PlacedName& host : site.hosts) {
                    if (!base::dns_name_matches(name.name, host.name)) continue;
                    mistakes.warn(site.certificate_place,
                                  "{} is also a name of the managed domain at {}; the site's "
                                  "certificate_file is what is served",
                                  host.name, domain.place.text());
                }
            }
        }
    }
}

void check_sites(const Configuration& configuration, Mistakes& mistakes) {
    if (configuration.sites.empty()) {
        mistakes.add(configuration.place,
                     "there is no [[site]]; write one with hosts = [\"www.example.org\"] and "
                     "backend = \"127.0.0.1:8080\"");
    }
    std::map<std::string, Place> hosts;
    const SiteSettings* default_site = nullptr;
    std::vector<std::string_view> backends;
    for (const BackendSettings& backend : configuration.backends) backends.push_back(backend.name);

    for (const SiteSettings& site : configuration.sites) {
        for (const PlacedName& host : site.hosts) {
            const auto [old, is_new] = hosts.emplace(host.name, host.place);
            if (!is_new) {
                mistakes.add(host.place, "{} is already a host of the site at {}; remove one",
                             host.name, old->second.text());
            }
        }
        if (site.is_default && default_site != nullptr) {
            mistakes.add(site.place, "the site at {} is already the default; there can be one",
                         default_site->place.text());
        }
        if (site.is_default && default_site == nullptr) default_site = &site;
        check_site_certificates(site, configuration, mistakes);

        const bool known =
            std::find(backends.begin(), backends.end(), site.backend) != backends.end();
        if (known || site.backend.empty() || mistakes.is_unread("name")) continue;
        if (site.backend.find_first_of(":/") == std::string::npos) {
            std::string hint =
                "write [[backend]] with this name, or an address: "
                "\"127.0.0.1:8080\"";
            if (const auto close = base::nearest(site.backend, backends)) {
                hint = fmt::format("did you mean \"{}\"?", *close);
            }
            mistakes.add(site.backend_place, "backend: there is no backend \"{}\"; {}",
                         base::escape_for_log(site.backend, 64), hint);
        } else {
            Reading reading{mistakes, "backend"};
            (void)values::server(site.backend, site.backend_place, reading);
        }
    }
}

/// Why dns-01 cannot be used for a domain; "" if it can.
std::string why_no_dns01(const Configuration& configuration, const DomainSettings& domain) {
    if (!inherited<&DomainDirectives::challenge_dns01>(configuration, domain)) {
        return "there is no challenge_dns01, the program that makes the TXT records";
    }
    const auto wanted = inherited<&DomainDirectives::challenges>(configuration, domain);
    const bool wants =
        !wanted || std::find(wanted->begin(), wanted->end(), "dns-01") != wanted->end();
    return wants ? "" : "it is not in ca_challenges";
}

void check_wildcard(const PlacedName& name, const std::string& no_dns01, Mistakes& mistakes) {
    if (!name.name.starts_with("*.") || no_dns01.empty()) return;
    mistakes.add(name.place, "{} is a wildcard, which CAs prove by dns-01 alone: {}", name.name,
                 no_dns01);
}

/// Says why nothing can prove a domain to the CA (CF-29).
void check_challenges(const Configuration& configuration, const DomainSettings& domain,
                      const std::string& name, Mistakes& mistakes) {
    for (const std::string_view key :
         {"address", "protocol", "port_map", "ca_challenges", "challenge_dns01"}) {
        if (mistakes.is_unread(key)) return;
    }
    const PortMap& map = configuration.md.port_map;
    const auto wanted = inherited<&DomainDirectives::challenges>(configuration, domain);
    const auto wants = [&](std::string_view type) {
        return !wanted || std::find(wanted->begin(), wanted->end(), type) != wanted->end();
    };
    std::vector<std::string> reasons;
    bool usable = false;
    const auto consider = [&](std::string_view type, proxy::Protocol protocol, int ca_port,
                              const std::optional<uint16_t>& port) {
        if (!wants(type)) {
            reasons.push_back(fmt::format("{} is not in ca_challenges", type));
        } else if (!port) {
            reasons.push_back(
                fmt::format("{}: port_map says that the CA cannot reach port {}", type, ca_port));
        } else if (!configuration.listens_on(protocol, *port)) {
            reasons.push_back(fmt::format(
                "{}: no [[listen]] with protocol \"{}\" has port {} (say \"{}:…\" in port_map if "
                "another one gets the CA's connections)",
                type, protocol_name(protocol), *port, ca_port));
        } else {
            usable = true;
        }
    };
    consider("http-01", proxy::Protocol::Http, 80, map.http);
    consider("tls-alpn-01", proxy::Protocol::Https, 443, map.https);
    if (!usable) {
        for (const PlacedName& address : domain.names) {
            if (!base::is_ip_address(address.name)) continue;
            mistakes.add(
                address.place,
                "{} is an IP address, which CAs prove by http-01 and tls-alpn-01 alone: {}",
                address.name, fmt::join(reasons, "; "));
            usable = true;  // enough is said
        }
    }
    const std::string no_dns01 = why_no_dns01(configuration, domain);
    if (no_dns01.empty()) {
        usable = true;
    } else {
        reasons.push_back("dns-01: " + no_dns01);
        for (const PlacedName& one : domain.names) {
            check_wildcard(one, no_dns01, mistakes);
            usable = usable || one.name.starts_with("*.");  // enough is said
        }
    }
    if (!usable) {
        mistakes.add(domain.place, "{} cannot be proved to a CA: {}", name,
                     fmt::join(reasons, "; "));
    }
}

struct PlacedIpAddress {
    Place place;
    base::IpAddress address;
};

/// What CAs are known to want of addresses (CF-13). Theirs to change: so these are warnings.
void check_address(const Configuration& configuration, const DomainSettings& domain,
                   const PlacedIpAddress& name, Mistakes& mistakes) {
    using Use = base::IpAddress::Use;
    const auto urls = ca_urls_of(configuration, domain);
    const auto is_one = [&](std::string_view host) {
        return std::any_of(urls.begin(), urls.end(), [&](const std::string& url) {
            return url.find(host) != std::string::npos;
        });
    };
    const bool lets_encrypt = is_one("letsencrypt.org");
    const Use use = name.address.use();
    const bool is_local = use == Use::Private || use == Use::Loopback || use == Use::LinkLocal;
    if (is_local && (lets_encrypt || is_one("buypass.com"))) {
        mistakes.warn(name.place,
                      "{} is an address of private networks; no public CA certifies it: name a CA "
                      "of your own in certificate_authority",
                      name.address.text());
    } else if (lets_encrypt &&
               inherited<&DomainDirectives::profile>(configuration, domain) != "shortlived") {
        mistakes.warn(name.place,
                      "{} is an IP address, which Let's Encrypt certifies in its profile "
                      "\"shortlived\" alone; write profile = \"shortlived\"",
                      name.address.text());
    }
}

/// Whether a CA is asked for certificates of the domain.
bool is_driven(const Configuration& configuration, const DomainSettings& domain) {
    const md::RenewMode mode = renew_mode_of(configuration, domain);
    return mode == md::RenewMode::Always ||
           (mode == md::RenewMode::Auto && domain.certificate_files.empty());
}

void check_count(const DomainSettings& domain, size_t names, Mistakes& mistakes) {
    if (names <= names_per_certificate_max) return;
    mistakes.add(domain.place,
                 "{} has {} names; CAs put at most {} in one certificate; make several domains",
                 domain.names.front().name, names, names_per_certificate_max);
}

/// A name that a CA is to certify.
void check_name(const Configuration& configuration, const DomainSettings& domain,
                const PlacedName& name, Mistakes& mistakes) {
    if (const auto address = base::IpAddress::parse(name.name)) {
        check_address(configuration, domain, {name.place, *address}, mistakes);
    } else if (name.name.find('.') == std::string::npos) {
        mistakes.add(name.place, "{} has no dot; no CA certifies such a name; write the whole name",
                     name.name);
    } else if (name.name.find('_') != std::string::npos) {
        mistakes.add(name.place, "{} has '_' in it; no CA certifies such a name", name.name);
    }
}

void check_account(const Configuration& configuration, const DomainSettings& domain,
                   const std::string& name, Mistakes& mistakes) {
    // mod_md.md 5.4: registration needs both, whatever the CA says.
    const auto urls = ca_urls_of(configuration, domain);
    if (!inherited<&DomainDirectives::agreement>(configuration, domain) &&
        !mistakes.is_unread("certificate_agreement")) {
        const bool lets_encrypt = urls.front().find("letsencrypt.org") != std::string::npos;
        mistakes.add(domain.place,
                     "{} needs the CA's terms to be accepted: read {} and write "
                     "certificate_agreement = \"accepted\" in [md]",
                     name,
                     lets_encrypt ? "https://letsencrypt.org/repository/"
                                  : "those named in " + urls.front());
    }
    if (!inherited<&DomainDirectives::contact>(configuration, domain) &&
        !mistakes.is_unread("contact_email")) {
        mistakes.add(domain.place,
                     "{} needs a contact for the account at the CA; write contact_email = "
                     "\"you@example.org\" in [md]",
                     name);
    }
}

void check_windows(const Configuration& configuration, const DomainSettings& domain,
                   Mistakes& mistakes) {
    const md::Window renew = inherited<&DomainDirectives::renew_window>(configuration, domain)
                                 .value_or(md::Window{33, {}});
    const md::Window warn = inherited<&DomainDirectives::warn_window>(configuration, domain)
                                .value_or(md::Window{10, {}});
    const base::Duration lifetime = std::chrono::hours{90 * 24};
    if (renew.length >= lifetime) {
        mistakes.warn(domain.place,
                      "renew_window {} is not shorter than the 90 days that certificates of most "
                      "CAs live: such a certificate is renewed all the time",
                      renew.text());
    }
    if (warn.of(lifetime) > renew.of(lifetime)) {
        mistakes.warn(domain.place,
                      "warn_window {} is longer than renew_window {}: it warns before a renewal is "
                      "tried",
                      warn.text(), renew.text());
    }
}

void check_domains(const Configuration& configuration, Mistakes& mistakes) {
    for (const DomainSettings& domain : configuration.domains) {
        if (domain.names.empty()) continue;
        const std::string& name = domain.names.front().name;
        const bool is_static = !domain.certificate_files.empty();
        const md::RenewMode mode = renew_mode_of(configuration, domain);
        const bool driven = is_driven(configuration, domain);
        check_count(domain, domain.names.size(), mistakes);
        if (driven) {
            for (const PlacedName& one : domain.names) {
                check_name(configuration, domain, one, mistakes);
            }
        }
        if (driven && !is_from_tailscale(configuration, domain)) {
            check_account(configuration, domain, name, mistakes);
            check_challenges(configuration, domain, name, mistakes);
        }
        if (driven) check_windows(configuration, domain, mistakes);
        const auto ca_file =
            inherited<&DomainDirectives::ca_certificate_file>(configuration, domain);
        if (ca_file && !ca_file->empty() && ::access(ca_file->c_str(), R_OK) != 0) {
            mistakes.add(
                domain.directives.ca_certificate_file ? domain.place : configuration.md.place,
                "ca_certificate_file: {} cannot be read: {}", *ca_file, std::strerror(errno));
        }
        if (is_static && mode == md::RenewMode::Always) {
            mistakes.warn(domain.place,
                          "{} has a certificate_file and renew_mode \"always\": certificates are "
                          "renewed in the store, and the file is what is served",
                          name);
        }
    }
}

/// The store is made at the first start; what can be told before is told (CF-36).
void check_store(const Configuration& configuration, Mistakes& mistakes) {
    if (configuration.domains.empty()) return;
    const MdSettings& md = configuration.md;
    const Place& place = md.store_place.file ? md.store_place : configuration.domains.front().place;
    struct stat status {};
    std::string path = md.store_dir;
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    if (::stat(path.c_str(), &status) == 0) {
        if (!S_ISDIR(status.st_mode)) {
            mistakes.add(place, "store_dir: {} is not a directory", path);
        } else if ((status.st_mode & S_IWOTH) != 0) {
            mistakes.add(place,
                         "store_dir: {} can be written by everybody (mode {:04o}); private keys "
                         "need a directory of their own: chmod 700",
                         path, status.st_mode & 07777u);
        } else if (::access(path.c_str(), R_OK | W_OK | X_OK) == 0) {
            return;
        } else if (errno == EROFS) {
            // What is in it can be served (faults.md ST-03).
            mistakes.warn(place,
                          "store_dir: {} is on a read-only file system: the certificates in it are "
                          "served, and none can be renewed",
                          path);
        } else {
            mistakes.add(place, "store_dir: {} cannot be used: {}", path, std::strerror(errno));
        }
    }
}

}  // namespace

bool arrives_at(const net::Address& server, const net::Address& listen) {
    if (server.is_unix() || listen.is_unix()) return server == listen;
    if (server.port() != listen.port()) return false;
    return server == listen || (is_wildcard(listen) && server.is_loopback());
}

md::RenewMode renew_mode_of(const Configuration& configuration, const DomainSettings& domain) {
    return inherited<&DomainDirectives::renew_mode>(configuration, domain)
        .value_or(md::RenewMode::Auto);
}

std::string ca_protocol_of(const Configuration& configuration, const DomainSettings& domain) {
    return inherited<&DomainDirectives::ca_protocol>(configuration, domain).value_or(acme_protocol);
}

std::vector<std::string> ca_urls_of(const Configuration& configuration,
                                    const DomainSettings& domain) {
    const std::string protocol = ca_protocol_of(configuration, domain);
    const DomainDirectives& general = configuration.md.directives;
    if (domain.directives.ca_urls) return *domain.directives.ca_urls;
    if (general.ca_urls && general.ca_protocol.value_or(acme_protocol) == protocol) {
        return *general.ca_urls;
    }
    if (is_from_tailscale(configuration, domain)) return {std::string(md::tailscale_default_url)};
    return {"https://acme-v02.api.letsencrypt.org/directory"};
}

void check_members(const Configuration& configuration, const DomainSettings& settings,
                   const std::vector<std::string>& names, Mistakes& mistakes) {
    if (!is_driven(configuration, settings) || names.size() <= settings.names.size()) return;
    if (settings.names.size() <= names_per_certificate_max) {
        check_count(settings, names.size(), mistakes);
    }
    const bool is_unread =
        mistakes.is_unread("challenge_dns01") || mistakes.is_unread("ca_challenges");
    const std::string no_dns01 = is_unread ? "" : why_no_dns01(configuration, settings);
    const std::set<std::string> joined(
        names.begin() + static_cast<ptrdiff_t>(settings.names.size()), names.end());
    for (const SiteSettings& site : configuration.sites) {
        for (const PlacedName& host : site.hosts) {
            if (!joined.contains(host.name)) continue;
            check_name(configuration, settings, host, mistakes);
            check_wildcard(host, no_dns01, mistakes);
        }
    }
}

void check_configuration(const Configuration& configuration, Mistakes& mistakes) {
    check_listeners(configuration, mistakes);
    check_server(configuration, mistakes);
    check_backends(configuration, mistakes);
    check_sites(configuration, mistakes);
    check_domains(configuration, mistakes);
    check_tailscale(configuration, mistakes);
    check_store(configuration, mistakes);
    check_access(configuration, mistakes);
}

}  // namespace app
