#include "md/acme_client.h"

#include <deque>

#include "acme_fixture.h"
#include "base/text.h"
#include "catch.h"
#include "md/acme_json.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::seconds;

namespace {

const std::string directory_body =
    "{\"newNonce\":\"https://ca/nonce\",\"newAccount\":\"https://ca/account\",\"newOrder\""
    ":\"https://ca/order\"}";

/// Answers in the order given, remembers what was asked.
class Script final : public Transport {
  public:
    std::deque<HttpResponse> answers;
    std::vector<HttpRequest> asked;
    Outcome<HttpResponse> exchange(const HttpRequest& request) override {
        asked.push_back(request);
        REQUIRE_FALSE(answers.empty());
        HttpResponse response = answers.front();
        answers.pop_front();
        return response;
    }
    void nonce(std::string value) {
        answers.push_back({.status = 200, .fields = {{"replay-nonce", value}}, .body = {}});
    }
};

struct Fixture {
    Fixture() : clock(noon), client(script, clock, domain) {
        script.answers.push_back({.status = 200, .fields = {}, .body = directory_body});
        REQUIRE(client.open("https://ca/dir"));
        client.use_account(take(AccountKey::generate()), "https://ca/acct/1");
        script.asked.clear();
    }
    std::string nonce_of(size_t index) {
        const Json body = Json::parse(script.asked.at(index).body);
        const auto head = base::from_base64url(body["protected"].get<std::string>());
        return Json::parse(head->begin(), head->end())["nonce"];
    }
    Domain domain = acme_domain({"example.org"});
    FakeClock clock;
    Script script;
    AcmeClient client;
};

HttpResponse bad_nonce(std::string next) {
    HttpResponse response = MiniCa::problem(400, "badNonce", "stale");
    if (!next.empty()) response.fields.emplace_back("replay-nonce", std::move(next));
    return response;
}

}  // namespace

TEST_CASE("Each signed request takes the nonce of the answer before; HEAD only if there is none") {
    Fixture f;
    f.script.nonce("n1");
    f.script.nonce("n2");
    f.script.nonce("n3");
    REQUIRE(f.client.post_as_get("https://ca/a"));
    REQUIRE(f.client.post_as_get("https://ca/b"));
    REQUIRE(f.script.asked.size() == 3);
    CHECK(f.script.asked[0].method == "HEAD");
    CHECK(f.script.asked[0].url == "https://ca/nonce");
    CHECK(f.nonce_of(1) == "n1");
    CHECK(f.nonce_of(2) == "n2");
    CHECK(f.script.asked[1].fields == std::vector<std::pair<std::string, std::string>>{
                                          {"Content-Type", "application/jose+json"}});
}

TEST_CASE("badNonce is answered with the fresh nonce, five times at most (CA-01)") {
    Fixture f;
    f.script.nonce("n0");
    const int bad = GENERATE(1, 5, 6, 20);
    for (int i = 0; i < bad; ++i) f.script.answers.push_back(bad_nonce(fmt::format("n{}", i + 1)));
    f.script.nonce("last");
    const auto response = f.client.post_as_get("https://ca/a");
    CHECK(response.ok() == (bad <= 5));
    CHECK(f.script.asked.size() == static_cast<size_t>(2 + std::min(bad, 5)));
    CHECK(f.nonce_of(2) == "n1");
    if (!response) CHECK(is_acme_error(response.error(), "badNonce"));
}

TEST_CASE("Nonces that are none are ignored (CA-02)") {
    const std::string odd = GENERATE(std::string("a b"), std::string("a+b"), std::string(8192, 'a'),
                                     std::string("\xff"));
    Fixture f;
    f.script.nonce("n1");
    f.script.nonce(odd);
    f.script.nonce("n2");
    f.script.nonce("");
    REQUIRE(f.client.post_as_get("https://ca/a"));
    REQUIRE(f.client.post_as_get("https://ca/b"));
    CHECK(f.script.asked[2].method == "HEAD");
    CHECK(f.nonce_of(3) == "n2");
    f.script.nonce("");
    const auto failed = f.client.post_as_get("https://ca/c");
    REQUIRE_FALSE(failed);
    CHECK(failed.error().detail.find("nonce") != std::string::npos);
}

TEST_CASE("Retry-After: seconds or a date, clamped to a second and a day (CA-04)") {
    struct Case {
        const char* text;
        std::optional<base::Duration> expected;
    };
    const std::vector<Case> cases = {
        {"120", seconds{120}},
        {" 7 ", seconds{7}},
        {"0", seconds{1}},
        {"99999999999999999999999999", hours{24}},
        {"-5", std::nullopt},
        {"soon", std::nullopt},
        {"", std::nullopt},
        {"1.5", std::nullopt},
        {"Sun, 22 Nov 2026 12:02:00 GMT", seconds{120}},
        {"Sun, 22 Nov 2020 12:02:00 GMT", seconds{1}},
        {"Sun, 22 Nov 2036 12:02:00 GMT", hours{24}},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        CHECK(parse_retry_after(one.text, noon) == one.expected);
    }
    Fixture f;
    HttpResponse two;
    two.fields = {{"retry-after", "60"}, {"retry-after", "x"}, {"retry-after", "90"}};
    CHECK(f.client.retry_after(two) == seconds{90});
}

TEST_CASE("Problem documents become Problems with mod_md's numbers (mod_md.md 5.3)") {
    struct Case {
        int http;
        const char* body;
        int status;
        const char* type;
        const char* detail;
    };
    const std::vector<Case> cases = {
        {400, R"({"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no"})", 70013,
         "urn:ietf:params:acme:error:rejectedIdentifier", "no"},
        {403, R"({"type":"urn:ietf:params:acme:error:unauthorized","detail":"no"})", 13,
         "urn:ietf:params:acme:error:unauthorized", "no"},
        {400, R"({"type":"urn:acme:error:malformed","detail":"no"})", 22,
         "urn:acme:error:malformed", "no"},
        {500, R"({"type":"about:blank","detail":"x"})", 20014, "about:blank", "x"},
        {404, R"({"type":"urn:x"})", 2, "urn:x", "POST https://ca/a is answered with 404"},
        {404, "<html>", 2, "", "POST https://ca/a is answered with 404: <html>"},
        {503, "", 20014, "", "POST https://ca/a is answered with 503"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.body);
        Fixture f;
        f.script.nonce("n1");
        f.script.answers.push_back({.status = one.http, .fields = {}, .body = one.body});
        const auto failed = f.client.post_as_get("https://ca/a");
        REQUIRE_FALSE(failed);
        CHECK(failed.error().status == one.status);
        CHECK(failed.error().type == one.type);
        CHECK(failed.error().detail == one.detail);
    }
}

TEST_CASE("Long problems are cut (CA-15)") {
    Json json{{"type", "urn:x"}, {"detail", std::string(1'000'00, 'a') + "\xc3\xa4"}};
    for (int i = 0; i < 1000; ++i) {
        json["subproblems"].push_back(
            Json{{"type", "t"}, {"detail", "d"}, {"identifier", {{"value", "v"}}}});
    }
    const auto problem = parse_problem(json.dump());
    REQUIRE(problem);
    CHECK(problem->detail.size() <= 2051);
    CHECK(problem->subproblems.size() == 100);
    CHECK(cut_text("aaa\xc3\xa4", 4) == "aaa...");
    CHECK(cut_text("aaa", 4) == "aaa");
    CHECK_FALSE(parse_problem("[]"));
    CHECK_FALSE(parse_problem("{}"));
    CHECK_FALSE(parse_problem(std::string(100'000, '[')));
}

TEST_CASE("userActionRequired tells where the terms are (CA-20)") {
    Fixture f;
    f.script.nonce("n1");
    HttpResponse response = MiniCa::problem(403, "userActionRequired", "new terms");
    response.fields.emplace_back("link", "<https://ca/tos>;rel=\"terms-of-service\"");
    f.script.answers.push_back(response);
    const auto failed = f.client.post_as_get("https://ca/a");
    REQUIRE_FALSE(failed);
    CHECK(failed.error().detail == "new terms; the terms of service are at https://ca/tos");
    CHECK(failed.error().is_input_related());
}

TEST_CASE("Compressed answers are refused (CA-16), redirects not followed (CA-41)") {
    Fixture f;
    f.script.answers.push_back({.status = 200,
                                .fields = {{"content-encoding", "gzip"}, {"replay-nonce", "n"}},
                                .body = "x"});
    CHECK_FALSE(f.client.post_as_get("https://ca/a"));
    f.script.answers.push_back(
        {.status = 301, .fields = {{"location", "https://evil/"}}, .body = {}});
    const auto moved = f.client.post_as_get("https://ca/a");
    REQUIRE_FALSE(moved);
    CHECK(moved.error().detail.find("https://evil/, which is not followed") != std::string::npos);
}

TEST_CASE("Links are found by relation (RFC 8288)") {
    HttpResponse response;
    response.fields = {{"link", "<https://ca/a>;rel=\"up\", <https://ca/b>; rel=alternate"},
                       {"link", "<https://ca/c>; title=\"x\"; rel=\"up\""},
                       {"link", "rubbish"},
                       {"link", "<https://ca/d"}};
    CHECK(links(response, "up") == std::vector<std::string>{"https://ca/a", "https://ca/c"});
    CHECK(links(response, "alternate") == std::vector<std::string>{"https://ca/b"});
    CHECK(links(response, "next").empty());
}

TEST_CASE("Requests carry the domain's proxy and trust") {
    Domain domain = acme_domain({"example.org"});
    domain.ca_certificate_file = "/ca.pem";
    domain.http_proxy = "http://proxy:1";
    domain.http_proxy_ca_file = "/proxy.pem";
    FakeClock clock(noon);
    Script script;
    AcmeClient client(script, clock, domain);
    script.answers.push_back({.status = 200, .fields = {}, .body = directory_body});
    REQUIRE(client.open("https://ca/dir"));
    CHECK(script.asked[0].ca_file == "/ca.pem");
    CHECK(script.asked[0].proxy == "http://proxy:1");
    CHECK(script.asked[0].proxy_ca_file == "/proxy.pem");
    CHECK_FALSE(client.open("http://ca/dir"));  // CA-11: nothing is sent
    CHECK(script.asked.size() == 1);
}
