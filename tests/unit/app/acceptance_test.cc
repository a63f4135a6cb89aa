// mod_md's acceptance list (docs/acceptance.md), as far as it is about configurations: what is
// accepted, what is refused with which words (100, 110, 300, 750), and what it makes of the store
// (310).
#include "app/config_support.h"
#include "catch.h"
#include "md/domain_json.h"
#include "md/file_store.h"
#include "md/json.h"
#include "md/match.h"

namespace {

using Names = std::vector<std::string>;

/// managed_site with other names for its domain.
std::string with_names(const std::string& names) {
    const size_t at = managed_site.rfind("names = ");
    return managed_site.substr(0, at) + "names = [" + names + "]\n";
}

/// managed_site with a key more in [md].
std::string with_md(const std::string& key) {
    std::string text = managed_site;
    return text.insert(text.find("[[md.domain]]"), key + "\n");
}

std::string told(const std::string& text) {
    return fmt::format("{}", fmt::join(read_text(text).mistakes, "\n"));
}

/// Configurations, one after the other, and one store.
class Starts {
  public:
    Starts() : store_(open()) {}

    /// A start with `sites` (hosts, with TLS) and `domains` (keys of an [[md.domain]] each).
    void start(const std::vector<std::string>& sites, const std::vector<std::string>& domains,
               const std::string& md = "") {
        std::string text = R"([[listen]]
address = "*:8443"
protocol = "https"
[[listen]]
address = "*:8080"
protocol = "http"
)";
        for (const std::string& hosts : sites.empty() ? Names{"\"unrelated.org\""} : sites) {
            text += "[[site]]\nhosts = [" + hosts + "]\nbackend = \"127.0.0.1:3000\"\n";
        }
        text += "[md]\nport_map = [\"80:8080\", \"443:8443\"]\n";
        if (md.find("certificate_agreement") == std::string::npos) {
            text += "certificate_agreement = \"accepted\"\n";
        }
        if (md.find("contact_email") == std::string::npos) text += "contact_email = \"a@b.org\"\n";
        text += md + "\n";
        for (const std::string& keys : domains) text += "[[md.domain]]\n" + keys + "\n";
        Told read = read_text(text);
        INFO(text);
        INFO(fmt::format("{}", fmt::join(read.mistakes, "\n")));
        REQUIRE(read.mistakes.empty());
        domains_ = std::move(read.setup.domains);
        for (const auto& entry : md::reconcile(*store_, files_, domains_, test_now)) {
            if (entry.problem) FAIL(entry.problem->message());
        }
    }

    /// A member of a domain's md.json, as JSON; "" if it is not there.
    std::string value(const std::string& domain, const std::string& pointer) {
        auto bytes = store_->load(md::Group::Domains, domain, "md.json");
        REQUIRE(bytes.ok());
        REQUIRE(bytes->has_value());
        const md::Json json = md::Json::parse(bytes->value());
        const md::Json::json_pointer at(pointer);
        return json.contains(at) ? json[at].dump() : "";
    }
    Names stored() { return store_->names(md::Group::Domains).value(); }

  private:
    std::unique_ptr<md::FileStore> open() {
        auto opened = md::FileStore::open(directory_.path() + "/md", files_, random_);
        REQUIRE(opened.ok());
        return std::move(opened).value();
    }

    TemporaryDirectory directory_;
    md::SystemFiles files_;
    base::SystemRandom random_;
    std::unique_ptr<md::FileStore> store_;
    std::vector<md::Domain> domains_;
};

}  // namespace

TEST_CASE("domains: invalid names are refused, alone or beside good ones (100_005, 110_002)") {
    for (const char* name : {"intranet", " ", "", "a.*.org", "a b.org",
                             "b\xc3\xbc"
                             "cher.org"}) {
        CAPTURE(name);
        CHECK_FALSE(told(with_names(fmt::format("\"{}\"", name))).empty());
        CHECK_FALSE(told(with_names(fmt::format("\"a.example.org\", \"{}\"", name))).empty());
    }
    CHECK_FALSE(told(with_names("")).empty());  // 001_405, 110_001
}

TEST_CASE(
    "domains: names keep their order, without duplicates; punycode, wildcards (100_009..012)") {
    Starts starts;
    starts.start({"\"a.org\""},
                 {R"(names = ["a.org", "C.org", "b.org", "xn--bcher-kva.org", "*.w.org"]
challenge_dns01 = "/bin/true")"});
    CHECK(starts.value("a.org", "/domains") ==
          R"(["a.org","c.org","b.org","xn--bcher-kva.org","*.w.org"])");
    // Where mod_md drops the second one silently.
    CHECK_THAT(told(with_names(R"("a.example.org", "A.example.org.")")),
               Catch::Matchers::ContainsSubstring("\"a.example.org\" stands here twice"));
}

TEST_CASE("domains: the same names, and overlaps in all directions, are refused (100_003, 007)") {
    const std::string dns = "challenge_dns01 = \"/bin/true\"\n";
    const auto two = [&](const std::string& first, const std::string& second) {
        return told(with_names(first) + dns + "[[md.domain]]\nnames = [" + second + "]\n" + dns);
    };
    for (const auto& [first, second] : std::vector<std::pair<std::string, std::string>>{
             {R"("a.example.org")", R"("a.example.org")"},
             {R"("a.example.org", "b.org")", R"("b.org", "c.org")"},
             {R"("b.org", "a.example.org")", R"("c.org", "b.org")"},
             {R"("a.example.org", "*.x.org")", R"("sub.x.org")"},
             {R"("sub.x.org", "a.example.org")", R"("y.org", "*.x.org")"}}) {
        CAPTURE(first, second);
        CHECK_THAT(two(first, second), Catch::Matchers::ContainsSubstring("overlap in "));
    }
    CHECK(two(R"("a.example.org")", R"("sub.a.example.org")").empty());  // 100_008
}

TEST_CASE("CAs: names in any case, URLs, and lists element by element (300_024, 025, 027)") {
    const auto urls = [](const std::string& value) {
        const Told read = read_text(with_md("certificate_authority = " + value));
        CHECK(read.mistakes.empty());
        return read.setup.domains.at(0).ca_urls;
    };
    const std::string production = "https://acme-v02.api.letsencrypt.org/directory";
    for (const char* name : {"LetsEncrypt", "letsencrypt", "LETSENCRYPT"}) {
        CHECK(urls(fmt::format("\"{}\"", name)) == Names{production});
    }
    CHECK(urls(R"("letsEncrypt-TEST")") ==
          Names{"https://acme-staging-v02.api.letsencrypt.org/directory"});
    CHECK(urls(R"("buypass")") == Names{"https://api.buypass.com/acme/directory"});
    CHECK(urls(R"("Buypass-test")") == Names{"https://api.test4.buypass.no/acme/directory"});
    CHECK(urls(R"(["LetsEncrypt", "https://ca.example/dir"])") ==
          Names{production, "https://ca.example/dir"});
    for (const char* bad :
         {R"("no-such-ca")", R"("http://ca.example/dir")", R"("ca.example/dir")", R"("https://")",
          R"("")", "[]", R"(["letsencrypt", "no-such-ca"])", R"(["letsencrypt", ""])"}) {
        CAPTURE(bad);
        CHECK_THAT(told(with_md(fmt::format("certificate_authority = {}", bad))),
                   Catch::Matchers::ContainsSubstring("certificate_authority"));
    }
    CHECK_THAT(told(with_md("certificate_protocol = \"quantum\"")),  // 502_003
               Catch::Matchers::ContainsSubstring("certificate_protocol"));
}

TEST_CASE(
    "contacts: mailto: is added, a scheme is kept, what is malformed refused (110_300..305)") {
    const auto contact = [](const std::string& value) {
        std::string text = managed_site;
        const std::string old = "contact_email = \"ops@example.org\"";
        return read_text(
            text.replace(text.find(old), old.size(), "contact_email = \"" + value + "\""));
    };
    CHECK(contact("webmaster@a.org").setup.domains.at(0).contacts ==
          Names{"mailto:webmaster@a.org"});
    CHECK(contact("mailto:webmaster@a.org").setup.domains.at(0).contacts ==
          Names{"mailto:webmaster@a.org"});
    for (const char* bad : {"", "nobody", "a@", "@a.org", "a b@c.org", "mailto:nobody"}) {
        CAPTURE(bad);
        CHECK_FALSE(contact(bad).mistakes.empty());
    }
}

TEST_CASE("terms: accepted or a URL, nothing else (110_400, 404)") {
    const auto with = [](const std::string& value) {
        std::string text = managed_site;
        const std::string old = "certificate_agreement = \"accepted\"";
        return read_text(
            text.replace(text.find(old), old.size(), "certificate_agreement = \"" + value + "\""));
    };
    CHECK(with("https://ca.example/terms.pdf").setup.domains.at(0).agreement ==
          "https://ca.example/terms.pdf");
    for (const char* bad : {"yes", "ca.example/terms", ""}) {
        CAPTURE(bad);
        CHECK_FALSE(with(bad).mistakes.empty());
    }
}

TEST_CASE("keys: all of mod_md's forms, and its refusals (300_015, 016; 810_004)") {
    const auto count = [](const std::string& value) {
        const Told read = read_text(with_md("private_keys = " + value));
        INFO(fmt::format("{}", fmt::join(read.mistakes, "\n")));
        CHECK(read.mistakes.empty());
        return read.setup.domains.at(0).key_specs().size();
    };
    for (const char* one : {R"("Default")", R"("RSA")", R"("RSA 2048")", R"("RSA 4096")",
                            R"("rsa3072")", R"("P-256")", R"("secp384r1")", R"(["P-521"])"}) {
        CAPTURE(one);
        CHECK(count(one) == 1);
    }
    CHECK(count(R"(["RSA 3072", "P-256", "P-384"])") == 3);
    for (const char* bad :
         {R"("")", "[]", R"("RSA 1024")", R"("RSA -1")", R"("RSA many")", R"(["Default", "P-256"])",
          R"(["RSA 2048", "RSA 4096"])", R"(["P-256", "p-256"])", R"("P-192")", R"("DSA 2048")"}) {
        CAPTURE(bad);
        CHECK_THAT(told(with_md(fmt::format("private_keys = {}", bad))),
                   Catch::Matchers::ContainsSubstring("private_keys"));
    }
}

TEST_CASE("windows, proxies and switches: mod_md's refusals (300_017 to 020)") {
    for (const char* bad :
         {R"(renew_window = "dec-31")", R"(renew_window = "1y")", R"(renew_window = "10 d")",
          R"(renew_window = "102%")", R"(renew_window = "100%")", R"(renew_window = "-5%")",
          R"(warn_window = "100%")", R"(http_proxy = "localhost:8080")",
          R"(http_proxy = "ftp://localhost")", R"(http_proxy = "http://")",
          R"(http_proxy = "http://localhost:-8080")", R"(http_proxy = "http://localhost:70000")",
          R"(http_proxy = "http://local host")", R"(require_https = "yes")",
          R"(require_https = "")", R"(must_staple = "on")", "must_staple = 1",
          R"(renew_mode = "sometimes")", R"(members = "some")"}) {
        CAPTURE(bad);
        const std::string text = told(with_md(bad));
        const std::string key = std::string(bad).substr(0, std::string(bad).find(' '));
        CHECK_THAT(text, Catch::Matchers::ContainsSubstring(": " + key + ": "));
    }
    CHECK(told(with_md("renew_window = \"14d\"\nhttp_proxy = \"https://proxy.example:3128\""))
              .empty());
}

TEST_CASE("external accounts: files that do not hold them are refused (750_002, 003, 018 to 022)") {
    const TemporaryDirectory directory;
    const auto file = [&](const std::string& text) {
        const std::string path = directory.write("eab.json", text);
        std::filesystem::permissions(path, std::filesystem::perms::owner_read);
        return told(with_md("external_account_binding = \"" + path + "\""));
    };
    CHECK_THAT(told(with_md("external_account_binding = \"/no/such/file.json\"")),
               Catch::Matchers::ContainsSubstring("/no/such/file.json"));
    CHECK_THAT(file("not json"), Catch::Matchers::ContainsSubstring("external_account_binding"));
    CHECK_THAT(file(R"({"kid2": "kid", "hmac": "aG1hYw"})"),
               Catch::Matchers::ContainsSubstring("kid"));
    CHECK_THAT(file(R"({"kid": "kid", "hmac2": "aG1hYw"})"),
               Catch::Matchers::ContainsSubstring("hmac"));
    CHECK(file(R"({"kid": "kid", "hmac": "aG1hYw"})").empty());
    CHECK_THAT(told(with_md(R"(external_account_binding = ["kid", "not base64!"])")),
               Catch::Matchers::ContainsSubstring("base64url"));
    CHECK_FALSE(told(with_md(R"(external_account_binding = ["", "aG1hYw"])")).empty());
}

TEST_CASE("store: what is configured first is there with its defaults (310_001, 100 to 112)") {
    Starts starts;
    starts.start({"\"plain.org\""}, {});
    CHECK(starts.stored().empty());
    starts.start({}, {R"(names = ["A.org", "www.a.org"])"});  // 108: in lower case
    starts.start({}, {R"(names = ["a.org", "www.a.org", "new.a.org"])", R"(names = ["b.org"])"});
    CHECK(starts.stored() == Names{"a.org", "b.org"});
    CHECK(starts.value("a.org", "/domains") == R"(["a.org","www.a.org","new.a.org"])");
    CHECK(starts.value("b.org", "/state") == "1");
    CHECK(starts.value("b.org", "/renew-mode") == "1");
    CHECK(starts.value("b.org", "/renew-window") == R"("33%")");
    CHECK(starts.value("b.org", "/ca/urls") ==
          R"(["https://acme-v02.api.letsencrypt.org/directory"])");
    CHECK(starts.value("b.org", "/ca/proto") == R"("ACME")");
    CHECK(starts.value("b.org", "/ca/agreement") == R"("accepted")");
    CHECK(starts.value("b.org", "/contacts") == R"(["mailto:a@b.org"])");
    CHECK(starts.value("b.org", "/privkey").empty());
    CHECK(starts.value("b.org", "/require-https").empty());
    CHECK(starts.value("b.org", "/must-staple") == "false");
}

TEST_CASE("store: each value follows the configuration, there and back (310_103 to 310, 601)") {
    struct Step {
        const char* md;      // in [md]
        const char* domain;  // in [[md.domain]]
        const char* expected;
    };
    struct Case {
        const char* what;
        const char* pointer;
        std::vector<Step> steps;
    };
    const std::vector<Case> cases = {
        {"103, 104, 204, 302: CA",
         "/ca/urls",
         {{"", "", R"(["https://acme-v02.api.letsencrypt.org/directory"])"},
          {R"(certificate_authority = "https://ca.example/dir")", "",
           R"(["https://ca.example/dir"])"},
          {R"(certificate_authority = "https://ca.example/dir")",
           R"(certificate_authority = ["https://own.example/dir", "buypass"])",
           R"(["https://own.example/dir","https://api.buypass.com/acme/directory"])"},
          {"", "", R"(["https://acme-v02.api.letsencrypt.org/directory"])"}}},
        {"103: agreement",
         "/ca/agreement",
         {{R"(certificate_agreement = "https://ca.example/terms")", "",
           R"("https://ca.example/terms")"},
          {"", "", R"("accepted")"}}},
        {"105, 106, 107, 303: contact",
         "/contacts",
         {{R"(contact_email = "one@a.org")", "", R"(["mailto:one@a.org"])"},
          {R"(contact_email = "one@a.org")", R"(contact_email = "own@a.org")",
           R"(["mailto:own@a.org"])"},
          {R"(contact_email = "two@a.org")", "", R"(["mailto:two@a.org"])"}}},
        {"110 to 112, 207, 304: renew mode",
         "/renew-mode",
         {{"", R"(renew_mode = "manual")", "0"},
          {"", R"(renew_mode = "auto")", "1"},
          {R"(renew_mode = "always")", "", "2"},
          {R"(renew_mode = "always")", R"(drive_mode = "manual")", "0"},
          {"", "", "1"}}},
        {"113, 118, 206, 305, 310: renew window",
         "/renew-window",
         {{R"(renew_window = "14d")", "", R"("14d")"},
          {"", R"(renew_window = "10%")", R"("10%")"},
          {"", R"(renew_window = "33d")", R"("33d")"},
          {"", R"(renew_window = "40%")", R"("40%")"},
          {"", "", R"("33%")"}}},
        {"114 to 116, 208, 306: challenges",
         "/ca/challenges",
         {{R"(ca_challenges = ["http-01"])", "", R"(["http-01"])"},
          {R"(ca_challenges = ["http-01"])", R"(ca_challenges = ["tls-alpn-01", "http-01"])",
           R"(["tls-alpn-01","http-01"])"},
          {"", "", ""}}},
        {"119, 120, 209, 307: keys",
         "/privkey",
         {{R"(private_keys = "RSA 3072")", "", R"({"type":"RSA","bits":3072})"},
          {R"(private_keys = "RSA 3072")", R"(private_keys = "RSA 4096")",
           R"({"type":"RSA","bits":4096})"},
          {"", R"(private_keys = "RSA")", R"({"type":"RSA","bits":2048})"},
          {"", R"(private_keys = ["P-384", "RSA 3072"])",
           R"([{"type":"EC","curve":"P-384"},{"type":"RSA","bits":3072}])"},
          {"", "", ""}}},
        {"121, 210, 308: require https",
         "/require-https",
         {{"", "", ""},
          {"", R"(require_https = "temporary")", R"("temporary")"},
          {R"(require_https = "permanent")", "", R"("permanent")"},
          {R"(require_https = "permanent")", R"(require_https = "off")", ""},
          {"", "", ""}}},
        {"122, 211, 309: must-staple",
         "/must-staple",
         {{"", "must_staple = true", "true"},
          {"must_staple = true", "must_staple = false", "false"},
          {"", "", "false"}}},
        {"601: external account, its own, inherited, none",
         "/eab",
         {{"", R"(external_account_binding = ["kid", "aG1hYw"])",
           R"({"kid":"kid","hmac":"aG1hYw"})"},
          {R"(external_account_binding = ["kid2", "aG1hYw"])", "",
           R"({"kid":"kid2","hmac":"aG1hYw"})"},
          {R"(external_account_binding = ["kid2", "aG1hYw"])",
           R"(external_account_binding = "none")", ""}}},
    };
    for (const Case& c : cases) {
        INFO(c.what);
        Starts starts;
        for (const Step& step : c.steps) {
            CAPTURE(step.md, step.domain);
            starts.start({"\"a.org\""}, {"names = [\"a.org\"]\n" + std::string(step.domain)},
                         step.md);
            CHECK(starts.value("a.org", c.pointer) == step.expected);
        }
    }
}

TEST_CASE("store: renew mode auto is manual with certificate files (730, 920_011)") {
    const TemporaryDirectory directory;
    const std::string files =
        fmt::format("certificate_file = \"{0}/c.pem\"\ncertificate_key_file = \"{0}/k.pem\"\n",
                    directory.path());
    const auto mode = [&](const std::string& keys) {
        // The files are not there, which is told and changes nothing here.
        return read_text(managed_site + files + keys).setup.domains.at(0).renew_mode;
    };
    CHECK(mode("") == md::RenewMode::Manual);
    CHECK(mode("renew_mode = \"auto\"\n") == md::RenewMode::Manual);
    CHECK(mode("renew_mode = \"always\"\n") == md::RenewMode::Always);
}

TEST_CASE(
    "store: members come from sites, domains go and come back (310_117, 200 to 203, 300, 301)") {
    Starts starts;
    starts.start({R"("a.org", "www.a.org", "x.a.org")", R"("b.org")"},
                 {R"(names = ["a.org"])", R"(names = ["b.org", "moves.org"])"});
    CHECK(starts.value("a.org", "/domains") == R"(["a.org","www.a.org","x.a.org"])");
    // 201: an alias goes. 301: a name moves.
    starts.start({R"("a.org", "x.a.org")", R"("b.org")"},
                 {R"(names = ["a.org", "moves.org"])", R"(names = ["b.org"])"});
    CHECK(starts.value("a.org", "/domains") == R"(["a.org","moves.org","x.a.org"])");
    CHECK(starts.value("b.org", "/domains") == R"(["b.org"])");
    // 300: another order. 200: what is configured no more stays. 203: the other one as it was.
    starts.start({}, {R"(names = ["x.a.org", "moves.org", "a.org"])"});
    CHECK(starts.stored() == Names{"b.org", "x.a.org"});
    CHECK(starts.value("x.a.org", "/domains") == R"(["x.a.org","moves.org","a.org"])");
    CHECK(starts.value("b.org", "/domains") == R"(["b.org"])");
    // 202: the first name goes.
    starts.start({}, {R"(names = ["moves.org", "a.org"])"});
    CHECK(starts.stored() == Names{"b.org", "moves.org"});
}

TEST_CASE("sites: a managed domain in a site is the same as one beside it (300_005 to 008, 026)") {
    const Told inside = read_text(plain_site + R"(managed = true
[[site]]
hosts = ["b.example.org", "www.b.example.org"]
backend = "127.0.0.1:1"
managed = true
[md]
certificate_agreement = "accepted"
contact_email = "ops@example.org"
port_map = ["80:8080", "443:8443"]
)");
    CHECK(inside.mistakes.empty());
    REQUIRE(inside.setup.domains.size() == 2);
    CHECK(inside.setup.domains[1].names == Names{"b.example.org", "www.b.example.org"});
    CHECK(inside.setup.domains[1].used);
    // 026: the addresses that sites are served on do not matter.
    std::string text = managed_site;
    const std::string old = "address = \"*:8443\"";
    text.replace(text.find(old), old.size(), "address = \"127.0.0.1:8443\"");
    CHECK(read_text(text).setup.domains.at(0).used);
}
