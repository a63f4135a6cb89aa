// Where requests go: an immutable snapshot built from the configuration, read by all workers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/name_map.h"
#include "net/address.h"
#include "proxy/limits.h"

namespace proxy {

/// What happens to plain-HTTP requests for a site (MDRequireHttps, mod_md.md section 9).
enum class RequireHttps : uint8_t { Off, Temporary, Permanent };

/// A set of servers that are equal to each other. `id` is stable over reloads while the name is, so
/// that workers keep their pools.
struct Backend {
    std::string name;
    std::vector<net::Address> servers;
};

/// A virtual host. Its first host is its name.
struct Site {
    std::string name;
    std::vector<std::string> hosts;  // normalised; may hold wildcards and IP addresses
    std::shared_ptr<const Backend> backend;
    RequireHttps require_https = RequireHttps::Off;
    uint16_t https_port = 443;  // where redirects lead; 443 is left out of the URL
    bool hsts = false;          // Strict-Transport-Security: max-age=15768000 on HTTPS answers
};

/// Looks strings up by views of them.
struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

class Routes {
  public:
    Routes() = default;
    /// `default_site`: index of the site for hosts that no site names; -1: such requests get 421
    /// over HTTPS and 404 over HTTP.
    Routes(std::vector<std::shared_ptr<const Site>> sites, int default_site, Limits limits);

    /// `host` normalised (see RequestHead): exact, then one-label wildcard,
    /// then the default site; null if there is none. Never allocates.
    const Site* find(std::string_view host) const;
    const std::vector<std::shared_ptr<const Site>>& sites() const { return sites_; }
    const Limits& limits() const { return limits_; }

  private:
    std::vector<std::shared_ptr<const Site>> sites_;
    std::unordered_map<std::string, const Site*, StringHash, std::equal_to<>> by_host_;
    const Site* default_site_ = nullptr;
    Limits limits_;
};

/// Live http-01 answers (RFC 8555 8.3) by token: an exact token on its own name is ours, all else
/// is normal traffic (faults.md H1-62).
struct Http01Answers {
    struct Answer {
        std::string name;
        std::string key_authorization;
    };
    std::unordered_map<std::string, Answer, StringHash, std::equal_to<>> by_token;
};

/// Bodies of /.httpd/certificate-status by host (mod_md.md 7.2); hosts may be wildcards.
struct CertificateStatusAnswers {
    base::NameMap<std::string> by_host;
    /// `host` normalised: that very name, then its wildcard; null if there is none. Never
    /// allocates.
    const std::string* find(std::string_view host) const;
};

}  // namespace proxy
