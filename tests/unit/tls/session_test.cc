// Whole connections: what goes in at one end comes out at the other.
#include "catch.h"
#include "tls/certificates.h"
#include "tls/client.h"

using namespace test;
using tls::Session;

TEST_CASE("a connection carries data both ways in TLS 1.2 and 1.3") {
    World world;
    world.rotate_tickets();
    const auto key = GENERATE(std::string("P-256"), std::string("RSA"), std::string("P-384"),
                              std::string("P-521"), std::string("Ed25519"));
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    CAPTURE(key, version);
    world.set({"a.test"}, {certificate({"a.test"}, key)});
    Server server = world.accept();
    Client client({.version = version, .alpn = {"h2", "http/1.1"}});
    REQUIRE(connect(client, server));
    const tls::SessionInfo& info = server.session().info();
    CHECK(info.version == (version == TLS1_3_VERSION ? tls::Version::Tls13 : tls::Version::Tls12));
    CHECK_FALSE(info.resumed);
    CHECK_FALSE(info.challenge);
    CHECK(info.server_name == "a.test");
    CHECK(info.alpn == "http/1.1");
    CHECK(info.cipher == SSL_get_cipher_name(client.ssl()));
    REQUIRE(info.certificate != nullptr);
    CHECK(info.certificate->leaf == client.peer_der());
    CHECK(client.alpn() == "http/1.1");
    CHECK(sk_X509_num(SSL_get_peer_cert_chain(client.ssl())) == 2);

    const std::string big(100000, 'b');
    REQUIRE(client.write("hello"));
    REQUIRE(client.write(big));
    pump(client, server);
    CHECK(server.received == "hello" + big);
    REQUIRE(server.write(std::string(16384, 'r')));
    CHECK(server.output.size() <= 16384 + 29);
    REQUIRE(server.write("x"));
    client.put_input(server.take_output());
    CHECK(client.read() == std::string(16384, 'r') + "x");
    CHECK(world.context->counters().full_handshakes == 1);
    CHECK(world.context->counters().failed_handshakes == 0);
}
