#include "proxy/output_clock.h"

#include "catch.h"

using namespace proxy;

namespace {

constexpr uint64_t rate = 1024;

/// Somebody for whom something waits all the time, or always when it is looked.
struct Client {
    OutputClock clock;
    uint64_t now_ms = 1000;
    uint64_t taken = 0;

    /// Takes `bytes` every `every_ms`; for how long it may, at most `limit_ms`.
    uint64_t live(uint64_t bytes, uint64_t every_ms, uint64_t limit_ms, bool is_emptied = false) {
        clock.begin(now_ms);
        const uint64_t began_ms = now_ms;
        uint64_t look_ms = now_ms + OutputClock::grace_ms;
        uint64_t take_ms = now_ms + every_ms;
        while (now_ms < began_ms + limit_ms) {
            now_ms = std::min(look_ms, take_ms);
            if (now_ms == take_ms) {
                taken += bytes;
                take_ms += every_ms;
                if (is_emptied) {
                    clock.end(now_ms);
                    clock.begin(now_ms);
                } else {
                    clock.progress(now_ms);
                }
            }
            if (now_ms == look_ms) {
                const OutputClock::Look look = clock.look(now_ms, taken, rate);
                if (look.is_too_slow) break;
                REQUIRE(look.next_ms >= 1000);
                look_ms += look.next_ms;
            }
        }
        return now_ms - began_ms;
    }
};

}  // namespace

TEST_CASE("a client that takes nothing is cut after the grace and its credit") {
    Client client;
    CHECK(client.live(0, 1'000'000, 1'000'000) == OutputClock::grace_ms + OutputClock::credit_ms);
}

TEST_CASE("a client above the rate is never cut, however large its lumps are") {
    constexpr uint64_t day_ms = 86'400'000;
    CHECK(Client{}.live(rate + 1, 1000, day_ms) >= day_ms);
    // What Linux' receiver of 6 MB does at 2 KiB/s; it was fast before.
    Client bulky;
    (void)bulky.live(1'000'000, 1000, 60'000);
    CHECK(bulky.live(393'000, 190'000, day_ms) >= day_ms);
}

TEST_CASE("a client below the rate is cut, also one for whom nothing waits now and then") {
    for (const bool is_emptied : {false, true}) {
        INFO(is_emptied);
        const uint64_t lived_ms = Client{}.live(512, 1000, 10'000'000, is_emptied);
        CHECK(lived_ms > 150'000);
        CHECK(lived_ms < 400'000);
    }
}

TEST_CASE("what a client took fast long ago does not keep it for ever") {
    Client client;
    (void)client.live(100'000'000, 1000, 60'000);
    CHECK(client.live(0, 100'000'000, 100'000'000) <=
          OutputClock::credit_max_ms + 2 * OutputClock::credit_ms);
}

TEST_CASE("while nothing waits nobody falls behind, and nobody looks") {
    OutputClock clock;
    clock.begin(1000);
    CHECK(clock.since_ms() == 1000);
    clock.progress(5000);
    CHECK(clock.since_ms() == 5000);
    clock.end(20'000);
    CHECK(clock.since_ms() == 0);
    CHECK(clock.look(20'000, 0, rate).next_ms == OutputClock::credit_ms);  // 19 s were waited
    CHECK(clock.look(120'000, 0, rate).next_ms == 0);
    clock.begin(10'000'000);
    CHECK(clock.look(10'010'000, 0, rate).next_ms == OutputClock::credit_ms);
    CHECK_FALSE(clock.look(10'109'000, 0, rate).is_too_slow);
    clock.stop();
    CHECK(clock.look(10'209'000, 0, rate).next_ms == 0);
}
