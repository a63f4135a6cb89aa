#include "md/renewal_info.h"

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "md/acme_json.h"

namespace md {

namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr char file[] = "ari.json";
constexpr base::Duration wait_default = hours{6};  // RFC 9773 4.3.2
constexpr base::Duration wait_min = minutes{1};
constexpr base::Duration wait_max = hours{24};
constexpr size_t explanation_bytes_max = 500;

/// Only what a browser may be sent to.
std::string safe_explanation(const std::string& url) {
    const bool is_url = base::to_lower(url.substr(0, 8)) == "https://" &&
                        url.size() <= explanation_bytes_max &&
                        url.find_first_of(" \t\r\n\"<>\\") == std::string::npos;
    return is_url ? url : std::string();
}

base::Time draw(base::Time start, base::Time end, base::Random& random) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(end - start).count();
    return start + std::chrono::seconds{random.below(static_cast<uint64_t>(seconds) + 1)};
}

Problem bad_answer(std::string_view why) {
    return make_problem(EINVAL, fmt::format("the CA's renewal information is of no use: {}", why));
}

}  // namespace

bool has_window(const RenewalInfo& info) {
    return info.window_end > info.window_start;
}

Outcome<RenewalInfo> parse_renewal_info(std::string_view body, const std::string& certificate_id,
                                        const RenewalInfo* former,
                                        std::optional<base::Duration> wait, base::Time now,
                                        base::Random& random) {
    const auto json = parse_acme_json(body);
    if (!json || !json->is_object()) return bad_answer("it is no JSON object");
    ObjectReader reader(*json, "the answer");
    const Json* window = reader.optional_object("suggestedWindow");
    const std::string explanation = reader.optional_string("explanationURL");
    if (window == nullptr) reader.fail("has no suggestedWindow");
    if (!reader.ok()) return bad_answer(reader.error());
    ObjectReader times(*window, "its suggestedWindow");
    const std::string start = times.required_string("start");
    const std::string end = times.required_string("end");
    if (!times.ok()) return bad_answer(times.error());

    RenewalInfo info;
    info.certificate_id = certificate_id;
    if (!base::parse_rfc3339(start, info.window_start) ||
        !base::parse_rfc3339(end, info.window_end)) {
        return bad_answer(fmt::format("\"{}\" to \"{}\" are no times of RFC 3339",
                                      base::escape_for_log(start, 40),
                                      base::escape_for_log(end, 40)));
    }
    // ari.json knows whole seconds.
    info.window_start = std::chrono::floor<std::chrono::seconds>(info.window_start);
    info.window_end = std::chrono::floor<std::chrono::seconds>(info.window_end);
    // RFC 9773 4.2: as if there was none.
    if (!has_window(info)) return bad_answer("its window ends before it starts");
    info.explanation_url = safe_explanation(explanation);
    info.next_look = now + std::clamp(wait.value_or(wait_default), wait_min, wait_max);
    const bool is_same = former != nullptr && former->window_start == info.window_start &&
                         former->window_end == info.window_end;
    info.renew_at = is_same ? former->renew_at : draw(info.window_start, info.window_end, random);
    return info;
}

Outcome<RenewalInfo> fetch_renewal_info(AcmeClient& client, const std::string& certificate_id,
                                        const RenewalInfo* former, base::Random& random) {
    std::string url = client.directory().renewal_info;
    if (!url.ends_with('/')) url += '/';
    auto response = client.get(url + certificate_id);
    if (!response) return response.error();
    const auto wait = client.retry_after(*response);
    auto info = parse_renewal_info(response->body, certificate_id, former, wait,
                                   client.clock().now(), random);
    if (info) return info;
    Problem problem = std::move(info).error();
    problem.retry_after = wait;  // also of an answer that is of no use
    return problem;
}

base::Time next_look_after(const Problem& problem, base::Time now) {
    return now + std::clamp(problem.retry_after.value_or(wait_default), wait_min, wait_max);
}

std::vector<RenewalInfo> load_renewal_info(Store& store, const std::string& domain) {
    std::vector<RenewalInfo> infos;
    auto bytes = store.load(Group::Domains, domain, file);
    if (!bytes || !*bytes) return infos;
    std::string error;
    const Json json = parse_json(**bytes, error);
    const Json* list = find(json, {"certificates"});
    if (list == nullptr || !list->is_array()) return infos;
    for (const Json& one : *list) {
        const auto next_look = time_at(one, {"next-look"});
        RenewalInfo info;
        info.certificate_id = string_at(one, {"certificate-id"});
        if (info.certificate_id.empty() || !next_look) continue;
        info.next_look = *next_look;
        const auto start = time_at(one, {"window", "from"});
        const auto end = time_at(one, {"window", "until"});
        const auto renew_at = time_at(one, {"renew-at"});
        if (start && end && renew_at && *start <= *renew_at && *renew_at <= *end) {
            info.window_start = *start;
            info.window_end = *end;
            info.renew_at = *renew_at;
            info.explanation_url = safe_explanation(string_at(one, {"explanation-url"}));
        }
        infos.push_back(std::move(info));
    }
    return infos;
}

Outcome<void> save_renewal_info(Store& store, const std::string& domain,
                                const std::vector<RenewalInfo>& infos) {
    Json json;
    json["certificates"] = Json::array();
    for (const RenewalInfo& info : infos) {
        Json one;
        one["certificate-id"] = info.certificate_id;
        if (has_window(info)) {
            one["window"]["from"] = base::format_http_date(info.window_start);
            one["window"]["until"] = base::format_http_date(info.window_end);
            one["renew-at"] = base::format_http_date(info.renew_at);
            if (!info.explanation_url.empty()) one["explanation-url"] = info.explanation_url;
        }
        one["next-look"] = base::format_http_date(info.next_look);
        json["certificates"].push_back(std::move(one));
    }
    return store.save(Group::Domains, domain, file, json_text(json));
}

}  // namespace md
