// Many bytes both ways through the real kernel, with everything that can stop them: pauses, slow
// readers, tiny queues and starved buffer groups. Content and order are checked by position.
#include <random>

#include "support.h"

namespace net {

namespace {

/// The byte at a position of a stream: any loss, doubling or exchange shows.
uint8_t pattern(uint64_t seed, uint64_t position) {
    uint64_t x = (position / 8 + seed) * 0x9e3779b97f4a7c15;
    x ^= x >> 29;
    return static_cast<uint8_t>(x >> (position % 8 * 8));
}

/// One end: sends `total` bytes of a pattern and expects as many of the other's.
struct End : StreamHandler {
    Stream* stream = nullptr;
    uint64_t total = 0;
    uint64_t send_seed = 0;
    uint64_t receive_seed = 0;
    uint64_t sent = 0;
    uint64_t received = 0;
    bool right = true;
    bool ended = false;
    int closed = 0;
    base::Error error;
    bool pauses = false;
    std::vector<End*>* paused_ends = nullptr;
    std::mt19937* random = nullptr;

    void pump() {
        while (sent < total && stream->can_send()) {
            Chunk chunk = stream->loop().chunks().take();
            base::check(static_cast<bool>(chunk));
            const auto size = static_cast<size_t>(
                std::min<uint64_t>(total - sent, 1 + (*random)() % chunk_bytes));
            for (size_t i = 0; i < size; ++i) chunk.data()[i] = pattern(send_seed, sent + i);
            chunk.filled(size);
            sent += size;
            stream->send(std::move(chunk));
        }
        if (sent < total) return;
        if (ended) {
            stream->finish();
        } else {
            stream->shutdown_write();
        }
    }
    /// Both ends know a connection by the client's port (0 for Unix sockets).
    void on_connected() noexcept override {
        send_seed = stream->local().port();
        receive_seed = send_seed + 1'000'000;
        pump();
    }
    void on_writable() noexcept override { pump(); }
    void on_data(std::span<uint8_t> bytes) noexcept override {
        base::check(!stream->paused());
        for (const uint8_t byte : bytes) right &= byte == pattern(receive_seed, received++);
        if (pauses && (*random)() % 8 == 0) {
            stream->pause();
            paused_ends->push_back(this);
        }
    }
    void on_end() noexcept override {
        ended = true;
        pump();
    }
    void on_closed(base::Error e) noexcept override {
        ++closed;
        error = e;
    }
};

struct Accepting : AcceptHandler {
    std::function<void(Stream&)> then;
    void on_accept(Stream& stream) noexcept override { then(stream); }
};

struct Case {
    const char* name;
    LoopOptions options;
    const char* address;
    ReceiveMode mode;  // of the connecting side; the other is Multishot
    BufferKind buffers;
    size_t connections;
    uint64_t bytes;
    bool pauses;
};

void transfer(const Case& c, unsigned seed) {
    INFO(c.name << ", seed " << seed);
    std::mt19937 random(seed);
    auto loop = make_loop(c.options);
    std::vector<End*> paused_ends;
    std::vector<std::unique_ptr<End>> ends;
    const auto make_end = [&]() -> End& {
        ends.push_back(std::make_unique<End>());
        End& end = *ends.back();
        end.total = c.bytes;
        end.pauses = c.pauses;
        end.paused_ends = &paused_ends;
        end.random = &random;
        return end;
    };
    Accepting accepting;
    accepting.then = [&](Stream& stream) {
        End& end = make_end();
        end.stream = &stream;
        end.receive_seed = stream.peer().port();
        end.send_seed = end.receive_seed + 1'000'000;
        stream.set_handler(end);
        stream.set_buffers(c.buffers);
        end.pump();
    };
    const Address address = listen_in(*loop, accepting, c.address);
    for (size_t i = 0; i < c.connections; ++i) {
        End& end = make_end();
        auto stream = loop->connect(address, 20'000, end, c.mode, c.buffers);
        REQUIRE(stream.ok());
        end.stream = *stream;
    }
    const bool done = turn_until(
        *loop,
        [&] {
            for (End* end : std::exchange(paused_ends, {})) {
                if (end->closed == 0) end->stream->resume();
            }
            if (ends.size() < 2 * c.connections) return false;
            return std::all_of(ends.begin(), ends.end(), [](auto& end) { return end->closed; });
        },
        60'000);
    CHECK(done);
    for (const auto& end : ends) {
        CHECK(end->right);
        CHECK(end->ended);
        CHECK(end->received == c.bytes);
        CHECK(end->closed == 1);
        CHECK(end->error.domain == base::ErrorDomain::None);
    }
    CHECK(loop->streams() == 0);
    CHECK(loop->chunks().in_use() == 0);
    CHECK(loop->counters().stale_completions == 0);
}

/// As much of a pattern as `fd` takes now.
void write_some(int fd, uint64_t seed, uint64_t& position, uint64_t total) {
    uint8_t buffer[16 * 1024];
    const auto size = static_cast<size_t>(std::min<uint64_t>(sizeof buffer, total - position));
    for (size_t i = 0; i < size; ++i) buffer[i] = pattern(seed, position + i);
    const ssize_t n = ::send(fd, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) position += static_cast<uint64_t>(n);
}

}  // namespace

TEST_CASE("Large transfers both ways arrive whole and in order") {
    const unsigned seed = std::random_device{}();
    const auto multishot = ReceiveMode::Multishot;
    const auto one_shot = ReceiveMode::OneShot;
    const auto small = BufferKind::Small;
    const auto large = BufferKind::Large;
    const auto bulk = BufferKind::Bulk;
    const LoopOptions normal;
    const LoopOptions tiny = tiny_loop();
    const char* v4 = "127.0.0.1:0";
    const char* v6 = "[::1]:0";
    const std::string path = fmt::format("unix:/tmp/mdfront-net-transfer-{}", ::getpid());
    const Case cases[] = {
        {"normal, one-shot", normal, v4, one_shot, large, 2, 8'000'000, false},
        {"normal, multishot", normal, v6, multishot, small, 2, 8'000'000, false},
        {"normal, one-shot, pauses", normal, v4, one_shot, large, 2, 8'000'000, true},
        {"normal, multishot, pauses", normal, v4, multishot, small, 2, 4'000'000, true},
        {"normal, Unix, pauses", normal, path.c_str(), multishot, large, 2, 8'000'000, true},
        {"normal, one-shot, bulk", normal, v4, one_shot, bulk, 2, 16'000'000, false},
        {"normal, one-shot, bulk, pauses", normal, v4, one_shot, bulk, 2, 8'000'000, true},
        {"tiny, one-shot, bulk", tiny, v4, one_shot, bulk, 3, 2'000'000, false},
        {"12 connections, 4 bulk buffers", tiny, v4, one_shot, bulk, 12, 500'000, false},
        {"tiny, one-shot", tiny, v4, one_shot, large, 3, 2'000'000, false},
        {"tiny, multishot", tiny, v4, multishot, small, 3, 1'000'000, false},
        {"tiny, one-shot, pauses", tiny, v4, one_shot, small, 3, 1'000'000, true},
        {"tiny, multishot, pauses", tiny, v6, multishot, large, 3, 2'000'000, true},
        {"tiny, Unix, pauses", tiny, path.c_str(), one_shot, large, 3, 2'000'000, true},
        {"200 connections, 4 buffers", tiny, v4, one_shot, small, 200, 30'000, false},
        {"200 connections, 4 buffers, pauses", tiny, v4, multishot, large, 200, 30'000, true},
    };
    for (const Case& c : cases) transfer(c, seed);
    // This seed lost a FIN while Unix sockets were received from with multishots (liburing 1549).
    const Case& lost = *std::find_if(std::begin(cases), std::end(cases), [](const Case& c) {
        return std::string_view(c.name) == "tiny, Unix, pauses";
    });
    transfer(lost, 3489703578);
    ::unlink(path.c_str() + 5);
}

TEST_CASE("FIN right behind the last bytes is heard, in every family and mode") {
    auto loop = make_loop();
    for (int i = 0; i < 200; ++i) {
        for (const ReceiveMode mode : {ReceiveMode::Multishot, ReceiveMode::OneShot}) {
            Pair pair = i % 2 ? unix_pair() : tcp_pair();
            Recorder recorder;
            recorder.stream = &loop->adopt(pair.ours.release(), recorder, mode, BufferKind::Small);
            recorder.stream->shutdown_write();
            write_text(pair.theirs.fd(), "first ");
            REQUIRE(turn_until(*loop, [&] { return !recorder.received.empty(); }));
            loop->turn(0);  // the receive is armed and polls
            write_text(pair.theirs.fd(), "last words");
            ::shutdown(pair.theirs.fd(), SHUT_WR);
            const auto heard = [&] { return recorder.ended == 1; };
            REQUIRE(turn_until(*loop, heard, 2000));
            CHECK(recorder.received == "first last words");
            recorder.stream->close();
            REQUIRE(turn_until(*loop, [&] { return recorder.closed == 1; }));
        }
    }
}

TEST_CASE("A slow reader stops the sender and loses nothing") {
    for (const LoopOptions& options : {LoopOptions(), tiny_loop()}) {
        auto loop = make_loop(options);
        Pair pair = tcp_pair();
        std::mt19937 random(1);
        End end;
        end.random = &random;
        end.total = 6'000'000;
        end.send_seed = 5;
        end.stream =
            &loop->adopt(pair.ours.release(), end, ReceiveMode::OneShot, BufferKind::Small);
        end.pump();
        turn_for(*loop, 100);
        CHECK(end.sent < end.total);  // it waits for the reader
        CHECK(loop->chunks().in_use() == Stream::chunks_queued_max);
        uint64_t read = 0;
        bool right = true;
        std::string bytes;
        REQUIRE(turn_until(*loop, [&] {
            bytes.clear();
            const ssize_t n = read_now(pair.theirs.fd(), bytes);
            for (const char byte : bytes) right &= static_cast<uint8_t>(byte) == pattern(5, read++);
            return n == 0;
        }));
        CHECK(right);
        CHECK(read == end.total);
    }
}

TEST_CASE("A stream that stays paused keeps no buffer from others") {
    for (const ReceiveMode mode : {ReceiveMode::Multishot, ReceiveMode::OneShot}) {
        auto loop = make_loop(tiny_loop());
        std::vector<Pair> pairs;
        std::vector<std::unique_ptr<Recorder>> paused;
        for (int i = 0; i < 8; ++i) {  // twice as many as there are buffers
            pairs.push_back(tcp_pair());
            paused.push_back(std::make_unique<Recorder>());
            Recorder& recorder = *paused.back();
            recorder.stream =
                &loop->adopt(pairs.back().ours.release(), recorder, mode, BufferKind::Small);
            recorder.when_data = [&recorder](auto) { recorder.stream->pause(); };
            write_text(pairs.back().theirs.fd(), std::string(20'000, 'p'));
        }
        turn_for(*loop, 50);
        Pair pair = tcp_pair();
        std::mt19937 random(1);
        End end;
        end.random = &random;
        end.receive_seed = 9;
        end.stream = &loop->adopt(pair.ours.release(), end, mode, BufferKind::Small);
        uint64_t written = 0;
        REQUIRE(turn_until(*loop, [&] {
            if (written < 300'000) write_some(pair.theirs.fd(), 9, written, 300'000);
            return end.received == 300'000;
        }));
        CHECK(end.right);
        for (const auto& recorder : paused) CHECK(recorder->received.size() <= small_buffer_bytes);
        end.total = end.sent = 0;
    }
}

TEST_CASE("Starved streams get their turn and are counted") {
    auto loop = make_loop(tiny_loop());
    std::vector<Pair> pairs;
    std::vector<std::unique_ptr<Recorder>> recorders;
    for (int i = 0; i < 200; ++i) {
        pairs.push_back(unix_pair());
        recorders.push_back(std::make_unique<Recorder>());
        recorders.back()->stream = &loop->adopt(pairs.back().ours.release(), *recorders.back(),
                                                ReceiveMode::Multishot, BufferKind::Small);
    }
    loop->turn(0);
    for (Pair& pair : pairs) write_text(pair.theirs.fd(), std::string(5000, 's'));
    REQUIRE(turn_until(*loop, [&] {
        return std::all_of(recorders.begin(), recorders.end(),
                           [](const auto& r) { return r->received.size() == 5000; });
    }));
    CHECK(loop->counters().buffer_starvations > 0);
    // Closing starved streams is as good as closing others.
    for (Pair& pair : pairs) write_text(pair.theirs.fd(), std::string(5000, 's'));
    loop->turn(0);
    for (auto& recorder : recorders) recorder->stream->close();
    REQUIRE(turn_until(*loop, [&] { return loop->streams() == 0; }));
    for (const auto& recorder : recorders) CHECK(recorder->closed == 1);
}

}  // namespace net
