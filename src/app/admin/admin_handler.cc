#include "app/admin/admin_handler.h"

#include "app/admin/page.h"
#include "base/ip_address.h"
#include "base/text.h"

namespace app {

namespace {

/// %XX of a path segment; a name with a wildcard may come as %2A.
std::string percent_decoded(std::string_view text) {
    const auto digit = [](char c) -> int {
        if (c >= '0' && c <= '9') return c - '0';
        const char lower = base::to_lower(c);
        return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
    };
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
            digit(text[i + 2]) >= 0) {
            result += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
            i += 2;
        } else {
            result += text[i];
        }
    }
    return result;
}

proxy::LocalResponse text(int status, std::string body) {
    proxy::LocalResponse response;
    response.status = status;
    response.body = std::move(body);
    return response;
}

proxy::LocalResponse json(std::string body) {
    proxy::LocalResponse response;
    response.content_type = "application/json";
    response.body = std::move(body);
    return response;
}

}  // namespace

bool AdminHandler::is_our_host(std::string_view host) const {
    // A page of somebody else whose name was pointed at this address (DNS rebinding) comes with
    // that name; an address, or nothing at all, cannot come from there.
    return host.empty() || host == "localhost" || base::is_ip_address(host) ||
           std::find(hosts_.begin(), hosts_.end(), host) != hosts_.end();
}

proxy::LocalResponse AdminHandler::handle(const proxy::LocalRequest& request) {
    proxy::LocalResponse response;
    constexpr std::string_view md_status = "/md-status";
    if (request.method != "GET" && request.method != "HEAD") {
        response = text(405, "Only GET and HEAD are answered here.\n");
        response.fields.emplace_back("Allow", "GET, HEAD");
    } else if (!is_our_host(request.host)) {
        response = text(421, "This host name is not served here; see admin.hosts.\n");
    } else if (request.path == "/") {
        response = text(200, render_page(source_.status()));
        response.content_type = "text/html; charset=utf-8";
        response.fields.emplace_back("Content-Security-Policy",
                                     "default-src 'none'; style-src 'unsafe-inline'");
    } else if (request.path == "/healthz") {
        response = text(200, "ok\n");
    } else if (request.path == "/server-status") {
        const bool as_lines = request.query == "auto";
        response = text(
            200, as_lines
                     ? render_server_status_lines(source_.status(), source_.server_status(true))
                     : render_server_status(source_.status(), source_.server_status(false)));
        if (!as_lines) response.content_type = "text/html; charset=utf-8";
        response.fields.emplace_back("Content-Security-Policy",
                                     "default-src 'none'; style-src 'unsafe-inline'");
    } else if (request.path == "/status.json") {
        response = json(render_json(source_.status()));
    } else if (request.path == md_status || request.path == "/md-status/") {
        response = json(source_.md_status(""));
    } else if (request.path.starts_with("/md-status/")) {
        // As mod_md has it: the last segment counts, and an unknown one gives the list.
        const size_t slash = request.path.rfind('/');
        response = json(source_.md_status(percent_decoded(request.path.substr(slash + 1))));
    } else {
        response = text(404, "There is nothing here. See / for the status.\n");
    }
    response.fields.emplace_back("Cache-Control", "no-store");
    response.fields.emplace_back("X-Content-Type-Options", "nosniff");
    response.fields.emplace_back("Referrer-Policy", "no-referrer");
    return response;
}

}  // namespace app
