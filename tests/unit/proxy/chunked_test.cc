// The chunked coding: random messages in random pieces against a plain model, every prefix, and
// sizes. What is refused stands in smuggling_test.cc.
#include "proxy/chunked.h"

#include <random>
#include <string>
#include "catch.h"

namespace proxy {

namespace {

using State = ChunkDecoder::State;

struct Decoded {
    State state = State::More;
    std::string data;
    size_t consumed = 0;
};

/// Gives `input` to the decoder in pieces of at most `most` bytes (random) and takes what comes.
template <typename Random>
Decoded decode(std::string_view input, size_t most, Random& random) {
    ChunkDecoder decoder;
    Decoded decoded;
    while (decoded.consumed < input.size() && decoded.state == State::More) {
        const size_t size = 1 + random() % most;
        std::string_view piece = input.substr(decoded.consumed, size);
        const ChunkDecoder::Step step = decoder.decode(piece);
        REQUIRE(step.consumed <= piece.size());
        REQUIRE((step.consumed > 0 || step.state == State::Bad));
        REQUIRE((step.data.empty() ||
                 (step.data.data() >= piece.data() &&
                  step.data.data() + step.data.size() <= piece.data() + piece.size())));
        decoded.state = step.state;
        decoded.data += step.data;
        decoded.consumed += step.consumed;
    }
    return decoded;
}

}  // namespace

TEST_CASE("random chunkings decode to their data, in whatever pieces they come") {
    const unsigned seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 300; ++round) {
        std::string data;
        std::string wire;
        for (size_t chunks = random() % 20; chunks > 0; --chunks) {
            std::string chunk;
            for (size_t size = 1 + random() % 60; size > 0; --size) {
                chunk += "a\r\n0;:"[random() % 6];  // what looks like framing
            }
            std::array<uint8_t, 18> line;
            const size_t line_size = write_chunk_size(chunk.size(), line);
            std::string size_line(line.begin(), line.begin() + static_cast<ptrdiff_t>(line_size));
            if (random() % 4 == 0) size_line.insert(0, random() % 5, '0');
            if (random() % 4 == 0) size_line.insert(size_line.size() - 2, "; a=\"b;c\";d");
            data += chunk;
            wire += size_line + chunk + "\r\n";
        }
        wire += random() % 2 == 0 ? last_chunk : std::string_view("0;x\r\nA: b\r\nC-D:\r\n\r\n");
        const std::string next = "GET /";
        const Decoded decoded = decode(wire + next, 1 + random() % 80, random);
        REQUIRE(decoded.state == State::Done);
        REQUIRE(decoded.data == data);
        REQUIRE(decoded.consumed == wire.size());
        for (size_t cut = 0; cut < wire.size(); ++cut) {
            const Decoded part = decode(std::string_view(wire).substr(0, cut), wire.size(), random);
            REQUIRE(part.state == State::More);
            REQUIRE(part.consumed == cut);
            REQUIRE(data.starts_with(part.data));
        }
    }
}

TEST_CASE("a decoder that is done or has refused stays so until it is reset") {
    ChunkDecoder decoder;
    CHECK(decoder.decode(last_chunk).state == State::Done);
    CHECK(decoder.decode("1\r\n").state == State::Done);
    CHECK(decoder.decode("1\r\n").consumed == 0);
    decoder.reset();
    CHECK(decoder.decode("x").state == State::Bad);
    CHECK(decoder.decode(last_chunk).state == State::Bad);
    decoder.reset();
    CHECK(decoder.decode("").state == State::More);
    CHECK(decoder.decode("1\r\nx").data == "x");
    CHECK(decoder.decode("\r\n0\r\n\r\n").state == State::Done);
}

TEST_CASE("one run of data is one view, however long") {
    ChunkDecoder decoder;
    const std::string data(100'000, 'x');
    const std::string wire = "186a0\r\n" + data + "\r\n0\r\n\r\n";
    const ChunkDecoder::Step step = decoder.decode(wire);
    CHECK(step.data.size() == data.size());
    CHECK(step.consumed == 7 + data.size());
    CHECK(decoder.decode(std::string_view(wire).substr(step.consumed)).state == State::Done);
}

TEST_CASE("the share of framing is bounded for clients and not for backends (H1-32)") {
    std::string wire;
    for (int i = 0; i < 50'000; ++i) wire += "1\r\nx\r\n";
    const auto run = [&](ChunkDecoder decoder) {
        std::string_view rest = wire;
        for (;;) {
            const ChunkDecoder::Step step = decoder.decode(rest);
            rest.remove_prefix(step.consumed);
            if (step.state != State::More || step.consumed == 0) return step.state;
        }
    };
    CHECK(run(ChunkDecoder()) == State::Bad);
    CHECK(run(ChunkDecoder(ChunkDecoder::Peer::Backend)) == State::More);
}

TEST_CASE("chunk sizes are written as short as they can be") {
    const auto written = [](uint64_t size) {
        std::array<uint8_t, 18> out;
        const size_t bytes = write_chunk_size(size, out);
        return std::string(out.begin(), out.begin() + static_cast<ptrdiff_t>(bytes));
    };
    CHECK(written(0) == "0\r\n");
    CHECK(written(9) == "9\r\n");
    CHECK(written(0xf) == "f\r\n");
    CHECK(written(0x10) == "10\r\n");
    CHECK(written(0x1a2b) == "1a2b\r\n");
    CHECK(written(~0ull) == "ffffffffffffffff\r\n");
}

}  // namespace proxy
