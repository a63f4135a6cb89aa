#include "base/log.h"

#include "catch.h"

#include <thread>

TEST_CASE("a log ring keeps lines in order across its end") {
    base::LogRing ring(64);
    std::string expected;
    std::string seen;
    for (int i = 0; i < 1000; ++i) {
        const std::string line = "line " + std::to_string(i);
        REQUIRE(ring.put(line));
        expected += line + "\n";
        if (i % 3 == 0) ring.take(seen);
    }
    ring.take(seen);
    CHECK(seen == expected);
    CHECK(ring.empty());
}

TEST_CASE("a full log ring drops lines and counts them") {
    base::LogRing ring(16);
    CHECK(ring.put("0123456789"));
    CHECK_FALSE(ring.put("0123456789"));
    CHECK_FALSE(ring.put("0123456789"));
    CHECK(ring.take_dropped() == 2);
    CHECK(ring.take_dropped() == 0);
    std::string seen;
    CHECK(ring.take(seen));
    CHECK(seen == "0123456789\n");
    CHECK(ring.put("0123456789"));
}

TEST_CASE("what a line costs can be saved by asking first") {
    using base::LogLevel;
    const LogLevel before = base::Log::level();
    base::Log::set_level(LogLevel::Info);
    CHECK(base::Log::is_enabled(LogLevel::Error));
    CHECK(base::Log::is_enabled(LogLevel::Info));
    CHECK_FALSE(base::Log::is_enabled(LogLevel::Debug));
    base::Log::set_level(LogLevel::Debug);
    CHECK(base::Log::is_enabled(LogLevel::Debug));
    base::Log::set_level(before);
}

TEST_CASE("one thread writes while another reads") {
    base::LogRing ring(256);
    std::string seen;
    std::thread producer([&] {
        for (int i = 0; i < 20000;) {
            if (ring.put(std::to_string(i))) ++i;
        }
    });
    std::string expected;
    for (int i = 0; i < 20000; ++i) expected += std::to_string(i) + "\n";
    while (seen.size() < expected.size()) ring.take(seen);
    producer.join();
    CHECK(seen == expected);
}
