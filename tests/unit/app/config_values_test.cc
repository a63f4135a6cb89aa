// What a configuration means: values, inheritance, paths, includes, and what is made of it.
#include "app/config_support.h"
#include "base/text.h"
#include "catch.h"

using namespace std::chrono_literals;

TEST_CASE("a domain inherits from [md] what it does not say itself") {
    const Told told = read_text(plain_site + R"(managed = true
[md]
certificate_agreement = "accepted"
contact_email = "ops@example.org"
certificate_authority = ["LetsEncrypt-Test", "https://ca.example/dir"]
renew_window = "30d"
port_map = ["http:8080", "443:-"]
private_keys = ["P-256", "rsa3072"]
external_account_binding = ["kid", "c2VjcmV0"]
[[site]]
hosts = ["b.example.org", "www.b.example.org"]
backend = "127.0.0.1:1"
[[md.domain]]
names = ["B.example.org."]
renew_window = "10%"
external_account_binding = "none"
require_https = "permanent"
)");
    REQUIRE(told.mistakes.empty());
    REQUIRE(told.setup.domains.size() == 2);
    const md::Domain& own = told.setup.domains[0];
    CHECK(own.name == "b.example.org");
    CHECK(own.names == std::vector<std::string>{"b.example.org", "www.b.example.org"});
    CHECK(own.renew_window == md::Window{10, {}});
    CHECK(own.external_account.empty());
    CHECK(own.ca_urls ==
          std::vector<std::string>{"https://acme-staging-v02.api.letsencrypt.org/directory",
                                   "https://ca.example/dir"});
    CHECK(own.contacts == std::vector<std::string>{"mailto:ops@example.org"});
    const md::Domain& managed = told.setup.domains[1];
    CHECK(managed.name == "plain.example.org");
    CHECK(managed.renew_window == md::Window{0, 30 * 24h});
    CHECK(managed.external_account == md::ExternalAccount("kid", "c2VjcmV0"));
    REQUIRE(managed.private_keys.size() == 2);
    CHECK(managed.private_keys[0].curve == "P-256");
    CHECK(managed.private_keys[1].bits == 3072);
    CHECK(told.setup.engine.http_reachable);
    CHECK_FALSE(told.setup.engine.https_reachable);
    CHECK(told.setup.domain_hosts.at("b.example.org") ==
          std::vector<std::string>{"b.example.org", "www.b.example.org"});
}

TEST_CASE("sites become routes with their backends, redirects and limits") {
    const Told told = read_text(R"([[listen]]
address = "*:8443"
protocol = "https"
public_port = 4443
[[listen]]
address = "*:8080"
protocol = "http"
[limits]
idle_timeout = "7s"
request_body_max = "2KiB"
allow_unusual_field_names = true
[[backend]]
name = "two"
servers = ["127.0.0.1:1", "unix:/run/x"]
[[site]]
hosts = ["a.example.org", "*.a.example.org"]
backend = "two"
default = true
[[site]]
hosts = ["b.example.org"]
backend = "[::1]:9"
)");
    REQUIRE(told.mistakes.empty());
    const proxy::Routes& routes = *told.setup.routes;
    CHECK(routes.limits().idle_ms == 7000);
    CHECK(routes.limits().request_body_max == 2048);
    CHECK(routes.limits().allow_unusual_field_names);
    const proxy::Site* site = routes.find("x.a.example.org");
    REQUIRE(site != nullptr);
    CHECK(site->name == "a.example.org");
    REQUIRE(site->backend->servers.size() == 2);
    CHECK(site->backend->servers[1].is_unix());
    CHECK(site->https_port == 4443);
    CHECK(routes.find("nobody.example") == site);
    REQUIRE(routes.find("b.example.org") != nullptr);
    CHECK(routes.find("b.example.org")->backend->servers[0].text() == "[::1]:9");
    CHECK(told.setup.default_hosts.empty());  // it has no certificate
    CHECK(told.setup.summary() == "2 sites, 3 names, 0 managed domains");
}

TEST_CASE("host names of servers are looked up when the configuration is read") {
    const std::string backend = "[[site]]\nhosts = [\"x.org\"]\nbackend = ";
    const Told good = read_text(plain_site + backend + "\"localhost:3999\"\n");
    CHECK(good.mistakes.empty());
    REQUIRE(good.setup.routes->find("x.org") != nullptr);
    for (const net::Address& address : good.setup.routes->find("x.org")->backend->servers) {
        CHECK(address.is_loopback());
        CHECK(address.port() == 3999);
    }
}

TEST_CASE("files are included in order, relative to the file that names them") {
    const TemporaryDirectory directory;
    directory.write("conf.d/b.toml", "[[site]]\nhosts = [\"b.org\"]\nbackend = \"127.0.0.1:1\"\n");
    directory.write("conf.d/a.toml",
                    "[[site]]\nhosts = [\"a.org\"]\nbackend = \"127.0.0.1:1\"\n"
                    "[server]\nlog_level = \"warn\"\n");
    const std::string main = directory.write(
        "main.toml",
        "include = [\"conf.d/*.toml\"]\n[server]\nworkers = 3\n[[listen]]\naddress = \"*:8080\"\n"
        "protocol = \"http\"\n[md]\nstore_dir = \"store\"\n");
    app::Mistakes mistakes;
    const auto setup = app::load_setup(main, mistakes, test_now);
    INFO(fmt::format("{}", fmt::join(mistakes.lines(), "\n")));
    REQUIRE(setup);
    REQUIRE(setup->configuration.sites.size() == 2);
    CHECK(setup->configuration.sites[0].hosts[0].name == "a.org");
    CHECK(setup->configuration.server.workers == 3);
    CHECK(setup->configuration.server.log_level == base::LogLevel::Warn);
    CHECK(setup->engine.store_dir == directory.path() + "/store");
    CHECK_FALSE(std::filesystem::exists(directory.path() + "/store"));  // checking makes nothing
}

TEST_CASE("mistakes of including are told") {
    const TemporaryDirectory directory;
    const auto lines = [&](const std::string& text) {
        app::Mistakes mistakes;
        (void)app::load_setup(directory.write("main.toml", text), mistakes, test_now);
        return fmt::format("{}", fmt::join(mistakes.lines(), "\n"));
    };
    using Catch::Matchers::ContainsSubstring;
    directory.write("again.toml", "[server]\nworkers = 2\n");
    directory.write("nested.toml", "include = [\"again.toml\"]\n");
    directory.write("broken.toml", "[server\n");
    CHECK_THAT(lines("include = [\"none.toml\"]\n"), ContainsSubstring("there is no file"));
    CHECK_THAT(lines("include = \"again.toml\"\n"),
               ContainsSubstring("write a list of file names"));
    CHECK_THAT(lines("include = [\"main.toml\"]\n"), ContainsSubstring("includes itself"));
    CHECK_THAT(lines("include = [\"nested.toml\"]\n"), ContainsSubstring("only the main file"));
    CHECK_THAT(lines("include = [\"broken.toml\"]\n"),
               ContainsSubstring("broken.toml:1: is not valid TOML"));
    CHECK_THAT(lines("include = [\"again.toml\"]\n[server]\nworkers = 1\n"),
               ContainsSubstring("again.toml:2: workers is already set at") &&
                   ContainsSubstring("main.toml:3"));
}

TEST_CASE("a configuration that cannot be read is told why") {
    const TemporaryDirectory directory;
    app::Mistakes missing;
    CHECK_FALSE(app::load_setup(directory.path() + "/none.toml", missing, test_now));
    REQUIRE(missing.lines().size() == 1);
    CHECK_THAT(missing.lines()[0],
               Catch::Matchers::EndsWith("cannot be read: No such file or directory"));
    app::Mistakes folder;
    CHECK_FALSE(app::load_setup(directory.path(), folder, test_now));
    REQUIRE(folder.lines().size() == 1);
    CHECK_THAT(folder.lines()[0], Catch::Matchers::ContainsSubstring("is a directory"));
}

TEST_CASE("IP addresses are names in their one form") {
    const Told told = read_text(managed_site + R"([[md.domain]]
names = ["192.0.2.1", "[2001:DB8:0:0::1]"]
[[site]]
hosts = ["2001:db8::1", "[2001:db8::7]"]
backend = "127.0.0.1:3000"
require_https = "permanent"
)");
    CAPTURE(told.mistakes);
    CHECK(told.mistakes.empty());
    REQUIRE(told.setup.domains.size() == 2);
    const md::Domain& domain = told.setup.domains[1];
    CHECK(domain.name == "192.0.2.1");
    // The site's other address becomes a name of the domain, as other hosts do.
    CHECK(domain.names == std::vector<std::string>{"192.0.2.1", "2001:db8::1", "2001:db8::7"});
    CHECK(domain.used);
    const proxy::Site* site = told.setup.routes->find("2001:db8::7");
    REQUIRE(site != nullptr);
    CHECK(site->name == "2001:db8::1");
    CHECK(told.setup.routes->find("2001:db8::8") == nullptr);
}
