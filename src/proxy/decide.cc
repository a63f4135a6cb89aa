#include "proxy/decide.h"

#include "base/text.h"
#include "proxy/client_identity.h"
#include "proxy/responder.h"

namespace proxy {

namespace {

constexpr std::string_view challenge_prefix = "/.well-known/acme-challenge/";
constexpr std::string_view well_known_prefix = "/.well-known/";
constexpr std::string_view certificate_status_path = "/.httpd/certificate-status";

Reply error(int status, bool close = false) {
    return {error_page(status), close};
}

uint64_t announced_length(const RequestHead& head) {
    return head.framing == Framing::Length ? head.content_length : 0;
}

}  // namespace

Decision decide(const RequestHead& head, const tls::SessionInfo* session, const Answers& answers) {
    const Routes& routes = answers.routes;
    const Limits& limits = routes.limits();
    if (limits.request_body_max > 0 && announced_length(head) > limits.request_body_max) {
        return error(413, true);
    }
    if (answers.local_only) {
        if (announced_length(head) > LocalHandler::body_bytes_max) return error(413, true);
        return AskLocal{};
    }

    const std::string_view path = head.target.substr(0, head.target.find('?'));
    const Site* site = routes.find(head.host);
    const bool readable = head.method == "GET" || head.is_head;
    const Admission admission =
        session != nullptr ? admit(*session, head.host, site, routes) : Admission::Served;
    if (admission == Admission::Misdirected) return error(421);
    // The status of a certificate can be asked for before there is one.
    if (path == certificate_status_path && readable) {
        const std::string* body = answers.certificate_status.find(head.host);
        if (body != nullptr) return Reply{{200, "application/json", {}, *body}};
    }
    if (admission == Admission::NotReady) return error(503);
    if (path.starts_with(challenge_prefix) && !answers.http01.by_token.empty()) {
        // Exactly our token on its own name; all else is normal traffic (H1-62).
        const auto answer = answers.http01.by_token.find(path.substr(challenge_prefix.size()));
        if (answer != answers.http01.by_token.end() &&
            base::iequals(answer->second.name, head.host)) {
            if (!readable) return error(501);
            return Reply{{200, "", {}, answer->second.key_authorization}};
        }
    }
    if (site == nullptr) return error(session != nullptr ? 421 : 404);
    const bool is_well_known = path.starts_with(well_known_prefix);
    if (site->require_https != RequireHttps::Off && session == nullptr && !is_well_known) {
        return Reply{https_redirect(site->require_https == RequireHttps::Temporary, head.method,
                                    head.host.empty() ? std::string_view(site->name) : head.host,
                                    site->https_port, head.target)};
    }
    return Forward{site, session != nullptr && site->hsts && !is_well_known};
}

}  // namespace proxy
