#include "md/server_status.h"

#include "catch.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::seconds;

namespace {

const base::Time now = at("2026-11-01T12:00:00Z");

DomainStatus domain(std::string name) {
    DomainStatus status;
    status.stored.domain.name = name;
    status.stored.domain.names = {name, "www." + name};
    status.stored.domain.ca_urls = {"https://acme-v02.api.letsencrypt.org/directory"};
    status.stored.ca_url = "https://ca.example.net/dir";
    status.stored.state = DomainState::Complete;
    auto certificate = std::make_shared<tls::Certificate>();
    certificate->not_before = now - hours{24};
    certificate->not_after = now + hours{24 * 60};
    certificate->sha256.fill(0xab);
    status.served = {{"P-256", certificate, {}}};
    status.renew_at = now + hours{24 * 30};
    return status;
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("server-status?auto: mod_md's keys, sorted by name") {
    DomainStatus failing = domain("a.example");
    failing.stored.state = DomainState::Incomplete;
    failing.stored.state_description = "certificate(rsa) is missing";
    failing.stored.ca_url.clear();
    failing.stored.domain.ca_urls.push_back("https://other.example/dir");
    failing.served.clear();
    failing.renewal_due = true;
    failing.stored.domain.stapling = true;
    failing.job.emplace();
    failing.job->errors = 3;
    failing.job->last = make_problem(ECONNREFUSED, "line one\nManagedDomain[9]Status: good");
    failing.job->last.type = "urn:ietf:params:acme:error:connection";
    failing.job->next_run = now + hours{1};
    const std::vector<DomainStatus> all{domain("b.example"), failing};
    const std::string lines = server_status_lines(all, {}, now);
    INFO(lines);
    CHECK(
        lines.starts_with("ManagedCertificatesTotal: 2\nManagedCertificatesOK: 1\n"
                          "ManagedCertificatesRenew: 1\nManagedCertificatesErrored: 1\n"
                          "ManagedCertificatesReady: 0\nManagedDomain[0]Domain: a.example\n"
                          "ManagedDomain[0]Names[0]: a.example\n"
                          "ManagedDomain[0]Names[1]: www.a.example\n"
                          "ManagedDomain[0]Status: incomplete: certificate(rsa) is missing\n"));
    CHECK(has(lines, "ManagedDomain[0]CAName: LetsEncrypt\n"));
    CHECK(has(lines, "ManagedDomain[0]CAName1: other.example\n"));
    CHECK(has(lines, "ManagedDomain[0]Stapling: on\n"));
    CHECK(has(lines, "ManagedDomain[0]ActivityLastProblem: urn:ietf:params:acme:error:connection"));
    CHECK(has(lines, "ManagedDomain[0]ActivityNextRun: Sun, 01 Nov 2026 13:00:00 GMT\n"));
    // A CA's text cannot make lines of its own.
    CHECK_FALSE(has(lines, "\nManagedDomain[9]"));
    CHECK(has(lines,
              "ManagedDomain[1]Status: good\nManagedDomain[1]ValidUntil: 2026-12-31\n"
              "ManagedDomain[1]CAName: ca.example.net\n"
              "ManagedDomain[1]CAURL: https://ca.example.net/dir\n"
              "ManagedDomain[1]CheckAtType: P-256\nManagedDomain[1]CheckAtName: crt.sh\n"
              "ManagedDomain[1]CheckAtURL: https://crt.sh?q=abab"));
    CHECK(has(lines, "ManagedDomain[1]ActivityRenew: 2592000\n"));
}

TEST_CASE("server-status: a table whose texts are escaped, without links if there is no check") {
    DomainStatus status = domain("a.example");
    status.job.emplace();
    status.job->errors = 2;
    status.job->last = make_problem(EACCES, "<script>alert(1)</script>");
    status.job->next_run = now + hours{50};
    const std::vector<DomainStatus> all{status};
    const std::string table = server_status_table(all, {"", ""}, now);
    INFO(table);
    CHECK(has(table, "<h2>Managed Certificates</h2>"));
    CHECK(has(table, "&lt;script&gt;"));
    CHECK_FALSE(has(table, "<script>"));
    CHECK(has(table, "(2 in a row)"));
    CHECK(has(table, "Next run in ~2 days"));
    CHECK(has(table, "until 2026-12-31"));
    CHECK_FALSE(has(table, "crt.sh"));
}

namespace {

StapleRow staple_row(std::string domain, std::string status) {
    auto certificate = std::make_shared<tls::Certificate>();
    certificate->leaf = {1, 2, 3};
    StapleRow row{.domain = std::move(domain), .certificate = certificate, .report = {}};
    row.report.status = std::move(status);
    row.report.url = "http://ocsp.example.net/a";
    row.report.refresh_at = now + hours{24};
    return row;
}

}  // namespace

TEST_CASE("server-status?auto: staples with mod_md's keys (mod_md.md 7.4)") {
    CHECK(staple_status_lines({}, now) ==
          "ManagedStaplingsTotal: 0\nManagedStaplingsOK: 0\nManagedStaplingsRenew: 0\n"
          "ManagedStaplingsErrored: 0\n");
    StapleRow good = staple_row("a.example", "good");
    good.report.from = now - hours{1};
    good.report.until = now + hours{24 * 5};
    StapleRow failing = staple_row("b.example", "unknown");
    failing.report.renewal.emplace();
    failing.report.renewal->errors = 2;
    failing.report.renewal->last = make_problem(ECONNREFUSED, "no\nManagedStapling[7]Domain: x");
    const std::vector<StapleRow> rows{good, failing, staple_row("c.example", "revoked")};
    // SHA-1 of 01 02 03, as mod_md names certificates.
    const std::string id = "7037807198c22a7d2b0807371d763779a84fdfcf";
    const std::string lines = staple_status_lines(rows, now);
    INFO(lines);
    CHECK(lines.starts_with(
        "ManagedStaplingsTotal: 3\nManagedStaplingsOK: 1\nManagedStaplingsRenew: 1\n"
        "ManagedStaplingsErrored: 1\nManagedStapling[0]Domain: a.example\n"
        "ManagedStapling[0]CertificateID: " +
        id +
        "\nManagedStapling[0]OCSPStatus: good\n"
        "ManagedStapling[0]StaplingValidFrom: Sun, 01 Nov 2026 11:00:00 GMT\n"
        "ManagedStapling[0]StaplingValidUntil: Fri, 06 Nov 2026 12:00:00 GMT\n"
        "ManagedStapling[0]ResponderName: ocsp.example.net\n"
        "ManagedStapling[0]ResponderURL: http://ocsp.example.net/a\n"
        "ManagedStapling[0]ActivityRefresh: 86400\n"
        "ManagedStapling[1]Domain: b.example\n"));
    CHECK(has(lines, "ManagedStapling[1]OCSPStatus: unknown\nManagedStapling[1]ResponderName: "));
    CHECK(has(lines, "ManagedStapling[1]ActivityLastStatus: Connection refused\n"));
    CHECK_FALSE(has(lines, "\nManagedStapling[7]"));
    CHECK(has(lines, "ManagedStapling[2]OCSPStatus: revoked\n"));
}

TEST_CASE("server-status: the table of staples, texts escaped; none without rows") {
    CHECK(staple_status_table({}, now).empty());
    StapleRow good = staple_row("a.example", "good");
    good.report.until = now + hours{24 * 5};
    StapleRow failing = staple_row("<b>", "unknown");
    failing.report.renewal.emplace();
    failing.report.renewal->errors = 2;
    failing.report.renewal->last = make_problem(EPROTO, "<script>");
    const std::string table = staple_status_table(std::vector{good, failing}, now);
    INFO(table);
    CHECK(table.starts_with("<h2>Managed Staplings</h2>\n<table class=\"md_ocsp_status\">"));
    CHECK(has(table,
              "<th>Domain</th><th>CertificateID</th><th>OCSPStatus</th>"
              "<th>StaplingValid</th><th>Responder</th><th>Activity</th>"));
    CHECK(has(table, "<tr class=\"even\"><td>a.example</td>"));
    CHECK(has(table,
              "<td>good</td><td>until 2026-11-06</td><td>ocsp.example.net</td>"
              "<td>Refresh in ~1 day</td>"));
    CHECK(has(table, "<tr class=\"odd\"><td>&lt;b&gt;</td>"));
    CHECK(has(table, "<td>unknown</td><td>-</td>"));
    CHECK(has(table, "&lt;script&gt; (2 in a row). Refresh in ~1 day"));
    CHECK_FALSE(has(table, "<script>"));
}
