// What the actors of a world share: where things are, and how the weather is.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernel.h"
#include "oracle.h"
#include "tls_client.h"

namespace sim::front {

/// What is written here can be read.
inline net::Address address_of(std::string_view text) {
    auto address = net::Address::parse(text);
    return *address;
}

/// A virtual host as its clients know it.
struct SiteFacts {
    std::vector<std::string> hosts;  // any of them reaches it
    int certificate = 0;             // which of the front's certificates it is served with
    bool requires_https = false;     // plain requests are sent away
};

enum class Climate : uint8_t {
    Calm,   ///< all are good: whatever order things happen in, everything works
    Rough,  ///< clients and servers do what they like; machine and network are fine
    Storm,  ///< … and the machine is not
};

struct Scene {
    Kernel& kernel;
    Oracle& oracle;
    Climate climate;
    std::vector<SiteFacts> sites;
    net::Address plain;
    net::Address secure;
    /// Bodies beyond it are refused; 0: none are.
    uint64_t request_body_max = 0;
    uint32_t idle_ms = 0;
    /// Sessions to be resumed, by the name that they were made for.
    std::map<std::string, std::vector<SessionPtr>> sessions;
    /// Tokens of http-01 that were published at some time.
    std::vector<std::string> tokens;
    /// From here on everybody does his best.
    bool is_fair = false;

    uint64_t now_ms() const { return oracle.now_ms(); }
    static std::string key_authorization(const std::string& token) { return token + ".thumbprint"; }
};

/// "http-01 on this host" of a token: they are published for the first host of site 0.
constexpr const char* challenge_prefix = "/.well-known/acme-challenge/";

}  // namespace sim::front
