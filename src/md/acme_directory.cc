#include "md/acme_directory.h"

#include <arpa/inet.h>

#include <cerrno>

#include "base/text.h"
#include "md/acme_json.h"

namespace md {

namespace {

constexpr size_t url_bytes_max = 2048;
constexpr size_t profiles_max = 100;

/// This machine, or its neighbours on the link: never what a public CA points to.
bool is_local_host(const std::string& host) {
    if (host == "localhost" || host.ends_with(".localhost")) return true;
    in_addr v4{};
    if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
        const uint32_t address = ntohl(v4.s_addr);
        return address >> 24 == 127 || address >> 24 == 0 || address >> 16 == 0xA9FE;
    }
    if (!host.starts_with('[') || !host.ends_with(']')) return false;
    in6_addr v6{};
    if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6) != 1) return true;
    // A v4 address in v6 form would be a way around the rule above: nobody needs it.
    return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6) ||
           IN6_IS_ADDR_UNSPECIFIED(&v6) || IN6_IS_ADDR_V4MAPPED(&v6);
}

}  // namespace

std::optional<std::string> Directory::profile(std::string_view wanted) const {
    for (const std::string& offered : profiles) {
        if (base::iequals(offered, wanted)) return offered;
    }
    return std::nullopt;
}

std::string ca_name(std::string_view directory_url) {
    for (const KnownCa& known : known_cas) {
        if (known.url == directory_url) return std::string(known.name);
    }
    const std::string host = https_host(directory_url);
    return host.empty() ? std::string(directory_url) : host;
}

std::string https_host(std::string_view url) {
    constexpr std::string_view scheme = "https://";
    if (!base::iequals(url.substr(0, scheme.size()), scheme)) return {};
    url.remove_prefix(scheme.size());
    std::string_view authority = url.substr(0, url.find_first_of("/?#"));
    if (authority.find('@') != std::string_view::npos) return {};
    if (authority.starts_with('[')) {
        authority = authority.substr(0, authority.find(']') + 1);
    } else {
        authority = authority.substr(0, authority.find(':'));
    }
    return base::to_lower(authority);
}

std::string url_refusal(std::string_view url, std::string_view directory_url) {
    if (url.size() > url_bytes_max) return "the URL is too long";
    for (const char c : url) {
        if (c <= ' ' || c > '~') return "the URL holds characters that URLs do not have";
    }
    const std::string host = https_host(url);
    if (host.empty()) {
        return fmt::format("{} is not an https URL", base::escape_for_log(url, 200));
    }
    const std::string home = https_host(directory_url);
    if (host != home && is_local_host(host) && !is_local_host(home)) {
        return fmt::format("{} points to this machine or its link", base::escape_for_log(url, 200));
    }
    return {};
}

Outcome<Directory> parse_directory(const std::string& url, std::string_view body) {
    const auto json = parse_acme_json(body);
    if (!json) {
        return make_problem(EINVAL, fmt::format("{} does not answer with an ACME directory: its "
                                                "text is not JSON; check certificate_authority",
                                                url));
    }
    ObjectReader reader(*json, "the directory at " + url);
    Directory directory;
    directory.url = url;
    if (json->is_object() && json->contains("new-authz") && !json->contains("newAccount")) {
        reader.fail("speaks the obsolete version 1 of ACME");
    }
    directory.new_account = reader.required_string("newAccount");
    directory.new_order = reader.required_string("newOrder");
    directory.new_nonce = reader.required_string("newNonce");
    directory.revoke_cert = reader.optional_string("revokeCert");
    directory.key_change = reader.optional_string("keyChange");
    directory.renewal_info = reader.optional_string("renewalInfo");
    std::string error = reader.error();
    if (const Json* meta = reader.optional_object("meta"); meta != nullptr) {
        ObjectReader meta_reader(*meta, "meta in the directory at " + url);
        directory.terms_of_service = meta_reader.optional_string("termsOfService");
        directory.external_account_required = meta_reader.optional_bool("externalAccountRequired");
        if (const Json* profiles = meta_reader.optional_object("profiles"); profiles != nullptr) {
            for (const auto& [name, description] : profiles->items()) {
                if (directory.profiles.size() < profiles_max) directory.profiles.push_back(name);
            }
        }
        if (error.empty()) error = meta_reader.error();
    }
    if (error.empty()) error = reader.error();
    for (const std::string* target :
         {&directory.new_account, &directory.new_order, &directory.new_nonce,
          &directory.revoke_cert, &directory.key_change, &directory.renewal_info}) {
        if (error.empty() && !target->empty()) error = url_refusal(*target, url);
    }
    if (!error.empty()) return make_problem(EINVAL, error);
    return directory;
}

}  // namespace md
