// The stapler with its threads, and a responder that holds them up.
#include "md/stapler_fixture.h"

#include <condition_variable>
#include <mutex>
#include <thread>

using namespace md;
using namespace md::test;
using namespace md::test::stapling;
using std::chrono::hours;
using std::chrono::seconds;

namespace {

/// Stands still, for several threads.
struct StillClock final : base::Clock {
    base::Time now() override { return noon; }
    bool sleep(base::Duration) override { return false; }
};

/// A responder that lets nobody go before open(): how many wait is known.
struct Gate {
    Outcome<HttpResponse> exchange(const HttpRequest& request, const bool& is_cancelled) {
        std::unique_lock lock(mutex);
        ++waiting;
        most_waiting = std::max(most_waiting, waiting);
        changed.notify_all();
        changed.wait(lock, [&] { return is_open || is_cancelled; });
        --waiting;
        if (is_cancelled) return make_problem(ECANCELED, "cancelled");
        auto response = responder.exchange(request);
        ++answered;
        changed.notify_all();
        return response;
    }
    template <typename Condition>
    bool wait(Condition condition) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, seconds{30}, condition);
    }
    void open() {
        const std::lock_guard lock(mutex);
        is_open = true;
        changed.notify_all();
    }

    StillClock clock;
    Issuer issuer = make_issuer();
    MiniResponder responder{clock, issuer};
    std::mutex mutex;
    std::condition_variable changed;
    bool is_open = false;
    int waiting = 0;
    int most_waiting = 0;
    int answered = 0;
};

class GatedTransport final : public Transport {
  public:
    explicit GatedTransport(Gate& gate) : gate_(gate) {}
    Outcome<HttpResponse> exchange(const HttpRequest& request) override {
        return gate_.exchange(request, is_cancelled_);
    }
    void cancel() override {
        const std::lock_guard lock(gate_.mutex);
        is_cancelled_ = true;
        gate_.changed.notify_all();
    }

  private:
    Gate& gate_;
    bool is_cancelled_ = false;
};

/// Counts what it is told.
struct CountingPort final : StaplePort {
    void staples_changed(const std::string&, const std::vector<CertificatePtr>& some) override {
        const std::lock_guard lock(mutex);
        changes += some.size();
        changed.notify_all();
    }
    bool wait_for(size_t count) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, seconds{30}, [&] { return changes >= count; });
    }
    std::mutex mutex;
    std::condition_variable changed;
    size_t changes = 0;
};

/// A stapler with real threads over a real store.
struct Threads {
    std::vector<CertificatePtr> make(uint8_t count) {
        std::vector<CertificatePtr> made;
        for (uint8_t i = 0; i < count; ++i) {
            made.push_back(make_certificate({.names = {name},
                                             .serial = {0x20, i},
                                             .ocsp_url = MiniResponder::ocsp_url,
                                             .issuer = &gate.issuer}));
        }
        return made;
    }
    Domain domain() {
        Domain result;
        result.name = name;
        result.names = {name};
        result.stapling = true;
        return result;
    }

    TempDir dir;
    std::unique_ptr<FileStore> store = open_store(dir / "md");
    Gate gate;
    base::SystemRandom random;
    EngineSettings settings;
    FakeCommands commands;
    CountingPort port;
    Stapler stapler{settings,
                    *store,
                    gate.clock,
                    random,
                    [this] { return std::make_unique<GatedTransport>(gate); },
                    port,
                    commands};
};

}  // namespace

TEST_CASE("30 certificates that are due at once: four at a time (OC-16)") {
    Threads threads;
    const bool is_started_before = GENERATE(false, true);
    const auto certificates = threads.make(30);
    if (is_started_before) {
        threads.stapler.start();
        threads.stapler.watch(threads.domain(), certificates);
    } else {
        threads.stapler.watch(threads.domain(), certificates);
        threads.stapler.start();
    }
    REQUIRE(threads.gate.wait([&] { return threads.gate.waiting == Stapler::parallel_max; }));
    threads.gate.open();
    REQUIRE(threads.port.wait_for(30));
    threads.stapler.stop();
    CHECK(threads.gate.most_waiting == Stapler::parallel_max);
    CHECK(threads.gate.answered == 30);
    for (const auto& one : certificates) CHECK(threads.stapler.staple_of(*one));
}

TEST_CASE("stop() ends questions that hang, and counts no failure") {
    Threads threads;
    const auto certificates = threads.make(5);
    threads.stapler.watch(threads.domain(), {certificates.begin(), certificates.end() - 1});
    threads.stapler.start();
    REQUIRE(threads.gate.wait([&] { return threads.gate.waiting == Stapler::parallel_max; }));
    std::thread obtaining([&] {
        const auto outcome = threads.stapler.obtain(threads.domain(), certificates.back());
        CHECK_FALSE(outcome);
        CHECK(outcome.error().status == ECANCELED);
    });
    REQUIRE(threads.gate.wait([&] { return threads.gate.waiting == 5; }));
    threads.stapler.stop();
    obtaining.join();
    CHECK(threads.gate.answered == 0);
    CHECK(threads.port.changes == 0);
    CHECK_FALSE(take(load_job(*threads.store, Group::Ocsp, name, noon)));
}

TEST_CASE("start() removes old answers from the store, stop() without start() does nothing") {
    Threads threads;
    REQUIRE(threads.store->save(Group::Ocsp, name, "ocsp-00.json", "{}"));
    const auto aged = std::filesystem::file_time_type::clock::now() - hours{24 * 3650};
    std::filesystem::last_write_time(threads.dir / "md/ocsp/a.example/ocsp-00.json", aged);
    threads.stapler.watch(threads.domain(), threads.make(1));
    threads.gate.open();
    threads.stapler.start();
    REQUIRE(threads.port.wait_for(1));
    threads.stapler.stop();  // the first thread has begun with it, and ends first
    CHECK(take(threads.store->load(Group::Ocsp, name, "ocsp-00.json")) == std::nullopt);
    threads.stapler.stop();
}
