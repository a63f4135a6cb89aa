// Outgoing HTTP of the engine: one interface, libcurl behind it in production (mod_md.md 5.1), a
// simulated one in tests/sim. Never used on a worker.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "md/problem.h"

namespace md {

struct HttpRequest {
    std::string method = "GET";
    std::string url;
    std::vector<std::pair<std::string, std::string>> fields;
    std::string body;
    std::string proxy;          // http(s) URL or ""
    std::string proxy_ca_file;  // PEM bundle to trust for an https proxy, or ""
    std::string ca_file;        // PEM bundle to trust instead of the system's, or ""
    size_t response_max = 1024 * 1024;
    std::string
        unix_socket;  // connect to this path, whatever the URL's host, without a proxy; or ""
    std::optional<base::Duration> stall_timeout;  // instead of the transport's
    /// Room for `response_max` bytes is made at once, so that no part of the body stays behind
    /// where it grew out of; who asked wipes it.
    bool has_secret_response = false;
    /// No connection to link-local addresses (a cloud's metadata service is one) or to groups: for
    /// URLs that somebody else chose. A proxy has its own rules.
    bool refuse_link_local = false;
};

struct HttpResponse {
    int status = 0;
    std::vector<std::pair<std::string, std::string>> fields;  // names in lower case
    std::string body;

    /// The first field of that (lower-case) name, or "".
    const std::string& field(std::string_view name) const;
};

class Transport {
  public:
    virtual ~Transport() = default;
    /// One exchange; redirects are not followed. The Problem says which host and why (refused,
    /// time-out, certificate not trusted, answer too large).
    virtual Outcome<HttpResponse> exchange(const HttpRequest& request) = 0;
    /// Any thread: the exchange that runs, and all later ones, fail soon with ECANCELED.
    virtual void cancel() {}
};

struct TransportOptions {
    std::string user_agent;
    base::Duration total_timeout = std::chrono::minutes{10};
    base::Duration connect_timeout = std::chrono::seconds{30};
    base::Duration stall_timeout = std::chrono::seconds{30};  // less than 10 bytes/s for so long
};

/// libcurl: https and http only, connections kept between requests, no proxy from the environment.
/// Not shared between threads: one per engine thread.
std::unique_ptr<Transport> make_curl_transport(TransportOptions options);

}  // namespace md
