#include "net/mailbox.h"

#include "support.h"

namespace net {

TEST_CASE("Messages of several threads arrive all, in order per producer, on the loop's thread") {
    auto loop = make_loop();
    constexpr int producers = 4;
    constexpr int messages = 20'000;
    std::array<int, producers> next{};
    int finished = 0;
    bool in_order = true;
    const auto home = std::this_thread::get_id();
    std::vector<std::thread> threads;
    for (size_t p = 0; p < producers; ++p) {
        threads.emplace_back([&, p] {
            for (int i = 0; i < messages; ++i) {
                loop->mailbox().post([&, p, i] {
                    in_order = in_order && next[p] == i && std::this_thread::get_id() == home;
                    ++next[p];
                    if (i + 1 == messages && ++finished == producers) loop->stop();
                });
                if (i % 1000 == 0) std::this_thread::yield();
            }
        });
    }
    loop->run();
    for (std::thread& thread : threads) thread.join();
    CHECK(in_order);
    for (const int n : next) CHECK(n == messages);
}

TEST_CASE("A post wakes a loop that waits") {
    auto loop = make_loop();
    uint64_t woken = 0;
    const uint64_t start = steady_ms();
    std::thread thread([&] {
        for (int i = 0; i < 3; ++i) {
            ::usleep(30'000);
            loop->mailbox().post([&, i] {
                woken = steady_ms();
                if (i == 2) loop->stop();
            });
        }
    });
    loop->run();
    thread.join();
    CHECK(woken - start < 1000);
}

TEST_CASE("A message may post another one") {
    auto loop = make_loop();
    int count = 0;
    std::function<void()> again = [&] {
        if (++count < 5) loop->mailbox().post(again);
    };
    loop->mailbox().post(again);
    CHECK(turn_until(*loop, [&] { return count == 5; }));
}

TEST_CASE("Messages that were never taken are freed with what they own") {
    auto owned = std::make_shared<int>(1);
    {
        Mailbox mailbox;
        mailbox.post([owned] { ++*owned; });
        mailbox.post([owned] { ++*owned; });
        CHECK(owned.use_count() == 3);
    }
    CHECK(owned.use_count() == 1);
    CHECK(*owned == 1);
}

TEST_CASE("The eventfd is readable while messages wait") {
    Mailbox mailbox;
    pollfd poll_fd{mailbox.event_fd(), POLLIN, 0};
    CHECK(::poll(&poll_fd, 1, 0) == 0);
    int count = 0;
    mailbox.post([&] { ++count; });
    mailbox.post([&] { ++count; });
    CHECK(::poll(&poll_fd, 1, 0) == 1);
    mailbox.drain();
    CHECK(count == 2);
    CHECK(::poll(&poll_fd, 1, 0) == 0);
}

}  // namespace net
