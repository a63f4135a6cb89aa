// The admin pages: what is answered to whom, and that nothing from outside gets into the HTML.
#include <cerrno>
#include <functional>
#include <nlohmann/json.hpp>

#include "app/admin/admin_handler.h"
#include "app/admin/page.h"
#include "app/admin/summary_json.h"
#include "app/times.h"
#include "catch.h"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

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
    d.certificates = {{.label = "P-256",
                       .key_type = "EC P-256",
                       .issuer = "CN=Test CA",
                       .serial = "04A1",
                       .sha256 = "d4c1",
                       .names = d.names,
                       .not_before = now - 31 * 24h,
                       .not_after = *d.not_after,
                       .revoked_at = {},
                       .revocation_reason = {}}};
    d.requests_done = 4;
    return d;
}

/// What the CA says of a certificate, every member set.
md::StapleReport staple(int errors = 0) {
    md::StapleReport report{.status = "good",
                            .from = now - 24h,
                            .until = now + 6 * 24h,
                            .url = "http://ocsp.example.net/a",
                            .is_crl = false,
                            .is_stapled = true,
                            .has_staple = true,
                            .refresh_at = now + 4 * 24h,
                            .revoked_at = {},
                            .reason = {},
                            .last_success = now - 2h,
                            .renewal = md::Job()};
    if (errors > 0) {
        report.renewal->errors = errors;
        report.renewal->last = md::make_problem(EIO, "the <responder> is down");
    }
    return report;
}

/// Of a site that belongs to no domain.
md::CertificateSummary file_certificate() {
    md::CertificateSummary one = domain().certificates[0];
    one.label = "";
    one.names = {"files.example.org", "www.files.example.org"};
    one.not_after = now + 20 * 24h;
    one.staple = staple();
    return one;
}

class FakeSource final : public app::StatusSource, public app::Actions {
  public:
    base::Time now() override { return ::now; }
    std::vector<md::DomainSummary> domains() override { return {::domain()}; }
    std::vector<md::CertificateSummary> file_certificates() override {
        return {::file_certificate()};
    }
    std::optional<md::DomainSummary> domain(const std::string& name) override {
        const auto one = ::domain();
        const bool is_it = std::find(one.names.begin(), one.names.end(), name) != one.names.end();
        return is_it ? std::optional(one) : std::nullopt;
    }
    std::vector<md::AccountSummary> accounts() override {
        return {{"ACME-ca-0000", "https://ca/dir", "https://ca/1", "valid", {}, "EC P-256", {}}};
    }
    md::Outcome<void> renew(const std::string& name) override {
        if (name != "a.example.org") return md::make_problem(ENOENT, "there is no " + name);
        done += "renew " + name + ";";
        return {};
    }
    md::Outcome<void> revoke(const std::string& name, md::RevocationReason reason) override {
        done += fmt::format("revoke {} {};", name, md::revocation_reason_name(reason));
        return {};
    }
    md::Outcome<std::string> roll_account_key(const std::string& id) override {
        if (id != "ACME-ca-0000") return md::make_problem(EINVAL, "in use");
        done += "rollover " + id + ";";
        return std::string("a.example.org");
    }
    std::string done;
    app::Status status() override {
        app::Status status;
        status.version = "1.2.3";
        status.now = ::now;
        status.started = ::now - 3h;
        status.workers = 2;
        status.sites = 1;
        status.counters.requests = 1'234'567;
        status.certificate_check = {.name = "", .url = ""};
        status.domains = {::domain()};
        status.file_certificates = {::file_certificate()};
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
    app::AdminHandler handler(source, source, {.hosts = {"status.example.org"}});
    return handler.handle({.method = method, .path = path, .host = host});
}

proxy::LocalResponse ask_server_status(std::string_view query) {
    FakeSource source;
    app::AdminHandler handler(source, source, {});
    return handler.handle(
        {.method = "GET", .path = "/server-status", .query = query, .host = "localhost"});
}

/// An action over TCP that is in order but for what a test changes.
proxy::LocalRequest action(std::string_view path, std::string_view body) {
    return {.method = "POST",
            .path = path,
            .host = "127.0.0.1",
            .host_sent = "127.0.0.1:9180",
            .content_type = "application/json; charset=utf-8",
            .body = body};
}

proxy::LocalResponse act(const proxy::LocalRequest& request, std::string& done,
                         bool over_tcp = true) {
    FakeSource source;
    app::AdminHandler handler(source, source, {.hosts = {}, .actions_over_tcp = over_tcp});
    auto response = handler.handle(request);
    done = source.done;
    return response;
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
    CHECK_THAT(response.body,
               ContainsSubstring("in 59 days") && ContainsSubstring("www.a.example.org") &&
                   ContainsSubstring("CN=Test CA") && ContainsSubstring("1,234,567") &&
                   ContainsSubstring("version 1.2.3") && ContainsSubstring("started 3 hours ago"));
    CHECK_THAT(response.body, !ContainsSubstring("<script") && !ContainsSubstring("http://") &&
                                  !ContainsSubstring("https://"));
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
    CHECK_THAT(page, !ContainsSubstring("<script") && !ContainsSubstring("'x'") &&
                         !ContainsSubstring(attack));
    CHECK_THAT(page,
               ContainsSubstring("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
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

TEST_CASE("domains and accounts are told as JSON, and read back as they were") {
    const auto listed = ask("/domains.json");
    CHECK(listed.content_type == "application/json");
    const auto read = app::domains_from_json(listed.body);
    REQUIRE(read);
    CHECK(read->now == now);
    REQUIRE(read->domains.size() == 1);
    // Every member has its way there and back: the same text again.
    REQUIRE(read->file_certificates.size() == 1);
    CHECK(app::domains_to_json(read->domains, read->file_certificates, read->now) == listed.body);
    md::DomainSummary full = domain();
    full.ca_url = "https://ca/dir";
    full.account = "ACME-ca-0000";
    full.renew_mode = "auto";
    full.renew_window = "33%";
    full.advised_renewal = now + 24h;
    full.renewal_explanation = "https://ca/why";
    full.activity = "Waiting";
    full.errors = 3;
    full.last_error = "it broke";
    full.last_problem = "urn:ietf:params:acme:error:dns";
    full.last_run = now - 5min;
    full.next_run = now + 5min;
    full.ready_at = now + 3h;
    full.certificates[0].revoked_at = now - 1min;
    full.certificates[0].revocation_reason = "keyCompromise";
    full.request_error = "no";
    full.is_request_pending = true;
    const std::string text = app::domain_to_json(full, now);
    const auto again = app::domains_from_json(text);
    REQUIRE(again);
    CHECK(app::domain_to_json(again->domains.at(0), again->now) == text);
    CHECK(again->domains[0].is_revoked);

    CHECK(ask("/domains/a.example.org.json").status == 200);
    CHECK(ask("/domains/WWW.a.example.org.json").status == 200);
    const auto absent = ask("/domains/absent.json");
    CHECK(absent.status == 404);
    CHECK(nlohmann::json::parse(absent.body)["error"] == "there is no managed domain absent");
    const auto accounts = app::accounts_from_json(ask("/accounts.json").body);
    REQUIRE(accounts);
    CHECK(accounts->at(0).id == "ACME-ca-0000");
    for (const char* other : {"", "[]", "{}", "{\"now\": 5, \"domains\": []}", "\xff"}) {
        CHECK_FALSE(app::domains_from_json(other));
        CHECK_FALSE(app::accounts_from_json(other));
    }
}

TEST_CASE("what a CA says of certificates is told as JSON, and read back as it was") {
    struct Row {
        const char* what;
        std::function<void(md::StapleReport&)> change;
        const char* member;
        nlohmann::json value;
    };
    using R = md::StapleReport;
    const Row rows[] = {
        {"good", [](R&) {}, "status", "good"},
        {"good", [](R&) {}, "from", base::format_rfc3339(now - 24h)},
        {"good", [](R&) {}, "until", base::format_rfc3339(now + 6 * 24h)},
        {"good", [](R&) {}, "url", "http://ocsp.example.net/a"},
        {"good", [](R&) {}, "source", "ocsp"},
        {"good", [](R&) {}, "stapled", true},
        {"good", [](R&) {}, "next_refresh", base::format_rfc3339(now + 4 * 24h)},
        {"good", [](R&) {}, "last_answer", base::format_rfc3339(now - 2h)},
        {"good", [](R&) {}, "errors", 0},
        {"good", [](R&) {}, "last_error", nullptr},
        {"revoked", [](R& r) { r.status = "revoked"; }, "status", "revoked"},
        {"a CRL", [](R& r) { r.is_crl = true; }, "source", "crl"},
        {"good", [](R&) {}, "stapling", true},
        {"watched only", [](R& r) { r.is_stapled = false; }, "stapling", false},
        {"no staple yet", [](R& r) { r.has_staple = false; }, "stapled", false},
        {"no answer", [](R& r) { r.from.reset(), r.until.reset(); }, "until", nullptr},
        {"never asked", [](R& r) { r.last_success.reset(); }, "last_answer", nullptr},
        {"no plan", [](R& r) { r.refresh_at.reset(); }, "next_refresh", nullptr},
        {"no job", [](R& r) { r.renewal.reset(); }, "errors", 0},
        {"failed", [](R& r) { r = staple(3); }, "errors", 3},
        {"failed", [](R& r) { r = staple(3); }, "last_error", "the <responder> is down"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what, row.member);
        md::DomainSummary one = domain();
        one.certificates[0].staple = staple();
        row.change(*one.certificates[0].staple);
        const std::string text = app::domain_to_json(one, now);
        CHECK(nlohmann::json::parse(text)["domain"]["certificates"][0]["ocsp"][row.member] ==
              row.value);
        const auto read = app::domains_from_json(text);
        REQUIRE(read);
        REQUIRE(read->domains.at(0).certificates.at(0).staple);
        CHECK(app::domain_to_json(read->domains[0], read->now) == text);
    }
    // Nobody asks: null, and no report when it is read.
    const std::string none = app::domain_to_json(domain(), now);
    CHECK(nlohmann::json::parse(none)["domain"]["certificates"][0]["ocsp"].is_null());
    CHECK_FALSE(app::domains_from_json(none)->domains.at(0).certificates.at(0).staple);
}

TEST_CASE("certificates from files of no domain have a list of their own") {
    for (const char* path : {"/domains.json", "/status.json"}) {
        CAPTURE(path);
        const auto json = nlohmann::json::parse(ask(path).body);
        REQUIRE(json["domains"].size() == 1);
        REQUIRE(json["file_certificates"].size() == 1);
        const auto& one = json["file_certificates"][0];
        CHECK(one["names"] == nlohmann::json{"files.example.org", "www.files.example.org"});
        CHECK(one["not_after"] == base::format_rfc3339(now + 20 * 24h));
        CHECK(one["ocsp"]["stapled"] == true);
        CHECK_FALSE(one.contains("label"));
    }
    app::Status status;
    CHECK(nlohmann::json::parse(app::render_json(status))["file_certificates"].empty());
    CHECK(nlohmann::json::parse(app::domains_to_json({}, {}, now))["file_certificates"].is_array());
}

TEST_CASE("the page lists certificates from files below the domains, if there are any") {
    app::Status status;
    status.now = now;
    status.domains = {domain()};
    CHECK_THAT(app::render_page(status), !ContainsSubstring("Certificates from files"));
    status.file_certificates = {file_certificate()};
    const std::string page = app::render_page(status);
    const size_t heading = page.find("<h2>Certificates from files</h2>");
    REQUIRE(heading != std::string::npos);
    CHECK(heading > page.find("<h2>Managed domains</h2>"));
    CHECK(heading < page.find("<h2>Server</h2>"));
    const std::string section = page.substr(heading, page.find("<h2>Server</h2>") - heading);
    CHECK_THAT(section,
               ContainsSubstring(">files.example.org<small>www.files.example.org</small></th>") &&
                   ContainsSubstring("in 20 days") && ContainsSubstring("good, ends in 6 days") &&
                   ContainsSubstring("in 4 days") &&
                   ContainsSubstring("<span class=\"state good\">good</span>") &&
                   !ContainsSubstring("class=\"error\""));
    CHECK_THAT(page, ContainsSubstring("<title>mdfront</title>"));

    struct Row {
        std::function<void(md::CertificateSummary&)> change;
        const char* shown;
        bool needs_a_look;
    };
    using C = md::CertificateSummary;
    const Row rows[] = {
        {[](C& c) { c.revoked_at = now; }, "<span class=\"state bad\">revoked</span>", true},
        {[](C& c) { c.not_after = now; }, "<span class=\"state bad\">expired</span>", true},
        {[](C& c) { c.not_before = now + 1h; }, "<span class=\"state bad\">not valid yet</span>",
         true},
        {[](C& c) { c.staple = staple(2); }, "<span class=\"state warn\">good</span>", true},
        {[](C& c) { c.staple = staple(2); },
         "<div class=\"error\">the &lt;responder&gt; is down</div>", true},
        {[](C& c) { c.staple->is_crl = true; }, ">by CRL: good, ends", false},
        {[](C& c) { c.staple->status = "unknown", c.staple->until.reset(); }, ">unknown</span>",
         false},
        {[](C& c) { c.names = {"<b>"}; }, "&lt;b&gt;", false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.shown);
        status.file_certificates = {file_certificate()};
        row.change(status.file_certificates[0]);
        const std::string changed = app::render_page(status);
        CHECK_THAT(changed, ContainsSubstring(row.shown) && !ContainsSubstring("<b>"));
        CHECK((changed.find("1 to look at") != std::string::npos) == row.needs_a_look);
    }
}

TEST_CASE("actions are queued, and answered with where to look") {
    std::string done;
    const auto renewed = act(action("/actions/renew", R"({"name": "a.example.org"})"), done);
    CHECK(renewed.status == 202);
    CHECK(done == "renew a.example.org;");
    const auto json = nlohmann::json::parse(renewed.body);
    CHECK(json["name"] == "a.example.org");
    CHECK(json["done"] == 4);
    const std::string revocation = R"({"name": "a.example.org", "reason": "KEYcompromise"})";
    CHECK(act(action("/actions/revoke", revocation), done).status == 202);
    CHECK(done == "revoke a.example.org keyCompromise;");
    CHECK(act(action("/actions/revoke", R"({"name": "a.example.org"})"), done).status == 202);
    CHECK(done == "revoke a.example.org unspecified;");
    const std::string rollover = R"({"account": "ACME-ca-0000"})";
    const auto rolled = act(action("/actions/account-rollover", rollover), done);
    CHECK(rolled.status == 202);
    CHECK(done == "rollover ACME-ca-0000;");
    CHECK(nlohmann::json::parse(rolled.body)["done"] == 4);
}

TEST_CASE("actions are refused to whoever may not, or asks wrongly") {
    struct Case {
        const char* why;
        std::function<void(proxy::LocalRequest&)> change;
        int status;
    };
    using R = proxy::LocalRequest;
    const Case cases[] = {
        {"GET", [](R& r) { r.method = "GET"; }, 405},
        {"HEAD", [](R& r) { r.method = "HEAD"; }, 405},
        {"another host", [](R& r) { r.host = r.host_sent = "evil.example"; }, 421},
        {"a foreign origin", [](R& r) { r.origin = "http://evil.example"; }, 403},
        {"another port", [](R& r) { r.origin = "http://127.0.0.1:9181"; }, 403},
        {"a prefix of ours", [](R& r) { r.origin = "http://127.0.0.1:918"; }, 403},
        {"more than ours", [](R& r) { r.origin = "http://127.0.0.1:9180.evil.example"; }, 403},
        {"an opaque origin", [](R& r) { r.origin = "null"; }, 403},
        {"a cross-site request", [](R& r) { r.fetch_site = "cross-site"; }, 403},
        {"a same-site request", [](R& r) { r.fetch_site = "same-site"; }, 403},
        {"no type", [](R& r) { r.content_type = ""; }, 415},
        {"a form", [](R& r) { r.content_type = "application/x-www-form-urlencoded"; }, 415},
        {"a form's text", [](R& r) { r.content_type = "text/plain;application/json"; }, 415},
        {"no body", [](R& r) { r.body = ""; }, 400},
        {"no object", [](R& r) { r.body = "\"a.example.org\""; }, 400},
        {"no name", [](R& r) { r.body = "{}"; }, 400},
        {"a name that is none", [](R& r) { r.body = R"({"name": ["a.example.org"]})"; }, 400},
        {"one too many", [](R& r) { r.body = R"({"name": "a.example.org", "x": "y"})"; }, 400},
        {"an unknown name", [](R& r) { r.body = R"({"name": "b.example.org"})"; }, 404},
        {"an unknown action", [](R& r) { r.path = "/actions/reboot"; }, 404},
    };
    for (const Case& one : cases) {
        INFO(one.why);
        R request = action("/actions/renew", R"({"name": "a.example.org"})");
        one.change(request);
        std::string done;
        const auto response = act(request, done);
        CHECK(response.status == one.status);
        CHECK(done.empty());
    }
    for (const char* origin : {"http://127.0.0.1:9180", "https://127.0.0.1:9180"}) {
        R request = action("/actions/renew", R"({"name": "a.example.org"})");
        request.origin = origin;
        request.fetch_site = "same-origin";
        std::string done;
        CHECK(act(request, done).status == 202);
    }
    std::string done;
    R wrong = action("/actions/revoke", R"({"name": "a.example.org", "reason": "bored"})");
    const auto refused = act(wrong, done);
    CHECK(refused.status == 400);
    CHECK_THAT(refused.body, ContainsSubstring("keyCompromise"));
    CHECK(act(action("/actions/account-rollover", R"({"account": "x"})"), done).status == 409);
    CHECK(done.empty());
}

TEST_CASE("over TCP nobody acts unless it is allowed; over a Unix socket its file is the guard") {
    proxy::LocalRequest request = action("/actions/renew", R"({"name": "a.example.org"})");
    std::string done;
    const auto refused = act(request, done, false);
    CHECK(refused.status == 403);
    CHECK_THAT(refused.body, ContainsSubstring("actions = true"));
    CHECK(done.empty());
    request.is_unix = true;
    CHECK(act(request, done, false).status == 202);
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
