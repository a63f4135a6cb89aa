// Handshakes that fail are counted by their reason, each once.
#include "catch.h"
#include "tls/certificates.h"
#include "tls/client.h"

using namespace test;
using tls::Failure;
using State = tls::Session::State;

namespace {

uint64_t counted(const World& world, Failure failure) {
    return world.context->counters().failed_by_reason[static_cast<size_t>(failure)];
}

/// One handshake failed so far, for this reason and no other.
void expect_one(const World& world, Failure failure) {
    CAPTURE(tls::label(failure));
    CHECK(world.context->counters().failed_handshakes == 1);
    CHECK(counted(world, failure) == 1);
    uint64_t sum = 0;
    for (const uint64_t number : world.context->counters().failed_by_reason) sum += number;
    CHECK(sum == 1);
}

void set_site(World& world) {
    world.rotate_tickets();
    world.set({"a.test"}, {certificate({"a.test"})});
}

void refuse_certificate(SSL* ssl) {
    SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
}

}  // namespace

TEST_CASE("a handshake that fails says why, in one word") {
    struct Case {
        Client::Options options;
        Failure failure;
        tls::Policy policy = tls::Policy::Intermediate;
    };
    const Case cases[] = {
        {{.version = TLS1_2_VERSION}, Failure::NoSharedVersion, tls::Policy::Modern},
        {{.version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"},
         Failure::NoSharedCipher},
        {{.version = TLS1_2_VERSION, .ciphers = "AES128-GCM-SHA256"}, Failure::NoSharedCipher},
        {{.version = TLS1_2_VERSION, .groups = "P-521"}, Failure::NoSharedCipher},
        {{.version = TLS1_3_VERSION, .suites = "TLS_AES_128_CCM_SHA256"}, Failure::NoSharedCipher},
        {{.version = TLS1_3_VERSION, .groups = "P-521"}, Failure::NoSharedCipher},
        {{.version = TLS1_3_VERSION, .signature_algorithms = "RSA-PSS+SHA256"},
         Failure::NoSharedCipher},
        {{.server_name = "b.test"}, Failure::UnknownName},
        {{.server_name = ""}, Failure::UnknownName},
        {{.alpn = {"acme-tls/1"}}, Failure::UnknownName},
        {{.alpn = {"h2"}}, Failure::NoProtocol},
        {{.version = TLS1_2_VERSION, .alpn = {"h2"}}, Failure::NoProtocol},
        {{.alpn = {"acme-tls/1", "http/1.1"}}, Failure::NoProtocol},
        {{.version = TLS1_2_VERSION, .tweak = refuse_certificate}, Failure::ClientAlert},
        {{.version = TLS1_3_VERSION, .tweak = refuse_certificate}, Failure::ClientAlert},
    };
    for (size_t i = 0; i < std::size(cases); ++i) {
        CAPTURE(i);
        World world(cases[i].policy);
        set_site(world);
        {
            Server server = world.accept();
            Client client(cases[i].options);
            CHECK_FALSE(connect(client, server));
            CAPTURE(server.session().error());
            CHECK(server.state == State::Failed);
            CHECK(tls::label(server.session().failure()) == tls::label(cases[i].failure));
            server.session().give_up(Failure::TimedOut);  // too late
        }
        expect_one(world, cases[i].failure);
    }
}

TEST_CASE("bytes that are no handshake are told from those that break one") {
    struct Case {
        Bytes bytes;
        Failure failure;
    };
    const std::string_view request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const Case cases[] = {
        {Bytes(request.begin(), request.end()), Failure::NotTls},
        {Bytes(40, 0xff), Failure::NotTls},
        {{22, 3, 1, 0, 5, 1, 0, 0, 1, 0}, Failure::ProtocolError},
        {{22, 3, 1, 0x40, 0, 1, 1, 0xff, 0xff, 3, 3}, Failure::ProtocolError},
        {{23, 3, 3, 0, 1, 0}, Failure::ProtocolError},
    };
    for (size_t i = 0; i < std::size(cases); ++i) {
        CAPTURE(i);
        World world;
        set_site(world);
        {
            Server server = world.accept();
            server.put(cases[i].bytes);
            CHECK(server.state == State::Failed);
            CHECK(tls::label(server.session().failure()) == tls::label(cases[i].failure));
        }
        expect_one(world, cases[i].failure);
    }
}

TEST_CASE("a forged Finished is a protocol error") {
    World world;
    set_site(world);
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Server server = world.accept();
    Client client({.version = version});
    client.handshake();
    server.put(client.take_output());
    client.put_input(server.take_output());
    client.handshake();
    Bytes flight = client.take_output();
    flight.back() ^= 1;
    server.put(flight);
    CHECK(server.session().failure() == Failure::ProtocolError);
    expect_one(world, Failure::ProtocolError);
}

TEST_CASE("who leaves, and whose time is up, are told apart") {
    const int how = GENERATE(0, 1, 2, 3);
    CAPTURE(how);
    World world;
    set_site(world);
    const Failure failures[] = {Failure::GivenUp, Failure::GivenUp, Failure::TimedOut,
                                Failure::Overload};
    const Failure expected = failures[how];
    {
        Server server = world.accept();
        Client client({});
        client.handshake();
        server.put(client.take_output());
        if (how == 1) server.put({21, 3, 3, 0, 2, 1, 0});
        if (how >= 2) {
            server.session().give_up(expected);
            server.drive();
            CHECK(server.state == State::Failed);
            CHECK_FALSE(server.session().error().empty());
            CHECK_FALSE(server.session().has_input());
        }
        if (how > 0) CHECK(server.session().failure() == expected);
    }
    expect_one(world, expected);
}

TEST_CASE("a connection on which nothing came is no failed handshake, but its time can be up") {
    World world;
    set_site(world);
    { Server server = world.accept(); }
    CHECK(world.context->counters().failed_handshakes == 0);
    {
        Server server = world.accept();
        server.session().give_up(Failure::TimedOut);
    }
    expect_one(world, Failure::TimedOut);
}

TEST_CASE("a certificate of ours that is broken is our fault, and told as such") {
    World world;
    world.rotate_tickets();
    const auto whole = certificate({"a.test"});
    auto broken = std::make_shared<tls::Certificate>(*whole);
    broken->key = std::make_shared<const tls::KeyDer>(tls::Der{1, 2, 3});
    world.set({"a.test"}, {broken});
    Server server = world.accept();
    Client client({});
    CHECK_FALSE(connect(client, server));
    CHECK(server.session().failure() == Failure::CertificateFault);
    CHECK(client.alert() == "internal error");
    expect_one(world, Failure::CertificateFault);
}

TEST_CASE("what fails after the handshake is said, and not counted among handshakes") {
    World world;
    set_site(world);
    Server server = world.accept();
    Client client({});
    REQUIRE(connect(client, server));
    client.read();
    CHECK(server.session().failure() == Failure::None);
    server.session().give_up(Failure::TimedOut);  // it is done: nothing happens
    REQUIRE(client.write("x"));
    Bytes wire = client.take_output();
    wire.back() ^= 1;
    server.put(wire);
    CHECK(server.state == State::Failed);
    CHECK(server.session().failure() == Failure::ProtocolError);
    CHECK(world.context->counters().failed_handshakes == 0);
}
