#include "proxy/balancer.h"

#include "front_fixture.h"

using namespace proxy;

namespace {

/// Does nothing of its own.
struct User final : BackendUser {
    Lease on_backend_data(std::span<uint8_t>) noexcept override { return Lease::close(); }
    Lease on_backend_end() noexcept override { return Lease::close(); }
    void on_backend_connected() noexcept override {}
    void on_backend_writable() noexcept override {}
    void on_backend_closed(base::Error) noexcept override { ++closed; }
    int closed = 0;
};

/// The ports of the servers that requests get, one after the other.
std::vector<int> picks(Balancer& balancer, uint64_t now_ms, size_t count) {
    std::vector<int> ports;
    for (size_t i = 0; i < count; ++i) {
        Attempts attempts;
        ports.push_back(balancer.next(attempts, now_ms)->address().port());
    }
    return ports;
}

net::Address at_port(int port) {
    return net::address_of(fmt::format("127.0.0.1:{}", port));
}

}  // namespace

TEST_CASE("each backend has a round robin of its own") {
    const auto loop = net::make_loop();
    ServerPool one(*loop, at_port(1)), two(*loop, at_port(2)), three(*loop, at_port(3)),
        four(*loop, at_port(4));
    Balancer a({&one, &two}), b({&three, &four});
    std::vector<int> seen;
    for (int i = 0; i < 4; ++i) {  // A, B, A, B: with one counter for both A would have one server
        for (Balancer* balancer : {&a, &b}) {
            Attempts attempts;
            seen.push_back(balancer->next(attempts, 0)->address().port());
        }
    }
    CHECK(seen == std::vector<int>{1, 3, 2, 4, 1, 3, 2, 4});
}

TEST_CASE("a request gets each server once") {
    const auto loop = net::make_loop();
    ServerPool one(*loop, at_port(1)), two(*loop, at_port(2)), three(*loop, at_port(3));
    Balancer balancer({&one, &two, &three});
    (void)picks(balancer, 0, 1);
    Attempts attempts;
    std::vector<int> tried;
    while (ServerPool* pool = balancer.next(attempts, 0)) tried.push_back(pool->address().port());
    CHECK(tried == std::vector<int>{2, 3, 1});
    Balancer none({});
    Attempts first;
    CHECK(none.next(first, 0) == nullptr);
}

TEST_CASE("a server that did not answer comes last for a while, then is tried by one at a time") {
    const auto loop = net::make_loop();
    const net::Address dead = [] {
        const base::UniqueFd gone = net::listen_at("127.0.0.1:0");
        return net::bound_to(gone);
    }();
    const base::UniqueFd listener = net::listen_at("127.0.0.1:0");
    const net::Address alive = net::bound_to(listener);
    ServerPool first(*loop, dead), second(*loop, alive);
    Balancer balancer({&first, &second});

    User user;
    REQUIRE(first.connect(user, 1000).ok());
    REQUIRE(net::turn_until(*loop, [&] { return user.closed == 1; }));
    const uint64_t now = loop->now_ms();
    CHECK(first.is_down(now + 9'000));
    CHECK(picks(balancer, now, 4) == std::vector<int>(4, alive.port()));
    Attempts attempts;  // all the same it is better than none
    CHECK(balancer.next(attempts, now) == &second);
    CHECK(balancer.next(attempts, now) == &first);

    const uint64_t later = now + 25'000;
    std::vector<int> seen = picks(balancer, later, 6);
    CHECK(std::count(seen.begin(), seen.end(), dead.port()) == 1);

    // It answers: as before.
    const base::UniqueFd again = net::listen_at(dead.text());
    REQUIRE(first.connect(user, 1000).ok());
    REQUIRE(net::turn_until(*loop, [&] { return loop->counters().connected == 1; }));
    seen = picks(balancer, later, 6);
    CHECK(std::count(seen.begin(), seen.end(), dead.port()) == 3);
}

TEST_CASE("a pool keeps as many connections as were in use lately") {
    FrontFixture front;
    HandServer server;
    front.add_site("a.test", {server.address});
    constexpr size_t at_once = 20;
    std::vector<std::unique_ptr<FakeTransport>> clients;
    std::vector<std::unique_ptr<Http1Connection>> connections;
    for (size_t i = 0; i < at_once; ++i) {
        clients.push_back(std::make_unique<FakeTransport>());
        connections.push_back(std::make_unique<Http1Connection>(*clients.back(), *front.worker));
        (void)connections.back()->on_bytes("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    CHECK(front.worker->pools.leased() == at_once);
    std::vector<base::UniqueFd> ends;
    front.loop->turn(10);
    for (size_t i = 0; i < at_once; ++i) {
        ends.push_back(server.accept());
        net::write_text(ends.back().fd(), "HTTP/1.1 204 No Content\r\n\r\n");
    }
    REQUIRE(front.turn_until([&] { return front.worker->pools.idle() == at_once; }));
    CHECK(front.worker->pools.leased() == 0);
}
