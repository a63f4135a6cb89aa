#include "net/ring_size.h"

#include "catch.h"

namespace net {

TEST_CASE("A loop's locked memory is what the kernel counts") {
    // Measured on Linux 6.18 by how many rings 8 MiB hold: 23, 51, 66, 89 and 227.
    struct Row {
        uint32_t sq_entries, cq_entries, small_buffers;
        size_t rings;
    };
    for (const Row& row :
         {Row{1024, 16384, 1024, 23}, Row{1024, 4096, 1024, 51}, Row{512, 4096, 1024, 66},
          Row{512, 2048, 1024, 89}, Row{64, 1024, 64, 227}}) {
        INFO(row.rings);
        LoopOptions options;
        options.sq_entries = row.sq_entries;
        options.cq_entries = row.cq_entries;
        options.small_buffers = row.small_buffers;
        options.large_buffers = row.small_buffers / 4;
        options.bulk_buffers = row.small_buffers / 32;
        CHECK(8 * 1024 * 1024 / locked_bytes(options) == row.rings);
    }
}

TEST_CASE("Which kernels count a ring's memory as locked") {
    for (const char* release :
         {"5.10.0-28-amd64", "5.11", "6.14.0", "6.18.44", "7.0-rc1", "", "x"}) {
        INFO(release);
        CHECK(counts_locked_memory(release));
    }
    for (const char* release :
         {"5.12.1", "5.15.0-91-generic", "6.1.0-18-amd64", "6.13.12", "6.9"}) {
        INFO(release);
        CHECK_FALSE(counts_locked_memory(release));
    }
}

TEST_CASE("Queues shrink to an end, and are never made larger") {
    LoopOptions options;
    size_t before = locked_bytes(options);
    int steps = 0;
    while (shrink_queues(options)) {
        CHECK(locked_bytes(options) < before);
        before = locked_bytes(options);
        REQUIRE(++steps < 20);
    }
    CHECK(options.cq_entries == 2048);
    CHECK(options.sq_entries == 256);
    LoopOptions tiny{.sq_entries = 4, .cq_entries = 16};
    CHECK_FALSE(shrink_queues(tiny));
    CHECK(tiny.sq_entries == 4);
    CHECK(tiny.cq_entries == 16);
}

}  // namespace net
