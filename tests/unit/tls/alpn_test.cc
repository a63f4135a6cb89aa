// Application protocols: HTTP and the ACME challenge.
#include "catch.h"
#include "tls/certificates.h"
#include "tls/client.h"

using namespace test;

namespace {

std::shared_ptr<const tls::Certificate> challenge(const std::string& name) {
    const std::array<uint8_t, 32> digest{1, 2, 3};
    auto made = tls::make_challenge_certificate(name, digest, base::Time{});
    REQUIRE(made.ok());
    return *made;
}

void set_challenges(World& world, std::vector<std::string> names) {
    auto next = std::make_shared<tls::ChallengeCertificates>();
    for (const std::string& name : names) next->entries.push_back({name, challenge(name)});
    world.snapshots.challenges.publish(next);
}

}  // namespace

TEST_CASE("ALPN: http/1.1, http/1.0 or nothing, else no_application_protocol") {
    World world;
    world.set({"a.test"}, {certificate({"a.test"})});
    struct Case {
        std::vector<std::string> offered;
        const char* chosen;  // or the alert
    };
    const Case cases[] = {
        {{}, ""},
        {{"http/1.1"}, "http/1.1"},
        {{"h2", "http/1.1"}, "http/1.1"},
        {{"spdy/3", "http/1.1", "h2"}, "http/1.1"},
        {{"h2"}, "no application protocol"},
        {{"http/1.0"}, "http/1.0"},
        {{"http/1.0", "http/1.1"}, "http/1.1"},
        {{"h2", "http/1.0"}, "http/1.0"},
        {{"http/0.9"}, "no application protocol"},
        {{"acme-tls/1", "http/1.0"}, "no application protocol"},
        {{"HTTP/1.1"}, "no application protocol"},
        {{"http/1.1 "}, "no application protocol"},
        {{"acme-tls/1"}, "unrecognized name"},
        {{"acme-tls/1", "http/1.1"}, "no application protocol"},
        {{"http/1.1", "acme-tls/1"}, "no application protocol"},
        {{"\x8a\x8a", "http/1.1"}, "http/1.1"},
    };
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    for (size_t i = 0; i < std::size(cases); ++i) {
        CAPTURE(version, i);
        Server server = world.accept();
        Client client({.version = version, .alpn = cases[i].offered});
        if (connect(client, server)) {
            CHECK(client.alpn() == cases[i].chosen);
            CHECK(server.session().info().alpn == cases[i].chosen);
        } else {
            CHECK(client.alert() == cases[i].chosen);
        }
    }
    Server server = world.accept();
    Client client({.alpn = {"h2", "x\n"}});
    CHECK_FALSE(connect(client, server));
    CHECK(server.session().error() ==
          "the client offers no application protocol that we speak: h2, x\\x0a");
}

TEST_CASE("acme-tls/1 with a live challenge gets the challenge's certificate and nothing else") {
    World world;
    world.rotate_tickets();
    world.set({"a.test"}, {certificate({"a.test"})});
    set_challenges(world, {"a.test", "new.test"});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const auto name =
        GENERATE(std::string("a.test"), std::string("new.test"), std::string("A.TEST"));
    Server server = world.accept();
    Client client({.version = version, .server_name = name, .alpn = {"acme-tls/1"}});
    REQUIRE(connect(client, server));
    client.read();
    CHECK(client.peer_common_name() == "tls-alpn-01-challenge");
    CHECK(client.alpn() == "acme-tls/1");
    CHECK(client.tickets() == (version == TLS1_2_VERSION ? client.tickets() : 0));
    CHECK((!client.session() || !SSL_SESSION_has_ticket(client.session().get())));
    CHECK(server.session().info().challenge);
    CHECK(server.session().info().alpn == "acme-tls/1");
    CHECK(world.context->counters().challenge_handshakes == 1);
    CHECK(world.context->counters().full_handshakes == 0);
    // Nothing may be said on it.
    REQUIRE(client.write("GET / HTTP/1.1\r\n\r\n"));
    pump(client, server);
    CHECK(server.state == tls::Session::State::Failed);
    CHECK(server.received.empty());
}

TEST_CASE("acme-tls/1 is refused without a challenge, without SNI, with company, or afterwards") {
    World world;
    world.set_default({certificate({"default.test"})});
    world.set({"a.test"}, {certificate({"a.test"})});
    set_challenges(world, {"b.test"});
    struct Case {
        const char* name;
        std::vector<std::string> offered;
        const char* alert;
    };
    const Case cases[] = {
        {"a.test", {"acme-tls/1"}, "unrecognized name"},
        {"unknown.test", {"acme-tls/1"}, "unrecognized name"},
        {"x.b.test", {"acme-tls/1"}, "unrecognized name"},
        {"", {"acme-tls/1"}, "unrecognized name"},
        {"b.test", {"acme-tls/1", "h2"}, "no application protocol"},
        {"b.test", {"http/1.1", "acme-tls/1"}, "no application protocol"},
        {"b.test", {"acme-tls/1", "acme-tls/1"}, "no application protocol"},
    };
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    for (const Case& c : cases) {
        CAPTURE(version, c.name);
        Server server = world.accept();
        Client client({.version = version, .server_name = c.name, .alpn = c.offered});
        CHECK_FALSE(connect(client, server));
        CHECK(client.alert() == c.alert);
        CHECK(client.peer_common_name().empty());
    }
    set_challenges(world, {});
    Server server = world.accept();
    Client client({.version = version, .server_name = "b.test", .alpn = {"acme-tls/1"}});
    CHECK_FALSE(connect(client, server));
    CHECK(server.session().error() == "acme-tls/1 without a challenge for \"b.test\"");
}

TEST_CASE("a challenge's certificate is never given without that protocol") {
    World world;
    world.set({"a.test"}, {certificate({"a.test"})});
    set_challenges(world, {"a.test", "only.test"});
    Server server = world.accept();
    Client client({.alpn = {"http/1.1"}});
    REQUIRE(connect(client, server));
    CHECK(client.peer_common_name() == "a.test");
    Server other = world.accept();
    Client refused({.server_name = "only.test", .alpn = {"http/1.1"}});
    CHECK_FALSE(connect(refused, other));
    CHECK(refused.alert() == "unrecognized name");
}

TEST_CASE("a ticket of an ordinary session does not stand in for a challenge") {
    World world;
    world.rotate_tickets();
    world.set({"a.test"}, {certificate({"a.test"})});
    set_challenges(world, {"a.test"});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Server first = world.accept();
    Client ordinary({.version = version});
    REQUIRE(connect(ordinary, first));
    ordinary.read();
    REQUIRE(ordinary.session());
    Server second = world.accept();
    Client acme({.version = version, .alpn = {"acme-tls/1"}, .session = ordinary.session().get()});
    REQUIRE(connect(acme, second));
    CHECK_FALSE(second.session().info().resumed);
    CHECK(acme.peer_common_name() == "tls-alpn-01-challenge");
}

TEST_CASE("a challenge for an address is asked for by its reverse name (RFC 8738 6)") {
    World world;
    const auto address = GENERATE(std::string("192.0.2.1"), std::string("2001:db8::1"));
    const std::string name = base::IpAddress::parse(address)->reverse_name();
    auto next = std::make_shared<tls::ChallengeCertificates>();
    next->entries.push_back({name, challenge(address)});
    world.snapshots.challenges.publish(next);
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    for (const std::string& sni : {name, name + "."}) {
        CAPTURE(version, sni);
        Server server = world.accept_at(address.c_str());
        Client client({.version = version, .server_name = sni, .alpn = {"acme-tls/1"}});
        REQUIRE(connect(client, server));
        CHECK(client.peer_common_name() == "tls-alpn-01-challenge");
        const std::shared_ptr<X509> shown(SSL_get1_peer_certificate(client.ssl()), X509_free);
        CHECK(X509_check_ip_asc(shown.get(), address.c_str(), 0) == 1);
    }
    // Not by the address itself, and not without a name.
    for (const char* sni : {"192.0.2.1", ""}) {
        Server server = world.accept_at(address.c_str());
        Client client({.version = version, .server_name = sni, .alpn = {"acme-tls/1"}});
        CHECK_FALSE(connect(client, server));
    }
}
