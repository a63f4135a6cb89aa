// A managed domain: a set of names that share certificates, and how to get and keep them. The
// fields are mod_md's directives (mod_md.md, section 1), resolved: inheritance from [md] has been
// applied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"

namespace md {

/// MDRenewMode.
enum class RenewMode : uint8_t { Manual = 0, Auto = 1, Always = 2 };
/// MDRequireHttps.
enum class RequireHttps : uint8_t { Off, Temporary, Permanent };

/// revocation_check: how we find out that a certificate of ours was revoked.
enum class RevocationCheck : uint8_t {
    Auto,  // at its OCSP responder, or in its CRL if it has none
    Ocsp,
    Crl,
    Off  // not at all; staples are fetched all the same
};

/// How far a domain is, as mod_md numbers it (mod_md.md 3.6). Expired is read as Complete.
enum class DomainState : uint8_t {
    Unknown = 0,
    Incomplete = 1,
    Complete = 2,
    Expired = 3,
    Error = 4,
    MissingInformation = 5
};

/// MDPrivateKeys: one certificate per spec.
struct KeySpec {
    enum class Type : uint8_t { Default, Rsa, Ec };
    static constexpr int rsa_bits_default = 2048;
    Type type = Type::Default;
    int bits = 0;       // Rsa; 0: rsa_bits_default
    std::string curve;  // Ec: as written, e.g. "P-256", "secp384r1"

    /// mod_md.md 3.3: "" for RSA and Default, else ".<curve in lower case>".
    std::string file_suffix() const;
    /// The key in md-status' `cert`: "rsa" or the curve as written.
    std::string status_name() const;
    bool operator==(const KeySpec&) const = default;
};

/// A time slice: an absolute length, or a percentage of a lifetime (mod_md.md 1.2, "window").
struct Window {
    int percent = 0;  // used if length is zero
    base::Duration length{0};

    /// Length of this slice within `lifetime`, whole seconds as mod_md computes it.
    base::Duration of(base::Duration lifetime) const;
    /// "33%", "21d".
    std::string text() const;
    /// Default unit d. `error` says why not: no format, or percent must be less than 100.
    static std::optional<Window> parse(std::string_view text, std::string& error);
    bool operator==(const Window&) const = default;
};

/// ExternalAccountBinding; both empty: none.
struct ExternalAccount {
    ExternalAccount() = default;
    ExternalAccount(std::string kid_text, base::Secret hmac_key)
        : kid(std::move(kid_text)), hmac(std::move(hmac_key)) {}
    ExternalAccount(std::string kid_text, std::string_view hmac_key)
        : kid(std::move(kid_text)), hmac(hmac_key) {}
    // Domains are copied, and each copy has its own.
    ExternalAccount(const ExternalAccount& other) : kid(other.kid), hmac(other.hmac.copy()) {}
    ExternalAccount(ExternalAccount&&) = default;
    ExternalAccount& operator=(const ExternalAccount& other) {
        return *this = ExternalAccount(other);
    }
    ExternalAccount& operator=(ExternalAccount&&) = default;

    std::string kid;
    base::Secret hmac;  // base64url
    bool empty() const { return kid.empty(); }
    bool operator==(const ExternalAccount&) const = default;
};

struct Domain {
    std::string name;                   // the first of names; the store's directory
    std::vector<std::string> names;     // normalised DNS names and IP addresses, no duplicates, in
                                        // the order configured
    std::vector<std::string> contacts;  // URIs
    bool auto_members = true;           // MDMembers

    std::vector<std::string> ca_urls;     // effective: at least one
    std::string ca_protocol = "ACME";     // or "tailscale"
    std::string agreement;                // "" if not accepted
    std::vector<std::string> challenges;  // configured list; empty: choose by reachability
    std::string ca_certificate_file;      // MDCACertificateFile
    ExternalAccount external_account;
    std::string profile;
    bool profile_mandatory = false;
    std::string preferred_chain;  // common name of the root to prefer; "": the CA's default
    std::string http_proxy;
    std::string http_proxy_ca_file;       // MDHttpProxyCACertificateFile
    std::string challenge_dns01_command;  // MDChallengeDns01, if the domain has its own

    std::vector<KeySpec> private_keys;  // empty: one Default
    bool must_staple = false;
    RenewMode renew_mode = RenewMode::Auto;
    Window renew_window{33, {}};
    Window warn_window{10, {}};
    bool renew_via_ari = true;
    RequireHttps require_https = RequireHttps::Off;
    bool stapling = false;
    RevocationCheck revocation_check = RevocationCheck::Auto;  // new
    bool certificate_status = true;                            // MDCertificateStatus
    std::vector<std::string> certificate_files;                // MDCertificateFile: static
    std::vector<std::string> certificate_key_files;

    /// What the configuration knows and the engine needs, not stored by mod_md as settings:
    bool used = true;                         // some site serves one of the names
    std::vector<std::string> acme_tls_names;  // names whose listener speaks acme-tls/1

    bool operator==(const Domain&) const = default;
    /// At least one: Default if nothing is configured, or the key is not made here.
    std::vector<KeySpec> key_specs() const;
    /// mod_md.md 2.1: some name equals or pattern-matches `other`.
    bool contains(std::string_view other) const;
    /// Names without those covered by a wildcard of the same domain, in order: what is put in an
    /// order.
    std::vector<std::string> minimal_names() const;
    bool is_static() const { return !certificate_files.empty(); }
    /// Its one certificate comes from the tailscale daemon (tailscale.h): no account, no
    /// challenges, and a key of the daemon's choice.
    bool is_from_tailscale() const { return ca_protocol == "tailscale"; }
};

/// Stands for certificates that belong to no managed domain, in the store and in messages: as in
/// mod_md.
inline const std::string other_owner = "other";

/// MDCertificateCheck: where people can look a certificate up; `url` is followed by the SHA-256
/// fingerprint in hex. Both empty: nowhere.
struct CertificateCheck {
    std::string name = "crt.sh";
    std::string url = "https://crt.sh?q=";
};

/// Settings of the engine as a whole ([md] keys that are not per domain).
struct EngineSettings {
    std::string store_dir;
    base::Duration check_interval = std::chrono::hours{12};
    base::Duration initial_delay{0};
    base::Duration retry_delay = std::chrono::seconds{30};
    int retry_failover = 13;
    base::Duration activation_delay{0};
    bool http_reachable = true;   // MDPortMap and our listeners: the CA's port 80 arrives at us
    bool https_reachable = true;  // … and port 443
    int domains_in_parallel = 8;
    // Command lines as command_line.h has them; "": none.
    std::string message_command;          // MDMessageCmd
    std::string notify_command;           // MDNotifyCmd
    std::string challenge_dns01_command;  // MDChallengeDns01 of domains without one of their own
    int challenge_dns01_version = 1;      // MDChallengeDns01Version: 2 gives teardown the value
    base::Duration command_timeout = std::chrono::minutes{5};
    Window stapling_keep_response{0, std::chrono::hours{7 * 24}};  // MDStaplingKeepResponse
    Window stapling_renew_window{33, {}};                          // MDStaplingRenewWindow
    std::string user_agent;                                        // "mdfront/<version>"
};

}  // namespace md
