// The configuration as plain values: each key read and checked by itself, paths absolute or
// relative to the working directory, defaults filled in. What follows from keys together is
// checks.h; what is made of it for the other rooms is assembly.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/config/document.h"
#include "base/clock.h"
#include "base/log.h"
#include "md/domain.h"
#include "md/match.h"
#include "net/address.h"
#include "proxy/limits.h"
#include "proxy/routes.h"
#include "proxy/worker.h"
#include "tls/server_context.h"

namespace app {

/// server.access_log
struct AccessLogSettings {
    Place place;
    std::string path;  // "": none; "-": standard output
    std::string format = "combined";
};

/// [server]
struct ServerSettings {
    int workers = 0;  // 0: one per CPU
    std::string user;
    Place user_place;
    base::Duration drain_timeout = std::chrono::seconds{30};
    base::LogLevel log_level = base::LogLevel::Info;
    AccessLogSettings access_log;
};

/// An address with the place that names it.
struct PlacedAddress {
    Place place;
    net::Address address;
};

/// [admin]
struct AdminSettings {
    Place place;
    std::vector<PlacedAddress> listen;  // none: no admin pages
    std::vector<std::string> hosts;  // names by which the pages may be asked for, besides loopback
    bool is_public = false;
    bool actions = false;  // requests over TCP may act; those over Unix sockets always may
};

/// [[listen]]
struct ListenSettings {
    Place place;
    std::optional<net::Address> address;
    std::optional<proxy::Protocol> protocol;
    int public_port = 0;  // 0: the address's own
    int backlog = 4096;

    uint16_t shown_port() const {
        return public_port > 0 ? static_cast<uint16_t>(public_port)
                               : (address ? address->port() : uint16_t{0});
    }
};

/// [tls]
struct TlsSettings {
    tls::Policy policy = tls::Policy::Intermediate;
    std::vector<std::string> groups;  // best first; empty: tls::default_groups()
    int certificates_decoded_max = 4096;
};

/// Directives that [md] has for all domains and [[md.domain]] for one; what is not set is inherited
/// (mod_md.md 1.1, class A).
struct DomainDirectives {
    std::optional<bool> auto_members;
    std::optional<std::vector<std::string>> ca_urls;
    std::optional<std::string> ca_protocol;
    std::optional<std::string> agreement;
    std::optional<std::string> contact;
    std::optional<std::vector<std::string>> challenges;
    std::optional<std::string> challenge_dns01;  // a command line
    std::optional<std::string> ca_certificate_file;
    std::optional<md::ExternalAccount> external_account;
    std::optional<std::string> http_proxy;
    std::optional<std::string> http_proxy_ca_file;
    std::optional<std::string> profile;
    std::optional<bool> profile_mandatory;
    std::optional<std::string> preferred_chain;
    std::optional<std::vector<md::KeySpec>> private_keys;
    std::optional<bool> must_staple;
    std::optional<md::RenewMode> renew_mode;
    std::optional<md::Window> renew_window;
    std::optional<md::Window> warn_window;
    std::optional<bool> renew_via_ari;
    std::optional<md::RequireHttps> require_https;
    std::optional<bool> stapling;
    std::optional<md::RevocationCheck> revocation_check;
    std::optional<bool> certificate_status;
};

/// Where the CA's connections to port 80 and 443 arrive here (MDPortMap); nullopt: not at all.
struct PortMap {
    std::optional<uint16_t> http = uint16_t{80};
    std::optional<uint16_t> https = uint16_t{443};
};

/// [md]
struct MdSettings {
    Place place;
    std::string store_dir = "/var/lib/mdfront/md";
    Place store_place;
    base::Duration store_lock_wait{0};  // 0: no locks
    base::Duration check_interval = std::chrono::hours{12};
    base::Duration initial_delay{0};
    base::Duration retry_delay = std::chrono::seconds{30};
    int retry_failover = 13;
    base::Duration activation_delay{0};
    std::string message_command;  // command lines as md/command_line.h has them
    std::string notify_command;
    int challenge_dns01_version = 1;
    base::Duration command_timeout = std::chrono::minutes{5};
    PortMap port_map;
    md::MatchNames match_names = md::MatchNames::All;
    bool base_server = false;
    md::CertificateCheck certificate_check;
    bool server_status = false;
    bool staple_others = true;
    md::Window stapling_keep_response{0, std::chrono::hours{7 * 24}};
    md::Window stapling_renew_window{33, {}};
    DomainDirectives directives;
};

/// A DNS name with its place.
struct PlacedName {
    Place place;
    std::string name;
};

/// [[md.domain]], or a [[site]] with managed = true
struct DomainSettings {
    Place place;
    std::vector<PlacedName> names;
    std::vector<std::string> certificate_files;
    std::vector<std::string> key_files;
    DomainDirectives directives;
    bool from_site = false;
};

/// "host:port", "[::1]:8080" or "unix:/path" as written; resolved by resolver.h.
struct ServerAddress {
    Place place;
    std::string text;
    std::optional<net::Address> address;  // set if it needs no resolving, or when it was resolved
};

/// [[backend]]
struct BackendSettings {
    Place place;
    std::string name;
    std::vector<ServerAddress> servers;
};

/// [[site]]
struct SiteSettings {
    Place place;
    std::vector<PlacedName> hosts;
    std::string backend;  // a name or an address
    Place backend_place;
    bool managed = false;
    bool is_default = false;
    std::vector<std::string> certificate_files;
    std::vector<std::string> key_files;
    Place certificate_place;
    std::optional<md::RequireHttps> require_https;
};

/// Everything.
struct Configuration {
    std::string path;
    Place place;  // the main file
    ServerSettings server;
    AdminSettings admin;
    std::vector<ListenSettings> listens;
    TlsSettings tls;
    proxy::Limits limits;
    MdSettings md;
    std::vector<DomainSettings> domains;
    std::vector<BackendSettings> backends;
    std::vector<SiteSettings> sites;

    /// Whether some listener speaks that protocol.
    bool listens_for(proxy::Protocol protocol) const;
    /// Whether some listener of that protocol has that port.
    bool listens_on(proxy::Protocol protocol, uint16_t port) const;
};

}  // namespace app
