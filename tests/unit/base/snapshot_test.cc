#include "base/snapshot.h"

#include "catch.h"

#include <atomic>
#include <thread>
#include <vector>

TEST_CASE("a reader sees the newest snapshot and keeps a held one alive") {
    base::Published<int> published(std::make_shared<const int>(1));
    base::SnapshotReader<int> reader(published);
    CHECK(reader.get() == 1);
    const auto held = reader.hold();
    published.publish(std::make_shared<const int>(2));
    CHECK(reader.get() == 2);
    CHECK(*held == 1);
    CHECK(held.use_count() == 1);
}

TEST_CASE("concurrent updates do not lose each other") {
    base::Published<int> published(std::make_shared<const int>(0));
    std::atomic<bool> done{false};
    std::thread watcher([&] {
        base::SnapshotReader<int> reader(published);
        int last = 0;
        while (!done) {
            const int now = reader.get();
            base::check(now >= last);
            last = now;
        }
    });
    std::vector<std::thread> writers;
    for (int t = 0; t < 4; ++t) {
        writers.emplace_back([&] {
            for (int i = 0; i < 1000; ++i) {
                published.update([](int value) { return std::make_shared<const int>(value + 1); });
            }
        });
    }
    for (auto& writer : writers) writer.join();
    done = true;
    watcher.join();
    CHECK(*published.current() == 4000);
}
