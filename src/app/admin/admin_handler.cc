#include "app/admin/admin_handler.h"

#include "app/admin/page.h"
#include "app/admin/summary_json.h"
#include "base/ip_address.h"
#include "base/text.h"

namespace app {

namespace {

constexpr std::string_view domains_prefix = "/domains/";

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

proxy::LocalResponse json(int status, std::string body) {
    proxy::LocalResponse response;
    response.status = status;
    response.content_type = "application/json";
    response.body = std::move(body);
    return response;
}

proxy::LocalResponse page(std::string html) {
    proxy::LocalResponse response = text(200, std::move(html));
    response.content_type = "text/html; charset=utf-8";
    response.fields.emplace_back("Content-Security-Policy",
                                 "default-src 'none'; style-src 'unsafe-inline'");
    return response;
}

}  // namespace

bool AdminHandler::is_our_host(std::string_view host) const {
    // A page of somebody else whose name was pointed at this address (DNS rebinding) comes with
    // that name; an address, or nothing at all, cannot come from there.
    const auto& hosts = options_.hosts;
    return host.empty() || host == "localhost" || base::is_ip_address(host) ||
           std::find(hosts.begin(), hosts.end(), host) != hosts.end();
}

proxy::LocalResponse AdminHandler::handle(const proxy::LocalRequest& request) {
    proxy::LocalResponse response = answer(request);
    response.fields.emplace_back("Cache-Control", "no-store");
    response.fields.emplace_back("X-Content-Type-Options", "nosniff");
    response.fields.emplace_back("Referrer-Policy", "no-referrer");
    return response;
}

proxy::LocalResponse AdminHandler::answer(const proxy::LocalRequest& request) {
    const bool is_action = request.path.starts_with(actions_path);
    if (!is_action && request.method != "GET" && request.method != "HEAD") {
        auto response = text(405, "Only GET and HEAD are answered here.\n");
        response.fields.emplace_back("Allow", "GET, HEAD");
        return response;
    }
    if (!is_our_host(request.host)) {
        return text(421, "This host name is not served here; see admin.hosts.\n");
    }
    return is_action ? act(actions_, request, options_.actions_over_tcp) : show(request);
}

proxy::LocalResponse AdminHandler::show(const proxy::LocalRequest& request) {
    const std::string_view path = request.path;
    if (path == "/") return page(render_page(source_.status()));
    if (path == "/healthz") return text(200, "ok\n");
    if (path == "/server-status") {
        if (request.query == "auto") {
            return text(200,
                        render_server_status_lines(source_.status(), source_.server_status(true)));
        }
        return page(render_server_status(source_.status(), source_.server_status(false)));
    }
    if (path == "/status.json") return json(200, render_json(source_.status()));
    if (path == "/domains.json") {
        return json(200,
                    domains_to_json(source_.domains(), source_.file_certificates(), source_.now()));
    }
    if (path.starts_with(domains_prefix)) return show_domain(path);
    if (path == "/accounts.json") return json(200, accounts_to_json(source_.accounts()));
    if (path == "/md-status" || path == "/md-status/") return json(200, source_.md_status(""));
    if (path.starts_with("/md-status/")) {
        // As mod_md has it: the last segment counts, and an unknown one gives the list.
        const size_t slash = path.rfind('/');
        return json(200, source_.md_status(percent_decoded(path.substr(slash + 1))));
    }
    return text(404, "There is nothing here. See / for the status.\n");
}

/// /domains/NAME.json
proxy::LocalResponse AdminHandler::show_domain(std::string_view path) {
    constexpr std::string_view suffix = ".json";
    path.remove_prefix(domains_prefix.size());
    if (path.ends_with(suffix)) path.remove_suffix(suffix.size());
    const std::string name = base::to_lower(percent_decoded(path));
    const auto domain = source_.domain(name);
    if (domain) return json(200, domain_to_json(*domain, source_.now()));
    return json(404, error_to_json(fmt::format("there is no managed domain {}",
                                               base::escape_for_log(name, 255))));
}

}  // namespace app
