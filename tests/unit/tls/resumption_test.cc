// Tickets: who resumes, who does not, and what a resumed session knows.
#include "catch.h"
#include "tls/certificates.h"
#include "tls/client.h"

using namespace test;

namespace {

struct Outcome {
    bool connected = false;
    bool resumed = false;
    int tickets = 0;
    std::shared_ptr<SSL_SESSION> session;
    const tls::Certificate* certificate = nullptr;
};

Outcome run(World& world, Client::Options options, SSL_SESSION* session = nullptr,
            const char* address = "") {
    // A copy: OpenSSL's client uses a session up.
    const std::shared_ptr<SSL_SESSION> copy(session ? SSL_SESSION_dup(session) : nullptr,
                                            SSL_SESSION_free);
    options.session = copy.get();
    Server server = world.accept_at(address);
    Client client(options);
    Outcome result;
    result.connected = connect(client, server);
    if (!result.connected) return result;
    client.read();  // takes the tickets of TLS 1.3
    result.resumed = SSL_session_reused(client.ssl()) == 1;
    CHECK(server.session().info().resumed == result.resumed);
    result.tickets = client.tickets();
    result.session = std::shared_ptr<SSL_SESSION>(SSL_get1_session(client.ssl()), SSL_SESSION_free);
    if (!SSL_SESSION_is_resumable(result.session.get())) result.session = nullptr;
    result.certificate = server.session().info().certificate;
    REQUIRE(client.write("ping"));
    pump(client, server);
    CHECK(server.received == "ping");
    return result;
}

Bytes ticket(const Outcome& outcome) {
    const unsigned char* data = nullptr;
    size_t size = 0;
    SSL_SESSION_get0_ticket(outcome.session.get(), &data, &size);
    return Bytes(data, data + size);
}

}  // namespace

TEST_CASE("a ticket resumes, and the resumed session knows its certificate") {
    World world;
    world.rotate_tickets();
    const auto a = certificate({"a.test"});
    world.set({"a.test"}, {certificate({"a.test"}, "RSA"), a});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const Outcome first = run(world, {.version = version});
    REQUIRE(first.connected);
    CHECK_FALSE(first.resumed);
    CHECK(first.tickets == 1);
    REQUIRE(first.session);
    const Outcome second = run(world, {.version = version}, first.session.get());
    CHECK(second.resumed);
    CHECK(second.certificate == a.get());
    CHECK(world.context->counters().resumed_handshakes == 1);
    CHECK(world.context->counters().full_handshakes == 1);

    // What a resumed handshake would present follows the index.
    const auto renewed = certificate({"a.test"});
    world.set({"a.test"}, {renewed});
    const Outcome third = run(world, {.version = version}, first.session.get());
    CHECK(third.resumed);
    CHECK(third.certificate == renewed.get());
}

TEST_CASE("a previous ticket key opens and renews; an older one means a full handshake") {
    World world;
    world.rotate_tickets();
    world.set({"a.test"}, {certificate({"a.test"})});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    CAPTURE(version);
    Outcome first = run(world, {.version = version});
    world.rotate_tickets();
    const Outcome once = run(world, {.version = version}, first.session.get());
    CHECK(once.resumed);
    CHECK(ticket(once) != ticket(first));  // sealed with the current key
    world.rotate_tickets();
    CHECK(run(world, {.version = version}, first.session.get()).resumed);
    world.rotate_tickets();
    const Outcome late = run(world, {.version = version}, first.session.get());
    CHECK(late.connected);
    CHECK_FALSE(late.resumed);
    CHECK(late.tickets == 1);
    CHECK(run(world, {.version = version}, once.session.get()).resumed);
}

TEST_CASE("each connection of TLS 1.3 brings a ticket, for clients use one once (RFC 8446 C.4)") {
    World world;
    world.rotate_tickets();
    const bool has_name = GENERATE(true, false);
    world.set({"a.test"}, {certificate({"a.test"})});
    world.set({"192.0.2.1"}, {certificate({"192.0.2.1"})});
    const Client::Options options{.version = TLS1_3_VERSION,
                                  .server_name = has_name ? "a.test" : ""};
    Outcome last = run(world, options, nullptr, "192.0.2.1");
    for (int i = 0; i < 20; ++i) {
        Outcome next = run(world, options, last.session.get(), "192.0.2.1");
        CHECK(next.resumed);
        REQUIRE(next.tickets == 1);
        CHECK(ticket(next) != ticket(last));
        last = next;
    }
    CHECK(world.context->counters().full_handshakes == 1);
}

TEST_CASE("a client that was asked to retry gets its next ticket as well") {
    World world;
    world.rotate_tickets();
    world.set({"a.test"}, {certificate({"a.test"})});
    const Client::Options options{.version = TLS1_3_VERSION, .groups = "P-521:P-256"};
    const Outcome first = run(world, options);
    const Outcome second = run(world, options, first.session.get());
    CHECK(second.resumed);
    CHECK(second.tickets == 1);
    CHECK(run(world, options, second.session.get()).resumed);
}

TEST_CASE("a ticket of TLS 1.2 serves again and again, and is renewed with its key alone") {
    World world;
    world.rotate_tickets();
    world.set({"a.test"}, {certificate({"a.test"})});
    const Client::Options options{.version = TLS1_2_VERSION};
    const Outcome first = run(world, options);
    for (int i = 0; i < 3; ++i) {
        const Outcome next = run(world, options, first.session.get());
        CHECK(next.resumed);
        CHECK(ticket(next) == ticket(first));
    }
    world.rotate_tickets();
    const Outcome renewed = run(world, options, first.session.get());
    CHECK(renewed.resumed);
    CHECK(ticket(renewed) != ticket(first));
}

TEST_CASE("a chain of resumptions ends 7 days after its full handshake (RFC 8446 4.6.1)") {
    using namespace std::chrono_literals;
    World world;
    world.rotate_tickets();
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const bool has_name = GENERATE(true, false);
    CAPTURE(version, has_name);
    world.set({"a.test"}, {certificate({"a.test"})});
    world.set({"192.0.2.1"}, {certificate({"192.0.2.1"})});
    const Client::Options options{.version = version, .server_name = has_name ? "a.test" : ""};
    const auto connect_at = [&](base::Duration moved, const Outcome& with) {
        world.clock.moved = moved;
        Outcome outcome = run(world, options, with.session.get(), "192.0.2.1");
        CHECK(outcome.connected);
        if (!outcome.session) outcome.session = with.session;  // TLS 1.2 goes on with the old one
        return outcome;
    };
    const Outcome first = connect_at(0s, {});
    CHECK(SSL_SESSION_get_ticket_lifetime_hint(first.session.get()) == 12 * 3600);
    Outcome last = first;
    for (base::Duration moved = 6h; moved < 7 * 24h; moved += 6h) {
        world.rotate_tickets();  // TLS 1.2 is renewed, too
        last = connect_at(moved, last);
        CHECK(last.resumed);
        if (version == TLS1_3_VERSION) {
            // No ticket promises more than is left: 12 hours and, at last, 6.
            const auto left = std::chrono::floor<std::chrono::seconds>(7 * 24h - moved).count();
            const auto hint = SSL_SESSION_get_ticket_lifetime_hint(last.session.get());
            CHECK(static_cast<long>(hint) <= std::min<long>(left, 12 * 3600));
            CHECK(static_cast<long>(hint) > std::min<long>(left, 12 * 3600) - 60);
        }
    }
    CHECK(connect_at(7 * 24h - 60s, last).resumed);
    const Outcome late = connect_at(7 * 24h, last);
    CHECK_FALSE(late.resumed);
    CHECK(late.tickets == 1);
    // That was a full handshake: a new chain begins.
    CHECK(connect_at(7 * 24h + 1h, late).resumed);
    CHECK_FALSE(connect_at(7 * 24h + 1h, last).resumed);
    // Time that has gone back proves nothing.
    CHECK_FALSE(connect_at(6 * 24h, late).resumed);
}

TEST_CASE("without keys there are no tickets and nothing fails") {
    World world;
    world.set({"a.test"}, {certificate({"a.test"})});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const Outcome first = run(world, {.version = version});
    REQUIRE(first.connected);
    const bool has_ticket = first.session && SSL_SESSION_has_ticket(first.session.get());
    CHECK_FALSE(has_ticket);

    // A ticket of another time, or of another process, is ignored.
    World other;
    other.rotate_tickets();
    other.set({"a.test"}, {certificate({"a.test"})});
    const Outcome foreign = run(other, {.version = version});
    const Outcome second = run(world, {.version = version}, foreign.session.get());
    CHECK(second.connected);
    CHECK_FALSE(second.resumed);
}

TEST_CASE("damaged tickets mean a full handshake") {
    World world;
    world.rotate_tickets();
    world.set({"a.test"}, {certificate({"a.test"})});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const Outcome first = run(world, {.version = version});
    unsigned char* der = nullptr;
    const int size = i2d_SSL_SESSION(first.session.get(), &der);
    REQUIRE(size > 0);
    const unsigned char* ticket = nullptr;
    size_t ticket_size = 0;
    SSL_SESSION_get0_ticket(first.session.get(), &ticket, &ticket_size);
    REQUIRE(ticket_size > 64);
    const auto* place = std::search(der, der + size, ticket, ticket + ticket_size);
    REQUIRE(place != der + size);
    const size_t at = static_cast<size_t>(place - der);
    // One byte each in the key's name, the IV, the body and the MAC.
    for (const size_t offset : {size_t{0}, size_t{15}, size_t{16}, size_t{40}, ticket_size / 2,
                                ticket_size - 33, ticket_size - 1}) {
        CAPTURE(version, offset, ticket_size);
        Bytes copy(der, der + size);
        copy[at + offset] ^= 1;
        const unsigned char* p = copy.data();
        SSL_SESSION* session = d2i_SSL_SESSION(nullptr, &p, size);
        REQUIRE(session != nullptr);
        const Outcome second = run(world, {.version = version}, session);
        CHECK(second.connected);
        CHECK_FALSE(second.resumed);
        SSL_SESSION_free(session);
    }
    OPENSSL_free(der);
}

TEST_CASE("a session resumes under its own name only") {
    World world;
    world.rotate_tickets();
    world.set({"a.test", "b.test"}, {certificate({"a.test"})});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const Outcome first = run(world, {.version = version});
    const Outcome other =
        run(world, {.version = version, .server_name = "b.test"}, first.session.get());
    CHECK(other.connected);
    CHECK_FALSE(other.resumed);
    CHECK(run(world, {.version = version, .server_name = "A.test."}, first.session.get()).resumed);
    // A name that is gone is refused, resumed or not.
    world.set({"a.test"}, {});
    CHECK_FALSE(run(world, {.version = version}, first.session.get()).connected);
}

TEST_CASE("a session without SNI resumes at its own address only") {
    World world;
    world.rotate_tickets();
    const auto shared = certificate({"127.0.0.1", "127.0.0.2", "::1"});
    world.set({"127.0.0.1", "127.0.0.2", "::1"}, {shared});
    world.set_default({certificate({"default.test"})});
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const Client::Options options{.version = version, .server_name = ""};
    for (const char* address : {"127.0.0.1", "::1", "192.0.2.1", ""}) {
        const Outcome first = run(world, options, nullptr, address);
        REQUIRE(first.session);
        for (const char* other : {"127.0.0.1", "127.0.0.2", "::1", "192.0.2.1", ""}) {
            CAPTURE(version, address, other);
            const Outcome second = run(world, options, first.session.get(), other);
            CHECK(second.connected);
            // Those without a certificate of their own are the default site's alike.
            const bool both_default = !shared->covers(address) && !shared->covers(other);
            CHECK(second.resumed == (both_default || std::string(address) == other));
            // The renewed ticket is for the same address as the one before.
            if (second.resumed && second.session) {
                CHECK(run(world, options, second.session.get(), other).resumed);
            }
        }
        const Outcome named = run(world, {.version = version, .server_name = "127.0.0.1"},
                                  first.session.get(), address);
        CHECK_FALSE(named.resumed);
    }
}

TEST_CASE("a session does not resume under another policy") {
    World first_world;
    World second_world(tls::Policy::Modern);
    first_world.rotate_tickets();
    second_world.snapshots.ticket_keys.publish(first_world.snapshots.ticket_keys.current());
    for (World* world : {&first_world, &second_world}) {
        world->set({"a.test"}, {certificate({"a.test"})});
    }
    const Outcome first = run(first_world, {.version = TLS1_3_VERSION});
    const Outcome second = run(second_world, {.version = TLS1_3_VERSION}, first.session.get());
    CHECK(second.connected);
    CHECK_FALSE(second.resumed);
    // Two workers with the same policy and keys do share.
    World third_world;
    third_world.snapshots.ticket_keys.publish(first_world.snapshots.ticket_keys.current());
    third_world.set({"a.test"}, {certificate({"a.test"})});
    CHECK(run(third_world, {.version = TLS1_3_VERSION}, first.session.get()).resumed);
}
