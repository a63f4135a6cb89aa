// What `mdfront certs`, `accounts` and `store check` show in a terminal of 80 columns, to the
// letter.
#include "app/command/certs_view.h"

#include <functional>

#include "app/command/store_command.h"
#include "catch.h"

using namespace std::chrono_literals;
using app::Look;

namespace {

base::Time at(std::string_view text) {
    base::Time time{};
    base::check(base::parse_rfc3339(text, time));
    return time;
}
const base::Time now = at("2026-11-24T14:05:00Z");

md::CertificateSummary certificate(const std::string& key_type, base::Duration left) {
    md::CertificateSummary one;
    one.label = key_type.starts_with("RSA") ? "rsa" : key_type.substr(3);
    one.key_type = key_type;
    one.issuer = "CN=Pebble Intermediate CA 1f9c2a";
    one.serial = "5A12D3";
    one.sha256 = std::string(64, 'a');
    one.not_after = now + left;
    one.not_before = one.not_after - 90 * 24h;
    return one;
}

md::DomainSummary good() {
    md::DomainSummary domain;
    domain.name = "example.org";
    domain.names = {"example.org", "www.example.org", "shop.example.org"};
    domain.state = "good";
    domain.certificates = {certificate("EC P-256", 89 * 24h + 2h),
                           certificate("RSA 2048", 89 * 24h)};
    domain.not_after = now + 89 * 24h;
    domain.issuer = domain.certificates[0].issuer;
    domain.ca_url = "https://acme-v02.api.letsencrypt.org/directory";
    domain.account = "ACME-api.letsencrypt-0000";
    domain.renew_mode = "auto";
    domain.renew_window = "33%";
    domain.next_renewal = now + 59 * 24h;
    return domain;
}

md::DomainSummary failing() {
    md::DomainSummary domain;
    domain.name = "broken.example.net";
    domain.names = {"broken.example.net"};
    domain.state = "incomplete: certificate(P-256) is missing: pubcert.p-256.pem is missing";
    domain.ca_url = "https://acme-v02.api.letsencrypt.org/directory";
    domain.renew_mode = "auto";
    domain.renew_window = "33%";
    domain.next_renewal = now;
    domain.errors = 3;
    domain.last_error =
        "203.0.113.7: Fetching http://broken.example.net/.well-known/acme-challenge/x: Connection "
        "refused (urn:ietf:params:acme:error:connection)";
    domain.last_problem = "urn:ietf:params:acme:error:connection";
    domain.last_run = now - 5min;
    domain.next_run = now + 25min;
    return domain;
}

/// No line is wider than the terminal.
void check_width(const std::string& text, size_t width = 80) {
    size_t begin = 0;
    while (begin < text.size()) {
        const size_t end = text.find('\n', begin);
        REQUIRE(end != std::string::npos);
        INFO(text.substr(begin, end - begin));
        CHECK(app::columns(text.substr(begin, end - begin)) <= width);
        CHECK_FALSE(text.substr(begin, end - begin).ends_with(' '));
        begin = end + 1;
    }
}

}  // namespace

TEST_CASE("the list in 80 columns") {
    const std::string text = app::render_list({good(), failing()}, now, Look{});
    check_width(text);
    CHECK(text == R"(DOMAIN              STATE       KEYS        ISSUER        EXPIRES     RENEWAL
example.org         good        P-256, RSA  Pebble Inte…  in 89 days  in 59 days
  also www.example.org, shop.example.org
broken.example.net  incomplete  -           -             -           due
  failed 3 times in a row, next attempt in 25 minutes: 203.0.113.7: Fetching
  http://broken.example.net/.well-known/acme-challenge/x: Connection refused
  (urn:ietf:params:acme:error:connection)

2 domains, 1 to look at: `mdfront certs show NAME` tells more
)");
}

TEST_CASE("the page of a domain") {
    const std::string text = app::render_domain(good(), now, Look{});
    check_width(text);
    CHECK(text == R"(example.org  good
  names         example.org, www.example.org, shop.example.org
  CA            https://acme-v02.api.letsencrypt.org/directory
  account       ACME-api.letsencrypt-0000

Certificate, EC P-256
  issuer        CN=Pebble Intermediate CA 1f9c2a
  serial        5A12D3
  SHA-256       aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  valid         2026-11-23 to 2027-02-21 (ends in 89 days)

Certificate, RSA 2048
  issuer        CN=Pebble Intermediate CA 1f9c2a
  serial        5A12D3
  SHA-256       aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  valid         2026-11-23 to 2027-02-21 (ends in 89 days)

Renewal
  next          2027-01-22 14:05 UTC (in 59 days), when 33% of its life is left
)");
    const std::string bad = app::render_domain(failing(), now, Look{});
    check_width(bad);
    CHECK(bad == R"(broken.example.net  incomplete
  because       certificate(P-256) is missing: pubcert.p-256.pem is missing
  names         broken.example.net
  CA            https://acme-v02.api.letsencrypt.org/directory

No certificate yet: clients get a stand-in and 503

Renewal
  next          due: it has no certificate yet
  last attempt  2026-11-24 14:00 UTC (5 minutes ago)
  failures      3 in a row
  last error    203.0.113.7: Fetching
                http://broken.example.net/.well-known/acme-challenge/x:
                Connection refused (urn:ietf:params:acme:error:connection)
  problem       urn:ietf:params:acme:error:connection
  what to do    let the CA reach ports 80 and 443 of this name: check its DNS
                records, the firewall, and port_map
  next attempt  2026-11-24 14:30 UTC (in 25 minutes)
)");
}

TEST_CASE("what a CA says of a certificate, to the letter") {
    const md::StapleReport stapled{.status = "good",
                                   .from = now - 24h,
                                   .until = now + 6 * 24h,
                                   .url = "http://ocsp.example.net/a",
                                   .is_crl = false,
                                   .is_stapled = true,
                                   .has_staple = true,
                                   .refresh_at = now + 4 * 24h,
                                   .revoked_at = {},
                                   .reason = {},
                                   .last_success = {},
                                   .renewal = md::Job()};
    struct Case {
        std::function<void(md::StapleReport&)> change;
        const char* shown;
    };
    using R = md::StapleReport;
    const Case cases[] = {
        {[](R&) {}, R"(
  OCSP          good, since 2026-11-23 14:05 UTC, until 2026-11-30 14:05 UTC (in
                6 days); stapled
                http://ocsp.example.net/a, asked again in 4 days

)"},
        {[](R& r) { r.is_stapled = false, r.refresh_at = now; }, R"(
  OCSP          good, since 2026-11-23 14:05 UTC, until 2026-11-30 14:05 UTC (in
                6 days); not stapled
                http://ocsp.example.net/a, asked now

)"},
        {[](R& r) { r.is_crl = true, r.is_stapled = false, r.refresh_at.reset(); }, R"(
  CRL           good, since 2026-11-23 14:05 UTC, until 2026-11-30 14:05 UTC (in
                6 days); by its CRL
                http://ocsp.example.net/a

)"},
        {[](R& r) {
             r.status = "unknown", r.from.reset(), r.until.reset();
             r.has_staple = false;
             r.refresh_at = now + 10min;
             r.renewal->errors = 3;
             r.renewal->last = md::make_problem(EIO, "http://ocsp.example.net/a says\x1b[31m no");
         },
         R"(
  OCSP          unknown; nothing to staple
                http://ocsp.example.net/a, asked again in 10 minutes
                3 failed in a row: http://ocsp.example.net/a says?[31m no

)"},
    };
    for (const Case& one : cases) {
        md::DomainSummary domain = good();
        domain.certificates.pop_back();
        domain.certificates[0].staple = stapled;
        one.change(*domain.certificates[0].staple);
        const std::string text = app::render_domain(domain, now, Look{});
        INFO(text);
        CHECK(text.find(one.shown) != std::string::npos);
        check_width(text);
    }
    // Red is what needs a look: revoked, and no good answer where one is to be stapled.
    const auto is_red = [&](const char* status, bool has_answer, bool is_stapled) {
        md::DomainSummary domain = good();
        domain.certificates[0].staple = stapled;
        md::StapleReport& report = *domain.certificates[0].staple;
        report.status = status;
        report.is_stapled = is_stapled;
        report.has_staple = has_answer && is_stapled;
        const std::string text = app::render_domain(domain, now, {.colour = true});
        return text.find(fmt::format("\x1b[31m{}", status)) != std::string::npos;
    };
    CHECK(is_red("revoked", true, true));
    CHECK(is_red("revoked", true, false));
    CHECK(is_red("unknown", false, true));
    CHECK_FALSE(is_red("unknown", false, false));
    CHECK_FALSE(is_red("good", true, true));
    // Each certificate has its own; one that nobody asks about has none.
    md::DomainSummary domain = good();
    domain.certificates[1].staple = stapled;
    const std::string text = app::render_domain(domain, now, Look{});
    CHECK(text.find("OCSP") > text.find("Certificate, RSA 2048"));
    CHECK(text.find("OCSP") == text.rfind("OCSP"));
}

TEST_CASE("long names, many names and long errors stay within the width, wide or narrow") {
    md::DomainSummary domain = failing();
    domain.name = "a-very-long-name-of-a-machine-that-somebody-made.department.example.org";
    domain.names = {domain.name};
    for (int i = 0; i < 99; ++i) domain.names.push_back(fmt::format("name{}.example.org", i));
    domain.last_error = fmt::format("{} {:x>300} {}", domain.last_error, "", domain.last_error);
    domain.issuer = "CN=An Issuer With A Name That Is Longer Than Most,O=Example";
    domain.not_after = now + 24h * 3;
    for (const size_t width : {72u, 80u, 120u}) {
        const std::string text = app::render_list({domain, good()}, now, {.width = width});
        INFO(text);
        check_width(text, width);
        CHECK(text.find("… 100 names") != std::string::npos);
        check_width(app::render_domain(domain, now, {.width = width}), width);
    }
    // Nothing is left out of a file or pipe.
    const std::string whole = app::render_list({domain}, now, {.width = 0});
    CHECK(whole.find(domain.name) != std::string::npos);
    CHECK(whole.find("name98.example.org") != std::string::npos);
    CHECK(whole.find(domain.last_error) != std::string::npos);
    CHECK(whole.find("An Issuer With A Name That Is Longer Than Most") != std::string::npos);
}

TEST_CASE("states that are out of the ordinary") {
    struct Case {
        std::function<void(md::DomainSummary&)> change;
        const char* shown;
    };
    using D = md::DomainSummary;
    const Case cases[] = {
        {[](D& d) { d.is_revoked = true; }, "revoked"},
        {[](D& d) { d.state = "expired"; }, "expired"},
        {[](D& d) { d.state = "missing information"; }, "missing information\n"},
        {[](D& d) { d.activity = "Waiting for the CA"; }, "at work\n"},
        {[](D& d) { d.activity = "Waiting for the CA"; }, "\n  Waiting for the CA\n"},
        {[](D& d) { d.ready_at = now + 3h; }, "in 3 hours\n"},
        {[](D& d) { d.ready_at = now + 3h; }, "a new certificate is ready"},
        {[](D& d) { d.next_renewal.reset(), d.renew_mode = "manual"; }, "by hand\n"},
        {[](D& d) { d.next_renewal.reset(), d.renew_mode = "static"; }, "own files\n"},
        {[](D& d) { d.next_renewal = now; }, "due\n"},
        {[](D& d) { d.not_after = now - 49h; }, "2 days ago"},
        {[](D& d) { d.errors = 1, d.next_run = now + 2min; },
         "\n  failed, next attempt in 2 minutes\n"},
    };
    for (const Case& one : cases) {
        md::DomainSummary domain = good();
        one.change(domain);
        const std::string text = app::render_list({domain}, now, Look{});
        INFO(text);
        CHECK(text.find(one.shown) != std::string::npos);
        check_width(text);
    }
    CHECK(app::render_list({}, now, Look{}) == "No managed domain is configured.\n");
}

TEST_CASE("what a CA says cannot play with the terminal") {
    md::DomainSummary domain = failing();
    domain.last_error =
        "\x1b]0;title\x07 \xc2\x9b"
        "31m \xff caf\xc3\xa9 \r\n";
    domain.issuer = "CN=\x1b[2J";
    domain.activity = "\x1b[1A";
    domain.certificates = {certificate("EC P-256", 24h)};
    domain.certificates[0].issuer = domain.issuer;
    domain.not_after = now + 24h;
    for (const std::string& text :
         {app::render_list({domain}, now, Look{}), app::render_domain(domain, now, Look{})}) {
        for (const char c : {'\x1b', '\x07', '\r'}) CHECK(text.find(c) == std::string::npos);
        CHECK(text.find("\xc2\x9b") == std::string::npos);
        CHECK(text.find('\xff') == std::string::npos);
        CHECK(text.find("caf\xc3\xa9") != std::string::npos);
    }
}

TEST_CASE("colours are for terminals that want them") {
    const std::string plain = app::render_list({good(), failing()}, now, Look{});
    CHECK(plain.find('\x1b') == std::string::npos);
    std::string coloured = app::render_list({good(), failing()}, now, {.colour = true});
    CHECK(coloured.find("\x1b[32mgood\x1b[0m") != std::string::npos);
    CHECK(coloured.find("\x1b[33mincomplete\x1b[0m") != std::string::npos);
    // But for the colours it is the same text.
    for (size_t at = 0; (at = coloured.find('\x1b')) != std::string::npos;) {
        coloured.erase(at, coloured.find('m', at) - at + 1);
    }
    CHECK(coloured == plain);
}

TEST_CASE("an issuer is called by its common name") {
    const std::pair<const char*, const char*> cases[] = {
        {"CN=R11,O=Let's Encrypt,C=US", "R11"},
        {"O=Example\\, Inc.,C=US", "Example, Inc."},
        {"C=US,CN=E5", "E5"},
        {"OU=Who", "OU=Who"},
        {"", "-"},
        {"CN=", "CN="}};
    for (const auto& [issuer, name] : cases) CHECK(app::issuer_name(issuer) == name);
}

TEST_CASE("text is wrapped between words, and cut between characters") {
    using Lines = std::vector<std::string>;
    CHECK(app::wrapped("", 10).empty());
    CHECK(app::wrapped("one two  three", 7) == Lines{"one two", "three"});
    CHECK(app::wrapped("abcdefghij", 4) == Lines{"abcd", "efgh", "ij"});
    CHECK(app::wrapped("a bcdefg h", 4) == Lines{"a", "bcde", "fg h"});
    CHECK(app::wrapped("\xc3\xa9\xc3\xa9\xc3\xa9", 2) == Lines{"\xc3\xa9\xc3\xa9", "\xc3\xa9"});
    CHECK(app::wrapped("one two three", 0) == Lines{"one two three"});
    CHECK(app::cut("abcdef", 6) == "abcdef");
    CHECK(app::cut("abcdefg", 6) == "abcde…");
    CHECK(app::cut("\xc3\xa9\xc3\xa9\xc3\xa9", 2) == "\xc3\xa9…");
}

TEST_CASE("accounts") {
    const std::string text =
        app::render_accounts({{.id = "ACME-api.letsencrypt-0000",
                               .ca_url = "https://acme-v02.api.letsencrypt.org/directory",
                               .url = "https://acme-v02.api.letsencrypt.org/acme/acct/1",
                               .status = "valid",
                               .contacts = {"mailto:ops@example.org"},
                               .key_type = "EC P-256",
                               .domains = {"example.org", "example.net"}}},
                             Look{});
    check_width(text);
    CHECK(text == R"(ACCOUNT                    STATUS  KEY       CA
ACME-api.letsencrypt-0000  valid   EC P-256  https://acme-v02.api.letsencrypt.o…
  contact mailto:ops@example.org
  used by example.org, example.net
)");
    CHECK(app::render_accounts({}, Look{}) == "There is no account yet.\n");
}

TEST_CASE("a store's report, the worst first") {
    using Severity = md::Finding::Severity;
    md::StoreReport report;
    report.path = "/var/lib/mdfront/md";
    report.domains = 2;
    report.certificates = 1;
    report.findings = {
        {Severity::Note, "tmp/a.test", "is left of an activation", "nothing to do", false, false},
        {Severity::Warning, "", "2 files with a wrong mode", "--fix sets them", true, true},
        {Severity::Error, "domains/a.test/pubcert.pem",
         "does not match its key, which is a longer text than a line of this terminal can hold",
         "restore both from a backup", false, false}};
    const std::string text = app::render_store_report(report, true, Look{});
    check_width(text);
    CHECK(text == R"(/var/lib/mdfront/md: 2 domains, 1 certificate, 0 accounts

error     domains/a.test/pubcert.pem
          does not match its key, which is a longer text than a line of this
          terminal can hold
          > restore both from a backup

repaired  the store
          2 files with a wrong mode

note      tmp/a.test
          is left of an activation
          > nothing to do

1 problem left
)");
}
