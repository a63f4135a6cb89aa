// What the engine publishes is seen by every worker before the call returns, under the right names.
#include <deque>

#include "app/bridge.h"
#include "catch.h"

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

/// Each is another one: what they are told apart by differs.
std::shared_ptr<tls::Certificate> make_certificate() {
    static uint8_t number = 0;
    auto made = std::make_shared<tls::Certificate>();
    made->sha256[0] = ++number;
    return made;
}

std::shared_ptr<const tls::Certificate> certificate(tls::KeyType type = tls::KeyType::Ecdsa) {
    auto made = make_certificate();
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
    auto made = make_certificate();
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

namespace {

/// As the stapler: what it has is looked up when a set is put together.
class FakeStaples final : public md::StapleSource {
  public:
    std::shared_ptr<const tls::Staple> staple_of(const tls::Certificate& certificate) override {
        const auto at = staples_.find(&certificate);
        return at == staples_.end() ? nullptr : at->second;
    }
    std::shared_ptr<const tls::Staple> set(
        const std::shared_ptr<const tls::Certificate>& certificate) {
        auto staple = std::make_shared<const tls::Staple>();
        staples_[certificate.get()] = staple;
        return staple;
    }
    void take(const std::shared_ptr<const tls::Certificate>& certificate) {
        staples_.erase(certificate.get());
    }

  private:
    std::map<const tls::Certificate*, std::shared_ptr<const tls::Staple>> staples_;
};

/// What clients that ask for `name` are given with their certificate; null: nothing.
std::shared_ptr<const tls::Staple> staple_at(const proxy::Snapshots& snapshots,
                                             std::string_view name, size_t index = 0) {
    const tls::CertificateSet* set = served(snapshots, name);
    REQUIRE(set != nullptr);
    REQUIRE(set->staples.size() == set->certificates.size());
    return set->staples.at(index);
}

}  // namespace

TEST_CASE("a new certificate is served with its own staple from the first snapshot on") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    FakeStaples staples;
    const auto old = certificate_for({"a.org"});
    const auto old_staple = staples.set(old);
    bridge.publish("a.org", {"a.org"}, {old});
    CHECK(staple_at(snapshots, "a.org") == nullptr);  // nobody has staples yet
    bridge.set_staples(&staples);
    bridge.publish("a.org", {"a.org"}, {old});
    CHECK(staple_at(snapshots, "a.org") == old_staple);

    const auto fresh = certificate_for({"a.org"});
    const auto fresh_staple = staples.set(fresh);
    bridge.publish("a.org", {"a.org"}, {fresh});
    CHECK(served(snapshots, "a.org")->certificates[0] == fresh);
    CHECK(staple_at(snapshots, "a.org") == fresh_staple);
    const auto bare = certificate_for({"a.org"});
    bridge.publish("a.org", {"a.org"}, {bare});
    CHECK(staple_at(snapshots, "a.org") == nullptr);

    // Each of two has its own, in the order of the set and not of the call.
    const auto rsa = certificate(tls::KeyType::Rsa);
    const auto ecdsa = certificate(tls::KeyType::Ecdsa);
    const auto rsa_staple = staples.set(rsa);
    const auto ecdsa_staple = staples.set(ecdsa);
    bridge.publish("b.org", {"b.org"}, {rsa, ecdsa});
    REQUIRE(served(snapshots, "b.org")->certificates.size() == 2);
    CHECK(served(snapshots, "b.org")->certificates[0] == ecdsa);
    CHECK(staple_at(snapshots, "b.org", 0) == ecdsa_staple);
    CHECK(staple_at(snapshots, "b.org", 1) == rsa_staple);
}

TEST_CASE("a staple that comes is in the next snapshot, under all names, and so is its end") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    FakeStaples staples;
    bridge.set_staples(&staples);
    app::Setup setup = setup_with({{"a.org", {"a.org", "extra.org"}}});
    setup.default_hosts = {"a.org"};
    bridge.configure(setup);
    const auto one = certificate_for({"a.org", "www.a.org", "extra.org"});
    const auto other = certificate_for({"b.org"});
    bridge.publish("a.org", {"a.org", "www.a.org"}, {one});
    bridge.publish("b.org", {"b.org"}, {other});
    const tls::CertificateSet* of_other = served(snapshots, "b.org");

    const auto staple = staples.set(one);
    bridge.staples_changed("a.org", {one});
    for (const char* name : {"a.org", "www.a.org", "extra.org"}) {
        CHECK(served(snapshots, name)->certificates[0] == one);
        CHECK(staple_at(snapshots, name) == staple);
    }
    // Who asks for no name gets it, too; the others' set is the one that it was.
    CHECK(snapshots.tls.certificates.current()->fallback().get() == served(snapshots, "a.org"));
    CHECK(served(snapshots, "b.org") == of_other);
    const auto newer = staples.set(one);
    bridge.staples_changed("a.org", {one});
    CHECK(staple_at(snapshots, "extra.org") == newer);
    staples.take(one);  // it was revoked
    bridge.staples_changed("a.org", {one});
    CHECK(staple_at(snapshots, "a.org") == nullptr);
}

TEST_CASE("a late staple of a certificate that is no longer served changes nothing") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    FakeStaples staples;
    bridge.set_staples(&staples);
    const auto old = certificate_for({"a.org"});
    const auto fresh = certificate_for({"a.org"});
    bridge.publish("a.org", {"a.org"}, {old});
    bridge.publish("a.org", {"a.org"}, {fresh});
    const tls::CertificateSet* set = served(snapshots, "a.org");
    const auto index = snapshots.tls.certificates.current();
    staples.set(old);
    bridge.staples_changed("a.org", {old});
    CHECK(snapshots.tls.certificates.current() == index);  // nothing for the workers to take
    CHECK(served(snapshots, "a.org") == set);
    CHECK(staple_at(snapshots, "a.org") == nullptr);

    // Nor one of a domain that has gone, or never was.
    bridge.publish("a.org", {"a.org"}, {});
    bridge.staples_changed("a.org", {fresh});
    bridge.staples_changed("absent.org", {fresh});
    CHECK(served(snapshots, "a.org") == nullptr);
}

TEST_CASE("a name that still has another domain's certificate gets no staple of its own domain's") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    FakeStaples staples;
    bridge.set_staples(&staples);
    const auto former = certificate_for({"a.org", "x.org"});
    bridge.publish("a.org", {"a.org", "x.org"}, {former});
    bridge.configure(setup_with({{"a.org", {"a.org"}}, {"x.org", {"x.org", "y.org"}}}));
    // A certificate for y.org alone: x.org keeps the former one.
    const auto own = certificate_for({"y.org"});
    bridge.publish("x.org", {"x.org", "y.org"}, {own});
    REQUIRE(served(snapshots, "x.org")->certificates[0] == former);
    const auto staple = staples.set(own);
    bridge.staples_changed("x.org", {own});
    CHECK(staple_at(snapshots, "y.org") == staple);
    CHECK(served(snapshots, "x.org")->certificates[0] == former);
    CHECK(staple_at(snapshots, "x.org") == nullptr);
}

TEST_CASE("certificates from files have their staples at the start, later, and after a reload") {
    proxy::Snapshots snapshots;
    app::Bridge bridge(snapshots);
    FakeStaples staples;
    bridge.set_staples(&staples);
    const auto early = certificate_for({"early.org"});
    const auto late = certificate_for({"late.org"});
    const auto early_staple = staples.set(early);
    app::Setup setup;
    setup.statics.push_back({{"early.org"}, app::make_set({early})});
    setup.statics.push_back({{"late.org", "www.late.org"}, app::make_set({late})});
    bridge.configure(setup);
    CHECK(staple_at(snapshots, "early.org") == early_staple);
    CHECK(served(snapshots, "late.org") == setup.statics[1].set.get());
    const auto late_staple = staples.set(late);
    bridge.staples_changed(md::other_owner, {late});
    CHECK(staple_at(snapshots, "late.org") == late_staple);
    CHECK(staple_at(snapshots, "www.late.org") == late_staple);
    CHECK(staple_at(snapshots, "early.org") == early_staple);
    bridge.configure(setup);
    CHECK(staple_at(snapshots, "late.org") == late_staple);

    // The same certificate may be a domain's, too: both are told by one call.
    bridge.publish("d.org", {"d.org"}, {late});
    const auto shared = staples.set(late);
    bridge.staples_changed("d.org", {late});
    CHECK(staple_at(snapshots, "d.org") == shared);
    CHECK(staple_at(snapshots, "late.org") == shared);
}
