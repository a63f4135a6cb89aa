#include "net/ring.h"
#include "net/stream_table.h"
#include "support.h"

namespace net {

/// The loop's inside, for what no peer can bring about.
struct LoopProbe {
    static void complete(EventLoop& loop, const Tag& tag, int32_t result, uint32_t flags) {
        loop.dispatch({tag.packed(), result, flags});
    }
    static uint64_t returned(EventLoop& loop) { return loop.group(BufferKind::Small).returned(); }
    /// As when the kernel ends the multishot poll, which it may at any time.
    static void end_mail_poll(EventLoop& loop) { loop.ring_->cancel({Op::Mailbox, 0, 0}); }
    static bool is_mail_armed(const EventLoop& loop) { return loop.mail_armed_; }
    static uint32_t slot(const Stream& stream) { return stream.slot_; }
    static uint32_t generation(const Stream& stream) { return stream.generation_; }
};

/// Rounds of work in one turn.
constexpr int runs_per_turn_max = 4;

TEST_CASE("A tag keeps its three parts") {
    for (const Tag& tag : {Tag{Op::Connect, 0xffffff, 0xffffffff}, Tag{Op::Accept, 0, 0},
                           Tag{Op::ReceiveLarge, 0x123456, 0x789abcde}}) {
        const Tag again = Tag::unpack(tag.packed());
        CHECK(again.op == tag.op);
        CHECK(again.generation == tag.generation);
        CHECK(again.slot == tag.slot);
    }
}

TEST_CASE("Completions of a stream that is gone are counted and touch nobody") {
    auto loop = make_loop();
    Pair first = unix_pair();
    Recorder gone;
    gone.stream = &loop->adopt(first.ours.release(), gone, ReceiveMode::OneShot, BufferKind::Small);
    const uint32_t slot = LoopProbe::slot(*gone.stream);
    const uint32_t generation = LoopProbe::generation(*gone.stream);
    gone.stream->close();
    REQUIRE(turn_until(*loop, [&] { return gone.closed == 1; }));

    Pair second = unix_pair();
    Recorder next;
    next.stream =
        &loop->adopt(second.ours.release(), next, ReceiveMode::OneShot, BufferKind::Small);
    REQUIRE(LoopProbe::slot(*next.stream) == slot);  // used again
    REQUIRE(LoopProbe::generation(*next.stream) == generation + 1);
    LoopProbe::complete(*loop, {Op::Send, generation, slot}, 100, 0);
    LoopProbe::complete(*loop, {Op::Connect, generation, slot}, -ECANCELED, 0);
    LoopProbe::complete(*loop, {Op::Send, generation, 4'000'000}, 100, 0);
    CHECK(loop->counters().stale_completions == 3);
    CHECK(next.received.empty());
    CHECK(next.closed == 0);
    write_text(second.theirs.fd(), "mine");
    REQUIRE(turn_until(*loop, [&] { return next.received == "mine"; }));
    // Last, as this buffer is now in the group twice: its number finds the way back.
    const uint64_t returned = LoopProbe::returned(*loop);
    LoopProbe::complete(*loop, {Op::ReceiveSmall, generation, slot}, 10, 1 | 3 << 16);
    CHECK(LoopProbe::returned(*loop) == returned + 1);
}

TEST_CASE("A short send goes on where it stopped") {
    auto loop = make_loop();
    Pair pair = tcp_pair();
    Recorder ours;
    ours.stream = &loop->adopt(pair.ours.release(), ours, ReceiveMode::OneShot, BufferKind::Small);
    ours.when_writable = [&] { ours.stream->send(chunk_of(*loop, std::string(17'000, 'x'))); };
    ours.when_writable();
    turn_for(*loop, 100);  // until the peer's buffer is full and a send waits
    const size_t unsent = ours.stream->unsent();
    const int writable = ours.writable;
    REQUIRE(unsent == 17'000);
    // MSG_WAITALL makes the kernel do this by itself, except when it is interrupted.
    LoopProbe::complete(
        *loop, {Op::Send, LoopProbe::generation(*ours.stream), LoopProbe::slot(*ours.stream)}, 1000,
        0);
    CHECK(ours.stream->unsent() == 16'000);
    CHECK(ours.writable == writable);
    ours.stream->abort();
    REQUIRE(turn_until(*loop, [&] { return ours.closed == 1; }));
}

TEST_CASE("Chunks queued in one turn go out as one message, and a short send goes on inside it") {
    auto loop = make_loop();
    Pair pair = tcp_pair();
    const int size = 4096;
    ::setsockopt(pair.theirs.fd(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    Recorder ours;
    ours.stream = &loop->adopt(pair.ours.release(), ours, ReceiveMode::OneShot, BufferKind::Small);
    const auto fill = [&] {
        while (ours.stream->can_send()) {
            ours.stream->send(chunk_of(*loop, std::string(17'000, 'x')));
        }
    };
    ours.when_writable = fill;
    fill();
    turn_for(*loop, 100);  // until the peer's buffer is full and a send of all chunks waits
    constexpr size_t all = Stream::chunks_queued_max;
    REQUIRE(ours.stream->queued() == all);
    REQUIRE(ours.stream->unsent() == all * 17'000);
    ours.when_writable = nullptr;
    const int writable = ours.writable;
    const Tag tag{Op::Send, LoopProbe::generation(*ours.stream), LoopProbe::slot(*ours.stream)};
    LoopProbe::complete(*loop, tag, 2 * 17'000 + 1000, 0);
    CHECK(ours.stream->queued() == all - 2);
    CHECK(ours.stream->unsent() == (all - 2) * 17'000 - 1000);
    CHECK(ours.writable == writable);  // the message is not through
    CHECK(loop->chunks().in_use() == all - 2);
    LoopProbe::complete(*loop, tag, (all - 2) * 17'000 - 1000, 0);
    CHECK(ours.stream->queued() == 0);
    CHECK(ours.writable == writable + 1);
    ours.stream->abort();
    REQUIRE(turn_until(*loop, [&] { return ours.closed == 1; }));
}

TEST_CASE("What is unsent is counted anew after a queue was given up with bytes in it") {
    auto loop = make_loop();
    Pair pair = tcp_pair();
    Recorder ours;
    ours.stream = &loop->adopt(pair.ours.release(), ours, ReceiveMode::OneShot, BufferKind::Small);
    ours.when_writable = [&] {
        while (ours.stream->can_send()) {
            ours.stream->send(chunk_of(*loop, std::string(17'000, 'x')));
        }
    };
    ours.when_writable();
    turn_for(*loop, 100);  // until a send waits for the peer
    REQUIRE(ours.stream->unsent() > 0);
    ours.when_writable = nullptr;
    ours.stream->abort();
    REQUIRE(turn_until(*loop, [&] { return ours.closed == 1; }));
    CHECK(loop->chunks().in_use() == 0);

    Pair second = tcp_pair();  // its queue is the one from before
    Recorder next;
    next.stream =
        &loop->adopt(second.ours.release(), next, ReceiveMode::OneShot, BufferKind::Small);
    next.stream->send(chunk_of(*loop, "ten bytes!"));
    CHECK(next.stream->unsent() == 10);
    REQUIRE(turn_until(*loop, [&] { return next.writable == 1; }));
    CHECK(next.stream->unsent() == 0);
}

TEST_CASE("Closing a stream keeps what is in flight until the kernel lets go of it") {
    auto loop = make_loop();
    Pair pair = tcp_pair();
    Recorder ours;
    ours.stream = &loop->adopt(pair.ours.release(), ours, ReceiveMode::OneShot, BufferKind::Small);
    const auto fill = [&] {
        while (ours.stream->can_send()) {
            ours.stream->send(chunk_of(*loop, std::string(17'000, 'x')));
        }
    };
    ours.when_writable = fill;
    fill();
    turn_for(*loop, 100);
    ours.when_writable = nullptr;
    REQUIRE(loop->chunks().in_use() == Stream::chunks_queued_max);
    ours.stream->close();
    CHECK(loop->chunks().in_use() == Stream::chunks_queued_max);
    REQUIRE(turn_until(*loop, [&] { return ours.closed == 1; }));
    CHECK(loop->chunks().in_use() == 0);
}

TEST_CASE("Deferred work runs once, after the handlers of the turn, and may delete itself") {
    auto loop = make_loop();
    struct Work final : Deferred {
        explicit Work(int& count) : runs(count) {}
        int& runs;
        bool dies = false;
        void run_deferred() noexcept override {
            ++runs;
            if (dies) delete this;
        }
    };
    int runs = 0;
    Work work(runs);
    loop->defer(work);
    loop->defer(work);
    CHECK(runs == 0);
    loop->turn(0);
    CHECK(runs == 1);
    loop->turn(0);
    CHECK(runs == 1);
    auto* dying = new Work(runs);
    dying->dies = true;
    loop->mailbox().post([&] {
        loop->defer(*dying);
        CHECK(runs == 1);
    });
    REQUIRE(turn_until(*loop, [&] { return runs == 2; }));
}

TEST_CASE("Deferred work that is destroyed before its turn is not run, wherever it waits") {
    struct Work final : Deferred {
        explicit Work(std::string& log, char own_name) : text(log), name(own_name) {}
        std::string& text;
        char name;
        std::unique_ptr<Work> victim;
        void run_deferred() noexcept override {
            text += name;
            victim.reset();
        }
    };
    // Of three that wait, the first, the second, the third.
    for (size_t gone = 0; gone < 3; ++gone) {
        auto loop = make_loop();
        std::string text;
        std::vector<std::unique_ptr<Work>> works;
        for (const char name : {'a', 'b', 'c'}) works.push_back(std::make_unique<Work>(text, name));
        for (const auto& work : works) loop->defer(*work);
        works[gone].reset();
        Work late(text, 'd');
        loop->defer(late);
        loop->turn(0);
        CHECK(text == std::array{"bcd", "acd", "abd"}[gone]);
    }
    // By another's run, in the same round; and what is destroyed after its run is in no list.
    auto loop = make_loop();
    std::string text;
    Work first(text, 'a');
    first.victim = std::make_unique<Work>(text, 'b');
    auto last = std::make_unique<Work>(text, 'c');
    loop->defer(first);
    loop->defer(*first.victim);
    loop->defer(*last);
    loop->turn(0);
    last.reset();
    loop->defer(first);
    loop->turn(0);
    CHECK(text == "aca");
    // By a loop that ends first.
    loop->defer(first);
    loop.reset();
    CHECK(text == "acaa");
}

TEST_CASE("Work that defers itself waits for a later round of the turn") {
    auto loop = make_loop();
    struct Work final : Deferred {
        explicit Work(EventLoop& own_loop) : loop(own_loop) {}
        EventLoop& loop;
        int runs = 0;
        void run_deferred() noexcept override {
            ++runs;
            loop.defer(*this);
        }
    };
    auto owned = std::make_unique<Work>(*loop);
    Work& work = *owned;
    loop->defer(work);
    loop->turn(60'000);  // does not wait, as there is work
    CHECK(runs_per_turn_max >= work.runs);
    CHECK(work.runs > 1);
    const int before = work.runs;
    loop->turn(60'000);
    CHECK(work.runs > before);
    owned.reset();  // out of the list: else the loop would never be done with it
}

TEST_CASE("Timers run from the loop, which waits for the next of them") {
    auto loop = make_loop();
    struct Owner {
        EventLoop& loop;
        Timer timer{this, [](void* self) noexcept { static_cast<Owner*>(self)->loop.stop(); }};
    } owner{*loop};
    loop->turn(0);
    loop->timers().arm(owner.timer, 60);
    const uint64_t start = steady_ms();
    const uint64_t turns = loop->counters().turns;
    loop->run();
    CHECK(steady_ms() - start >= 58);
    CHECK(steady_ms() - start < 500);
    CHECK(loop->counters().turns - turns < 5);
    loop->timers().arm(owner.timer, 10);
    loop->run();  // again
}

TEST_CASE("Mail ends a wait although the kernel ended the poll for it in the same turn") {
    auto loop = make_loop();
    loop->turn(0);
    LoopProbe::end_mail_poll(*loop);
    for (int i = 0; i < 3; ++i) loop->turn(0);  // hears of it
    CHECK(LoopProbe::is_mail_armed(*loop));
    LoopProbe::end_mail_poll(*loop);
    loop->turn(0);  // the end of the poll is there, to be heard in the next turn
    std::atomic<bool> heard{false};
    std::thread sender([&] {
        ::usleep(50'000);
        loop->mailbox().post([&] { heard = true; });
    });
    const uint64_t start = steady_ms();
    loop->turn(5000);
    loop->turn(0);
    sender.join();
    CHECK(steady_ms() - start < 2000);
    REQUIRE(turn_until(*loop, [&] { return heard.load(); }));
}

TEST_CASE("stop before run ends it at once") {
    auto loop = make_loop();
    loop->stop();
    const uint64_t turns = loop->counters().turns;
    loop->run();
    CHECK(loop->counters().turns == turns);
}

TEST_CASE("A full submission queue is submitted early and loses nothing") {
    auto loop = make_loop(tiny_loop());
    std::vector<Pair> pairs;
    std::vector<std::unique_ptr<Recorder>> recorders;
    for (int i = 0; i < 100; ++i) {
        pairs.push_back(unix_pair());
        recorders.push_back(std::make_unique<Recorder>());
        recorders.back()->stream = &loop->adopt(pairs.back().ours.release(), *recorders.back(),
                                                ReceiveMode::OneShot, BufferKind::Small);
        recorders.back()->stream->send(chunk_of(*loop, fmt::format("{}", i)));
    }
    REQUIRE(turn_until(*loop, [&] {
        return std::all_of(recorders.begin(), recorders.end(),
                           [](const auto& r) { return r->writable == 1; });
    }));
    for (size_t i = 0; i < pairs.size(); ++i) {
        std::string text;
        CHECK(read_now(pairs[i].theirs.fd(), text) > 0);
        CHECK(text == fmt::format("{}", i));
    }
    CHECK(loop->counters().cq_overflows > 0);  // 100 sends at once into 16 places
}

TEST_CASE("A loop with everything in flight can be destroyed") {
    const size_t before = open_descriptors();
    {
        Acceptors acceptors;
        std::vector<Pair> pairs;
        std::vector<std::unique_ptr<Recorder>> recorders;
        auto loop = make_loop(tiny_loop());
        const Address address = listen_in(*loop, acceptors);
        for (int i = 0; i < 20; ++i) {
            pairs.push_back(i % 2 ? unix_pair() : tcp_pair());
            recorders.push_back(std::make_unique<Recorder>());
            Stream& stream = loop->adopt(pairs.back().ours.release(), *recorders.back(),
                                         i % 3 ? ReceiveMode::OneShot : ReceiveMode::Multishot,
                                         BufferKind::Large);
            recorders.back()->stream = &stream;
            recorders.back()->when_writable = [&loop, &stream] {
                stream.send(chunk_of(*loop, std::string(17'000, 'x')));
            };
            recorders.back()->when_writable();
            if (i == 3) stream.finish();
            if (i == 4) stream.pause();
        }
        recorders.push_back(std::make_unique<Recorder>());
        auto connecting = loop->connect(address, 1000, *recorders.back(), ReceiveMode::OneShot,
                                        BufferKind::Small);
        REQUIRE(connecting.ok());
        recorders.back()->stream = *connecting;
        turn_for(*loop, 30);
        const base::UniqueFd late = dial(address);
        const size_t accepted = acceptors.all.size();
        loop.reset();
        CHECK(acceptors.all.size() == accepted);
        for (const auto& recorder : recorders) CHECK(recorder->closed == 0);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("A loop that never turned can be destroyed") {
    auto loop = make_loop();
    Acceptors acceptors;
    listen_in(*loop, acceptors);
}

TEST_CASE("Loops of several threads do not mind each other") {
    std::vector<std::thread> threads;
    std::atomic<int> good{0};
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&] {
            auto loop = EventLoop::create(tiny_loop());
            if (!loop) return;
            int fds[2];
            if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) return;
            Recorder recorder;
            recorder.stream =
                &(*loop)->adopt(fds[0], recorder, ReceiveMode::Multishot, BufferKind::Small);
            for (int i = 0; i < 100; ++i) {
                if (::send(fds[1], "x", 1, 0) != 1) return;
                (*loop)->turn(10);
            }
            good += turn_until(**loop, [&] { return recorder.received.size() == 100; });
            ::close(fds[1]);
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(good == 3);
}

/// Submits what Ring has no function for.
struct RingProbe {
    static int32_t submit(Ring& ring, uint8_t opcode) {
        // struct io_uring_sqe: the operation, a descriptor at 4 and the user's data at 32.
        auto* entry = reinterpret_cast<uint8_t*>(&ring.next_entry());
        std::memset(entry, 0, 64);
        entry[0] = opcode;
        std::memset(entry + 4, 0xff, 4);
        entry[32] = 77;
        ring.submit_and_wait(1000);
        std::array<Completion, 4> completions;
        if (ring.reap(completions) != 1 || completions[0].tag != 77) return 0;
        return completions[0].result;
    }
};

TEST_CASE("A ring refuses every operation but ours") {
    auto ring = Ring::create(4, 8);
    REQUIRE(ring.ok());
    REQUIRE((*ring)->enable().ok());
    constexpr uint8_t op_poll_add = 6;
    CHECK(RingProbe::submit(**ring, op_poll_add) == -EBADF);
    for (const uint8_t opcode :
         std::to_array<uint8_t>({1, 2, 10, 18, 22, 23, 28, 30, 35, 45, 46})) {
        INFO(static_cast<int>(opcode));  // readv, writev, recvmsg, openat, read, ...
        CHECK(RingProbe::submit(**ring, opcode) == -EACCES);
    }
}

}  // namespace net
