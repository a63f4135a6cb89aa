// The admin pages: what is answered to whom, and that nothing from outside gets into the HTML.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "app/admin/admin_handler.h"
#include "app/admin/page.h"

using namespace std::chrono_literals;
using Catch::Contains;

namespace {

constexpr base::Time now{std::chrono::hours{24 * 20'000}};

md::DomainSummary domain() {
    md::DomainSummary d;
    d.name = "a.example.org";
    d.names = {"a.example.org", "www.a.example.org"};
    d.state = "good";
    d.not_after = now + 59 * 24h + 3h;
    d.issuer = "CN=Test CA";
    d.next_renewal = now + 29 * 24h;
    return d;
}

class FakeSource final : public app::StatusSource {
  public:
    app::Status status() override {
        app::Status status;
        status.version = "1.2.3";
        status.now = now;
        status.started = now - 3h;
        status.workers = 2;
        status.sites = 1;
        status.counters.requests = 1'234'567;
        status.domains = {domain()};
        return status;
    }
    std::string md_status(const std::string& name) override {
        return "{\"asked\":\"" + name + "\"}";
    }
    std::string server_status(bool as_lines) override {
        return as_lines ? "ManagedCertificatesTotal: 1\n" : "<table>domains</table>";
    }
};

proxy::LocalResponse ask(std::string_view path, std::string_view host = "localhost",
                         std::string_view method = "GET") {
    FakeSource source;
    app::AdminHandler handler(source, {"status.example.org"});
    return handler.handle({method, path, "", host});
}

proxy::LocalResponse ask_server_status(std::string_view query) {
    FakeSource source;
    app::AdminHandler handler(source, {});
    return handler.handle({"GET", "/server-status", query, "localhost"});
}

std::string field(const proxy::LocalResponse& response, std::string_view name) {
    for (const auto& [key, value] : response.fields) {
        if (key == name) return value;
    }
    return "";
}

}  // namespace

TEST_CASE("the page shows domains, expiry in words, and counters") {
    const auto response = ask("/");
    CHECK(response.status == 200);
    CHECK(response.content_type == "text/html; charset=utf-8");
    CHECK(field(response, "Content-Security-Policy") ==
          "default-src 'none'; style-src 'unsafe-inline'");
    CHECK_THAT(response.body, Contains("in 59 days") && Contains("www.a.example.org") &&
                                  Contains("CN=Test CA") && Contains("1,234,567") &&
                                  Contains("version 1.2.3") && Contains("started 3 hours ago"));
    CHECK_THAT(response.body,
               !Contains("<script") && !Contains("http://") && !Contains("https://"));
}

TEST_CASE("everything in the page is escaped: errors come from CAs") {
    app::Status status;
    md::DomainSummary hostile;
    const std::string attack = "<script>alert('x')</script>\"&";
    hostile.name = attack;
    hostile.names = {attack};
    hostile.state = "error: " + attack;
    hostile.issuer = attack;
    hostile.activity = attack;
    hostile.last_error = attack;
    hostile.errors = 3;
    status.version = attack;
    status.domains = {hostile};
    const std::string page = app::render_page(status);
    CHECK_THAT(page, !Contains("<script") && !Contains("'x'") && !Contains(attack));
    CHECK_THAT(page, Contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
}

TEST_CASE("status.json carries the same, whatever bytes a CA sent") {
    const auto response = ask("/status.json");
    CHECK(response.content_type == "application/json");
    const auto json = nlohmann::json::parse(response.body);
    CHECK(json["counters"]["requests"] == 1'234'567);
    CHECK(json["domains"][0]["name"] == "a.example.org");
    CHECK(json["domains"][0]["next_run"].is_null());
    app::Status status;
    status.domains = {domain()};
    status.domains[0].last_error = "\xff\xfe";
    CHECK_NOTHROW(nlohmann::json::parse(app::render_json(status)));
}

TEST_CASE("paths lead where they should") {
    CHECK(ask("/healthz").body == "ok\n");
    CHECK(ask("/md-status").body == "{\"asked\":\"\"}");
    CHECK(ask("/md-status/").body == "{\"asked\":\"\"}");
    CHECK(ask("/md-status/a.example.org").body == "{\"asked\":\"a.example.org\"}");
    CHECK(ask("/md-status/%2A.example.org").body == "{\"asked\":\"*.example.org\"}");
    CHECK(ask("/md-status").content_type == "application/json");
    CHECK(ask("/other").status == 404);
    CHECK(ask("/md-statusx").status == 404);
}

TEST_CASE("only GET and HEAD are answered") {
    for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
        const auto response = ask("/", "localhost", method);
        CHECK(response.status == 405);
        CHECK(field(response, "Allow") == "GET, HEAD");
    }
    CHECK(ask("/", "localhost", "HEAD").status == 200);
}

TEST_CASE("names that were pointed at this address get nothing (DNS rebinding)") {
    for (const char* host :
         {"localhost", "127.0.0.1", "::1", "192.0.2.7", "", "status.example.org"}) {
        INFO(host);
        CHECK(ask("/", host).status == 200);
    }
    for (const char* host : {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example",
                             "[::1]", "x.status.example.org"}) {
        INFO(host);
        CHECK(ask("/", host).status == 421);
    }
}

TEST_CASE("times are told relative to now") {
    const std::pair<base::Duration, const char*> cases[] = {
        {59 * 24h, "in 59 days"}, {47h, "in 47 hours"}, {90min, "in 90 minutes"},
        {5s, "in 5 seconds"},     {0s, "now"},          {-3h, "3 hours ago"},
        {-72h, "3 days ago"},
    };
    for (const auto& [away, text] : cases) CHECK(app::relative_time(now + away, now) == text);
}

TEST_CASE("server-status is a page, and lines with ?auto") {
    const proxy::LocalResponse page = ask_server_status("");
    CHECK(page.status == 200);
    CHECK(page.content_type == "text/html; charset=utf-8");
    CHECK(page.body.find("<table>domains</table>") != std::string::npos);
    const proxy::LocalResponse lines = ask_server_status("auto");
    CHECK(lines.status == 200);
    CHECK(
        lines.body.starts_with("ServerVersion: mdfront/1.2.3\nServerUptimeSeconds: 10800\n"
                               "Total Accesses: 1234567\n"));
    CHECK(lines.body.ends_with("ManagedCertificatesTotal: 1\n"));
}
