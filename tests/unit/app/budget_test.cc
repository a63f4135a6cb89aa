// Who gets how many descriptors and how much locked memory.
#include "app/budget.h"

#include "catch.h"
#include "net/ring_size.h"

namespace app {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("where descriptors suffice, nothing is lowered") {
    const DescriptorNeeds needs{.workers = 4,
                                .sockets = 9,
                                .has_admin = true,
                                .has_access_log = true,
                                .store_threads = 12,
                                .connections_max = 65'536};
    const auto budget = divide_descriptors(1'048'576, needs);
    REQUIRE(budget);
    CHECK(budget->connections_max == 65'536);
    CHECK(budget->outgoing_max >= 65'536);
    CHECK(budget->admin_connections_max == 256);
    CHECK_THAT(describe(*budget, needs), !ContainsSubstring("ulimit"));
    // The number that is told is the one from which on nothing is lowered.
    CHECK(divide_descriptors(budget->needed, needs)->connections_max == 65'536);
    CHECK(divide_descriptors(budget->needed - 2 * needs.workers, needs)->connections_max == 65'535);
}

TEST_CASE("everybody's share together never exceeds the limit, and clients get half at most") {
    for (uint64_t limit = 0; limit < 3000; ++limit) {
        for (const uint64_t workers : {1, 2, 7, 64}) {
            for (const bool full : {false, true}) {
                const DescriptorNeeds needs{.workers = workers,
                                            .sockets = 2 * workers + (full ? 1 : 0),
                                            .has_admin = full,
                                            .has_access_log = full,
                                            .store_threads = full ? 12u : 0u,
                                            .connections_max = full ? 65'536u : 100u};
                const auto budget = divide_descriptors(limit, needs);
                if (!budget) {
                    // Too few for one client of each worker with its backend.
                    REQUIRE(limit < 24 + 2 * (workers + 1) + needs.sockets + workers + limit / 4 +
                                        limit / 16 + 4 + 2 * workers);
                    continue;
                }
                REQUIRE(budget->connections_max > 0);
                REQUIRE(budget->connections_max <= needs.connections_max);
                REQUIRE(budget->outgoing_max >= budget->connections_max);
                REQUIRE(budget->admin_connections_max > 0);
                REQUIRE(budget->kept_back +
                            workers * (uint64_t{budget->connections_max} + budget->outgoing_max) <=
                        limit);
                // Rings, sockets and logs have theirs whatever is lacking.
                REQUIRE(budget->kept_back >= 24 + 2 * workers + needs.sockets);
            }
        }
    }
}

TEST_CASE("what lowers connections_max is told with numbers and what to change") {
    const DescriptorNeeds needs{.workers = 2, .sockets = 4, .connections_max = 65'536};
    const auto budget = divide_descriptors(1024, needs);
    REQUIRE(budget);
    CHECK(budget->connections_max == 248);  // (1024 - 24 - 4 - 4) / 4
    const std::string text = describe(*budget, needs);
    for (const char* word : {"of 1024 descriptors 32 are kept", "2 worker(s) take 248 client",
                             "not the 65536 of limits.connections_max", "to 262176",
                             "LimitNOFILE=", "ulimit -n", "lower limits.connections_max"}) {
        CHECK_THAT(text, ContainsSubstring(word));
    }
    CHECK_FALSE(divide_descriptors(35, needs));
    CHECK(divide_descriptors(36, needs));
    CHECK_THAT(explain_too_few(35, needs), ContainsSubstring("35 descriptors") &&
                                               ContainsSubstring("LimitNOFILE=") &&
                                               ContainsSubstring("server.workers"));
}

TEST_CASE("rings are made smaller before workers are left out") {
    const net::LoopOptions loop;
    const net::LoopOptions admin{.sq_entries = 64,
                                 .cq_entries = 1024,
                                 .small_buffers = 64,
                                 .large_buffers = 16,
                                 .bulk_buffers = 4};
    constexpr uint64_t usual = 8 * 1024 * 1024;
    struct Row {
        std::optional<uint64_t> limit;
        uint64_t workers;
        uint64_t workers_had;
        uint32_t cq_entries;
    };
    const Row rows[] = {
        {std::nullopt, 500, 500, 16384}, {usual, 1, 1, 16384},    {usual, 23, 23, 16384},
        {usual, 24, 24, 8192},           {usual, 64, 64, 4096},   {usual, 100, 100, 2048},
        {usual, 200, 107, 2048},         {64 * 1024, 4, 1, 2048}, {0, 4, 1, 2048},
    };
    for (const Row& row : rows) {
        INFO(row.workers << " workers, " << row.limit.value_or(0) << " bytes");
        const RingBudget budget = divide_locked_memory(row.limit, row.workers, loop, &admin);
        CHECK(budget.workers == row.workers_had);
        CHECK(budget.loop.cq_entries == row.cq_entries);
        CHECK(budget.is_smaller == (row.cq_entries != loop.cq_entries));
        CHECK(budget.needed == row.workers * net::locked_bytes(loop) + net::locked_bytes(admin));
        if (row.limit == usual) {
            CHECK(budget.workers * net::locked_bytes(budget.loop) + net::locked_bytes(admin) <=
                  usual);
        }
    }
}

}  // namespace app
