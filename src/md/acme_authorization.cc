#include "md/acme_authorization.h"

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "md/acme_json.h"

namespace md {

namespace {

constexpr size_t token_bytes_max = 256;  // 128 bits of entropy need 22; CAs use 43
constexpr size_t challenges_max = 20;
constexpr int bad_answer = 20014;

struct StatusName {
    AuthorizationStatus status;
    std::string_view name;
};
constexpr StatusName status_names[] = {
    {AuthorizationStatus::Pending, "pending"}, {AuthorizationStatus::Valid, "valid"},
    {AuthorizationStatus::Invalid, "invalid"}, {AuthorizationStatus::Deactivated, "deactivated"},
    {AuthorizationStatus::Expired, "expired"}, {AuthorizationStatus::Revoked, "revoked"},
};

std::string_view status_name(AuthorizationStatus status) {
    for (const StatusName& known : status_names) {
        if (known.status == status) return known.name;
    }
    return {};
}

/// nullopt: of no use to us.
std::optional<Challenge> read_challenge(const AcmeClient& client, const Json& json) {
    Challenge challenge;
    challenge.type = string_at(json, {"type"});
    challenge.url = string_at(json, {"url"});
    challenge.token = string_at(json, {"token"});
    challenge.status = string_at(json, {"status"});
    if (const Json* error = find(json, {"error"}); error != nullptr && error->is_object()) {
        challenge.error = parse_problem(error->dump());
    }
    // An unusable challenge still tells why it failed.
    const bool usable = !challenge.type.empty() && is_challenge_token(challenge.token) &&
                        client.check_url(challenge.url).ok();
    if (!usable && !challenge.error) return std::nullopt;
    if (!usable) challenge.type.clear();
    return challenge;
}

}  // namespace

bool is_challenge_token(std::string_view token) {
    if (token.empty() || token.size() > token_bytes_max) return false;
    return std::all_of(token.begin(), token.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_';
    });
}

Problem Authorization::problem() const {
    for (const Challenge& challenge : challenges) {
        if (challenge.error) {
            Problem problem = *challenge.error;
            if (problem.detail.empty()) problem.detail = "the CA could not validate the name";
            return problem;
        }
    }
    return make_problem(EINVAL, fmt::format("the authorization is {}", status_name(status)));
}

Outcome<Authorization> fetch_authorization(AcmeClient& client, const std::string& url,
                                           const std::vector<std::string>& names) {
    auto response = client.post_as_get(url);
    if (!response) return response.error();
    const auto json = parse_acme_json(response->body);
    if (!json) return make_problem(bad_answer, "the CA's authorization is not JSON");
    ObjectReader reader(*json, "the CA's authorization");
    const std::string status = reader.required_string("status");
    const Json* identifier = reader.optional_object("identifier");
    if (identifier == nullptr) reader.fail("has no identifier");
    Authorization authorization;
    authorization.url = url;
    authorization.wildcard = reader.optional_bool("wildcard");
    authorization.retry_after = client.retry_after(*response);
    const std::vector<Json> challenges = reader.required_objects("challenges");
    if (!reader.ok()) return make_problem(bad_answer, reader.error());
    const auto* known = std::find_if(std::begin(status_names), std::end(status_names),
                                     [&](const StatusName& entry) { return entry.name == status; });
    if (known == std::end(status_names)) {
        return make_problem(bad_answer, "the CA's authorization has the unknown status " +
                                            base::escape_for_log(status, 50));
    }
    authorization.status = known->status;
    const std::optional<std::string> name = identified_name(*identifier);
    authorization.name = name.value_or("");
    if (!name || std::find(names.begin(), names.end(), authorization.shown_name()) == names.end()) {
        const std::string shown =
            name ? authorization.shown_name()
                 : fmt::format("{} of type {}", string_at(*identifier, {"value"}),
                               string_at(*identifier, {"type"}));
        return make_problem(bad_answer,
                            fmt::format("the CA's authorization is for {}, which nobody asked for",
                                        base::escape_for_log(shown, 100)));
    }
    for (const Json& element : challenges) {
        if (authorization.challenges.size() == challenges_max) break;
        if (auto challenge = read_challenge(client, element)) {
            authorization.challenges.push_back(std::move(*challenge));
        }
    }
    return authorization;
}

}  // namespace md
