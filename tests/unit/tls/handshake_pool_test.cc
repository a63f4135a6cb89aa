// Slow keys: who goes to the pool and who does not, what comes back, and who may go in between.
#include "tls/handshake_pool.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "catch.h"
#include "tls/certificates.h"
#include "tls/client.h"

using namespace test;
using tls::HandshakePool;
using State = tls::Session::State;

namespace {

const std::string slow_key = "RSA-3072";  // the fastest of the slow ones

/// A world with one site whose sessions are lent to a pool.
struct PoolWorld {
    explicit PoolWorld(const std::string& key = slow_key, size_t waiting_max = 1024)
        : pool(waiting_max), world(tls::Policy::Intermediate, &pool) {
        world.rotate_tickets();
        world.set({"a.test"}, {certificate({"a.test"}, key)});
    }
    ~PoolWorld() { pool.stop(); }
    const tls::TlsCounters& counters() const { return world.context->counters(); }

    HandshakePool pool;
    World world;
};

/// Happens once, and is waited for by another thread.
class Event {
  public:
    void set() {
        const std::lock_guard lock(mutex_);
        is_set_ = true;
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return is_set_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_set_ = false;
};

/// Lends the session and waits until it is back.
void lend(HandshakePool& pool, tls::Session& session) {
    Event back;
    std::thread::id worked_on;
    REQUIRE(pool.submit(session, [&] {
        worked_on = std::this_thread::get_id();
        back.set();
    }));
    back.wait();
    CHECK(worked_on != std::this_thread::get_id());
}

/// connect() with a server that lends its session whenever it says so; how often that was.
int connect_through(HandshakePool& pool, Client& client, Server& server) {
    client.handshake();
    pump(client, server);
    int times = 0;
    while (server.state == State::NeedSlowKey) {
        ++times;
        lend(pool, server.session());
        server.drive();
        pump(client, server);
    }
    return times;
}

void expect_data_flows(Client& client, Server& server) {
    REQUIRE(client.done());
    REQUIRE(server.session().handshake_done());
    REQUIRE(client.write("ping"));
    pump(client, server);
    CHECK(server.received == "ping");
    REQUIRE(server.write("pong"));
    client.put_input(server.take_output());
    CHECK(client.read() == "pong");
}

/// A server that has read a ClientHello and waits for its slow key.
Server waiting_server(World& world, int version = 0) {
    Client client({.version = version});
    client.handshake();
    Server server = world.accept();
    server.put(client.take_output());
    REQUIRE(server.state == State::NeedSlowKey);
    return server;
}

/// Keeps a pool's thread busy until it is opened or destroyed.
class Obstacle {
  public:
    Obstacle(HandshakePool& pool, World& world) : server_(waiting_server(world)) {
        Event reached;
        REQUIRE(pool.submit(server_.session(), [this, &reached] {
            reached.set();
            opened_.wait();
            passed_.set();
        }));
        reached.wait();
    }
    ~Obstacle() { open(); }
    Server& server() { return server_; }
    void open() {
        if (std::exchange(is_open_, true)) return;
        opened_.set();
        passed_.wait();
    }

  private:
    Server server_;
    Event opened_;
    Event passed_;
    bool is_open_ = false;
};

/// Two handshake messages as one record, or as two.
Bytes twice(const Bytes& hello, bool in_one_record) {
    Bytes result = hello;
    const ptrdiff_t header = in_one_record ? 5 : 0;
    result.insert(result.end(), hello.begin() + header, hello.end());
    if (in_one_record) {
        result[3] = static_cast<uint8_t>((result.size() - 5) >> 8);
        result[4] = static_cast<uint8_t>(result.size() - 5);
    }
    return result;
}

}  // namespace

TEST_CASE("a handshake with a slow key is lent to the pool for one step") {
    PoolWorld own("RSA-4096");
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const auto room = GENERATE(size_t{32 * 1024}, size_t{100});
    CAPTURE(version, room);
    const auto cert = certificate({"a.test"}, "RSA-4096");
    const auto staple = std::make_shared<const tls::Staple>(
        tls::Staple{tls::Der(3000, uint8_t{7}), base::Time::max()});
    own.world.set({"a.test"}, {cert}, {staple});
    Server server = own.world.accept();
    server.output_room = room;
    Client client({.version = version, .alpn = {"http/1.1"}, .status_request = true});
    CHECK(connect_through(own.pool, client, server) == 1);
    expect_data_flows(client, server);
    CHECK(client.peer_der() == cert->leaf);
    CHECK(client.alpn() == "http/1.1");
    const unsigned char* sent = nullptr;
    CHECK(SSL_get_tlsext_status_ocsp_resp(client.ssl(), &sent) == 3000);
    CHECK(server.session().info().certificate == cert.get());
    CHECK(client.tickets() == 1);
    CHECK(own.counters().full_handshakes == 1);
    CHECK(own.counters().failed_handshakes == 0);
    CHECK(own.pool.counts().taken == 1);
}

TEST_CASE("what signs fast stays on the worker") {
    const auto key = GENERATE(std::string("RSA"), std::string("P-256"), std::string("P-384"),
                              std::string("P-521"), std::string("Ed25519"));
    CAPTURE(key);
    CHECK_FALSE(certificate({"a.test"}, key)->has_slow_key());
    CHECK(certificate({"a.test"}, slow_key)->has_slow_key());
    PoolWorld own(key);
    Server server = own.world.accept();
    Client client({});
    CHECK(connect(client, server));
    // The choice counts, not what else there is.
    own.world.set({"a.test"}, {certificate({"a.test"}, slow_key), certificate({"a.test"})});
    Server other_server = own.world.accept();
    Client other({});
    CHECK(connect(other, other_server));
    CHECK(own.pool.counts().taken == 0);
}

TEST_CASE("a challenge is answered without the pool, whatever the name's key is") {
    PoolWorld own;
    auto made = tls::make_challenge_certificate("a.test", std::array<uint8_t, 32>{}, base::Time{});
    REQUIRE(made.ok());
    CHECK_FALSE((*made)->has_slow_key());
    auto challenges = std::make_shared<tls::ChallengeCertificates>();
    challenges->entries.push_back({"a.test", *made});
    own.world.snapshots.challenges.publish(challenges);
    Server server = own.world.accept();
    Client client({.alpn = {"acme-tls/1"}});
    CHECK(connect(client, server));
    CHECK(own.pool.counts().taken == 0);
}

TEST_CASE("without a pool a slow key signs on the spot") {
    World world;
    world.set({"a.test"}, {certificate({"a.test"}, slow_key)});
    Server server = world.accept();
    Client client({});
    CHECK(connect(client, server));
}

TEST_CASE("a resumed session needs no signature and no pool") {
    PoolWorld own;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    std::shared_ptr<SSL_SESSION> session;
    {
        Server server = own.world.accept();
        Client client({.version = version});
        REQUIRE(connect_through(own.pool, client, server) == 1);
        client.read();
        session = client.session();
        REQUIRE(session);
    }
    Server server = own.world.accept();
    Client client({.version = version, .session = session.get()});
    CHECK(connect_through(own.pool, client, server) == 0);
    expect_data_flows(client, server);
    CHECK(server.session().info().resumed);
    CHECK(server.session().info().certificate->has_slow_key());
    CHECK(own.pool.counts().taken == 1);
}

TEST_CASE("a client that is asked to retry has its second hello read by the worker") {
    PoolWorld own;
    Server server = own.world.accept();
    Client client({.version = TLS1_3_VERSION, .groups = "P-521:P-256"});
    CHECK(connect_through(own.pool, client, server) == 2);
    expect_data_flows(client, server);
}

TEST_CASE("hellos that are sent ahead are never read on the pool's thread") {
    // SslSession::worker() asserts that none of the callbacks that need the worker runs there.
    PoolWorld own;
    const auto in_one_record = GENERATE(false, true);
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    const auto groups = GENERATE(std::string("P-521:P-256"), std::string("P-256"));
    CAPTURE(in_one_record, version, groups);
    Client client({.version = version, .groups = groups});
    client.handshake();
    Server server = own.world.accept();
    const Bytes bytes = twice(client.take_output(), in_one_record);
    tls::Session& session = server.session();
    session.feed(bytes);
    server.drive();
    for (int rounds = 0; server.state == State::NeedSlowKey; ++rounds) {
        REQUIRE(rounds < 2);
        session.keep_input();
        lend(own.pool, session);
        CHECK_FALSE(session.handshake_done());
        server.drive();
    }
    CHECK(server.state == State::Failed);
    CHECK_FALSE(session.error().empty());
    CHECK(own.counters().failed_handshakes == 1);
}

TEST_CASE("a handshake that fails in the pool says why, and the client gets its alert") {
    PoolWorld own;
    Server server = own.world.accept();
    // Verifies ECDSA only: there is nothing for it but the RSA certificate.
    Client client({.version = TLS1_3_VERSION, .signature_algorithms = "ECDSA+SHA256"});
    client.handshake();
    server.put(client.take_output());
    REQUIRE(server.state == State::NeedSlowKey);
    lend(own.pool, server.session());
    CHECK(own.counters().failed_handshakes == 0);  // the worker's own, counted there
    server.drive();
    CHECK(server.state == State::Failed);
    CHECK(server.session().error() == "no shared signature algorithm");
    CHECK(own.counters().failed_handshakes == 1);
    pump(client, server);
    CHECK(client.alert() == "handshake failure");
}

TEST_CASE("a session that still waits can be withdrawn and destroyed") {
    PoolWorld own;
    const auto version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Obstacle obstacle(own.pool, own.world);
    CHECK_FALSE(own.pool.withdraw(obstacle.server().session()));
    std::atomic<bool> was_called = false;
    {
        Server server = waiting_server(own.world, version);
        REQUIRE(own.pool.submit(server.session(), [&] { was_called = true; }));
        CHECK(own.pool.counts().waiting == 1);
        CHECK(own.pool.withdraw(server.session()));
        CHECK_FALSE(own.pool.withdraw(server.session()));
    }
    CHECK(own.pool.counts().waiting == 0);
    obstacle.open();
    CHECK_FALSE(was_called);
    CHECK(own.pool.counts().taken == 1);
    CHECK(own.pool.counts().withdrawn == 1);
    CHECK(own.counters().failed_handshakes == 1);
}

TEST_CASE("a certificate that is replaced while a session waits is still good for it") {
    PoolWorld own;
    Server server = own.world.accept();
    Client client({});
    client.handshake();
    server.put(client.take_output());
    REQUIRE(server.state == State::NeedSlowKey);
    own.world.set({"a.test"}, {certificate({"a.test"})});
    Server after = own.world.accept();
    Client next({});
    CHECK(connect(next, after));
    lend(own.pool, server.session());
    server.drive();
    pump(client, server);
    expect_data_flows(client, server);
    CHECK(client.peer_der() != next.peer_der());
}

TEST_CASE("more than the limit do not wait") {
    PoolWorld own(slow_key, 2);
    Obstacle obstacle(own.pool, own.world);
    std::vector<Server> servers;
    for (int i = 0; i < 3; ++i) servers.push_back(waiting_server(own.world));
    Event first;
    Event second;
    CHECK(own.pool.submit(servers[0].session(), [&] { first.set(); }));
    CHECK(own.pool.submit(servers[1].session(), [&] { second.set(); }));
    CHECK_FALSE(own.pool.submit(servers[2].session(), [] { std::abort(); }));
    CHECK(own.pool.counts().refused == 1);
    CHECK(own.pool.counts().waiting == 2);
    CHECK_FALSE(own.pool.withdraw(servers[2].session()));
    obstacle.open();
    first.wait();
    second.wait();
    lend(own.pool, servers[2].session());
    CHECK(own.pool.counts().taken == 4);
}

TEST_CASE("a stopped pool takes none, and gives back what waits") {
    PoolWorld own;
    Server server = waiting_server(own.world);
    {
        Obstacle obstacle(own.pool, own.world);
        REQUIRE(own.pool.submit(server.session(), [] { std::abort(); }));
        std::thread stopping([&] { own.pool.stop(); });
        // It ends the step in progress first; by then it takes no more.
        while (own.pool.submit(obstacle.server().session(), [] { std::abort(); })) {
            REQUIRE(own.pool.withdraw(obstacle.server().session()));
            std::this_thread::yield();
        }
        obstacle.open();
        stopping.join();
    }
    CHECK(own.pool.withdraw(server.session()));
    CHECK(own.pool.counts().taken == 1);
    own.pool.stop();
}

TEST_CASE("many sessions share the pool while the worker goes on") {
    constexpr size_t count = 40;
    PoolWorld own;
    own.world.set({"fast.test"}, {certificate({"fast.test"})});
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<size_t> back;
    struct Pair {
        Pair(World& world, int version) : client({.version = version}), server(world.accept()) {}
        Client client;
        Server server;
    };
    std::vector<std::unique_ptr<Pair>> pairs;
    size_t lent = 0;
    for (size_t i = 0; i < count; ++i) {
        auto& pair = pairs.emplace_back(
            std::make_unique<Pair>(own.world, i % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION));
        pair->client.handshake();
        pair->server.put(pair->client.take_output());
        REQUIRE(pair->server.state == State::NeedSlowKey);
        ++lent;
        REQUIRE(own.pool.submit(pair->server.session(), [&, i] {
            const std::lock_guard lock(mutex);
            back.push_back(i);
            changed.notify_one();
        }));
        Server server = own.world.accept();
        Client client({.server_name = "fast.test"});
        CHECK(connect(client, server));
        // Now and then a client leaves.
        if (i % 8 == 7 && own.pool.withdraw(pairs[i - 1]->server.session())) {
            pairs[i - 1].reset();
            --lent;
        }
    }
    size_t done = 0;
    for (; done < lent; ++done) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return !back.empty(); });
        Pair& pair = *pairs[back.front()];
        back.pop_front();
        lock.unlock();
        pair.server.drive();
        pump(pair.client, pair.server);
        expect_data_flows(pair.client, pair.server);
    }
    CHECK(own.counters().full_handshakes == count + lent);
    CHECK(own.counters().failed_handshakes == count - lent);
    CHECK(own.pool.counts().taken == lent);
}
