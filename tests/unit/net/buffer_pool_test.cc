#include "net/buffer_pool.h"

#include "catch.h"

namespace net {

TEST_CASE("A chunk is filled from the front and gives itself back") {
    ChunkPool pool(2, 2);
    {
        Chunk chunk = pool.take();
        REQUIRE(chunk);
        CHECK(pool.in_use() == 1);
        CHECK(chunk.size() == 0);
        CHECK(chunk.room().size() == chunk_bytes);
        chunk.room()[0] = 'a';
        chunk.filled(1);
        chunk.room()[0] = 'b';
        chunk.filled(1);
        CHECK(std::string(chunk.bytes().begin(), chunk.bytes().end()) == "ab");
        CHECK(chunk.room().size() == chunk_bytes - 2);
        chunk.clear();
        CHECK(chunk.size() == 0);
    }
    CHECK(pool.in_use() == 0);
}

TEST_CASE("Moving a chunk moves the lease") {
    ChunkPool pool(2, 2);
    Chunk a = pool.take();
    a.filled(10);
    Chunk b = std::move(a);
    CHECK_FALSE(a);
    CHECK(a.size() == 0);
    CHECK(b.size() == 10);
    Chunk c = pool.take();
    CHECK(pool.in_use() == 2);
    c = std::move(b);  // what c had goes back
    CHECK(pool.in_use() == 1);
    CHECK(c.size() == 10);
    Chunk& same = c;
    c = std::move(same);
    CHECK(c.size() == 10);
    c = Chunk();
    CHECK(pool.in_use() == 0);
}

TEST_CASE("The pool gives null at its limit and again something when a chunk is back") {
    ChunkPool pool(3, 1);
    std::vector<Chunk> chunks;
    for (int i = 0; i < 3; ++i) chunks.push_back(pool.take());
    CHECK_FALSE(pool.take());
    const uint8_t* last = chunks.back().data();
    chunks.pop_back();
    Chunk again = pool.take();
    CHECK(again.data() == last);  // the one used last, still warm
    CHECK_FALSE(pool.take());
    chunks.clear();
    CHECK(pool.in_use() == 1);
}

TEST_CASE("The last eighth of the chunks is for control alone") {
    ChunkPool pool(32, 4);
    std::vector<Chunk> chunks;
    while (Chunk chunk = pool.take(Purpose::Data)) chunks.push_back(std::move(chunk));
    CHECK(chunks.size() == 28);
    CHECK_FALSE(pool.take());  // bodies are what callers mean who say nothing
    CHECK(pool.scarce());
    for (int i = 0; i < 4; ++i) {
        chunks.push_back(pool.take(Purpose::Control));
        CHECK(chunks.back());
        CHECK_FALSE(pool.take(Purpose::Data));
    }
    CHECK_FALSE(pool.take(Purpose::Control));
    CHECK(pool.in_use() == 32);
    // What comes back fills the reserve first.
    chunks.resize(chunks.size() - 4);
    CHECK_FALSE(pool.take(Purpose::Data));
    chunks.pop_back();
    CHECK(pool.take(Purpose::Data));
    // Control that goes beyond the reserve takes from data, as it needs to.
    chunks.clear();
    for (int i = 0; i < 28; ++i) chunks.push_back(pool.take(Purpose::Control));
    CHECK_FALSE(pool.take(Purpose::Data));
    CHECK(pool.take(Purpose::Control));
}

}  // namespace net
