#include "md/acme_client.h"

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/acme_json.h"

namespace md {

namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr size_t nonce_bytes_max = 512;
constexpr size_t detail_bytes_max = 2048;
constexpr size_t subproblems_max = 100;
constexpr base::Duration retry_after_min = seconds{1};
constexpr base::Duration retry_after_max = hours{24};
constexpr std::string_view error_prefixes[] = {"urn:ietf:params:acme:error:", "urn:acme:error:"};

constexpr int general_error = 20014;  // APR's numbers, as mod_md stores them
constexpr int bad_argument = 70013;

struct TypeStatus {
    std::string_view type;
    int status;
};
/// What mod_md puts in job.json's last.status for a problem type.
constexpr TypeStatus type_statuses[] = {
    {"badCSR", EINVAL},
    {"badNonce", EAGAIN},
    {"badSignatureAlgorithm", EINVAL},
    {"externalAccountRequired", EINVAL},
    {"invalidContact", bad_argument},
    {"unsupportedContact", general_error},
    {"malformed", EINVAL},
    {"rateLimited", bad_argument},
    {"rejectedIdentifier", bad_argument},
    {"serverInternal", general_error},
    {"unauthorized", EACCES},
    {"unsupportedIdentifier", bad_argument},
    {"userActionRequired", EAGAIN},
    {"badRevocationReason", EINVAL},
};

std::string_view error_name(std::string_view type) {
    for (const std::string_view prefix : error_prefixes) {
        if (type.starts_with(prefix)) return type.substr(prefix.size());
    }
    return {};
}

bool is_nonce(std::string_view text) {
    if (text.empty() || text.size() > nonce_bytes_max) return false;
    for (const char c : text) {
        const bool base64url = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                               (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!base64url) return false;
    }
    return true;
}

std::vector<Subproblem> parse_subproblems(const Json& list) {
    std::vector<Subproblem> subproblems;
    if (!list.is_array()) return subproblems;
    for (const Json& element : list) {
        if (subproblems.size() == subproblems_max) break;
        if (!element.is_object()) continue;
        subproblems.push_back({cut_text(string_at(element, {"type"}), 200),
                               cut_text(string_at(element, {"detail"}), detail_bytes_max),
                               cut_text(string_at(element, {"identifier", "value"}), 255)});
    }
    return subproblems;
}

}  // namespace

bool is_acme_error(const Problem& problem, std::string_view name) {
    return error_name(problem.type) == name;
}

std::optional<base::Duration> parse_retry_after(std::string_view text, base::Time now) {
    text = base::trim(text);
    base::Time when;
    if (base::parse_http_date(text, when)) {
        return std::clamp<base::Duration>(when - now, retry_after_min, retry_after_max);
    }
    if (text.empty()) return std::nullopt;
    int64_t count = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        count = std::min<int64_t>(count * 10 + (c - '0'), 1'000'000);
    }
    return std::clamp<base::Duration>(seconds{count}, retry_after_min, retry_after_max);
}

std::vector<std::string> links(const HttpResponse& response, std::string_view relation) {
    std::vector<std::string> targets;
    for (const auto& [name, value] : response.fields) {
        if (name != "link") continue;
        std::string_view rest = value;
        while (true) {
            const size_t open = rest.find('<');
            const size_t close = rest.find('>', open == std::string_view::npos ? 0 : open);
            if (open == std::string_view::npos || close == std::string_view::npos) break;
            const size_t next = rest.find('<', close);  // of the same field's next link
            const std::string_view target = rest.substr(open + 1, close - open - 1);
            const std::string_view parameters = rest.substr(close + 1, next - close - 1);
            for (std::string_view parameter : base::split(parameters, ';')) {
                parameter = base::trim(parameter);
                while (parameter.ends_with(',')) parameter.remove_suffix(1);
                if (!base::iequals(parameter.substr(0, 4), "rel=")) continue;
                parameter = base::trim(parameter.substr(4));
                if (parameter.size() >= 2 && parameter.front() == '"') {
                    parameter = parameter.substr(1, parameter.find('"', 1) - 1);
                }
                if (base::iequals(parameter, relation)) targets.emplace_back(target);
            }
            if (next == std::string_view::npos) break;
            rest.remove_prefix(next);
        }
    }
    return targets;
}

std::optional<Problem> parse_problem(std::string_view body) {
    const auto json = parse_acme_json(body);
    if (!json || !json->is_object()) return std::nullopt;
    const std::string type = string_at(*json, {"type"});
    const std::string detail = string_at(*json, {"detail"});
    if (type.empty() && detail.empty()) return std::nullopt;
    Problem problem = make_problem(general_error, cut_text(detail, detail_bytes_max));
    problem.type = cut_text(type, 200);
    for (const TypeStatus& known : type_statuses) {
        if (is_acme_error(problem, known.type)) problem.status = known.status;
    }
    if (const Json* list = find(*json, {"subproblems"}); list != nullptr) {
        problem.subproblems = parse_subproblems(*list);
    }
    return problem;
}

Outcome<void> AcmeClient::open(const std::string& directory_url) {
    if (const std::string refusal = url_refusal(directory_url, directory_url); !refusal.empty()) {
        return make_problem(EINVAL, "certificate_authority: " + refusal);
    }
    HttpRequest request;
    request.url = directory_url;
    auto response = send(std::move(request));
    if (!response) return response.error();
    auto directory = parse_directory(directory_url, response->body);
    if (!directory) return directory.error();
    directory_ = std::move(directory).value();
    const std::string home = https_host(directory_url);
    for (const std::string* url : {&directory_.new_account, &directory_.new_order}) {
        if (https_host(*url) != home) {
            base::log_info("md", domain_.name, "the CA at {} works on another host, too: {}", home,
                           https_host(*url));
        }
    }
    return {};
}

void AcmeClient::use_account(AccountKey key, std::string account_url) {
    key_ = std::move(key);
    account_url_ = std::move(account_url);
}

const AccountKey& AcmeClient::key() const {
    base::check(key_.has_value());
    return *key_;
}

Outcome<HttpResponse> AcmeClient::post(const std::string& url, const std::string& payload) {
    return post_signed(key(), account_url_, url, payload);
}

Outcome<HttpResponse> AcmeClient::get(const std::string& url) {
    HttpRequest request;
    request.url = url;
    return send(std::move(request));
}

Outcome<HttpResponse> AcmeClient::post_with_jwk(const AccountKey& key, const std::string& url,
                                                const std::string& payload) {
    return post_signed(key, "", url, payload);
}

Outcome<HttpResponse> AcmeClient::post_signed(const AccountKey& key, const std::string& kid,
                                              const std::string& url, const std::string& payload) {
    if (auto allowed = check_url(url); !allowed) return allowed.error();
    for (int attempt = 0;; ++attempt) {
        auto nonce = take_nonce();
        if (!nonce) return nonce.error();
        auto body =
            sign_jws(key, {.url = url, .nonce = std::move(*nonce), .kid = kid, .payload = payload});
        if (!body) return body.error();
        HttpRequest request;
        request.method = "POST";
        request.url = url;
        request.fields = {{"Content-Type", "application/jose+json"}};
        request.body = std::move(*body);
        auto response = send(std::move(request));
        if (response) return response;
        if (!is_acme_error(response.error(), "badNonce") || attempt == bad_nonce_retries_max) {
            return response;
        }
    }
}

Outcome<std::string> AcmeClient::take_nonce() {
    if (nonce_.empty()) {
        HttpRequest request;
        request.method = "HEAD";
        request.url = directory_.new_nonce;
        if (auto response = send(std::move(request)); !response) return response.error();
    }
    if (nonce_.empty()) {
        return make_problem(general_error,
                            fmt::format("{} gives no usable nonce", directory_.new_nonce));
    }
    return std::exchange(nonce_, {});
}

/// One exchange; anything but 2xx becomes a Problem. Nonces are taken from errors, too.
Outcome<HttpResponse> AcmeClient::send(HttpRequest request) {
    request.ca_file = domain_.ca_certificate_file;
    request.proxy = domain_.http_proxy;
    request.proxy_ca_file = domain_.http_proxy_ca_file;
    auto response = transport_.exchange(request);
    if (!response) return response.error();
    const std::string& nonce = response->field("replay-nonce");
    nonce_ = is_nonce(nonce) ? nonce : std::string();
    if (const std::string& coding = response->field("content-encoding");
        !coding.empty() && !base::iequals(coding, "identity")) {
        return make_problem(general_error, fmt::format("{} answers compressed, unasked (faulty CA "
                                                       "or something in between)",
                                                       request.url));
    }
    base::log_debug("md", domain_.name, "{} {}: {}", request.method, request.url, response->status);
    if (response->status / 100 == 2) return response;
    return problem_of(request, *response);
}

Problem AcmeClient::problem_of(const HttpRequest& request, const HttpResponse& response) const {
    std::optional<Problem> problem = parse_problem(response.body);
    const std::string where =
        fmt::format("{} {} is answered with {}", request.method, request.url, response.status);
    if (!problem) {
        const std::string text = base::escape_for_log(response.body, 200);
        problem = make_problem(status_of_http(response.status),
                               where + (text.empty() ? "" : ": " + text));
        if (const std::string& target = response.field("location");
            response.status / 100 == 3 && !target.empty()) {
            problem->detail += fmt::format(" and points to {}, which is not followed",
                                           base::escape_for_log(target, 200));
        }
    } else if (problem->detail.empty()) {
        problem->detail = where;
    }
    if (problem->status == general_error && error_name(problem->type).empty()) {
        problem->status = status_of_http(response.status);
    }
    if (is_acme_error(*problem, "userActionRequired")) {  // RFC 8555 7.3.3
        for (const std::string& terms : links(response, "terms-of-service")) {
            problem->detail += fmt::format("; the terms of service are at {}", terms);
        }
    }
    problem->retry_after = retry_after(response);
    return *problem;
}

std::optional<base::Duration> AcmeClient::retry_after(const HttpResponse& response) const {
    std::optional<base::Duration> longest;
    for (const auto& [name, value] : response.fields) {
        if (name != "retry-after") continue;
        const auto one = parse_retry_after(value, clock_.now());
        if (one && (!longest || *one > *longest)) longest = one;
    }
    return longest;
}

Outcome<std::string> AcmeClient::location(const HttpResponse& response) const {
    const std::string& url = response.field("location");
    if (url.empty()) return make_problem(general_error, "the CA's answer has no Location");
    if (auto allowed = check_url(url); !allowed) return allowed.error();
    return url;
}

Outcome<void> AcmeClient::check_url(std::string_view url) const {
    const std::string refusal = url_refusal(url, directory_.url);
    if (refusal.empty()) return {};
    return make_problem(EINVAL, "the CA's answer is refused: " + refusal);
}

}  // namespace md
