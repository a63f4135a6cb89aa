#include "net/timer_wheel.h"

#include <random>
#include "catch.h"

namespace net {

namespace {

constexpr uint64_t tick = 16;

struct Alarm {
    Timer timer{this, [](void* self) noexcept { static_cast<Alarm*>(self)->fire(); }};
    int fired = 0;
    std::function<void()> then;
    void fire() {
        ++fired;
        if (then) then();
    }
};

}  // namespace

TEST_CASE("A timer fires once, never early, at most one tick late") {
    for (const uint64_t start : {0ull, 5ull, 16ull, 1'000'003ull}) {
        for (const uint64_t delay : {0ull, 1ull, 15ull, 16ull, 17ull, 100ull, 65'535ull, 65'536ull,
                                     65'537ull, 200'000ull, 3'600'000ull}) {
            INFO(start << " " << delay);
            TimerWheel wheel(start);
            Alarm alarm;
            wheel.arm(alarm.timer, delay);
            CHECK(alarm.timer.armed());
            uint64_t now = start;
            while (alarm.fired == 0) {
                now += std::max<uint64_t>(1, wheel.next_in(1000));
                wheel.advance(now);
                REQUIRE(now <= start + delay + 3 * tick + 1000);
            }
            CHECK(now >= start + delay);
            CHECK(now <= start + delay + tick);
            CHECK_FALSE(alarm.timer.armed());
            wheel.advance(now + 200'000);
            CHECK(alarm.fired == 1);
            CHECK(wheel.armed() == 0);
        }
    }
}

TEST_CASE("A timer can be moved, cancelled and armed again") {
    TimerWheel wheel(0);
    Alarm alarm;
    wheel.arm(alarm.timer, 100);
    wheel.arm(alarm.timer, 500);
    wheel.advance(400);
    CHECK(alarm.fired == 0);
    wheel.arm(alarm.timer, 50);  // earlier again
    CHECK(wheel.armed() == 1);
    wheel.advance(470);
    CHECK(alarm.fired == 1);
    wheel.arm(alarm.timer, 10);
    alarm.timer.cancel();
    alarm.timer.cancel();
    wheel.advance(1000);
    CHECK(alarm.fired == 1);
    {
        Alarm gone;
        wheel.arm(gone.timer, 10);
        CHECK(wheel.armed() == 1);
    }
    CHECK(wheel.armed() == 0);
    wheel.advance(2000);
}

TEST_CASE("Callbacks may cancel, move and destroy timers that are due as well") {
    TimerWheel wheel(0);
    Alarm first;
    Alarm cancelled;
    Alarm moved;
    auto destroyed = std::make_unique<Alarm>();
    Alarm again;
    again.then = [&] { wheel.arm(again.timer, 0); };
    first.then = [&] {
        cancelled.timer.cancel();
        wheel.arm(moved.timer, 1000);
        destroyed.reset();
    };
    // A slot is a stack: armed last, run first.
    wheel.arm(cancelled.timer, 100);
    wheel.arm(moved.timer, 100);
    wheel.arm(destroyed->timer, 100);
    wheel.arm(first.timer, 100);
    wheel.arm(again.timer, 90);
    wheel.advance(200);
    CHECK(first.fired == 1);
    CHECK(cancelled.fired == 0);
    CHECK(moved.fired == 0);
    CHECK_FALSE(destroyed);
    CHECK(again.fired == 1);  // once per advance, though armed with no delay
    wheel.advance(200 + tick);
    CHECK(again.fired == 2);
    wheel.advance(1200 + tick);
    CHECK(moved.fired == 1);
}

TEST_CASE("A callback may destroy its own timer") {
    TimerWheel wheel(0);
    auto own = std::make_unique<Alarm>();
    bool ran = false;
    own->then = [&] {
        ran = true;
        // The function lives in what is destroyed: keep it until it has returned.
        const auto keep = std::move(own->then);
        own.reset();
    };
    wheel.arm(own->timer, 10);
    wheel.advance(100);
    CHECK(ran);
    CHECK(wheel.armed() == 0);
}

TEST_CASE("A wheel that goes first disarms its timers") {
    Alarm alarm;
    {
        TimerWheel wheel(7);
        wheel.arm(alarm.timer, 10);
    }
    CHECK_FALSE(alarm.timer.armed());
}

TEST_CASE("next_in is the limit without timers and never skips one") {
    TimerWheel wheel(1000);
    CHECK(wheel.next_in(5000) == 5000);
    Alarm alarm;
    wheel.arm(alarm.timer, 300);
    CHECK(wheel.next_in(5000) >= 300);
    CHECK(wheel.next_in(5000) <= 300 + tick);
    CHECK(wheel.next_in(100) == 100);
    wheel.arm(alarm.timer, 40'000);
    wheel.advance(1400);
    CHECK(wheel.next_in(60'000) >= 39'600);
    CHECK(wheel.next_in(60'000) <= 39'600 + tick);
}

TEST_CASE("The wheel agrees with a sorted list over random operations") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const auto below = [&](uint64_t bound) {
        return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random);
    };
    uint64_t now = below(1'000'000);
    TimerWheel wheel(now);
    constexpr size_t count = 300;
    struct Model {
        bool armed = false;
        uint64_t deadline = 0;
        int fired = 0;
    };
    std::vector<std::unique_ptr<Alarm>> alarms;
    std::vector<Model> model(count);
    for (size_t i = 0; i < count; ++i) {
        alarms.push_back(std::make_unique<Alarm>());
        alarms[i]->then = [&, i] {
            REQUIRE(model[i].armed);
            REQUIRE(now >= model[i].deadline);
            model[i].armed = false;
            ++model[i].fired;
            if (below(4) == 0) {  // as an owner that goes on
                const uint64_t delay = below(5000);
                wheel.arm(alarms[i]->timer, delay);
                model[i].armed = true;
                model[i].deadline = now + delay;
            }
            const size_t other = below(count);
            if (other != i && below(8) == 0) {
                alarms[other]->timer.cancel();
                model[other].armed = false;
            }
        };
    }
    for (int step = 0; step < 10'000; ++step) {
        const size_t i = below(count);
        const uint64_t kind = below(10);
        if (kind < 4) {
            const uint64_t delay = below(2) ? below(1000) : below(300'000);
            wheel.arm(alarms[i]->timer, delay);
            model[i] = {true, now + delay, model[i].fired};
        } else if (kind < 6) {
            alarms[i]->timer.cancel();
            model[i].armed = false;
        } else {
            uint64_t earliest = UINT64_MAX;
            for (const Model& m : model) {
                if (m.armed) earliest = std::min(earliest, m.deadline);
            }
            const uint64_t wait = wheel.next_in(100'000);
            if (earliest != UINT64_MAX && earliest > now) {
                REQUIRE(wait <= earliest - now + tick);
            }
            now += below(50) == 0 ? below(200'000) : below(40);
            wheel.advance(now);
            for (const Model& m : model) REQUIRE((!m.armed || m.deadline + tick > now));
        }
        size_t armed = 0;
        for (size_t k = 0; k < count; ++k) {
            REQUIRE(alarms[k]->timer.armed() == model[k].armed);
            REQUIRE(alarms[k]->fired == model[k].fired);
            armed += model[k].armed;
        }
        REQUIRE(wheel.armed() == armed);
    }
}

}  // namespace net
