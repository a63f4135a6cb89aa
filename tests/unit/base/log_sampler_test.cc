// Which lines of a flood are written, and what they say of the others.
#include "base/log_sampler.h"

#include <map>
#include <random>
#include <string>
#include "catch.h"

using base::LogSampler;

TEST_CASE("the first lines are written, the rest is counted and told with the next one") {
    LogSampler sampler(3);
    for (int i = 0; i < 3; ++i) {
        const LogSampler::Line line = sampler.next(1, 5000);
        CHECK(line);
        CHECK(line.left_out().empty());
    }
    for (int i = 0; i < 1234; ++i) CHECK_FALSE(sampler.next(1, 5001 + static_cast<uint64_t>(i)));
    CHECK_FALSE(sampler.next(1, 14'999));
    const LogSampler::Line line = sampler.next(1, 15'000);
    CHECK(line);
    CHECK(line.left_out() == " (and 1,235 more in 10 s)");
    // It is told once, and the next period has as many lines as the first.
    CHECK(sampler.next(1, 15'001).left_out().empty());
    CHECK(sampler.next(1, 15'002));
    CHECK_FALSE(sampler.next(1, 15'003));
    CHECK(sampler.next(1, 9'000'000).left_out() == " (and 1 more in 10 s)");
}

TEST_CASE("keys do not share their lines") {
    LogSampler sampler(1);
    for (size_t key = 0; key < LogSampler::keys_max; ++key) CHECK(sampler.next(key, 0));
    for (size_t key = 0; key < LogSampler::keys_max; ++key) CHECK_FALSE(sampler.next(key, 1));
    CHECK(sampler.next(7, 10'000).left_out() == " (and 1 more in 10 s)");
    CHECK_FALSE(sampler.next(8, 9'999));
}

TEST_CASE("time may begin at 0, and a quiet key begins anew without a word") {
    LogSampler sampler(1);
    CHECK(sampler.next(0, 0));
    CHECK(sampler.next(0, 10'000));
    CHECK(sampler.next(0, 20'000).left_out().empty());
}

TEST_CASE("large numbers are grouped") {
    struct Case {
        int left_out;
        const char* text;
    };
    const Case cases[] = {{12, " (and 12 more in 10 s)"},
                          {999, " (and 999 more in 10 s)"},
                          {1000, " (and 1,000 more in 10 s)"},
                          {123'456, " (and 123,456 more in 10 s)"},
                          {1'234'567, " (and 1,234,567 more in 10 s)"}};
    for (const Case& c : cases) {
        LogSampler sampler(1);
        CHECK(sampler.next(0, 0));
        for (int i = 0; i < c.left_out; ++i) (void)sampler.next(0, 1);
        CHECK(sampler.next(0, 10'000).left_out() == c.text);
    }
}

TEST_CASE("no event is lost: what is written and what is told add up") {
    const uint32_t seed = 20261129;
    std::mt19937 random(seed);
    LogSampler sampler(5);
    std::map<size_t, uint64_t> events;
    std::map<size_t, uint64_t> told;
    uint64_t now_ms = 0;
    const auto take = [&](size_t key) {
        ++events[key];
        const LogSampler::Line line = sampler.next(key, now_ms);
        if (!line) return;
        ++told[key];
        std::string digits;
        for (const char c : line.left_out().substr(0, line.left_out().find(" more"))) {
            if (c >= '0' && c <= '9') digits += c;
        }
        if (!digits.empty()) told[key] += std::stoull(digits);
    };
    for (int i = 0; i < 100'000; ++i) {
        now_ms += random() % 20;
        take(random() % 4);
    }
    now_ms += LogSampler::period_ms;
    for (size_t key = 0; key < 4; ++key) take(key);
    CHECK(told == events);
}
