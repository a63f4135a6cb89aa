// Which certificate a ClientHello gets.
#include "catch.h"
#include "tls/certificates.h"
#include "tls/client.h"

using namespace test;

namespace {

/// Who was presented, or the alert.
std::string outcome(World& world, const Client::Options& options) {
    Server server = world.accept();
    Client client(options);
    if (!connect(client, server)) {
        CHECK(server.state == tls::Session::State::Failed);
        CHECK_FALSE(server.session().error().empty());
        return "alert: " + client.alert();
    }
    return client.peer_common_name();
}

}  // namespace

TEST_CASE("SNI chooses exact name, wildcard, default; unknown without default: alert") {
    World world;
    world.set({"a.test"}, {certificate({"a.test"})});
    world.set({"*.w.test"}, {certificate({"*.w.test"})});
    const std::string long_label(63, 'l');
    struct Case {
        std::string name;
        std::string without_default;
        std::string with_default;
    };
    const Case cases[] = {
        {"a.test", "a.test", "a.test"},
        {"A.TeSt", "a.test", "a.test"},
        {"a.test.", "a.test", "a.test"},
        {"x.w.test", "*.w.test", "*.w.test"},
        {"X.W.test.", "*.w.test", "*.w.test"},
        {"x.y.w.test", "alert: unrecognized name", "default.test"},
        {"*.w.test", "alert: unrecognized name", "default.test"},
        {"unknown.test", "alert: unrecognized name", "default.test"},
        {"", "alert: unrecognized name", "default.test"},
        {"127.0.0.1", "alert: unrecognized name", "default.test"},
        {"::1", "alert: unrecognized name", "default.test"},
        {"a..test", "alert: unrecognized name", "default.test"},
        {"\xff\xfe", "alert: unrecognized name", "default.test"},
        {"../a.test", "alert: unrecognized name", "default.test"},
        {std::string(255, 'x'), "alert: unrecognized name", "default.test"},
        {long_label + ".w.test", "*.w.test", "*.w.test"},
        {long_label + "l.w.test", "alert: unrecognized name", "default.test"},
    };
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    CAPTURE(version);
    for (const Case& c : cases) {
        CAPTURE(c.name);
        CHECK(outcome(world, {.version = version, .server_name = c.name}) == c.without_default);
    }
    world.set_default({certificate({"default.test"})});
    for (const Case& c : cases) {
        CAPTURE(c.name);
        CHECK(outcome(world, {.version = version, .server_name = c.name}) == c.with_default);
    }
}

TEST_CASE("the error names the unknown server, escaped") {
    World world;
    Server server = world.accept();
    Client client({.server_name = "ev\"il\n\xff.test"});
    CHECK_FALSE(connect(client, server));
    CHECK(server.session().error() == "unrecognized name \"ev\\x22il\\x0a\\xff.test\"");
    Server nameless = world.accept();
    Client silent({.server_name = ""});
    CHECK_FALSE(connect(silent, nameless));
    CHECK(nameless.session().error() == "no server name, and there is no default certificate");
    CHECK(world.context->counters().failed_handshakes == 2);
}

TEST_CASE("ECDSA if the client can verify it, else RSA") {
    World world;
    const auto ecdsa = certificate({"ecdsa.test"});
    const auto rsa = certificate({"rsa.test"}, "RSA");
    const bool rsa_first = GENERATE(true, false);
    if (rsa_first) {
        world.set({"a.test"}, {rsa, ecdsa});
    } else {
        world.set({"a.test"}, {ecdsa, rsa});
    }
    struct Case {
        Client::Options options;
        const char* presented;
    };
    const Case cases[] = {
        {{.version = TLS1_3_VERSION}, "ecdsa.test"},
        {{.version = TLS1_2_VERSION}, "ecdsa.test"},
        {{.version = TLS1_3_VERSION, .signature_algorithms = "RSA-PSS+SHA256"}, "rsa.test"},
        {{.version = TLS1_3_VERSION,
          .signature_algorithms = "RSA-PSS+SHA256:ECDSA+SHA384:RSA+SHA256"},
         "rsa.test"},
        {{.version = TLS1_3_VERSION, .signature_algorithms = "ECDSA+SHA256"}, "ecdsa.test"},
        {{.version = TLS1_3_VERSION, .signature_algorithms = "RSA-PSS+SHA256:ECDSA+SHA256"},
         "ecdsa.test"},
        {{.version = TLS1_2_VERSION, .signature_algorithms = "RSA+SHA256"}, "rsa.test"},
        {{.version = TLS1_2_VERSION, .signature_algorithms = "ECDSA+SHA384:RSA+SHA256"},
         "ecdsa.test"},
        {{.version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"}, "rsa.test"},
        {{.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"}, "ecdsa.test"},
        {{.version = TLS1_2_VERSION, .groups = "X25519:P-384"}, "rsa.test"},
        {{.version = TLS1_2_VERSION, .groups = "X25519:P-256"}, "ecdsa.test"},
        {{.version = TLS1_3_VERSION, .groups = "X25519"}, "ecdsa.test"},
        {{.version = TLS1_2_VERSION, .ciphers = "AES128-GCM-SHA256"}, "alert: handshake failure"},
        {{.version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-SHA256"},
         "alert: handshake failure"},
        {{.version = TLS1_2_VERSION, .ciphers = "DHE-RSA-AES128-GCM-SHA256"},
         "alert: handshake failure"},
        {{.version = TLS1_3_VERSION, .groups = "P-521"}, "alert: handshake failure"},
        {{.version = TLS1_3_VERSION, .groups = "P-521:P-384"}, "ecdsa.test"},  // HelloRetryRequest
    };
    for (size_t i = 0; i < std::size(cases); ++i) {
        CAPTURE(i);
        CHECK(outcome(world, cases[i].options) == cases[i].presented);
    }
}

TEST_CASE("the only certificate is used, whatever the client says") {
    World world;
    world.set({"a.test"}, {certificate({"rsa.test"}, "RSA")});
    CHECK(outcome(world, {}) == "rsa.test");
    CHECK(outcome(world, {.version = TLS1_3_VERSION, .signature_algorithms = "ECDSA+SHA256"}) ==
          "alert: handshake failure");
    Server server = world.accept();
    Client client({.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"});
    CHECK_FALSE(connect(client, server));
    CHECK(server.session().error() == "no shared cipher");
}

TEST_CASE("a new certificate is seen by the next handshake, not by connections that are up") {
    World world;
    world.set({"a.test"}, {certificate({"old.test"})});
    Server up = world.accept();
    Client first({});
    REQUIRE(connect(first, up));
    Server early = world.accept();  // accepted before, hello after
    world.set({"a.test"}, {certificate({"new.test"})});
    Client second({});
    REQUIRE(connect(second, early));
    CHECK(second.peer_common_name() == "new.test");
    CHECK(outcome(world, {}) == "new.test");
    REQUIRE(first.write("still here"));
    pump(first, up);
    CHECK(up.received == "still here");
    REQUIRE(up.session().info().certificate != nullptr);
    CHECK(up.session().info().certificate->covers("old.test"));
    world.set({"a.test"}, {});
    CHECK(outcome(world, {}) == "alert: unrecognized name");
}

TEST_CASE("a handshake keeps its certificate when the snapshot changes in the middle") {
    World world;
    world.set({"a.test"}, {certificate({"old.test"})});
    Server server = world.accept();
    Client client({.version = TLS1_2_VERSION});
    client.handshake();
    server.put(client.take_output());
    world.set({"a.test"}, {});
    client.put_input(server.take_output());
    client.handshake();
    pump(client, server);
    CHECK(server.session().handshake_done());
    CHECK(client.peer_common_name() == "old.test");
}

TEST_CASE("a staple goes with the very certificate it belongs to") {
    World world;
    const auto ecdsa = certificate({"ecdsa.test"});
    const auto rsa = certificate({"rsa.test"}, "RSA");
    const auto now = std::chrono::time_point_cast<base::Duration>(std::chrono::system_clock::now());
    const auto make = [](tls::Der response, base::Time until) {
        return std::make_shared<const tls::Staple>(tls::Staple{std::move(response), until});
    };
    const auto staple = make({1, 2, 3, 4, 5}, now + std::chrono::hours{1});
    world.set({"a.test"}, {rsa, ecdsa}, {staple, nullptr});
    world.set({"b.test"}, {rsa, ecdsa}, {nullptr, staple});
    world.set({"c.test"}, {ecdsa});
    world.set({"big.test"}, {ecdsa}, {make(tls::Der(64 * 1024 + 1), staple->until)});
    world.set({"old.test"}, {ecdsa}, {make({1, 2}, now - std::chrono::milliseconds{1})});
    struct Case {
        const char* name;
        const char* algorithms;
        bool asks;
        bool stapled;
    };
    const Case cases[] = {
        {"a.test", "", true, false},   {"a.test", "RSA-PSS+SHA256:RSA+SHA256", true, true},
        {"b.test", "", true, true},    {"b.test", "RSA-PSS+SHA256:RSA+SHA256", true, false},
        {"b.test", "", false, false},  {"c.test", "", true, false},
        {"big.test", "", true, false}, {"old.test", "", true, false},
    };
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    for (const Case& c : cases) {
        CAPTURE(version, c.name, c.algorithms, c.asks);
        Server server = world.accept();
        Client client({.version = version,
                       .server_name = c.name,
                       .signature_algorithms = c.algorithms,
                       .status_request = c.asks});
        REQUIRE(connect(client, server));
        const unsigned char* got = nullptr;
        const long size = SSL_get_tlsext_status_ocsp_resp(client.ssl(), &got);
        CHECK((size > 0) == c.stapled);
        if (size > 0) CHECK(tls::Der(got, got + size) == staple->response);
    }
}

TEST_CASE("suites follow the policy's order; ChaCha first for clients that prefer it") {
    World world;
    world.set({"a.test"}, {certificate({"a.test"})});
    struct Case {
        Client::Options options;
        const char* cipher;
    };
    const Case cases[] = {
        {{.version = TLS1_3_VERSION}, "TLS_AES_128_GCM_SHA256"},
        {{.version = TLS1_3_VERSION,
          .suites = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"},
         "TLS_CHACHA20_POLY1305_SHA256"},
        {{.version = TLS1_3_VERSION,
          .suites = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"},
         "TLS_AES_256_GCM_SHA384"},
        {{.version = TLS1_2_VERSION}, "ECDHE-ECDSA-AES128-GCM-SHA256"},
        {{.version = TLS1_2_VERSION,
          .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"},
         "ECDHE-ECDSA-CHACHA20-POLY1305"},
    };
    for (const Case& c : cases) {
        Server server = world.accept();
        Client client(c.options);
        REQUIRE(connect(client, server));
        CHECK(server.session().info().cipher == c.cipher);
    }
}

TEST_CASE("the modern policy refuses TLS 1.2, and both refuse 1.1") {
    World modern(tls::Policy::Modern);
    modern.set({"a.test"}, {certificate({"a.test"})});
    CHECK(outcome(modern, {.version = TLS1_3_VERSION}) == "a.test");
    CHECK(outcome(modern, {.version = TLS1_2_VERSION}) == "alert: protocol version");
    World world;
    world.set({"a.test"}, {certificate({"a.test"}), certificate({"a.test"}, "RSA")});
    CHECK(outcome(world, {.version = TLS1_1_VERSION, .ciphers = "DEFAULT@SECLEVEL=0"}) ==
          "alert: protocol version");
}

TEST_CASE("TLS_FALLBACK_SCSV is honoured") {
    World world;
    world.set({"a.test"}, {certificate({"a.test"})});
    CHECK(outcome(world, {.version = TLS1_2_VERSION, .tweak = [](SSL* ssl) {
                              SSL_set_mode(ssl, SSL_MODE_SEND_FALLBACK_SCSV);
                          }}) == "alert: inappropriate fallback");
}

TEST_CASE("max_fragment_length is honoured and fits the promised overhead") {
    World world;
    world.set({"a.test"}, {certificate({"a.test"})});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Server server = world.accept();
    Client client({.version = version, .tweak = [](SSL* ssl) {
                       SSL_set_tlsext_max_fragment_length(ssl, TLSEXT_max_fragment_length_512);
                   }});
    REQUIRE(connect(client, server));
    const std::string big(16384, 'f');
    REQUIRE(server.write(big));
    client.put_input(server.take_output());
    CHECK(client.read() == big);
}

TEST_CASE("a chain of 20 KiB is sent whole") {
    World world;
    const Issued root = issue({.common_name = "Big CA", .is_ca = true, .padding = 20 * 1024});
    const Issued leaf = issue({.common_name = "big", .names = {"a.test"}}, &root);
    auto big = tls::read_certificate(leaf.pem() + root.pem(), leaf.key_pem());
    REQUIRE(big.ok());
    world.set({"a.test"}, {*big});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const auto room = GENERATE(size_t{128}, size_t{1000}, size_t{4096}, size_t{65536});
    Server server = world.accept();
    server.output_room = room;
    Client client({.version = version});
    REQUIRE(connect(client, server));
    CHECK(sk_X509_num(SSL_get_peer_cert_chain(client.ssl())) == 2);
}

TEST_CASE("without SNI the address that the client connected to chooses, else the default") {
    World world;
    world.set({"192.0.2.1", "four.test"}, {certificate({"192.0.2.1"})});
    world.set({"2001:db8::1"}, {certificate({"2001:db8::1"})});
    world.set({"a.test"}, {certificate({"a.test"})});
    struct Case {
        const char* sni;
        const char* address;
        const char* without_default;
        const char* with_default;
        const char* server_name;
    };
    constexpr const char* refused = "alert: unrecognized name";
    const Case cases[] = {
        {"", "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1"},
        {"", "2001:db8::1", "2001:db8::1", "2001:db8::1", "2001:db8::1"},
        {"", "192.0.2.2", refused, "default.test", ""},
        {"", "2001:db8::2", refused, "default.test", ""},
        {"", "", refused, "default.test", ""},  // a Unix socket
        {"a.test", "192.0.2.1", "a.test", "a.test", "a.test"},
        {"unknown.test", "192.0.2.1", refused, "default.test", "unknown.test"},
        {"::1", "192.0.2.1", refused, "default.test", ""},
        {"192.0.2.1", "192.0.2.9", "192.0.2.1", "192.0.2.1", "192.0.2.1"},
    };
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    for (const bool has_default : {false, true}) {
        if (has_default) world.set_default({certificate({"default.test"})});
        for (const Case& c : cases) {
            CAPTURE(version, has_default, c.sni, c.address);
            Server server = world.accept_at(c.address);
            Client client({.version = version, .server_name = c.sni});
            const std::string expected = has_default ? c.with_default : c.without_default;
            const bool is_connected = connect(client, server);
            CHECK((is_connected ? client.peer_common_name() : "alert: " + client.alert()) ==
                  expected);
            if (is_connected) CHECK(server.session().info().server_name == c.server_name);
        }
    }
    // Only who sent no name is looked at.
    world.times_asked = 0;
    Server named = world.accept_at("192.0.2.1");
    Client client({.version = version});
    CHECK(connect(client, named));
    CHECK(world.times_asked == 0);
    // And only while there is a certificate for some address.
    world.set({"192.0.2.1", "2001:db8::1"}, {});
    Server nameless = world.accept_at("192.0.2.1");
    Client other({.version = version, .server_name = ""});
    CHECK(connect(other, nameless));
    CHECK(other.peer_common_name() == "default.test");
}
