#include "proxy/body_clock.h"

#include "catch.h"

using namespace proxy;

TEST_CASE("a body's rate counts from its tenth second on") {
    BodyClock clock;
    clock.start(1000);
    CHECK_FALSE(clock.is_too_slow(1000 + BodyClock::grace_ms, 1024));
    CHECK(clock.is_too_slow(1001 + BodyClock::grace_ms, 1024));
    CHECK_FALSE(clock.is_too_slow(1001 + BodyClock::grace_ms, 0));
    clock.add(11'000);
    CHECK_FALSE(clock.is_too_slow(1001 + BodyClock::grace_ms, 1024));
    CHECK(clock.is_too_slow(1000 + 2 * BodyClock::grace_ms, 1024));
}

TEST_CASE("the time in which we could not take more is not the client's") {
    BodyClock clock;
    clock.start(0);
    clock.add(10'240);
    clock.pause(5'000);
    clock.pause(6'000);  // still
    CHECK(clock.waited_ms(100'000) == 5'000);
    CHECK_FALSE(clock.is_too_slow(100'000, 1024));
    clock.resume(100'000);
    clock.resume(101'000);  // still
    CHECK(clock.waited_ms(104'000) == 9'000);
    CHECK_FALSE(clock.is_too_slow(104'000, 1024));
    CHECK(clock.is_too_slow(106'000, 1024));
    clock.start(200'000);
    CHECK(clock.bytes() == 0);
    CHECK(clock.waited_ms(200'001) == 1);
}
