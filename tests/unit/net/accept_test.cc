#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/log.h"
#include "support.h"

namespace net {

namespace {

/// Counts what is accepted and can close it.
struct Counting : AcceptHandler {
    Acceptors acceptors;
    void on_accept(Stream& stream) noexcept override { acceptors.on_accept(stream); }
    void close_one() {
        for (auto& recorder : acceptors.all) {
            if (recorder->closed == 0) return recorder->stream->close();
        }
    }
};

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

TEST_CASE("A burst takes no more descriptors than connections_max") {
    // Near the limit from the start; and coming near it, with a multishot that has to end.
    for (const uint32_t burst : {4096u, 20u}) {
        INFO(burst);
        LoopOptions options = small_loop();
        options.connections_max = 40;
        options.accept_burst_max = burst;
        auto loop = make_loop(options);
        Counting counting;
        const Address address = listen_in(*loop, counting);
        std::vector<base::UniqueFd> clients;
        for (int i = 0; i < 25; ++i) clients.push_back(dial(address));
        turn_for(*loop, 50);
        CHECK(counting.acceptors.open() == 25);
        for (int i = 0; i < 95; ++i) clients.push_back(dial(address));
        const size_t before = open_descriptors();
        turn_for(*loop, 50);
        CHECK(counting.acceptors.open() == 40);
        CHECK(open_descriptors() - before <= 15 + 1);
        // None is lost.
        REQUIRE(turn_until(*loop, [&] {
            counting.close_one();
            loop->turn(1);
            REQUIRE(loop->counters().connections <= 40);
            return counting.acceptors.all.size() == 120;
        }));
        // And with room again all of a burst is taken at once, as far as it is one.
        while (counting.acceptors.open() > 0) counting.close_one(), loop->turn(1);
        for (int i = 0; i < 35; ++i) clients.push_back(dial(address));
        REQUIRE(turn_until(*loop, [&] { return counting.acceptors.all.size() == 155; }));
    }
}

TEST_CASE("Connections go out up to outgoing_max, and again when one has ended") {
    LoopOptions options = small_loop();
    options.outgoing_max = 2;
    auto loop = make_loop(options);
    Acceptors acceptors;
    const Address address = listen_in(*loop, acceptors);
    Recorder recorders[3];
    const auto dial_out = [&](Recorder& recorder) {
        auto stream =
            loop->connect(address, 1000, recorder, ReceiveMode::OneShot, BufferKind::Small);
        if (!stream) return stream.error().code;
        recorder.stream = *stream;
        return 0;
    };
    CHECK(dial_out(recorders[0]) == 0);
    CHECK(dial_out(recorders[1]) == 0);
    CHECK(dial_out(recorders[2]) == EMFILE);
    REQUIRE(turn_until(*loop, [&] { return acceptors.all.size() == 2; }));  // these do not count
    CHECK(loop->counters().outgoing == 2);
    recorders[0].stream->close();
    REQUIRE(turn_until(*loop, [&] { return recorders[0].closed == 1; }));
    CHECK(dial_out(recorders[2]) == 0);
    CHECK(loop->counters().outgoing == 2);
}

TEST_CASE("Accepting stops at connections_max and goes on at 90 %") {
    LoopOptions options = small_loop();
    options.connections_max = 10;
    auto loop = make_loop(options);
    Counting counting;
    const Address address = listen_in(*loop, counting);
    std::vector<base::UniqueFd> clients;
    for (int i = 0; i < 30; ++i) clients.push_back(dial(address));  // they wait in the backlog
    turn_for(*loop, 50);
    CHECK(counting.acceptors.open() == 10);
    CHECK(loop->counters().connections == 10);
    const uint64_t turns = loop->counters().turns;
    loop->turn(100);
    loop->turn(100);
    CHECK(loop->counters().turns == turns + 2);

    counting.close_one();
    turn_for(*loop, 20);
    CHECK(counting.acceptors.open() == 10);  // 9 of 10 are 90 %: one comes
    REQUIRE(turn_until(*loop, [&] {
        counting.close_one();
        loop->turn(1);
        REQUIRE(loop->counters().connections <= 10);
        return counting.acceptors.all.size() == 30;
    }));
    for (int i = 0; i < 30; ++i) counting.close_one(), loop->turn(0);
    REQUIRE(turn_until(*loop, [&] { return loop->streams() == 0; }));
    CHECK(loop->counters().connections == 0);
    CHECK(loop->counters().accepted == 30);
}

TEST_CASE("A multishot accept that the kernel ends is armed again") {
    auto loop = make_loop(tiny_loop());
    Acceptors acceptors;
    const Address address = listen_in(*loop, acceptors);
    std::vector<base::UniqueFd> clients;
    for (int i = 0; i < 60; ++i) clients.push_back(dial(address));  // 16 completions fit
    REQUIRE(turn_until(*loop, [&] { return acceptors.all.size() == 60; }));
}

TEST_CASE("A handler may close what it accepts at once") {
    auto loop = make_loop();
    struct Refusing : AcceptHandler {
        void on_accept(Stream& stream) noexcept override { stream.close(); }
    } refusing;
    const Address address = listen_in(*loop, refusing);
    const base::UniqueFd client = dial(address);
    std::string text;
    REQUIRE(turn_until(*loop, [&] { return read_now(client.fd(), text) == 0; }));
    CHECK(loop->streams() == 0);
}

TEST_CASE("Closed listeners accept nothing, and streams go on") {
    auto loop = make_loop();
    Acceptors acceptors;
    const Address address = listen_in(*loop, acceptors);
    const base::UniqueFd client = dial(address);
    REQUIRE(turn_until(*loop, [&] { return acceptors.all.size() == 1; }));
    loop->close_listeners();
    turn_for(*loop, 20);
    const base::UniqueFd late(::socket(AF_INET, SOCK_STREAM, 0));
    CHECK(::connect(late.fd(), address.data(), address.length()) == -1);
    CHECK(errno == ECONNREFUSED);
    write_text(client.fd(), "still served");
    REQUIRE(turn_until(*loop, [&] { return acceptors.all[0]->received == "still served"; }));
    // And new listeners may follow.
    const Address second = listen_in(*loop, acceptors);
    const base::UniqueFd other = dial(second);
    REQUIRE(turn_until(*loop, [&] { return acceptors.all.size() == 2; }));
}

TEST_CASE("A descriptor that does not listen is refused") {
    auto loop = make_loop();
    Acceptors acceptors;
    CHECK_FALSE(loop->add_listener(::socket(AF_INET, SOCK_STREAM, 0), acceptors).ok());
    CHECK_FALSE(loop->add_listener(-1, acceptors).ok());
}

TEST_CASE("Without descriptors accepting waits, does not spin, and goes on when some are free") {
    auto loop = make_loop();
    Acceptors acceptors;
    const Address address = listen_in(*loop, acceptors);
    std::vector<base::UniqueFd> clients;
    for (int i = 0; i < 5; ++i) clients.push_back(dial(address));

    // UBSan needs a pipe the first time that it sees a class with virtual functions: formatting's.
    base::log_warn("test", "", "{} {}", std::string("one line a second is to follow"), uint64_t{2});
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int next = ::dup(0);
    ::close(next);
    // Room for two more descriptors.
    const rlimit tight{static_cast<rlim_t>(next) + 2, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
    const double cpu = cpu_seconds();
    const uint64_t turns = loop->counters().turns;
    const uint64_t start = steady_ms();
    while (steady_ms() - start < 1000) loop->turn(1000);
    const double used = cpu_seconds() - cpu;
    const uint64_t turned = loop->counters().turns - turns;
    const size_t accepted = acceptors.all.size();
    const uint64_t errors = loop->counters().accept_errors;
    // A stream of our own that closes makes room at once.
    acceptors.all.at(0)->stream->close();
    (void)turn_until(
        *loop, [&] { return acceptors.all.size() == 3; }, 1000);
    const size_t after_close = acceptors.all.size();
    auto refused =
        loop->connect(address, 1000, *acceptors.all.at(1), ReceiveMode::OneShot, BufferKind::Small);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);

    CHECK(accepted == 2);
    CHECK(errors >= 5);
    CHECK(errors <= 15);  // every 100 ms
    CHECK(turned < 60);
    CHECK(used < 0.2);
    CHECK(after_close == 3);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == EMFILE);
    REQUIRE(turn_until(*loop, [&] { return acceptors.all.size() == 5; }));
}

TEST_CASE("Connections opened and closed leave no descriptor behind") {
    const size_t before = open_descriptors();
    {
        auto loop = make_loop();
        Acceptors acceptors;
        acceptors.when_accepted = [](Recorder& r) { r.when_end = [&r] { r.stream->close(); }; };
        const Address address = listen_in(*loop, acceptors);
        const size_t idle = open_descriptors();
        for (int round = 0; round < 20; ++round) {
            std::vector<base::UniqueFd> clients;
            for (int i = 0; i < 20; ++i) clients.push_back(dial(address));
            const size_t expected = static_cast<size_t>(round + 1) * 20;
            REQUIRE(turn_until(*loop, [&] { return acceptors.all.size() == expected; }));
            clients.clear();
            REQUIRE(turn_until(*loop, [&] { return loop->streams() == 0; }));
        }
        loop->turn(0);
        CHECK(open_descriptors() == idle);
        CHECK(loop->counters().stale_completions == 0);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("A listener's errors name the operation and errno") {
    const base::UniqueFd first = listen_at("127.0.0.1:0", {.reuse_port = false});
    const auto second = listen_on(bound_to(first), {.reuse_port = false});
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().code == EADDRINUSE);
    CHECK(std::string(second.error().text) == "bind");
    const auto elsewhere = listen_on(address_of("192.0.2.1:0"), {});
    REQUIRE_FALSE(elsewhere.ok());
    CHECK(elsewhere.error().code == EADDRNOTAVAIL);
}

TEST_CASE("With reuse_port several sockets listen on one address") {
    const base::UniqueFd first = listen_at("127.0.0.1:0");
    CHECK(listen_on(bound_to(first), {}).ok());
}

TEST_CASE("[::] listens on both families, and what is accepted has TCP_NODELAY") {
    auto loop = make_loop();
    Acceptors acceptors;
    Address address = listen_in(*loop, acceptors, "[::]:0");
    Address v4 = address_of("127.0.0.1:0");
    v4.set_port(address.port());
    const base::UniqueFd client = dial(v4);
    REQUIRE(turn_until(*loop, [&] { return acceptors.all.size() == 1; }));
    CHECK(acceptors.all[0]->stream->peer().host_text() == "127.0.0.1");

    const base::UniqueFd listener = listen_at("127.0.0.1:0");
    const base::UniqueFd other = dial(bound_to(listener));
    const base::UniqueFd accepted(::accept(listener.fd(), nullptr, nullptr));
    int nodelay = 0;
    socklen_t length = sizeof nodelay;
    ::getsockopt(accepted.fd(), IPPROTO_TCP, 1 /* TCP_NODELAY */, &nodelay, &length);
    CHECK(nodelay == 1);
}

TEST_CASE("A Unix socket gets its mode; a stale file is replaced, a live one and a file are not") {
    const std::string path = fmt::format("/tmp/mdfront-net-listener-{}", ::getpid());
    const std::string text = "unix:" + path;
    {
        const base::UniqueFd fd = listen_at(text, {.unix_mode = 0600});
        struct stat status {};
        REQUIRE(::stat(path.c_str(), &status) == 0);
        CHECK((status.st_mode & 0777) == 0600);
        CHECK_FALSE(listen_on(address_of(text), {}).ok());
        CHECK(bound_to(fd).text() == text);
    }
    { const base::UniqueFd again = listen_at(text); }
    ::unlink(path.c_str());
    const base::UniqueFd file(::open(path.c_str(), O_CREAT | O_RDWR, 0600));
    const auto refused = listen_on(address_of(text), {});
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == EADDRINUSE);
    ::unlink(path.c_str());
}

}  // namespace net
