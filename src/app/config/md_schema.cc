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

constexpr int64_t year_s = 366 * 86'400;

}  // namespace

const std::vector<Key<MdSettings>>& md_keys() {
    using T = MdSettings;
    static const std::vector<Key<T>> keys = {
        {{"store_dir", "path", "\"/var/lib/mdfront/md\"",
          "Where accounts, keys and certificates are kept, in mod_md's layout (MDStoreDir)."},
         set_placed<&T::store_dir, &T::store_place, values::path>},
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
    };
    return keys;
}

const std::vector<Key<DomainSettings>>& domain_keys() {
    using T = DomainSettings;
    static const std::vector<Key<T>> keys = {
        {{"names", "list of names", "required",
          "The names; the first is the domain's own and that of its directory in the store "
          "(MDomain, MDMember)."},
         set<&T::names, values::dns_names>},
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
          "of an ACME directory; of a list, the next is used when one fails for long "
          "(MDCertificateAuthority)."},
         set<&T::ca_urls, values::certificate_authority>},
        {{"certificate_agreement", "text", "",
          "\"accepted\": you agree to the CA's terms (MDCertificateAgreement)."},
         set<&T::agreement, values::agreement>},
        {{"contact_email", "text", "", "Mail address for the account at the CA (MDContactEmail)."},
         set<&T::contact, values::contact>},
        {{"ca_challenges", "text or list", "",
          "\"http-01\", \"tls-alpn-01\", in order of preference; none: what listeners and port_map "
          "allow (MDCAChallenges)."},
         set<&T::challenges, values::challenges>},
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
        {{"profile", "text", "", "ACME profile to order (MDProfile)."},
         set<&T::profile, values::text>},
        {{"profile_mandatory", "boolean", "false",
          "Fail if the CA does not offer the profile, instead of doing without "
          "(MDProfileMandatory)."},
         set<&T::profile_mandatory, values::boolean>},
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
        {{"members", "text", "\"auto\"",
          "\"auto\": hosts of the sites that belong to the domain become names of it; \"manual\": "
          "not (MDMembers)."},
         set<&T::auto_members, members>},
        {{"stapling", "boolean", "false", "Staple OCSP answers (MDStapling)."},
         set<&T::stapling, values::boolean>},
    };
    return keys;
}

}  // namespace app
