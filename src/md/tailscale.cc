#include "md/tailscale.h"

#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/acme_client.h"

namespace md {

namespace {

using std::chrono::hours;
using std::chrono::minutes;

/// The one Host that the daemon takes; nobody looks it up.
constexpr std::string_view daemon_host = "local-tailscaled.sock";
constexpr size_t pair_bytes_max = size_t{128} * 1024;
/// It is silent while it orders from its CA, by dns-01.
constexpr base::Duration ordering_max = minutes{5};

constexpr base::Duration look_again_max = hours{24};  // mod_md.md 8
constexpr base::Duration look_again_min = hours{1};

/// What somebody has to do about an answer; "" if nothing is known.
std::string_view advice_for(int status, std::string_view text) {
    if (status == 401 || status == 403) {
        return "; allow it to the user that mdfront runs as: tailscale set --operator=USER, or "
               "TS_PERMIT_CERT_UID=USER in tailscaled's environment";
    }
    if (text.find("does not support getting TLS certs") != std::string_view::npos) {
        return "; switch HTTPS certificates on for the tailnet (its admin console, page DNS)";
    }
    if (status == 404 || text.find("invalid domain") != std::string_view::npos) {
        return "; names has to be this machine's own name in the tailnet, as tailscale status "
               "--json has it in CertDomains";
    }
    if (text.find("netmap") != std::string_view::npos) {
        return "; is this machine logged in (tailscale up)?";
    }
    return "";
}

/// The daemon's words: one line of text, with names in quotes.
std::string words_of(const HttpResponse& response) {
    std::string text = response.body.substr(0, response.body.find_last_not_of(" \r\n") + 1);
    std::replace(text.begin(), text.end(), '"', '\'');  // else it is escaped
    return base::escape_for_log(text, 200);
}

Problem refusal(const HttpResponse& response, const std::string& name, base::Time now) {
    const std::string text = words_of(response);
    Problem problem = make_problem(
        status_of_http(response.status),
        fmt::format("tailscale gives no certificate for {}: status {}{}{}{}", name, response.status,
                    text.empty() ? "" : ", ", text, advice_for(response.status, text)));
    problem.retry_after = parse_retry_after(response.field("retry-after"), now);
    return problem;
}

/// Why the daemon cannot be talked to.
Problem unreachable(Problem problem, const std::string& socket) {
    switch (problem.status) {
        case ENOENT:
        case ECONNREFUSED:
            problem.detail = fmt::format(
                "tailscale socket not available, may not be up: {}; start tailscaled, or name its "
                "socket in certificate_authority",
                socket);
            break;
        case EACCES:
        case EPERM:
            problem.detail = fmt::format(
                "tailscale socket not available: the user that mdfront runs as may not connect to "
                "{}; look at its mode and those of its directories",
                socket);
            break;
        default:
            problem.detail = "tailscale: " + problem.detail;
    }
    return problem;
}

}  // namespace

Outcome<std::string> tailscale_socket(std::string_view url) {
    constexpr std::string_view scheme = "file://";
    if (!base::iequals(url.substr(0, scheme.size()), scheme)) {
        return make_problem(EINVAL, "does not begin with file://");
    }
    url.remove_prefix(scheme.size());
    const size_t slash = std::min(url.find('/'), url.size());
    const std::string_view host = url.substr(0, slash);
    const std::string_view path = url.substr(slash);
    if (!host.empty() && !base::iequals(host, "localhost")) {
        return make_problem(EINVAL, "is on another host; the socket has to be on this one");
    }
    if (path.size() < 2 || path.ends_with('/')) return make_problem(EINVAL, "names no socket");
    if (path.find_first_of("?#%") != std::string_view::npos) {
        return make_problem(EINVAL, "has one of ? # % in it; the path is taken as it stands");
    }
    if (path.size() >= sizeof sockaddr_un{}.sun_path) {
        return make_problem(EINVAL, fmt::format("is too long: sockets have paths of at most {} "
                                                "bytes",
                                                sizeof sockaddr_un{}.sun_path - 1));
    }
    return std::string(path);
}

Outcome<TailscalePair> fetch_from_tailscale(Transport& transport, const std::string& url,
                                            const std::string& name, base::Time now) {
    auto socket = tailscale_socket(url);
    if (!socket) {
        return make_problem(
            EINVAL, fmt::format("certificate_authority: {} {}", url, socket.error().detail));
    }
    HttpRequest request;
    request.url = fmt::format("http://{}/localapi/v0/cert/{}?type=pair", daemon_host, name);
    request.unix_socket = *socket;
    request.stall_timeout = ordering_max;
    request.response_max = pair_bytes_max;
    request.has_secret_response = true;
    auto response = transport.exchange(request);
    if (!response) return unreachable(response.error(), *socket);
    base::log_debug("md", name, "{} at {}: {}", request.url, *socket, response->status);
    if (response->status != 200) return refusal(*response, name, now);

    // The key comes first, the chain behind it.
    const std::string_view pair = response->body;
    const size_t chain = std::min(pair.find("-----BEGIN CERTIFICATE-----"), pair.size());
    TailscalePair result{.key_pem = base::Secret(pair.substr(0, chain)),
                         .chain_pem = std::string(pair.substr(chain))};
    base::wipe(response->body);
    return result;
}

Problem not_renewed_yet(const tls::Certificate& served, base::Time now) {
    Problem problem = make_problem(
        ENOENT, fmt::format("tailscale has not renewed the certificate yet, which is valid until "
                            "{}; it is asked again",
                            base::format_rfc3339(served.not_after)));
    problem.retry_after =
        std::clamp<base::Duration>((served.not_after - now) / 4, look_again_min, look_again_max);
    return problem;
}

}  // namespace md
