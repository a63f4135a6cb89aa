#include "base/clock.h"

#include "catch.h"

using namespace base;
using namespace std::chrono;

TEST_CASE("HTTP dates round-trip, anything else is refused") {
    const Time time = sys_days{year{2026} / 11 / 22} + hours{3} + minutes{55} + seconds{46};
    CHECK(format_http_date(time) == "Sun, 22 Nov 2026 03:55:46 GMT");
    Time read{};
    CHECK(parse_http_date("Sun, 22 Nov 2026 03:55:46 GMT", read));
    CHECK(read == time);
    for (const char* bad : {"", "Sunday, 22-Nov-26 03:55:46 GMT", "Sun Nov 22 03:55:46 2026",
                            "Sun, 31 Feb 2026 03:55:46 GMT", "Sun, 22 Nov 2026 25:55:46 GMT",
                            "Sun, 22 Nov 2026 03:55:46 CET", "Sun, 22 Nov 2026 03:55:46 GMT "}) {
        INFO(bad);
        CHECK_FALSE(parse_http_date(bad, read));
    }
}

TEST_CASE("RFC 3339 with offsets and fractions") {
    Time a{};
    Time b{};
    REQUIRE(parse_rfc3339("2026-11-22T05:55:46.250+02:00", a));
    REQUIRE(parse_rfc3339("2026-11-22T03:55:46.25Z", b));
    CHECK(a == b);
    REQUIRE(parse_rfc3339("2026-11-21T22:25:46.25-05:30", a));
    CHECK(a == b);
    CHECK(format_rfc3339(b) == "2026-11-22T03:55:46Z");
    for (const char* bad : {"2026-11-22", "2026-11-22T03:55:46", "2026-13-22T03:55:46Z",
                            "2026-11-22T03:55:46.Z", "2026-11-22T03:55:46Zx"}) {
        INFO(bad);
        CHECK_FALSE(parse_rfc3339(bad, a));
    }
}

TEST_CASE("a stopped clock wakes its sleepers") {
    SystemClock clock;
    CHECK(clock.sleep(milliseconds{1}));
    std::thread stopper([&] { clock.stop(); });
    CHECK_FALSE(clock.sleep(minutes{5}));
    stopper.join();
    CHECK_FALSE(clock.sleep(minutes{5}));
}
