// A CA's directory (RFC 8555 7.1.1), and which of the URLs in its answers we are ready to call.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "md/problem.h"

namespace md {

/// CAs that have names (MDCertificateAuthority); compared without regard to case.
struct KnownCa {
    std::string_view name;
    std::string_view url;
};
inline constexpr KnownCa known_cas[] = {
    {"LetsEncrypt", "https://acme-v02.api.letsencrypt.org/directory"},
    {"LetsEncrypt-Test", "https://acme-staging-v02.api.letsencrypt.org/directory"},
    {"Buypass", "https://api.buypass.com/acme/directory"},
    {"Buypass-Test", "https://api.test4.buypass.no/acme/directory"},
};
/// The name of a known CA, else the URL's host.
std::string ca_name(std::string_view directory_url);

struct Directory {
    std::string url;
    std::string new_nonce;
    std::string new_account;
    std::string new_order;
    std::string revoke_cert;  // "" if the CA has none; so are the following
    std::string key_change;
    std::string renewal_info;  // RFC 9773
    std::string terms_of_service;
    bool external_account_required = false;
    std::vector<std::string> profiles;

    /// The CA's spelling of a profile, compared without regard to case; nullopt if not offered.
    std::optional<std::string> profile(std::string_view wanted) const;
};

/// The body of an answer to GET `url`. newAccount, newOrder and newNonce are required.
Outcome<Directory> parse_directory(const std::string& url, std::string_view body);

/// Lower-case host of an https URL without port; "" if it is no such URL.
std::string https_host(std::string_view url);

/// Why `url`, found in an answer of the CA at `directory_url`, is not called; "" if it is: https
/// only (faults.md CA-11), no control characters, and no loopback or link-local address unless the
/// directory itself lives on one (CA-12).
std::string url_refusal(std::string_view url, std::string_view directory_url);

}  // namespace md
