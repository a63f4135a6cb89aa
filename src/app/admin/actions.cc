#include "app/admin/actions.h"

#include <cerrno>

#include "app/admin/json_values.h"
#include "app/admin/summary_json.h"
#include "base/log.h"
#include "base/text.h"

namespace app {

namespace {

proxy::LocalResponse answer(int status, std::string json) {
    proxy::LocalResponse response;
    response.status = status;
    response.content_type = "application/json";
    response.body = std::move(json);
    return response;
}

proxy::LocalResponse refusal(int status, std::string_view text) {
    return answer(status, error_to_json(text));
}

proxy::LocalResponse refusal(const md::Problem& problem) {
    return refusal(problem.status == ENOENT ? 404 : 409, problem.message());
}

bool is_json(std::string_view content_type) {
    return base::iequals(base::trim(content_type.substr(0, content_type.find(';'))),
                         "application/json");
}

/// Of a page that this listener gave, or of a program, which sends neither field.
bool is_from_here(const proxy::LocalRequest& request) {
    const std::string_view site = request.fetch_site;
    if (!site.empty() && site != "same-origin" && site != "none") return false;
    std::string_view origin = request.origin;
    if (origin.empty()) return true;
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (!origin.starts_with(scheme)) continue;
        return base::iequals(origin.substr(scheme.size()), request.host_sent);
    }
    return false;  // "null", an extension's
}

std::optional<proxy::LocalResponse> refuse(const proxy::LocalRequest& request, bool over_tcp) {
    if (request.method != "POST") {
        auto response = refusal(405, "actions are asked for with POST");
        response.fields.emplace_back("Allow", "POST");
        return response;
    }
    if (!request.is_unix && !over_tcp) {
        return refusal(403,
                       "actions over TCP are switched off: give [admin] listen a \"unix:/path\" "
                       "and use that, or set actions = true in [admin] and restart");
    }
    if (!is_from_here(request)) {
        return refusal(403, "actions asked for by a page from elsewhere are refused");
    }
    if (!is_json(request.content_type)) {
        return refusal(415, "send Content-Type: application/json");
    }
    return std::nullopt;
}

/// The members of a body, all texts; an unknown one may be a misspelt "reason".
struct Members {
    std::string name;
    std::string reason;
    std::string account;
};

/// "" or what is wrong.
std::string read_members(std::string_view body, std::string_view required,
                         std::string_view optional, Members& members) {
    const Json json = Json::parse(body, nullptr, false);
    const std::string example = fmt::format("{{\"{}\": \"…\"}}", required);
    if (!json.is_object()) return "the body has to be a JSON object: " + example;
    for (const auto& [key, value] : json.items()) {
        if (key != required && key != optional) {
            return fmt::format("\"{}\" is not known here; write {}", base::escape_for_log(key, 64),
                               example);
        }
        if (!value.is_string()) return fmt::format("\"{}\" has to be a text", key);
        if (key == "name") members.name = value.get<std::string>();
        if (key == "reason") members.reason = value.get<std::string>();
        if (key == "account") members.account = value.get<std::string>();
    }
    if (!json.contains(required)) return fmt::format("\"{0}\" is missing: {1}", required, example);
    return "";
}

/// How many requests that domain has seen to.
uint64_t done_by(const std::vector<md::DomainSummary>& domains, std::string_view name) {
    for (const md::DomainSummary& domain : domains) {
        if (domain.name == name) return domain.requests_done;
    }
    return 0;
}

proxy::LocalResponse queued(std::string_view action, const std::string& domain, uint64_t done,
                            const proxy::LocalRequest& request) {
    base::log_info("app", domain, "{} was asked for over {}", action,
                   request.is_unix ? "the admin socket" : "the admin address");
    return answer(202, json_text(Json{{"queued", action}, {"name", domain}, {"done", done}}));
}

proxy::LocalResponse renew(Actions& actions, const proxy::LocalRequest& request) {
    Members members;
    const std::string wrong = read_members(request.body, "name", "", members);
    if (!wrong.empty()) return refusal(400, wrong);
    const uint64_t done = done_by(actions.domains(), members.name);
    const auto result = actions.renew(members.name);
    return result ? queued("renew", members.name, done, request) : refusal(result.error());
}

proxy::LocalResponse revoke(Actions& actions, const proxy::LocalRequest& request) {
    Members members;
    const std::string wrong = read_members(request.body, "name", "reason", members);
    if (!wrong.empty()) return refusal(400, wrong);
    const auto reason =
        md::parse_revocation_reason(members.reason.empty() ? "unspecified" : members.reason);
    if (!reason) {
        return refusal(400, fmt::format("\"{}\" is no reason; there are {}",
                                        base::escape_for_log(members.reason, 64),
                                        md::revocation_reason_names()));
    }
    const uint64_t done = done_by(actions.domains(), members.name);
    const auto result = actions.revoke(members.name, *reason);
    return result ? queued("revoke", members.name, done, request) : refusal(result.error());
}

proxy::LocalResponse roll_account_key(Actions& actions, const proxy::LocalRequest& request) {
    Members members;
    const std::string wrong = read_members(request.body, "account", "", members);
    if (!wrong.empty()) return refusal(400, wrong);
    const std::vector<md::DomainSummary> before = actions.domains();
    const auto domain = actions.roll_account_key(members.account);
    if (!domain) return refusal(domain.error());
    return queued("account-rollover", domain.value(), done_by(before, domain.value()), request);
}

}  // namespace

proxy::LocalResponse act(Actions& actions, const proxy::LocalRequest& request, bool over_tcp) {
    const std::string_view action = request.path.substr(actions_path.size());
    const auto run = action == "renew"              ? &renew
                     : action == "revoke"           ? &revoke
                     : action == "account-rollover" ? &roll_account_key
                                                    : nullptr;
    if (run == nullptr) {
        return refusal(404,
                       "there are /actions/renew, /actions/revoke and "
                       "/actions/account-rollover");
    }
    if (auto refused = refuse(request, over_tcp)) return std::move(*refused);
    return run(actions, request);
}

}  // namespace app
