// Http1Connection, Request and Exchange on a client's connection that only writes down, and a
// server that the test answers by hand: each transition, and each way to end.
#include "proxy/http1_connection.h"

#include "front_fixture.h"

using namespace proxy;

namespace {

const std::string get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const std::string post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n";
const std::string upgrade =
    "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: x\r\n\r\n";
const std::string switching =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

std::string ok(std::string_view body) {
    return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}

struct Conversation : FrontFixture {
    Conversation() {
        limits.request_body_max = 1000;
        add_site("a.test", {server.address});
        http1 = std::make_unique<Http1Connection>(client, *worker);
    }

    /// As ClientConnection does at the end of a turn.
    void end_turn() {
        if (!client.is_open()) return http1->on_gone();
        if (client.resumed > 0) http1->on_turn();
        client.resumed = 0;
    }
    /// The server's end of the connection that was just leased, once so much has come.
    void reach_server(std::string_view until = "\r\n\r\n") {
        if (!at_server) {
            loop->turn(10);
            at_server = server.accept();
        }
        REQUIRE(turn_until([&] {
            (void)net::read_now(at_server.fd(), received);
            return received.ends_with(until);
        }));
    }
    void server_says(std::string_view text) { net::write_text(at_server.fd(), text); }
    bool client_gets(std::string_view text) {
        return turn_until([&] {
            end_turn();
            return client.sent.find(text) != std::string::npos;
        });
    }
    bool client_ends(std::string_view how) {
        return turn_until([&] { return client.end == how; });
    }
    /// Nothing is leased, and the request is back.
    bool all_is_over() {
        return turn_until([&] {
            end_turn();
            return worker->pools.leased() == 0 && worker->requests() == 0;
        });
    }

    HandServer server;
    FakeTransport client;
    std::unique_ptr<Http1Connection> http1;
    base::UniqueFd at_server;
    std::string received;
};

}  // namespace

TEST_CASE("a request goes to its server, its response comes back, and the connection is kept") {
    Conversation c;
    CHECK(c.http1->on_bytes(get) == get.size());
    CHECK(c.http1->is_waiting_for_response());
    c.reach_server();
    CHECK(c.received.find("X-Forwarded-For: 192.0.2.7\r\n") != std::string::npos);
    c.server_says(ok("hello"));
    REQUIRE(c.client_gets("hello"));
    CHECK(c.client.end.empty());
    CHECK(c.client.deadline_ms == c.limits.idle_ms);
    CHECK(c.all_is_over());
    CHECK(c.worker->pools.idle() == 1);
    CHECK(c.worker->counters.responses[2] == 1);
}

TEST_CASE("a pipelined request waits for the response before it") {
    Conversation c;
    CHECK(c.http1->on_bytes(get + get) == get.size());
    CHECK(c.http1->is_full(get.size()));
    c.reach_server();
    c.server_says(ok("one"));
    REQUIRE(c.client_gets("one"));
    CHECK_FALSE(c.http1->is_full(get.size()));
    c.received.clear();
    CHECK(c.http1->on_bytes(get) == get.size());
    c.reach_server();
    c.server_says(ok("two"));
    CHECK(c.client_gets("two"));
    CHECK(c.worker->counters.backend_connects == 1);
    CHECK(c.worker->counters.backend_reused == 1);
}

TEST_CASE("a client that goes at any byte of its response ends the exchange, and nothing else") {
    const std::string_view responses[] = {
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    };
    for (const std::string_view response : responses) {
        for (int at = 1; at <= 9; ++at) {
            INFO(response << " at append " << at);
            Conversation c;
            c.client.gone_at = at;
            (void)c.http1->on_bytes(get);
            c.reach_server();
            c.server_says(response);
            REQUIRE(c.turn_until([&] {
                c.end_turn();
                return c.client.end == "aborted" || c.worker->pools.leased() == 0;
            }));
            c.http1->on_gone();  // as the loop does
            CHECK(c.all_is_over());
        }
    }
}

TEST_CASE("what is under way is given up when its client is gone") {
    Conversation c;
    SECTION("before a request") {}
    SECTION("in a head") {
        (void)c.http1->on_bytes("GET / HT");
    }
    SECTION("in a body") {
        (void)c.http1->on_bytes(post + "12345");
    }
    SECTION("waiting for the response") {
        (void)c.http1->on_bytes(get);
    }
    SECTION("in the response") {
        (void)c.http1->on_bytes(get);
        c.reach_server();
        c.server_says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhel");
        REQUIRE(c.client_gets("hel"));
    }
    SECTION("in a tunnel") {
        (void)c.http1->on_bytes(upgrade);
        c.reach_server();
        c.server_says(switching + "hi");
        REQUIRE(c.client_gets("hi"));
    }
    c.http1->on_gone();
    CHECK(c.all_is_over());
    CHECK(c.worker->pools.idle() == 0);
    CHECK(c.http1->on_bytes(get) == get.size());  // and nothing is read any more
    CHECK(c.worker->requests() == 0);
}

TEST_CASE("the end of a client's side means what its request was at") {
    Conversation c;
    SECTION("between requests it is the end") {
        c.http1->on_end(0);
        CHECK(c.client.end == "left");
    }
    SECTION("a body that broke off is not taken for whole") {
        (void)c.http1->on_bytes(post + "12345");
        c.reach_server("12345");
        c.http1->on_end(1);
        CHECK(c.client.end.empty());  // some of it still waits here
        c.http1->on_end(0);
        CHECK(c.client.end == "aborted");
        // Not a FIN, which could look like the end of a request.
        REQUIRE(c.turn_until(
            [&] { return net::read_now(c.at_server.fd(), c.received) == -ECONNRESET; }));
        CHECK(c.received.ends_with("12345"));
        c.http1->on_gone();
    }
    SECTION("a request that is complete is answered") {
        (void)c.http1->on_bytes(get);
        c.http1->on_end(0);
        c.reach_server();
        c.server_says(ok("hello"));
        CHECK(c.client_gets("hello"));
    }
    SECTION("a tunnel is over, and what was said in it arrives") {
        (void)c.http1->on_bytes(upgrade);
        c.reach_server();
        c.server_says(switching);
        REQUIRE(c.client_gets("101"));
        const std::string last(30'000, 'x');  // more than one send takes
        size_t used = 0;
        while (used < last.size() && c.http1->is_full(1) && used < 2 * 16384) {
            used += c.http1->on_bytes(std::string_view(last).substr(used));
        }
        REQUIRE(used == last.size());
        c.received.clear();
        c.http1->on_end(0);
        CHECK(c.client.end == "finished");
        REQUIRE(c.turn_until([&] { return net::read_now(c.at_server.fd(), c.received) == 0; }));
        CHECK(c.received == last);
    }
    CHECK(c.all_is_over());
}

TEST_CASE("deadlines end what does not go on, and blame who is slow") {
    Conversation c;
    SECTION("an idle connection is closed without a word") {
        c.http1->on_deadline();
        CHECK(c.client.end == "finished");
        CHECK(c.client.sent.empty());
    }
    SECTION("a head") {
        (void)c.http1->on_bytes("GET /");
        CHECK(c.client.deadline_ms == c.limits.head_ms);
        c.http1->on_deadline();
        CHECK(c.client.sent.starts_with("HTTP/1.1 408 "));
        CHECK(c.client.end == "finished");
    }
    SECTION("a body") {
        (void)c.http1->on_bytes(post + "12345");
        c.reach_server("12345");
        CHECK(c.client_ends("finished"));
        CHECK(c.client.sent.starts_with("HTTP/1.1 408 "));
    }
    SECTION("a response") {
        (void)c.http1->on_bytes(get);
        c.reach_server();
        CHECK(c.client_gets("HTTP/1.1 504 "));
        CHECK(c.client.end.empty());
    }
    SECTION("a response that stopped") {
        (void)c.http1->on_bytes(get);
        c.reach_server();
        c.server_says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhel");
        REQUIRE(c.client_gets("hel"));
        CHECK(c.client_ends("aborted"));
        c.http1->on_gone();
    }
    CHECK(c.all_is_over());
}

TEST_CASE("that there is memory again is no progress") {
    Conversation c;
    std::string more;  // of the body
    SECTION("of a body") {
        (void)c.http1->on_bytes(post + "12345");
        c.reach_server("12345");
    }
    SECTION("of a body that its server does not take") {
        c.limits.request_body_max = 0;
        c.publish();
        more.assign(16'000, 'x');
        (void)c.http1->on_bytes(
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n");
        c.reach_server();
        for (int full = 0; full < 20; full = c.http1->on_bytes(more) == 0 ? full + 1 : 0) {
            c.end_turn();
            c.loop->turn(5);
        }
    }
    SECTION("of a response") {
        (void)c.http1->on_bytes(get);
        c.reach_server();
        c.server_says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhel");
        REQUIRE(c.client_gets("hel"));
    }
    // As while memory is low, more often than any deadline; and for longer than all of them.
    const uint64_t begun_ms = c.loop->now_ms();
    while (c.client.end.empty() && c.loop->now_ms() < begun_ms + 2 * c.limits.backend_response_ms) {
        c.http1->on_writable();
        c.end_turn();
        (void)c.http1->on_bytes(more);
        c.loop->turn(50);
    }
    CHECK_FALSE(c.client.end.empty());
    c.http1->on_gone();
    CHECK(c.all_is_over());
}

TEST_CASE("a response without its end is cut, never finished") {
    Conversation c;
    (void)c.http1->on_bytes(get);
    c.reach_server();
    c.server_says(
        GENERATE(as<std::string>(), "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhel",
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\nnonsense\r\n"));
    c.at_server.reset();
    CHECK(c.client_ends("aborted"));
    c.http1->on_gone();
    CHECK(c.all_is_over());
}

TEST_CASE("an answer before the end of an upload ends the connection after it") {
    Conversation c;
    (void)c.http1->on_bytes(post + "12345");
    c.reach_server("12345");
    c.server_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
    CHECK(c.client_ends("finished"));
    CHECK(c.client.sent.find("Connection: close") != std::string::npos);
    CHECK(c.http1->on_bytes("67890") == 5);  // nobody's
    CHECK(c.all_is_over());
    CHECK(c.worker->pools.idle() == 0);
}

TEST_CASE("what cannot be a request is refused and the connection closed") {
    Conversation c;
    const std::string bad = GENERATE(as<std::string>(), "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n",
                                     "GET / HTTP/1.1\nHost: a.test\n\n",
                                     "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n"
                                     "Transfer-Encoding: chunked\r\n\r\n");
    CHECK(c.http1->on_bytes(bad) == bad.size());
    CHECK(c.client.sent.starts_with("HTTP/1.1 400 "));
    CHECK(c.client.end == "finished");
    CHECK(c.all_is_over());
    CHECK(c.worker->counters.requests == 0);
}

TEST_CASE("a response waits while the client has no room") {
    Conversation c;
    (void)c.http1->on_bytes(get);
    c.reach_server();
    c.client.room_left = 0;
    const std::string body(100'000, 'x');
    c.server_says(ok(body));
    REQUIRE(c.client_gets("\r\n\r\n"));
    net::turn_for(*c.loop, 50);
    CHECK(c.client.sent.size() <= net::large_buffer_bytes + 500);
    c.client.room_left = 100'000;
    c.http1->on_writable();
    CHECK(c.turn_until([&] { return c.client.sent.size() > body.size(); }));
    CHECK(c.all_is_over());
}

TEST_CASE("draining closes what is idle, and lets what is under way finish") {
    Conversation c;
    (void)c.http1->on_bytes(get);
    c.http1->on_drain();
    CHECK(c.client.end.empty());
    c.reach_server();
    c.server_says(ok("hello"));
    CHECK(c.client_ends("finished"));
    CHECK(c.client.sent.find("Connection: close") != std::string::npos);

    Conversation idle;
    idle.http1->on_drain();
    CHECK(idle.client.end == "finished");
}

TEST_CASE("the routes of a request stay while it lives, whatever is published") {
    Conversation c;
    (void)c.http1->on_bytes(post);
    c.sites.clear();
    c.publish();
    c.reach_server();
    CHECK(c.http1->on_bytes("1234567890") == 10);
    c.reach_server("1234567890");
    c.server_says(ok("hello"));
    CHECK(c.client_gets("hello"));
    CHECK(c.all_is_over());
    (void)c.http1->on_bytes(get);
    CHECK(c.client_gets("HTTP/1.1 404 "));
}

TEST_CASE("interim responses come before theirs, and those beyond a number are left out") {
    Conversation c;
    (void)c.http1->on_bytes(get);
    c.reach_server();
    std::string hints;
    for (int i = 0; i < 40; ++i) hints += "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    c.server_says(hints + ok("hello"));
    REQUIRE(c.client_gets("hello"));
    size_t relayed = 0;
    for (size_t at = 0; (at = c.client.sent.find("103 Early", at)) != std::string::npos; ++at) {
        ++relayed;
    }
    CHECK(relayed == interim_responses_relayed_max);

    c.client.sent.clear();
    c.received.clear();
    (void)c.http1->on_bytes(get);
    c.reach_server();
    for (int i = 0; i < 3; ++i) hints += hints;
    c.server_says(hints);
    CHECK(c.client_gets("HTTP/1.1 502 "));
}

TEST_CASE("a request waits in little memory for its connection to be made") {
    Conversation c;
    (void)c.http1->on_bytes(get);
    CHECK(c.worker->loop.chunks().in_use() == 0);
    CHECK(c.http1->waiting_for_servers().bytes == 0);
    c.reach_server();
    CHECK(c.received.ends_with("\r\n\r\n"));
    SECTION("a body comes after it") {
        c.server_says(ok("hello"));
        REQUIRE(c.client_gets("hello"));
        c.received.clear();
        c.at_server = {};
        c.turn_until([&] { return c.worker->pools.idle() == 0; });
        (void)c.http1->on_bytes(post);  // on a new connection
        CHECK(c.http1->on_bytes("1234567890") == 0);
        c.reach_server();
        CHECK(c.client.resumed > 0);
        c.end_turn();
        CHECK(c.http1->on_bytes("1234567890") == 10);
        c.reach_server("1234567890");
    }
    c.http1->on_gone();
    CHECK(c.all_is_over());
}

TEST_CASE("the server's deadline does not run while the client has to take what is there") {
    Conversation c;
    (void)c.http1->on_bytes(get);
    c.reach_server();
    c.client.room_left_after_flush = 0;
    c.server_says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhel");
    REQUIRE(c.client_gets("hel"));
    const uint64_t begun_ms = c.loop->now_ms();
    while (c.loop->now_ms() < begun_ms + 2 * c.limits.backend_response_ms) c.loop->turn(50);
    CHECK(c.client.end.empty());
    c.client.room_left = 1000;
    c.http1->on_writable();  // and from now on it does
    CHECK(c.client_ends("aborted"));
    c.http1->on_gone();
    CHECK(c.all_is_over());
}

TEST_CASE("hints that its client takes slowly do not free a server from its deadline") {
    Conversation c;
    (void)c.http1->on_bytes(get);
    c.reach_server();
    c.client.room_left_after_flush = 0;
    c.server_says("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    REQUIRE(c.client_gets("a.css"));
    c.client.room_left = c.client.room_left_after_flush = 1000;
    c.http1->on_writable();
    CHECK(c.client_gets("HTTP/1.1 504 "));
    c.http1->on_gone();
    CHECK(c.all_is_over());
}

TEST_CASE("only a connection between requests counts as idle") {
    Conversation c;
    c.loop->turn(1);
    CHECK(c.http1->idle().since_ms != 0);
    CHECK(c.http1->idle().is_new);
    (void)c.http1->on_bytes("GET /");
    CHECK(c.http1->idle().since_ms == 0);
    (void)c.http1->on_bytes(get);
    CHECK(c.http1->idle().since_ms == 0);
    c.reach_server();
    c.server_says(ok("hello"));
    REQUIRE(c.client_gets("hello"));
    CHECK(c.http1->idle().since_ms >= c.loop->now_ms() - 1000);
    CHECK_FALSE(c.http1->idle().is_new);
    CHECK(c.all_is_over());
}
