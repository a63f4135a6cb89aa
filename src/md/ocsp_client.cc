#include "md/ocsp_client.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "md/acme_client.h"

namespace md {

namespace {

constexpr size_t url_bytes_max = 1024;
constexpr size_t get_bytes_max = 255;  // RFC 5019 5: longer ones are not cached
constexpr size_t nonce_bytes = 16;     // mod_md.md 6.3
constexpr size_t shown_url_max = 200;
constexpr std::string_view ocsp_request_type = "application/ocsp-request";
constexpr std::string_view ocsp_response_type = "application/ocsp-response";

Outcome<void> check_url(const std::string& url) {
    const auto refused = [&](std::string_view why) {
        return make_problem(EINVAL, fmt::format("the URL {} in the certificate is not called: {}",
                                                base::escape_for_log(url, shown_url_max), why));
    };
    if (!is_http_url(url)) return refused("it is neither http nor https");
    if (url.size() > url_bytes_max) {
        return refused(fmt::format("it is longer than {} bytes", url_bytes_max));
    }
    const bool is_plain =
        std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < '\x7f'; });
    if (!is_plain) return refused("it holds characters that URLs do not have");
    return {};
}

/// Standard base64, percent-encoded where a path has another meaning for it.
std::string path_text(const tls::Der& der) {
    std::string base64((der.size() + 2) / 3 * 4 + 1, '\0');
    const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(base64.data()), der.data(),
                                     static_cast<int>(der.size()));
    std::string text;
    for (const char c : std::string_view(base64).substr(0, static_cast<size_t>(size))) {
        switch (c) {
            case '+':
                text += "%2B";
                break;
            case '/':
                text += "%2F";
                break;
            case '=':
                text += "%3D";
                break;
            default:
                text += c;
        }
    }
    return text;
}

HttpRequest request_to(const Domain& domain, std::string url, size_t response_max) {
    HttpRequest request;
    request.url = std::move(url);
    request.proxy = domain.http_proxy;
    request.proxy_ca_file = domain.http_proxy_ca_file;
    request.response_max = response_max;
    request.refuse_link_local = true;  // the URL is the CA's choice, not the operator's
    return request;
}

std::string media_type_of(const HttpResponse& response) {
    const std::string& type = response.field("content-type");
    return base::to_lower(base::trim(type.substr(0, type.find(';'))));
}

/// What is no 200, with what the server asks for.
Problem status_problem(const HttpResponse& response, const std::string& url, base::Clock& clock) {
    Problem problem =
        make_problem(status_of_http(response.status),
                     fmt::format("{} answers with status {}{}",
                                 base::escape_for_log(url, shown_url_max), response.status,
                                 response.status >= 300 && response.status < 400
                                     ? " (redirects are not followed)"
                                     : ""));
    problem.retry_after = parse_retry_after(response.field("retry-after"), clock.now());
    return problem;
}

/// One question by `request`. `answered`: something came back, so that asking in another way may
/// help.
Outcome<OcspAnswer> ask(Transport& transport, const HttpRequest& request, const std::string& url,
                        const OcspQuestion& question, std::span<const uint8_t> nonce,
                        base::Clock& clock, bool& answered) {
    auto response = transport.exchange(request);
    answered = response.ok();
    if (!response) return response.error();
    if (response->status != 200) return status_problem(*response, url, clock);
    if (const std::string type = media_type_of(*response); type != ocsp_response_type) {
        return make_problem(EPROTO,
                            fmt::format("{} answers with content of type \"{}\" instead of {}",
                                        base::escape_for_log(url, shown_url_max),
                                        base::escape_for_log(type, 100), ocsp_response_type));
    }
    const auto* bytes = reinterpret_cast<const uint8_t*>(response->body.data());
    auto answer = question.read({bytes, response->body.size()}, nonce, clock.now());
    if (answer) return answer;
    Problem problem = std::move(answer).error();
    problem.detail =
        fmt::format("{}: {}", base::escape_for_log(url, shown_url_max), problem.detail);
    problem.retry_after = parse_retry_after(response->field("retry-after"), clock.now());
    return problem;
}

}  // namespace

bool is_http_url(std::string_view url) {
    const std::string lower = base::to_lower(url.substr(0, 8));
    return lower.starts_with("http://") || lower.starts_with("https://");
}

Outcome<OcspAnswer> ask_ocsp(Transport& transport, const Domain& domain, const std::string& url,
                             const OcspQuestion& question, base::Clock& clock,
                             base::Random& random) {
    if (auto good = check_url(url); !good) return good.error();
    auto plain = question.request({});
    if (!plain) return plain.error();
    const std::string get_url =
        fmt::format("{}{}{}", url, url.ends_with('/') ? "" : "/", path_text(*plain));
    if (get_url.size() <= get_bytes_max) {
        bool answered = false;
        const HttpRequest request = request_to(domain, get_url, ocsp_bytes_max);
        auto answer = ask(transport, request, url, question, {}, clock, answered);
        if (answer || !answered) return answer;
        // Who asks for a pause means all questions.
        if (answer.error().retry_after) return answer;
    }
    std::array<uint8_t, nonce_bytes> nonce{};
    random.fill(nonce);
    auto with_nonce = question.request(nonce);
    if (!with_nonce) return with_nonce.error();
    HttpRequest request = request_to(domain, url, ocsp_bytes_max);
    request.method = "POST";
    request.fields.emplace_back("Content-Type", ocsp_request_type);
    request.body.assign(with_nonce->begin(), with_nonce->end());
    bool answered = false;
    return ask(transport, request, url, question, nonce, clock, answered);
}

Outcome<CrlDownload> download_crl(Transport& transport, const Domain& domain,
                                  const std::string& url, const Validators& known,
                                  base::Clock& clock) {
    if (auto good = check_url(url); !good) return good.error();
    HttpRequest request = request_to(domain, url, crl_bytes_max);
    if (!known.etag.empty()) request.fields.emplace_back("If-None-Match", known.etag);
    if (!known.last_modified.empty()) {
        request.fields.emplace_back("If-Modified-Since", known.last_modified);
    }
    auto response = transport.exchange(request);
    if (!response) return response.error();
    CrlDownload download;
    if (response->status == 304 && !request.fields.empty()) {
        download.is_unchanged = true;
        download.validators = known;
        return download;
    }
    // No look at the content type: CAs give several, and the signature tells what it is.
    if (response->status != 200) return status_problem(*response, url, clock);
    download.der.assign(response->body.begin(), response->body.end());
    download.validators = {response->field("etag"), response->field("last-modified")};
    return download;
}

}  // namespace md
