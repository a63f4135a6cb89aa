#include <sys/ioctl.h>

#include <thread>

#include "support.h"

namespace net {

namespace {

/// Sends back what it receives.
void echo(Recorder& recorder) {
    recorder.when_data = [&recorder](std::span<uint8_t>) {
        Stream& stream = *recorder.stream;
        stream.send(chunk_of(stream.loop(), std::exchange(recorder.received, {})));
    };
    recorder.when_end = [&recorder] { recorder.stream->finish(); };
}

struct Fixture {
    std::unique_ptr<EventLoop> loop = make_loop();
    Recorder ours;
    base::UniqueFd theirs;

    explicit Fixture(bool tcp = true, ReceiveMode mode = ReceiveMode::Multishot) {
        Pair pair = tcp ? tcp_pair() : unix_pair();
        theirs = std::move(pair.theirs);
        ours.stream = &loop->adopt(pair.ours.release(), ours, mode, BufferKind::Small);
    }
    bool until(const std::function<bool()>& done) { return turn_until(*loop, done); }
    std::string their_input;
    ssize_t their_last = 0;
    /// Reads on their side until FIN or an error, which is returned.
    ssize_t read_to_end() {
        REQUIRE(until([&] {
            their_last = read_now(theirs.fd(), their_input);
            return their_last <= 0 && their_last != -EAGAIN;
        }));
        return their_last;
    }
};

}  // namespace

TEST_CASE("What is sent to an accepted stream comes back, over TCP v4, v6 and Unix") {
    const std::string path = fmt::format("unix:/tmp/mdfront-net-test-{}", ::getpid());
    for (const std::string& text : {std::string("127.0.0.1:0"), std::string("[::1]:0"), path}) {
        INFO(text);
        auto loop = make_loop();
        Acceptors servers;
        servers.when_accepted = echo;
        const Address address = listen_in(*loop, servers, text);

        Recorder client;
        auto connected =
            loop->connect(address, 5000, client, ReceiveMode::OneShot, BufferKind::Large);
        REQUIRE(connected.ok());
        client.stream = *connected;
        REQUIRE(client.stream->can_send());
        client.stream->send(chunk_of(*loop, "hello, "));  // before it is connected
        client.when_connected = [&] { client.stream->send(chunk_of(*loop, "world")); };
        REQUIRE(turn_until(*loop, [&] { return client.received == "hello, world"; }));
        CHECK(client.connected == 1);
        CHECK(client.stream->peer() == address);
        REQUIRE(servers.all.size() == 1);
        CHECK(servers.all[0]->stream->local() == address);
        CHECK(servers.all[0]->stream->peer() == client.stream->local());

        client.stream->finish();
        REQUIRE(turn_until(*loop, [&] { return loop->streams() == 0; }));
        CHECK(client.closed == 1);
        CHECK(client.error.domain == base::ErrorDomain::None);
        CHECK(servers.all[0]->closed == 1);
        CHECK(servers.all[0]->error.domain == base::ErrorDomain::None);
        CHECK(loop->counters().accepted == 1);
        CHECK(loop->counters().connected == 1);
        CHECK(loop->counters().connections == 0);
        CHECK(loop->counters().bytes_sent == 24);
        CHECK(loop->counters().bytes_received == 24);
        CHECK(loop->counters().stale_completions == 0);
    }
    ::unlink(path.c_str() + 5);
}

TEST_CASE("A refused connection is told by on_closed with its errno") {
    auto loop = make_loop();
    Address address;
    {
        const base::UniqueFd fd = listen_at("127.0.0.1:0");
        address = bound_to(fd);
    }
    Recorder client;
    auto stream = loop->connect(address, 5000, client, ReceiveMode::OneShot, BufferKind::Large);
    REQUIRE(stream.ok());
    (*stream)->send(chunk_of(*loop, "lost"));
    REQUIRE(client.closed == 0);
    REQUIRE(turn_until(*loop, [&] { return client.closed == 1; }));
    CHECK(client.connected == 0);
    CHECK(client.error.domain == base::ErrorDomain::System);
    CHECK(client.error.code == ECONNREFUSED);
    CHECK(loop->streams() == 0);
    CHECK(loop->chunks().in_use() == 0);
}

TEST_CASE("A Unix socket that is not there is told by on_closed") {
    auto loop = make_loop();
    Recorder client;
    auto stream = loop->connect(address_of("unix:/nonexistent/socket"), 5000, client,
                                ReceiveMode::OneShot, BufferKind::Large);
    REQUIRE(stream.ok());
    REQUIRE(turn_until(*loop, [&] { return client.closed == 1; }));
    CHECK(client.error.code == ENOENT);
}

TEST_CASE("A connect that nobody answers times out") {
    auto loop = make_loop();
    // A listener whose backlog is full drops SYNs.
    const base::UniqueFd listener = listen_at("127.0.0.1:0", {.backlog = 0});
    const Address address = bound_to(listener);
    std::vector<base::UniqueFd> fillers;
    for (int i = 0; i < 4; ++i) {
        fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        (void)::connect(fillers.back().fd(), address.data(), address.length());
    }
    ::usleep(50'000);
    Recorder client;
    loop->turn(0);  // the loop's time is the turn's
    const uint64_t start = steady_ms();
    auto stream = loop->connect(address, 150, client, ReceiveMode::OneShot, BufferKind::Large);
    REQUIRE(stream.ok());
    REQUIRE(turn_until(*loop, [&] { return client.closed == 1; }));
    CHECK(steady_ms() - start >= 149);
    CHECK(steady_ms() - start < 1000);
    CHECK(client.connected == 0);
    CHECK(client.error.domain == base::ErrorDomain::Net);
    CHECK(std::string(client.error.text) == "connect timed out");
    CHECK(loop->streams() == 0);
}

TEST_CASE("A Unix socket whose backlog is full is tried again, without spinning") {
    const std::string text = fmt::format("unix:/tmp/mdfront-net-backlog-{}", ::getpid());
    auto loop = make_loop();
    base::UniqueFd listener = listen_at(text, {.backlog = 0});
    const base::UniqueFd first = dial(address_of(text));  // the backlog is full
    Recorder timed_out;
    loop->turn(0);
    const uint64_t turns = loop->counters().turns;
    auto stream =
        loop->connect(address_of(text), 300, timed_out, ReceiveMode::OneShot, BufferKind::Small);
    REQUIRE(stream.ok());
    const uint64_t start = steady_ms();
    while (timed_out.closed == 0 && steady_ms() - start < 5000) loop->turn(1000);
    CHECK(std::string(timed_out.error.text) == "connect timed out");
    CHECK(loop->counters().turns - turns < 100);

    Recorder patient;
    stream =
        loop->connect(address_of(text), 5000, patient, ReceiveMode::OneShot, BufferKind::Small);
    turn_for(*loop, 50);
    CHECK(patient.connected == 0);
    Acceptors acceptors;
    REQUIRE(loop->add_listener(listener.release(), acceptors).ok());
    REQUIRE(turn_until(*loop, [&] { return patient.connected == 1; }));
    (*stream)->close();
    REQUIRE(turn_until(*loop, [&] { return patient.closed == 1; }));
    ::unlink(text.c_str() + 5);
}

TEST_CASE("Descriptors that are non-blocking are as good as others") {
    auto loop = make_loop();
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    const base::UniqueFd theirs(fds[1]);
    for (const ReceiveMode mode : {ReceiveMode::Multishot, ReceiveMode::OneShot}) {
        Recorder ours;
        ours.stream = &loop->adopt(::dup(fds[0]), ours, mode, BufferKind::Small);
        turn_for(*loop, 20);
        write_text(theirs.fd(), "late");
        REQUIRE(turn_until(*loop, [&] { return ours.received == "late"; }));
        if (mode == ReceiveMode::OneShot) ours.stream->close();
        if (mode == ReceiveMode::Multishot) {
            ours.stream->pause();
            turn_for(*loop, 20);
            ours.stream->abort();  // leaves the socket to the second one
        }
        REQUIRE(turn_until(*loop, [&] { return ours.closed == 1; }));
    }
    ::close(fds[0]);
}

TEST_CASE("Closing while connecting ends in one on_closed without error") {
    auto loop = make_loop();
    Acceptors servers;
    const Address address = listen_in(*loop, servers);
    for (const int turns : {0, 1, 2}) {
        Recorder client;
        auto stream = loop->connect(address, 5000, client, ReceiveMode::OneShot, BufferKind::Large);
        REQUIRE(stream.ok());
        for (int i = 0; i < turns && client.connected == 0; ++i) loop->turn(0);
        (*stream)->close();
        CHECK(client.closed == 0);
        REQUIRE(turn_until(*loop, [&] { return client.closed == 1; }));
        CHECK(client.error.domain == base::ErrorDomain::None);
    }
}

TEST_CASE("After the peer's FIN writing goes on") {
    for (const ReceiveMode mode : {ReceiveMode::Multishot, ReceiveMode::OneShot}) {
        Fixture f(true, mode);
        write_text(f.theirs.fd(), "request");
        ::shutdown(f.theirs.fd(), SHUT_WR);
        REQUIRE(f.until([&] { return f.ours.ended == 1; }));
        CHECK(f.ours.received == "request");
        turn_for(*f.loop, 20);
        CHECK(f.ours.ended == 1);
        f.ours.stream->send(chunk_of(*f.loop, "answer"));
        REQUIRE(f.until([&] { return f.ours.writable == 1; }));
        f.ours.stream->finish();
        CHECK(f.read_to_end() == 0);
        CHECK(f.their_input == "answer");
        REQUIRE(f.until([&] { return f.ours.closed == 1; }));
        CHECK(f.ours.error.domain == base::ErrorDomain::None);
    }
}

TEST_CASE("shutdown_write sends what is queued, then FIN, and receiving goes on") {
    Fixture f;
    f.ours.stream->send(chunk_of(*f.loop, "one "));
    f.ours.stream->send(chunk_of(*f.loop, "two"));
    f.ours.stream->shutdown_write();
    CHECK_FALSE(f.ours.stream->can_send());
    CHECK(f.read_to_end() == 0);
    CHECK(f.their_input == "one two");
    write_text(f.theirs.fd(), "still here");
    REQUIRE(f.until([&] { return f.ours.received == "still here"; }));
    f.theirs.reset();
    REQUIRE(f.until([&] { return f.ours.ended == 1; }));
    f.ours.stream->close();
    REQUIRE(f.until([&] { return f.ours.closed == 1; }));
}

TEST_CASE("shutdown_write with nothing queued sends FIN at once") {
    Fixture f;
    f.ours.stream->shutdown_write();
    CHECK(f.read_to_end() == 0);
}

TEST_CASE("finish lets the peer read our last bytes although it is still sending") {
    for (const ReceiveMode mode : {ReceiveMode::Multishot, ReceiveMode::OneShot}) {
        Fixture f(true, mode);
        write_text(f.theirs.fd(), std::string(50'000, 'x'));
        REQUIRE(f.until([&] { return !f.ours.received.empty(); }));
        f.ours.stream->pause();  // as somebody who does not want the body would
        f.ours.stream->send(chunk_of(*f.loop, "413 too large"));
        f.ours.stream->finish();
        const size_t received = f.ours.received.size();
        for (int i = 0; i < 20; ++i) {
            write_text(f.theirs.fd(), std::string(50'000, 'y'));
            turn_for(*f.loop, 2);
        }
        CHECK(f.read_to_end() == 0);  // no reset
        CHECK(f.their_input == "413 too large");
        CHECK(f.ours.closed == 0);
        f.theirs.reset();
        REQUIRE(f.until([&] { return f.ours.closed == 1; }));
        CHECK(f.ours.error.domain == base::ErrorDomain::None);
        CHECK(f.ours.received.size() == received);
        CHECK(f.ours.ended == 0);
    }
}

TEST_CASE("finish waits for a peer that does not close, until it is silent for five seconds") {
    Fixture f;
    const uint64_t start = steady_ms();
    f.ours.stream->finish();
    CHECK(f.read_to_end() == 0);
    turn_for(*f.loop, 3000);
    write_text(f.theirs.fd(), "still here");
    REQUIRE(turn_until(
        *f.loop, [&] { return f.ours.closed == 1; }, 10'000));
    CHECK(steady_ms() - start >= 7990);
    CHECK(steady_ms() - start < 9000);
    CHECK(f.ours.error.domain == base::ErrorDomain::None);
}

TEST_CASE("abort gives the peer a reset and never an orderly end") {
    for (const bool sending : {false, true}) {
        INFO(sending);
        Fixture f;
        if (sending) {  // more than the socket takes: a send is in flight
            const int size = 4096;
            ::setsockopt(f.theirs.fd(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
            f.ours.when_writable = [&] {
                f.ours.stream->send(chunk_of(*f.loop, std::string(17'000, 'z')));
            };
            f.ours.when_writable();
            turn_for(*f.loop, 50);
            REQUIRE(f.ours.stream->unsent() > 0);
        } else {
            write_text(f.theirs.fd(), "hi");
            REQUIRE(f.until([&] { return f.ours.received == "hi"; }));
        }
        f.ours.when_writable = nullptr;
        f.ours.stream->abort();
        CHECK(f.read_to_end() == -ECONNRESET);
        REQUIRE(f.until([&] { return f.ours.closed == 1; }));
        CHECK(f.ours.error.domain == base::ErrorDomain::None);
        CHECK(f.loop->chunks().in_use() == 0);
    }
}

TEST_CASE("a loop that ends sends no FIN behind a part of what it was given") {
    Fixture f;
    const int size = 4096;
    ::setsockopt(f.theirs.fd(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    f.ours.when_writable = [&] {
        f.ours.stream->send(chunk_of(*f.loop, std::string(17'000, 'z')));
    };
    f.ours.when_writable();
    turn_for(*f.loop, 50);
    REQUIRE(f.ours.stream->unsent() > 0);
    f.ours.when_writable = nullptr;
    f.ours.stream->finish();
    f.loop.reset();
    ssize_t last = -EAGAIN;
    for (int tries = 0; tries < 5'000 && (last > 0 || last == -EAGAIN); ++tries) {
        last = read_now(f.theirs.fd(), f.their_input);
        if (last == -EAGAIN) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(last == -ECONNRESET);
}

TEST_CASE("A reset by the peer is on_closed with ECONNRESET, once") {
    for (const ReceiveMode mode : {ReceiveMode::Multishot, ReceiveMode::OneShot}) {
        Fixture f(true, mode);
        f.loop->turn(0);
        const linger now{1, 0};
        ::setsockopt(f.theirs.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
        f.theirs.reset();
        REQUIRE(f.until([&] { return f.ours.closed == 1; }));
        CHECK(f.ours.error.domain == base::ErrorDomain::System);
        CHECK(f.ours.error.code == ECONNRESET);
        CHECK(f.ours.ended == 0);
        turn_for(*f.loop, 20);
        CHECK(f.loop->streams() == 0);
    }
}

TEST_CASE("Sending to a peer that is gone ends in on_closed with an error") {
    Fixture f(false);
    f.ours.stream->pause();
    f.loop->turn(0);
    f.loop->turn(0);
    f.theirs.reset();
    f.ours.stream->send(chunk_of(*f.loop, "nobody reads this"));
    REQUIRE(f.until([&] { return f.ours.closed == 1; }));
    CHECK(f.ours.error.domain == base::ErrorDomain::System);
    CHECK(f.ours.error.code == EPIPE);
}

TEST_CASE("An answer sent before the peer broke off is delivered before the error of our send") {
    Fixture f(true, ReceiveMode::OneShot);
    std::string answer(40'000, 'a');
    write_text(f.theirs.fd(), answer);
    const linger now{1, 0};
    ::setsockopt(f.theirs.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::usleep(10'000);
    f.theirs.reset();  // RST
    f.ours.stream->send(chunk_of(*f.loop, "the request's body"));
    REQUIRE(f.until([&] { return f.ours.closed == 1; }));
    CHECK(f.ours.error.domain == base::ErrorDomain::System);
    CHECK(f.ours.received == answer);
    CHECK(f.ours.ended == 0);
}

TEST_CASE("close in any handler gives exactly one on_closed and no other call after it") {
    enum Where { Data, End, Writable, Connected };
    for (const Where where : {Data, End, Writable}) {
        for (const ReceiveMode mode : {ReceiveMode::Multishot, ReceiveMode::OneShot}) {
            for (const bool tcp : {true, false}) {
                INFO(where << " " << static_cast<int>(mode) << " " << tcp);
                Fixture f(tcp, mode);
                int calls = 0;
                const auto close = [&] {
                    ++calls;
                    f.ours.stream->close();
                    f.ours.stream->close();
                    f.ours.stream->finish();
                    f.ours.stream->pause();
                    f.ours.stream->resume();
                    f.ours.stream->send(chunk_of(*f.loop, "dropped"));
                    CHECK_FALSE(f.ours.stream->can_send());
                    CHECK(f.ours.closed == 0);
                };
                if (where == Data) f.ours.when_data = [&](auto) { close(); };
                if (where == End) f.ours.when_end = close;
                if (where == Writable) f.ours.when_writable = close;
                write_text(f.theirs.fd(), std::string(30'000, 'd'));
                if (where == End) ::shutdown(f.theirs.fd(), SHUT_WR);
                f.ours.stream->send(chunk_of(*f.loop, "text"));
                REQUIRE(f.until([&] { return f.ours.closed == 1; }));
                CHECK(calls == 1);
                CHECK(f.ours.error.domain == base::ErrorDomain::None);
                turn_for(*f.loop, 10);
                CHECK(f.loop->streams() == 0);
                CHECK(f.loop->chunks().in_use() == 0);
            }
        }
    }
}

TEST_CASE("A stream may be closed and others opened inside on_closed") {
    auto loop = make_loop();
    Pair first = unix_pair();
    Pair second = unix_pair();
    Recorder a;
    Recorder b;
    a.stream = &loop->adopt(first.ours.release(), a, ReceiveMode::Multishot, BufferKind::Small);
    a.when_closed = [&] {
        b.stream = &loop->adopt(second.ours.release(), b, ReceiveMode::OneShot, BufferKind::Small);
    };
    a.stream->close();
    CHECK(a.closed == 0);  // never from inside a call
    REQUIRE(turn_until(*loop, [&] { return a.closed == 1; }));
    write_text(second.theirs.fd(), "b");
    REQUIRE(turn_until(*loop, [&] { return b.received == "b"; }));
}

TEST_CASE("So many chunks are queued and no more, in order, and unsent counts them") {
    Fixture f;
    std::string all;
    for (size_t i = 0; i < Stream::chunks_queued_max; ++i) {
        CHECK(f.ours.stream->can_send());
        all += std::string(1000, static_cast<char>('a' + i));
        f.ours.stream->send(chunk_of(*f.loop, all.substr(i * 1000)));
    }
    CHECK_FALSE(f.ours.stream->can_send());
    CHECK(f.ours.stream->unsent() == all.size());
    REQUIRE(f.until([&] { return f.ours.writable == 1; }));  // one message
    CHECK(f.ours.stream->can_send());
    CHECK(f.ours.stream->unsent() == 0);
    CHECK(f.loop->chunks().in_use() == 0);
    f.ours.stream->close();
    CHECK(f.read_to_end() == 0);
    CHECK(f.their_input == all);
}

TEST_CASE("A paused stream hears nothing; what came is there in order after resume") {
    for (const ReceiveMode mode : {ReceiveMode::Multishot, ReceiveMode::OneShot}) {
        Fixture f(true, mode);
        f.ours.when_data = [&](auto) { f.ours.stream->pause(); };
        std::string sent;
        for (int i = 0; i < 3000; ++i) sent += fmt::format("{:06} ", i);
        write_text(f.theirs.fd(), sent);
        REQUIRE(f.until([&] { return !f.ours.received.empty(); }));
        const size_t first = f.ours.received.size();
        CHECK(first <= small_buffer_bytes);
        ::shutdown(f.theirs.fd(), SHUT_WR);
        turn_for(*f.loop, 30);
        CHECK(f.ours.received.size() == first);
        CHECK(f.ours.ended == 0);
        // Resuming delivers from the loop, not inside the call, and each delivery pauses again.
        int resumes = 0;
        REQUIRE(f.until([&] {
            const size_t before = f.ours.received.size();
            f.ours.stream->resume();
            REQUIRE(f.ours.received.size() == before);
            ++resumes;
            return f.ours.ended == 1;
        }));
        CHECK(resumes > 1);
        CHECK(f.ours.received == sent);
        f.ours.stream->close();
        REQUIRE(f.until([&] { return f.ours.closed == 1; }));
    }
}

TEST_CASE("pause and resume within one turn lose nothing") {
    Fixture f;
    f.ours.when_data = [&](auto) {
        f.ours.stream->pause();
        f.ours.stream->resume();
    };
    const std::string sent(200'000, 'p');
    size_t written = 0;
    REQUIRE(f.until([&] {
        const ssize_t n = ::send(f.theirs.fd(), sent.data() + written, sent.size() - written,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) written += static_cast<size_t>(n);
        return f.ours.received.size() == sent.size();
    }));
}

TEST_CASE("set_buffers takes effect in the middle of a multishot") {
    Fixture f;
    size_t largest = 0;
    f.ours.when_data = [&](std::span<uint8_t> bytes) { largest = std::max(largest, bytes.size()); };
    write_text(f.theirs.fd(), std::string(10'000, 's'));
    REQUIRE(f.until([&] { return f.ours.received.size() == 10'000; }));
    CHECK(largest <= small_buffer_bytes);
    f.ours.stream->set_buffers(BufferKind::Large);
    turn_for(*f.loop, 10);
    write_text(f.theirs.fd(), std::string(10'000, 'l'));
    REQUIRE(f.until([&] { return f.ours.received.size() == 20'000; }));
    CHECK(largest > small_buffer_bytes);
}

TEST_CASE("The handler can be exchanged at any time") {
    Fixture f;
    Recorder other;
    other.stream = f.ours.stream;
    f.ours.when_data = [&](auto) { f.ours.stream->set_handler(other); };
    write_text(f.theirs.fd(), "first");
    REQUIRE(f.until([&] { return f.ours.received == "first"; }));
    write_text(f.theirs.fd(), "second");
    REQUIRE(f.until([&] { return other.received == "second"; }));
    other.stream->close();
    REQUIRE(f.until([&] { return other.closed == 1; }));
    CHECK(f.ours.closed == 0);
}

TEST_CASE("Idle streams own no buffers, no chunks and few bytes") {
    Fixture f;
    CHECK(sizeof(Stream) <= 112);
    CHECK(f.loop->chunks().in_use() == 0);
}

}  // namespace net
