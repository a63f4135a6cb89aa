// certificate_protocol = "tailscale": what is taken, what is refused, and what says nothing.
#include "app/config_support.h"
#include "catch.h"
#include "md/tailscale.h"

namespace {

const std::string default_url{md::tailscale_default_url};

bool says(const std::vector<std::string>& lines, std::string_view part) {
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
        return line.find(part) != std::string::npos;
    });
}

/// A site with the machine's name, and its domain: `general` is appended to [md], `own` to it.
Told read_domain(const std::string& own, const std::string& general = "",
                 const std::string& names = "\"box.tail1234.ts.net\"") {
    return read_text(plain_site + "[[site]]\nhosts = [" + names +
                     "]\nbackend = \"127.0.0.1:1\"\n[md]\n" + general +
                     "\n[[md.domain]]\nnames = [" + names + "]\n" + own + "\n");
}

}  // namespace

TEST_CASE("a domain from tailscale needs neither account nor challenge, and knows its socket") {
    const Told told = read_domain("certificate_protocol = \"tailscale\"");
    CHECK(told.mistakes.empty());
    CHECK_FALSE(says(told.warnings, "tailscale"));
    REQUIRE(told.setup.domains.size() == 1);
    CHECK(told.setup.domains[0].is_from_tailscale());
    CHECK(told.setup.domains[0].ca_urls == std::vector<std::string>{default_url});

    const Told own = read_domain(
        "certificate_protocol = \"tailscale\"\ncertificate_authority = \"file:///run/ts.sock\"");
    CHECK(own.mistakes.empty());
    CHECK(own.setup.domains.at(0).ca_urls == std::vector<std::string>{"file:///run/ts.sock"});
}

TEST_CASE("CAs of [md] go with the protocol of [md]") {
    const std::string acme =
        "certificate_authority = \"letsencrypt-test\"\ncertificate_agreement = \"accepted\"\n"
        "contact_email = \"a@example.org\"\nport_map = [\"80:8080\"]\nmust_staple = true\n"
        "private_keys = [\"P-256\", \"RSA 2048\"]\n";
    const Told told = read_domain("certificate_protocol = \"tailscale\"", acme);
    CHECK(told.mistakes.empty());
    const md::Domain& domain = told.setup.domains.at(0);
    CHECK(domain.ca_urls == std::vector<std::string>{default_url});
    // What the daemon gives has no such feature, and is one: it would be incomplete for ever.
    CHECK_FALSE(domain.must_staple);
    CHECK(domain.key_specs() == std::vector<md::KeySpec>{md::KeySpec{}});

    const Told other = read_domain(
        "certificate_protocol = \"ACME\"\nca_challenges = [\"http-01\"]\n",
        "certificate_protocol = \"tailscale\"\ncertificate_authority = \"file:///run/ts.sock\"\n"
        "certificate_agreement = \"accepted\"\ncontact_email = \"a@example.org\"\n"
        "port_map = [\"80:8080\"]\n");
    CHECK(other.mistakes.empty());
    CHECK(other.setup.domains.at(0).ca_urls ==
          std::vector<std::string>{"https://acme-v02.api.letsencrypt.org/directory"});

    const Told all = read_domain("",
                                 "certificate_protocol = \"tailscale\"\n"
                                 "certificate_authority = \"file:///run/ts.sock\"");
    CHECK(all.mistakes.empty());
    CHECK(all.setup.domains.at(0).ca_urls == std::vector<std::string>{"file:///run/ts.sock"});
}

TEST_CASE("what tailscale cannot do is refused, with what to write instead") {
    const std::string protocol = "certificate_protocol = \"tailscale\"\n";
    const auto refused = [](const Told& told, std::string_view part) {
        INFO(part);
        CHECK(says(told.mistakes, part));
    };
    refused(read_domain("certificate_protocol = \"tailscail\""), "did you mean \"tailscale\"?");
    refused(read_domain(protocol + "certificate_authority = \"letsencrypt\""),
            "is no socket of its daemon; leave certificate_authority out, or write \"" +
                default_url + "\"");
    refused(read_domain(protocol + "certificate_authority = \"file://box/run/ts.sock\""),
            "is on another host");
    refused(read_domain(protocol + "certificate_authority = \"file:/run/ts.sock\""),
            "does not begin with file://; write the path of the tailscale daemon's socket");
    refused(read_domain(protocol + "certificate_authority = \"file://localhost\""),
            "names no socket");
    refused(read_domain("certificate_authority = \"file:///run/ts.sock\""),
            "write certificate_protocol = \"tailscale\" beside it");
    refused(read_domain(protocol, "", "\"box.tail1234.ts.net\", \"box\""),
            "box.tail1234.ts.net has 2 names, and tailscale certifies one");
    refused(read_domain(protocol, "", "\"*.tail1234.ts.net\""),
            "is a wildcard, which is not asked of tailscale");
}

TEST_CASE("what says nothing with tailscale is a warning") {
    const std::string protocol = "certificate_protocol = \"tailscale\"\n";
    const Told keys = read_domain(protocol + "private_keys = \"P-256\"\nprofile = \"x\"\n");
    CHECK(keys.mistakes.empty());
    CHECK(says(keys.warnings, "profile, private_keys say nothing to a certificate from tailscale"));
    CHECK(says(read_domain(protocol + "must_staple = true").warnings, "must_staple says nothing"));
    CHECK(says(read_domain(protocol, "ca_challenges = [\"http-01\"]").warnings,
               "ca_challenges says nothing"));
    CHECK(says(read_domain(protocol, "", "\"box.example.org\"").warnings,
               "box.example.org does not end with .ts.net"));

    // Those of [md] are for the domains that order.
    const Told both = read_text(plain_site +
                                "managed = true\n[[site]]\nhosts = [\"box.tail1234.ts.net\"]\n"
                                "backend = \"127.0.0.1:1\"\n[md]\ncertificate_agreement = "
                                "\"accepted\"\ncontact_email = \"a@example.org\"\n"
                                "port_map = [\"80:8080\"]\n[[md.domain]]\n"
                                "names = [\"box.tail1234.ts.net\"]\n" +
                                protocol);
    CHECK(both.mistakes.empty());
    CHECK_FALSE(says(both.warnings, "nothing to a certificate"));

    // A further host of the site is no name of the certificate.
    const Told host = read_text(plain_site +
                                "[[site]]\nhosts = [\"box.tail1234.ts.net\", \"box.example.org\"]\n"
                                "backend = \"127.0.0.1:1\"\n[[md.domain]]\n"
                                "names = [\"box.tail1234.ts.net\"]\n" +
                                protocol);
    CHECK(host.mistakes.empty());
    CHECK(says(host.warnings, "box.example.org, which is not a name of"));
    CHECK(host.setup.domains.at(0).names == std::vector<std::string>{"box.tail1234.ts.net"});
}
