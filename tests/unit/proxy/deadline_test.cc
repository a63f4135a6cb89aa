#include "proxy/deadline.h"

#include "catch.h"

using namespace proxy;

namespace {

struct Owner {
    explicit Owner(net::TimerWheel& timers) : deadline(timers, this, on_deadline) {}
    static void on_deadline(void* self) noexcept { ++static_cast<Owner*>(self)->came; }
    Deadline deadline;
    int came = 0;
};

}  // namespace

TEST_CASE("a deadline comes once, when it was last set to") {
    net::TimerWheel timers(1000);
    Owner owner(timers);
    owner.deadline.set(100);
    timers.advance(1080);
    owner.deadline.set(200);  // later: the timer behind it stays where it is
    timers.advance(1150);
    CHECK(owner.came == 0);
    CHECK(timers.armed() == 1);
    timers.advance(1300);
    CHECK(owner.came == 1);
    timers.advance(5000);
    CHECK(owner.came == 1);
    CHECK(timers.armed() == 0);

    owner.deadline.set(500);
    owner.deadline.set(50);  // earlier
    timers.advance(5070);
    CHECK(owner.came == 2);
}

TEST_CASE("a deadline that was cleared does not come") {
    net::TimerWheel timers(1000);
    Owner owner(timers);
    owner.deadline.set(100);
    owner.deadline.clear();
    CHECK_FALSE(owner.deadline.is_set());
    timers.advance(2000);
    CHECK(owner.came == 0);
    CHECK(timers.armed() == 0);
    owner.deadline.set(100);
    owner.deadline.set(0);  // never
    timers.advance(3000);
    CHECK(owner.came == 0);
    owner.deadline.set(100);
    owner.deadline.disarm();
    CHECK(timers.armed() == 0);
}
