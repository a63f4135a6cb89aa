// Real net on the simulated kernel: many seeds, each a world of its own.
//
// A failure names its seed. MDFRONT_SIM_SEED=<n> replays it, MDFRONT_SIM_SEEDS=<n> makes the run
// longer or shorter.
#include <cstdlib>

#include "base/log.h"
#include "catch.h"
#include "net_world.h"

namespace sim::front {

namespace {

constexpr int seeds_of_ci = 1000;

int number_of(const char* variable, int otherwise) {
    const char* text = std::getenv(variable);
    return text == nullptr ? otherwise : std::atoi(text);
}

}  // namespace

TEST_CASE("streams keep bytes and ends in order whatever the kernel does", "[net]") {
    base::Log::set_level(base::LogLevel::Error);
    const int one_seed = number_of("MDFRONT_SIM_SEED", -1);
    const int first = one_seed >= 0 ? one_seed : 1;
    const int last = one_seed >= 0 ? one_seed : number_of("MDFRONT_SIM_SEEDS", seeds_of_ci);
    NetWorld::Totals all;
    for (int one = first; one <= last; ++one) {
        NetWorld world(static_cast<uint64_t>(one));
        if (one % 4 == 3) {
            world.live_and_stop();
        } else {
            world.live();
        }
        const NetWorld::Totals& totals = world.totals();
        all.streams += totals.streams;
        all.bytes += totals.bytes;
        all.turns += totals.turns;
        all.letters += totals.letters;
        all.kernel.steps += totals.kernel.steps;
        all.kernel.overflown += totals.kernel.overflown;
        all.kernel.multishots_ended += totals.kernel.multishots_ended;
        all.kernel.cancels_late += totals.kernel.cancels_late;
        all.kernel.no_buffers += totals.kernel.no_buffers;
        all.kernel.resets += totals.kernel.resets;
        if (one_seed >= 0) fmt::print("trace {:016x}\n", world.trace());
    }
    fmt::print(
        "{} streams, {} bytes, {} turns, {} letters, {} steps of the kernel; {} completions "
        "overflown, {} multishots ended, {} cancels late, {} times no buffer, {} resets\n",
        all.streams, all.bytes, all.turns, all.letters, all.kernel.steps, all.kernel.overflown,
        all.kernel.multishots_ended, all.kernel.cancels_late, all.kernel.no_buffers,
        all.kernel.resets);
    CHECK(all.streams > 0);
}

TEST_CASE("a world of net can be repeated exactly", "[net]") {
    base::Log::set_level(base::LogLevel::Error);
    const auto trace_of = [](uint64_t seed) {
        NetWorld world(seed);
        world.live();
        return std::pair(world.trace(), world.totals().kernel.steps);
    };
    for (const uint64_t seed : {1, 2, 5, 6}) {
        const auto once = trace_of(seed);
        CHECK(once.second > 100);
        CHECK(once == trace_of(seed));
        CHECK(once != trace_of(seed + 10));
    }
}

}  // namespace sim::front
