// What a hostile or clumsy peer can send, and a wire that gives little room.
#include <random>

#include "catch.h"
#include "tls/certificates.h"
#include "tls/client.h"

using namespace test;
using tls::Session;

namespace {

struct OneSite : World {
    explicit OneSite(const std::string& key = "P-256") {
        rotate_tickets();
        set({"a.test"}, {certificate({"a.test"}, key)});
    }
};

Bytes client_hello(int version = 0) {
    Client client({.version = version});
    client.handshake();
    return client.take_output();
}

Bytes text_bytes(std::string_view text) {
    return Bytes(text.begin(), text.end());
}

/// The records of a flight.
std::vector<Bytes> records(const Bytes& bytes) {
    std::vector<Bytes> result;
    for (size_t at = 0; at + 5 <= bytes.size();) {
        const size_t size = 5u + (static_cast<size_t>(bytes[at + 3]) << 8 | bytes[at + 4]);
        result.emplace_back(bytes.begin() + static_cast<ptrdiff_t>(at),
                            bytes.begin() + static_cast<ptrdiff_t>(at + size));
        at += size;
    }
    return result;
}

struct Pair {
    Pair(World& world, Client::Options options) : server(world.accept()), client(options) {
        REQUIRE(connect(client, server));
        client.read();
    }
    Server server;
    Client client;
};

}  // namespace

TEST_CASE("bytes may come one at a time, in and out") {
    OneSite world;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const auto step = GENERATE(size_t{1}, size_t{7}, size_t{100});
    const auto room = GENERATE(size_t{1}, size_t{3}, size_t{50}, size_t{200}, size_t{20000});
    CAPTURE(version, step, room);
    Server server = world.accept();
    server.input_step = step;
    server.output_room = room;
    Client client({.version = version, .alpn = {"http/1.1"}});
    REQUIRE(connect(client, server));
    CHECK((server.need_output_seen > 0) == (room <= 200));
    REQUIRE(client.write(std::string(3000, 'q')));
    pump(client, server);
    CHECK(server.received == std::string(3000, 'q'));
    REQUIRE(server.write(std::string(3000, 'a')));
    client.put_input(server.take_output());
    CHECK(client.read() == std::string(3000, 'a'));
}

TEST_CASE("a ClientHello in records of one byte completes") {
    OneSite world;
    Client client({.version = TLS1_3_VERSION});
    client.handshake();
    const Bytes hello = client.take_output();
    Bytes split;
    for (size_t i = 5; i < hello.size(); ++i) split.insert(split.end(), {22, 3, 1, 0, 1, hello[i]});
    Server server = world.accept();
    server.put(split);
    client.put_input(server.take_output());
    client.handshake();
    pump(client, server);
    CHECK(server.session().handshake_done());
}

TEST_CASE("middleboxes see a change_cipher_spec in TLS 1.3 (RFC 8446 D.4)") {
    OneSite world;
    Server server = world.accept();
    server.put(client_hello(TLS1_3_VERSION));
    const std::vector<Bytes> flight = records(server.output);
    REQUIRE(flight.size() > 2);
    CHECK(flight[0][0] == 22);
    CHECK(flight[1] == Bytes{20, 3, 3, 0, 1, 1});
    CHECK(flight[2][0] == 23);
}

TEST_CASE("a ClientHello cut at any byte waits for the rest") {
    OneSite world;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const Bytes hello = client_hello(version);
    for (size_t size = 0; size < hello.size(); ++size) {
        Server server = world.accept();
        server.put(Bytes(hello.begin(), hello.begin() + static_cast<ptrdiff_t>(size)));
        REQUIRE(server.state == Session::State::NeedInput);
        REQUIRE(server.output.empty());
        REQUIRE_FALSE(server.session().handshake_done());
    }
}

TEST_CASE("a ClientHello with any one byte changed never crashes and never gives a session") {
    OneSite world;
    const Bytes hello = client_hello();
    for (size_t at = 0; at < hello.size(); ++at) {
        for (const int mask : {0x01, 0x80, 0xff}) {
            Bytes changed = hello;
            changed[at] ^= static_cast<uint8_t>(mask);
            Server server = world.accept();
            server.put(changed);
            CHECK_FALSE(server.session().handshake_done());
            if (server.state == Session::State::Failed) {
                CHECK_FALSE(server.session().error().empty());
            }
        }
    }
}

TEST_CASE("what is not TLS fails with a reason") {
    OneSite world;
    struct Case {
        Bytes bytes;
        const char* error;
    };
    const Case cases[] = {
        {text_bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "not TLS: HTTP request on a TLS port"},
        {text_bytes("POST / HTTP/1.1\r\n\r\n"), "not TLS: HTTP request on a TLS port"},
        {text_bytes("CONNECT a:443 HTTP/1.1\r\n\r\n"), "not TLS: HTTP request on a TLS port"},
        {text_bytes("SSH-2.0-OpenSSH_9.2\r\n"),
         "not TLS: no TLS record, or one of an unknown version"},
        {{0x80, 0x2e, 0x01, 0x00, 0x02, 0x00, 0x15, 0x00, 0x00, 0x00, 0x10}, ""},
        {{22, 3, 1, 0xff, 0xff, 1, 0, 0, 0}, ""},
        {{22, 3, 1, 0, 0, 22, 3, 1, 0, 0}, ""},
        {{23, 3, 3, 0, 1, 0}, ""},
        {{21, 3, 3, 0, 2, 2, 40}, "unexpected message"},
        {{22, 3, 1, 0, 4, 1, 0, 0x80, 1}, "ClientHello is too long"},
        {{22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 3, 2, 0, 0}, "ClientHello is too long"},
        {Bytes(40, 0), ""},
        {Bytes(40, 0xff), ""},
    };
    for (size_t i = 0; i < std::size(cases); ++i) {
        CAPTURE(i);
        Server server = world.accept();
        server.put(cases[i].bytes);
        if (cases[i].error[0] != '\0') {
            CHECK(server.state == Session::State::Failed);
            CHECK(server.session().error() == cases[i].error);
        }
        CHECK_FALSE(server.session().handshake_done());
    }
}

TEST_CASE("random bytes never crash") {
    OneSite world;
    std::mt19937 random(20260101);
    for (int i = 0; i < 500; ++i) {
        Bytes bytes(random() % 4096);
        for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
        if (i % 2 == 0 && bytes.size() > 5) {
            bytes[0] = 22;
            bytes[1] = 3;
            bytes[2] = 1;
            bytes[3] &= 0x0f;
        }
        Server server = world.accept();
        server.put(bytes);
        CHECK_FALSE(server.session().handshake_done());
    }
}

TEST_CASE("a large ClientHello completes, a huge one is refused with an alert") {
    OneSite world;
    const auto add = [](SSL* ssl) {
        static const auto put = [](SSL*, unsigned, unsigned, const unsigned char** out,
                                   size_t* size, X509*, size_t, int*, void*) {
            static const Bytes padding(14000, 'p');
            *out = padding.data();
            *size = padding.size();
            return 1;
        };
        SSL_CTX_add_custom_ext(SSL_get_SSL_CTX(ssl), 4444, SSL_EXT_CLIENT_HELLO, put, nullptr,
                               nullptr, nullptr, nullptr);
    };
    Server server = world.accept();
    Client client({});
    add(client.ssl());
    // Custom extensions are copied into an SSL when it is made.
    SSL* fresh = SSL_new(SSL_get_SSL_CTX(client.ssl()));
    SSL_set_bio(fresh, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(fresh);
    SSL_set_tlsext_host_name(fresh, "a.test");
    SSL_do_handshake(fresh);
    char* data = nullptr;
    const long size = BIO_get_mem_data(SSL_get_wbio(fresh), &data);
    REQUIRE(size > 14000);
    server.put(Bytes(data, data + size));
    CHECK(server.state == Session::State::NeedInput);
    CHECK(server.output.size() > 500);
    SSL_free(fresh);

    Server huge = world.accept();
    huge.put({22, 3, 1, 0x40, 0, 1, 1, 0xff, 0xff, 3, 3});
    CHECK(huge.state == Session::State::Failed);
    CHECK(huge.output == Bytes{21, 3, 3, 0, 2, 2, 47});
}

TEST_CASE("close_notify from the client leaves our direction open, and ours is sent once") {
    OneSite world;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Pair pair(world, {.version = version});
    REQUIRE(pair.client.write("last words"));
    SSL_shutdown(pair.client.ssl());
    pair.server.put(pair.client.take_output());
    CHECK(pair.server.state == Session::State::Closed);
    CHECK(pair.server.received == "last words");
    REQUIRE(pair.server.write("answer"));
    Bytes room(256);
    const size_t size = pair.server.session().close(room);
    CHECK(size > 0);
    CHECK(pair.server.session().close(room) == 0);
    CHECK_FALSE(pair.server.write("too late"));
    room.resize(size);
    pair.client.put_input(pair.server.take_output());
    pair.client.put_input(room);
    CHECK(pair.client.read() == "answer");
    CHECK((SSL_get_shutdown(pair.client.ssl()) & SSL_RECEIVED_SHUTDOWN) != 0);
}

TEST_CASE("nothing is said at the end of a session that never began or failed") {
    OneSite world;
    Bytes room(256);
    Server fresh = world.accept();
    CHECK(fresh.session().close(room) == 0);
    Server broken = world.accept();
    broken.put(Bytes(40, 0xff));
    CHECK(broken.session().close(room) == 0);
    Server pending = world.accept();
    pending.put(client_hello());
    CHECK(pending.session().close(room) == 0);
}

TEST_CASE("a record changed, cut, replayed or out of order ends the session") {
    OneSite world;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const int how = GENERATE(0, 1, 2, 3, 4);
    CAPTURE(version, how);
    Pair pair(world, {.version = version});
    REQUIRE(pair.client.write("one"));
    REQUIRE(pair.client.write("two"));
    std::vector<Bytes> sent = records(pair.client.take_output());
    REQUIRE(sent.size() == 2);
    Bytes wire;
    const auto append = [&wire](const Bytes& b) { wire.insert(wire.end(), b.begin(), b.end()); };
    switch (how) {
        case 0:  // a bit of the tag
            sent[1].back() ^= 1;
            append(sent[0]);
            append(sent[1]);
            break;
        case 1:  // replay
            append(sent[0]);
            append(sent[0]);
            break;
        case 2:  // order
            append(sent[1]);
            append(sent[0]);
            break;
        case 3:  // cut, and the next one in its place
            sent[0].pop_back();
            append(sent[0]);
            append(sent[1]);
            break;
        default:  // a plain alert after the handshake
            append({21, 3, 3, 0, 2, 1, 0});
            break;
    }
    pair.server.put(wire);
    CHECK(pair.server.state == Session::State::Failed);
    CHECK((pair.server.received.empty() || pair.server.received == "one"));
    CHECK_FALSE(pair.server.session().error().empty());
    if (how == 0) CHECK(pair.server.session().error() == "bad record MAC");
    CHECK_FALSE(pair.server.output.empty());  // the alert
    CHECK(pair.server.session().handshake_done());
    CHECK_FALSE(pair.server.write("x"));
}

TEST_CASE("an alert is not lost when the output has no room") {
    OneSite world;
    Pair pair(world, {.version = TLS1_3_VERSION});
    REQUIRE(pair.client.write("one"));
    Bytes wire = pair.client.take_output();
    wire.back() ^= 1;
    pair.server.output_room = 1;
    pair.server.put(wire);
    CHECK(pair.server.state == Session::State::Failed);
    pair.client.put_input(pair.server.take_output());
    pair.client.read();
    CHECK(pair.client.alert() == "bad record mac");
}

TEST_CASE("the peer's alert is named") {
    OneSite world;
    Server server = world.accept();
    Client client({.version = TLS1_3_VERSION});
    SSL_set_verify(client.ssl(), SSL_VERIFY_PEER, nullptr);
    CHECK_FALSE(connect(client, server));
    CHECK(server.state == Session::State::Failed);
    CHECK(server.session().error() == "peer's alert: unknown CA");
    CHECK(world.context->counters().failed_handshakes == 1);
}

TEST_CASE("renegotiation is refused, and asking for it again and again ends the session") {
    OneSite world;
    Pair pair(world, {.version = TLS1_2_VERSION, .accept_renegotiation = true});
    size_t asked = 0;
    while (pair.server.state != Session::State::Failed && asked < 3000) {
        ++asked;
        SSL_renegotiate(pair.client.ssl());
        SSL_do_handshake(pair.client.ssl());
        const Bytes hello = pair.client.take_output();
        if (hello.empty()) break;
        pair.server.put(hello);
        pair.client.put_input(pair.server.take_output());
        pair.client.read();
    }
    CHECK(world.context->counters().full_handshakes == 1);
    CHECK(asked < 300);
}

TEST_CASE("some KeyUpdates are served; a flood of them ends the session") {
    OneSite world;
    const bool wants_answer = GENERATE(true, false);
    Pair pair(world, {.version = TLS1_3_VERSION});
    const auto update = [&] {
        SSL_key_update(pair.client.ssl(),
                       wants_answer ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(pair.client.ssl());
        pump(pair.client, pair.server);
    };
    for (int i = 0; i < 3; ++i) {
        update();
        REQUIRE(pair.client.write("data"));
        pump(pair.client, pair.server);
        REQUIRE(pair.server.write("reply"));
        pump(pair.client, pair.server);
        REQUIRE(pair.client.read() == "reply");
    }
    CHECK(pair.server.received == "datadatadata");
    // One byte between them does not buy more.
    int updates = 0;
    while (updates < 1000 && pair.server.state != Session::State::Failed) {
        update();
        ++updates;
        pair.client.write("x");
        pump(pair.client, pair.server);
    }
    CHECK(updates < 150);
    CHECK(pair.server.session().error() == "too many KeyUpdates, renegotiations or alerts");
}

TEST_CASE("data buys KeyUpdates: a long transfer may renew its keys") {
    OneSite world;
    Pair pair(world, {.version = TLS1_3_VERSION});
    const std::string block(16384, 'd');
    for (int i = 0; i < 200; ++i) {
        REQUIRE(pair.client.write(block));
        SSL_key_update(pair.client.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(pair.client.ssl());
        pump(pair.client, pair.server);
        REQUIRE(pair.server.state == Session::State::NeedInput);
    }
    CHECK(pair.server.received.size() == 200 * block.size());
}

TEST_CASE("a flood of KeyUpdates in one piece of input is stopped inside it") {
    OneSite world;
    Pair pair(world, {.version = TLS1_3_VERSION});
    Bytes flood;
    for (int i = 0; i < 5000; ++i) {
        SSL_key_update(pair.client.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(pair.client.ssl());
        const Bytes one = pair.client.take_output();
        flood.insert(flood.end(), one.begin(), one.end());
    }
    pair.server.put(flood);
    CHECK(pair.server.state == Session::State::Failed);
}

TEST_CASE("keep_input holds what was fed when the source goes") {
    OneSite world;
    Pair pair(world, {});
    REQUIRE(pair.client.write(std::string(10000, 'a')));
    REQUIRE(pair.client.write(std::string(10000, 'b')));
    const Bytes wire = pair.client.take_output();
    auto source = std::make_unique<Bytes>(wire);
    Session& session = pair.server.session();
    session.feed(*source);
    CHECK(session.has_input());
    session.keep_input();
    source.reset();
    Bytes plaintext(4000);
    Bytes room(256);
    size_t produced = 0;
    std::string received;
    for (;;) {
        const Session::Read result = session.read(plaintext, room, produced);
        received.append(reinterpret_cast<char*>(plaintext.data()), result.size);
        if (result.state == Session::State::NeedInput) break;
        REQUIRE(result.state == Session::State::Ok);
        session.keep_input();  // again: from its own buffer
        // Opened bytes that found no room count as input too.
        if (received.size() < 20000) CHECK(session.has_input());
    }
    CHECK_FALSE(session.has_input());
    CHECK(received == std::string(10000, 'a') + std::string(10000, 'b'));
    session.keep_input();
    CHECK_FALSE(session.has_input());
}

TEST_CASE("GREASE, unknown extensions and early data are ignored") {
    OneSite world;
    // GREASE values (RFC 8701) as suites and in the place of an extension.
    Bytes hello = client_hello(TLS1_3_VERSION);
    const size_t session_id = 5 + 4 + 2 + 32;
    const size_t suites = session_id + 1 + hello[session_id];
    const size_t count = static_cast<size_t>(hello[suites] << 8 | hello[suites + 1]);
    hello.insert(hello.begin() + static_cast<ptrdiff_t>(suites + 2), {0x0a, 0x0a});
    hello[suites] = static_cast<uint8_t>((count + 2) >> 8);
    hello[suites + 1] = static_cast<uint8_t>(count + 2);
    const size_t extensions = suites + 2 + count + 2 + 2;
    const size_t length = static_cast<size_t>(hello[extensions] << 8 | hello[extensions + 1]);
    hello.insert(hello.begin() + static_cast<ptrdiff_t>(extensions + 2), {0x1a, 0x1a, 0, 1, 0});
    hello[extensions] = static_cast<uint8_t>((length + 5) >> 8);
    hello[extensions + 1] = static_cast<uint8_t>(length + 5);
    const size_t total = hello.size() - 5;
    hello[3] = static_cast<uint8_t>(total >> 8);
    hello[4] = static_cast<uint8_t>(total);
    hello[7] = static_cast<uint8_t>((total - 4) >> 8);
    hello[8] = static_cast<uint8_t>(total - 4);
    Server server = world.accept();
    server.put(hello);
    CHECK(server.state == Session::State::NeedInput);
    CHECK(server.output.size() > 500);
    CHECK(server.output[0] == 22);
}

TEST_CASE("a malformed server_name is refused alike with and without a default (RFC 8446 6.2)") {
    OneSite world;
    const bool has_default = GENERATE(true, false);
    CAPTURE(has_default);
    const Bytes hello = client_hello(TLS1_3_VERSION);
    const Bytes extension{0, 0, 0, 11, 0, 9, 0, 0, 6, 'a', '.', 't', 'e', 's', 't'};
    const auto at = std::search(hello.begin(), hello.end(), extension.begin(), extension.end());
    REQUIRE(at != hello.end());
    const auto rebuilt = [&](const Bytes& replacement) {
        Bytes changed(hello.begin(), at);
        changed.insert(changed.end(), replacement.begin(), replacement.end());
        changed.insert(changed.end(), at + static_cast<ptrdiff_t>(extension.size()), hello.end());
        const size_t more = replacement.size() - extension.size();
        const auto add = [&](size_t place) {
            const size_t value =
                static_cast<size_t>(changed[place] << 8 | changed[place + 1]) + more;
            changed[place] = static_cast<uint8_t>(value >> 8);
            changed[place + 1] = static_cast<uint8_t>(value);
        };
        add(3);
        add(7);
        const size_t session_id = 5 + 4 + 2 + 32;
        const size_t suites = session_id + 1 + changed[session_id];
        add(suites + 2 + static_cast<size_t>(changed[suites] << 8 | changed[suites + 1]) + 2);
        return changed;
    };
    Bytes twice = extension;
    twice.insert(twice.end(), extension.begin(), extension.end());
    const Bytes two_names{0,   0,   0,   20, 0, 18, 0,   0,   6,   'a', '.', 't',
                          'e', 's', 't', 0,  0, 6,  'b', '.', 't', 'e', 's', 't'};
    const Bytes odd_type{0, 0, 0, 11, 0, 9, 7, 0, 6, 'a', '.', 't', 'e', 's', 't'};
    const Bytes with_nul{0, 0, 0, 11, 0, 9, 0, 0, 6, 'a', '.', 't', 0, 's', 't'};
    if (has_default) world.set_default({certificate({"default.test"})});
    CHECK([&] {
        Server server = world.accept();
        server.put(rebuilt(extension));
        return server.state;
    }() == Session::State::NeedInput);
    struct Case {
        Bytes extension;
        int alert;
    };
    const Case cases[] = {
        {twice, SSL_AD_ILLEGAL_PARAMETER},
        {two_names, SSL_AD_DECODE_ERROR},
        {odd_type, SSL_AD_DECODE_ERROR},
        {with_nul, SSL_AD_UNRECOGNIZED_NAME},
        {{0, 0, 0, 0}, SSL_AD_DECODE_ERROR},                           // no list
        {{0, 0, 0, 1, 0}, SSL_AD_DECODE_ERROR},                        // half a length
        {{0, 0, 0, 2, 0, 0}, SSL_AD_DECODE_ERROR},                     // an empty list
        {{0, 0, 0, 3, 0, 1, 0}, SSL_AD_DECODE_ERROR},                  // no name in it
        {{0, 0, 0, 6, 0, 4, 0, 0, 9, 'a'}, SSL_AD_DECODE_ERROR},       // name cut off
        {{0, 0, 0, 6, 0, 9, 0, 0, 1, 'a'}, SSL_AD_DECODE_ERROR},       // list cut off
        {{0, 0, 0, 7, 0, 4, 0, 0, 1, 'a', 'b'}, SSL_AD_DECODE_ERROR},  // bytes behind the list
        {{0, 0, 0, 7, 0, 5, 0, 0, 1, 'a', 'b'}, SSL_AD_DECODE_ERROR},  // behind the name
    };
    for (size_t i = 0; i < std::size(cases); ++i) {
        CAPTURE(i);
        Server server = world.accept();
        server.put(rebuilt(cases[i].extension));
        CHECK(server.state == Session::State::Failed);
        REQUIRE(server.output.size() == 7);
        CHECK(server.output[0] == 21);
        CHECK(server.output[6] == cases[i].alert);
    }
}
