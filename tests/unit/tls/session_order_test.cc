// The owner of a Session calls as events come, and the peer decides when they come: no order of
// calls and no bytes may do more than end the session.
#include <random>

#include "catch.h"
#include "tls/certificates.h"
#include "tls/client.h"

using namespace test;
using tls::Session;
using State = tls::Session::State;

namespace {

struct OneSite : World {
    OneSite() {
        rotate_tickets();
        set({"a.test"}, {certificate({"a.test"})});
    }
};

struct Pair {
    Pair(World& world, int version) : server(world.accept()), client({.version = version}) {
        REQUIRE(connect(client, server));
        client.read();
    }
    Session& session() { return server.session(); }
    /// One read() with much room.
    Session::Read read() {
        Bytes plaintext(16384);
        Bytes room(4096);
        size_t produced = 0;
        const Session::Read result = session().read(plaintext, room, produced);
        server.output.insert(server.output.end(), room.begin(),
                             room.begin() + static_cast<ptrdiff_t>(produced));
        return result;
    }
    Bytes key_update(int type) {
        SSL_key_update(client.ssl(), type);
        SSL_do_handshake(client.ssl());
        return client.take_output();
    }
    Bytes close_notify() {
        SSL_shutdown(client.ssl());
        return client.take_output();
    }
    Server server;
    Client client;
};

const Bytes junk_pieces[] = {
    Bytes(50, 'x'),
    Bytes(6000, 'z'),
    Bytes{23,  3,   3,   0,   16,  'a', 'a', 'a', 'a', 'a', 'a',
          'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a'},
    Bytes{21, 3, 3, 0, 2, 1, 0},
};

/// Whatever comes, it stays what it is.
void expect_it_stays(Session& session, State state) {
    Bytes plaintext(16384);
    Bytes room(4096);
    for (const Bytes& junk : junk_pieces) {
        session.feed(junk);
        session.feed(junk);
        CHECK_FALSE(session.has_input());
        session.keep_input();
        session.use_slow_key();
        size_t produced = 1;
        const Session::Read result = session.read(plaintext, room, produced);
        CHECK(result.state == state);
        CHECK(result.size == 0);
        CHECK(produced == 0);
    }
}

}  // namespace

TEST_CASE("after close_notify no input is taken, and the other direction stays open") {
    OneSite world;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const bool in_same_piece = GENERATE(true, false);
    CAPTURE(version, in_same_piece);
    Pair pair(world, version);
    Bytes wire = pair.close_notify();
    if (in_same_piece) wire.insert(wire.end(), 100, 'j');
    pair.session().feed(wire);
    CHECK(pair.read().state == State::Closed);
    expect_it_stays(pair.session(), State::Closed);
    // Nor is it kept somewhere: it would fail beyond its bound.
    const Bytes flood(64 * 1024, 'f');
    for (size_t size = 0; size < 2 * Session::input_waiting_max; size += flood.size()) {
        pair.session().feed(flood);
    }
    expect_it_stays(pair.session(), State::Closed);
    CHECK(pair.session().error().empty());
    REQUIRE(pair.server.write("answer"));
    expect_it_stays(pair.session(), State::Closed);
    Bytes room(256);
    const size_t size = pair.session().close(room);
    CHECK(size > 0);
    expect_it_stays(pair.session(), State::Closed);
    CHECK(pair.session().close(room) == 0);
    pair.client.put_input(pair.server.take_output());
    CHECK(pair.client.read() == "answer");
}

TEST_CASE("after a failure no input is taken and nothing is written") {
    OneSite world;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Pair pair(world, version);
    REQUIRE(pair.client.write("one"));
    Bytes wire = pair.client.take_output();
    wire.back() ^= 1;
    pair.session().feed(wire);
    CHECK(pair.read().state == State::Failed);
    expect_it_stays(pair.session(), State::Failed);
    CHECK_FALSE(pair.server.write("x"));
    Bytes room(256);
    CHECK(pair.session().close(room) == 0);

    // The same in a handshake, and for a ClientHello that never reaches OpenSSL.
    for (const Bytes& first : {Bytes(40, 0xff), Bytes{22, 3, 1, 0x40, 0, 1, 1, 0xff, 0xff, 3, 3}}) {
        Server server = world.accept();
        server.session().feed(first);
        server.drive();
        CHECK(server.state == State::Failed);
        expect_it_stays(server.session(), State::Failed);
        CHECK(server.session().close(room) == 0);
    }
    CHECK(world.context->counters().failed_handshakes == 2);
}

TEST_CASE("a failure that is pending in the input does not hinder whoever feeds again") {
    OneSite world;
    Server server = world.accept();
    server.session().feed(Bytes{22, 3, 1, 0x40, 0, 1, 1, 0xff, 0xff, 3, 3});
    server.session().feed(Bytes(100, 'x'));
    server.drive();
    CHECK(server.state == State::Failed);
    CHECK(server.output == Bytes{21, 3, 3, 0, 2, 2, 47});
    CHECK(world.context->counters().failed_handshakes == 1);
}

TEST_CASE("a close_notify before the end of the handshake is a failure (RFC 8446 6.1)") {
    OneSite world;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const bool after_hello = GENERATE(false, true);
    CAPTURE(version, after_hello);
    Server server = world.accept();
    Client client({.version = version});
    client.handshake();
    if (after_hello) server.put(client.take_output());
    // Both forms: with user_canceled before it, which tells why.
    const bool is_canceled = GENERATE(false, true);
    Bytes alerts;
    if (is_canceled) alerts = {21, 3, 3, 0, 2, 1, 90};
    const Bytes close_notify{21, 3, 3, 0, 2, 1, 0};
    alerts.insert(alerts.end(), close_notify.begin(), close_notify.end());
    server.put(alerts);
    CHECK(server.state == State::Failed);
    CHECK_FALSE(server.session().handshake_done());
    CHECK_FALSE(server.session().error().empty());
    if (after_hello) {
        CHECK(server.session().error() == "the client closed in the middle of the handshake");
    }
    expect_it_stays(server.session(), State::Failed);
    CHECK(world.context->counters().failed_handshakes == 1);
}

TEST_CASE("what is fed before the last bytes were read is read after them") {
    OneSite world;
    Pair pair(world, TLS1_3_VERSION);
    std::string sent;
    for (int i = 0; i < 20; ++i) {
        const std::string text(1000, static_cast<char>('a' + i));
        sent += text;
        REQUIRE(pair.client.write(text));
        const Bytes wire = pair.client.take_output();
        // Cut in the middle of a record. The bytes of a second feed() need not stay.
        const auto middle = wire.begin() + static_cast<ptrdiff_t>(wire.size() / 2);
        auto first = std::make_unique<Bytes>(wire.begin(), middle);
        pair.session().feed(*first);
        if (i % 3 == 1) pair.session().keep_input();
        pair.session().feed(Bytes(middle, wire.end()));
        first.reset();
        if (i % 4 == 3) pair.server.drive();
    }
    pair.server.drive();
    CHECK(pair.server.received == sent);
    CHECK(pair.server.state == State::NeedInput);
}

TEST_CASE("input that nobody reads is bounded") {
    OneSite world;
    Pair pair(world, TLS1_3_VERSION);
    REQUIRE(pair.client.write("first"));
    const Bytes first = pair.client.take_output();
    pair.session().feed(first);
    const Bytes piece(16384, 'p');
    for (size_t size = 0; size < 2 * Session::input_waiting_max; size += piece.size()) {
        pair.session().feed(piece);
    }
    pair.server.drive();
    CHECK(pair.server.state == State::Failed);
    CHECK(pair.server.received.empty());
    CHECK(pair.session().error() == "too much input waits to be read");
}

TEST_CASE("a KeyUpdate whose answer found no room goes out with what is written next") {
    OneSite world;
    Pair pair(world, TLS1_3_VERSION);
    const auto room_bytes = GENERATE(size_t{1}, size_t{5}, size_t{20});
    CAPTURE(room_bytes);
    // The spill takes what is small; many fill it.
    Bytes wire;
    for (int i = 0; i < 6; ++i) {
        const Bytes update = pair.key_update(SSL_KEY_UPDATE_REQUESTED);
        wire.insert(wire.end(), update.begin(), update.end());
    }
    pair.session().feed(wire);
    Bytes plaintext(16384);
    Bytes room(room_bytes);
    size_t produced = 0;
    CHECK(pair.session().read(plaintext, room, produced).state == State::NeedOutput);
    pair.server.output.assign(room.begin(), room.begin() + static_cast<ptrdiff_t>(produced));
    REQUIRE(pair.server.write("reply"));
    pair.server.drive();
    REQUIRE(pair.server.write("more"));
    pair.client.put_input(pair.server.take_output());
    CHECK(pair.client.read() == "replymore");
    REQUIRE(pair.client.write("still there"));
    pump(pair.client, pair.server);
    CHECK(pair.server.received == "still there");
}

TEST_CASE("a failed session with an unsent answer to a KeyUpdate writes nothing") {
    OneSite world;
    Pair pair(world, TLS1_3_VERSION);
    Bytes wire;
    for (int i = 0; i < 6; ++i) {
        const Bytes update = pair.key_update(SSL_KEY_UPDATE_REQUESTED);
        wire.insert(wire.end(), update.begin(), update.end());
    }
    wire.insert(wire.end(), 100, 'j');
    pair.session().feed(wire);
    Bytes plaintext(16384);
    Bytes room(1);
    size_t produced = 0;
    CHECK(pair.session().read(plaintext, room, produced).state == State::NeedOutput);
    pair.server.drive();
    CHECK(pair.server.state == State::Failed);
    CHECK_FALSE(pair.server.write("x"));
    expect_it_stays(pair.session(), State::Failed);
}

TEST_CASE("any order of calls on any bytes ends a session at worst") {
    OneSite world;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const uint32_t runs = 400;
    for (uint32_t seed = 0; seed < runs; ++seed) {
        CAPTURE(version, seed);
        std::mt19937 random(seed);
        const auto chance = [&](unsigned of) { return random() % of == 0; };
        Server server = world.accept();
        Session& session = server.session();
        Client client({.version = version});
        client.handshake();
        if (!chance(4)) connect(client, server);
        Bytes wire = client.take_output();
        State last = State::Ok;
        bool is_over = false;
        const unsigned junk_rate = chance(2) ? 30 : 1000000;
        for (int step = 0; step < 60; ++step) {
            switch (random() % 10) {
                case 0:
                    client.write(std::string(random() % 3000, 'c'));
                    break;
                case 1:
                    if (version == TLS1_3_VERSION && client.done()) {
                        SSL_key_update(client.ssl(), chance(2) ? SSL_KEY_UPDATE_REQUESTED
                                                               : SSL_KEY_UPDATE_NOT_REQUESTED);
                        SSL_do_handshake(client.ssl());
                    }
                    break;
                case 2:
                    if (chance(8)) SSL_shutdown(client.ssl());
                    break;
                case 3:
                    session.keep_input();
                    break;
                case 4:
                    if (session.handshake_done()) {
                        const bool is_written = server.write(std::string(1 + random() % 3000, 's'));
                        if (last == State::Failed) REQUIRE_FALSE(is_written);
                    }
                    break;
                case 5:
                    if (chance(20)) {
                        Bytes room(random() % 100);
                        REQUIRE(session.close(room) <= room.size());
                    }
                    break;
                case 6:
                case 7: {
                    Bytes plaintext(1 + random() % 5000);
                    Bytes room(1 + random() % (chance(2) ? 60 : 3000));
                    size_t produced = 0;
                    const Session::Read result = session.read(plaintext, room, produced);
                    REQUIRE(produced <= room.size());
                    REQUIRE(result.size <= plaintext.size());
                    if (is_over) REQUIRE(result.state == last);
                    last = result.state;
                    is_over = last == State::Closed || last == State::Failed;
                    if (last == State::Closed) REQUIRE(session.handshake_done());
                    if (is_over) REQUIRE_FALSE(session.has_input());
                    break;
                }
                default: {
                    const Bytes more = client.take_output();
                    wire.insert(wire.end(), more.begin(), more.end());
                    if (chance(junk_rate)) wire.insert(wire.end(), random() % 50, 'j');
                    const size_t size = std::min<size_t>(wire.size(), random() % 4000);
                    const auto end = wire.begin() + static_cast<ptrdiff_t>(size);
                    const Bytes piece(wire.begin(), end);
                    session.feed(piece);
                    session.keep_input();  // `piece` goes
                    wire.erase(wire.begin(), end);
                    break;
                }
            }
        }
    }
}
