// The tables [md] and [[md.domain]]: mod_md's directives (mod_md.md, section 1), one line each.
#include "app/config/fields.h"
#include "app/config/schema.h"

namespace app {

namespace {

std::optional<bool> members(const Node& node, Reading& reading) {
    static constexpr values::Word<bool> words[] = {{"auto", true}, {"manual", false}};
    return values::word(node, reading, words);
}

std::optional<md::MatchNames> match_names(const Node& node, Reading& reading) {
    static constexpr values::Word<md::MatchNames> words[] = {
        {"all", md::MatchNames::All}, {"servernames", md::MatchNames::ServerNames}};
    return values::word(node, reading, words);
}

std::optional<std::string> ca_protocol(const Node& node, Reading& reading) {
    static constexpr values::Word<std::string_view> words[] = {
        {"ACME", "ACME"}, {"acme", "ACME"}, {"tailscale", "tailscale"}};
    const auto word = values::word(node, reading, words);
    return word ? std::optional<std::string>(*word) : std::nullopt;
}

std::optional<md::RenewMode> renew_mode(const Node& node, Reading& reading) {
    static constexpr values::Word<md::RenewMode> words[] = {{"auto", md::RenewMode::Auto},
                                                            {"always", md::RenewMode::Always},
                                                            {"manual", md::RenewMode::Manual}};
    return values::word(node, reading, words);
}

std::optional<md::RequireHttps> require_https(const Node& node, Reading& reading) {
    static constexpr values::Word<md::RequireHttps> words[] = {
        {"off", md::RequireHttps::Off},
        {"temporary", md::RequireHttps::Temporary},
        {"permanent", md::RequireHttps::Permanent}};
    return values::word(node, reading, words);
}

std::optional<md::RevocationCheck> revocation_check(const Node& node, Reading& reading) {
    static constexpr values::Word<md::RevocationCheck> words[] = {
        {"auto", md::RevocationCheck::Auto},
        {"ocsp", md::RevocationCheck::Ocsp},
        {"crl", md::RevocationCheck::Crl},
        {"off", md::RevocationCheck::Off}};
    return values::word<md::RevocationCheck>(node, reading, words);
}

/// How long to wait for the lock; 0: no locks.
std::optional<base::Duration> store_locks(const Node& node, Reading& reading) {
    if (node.kind == Node::Kind::Boolean) {
        return node.boolean ? std::chrono::seconds{5} : base::Duration::zero();
    }
    return values::duration(node, reading, base::Duration::zero(), std::chrono::hours{1});
}

constexpr int64_t year_s = 366 * 86'400;

}  // namespace

const std::vector<Key<MdSettings>>& md_keys() {
    using T = MdSettings;
    static const std::vector<Key<T>> keys = {
        {{"store_dir", "path", "\"/var/lib/mdfront/md\"",
          "Where accounts, keys and certificates are kept, in mod_md's layout (MDStoreDir)."},
         set_placed<&T::store_dir, &T::store_place, values::path>},
        {{"store_locks", "boolean or duration", "false",
          "Share the store with httpd or another mdfront: hold its lock while sets are changed, "
          "and "
          "wait so long for it; true: 5 s (MDStoreLocks)."},
         set<&T::store_lock_wait, store_locks>},
        {{"check_interval", "duration", "\"12h\"",
          "How often each domain is looked at, ± 50 % (MDCheckInterval)."},
         set_duration<&T::check_interval, 1, year_s>},
        {{"initial_delay", "duration", "\"0s\"",
          "Wait before the first look after a start (MDInitialDelay)."},
         set_duration<&T::initial_delay, 0, year_s>},
        {{"retry_delay", "duration", "\"30s\"",
          "Wait after the first failure; doubled with each further one, up to a day "
          "(MDRetryDelay)."},
         set_duration<&T::retry_delay, 1, year_s>},
        {{"retry_failover", "number", "13",
          "Failures in a row after which the next CA of the list is used (MDRetryFailover)."},
         set_integer<&T::retry_failover, 1, 1'000'000>},
        {{"activation_delay", "duration", "\"0s\"",
          "How long a new certificate waits before it is used, for clocks that are behind "
          "(MDActivationDelay)."},
         set_duration<&T::activation_delay, 0, year_s>},
        {{"message_cmd", "text or list", "",
          "Program that is told of events, \"<event> <domain>\" after its own words; see Commands "
          "(MDMessageCmd)."},
         set<&T::message_command, values::command>},
        {{"notify_cmd", "text or list", "",
          "Program that is told of domains with a new certificate, before message_cmd; see "
          "Commands "
          "(MDNotifyCmd)."},
         set<&T::notify_command, values::command>},
        {{"command_timeout", "duration", "\"5mi\"",
          "How long message_cmd, notify_cmd and challenge_dns01 may run before they are killed."},
         set_duration<&T::command_timeout, 1, 86'400>},
        {{"challenge_dns01_version", "number", "1",
          "2: challenge_dns01 gets the value on teardown, too (MDChallengeDns01Version)."},
         set_integer<&T::challenge_dns01_version, 1, 2>},
        {{"port_map", "list of texts", "[\"80:80\", \"443:443\"]",
          "At which of our ports the CA's connections to 80 and 443 arrive; \"80:-\": not at all "
          "(MDPortMap)."},
         set<&T::port_map, values::port_map>},
        {{"match_names", "text", "\"all\"",
          "Which hosts of a site decide the domain it belongs to: \"all\", or \"servernames\", the "
          "first alone (MDMatchNames)."},
         set<&T::match_names, match_names>},
        {{"base_server", "boolean", "false",
          "Whether the default site belongs to managed domains too (MDBaseServer)."},
         set<&T::base_server, values::boolean>},
        {{"certificate_check", "list of texts or \"none\"", "[\"crt.sh\", \"https://crt.sh?q=\"]",
          "Where the status page links certificates to: what the link is called, and a URL that "
          "the "
          "SHA-256 fingerprint is appended to (MDCertificateCheck, MDCertificateMonitor)."},
         set<&T::certificate_check, values::certificate_check>},
        {{"server_status", "boolean", "false",
          "Show the managed domains in /server-status and /server-status?auto of the admin "
          "listener, as httpd does (MDServerStatus)."},
         set<&T::server_status, values::boolean>},
        {{"staple_others", "boolean", "true",
          "With `stapling` in [md]: staple certificates of sites that are not managed, too "
          "(MDStapleOthers)."},
         set<&T::staple_others, values::boolean>},
        {{"stapling_keep_response", "window", "\"7d\"",
          "How long OCSP answers that nobody uses stay in the store; a share is one of 7 days "
          "(MDStaplingKeepResponse)."},
         set<&T::stapling_keep_response, values::keep_window>},
        {{"stapling_renew_window", "window", "\"33%\"",
          "Renew an OCSP answer when this part of its life, or this time, is left "
          "(MDStaplingRenewWindow)."},
         set<&T::stapling_renew_window, values::window>},
    };
    return keys;
}

const std::vector<Key<DomainSettings>>& domain_keys() {
    using T = DomainSettings;
    static const std::vector<Key<T>> keys = {
        {{"names", "list of names", "required",
          "The names; the first is the domain's own and that of its directory in the store "
          "(MDomain, MDMember)."},
         set<&T::names, values::names>},
        {{"certificate_file", "path or list", "",
          "PEM file(s) with certificate and chain: static, not renewed unless renew_mode says so "
          "(MDCertificateFile)."},
         set<&T::certificate_files, values::paths>},
        {{"certificate_key_file", "path or list", "",
          "PEM file(s) with the keys, in the same order (MDCertificateKeyFile)."},
         set<&T::key_files, values::paths>},
    };
    return keys;
}

const std::vector<Key<DomainDirectives>>& directive_keys() {
    using T = DomainDirectives;
    static const std::vector<Key<T>> keys = {
        {{"certificate_authority", "text or list", "\"letsencrypt\"",
          "\"letsencrypt\", \"letsencrypt-test\", \"buypass\", \"buypass-test\", or the https URL "
          "of an ACME directory; of a list, the next is used when one fails for long. With "
          "certificate_protocol \"tailscale\" the daemon's socket, "
          "\"file:///var/run/tailscale/tailscaled.sock\" if none is named "
          "(MDCertificateAuthority)."},
         set<&T::ca_urls, values::certificate_authority>},
        {{"certificate_protocol", "text", "\"ACME\"",
          "How the CA is spoken to: \"ACME\", or \"tailscale\": the certificate of this "
          "machine's name in its tailnet, from the local daemon (MDCertificateProtocol)."},
         set<&T::ca_protocol, ca_protocol>},
        {{"certificate_agreement", "text", "",
          "\"accepted\": you agree to the CA's terms (MDCertificateAgreement)."},
         set<&T::agreement, values::agreement>},
        {{"contact_email", "text", "", "Mail address for the account at the CA (MDContactEmail)."},
         set<&T::contact, values::contact>},
        {{"ca_challenges", "text or list", "",
          "\"http-01\", \"tls-alpn-01\", \"dns-01\", in order of preference; none: what listeners, "
          "port_map and challenge_dns01 allow (MDCAChallenges)."},
         set<&T::challenges, values::challenges>},
        {{"challenge_dns01", "text or list", "",
          "Program that makes and removes the TXT records of dns-01, which wildcards need; see "
          "Commands (MDChallengeDns01)."},
         set<&T::challenge_dns01, values::command>},
        {{"ca_certificate_file", "path or \"none\"", "\"none\"",
          "PEM file with the roots to trust when talking to the CA, instead of the system's "
          "(MDCACertificateFile)."},
         set<&T::ca_certificate_file, values::path_or_none>},
        {{"external_account_binding", "list, path or \"none\"", "\"none\"",
          "[\"key identifier\", \"HMAC key\"], or a JSON file with kid and hmac; the HMAC key may "
          "be \"env:NAME\" or \"file:path\" (MDExternalAccountBinding)."},
         set<&T::external_account, values::external_account>},
        {{"http_proxy", "text", "", "URL of the proxy for talking to the CA (MDHttpProxy)."},
         set<&T::http_proxy, values::http_proxy>},
        {{"http_proxy_ca_certificate_file", "path or \"none\"", "\"none\"",
          "PEM file with the roots to trust when talking to an https proxy, instead of the "
          "system's "
          "(MDHttpProxyCACertificateFile)."},
         set<&T::http_proxy_ca_file, values::path_or_none>},
        {{"profile", "text", "", "ACME profile to order (MDProfile)."},
         set<&T::profile, values::text>},
        {{"profile_mandatory", "boolean", "false",
          "Fail if the CA does not offer the profile, instead of doing without "
          "(MDProfileMandatory)."},
         set<&T::profile_mandatory, values::boolean>},
        {{"preferred_chain", "text", "",
          "Common name of the root that the chain is to lead to, if the CA offers several; else "
          "its default."},
         set<&T::preferred_chain, values::text>},
        {{"private_keys", "text or list", "\"Default\"",
          "One certificate is made for each: \"Default\" (RSA 2048), \"RSA 3072\", \"P-256\", "
          "\"P-384\", … (MDPrivateKeys)."},
         set<&T::private_keys, values::private_keys>},
        {{"must_staple", "boolean", "false",
          "Ask for certificates that must be stapled (MDMustStaple)."},
         set<&T::must_staple, values::boolean>},
        {{"renew_mode", "text", "\"auto\"",
          "\"auto\": domains that a site uses and that are not static; \"always\": also the "
          "others; \"manual\": never (MDRenewMode)."},
         set<&T::renew_mode, renew_mode>},
        {{"renew_window", "window", "\"33%\"",
          "Renew when this part of the lifetime, or this time (\"30d\"), is left (MDRenewWindow)."},
         set<&T::renew_window, values::window>},
        {{"warn_window", "window", "\"10%\"",
          "Warn when this is left and there is no new certificate (MDWarnWindow)."},
         set<&T::warn_window, values::window>},
        {{"renew_via_ari", "boolean", "true",
          "Follow the CA's renewal information (RFC 9773) (MDRenewViaARI)."},
         set<&T::renew_via_ari, values::boolean>},
        {{"require_https", "text", "\"off\"",
          "\"off\", \"temporary\" or \"permanent\": redirects http to https; \"permanent\" also "
          "sends Strict-Transport-Security (MDRequireHttps)."},
         set<&T::require_https, require_https>},
        {{"certificate_status", "boolean", "true",
          "Answer /.httpd/certificate-status on the domain's names (MDCertificateStatus)."},
         set<&T::certificate_status, values::boolean>},
        {{"members", "text", "\"auto\"",
          "\"auto\": hosts of the sites that belong to the domain become names of it; \"manual\": "
          "not (MDMembers)."},
         set<&T::auto_members, members>},
        {{"stapling", "boolean", "false", "Staple OCSP answers (MDStapling)."},
         set<&T::stapling, values::boolean>},
        {{"revocation_check", "text", "\"auto\"",
          "\"auto\", \"ocsp\", \"crl\" or \"off\": how to learn that a certificate was revoked, "
          "from "
          "its OCSP responder or from its CRL "
          "(\"auto\": the CRL if it has no responder); \"off\": not at all. A revoked one is "
          "renewed "
          "at once."},
         set<&T::revocation_check, revocation_check>},
    };
    return keys;
}

}  // namespace app
