#include "app/setup.h"

#include <sys/stat.h>

#include <set>

#include "app/config/checks.h"
#include "app/config/configuration_reader.h"
#include "app/config/resolver.h"
#include "app/config/toml_reader.h"
#include "app/config/values.h"
#include "base/text.h"
#include "md/credentials.h"
#include "md/match.h"

namespace app {

namespace {

std::vector<std::string> plain(const std::vector<PlacedName>& names) {
    std::vector<std::string> result;
    for (const PlacedName& name : names) result.push_back(name.name);
    return result;
}

std::string counted(size_t number, std::string_view one) {
    return fmt::format("{} {}{}", number, one, number == 1 ? "" : "s");
}

// ---- backends

/// Looks up all servers that are names, in one go; a name with several addresses is several
/// servers.
void resolve_servers(std::vector<BackendSettings>& backends, Mistakes& mistakes) {
    const auto host_of = [](const ServerAddress& server) {
        return server.text.substr(0, server.text.rfind(':'));
    };
    std::vector<std::string> names;
    for (const BackendSettings& backend : backends) {
        for (const ServerAddress& server : backend.servers) {
            if (!server.address) names.push_back(host_of(server));
        }
    }
    const auto found = resolve(names);
    for (BackendSettings& backend : backends) {
        std::vector<ServerAddress> servers;
        for (ServerAddress& server : backend.servers) {
            if (server.address) {
                servers.push_back(std::move(server));
                continue;
            }
            const Resolved& resolved = found.at(host_of(server));
            if (resolved.addresses.empty()) {
                mistakes.add(server.place, "the backend server {} cannot be looked up: {}",
                             server.text, resolved.problem);
            }
            const int port = std::stoi(server.text.substr(server.text.rfind(':') + 1));
            for (net::Address address : resolved.addresses) {
                address.set_port(static_cast<uint16_t>(port));
                servers.push_back({server.place, server.text, address});
            }
        }
        backend.servers = std::move(servers);
    }
}

/// Sites name a backend or an address; the latter becomes a backend of that name.
void add_address_backends(Configuration& configuration) {
    std::set<std::string> known;
    for (const BackendSettings& backend : configuration.backends) known.insert(backend.name);
    for (const SiteSettings& site : configuration.sites) {
        if (site.backend.find_first_of(":/") == std::string::npos) continue;
        if (!known.insert(site.backend).second) continue;
        Mistakes reported;  // by check_configuration()
        Reading reading{reported, "backend"};
        const auto server = values::server(site.backend, site.backend_place, reading);
        if (!server) continue;
        BackendSettings backend;
        backend.place = site.backend_place;
        backend.name = site.backend;
        backend.servers = {*server};
        configuration.backends.push_back(std::move(backend));
    }
}

void check_loops(const Configuration& configuration, Mistakes& mistakes) {
    for (const BackendSettings& backend : configuration.backends) {
        for (const ServerAddress& server : backend.servers) {
            for (const ListenSettings& listen : configuration.listens) {
                if (!server.address || !listen.address) continue;
                if (!arrives_at(*server.address, *listen.address)) continue;
                mistakes.add(server.place,
                             "the backend server {} is our own [[listen]] at {}: requests would go "
                             "in circles",
                             server.text, listen.place.text());
            }
        }
    }
}

// ---- domains

md::Domain make_domain(const Configuration& configuration, const DomainSettings& settings) {
    md::Domain domain;
    const auto take = [&](auto& into, const auto& value) {
        if (value) into = *value;
    };
    using D = DomainDirectives;
    domain.names = plain(settings.names);
    domain.name = domain.names.front();
    domain.ca_urls = ca_urls_of(configuration, settings);
    domain.renew_mode = renew_mode_of(configuration, settings);
    take(domain.auto_members, inherited<&D::auto_members>(configuration, settings));
    take(domain.ca_protocol, inherited<&D::ca_protocol>(configuration, settings));
    take(domain.agreement, inherited<&D::agreement>(configuration, settings));
    if (const auto contact = inherited<&D::contact>(configuration, settings)) {
        domain.contacts = {*contact};
    }
    take(domain.challenges, inherited<&D::challenges>(configuration, settings));
    // md.json has what is the domain's own; that of all domains is the engine's (mod_md.md 3.6).
    take(domain.challenge_dns01_command, settings.directives.challenge_dns01);
    take(domain.ca_certificate_file, inherited<&D::ca_certificate_file>(configuration, settings));
    take(domain.external_account, inherited<&D::external_account>(configuration, settings));
    take(domain.http_proxy, inherited<&D::http_proxy>(configuration, settings));
    take(domain.http_proxy_ca_file, inherited<&D::http_proxy_ca_file>(configuration, settings));
    take(domain.profile, inherited<&D::profile>(configuration, settings));
    take(domain.profile_mandatory, inherited<&D::profile_mandatory>(configuration, settings));
    take(domain.preferred_chain, inherited<&D::preferred_chain>(configuration, settings));
    take(domain.private_keys, inherited<&D::private_keys>(configuration, settings));
    take(domain.must_staple, inherited<&D::must_staple>(configuration, settings));
    take(domain.renew_window, inherited<&D::renew_window>(configuration, settings));
    take(domain.warn_window, inherited<&D::warn_window>(configuration, settings));
    take(domain.renew_via_ari, inherited<&D::renew_via_ari>(configuration, settings));
    take(domain.require_https, inherited<&D::require_https>(configuration, settings));
    take(domain.stapling, inherited<&D::stapling>(configuration, settings));
    take(domain.revocation_check, inherited<&D::revocation_check>(configuration, settings));
    take(domain.certificate_status, inherited<&D::certificate_status>(configuration, settings));
    if (domain.is_from_tailscale()) {
        // What [md] says of these is for domains that order: the daemon's certificate is as it is,
        // and for one name.
        domain.auto_members = false;
        domain.must_staple = false;
    }
    // Files of the administrator's are not renewed unless asked for (mod_md.md 1.3).
    if (!settings.certificate_files.empty() && domain.renew_mode == md::RenewMode::Auto) {
        domain.renew_mode = md::RenewMode::Manual;
    }
    domain.certificate_files = settings.certificate_files;
    domain.certificate_key_files = settings.key_files;
    return domain;
}

/// MDStapleOthers: what [md] says for certificates of no domain (mod_md.md 6.2).
md::Domain make_others(const MdSettings& md) {
    md::Domain others;
    others.name = md::other_owner;
    others.renew_mode = md::RenewMode::Manual;
    others.stapling = md.staple_others && md.directives.stapling.value_or(false);
    // Nothing is asked about them that nobody has asked for.
    others.revocation_check = others.stapling
                                  ? md.directives.revocation_check.value_or(others.revocation_check)
                                  : md::RevocationCheck::Off;
    others.http_proxy = md.directives.http_proxy.value_or("");
    others.http_proxy_ca_file = md.directives.http_proxy_ca_file.value_or("");
    return others;
}

md::EngineSettings make_engine_settings(const Configuration& configuration) {
    const MdSettings& md = configuration.md;
    md::EngineSettings engine;
    engine.store_dir = md.store_dir;
    engine.check_interval = md.check_interval;
    engine.initial_delay = md.initial_delay;
    engine.retry_delay = md.retry_delay;
    engine.retry_failover = md.retry_failover;
    engine.activation_delay = md.activation_delay;
    engine.message_command = md.message_command;
    engine.notify_command = md.notify_command;
    engine.challenge_dns01_command = md.directives.challenge_dns01.value_or("");
    engine.challenge_dns01_version = md.challenge_dns01_version;
    engine.command_timeout = md.command_timeout;
    engine.http_reachable =
        md.port_map.http && configuration.listens_on(proxy::Protocol::Http, *md.port_map.http);
    engine.https_reachable =
        md.port_map.https && configuration.listens_on(proxy::Protocol::Https, *md.port_map.https);
    engine.stapling_keep_response = md.stapling_keep_response;
    engine.stapling_renew_window = md.stapling_renew_window;
    engine.user_agent = "mdfront/" MDFRONT_VERSION;
    return engine;
}

void set_tls_names(std::vector<md::Domain>& domains, bool https) {
    for (md::Domain& domain : domains) {
        domain.acme_tls_names = https && domain.used ? domain.names : std::vector<std::string>{};
    }
}

/// Links sites to domains. A default site that only its default keeps from its certificate is told
/// so: nobody expects that.
md::MatchResult match(const Configuration& configuration, Mistakes& mistakes) {
    std::vector<md::ConfiguredDomain> domains;
    std::vector<const DomainSettings*> domain_settings;
    for (const DomainSettings& settings : configuration.domains) {
        if (settings.names.empty()) continue;  // reported by the reader
        domains.push_back({make_domain(configuration, settings), settings.place.text()});
        domain_settings.push_back(&settings);
    }
    const bool https = configuration.listens_for(proxy::Protocol::Https);
    std::vector<md::SiteNames> sites;
    for (const SiteSettings& site : configuration.sites) {
        // A site with certificates of its own is no site of a domain's; managed = true asks for it.
        const bool has_own = !site.certificate_files.empty();
        sites.push_back({has_own ? std::vector<std::string>{} : plain(site.hosts), https,
                         site.is_default && !site.managed, site.place.text()});
        if (!site.is_default || site.managed || has_own || configuration.md.base_server) continue;
        for (const md::ConfiguredDomain& domain : domains) {
            for (const PlacedName& host : site.hosts) {
                if (!domain.domain.contains(host.name)) continue;
                mistakes.add(site.place,
                             "the default site has {} of the managed domain at {}, and default "
                             "sites are not managed; write base_server = true in [md]",
                             host.name, domain.place);
            }
        }
    }
    md::MatchResult result = md::match_domains(
        domains, sites, {configuration.md.match_names, configuration.md.base_server});
    for (const md::MatchMessage& message : result.messages) {
        const Place& place = domain_settings[message.index]->place;
        if (message.level == md::MatchMessage::Level::Error) {
            mistakes.add(place, "{}", message.text);
        } else {
            mistakes.warn(place, "{}", message.text);
        }
    }
    for (size_t i = 0; i < result.domains.size(); ++i) {
        check_members(configuration, *domain_settings[i], result.domains[i].names, mistakes);
    }
    set_tls_names(result.domains, https);
    return result;
}

// ---- certificates in files

void check_key_mode(const std::string& path, const Place& place, Mistakes& mistakes) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && (status.st_mode & S_IROTH) != 0) {
        mistakes.warn(place,
                      "{} is a private key that everybody can read (mode {:04o}); run chmod "
                      "600 on it",
                      path, status.st_mode & 07777u);
    }
}

/// Reads the pairs; what can be served in spite of a flaw is warned of (CF-20 to CF-22).
std::vector<std::shared_ptr<const tls::Certificate>> load_files(
    const std::vector<std::string>& certificate_files, const std::vector<std::string>& key_files,
    const std::vector<std::string>& names, const Place& place, Mistakes& mistakes, base::Time now) {
    md::SystemFiles files;
    md::Domain domain;
    domain.names = names;
    domain.certificate_files = certificate_files;
    domain.certificate_key_files = key_files;
    std::vector<std::shared_ptr<const tls::Certificate>> certificates;
    if (certificate_files.size() != key_files.size()) return certificates;  // reported
    const std::vector<md::Slot> slots = md::load_static_credentials(files, domain);
    for (size_t i = 0; i < slots.size(); ++i) {
        const md::Slot& slot = slots[i];
        if (slot.fault != md::Slot::Fault::None) {
            mistakes.add(place, "{}", slot.why);
            continue;
        }
        const tls::Certificate& certificate = *slot.certificate;
        check_key_mode(key_files[i], place, mistakes);
        if (certificate.not_after < now) {
            mistakes.warn(place, "{} has expired on {}", certificate_files[i],
                          base::format_http_date(certificate.not_after));
        }
        if (certificate.not_before > now) {
            mistakes.warn(place, "{} is not valid before {}", certificate_files[i],
                          base::format_http_date(certificate.not_before));
        }
        for (const std::string& name : names) {
            if (certificate.covers(name)) continue;
            mistakes.warn(place, "{} is not for {}; it has: {}", certificate_files[i], name,
                          fmt::join(certificate.names, ", "));
        }
        for (const auto& other : certificates) {
            if (other->key_type != certificate.key_type) continue;
            mistakes.add(place,
                         "{} has the same kind of key as another certificate of the site; "
                         "one per kind is served",
                         certificate_files[i]);
        }
        certificates.push_back(slot.certificate);
    }
    return certificates;
}

void load_certificates(const Configuration& configuration, Setup& setup, Mistakes& mistakes,
                       base::Time now) {
    for (const SiteSettings& site : configuration.sites) {
        if (site.certificate_files.empty()) continue;
        const auto names = plain(site.hosts);
        auto certificates = load_files(site.certificate_files, site.key_files, names,
                                       site.certificate_place, mistakes, now);
        if (certificates.empty()) continue;
        setup.statics.push_back({names, make_set(std::move(certificates))});
    }
    for (const DomainSettings& domain : configuration.domains) {
        if (domain.certificate_files.empty()) continue;
        // The engine reads them again and serves them; here their flaws come out.
        (void)load_files(domain.certificate_files, domain.key_files, plain(domain.names),
                         domain.place, mistakes, now);
    }
}

// ---- routes

proxy::RequireHttps to_proxy(md::RequireHttps value) {
    switch (value) {
        case md::RequireHttps::Off:
            return proxy::RequireHttps::Off;
        case md::RequireHttps::Temporary:
            return proxy::RequireHttps::Temporary;
        case md::RequireHttps::Permanent:
            break;
    }
    return proxy::RequireHttps::Permanent;
}

/// Where redirects to https lead: the public port if one is given, 443 if the CA's connections to
/// it arrive here (mod_md always says 443), else the port that we listen on.
uint16_t https_port(const Configuration& configuration) {
    const auto& mapped = configuration.md.port_map.https;
    for (const ListenSettings& listen : configuration.listens) {
        if (listen.protocol == proxy::Protocol::Https && listen.public_port > 0) {
            return listen.shown_port();
        }
    }
    if (mapped && configuration.listens_on(proxy::Protocol::Https, *mapped)) return 443;
    for (const ListenSettings& listen : configuration.listens) {
        if (listen.protocol == proxy::Protocol::Https && listen.shown_port() > 0) {
            return listen.shown_port();
        }
    }
    return 443;
}

void make_routes(const Configuration& configuration, const md::MatchResult& matched, Setup& setup,
                 Mistakes& mistakes) {
    std::map<std::string, std::shared_ptr<const proxy::Backend>> backends;
    for (const BackendSettings& settings : configuration.backends) {
        auto backend = std::make_shared<proxy::Backend>();
        backend->name = settings.name;
        for (const ServerAddress& server : settings.servers) {
            if (server.address) backend->servers.push_back(*server.address);
        }
        backends.emplace(settings.name, std::move(backend));
    }
    const bool https = configuration.listens_for(proxy::Protocol::Https);
    const uint16_t port = https_port(configuration);
    std::vector<std::shared_ptr<const proxy::Site>> sites;
    int default_site = -1;
    for (size_t i = 0; i < configuration.sites.size(); ++i) {
        const SiteSettings& settings = configuration.sites[i];
        const auto backend = backends.find(settings.backend);
        if (backend == backends.end() || settings.hosts.empty()) continue;  // reported
        const md::Domain* domain = nullptr;
        if (i < matched.site_domains.size() && matched.site_domains[i].has_value()) {
            domain = &matched.domains[matched.site_domains[i].value()];
        }
        auto site = std::make_shared<proxy::Site>();
        site->hosts = plain(settings.hosts);
        site->name = site->hosts.front();
        site->backend = backend->second;
        site->https_port = port;
        md::RequireHttps require = md::RequireHttps::Off;
        if (domain != nullptr) {
            require = domain->require_https;
            std::vector<std::string>& hosts = setup.domain_hosts[domain->name];
            hosts.insert(hosts.end(), site->hosts.begin(), site->hosts.end());
        }
        if (settings.require_https) require = *settings.require_https;
        if (settings.require_https && require != md::RequireHttps::Off && !https) {
            mistakes.add(settings.place,
                         "require_https of {} has nowhere to lead: there is no [[listen]] with "
                         "protocol = \"https\"",
                         site->name);
        }
        const bool has_certificate = domain != nullptr || !settings.certificate_files.empty();
        if (https && !has_certificate) {
            mistakes.warn(settings.place,
                          "{} has no certificate and is served over http alone; write managed = "
                          "true, or certificate_file and certificate_key_file",
                          site->name);
            if (require != md::RequireHttps::Off) {
                mistakes.add(settings.place,
                             "require_https of {} needs a certificate; write managed = true, or "
                             "certificate_file and certificate_key_file",
                             site->name);
            }
        }
        site->require_https = to_proxy(require);
        site->hsts = has_certificate && require == md::RequireHttps::Permanent;
        if (settings.is_default) {
            default_site = static_cast<int>(sites.size());
            if (has_certificate) setup.default_hosts = site->hosts;
        }
        sites.push_back(std::move(site));
    }
    setup.routes =
        std::make_shared<const proxy::Routes>(std::move(sites), default_site, configuration.limits);
}

}  // namespace

tls::CertificateSetPtr make_set(std::vector<std::shared_ptr<const tls::Certificate>> certificates) {
    // ECDSA first: cheaper for us, and every client that cannot verify it says so.
    std::stable_sort(certificates.begin(), certificates.end(), [](const auto& a, const auto& b) {
        return a->key_type != tls::KeyType::Rsa && b->key_type == tls::KeyType::Rsa;
    });
    auto set = std::make_shared<tls::CertificateSet>();
    set->staples.resize(certificates.size());
    set->certificates = std::move(certificates);
    return set;
}

bool Setup::needs_stapler() const {
    return !domains.empty() || (others.stapling && !statics.empty());
}

std::string Setup::summary() const {
    size_t names = 0;
    for (const SiteSettings& site : configuration.sites) names += site.hosts.size();
    return fmt::format("{}, {}, {}", counted(configuration.sites.size(), "site"),
                       counted(names, "name"), counted(domains.size(), "managed domain"));
}

Setup make_setup(Configuration configuration, Mistakes& mistakes, base::Time now) {
    Setup setup;
    add_address_backends(configuration);
    resolve_servers(configuration.backends, mistakes);
    check_loops(configuration, mistakes);
    md::MatchResult matched = match(configuration, mistakes);
    load_certificates(configuration, setup, mistakes, now);
    make_routes(configuration, matched, setup, mistakes);
    setup.domains = std::move(matched.domains);
    setup.engine = make_engine_settings(configuration);
    setup.others = make_others(configuration.md);
    setup.configuration = std::move(configuration);
    return setup;
}

void keep_listeners(Setup& setup, const Configuration& running) {
    setup.configuration.listens = running.listens;
    setup.engine = make_engine_settings(setup.configuration);
    set_tls_names(setup.domains, running.listens_for(proxy::Protocol::Https));
}

std::optional<Setup> load_setup(const std::string& path, Mistakes& mistakes, base::Time now) {
    Node document = read_documents(path, mistakes);
    const bool whole = !mistakes.any();
    Configuration configuration = read_configuration(document, path, mistakes);
    wipe_texts(document);
    // Half a document would make mistakes of its own.
    if (!whole) return std::nullopt;
    check_configuration(configuration, mistakes);
    Setup setup = make_setup(std::move(configuration), mistakes, now);
    if (mistakes.any()) return std::nullopt;
    return setup;
}

}  // namespace app
