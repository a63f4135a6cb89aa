#include "md/domain_json.h"

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/json.h"

namespace md {

namespace {

Json key_spec_to_json(const KeySpec& spec) {
    Json json;
    switch (spec.type) {
        case KeySpec::Type::Default:
            json["type"] = "Default";
            break;
        case KeySpec::Type::Rsa:
            json["type"] = "RSA";
            json["bits"] = spec.bits > 0 ? spec.bits : KeySpec::rsa_bits_default;
            break;
        case KeySpec::Type::Ec:
            json["type"] = "EC";
            json["curve"] = spec.curve;
            break;
    }
    return json;
}

KeySpec key_spec_from_json(const Json& json) {
    KeySpec spec;
    const std::string type = string_at(json, {"type"});
    if (base::iequals(type, "RSA")) {
        spec.type = KeySpec::Type::Rsa;
        const int64_t bits = int_at(json, {"bits"}, 0);
        // Absent is the default; mod_md reads what is too small as 2048 (mod_md.md 3.6).
        spec.bits = bits == 0 ? 0 : static_cast<int>(std::clamp<int64_t>(bits, 2048, 16384));
    } else if (base::iequals(type, "EC")) {
        const std::string curve = string_at(json, {"curve"});
        if (!curve.empty()) {
            spec.type = KeySpec::Type::Ec;
            spec.curve = curve;
        }
    }
    return spec;
}

std::vector<KeySpec> key_specs_from_json(const Json& json) {
    std::vector<KeySpec> specs;
    const Json* at = find(json, {"privkey"});
    if (at == nullptr) return specs;
    if (at->is_object()) specs.push_back(key_spec_from_json(*at));
    if (at->is_array()) {
        for (const Json& element : *at) specs.push_back(key_spec_from_json(element));
    }
    return specs;
}

/// Text as of version 2, or whole seconds of version 1.
Window window_from_json(const Json& json, const char* key, Window otherwise) {
    const Json* at = find(json, {key});
    if (at == nullptr) return otherwise;
    if (at->is_number_integer()) {
        const auto seconds = at->get<int64_t>();
        constexpr int64_t seconds_max = int64_t{100} * 365 * 86400;
        if (seconds <= 0 || seconds > seconds_max) return otherwise;
        return Window{0, std::chrono::seconds{seconds}};
    }
    std::string error;
    if (at->is_string()) {
        if (auto window = Window::parse(at->get<std::string>(), error)) return *window;
    }
    return otherwise;
}

DomainState state_from(int64_t number) {
    switch (number) {
        case 1:
            return DomainState::Incomplete;
        case 2:
        case 3:  // expired, which is no state any more
            return DomainState::Complete;
        case 4:
            return DomainState::Error;
        case 5:
            return DomainState::MissingInformation;
        default:
            return DomainState::Unknown;
    }
}

void set_if(Json& json, const char* key, const std::string& text) {
    if (!text.empty()) json[key] = text;
}

void set_if(Json& json, const char* key, const std::vector<std::string>& texts) {
    if (!texts.empty()) json[key] = texts;
}

Problem wrong(std::string_view what) {
    return make_problem(EINVAL, std::string(what));
}

}  // namespace

std::string domain_to_json(const StoredDomain& stored) {
    return json_text(domain_to_json_value(stored));
}

Json domain_to_json_value(const StoredDomain& stored) {
    const Domain& domain = stored.domain;
    Json json;
    json["name"] = domain.name;
    json["domains"] = domain.names;
    json["contacts"] = domain.contacts;
    json["transitive"] = domain.auto_members ? 1 : 0;

    Json ca;
    set_if(ca, "account", stored.ca_account);
    ca["proto"] = domain.ca_protocol;
    set_if(ca, "url", stored.ca_url);
    set_if(ca, "urls", domain.ca_urls);
    set_if(ca, "agreement", domain.agreement);
    if (!domain.challenges.empty()) {
        ca["challenges"] = Json::array();
        for (const std::string& type : domain.challenges) {
            ca["challenges"].push_back(base::to_lower(type));
        }
    }
    json["ca"] = std::move(ca);

    if (domain.private_keys.size() == 1) {
        json["privkey"] = key_spec_to_json(domain.private_keys.front());
    } else if (!domain.private_keys.empty()) {
        json["privkey"] = Json::array();
        for (const KeySpec& spec : domain.private_keys) {
            json["privkey"].push_back(key_spec_to_json(spec));
        }
    }

    json["state"] = static_cast<int>(stored.state);
    set_if(json, "state-descr", stored.state_description);
    json["renew-mode"] = static_cast<int>(domain.renew_mode);
    json["renew-window"] = domain.renew_window.text();
    json["warn-window"] = domain.warn_window.text();
    if (domain.require_https != RequireHttps::Off) {
        json["require-https"] =
            domain.require_https == RequireHttps::Temporary ? "temporary" : "permanent";
    }
    json["must-staple"] = domain.must_staple;
    json["proto"]["acme-tls/1"] = domain.acme_tls_names;
    set_if(json, "cert-files", domain.certificate_files);
    set_if(json, "pkey-files", domain.certificate_key_files);
    json["stapling"] = domain.stapling;
    set_if(json, "cmd-dns-01", domain.challenge_dns01_command);
    set_if(json, "proxy-url", domain.http_proxy);
    set_if(json, "ca-certs", domain.ca_certificate_file);
    set_if(json, "proxy-ca-certs", domain.http_proxy_ca_file);
    if (!domain.external_account.empty()) {
        json["eab"]["kid"] = domain.external_account.kid;
        json["eab"]["hmac"] = std::string(domain.external_account.hmac.text());
    }
    set_if(json, "profile", domain.profile);
    json["profile-mandatory"] = domain.profile_mandatory;
    json["ari-renewals"] = domain.renew_via_ari;
    set_if(json, "preferred-chain", domain.preferred_chain);  // ours
    return json;
}

Outcome<StoredDomain> domain_from_json(std::string_view text) {
    std::string error;
    Json json = parse_json(text, error);
    if (json.is_discarded()) return wrong("it is not JSON: " + error);
    if (!json.is_object()) return wrong("it is not a JSON object");

    StoredDomain stored;
    Domain& domain = stored.domain;
    domain.name = base::to_lower(string_at(json, {"name"}));
    if (domain.name.empty()) return wrong("\"name\" is missing or no string");
    const Json* names = find(json, {"domains"});
    if (names == nullptr || !names->is_array()) return wrong("\"domains\" is missing or no array");
    for (const std::string& entry : strings_at(json, {"domains"})) {
        const std::string name = base::to_lower(entry);
        if (std::find(domain.names.begin(), domain.names.end(), name) == domain.names.end()) {
            domain.names.push_back(name);
        }
    }
    if (domain.names.empty()) return wrong("\"domains\" names no domain");
    domain.contacts = strings_at(json, {"contacts"});
    domain.auto_members = int_at(json, {"transitive"}, 1) != 0;

    stored.ca_account = string_at(json, {"ca", "account"});
    if (const std::string proto = string_at(json, {"ca", "proto"}); !proto.empty()) {
        domain.ca_protocol = proto;
    }
    stored.ca_url = string_at(json, {"ca", "url"});
    domain.ca_urls = strings_at(json, {"ca", "urls"});
    // Before there was a list the one URL was what is configured (mod_md.md 3.6).
    if (domain.ca_urls.empty() && !stored.ca_url.empty()) domain.ca_urls = {stored.ca_url};
    domain.agreement = string_at(json, {"ca", "agreement"});
    domain.challenges = strings_at(json, {"ca", "challenges"});
    domain.private_keys = key_specs_from_json(json);

    stored.state = state_from(int_at(json, {"state"}, 0));
    stored.state_description = string_at(json, {"state-descr"});
    switch (int_at(json, {"renew-mode"}, 1)) {
        case 0:
            domain.renew_mode = RenewMode::Manual;
            break;
        case 2:
            domain.renew_mode = RenewMode::Always;
            break;
        default:
            domain.renew_mode = RenewMode::Auto;
    }
    domain.renew_window = window_from_json(json, "renew-window", domain.renew_window);
    domain.warn_window = window_from_json(json, "warn-window", domain.warn_window);
    const std::string https = string_at(json, {"require-https"});
    if (https == "temporary") domain.require_https = RequireHttps::Temporary;
    if (https == "permanent") domain.require_https = RequireHttps::Permanent;
    domain.must_staple = bool_at(json, {"must-staple"}, false);
    domain.acme_tls_names = strings_at(json, {"proto", "acme-tls/1"});
    domain.certificate_files = strings_at(json, {"cert-files"});
    domain.certificate_key_files = strings_at(json, {"pkey-files"});
    domain.stapling = bool_at(json, {"stapling"}, false);
    domain.challenge_dns01_command = string_at(json, {"cmd-dns-01"});
    domain.http_proxy = string_at(json, {"proxy-url"});
    domain.ca_certificate_file = string_at(json, {"ca-certs"});
    domain.http_proxy_ca_file = string_at(json, {"proxy-ca-certs"});
    domain.external_account.kid = string_at(json, {"eab", "kid"});
    domain.external_account.hmac = take_secret(json, {"eab", "hmac"});
    domain.profile = string_at(json, {"profile"});
    domain.profile_mandatory = bool_at(json, {"profile-mandatory"}, false);
    domain.renew_via_ari = bool_at(json, {"ari-renewals"}, true);
    domain.preferred_chain = string_at(json, {"preferred-chain"});
    return stored;
}

Outcome<std::optional<StoredDomain>> load_domain(Store& store, Group group, const std::string& name,
                                                 base::Time now) {
    auto bytes = store.load(group, name, "md.json");
    if (!bytes.ok() && bytes.error().status != EFBIG) return bytes.error();
    if (bytes.ok() && !*bytes) return std::optional<StoredDomain>{};
    auto stored = bytes.ok() ? domain_from_json(**bytes)
                             : Outcome<StoredDomain>(make_problem(EFBIG, "it is too large"));
    if (!stored.ok()) {
        base::log_warn("md", name, "{}/{}/md.json is set aside as md.json.bad-…: {}",
                       group_name(group), name, stored.error().message());
        auto aside = store.set_aside(group, name, "md.json", now);
        if (!aside.ok()) return aside.error();
        return std::optional<StoredDomain>{};
    }
    stored->domain.name = name;
    return std::optional<StoredDomain>(std::move(stored).value());
}

Outcome<void> save_domain(Store& store, Group group, const StoredDomain& stored) {
    return store.save(group, stored.domain.name, "md.json", domain_to_json(stored));
}

}  // namespace md
