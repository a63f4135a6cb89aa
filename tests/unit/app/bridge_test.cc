// What the engine publishes is seen by every worker before the call returns, under the right names.
#include <catch2/catch.hpp>

#include <deque>

#include "app/bridge.h"

using namespace std::chrono_literals;

namespace {

/// A thread that runs what is posted, as a worker does; it can be held up.
class FakeWorker {
  public:
    FakeWorker() : thread_([this] { run(); }) {}
    ~FakeWorker() {
        hold(false);
        post([this] { ended_ = true; });
        thread_.join();
    }
    void post(std::function<void()> work) {
        const std::lock_guard lock(mutex_);
        queue_.push_back(std::move(work));
        changed_.notify_one();
    }
    void hold(bool held) {
        const std::lock_guard lock(mutex_);
        held_ = held;
        changed_.notify_one();
    }
    app::Post poster() {
        return [this](std::function<void()> work) { post(std::move(work)); };
    }

  private:
    void run() {
        while (!ended_) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return !held_ && !queue_.empty(); });
            const auto work = std::move(queue_.front());
            queue_.pop_front();
            lock.unlock();
            work();
        }
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> queue_;
    bool held_ = false;
    bool ended_ = false;
    std::thread thread_;
};

std::shared_ptr<const tls::Certificate> certificate(tls::KeyType type = tls::KeyType::Ecdsa) {
    auto made = std::make_shared<tls::Certificate>();
    made->key_type = type;
    return made;
}

const tls::CertificateSet* served(const proxy::Snapshots& snapshots, std::string_view name) {
    const tls::CertificateSetPtr* found = snapshots.tls.certificates.current()->find(name);
    return found == nullptr ? nullptr : found->get();
}

}  // namespace

TEST_CASE("run_on_all waits for every worker, and not longer than its limit") {
    FakeWorker a;
    FakeWorker b;
    std::atomic<int> runs{0};
    const std::vector<app::Post> posts{a.poster(), b.poster()};
    CHECK(app::run_on_all(
              posts, [&](size_t) { ++runs; }, 5s) == 0);
    CHECK(runs == 2);
    b.hold(true);
    CHECK(app::run_on_all(
              posts, [](size_t) {}, 20ms) == 1);
    b.hold(false);
    CHECK(app::run_on_all(
              {}, [](size_t) {}, 5s) == 0);
}

TEST_CASE("publishing returns when all workers have acknowledged, not before") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots, 30s);
    FakeWorker quick;
    FakeWorker slow;
    bridge.set_workers({quick.poster(), slow.poster()});
    slow.hold(true);
    std::atomic<bool> returned{false};
    std::thread engine([&] {
        bridge.publish_http01("a.org", "token", "token.thumb");
        returned = true;
    });
    std::this_thread::sleep_for(50ms);
    CHECK_FALSE(returned);
    CHECK(snapshots.http01.current()->by_token.at("token").name == "a.org");
    slow.hold(false);
    engine.join();
    CHECK(returned);
    bridge.set_workers({});
}

TEST_CASE("a worker that does not answer holds publishing up for the limit only") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots, 30ms);
    FakeWorker stuck;
    stuck.hold(true);
    bridge.set_workers({stuck.poster()});
    base::Log::set_level(base::LogLevel::Error);
    bridge.publish_alpn("a.org", certificate());
    base::Log::set_level(base::LogLevel::Info);
    CHECK(snapshots.tls.challenges.current()->find("a.org") != nullptr);
    bridge.set_workers({});
}

TEST_CASE("challenge answers come and go one by one") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    bridge.publish_alpn("b.org", certificate());
    bridge.publish_alpn("a.org", certificate());
    bridge.publish_alpn("b.org", certificate());
    CHECK(snapshots.tls.challenges.current()->entries.size() == 2);
    CHECK(snapshots.tls.challenges.current()->find("a.org") != nullptr);
    bridge.withdraw_alpn("b.org");
    CHECK(snapshots.tls.challenges.current()->find("b.org") == nullptr);
    CHECK(snapshots.tls.challenges.current()->find("a.org") != nullptr);

    bridge.publish_http01("a.org", "1", "1.x");
    bridge.publish_http01("b.org", "2", "2.x");
    bridge.withdraw_http01("a.org", "2");  // not a.org's token
    CHECK(snapshots.http01.current()->by_token.size() == 2);
    bridge.withdraw_http01("b.org", "2");
    CHECK(snapshots.http01.current()->by_token.size() == 1);
}

TEST_CASE("a domain is served under its names and its sites' hosts, ECDSA first") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    app::Setup setup;
    setup.domain_hosts["a.org"] = {"a.org", "extra.a.org"};
    setup.domain_hosts["b.org"] = {"b.org", "shared.org"};
    setup.statics.push_back({{"static.org"}, app::make_set({certificate()})});
    bridge.configure(setup);
    bridge.publish("a.org", {"a.org", "www.a.org", "shared.org", "static.org"},
                   {certificate(tls::KeyType::Rsa), certificate(tls::KeyType::Ecdsa)});
    const tls::CertificateSet* set = served(snapshots, "www.a.org");
    REQUIRE(set != nullptr);
    REQUIRE(set->certificates.size() == 2);
    CHECK(set->certificates[0]->key_type == tls::KeyType::Ecdsa);
    CHECK(served(snapshots, "extra.a.org") == set);
    CHECK(served(snapshots, "shared.org") == nullptr);  // a host of b.org's site
    CHECK(served(snapshots, "static.org") == setup.statics[0].set.get());

    bridge.publish("a.org", {"a.org"}, {certificate()});
    CHECK(served(snapshots, "www.a.org") == nullptr);
    CHECK(served(snapshots, "a.org") != set);
    bridge.publish("a.org", {"a.org"}, {});
    CHECK(served(snapshots, "a.org") == nullptr);
    CHECK(served(snapshots, "static.org") != nullptr);
}

TEST_CASE("unknown names get the default site's certificate, or none") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    bridge.publish("a.org", {"a.org"}, {certificate()});
    CHECK(snapshots.tls.certificates.current()->fallback() == nullptr);
    app::Setup setup;
    setup.default_hosts = {"a.org"};
    bridge.configure(setup);
    CHECK(snapshots.tls.certificates.current()->fallback().get() == served(snapshots, "a.org"));
    bridge.publish("a.org", {"a.org"}, {certificate()});  // renewed
    CHECK(snapshots.tls.certificates.current()->fallback().get() == served(snapshots, "a.org"));
    bridge.publish("a.org", {"a.org"}, {});
    CHECK(snapshots.tls.certificates.current()->fallback() == nullptr);
}

TEST_CASE("configuring anew keeps what domains have published") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    app::Setup before;
    before.statics.push_back({{"s.org"}, app::make_set({certificate()})});
    bridge.configure(before);
    bridge.publish("a.org", {"a.org"}, {certificate()});
    const tls::CertificateSet* set = served(snapshots, "a.org");
    app::Setup after;
    after.domain_hosts["a.org"] = {"new.a.org"};
    bridge.configure(after);
    CHECK(served(snapshots, "a.org") == set);
    CHECK(served(snapshots, "new.a.org") == set);
    CHECK(served(snapshots, "s.org") == nullptr);
}

TEST_CASE("certificate-status is found under all hosts and goes with its names") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    bridge.publish_status("a.org", {"a.org", "*.a.org"}, "{}");
    REQUIRE(snapshots.certificate_status.current()->find("x.a.org") != nullptr);
    bridge.publish_status("a.org", {"a.org"}, "{\"rsa\":{}}");
    CHECK(snapshots.certificate_status.current()->find("x.a.org") == nullptr);
    CHECK(*snapshots.certificate_status.current()->find("a.org") == "{\"rsa\":{}}");
}

TEST_CASE("addresses are served like other names, as default site's too") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    app::Setup setup;
    setup.default_hosts = {"2001:db8::1"};
    setup.domain_hosts["192.0.2.1"] = {"2001:db8::1"};
    bridge.configure(setup);
    CHECK_FALSE(snapshots.tls.certificates.current()->has_addresses());
    bridge.publish("192.0.2.1", {"192.0.2.1"}, {certificate()});
    const auto index = snapshots.tls.certificates.current();
    const tls::CertificateSetPtr* four = index->find(*base::IpAddress::parse("192.0.2.1"));
    const tls::CertificateSetPtr* six = index->find(*base::IpAddress::parse("2001:db8::1"));
    REQUIRE(four != nullptr);
    REQUIRE(six != nullptr);
    CHECK(*four == *six);
    CHECK(index->fallback() == *six);
    bridge.publish("192.0.2.1", {"192.0.2.1"}, {});
    CHECK_FALSE(snapshots.tls.certificates.current()->has_addresses());
    CHECK(snapshots.tls.certificates.current()->fallback() == nullptr);
}

namespace {

std::shared_ptr<const tls::Certificate> certificate_for(std::vector<std::string> names,
                                                        bool fallback = false) {
    auto made = std::make_shared<tls::Certificate>();
    made->names = std::move(names);
    made->fallback = fallback;
    return made;
}

app::Setup setup_with(const std::map<std::string, std::vector<std::string>>& domains) {
    app::Setup setup;
    setup.domain_hosts = domains;
    for (const auto& [name, hosts] : domains) {
        setup.domains.emplace_back();
        setup.domains.back().name = name;
        setup.domains.back().names = hosts;
    }
    return setup;
}

}  // namespace

TEST_CASE("a name that passes from one domain to another is never without its certificate") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    bridge.configure(setup_with({{"a.org", {"a.org", "x.org", "*.x.org"}}}));
    bridge.publish("a.org", {"a.org", "x.org", "*.x.org"},
                   {certificate_for({"a.org", "x.org", "*.x.org"})});
    const tls::CertificateSet* former = served(snapshots, "x.org");
    REQUIRE(former != nullptr);

    // x.org is its own domain from now on; the engine has not heard of it yet.
    bridge.configure(setup_with({{"a.org", {"a.org"}}, {"x.org", {"x.org", "*.x.org"}}}));
    CHECK(served(snapshots, "x.org") == former);
    CHECK(served(snapshots, "w.x.org") == former);
    bridge.publish("x.org", {"x.org", "*.x.org"}, {certificate_for({"x.org", "*.x.org"}, true)});
    CHECK(served(snapshots, "x.org") == former);  // better than a fallback
    CHECK(served(snapshots, "w.x.org") == former);
    bridge.publish("a.org", {"a.org"}, {certificate_for({"a.org"})});
    CHECK(served(snapshots, "x.org") == former);
    CHECK(served(snapshots, "a.org") != former);
    bridge.configure(setup_with({{"a.org", {"a.org"}}, {"x.org", {"x.org", "*.x.org"}}}));
    CHECK(served(snapshots, "x.org") == former);
    const auto own = certificate_for({"x.org", "*.x.org"});
    bridge.publish("x.org", {"x.org", "*.x.org"}, {own});
    CHECK(served(snapshots, "x.org")->certificates[0] == own);
    CHECK(served(snapshots, "w.x.org")->certificates[0] == own);

    // And back, as a.org's, which goes on with the certificate of its own name first.
    bridge.configure(setup_with({{"a.org", {"a.org", "x.org"}}}));
    bridge.publish("a.org", {"a.org", "x.org"}, {certificate_for({"a.org"})});
    bridge.publish("x.org", {"x.org", "*.x.org"}, {});
    CHECK(served(snapshots, "x.org")->certificates[0] == own);
    CHECK(served(snapshots, "w.x.org") == nullptr);
    bridge.publish("a.org", {"a.org", "x.org"}, {});
    CHECK(served(snapshots, "x.org") == nullptr);
    CHECK(served(snapshots, "a.org") == nullptr);
}

TEST_CASE("a site whose certificate files give way to a managed domain keeps them until then") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    app::Setup before;
    before.statics.push_back({{"s.org"}, app::make_set({certificate_for({"s.org"})})});
    bridge.configure(before);
    const tls::CertificateSet* files = served(snapshots, "s.org");
    bridge.configure(setup_with({{"s.org", {"s.org", "new.org"}}}));
    CHECK(served(snapshots, "s.org") == files);
    CHECK(served(snapshots, "new.org") == nullptr);
    bridge.publish("s.org", {"s.org", "new.org"}, {certificate_for({"s.org", "new.org"}, true)});
    CHECK(served(snapshots, "s.org") == files);
    CHECK(served(snapshots, "new.org")->certificates[0]->fallback);
    bridge.publish("s.org", {"s.org", "new.org"}, {certificate_for({"s.org", "new.org"})});
    CHECK(served(snapshots, "s.org") == served(snapshots, "new.org"));
    bridge.configure(before);
    CHECK(served(snapshots, "s.org") == files);
    bridge.publish("s.org", {"s.org", "new.org"}, {});
    CHECK(served(snapshots, "s.org") != nullptr);
    CHECK(served(snapshots, "new.org") == nullptr);
}

TEST_CASE("certificate-status passes from domain to domain, and goes with the last") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    const auto page = [&](const std::string& host) {
        const std::string* found = snapshots.certificate_status.current()->find(host);
        return found == nullptr ? std::string() : *found;
    };
    bridge.publish_status("a.org", {"a.org", "x.org"}, "{\"a\":1}");
    bridge.publish_status("x.org", {"x.org", "a.org"}, "{\"x\":1}");
    bridge.publish_status("a.org", {"a.org", "x.org"}, "");
    CHECK(page("a.org") == "{\"x\":1}");
    CHECK(page("x.org") == "{\"x\":1}");
    bridge.configure(setup_with({{"x.org", {"x.org", "new.org"}}}));
    CHECK(page("new.org") == "{\"x\":1}");
    bridge.publish_status("x.org", {"x.org", "a.org"}, "");
    CHECK(page("a.org").empty());
    CHECK(page("new.org").empty());
}

TEST_CASE("a domain that takes over the names of another keeps them when that one goes") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    const auto shared = certificate_for({"a.org", "b.org"});
    bridge.publish("a.org", {"a.org", "b.org", "old.org"}, {shared});
    bridge.publish("b.org", {"b.org", "a.org"}, {shared});
    bridge.publish("a.org", {"a.org", "b.org", "old.org"}, {});
    CHECK(served(snapshots, "a.org") != nullptr);
    CHECK(served(snapshots, "b.org") != nullptr);
    CHECK(served(snapshots, "old.org") == nullptr);
    bridge.publish("b.org", {"b.org", "a.org"}, {});
    CHECK(snapshots.tls.certificates.current()->size() == 0);
}
