// Managed domains come, go and change while the engine runs: no restart, nothing that is served is
// lost, and no directory of the store is ever two domains'.
#include <thread>

#include "acme_fixture.h"
#include "base/log.h"
#include "catch.h"
#include "md/engine.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

using Names = std::vector<std::string>;

constexpr hours day{24};

Names names_of(const World& world) {
    Names names;
    for (const DomainSummary& row : world.engine->summaries()) names.push_back(row.name);
    return names;
}

bool has_certificate(World& world, const std::string& name) {
    return world.ports.served.contains(name) && !world.ports.served[name].empty() &&
           !world.served(name).fallback;
}

/// Calls `action` once, when the CA gets its first request for an order: a visit is under way then.
void during_an_order(World& world, std::function<void()> action) {
    world.ca.before =
        [&world, action = std::move(action), is_done = false](
            const HttpRequest& request) mutable -> std::optional<Outcome<HttpResponse>> {
        if (!is_done && request.url.find("/new-order") != std::string::npos) {
            is_done = true;
            action();
        }
        return std::nullopt;
    };
}

}  // namespace

TEST_CASE("a domain that comes is published with a fallback at once, and then gets a certificate") {
    World world({acme_domain({"a.example"})});
    world.settings.initial_delay = hours{1};  // is for the start only
    world.restart();
    world.live(hours{2});
    const int publications = world.ports.publications["a.example"];
    world.engine->change_domains({acme_domain({"b.example"}), acme_domain({"a.example"})});
    CHECK(world.served("b.example").fallback);
    CHECK_FALSE(world.ports.status["b.example"].empty());
    CHECK(names_of(world) == Names{"b.example", "a.example"});
    CHECK(world.run() == 1);
    CHECK(has_certificate(world, "b.example"));
    CHECK(world.ports.publications["a.example"] == publications);  // nobody touched it
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.ca.accounts_made == 1);
}

TEST_CASE("a domain that goes is withdrawn and left alone; its files stay, and it may come back") {
    World world({acme_domain({"a.example"}), acme_domain({"b.example"})});
    world.run();
    const std::string serial = world.served("a.example").serial;
    world.engine->change_domains({acme_domain({"b.example"})});
    CHECK(world.ports.served["a.example"].empty());
    CHECK(world.ports.status["a.example"].empty());
    CHECK(has_certificate(world, "b.example"));
    CHECK(names_of(world) == Names{"b.example"});
    CHECK_FALSE(world.engine->renew_now("a.example"));
    CHECK(world.store.has(Group::Domains, "a.example", "md.json"));
    world.live(day * 70);
    CHECK(world.ca.certificates_made == 3);  // b.example's second

    world.engine->change_domains({acme_domain({"a.example"}), acme_domain({"b.example"})});
    CHECK(world.served("a.example").serial == serial);
    world.run();
    CHECK(world.served("a.example").serial != serial);  // due by now
    CHECK(names_of(world) == Names{"a.example", "b.example"});
}

TEST_CASE("all domains may go, and others come") {
    World world({acme_domain({"a.example"})});
    world.run();
    world.engine->change_domains({});
    CHECK(names_of(world).empty());
    CHECK_FALSE(world.engine->next_due());
    CHECK(world.engine->status_json("a.example").find("a.example") == std::string::npos);
    world.engine->change_domains({acme_domain({"b.example"})});
    world.run();
    CHECK(has_certificate(world, "b.example"));
}

TEST_CASE("names that are added are ordered; what is served stays until then") {
    World world({acme_domain({"a.example"})});
    world.run();
    const std::string serial = world.served("a.example").serial;
    world.clock.move(minutes{1});
    world.engine->change_domains({acme_domain({"a.example", "www.a.example"})});
    CHECK(world.served("a.example").serial == serial);
    CHECK(world.engine->summaries().at(0).state.starts_with("incomplete: "));
    world.run();
    CHECK(world.served("a.example").covers("www.a.example"));
    CHECK(world.ca.certificates_made == 2);
    // Fewer names: what is there covers them.
    world.clock.move(minutes{1});
    world.engine->change_domains({acme_domain({"a.example"})});
    world.run();
    CHECK(has_certificate(world, "a.example"));
}

TEST_CASE("a domain whose first name changes takes over its directory and its certificate") {
    World world({acme_domain({"a.example", "b.example"})});
    world.run();
    const std::string serial = world.served("a.example").serial;
    world.engine->change_domains({acme_domain({"b.example", "a.example"})});
    CHECK(world.served("b.example").serial == serial);
    CHECK(world.ports.served["a.example"].empty());
    CHECK(names_of(world) == Names{"b.example"});
    CHECK_FALSE(world.store.has(Group::Domains, "a.example", "md.json"));
    world.run();
    CHECK(world.ca.certificates_made == 1);
}

TEST_CASE("settings alone change: back-off and waits stay, but for what they may mend") {
    const bool may_mend = GENERATE(true, false);
    CAPTURE(may_mend);
    World world({acme_domain({"a.example"})});
    world.ca.before = [&](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        return Outcome<HttpResponse>(
            MiniCa::problem(403, may_mend ? "unauthorized" : "serverInternal", "no"));
    };
    world.live(hours{1});
    const int errors = world.engine->summaries().at(0).errors;
    REQUIRE(errors > 0);
    world.ca.before = nullptr;
    // The disk may not have taken the job.
    if (!may_mend) REQUIRE(world.store.purge(Group::Staging, "a.example").ok());
    Domain changed = acme_domain({"a.example"});
    changed.renew_window = {0, day * 20};
    world.engine->change_domains({changed});
    CHECK(world.engine->summaries().at(0).errors == errors);
    world.run();
    CHECK(has_certificate(world, "a.example") == may_mend);
    world.live(day * 2);
    CHECK(has_certificate(world, "a.example"));
    CHECK(world.engine->summaries().at(0).renew_window == "20d");
}

TEST_CASE("the CA changes with the settings") {
    World world({acme_domain({"a.example"})});
    Domain changed = acme_domain({"a.example"});
    changed.ca_urls = {"https://nobody.example.net/dir"};
    world.engine->change_domains({changed});
    world.run();
    CHECK_FALSE(has_certificate(world, "a.example"));
    CHECK(world.ca.orders_made == 0);
    world.engine->change_domains({acme_domain({"a.example"})});
    world.live(hours{1});
    CHECK(has_certificate(world, "a.example"));
}

TEST_CASE("certificate-status is withdrawn when it is switched off, and is back again") {
    World world({acme_domain({"a.example"})});
    world.run();
    const std::string page = world.ports.status["a.example"];
    CHECK_FALSE(page.empty());
    Domain silent = acme_domain({"a.example"});
    silent.certificate_status = false;
    world.engine->change_domains({silent});
    CHECK(world.ports.status["a.example"].empty());
    world.engine->change_domains({acme_domain({"a.example"})});
    CHECK(world.ports.status["a.example"] == page);
}

TEST_CASE("a changed contact reaches the CA without a restart, once nobody has the old one") {
    World world({acme_domain({"a.example"}), acme_domain({"b.example"})});
    world.run();
    const Names old = world.ca.contacts();
    Domain a = acme_domain({"a.example"});
    a.contacts = {"mailto:new@example.org"};
    world.engine->change_domains({a, acme_domain({"b.example"})});
    world.run();
    CHECK(world.ca.contacts() == old);
    world.engine->change_domains({a});  // b.example goes, with the old address
    world.live(day);
    CHECK(world.ca.contacts() == a.contacts);
}

TEST_CASE("a domain that is worked on changes when that is done") {
    World world({acme_domain({"a.example"}), acme_domain({"c.example"})});
    Names meanwhile;
    during_an_order(world, [&] {
        world.engine->change_domains(
            {acme_domain({"a.example", "www.a.example"}), acme_domain({"d.example"})});
        meanwhile = names_of(world);
    });
    world.run();
    // c.example went and d.example came at once.
    CHECK(meanwhile == Names{"a.example", "d.example"});
    CHECK(names_of(world) == Names{"a.example", "d.example"});
    CHECK(world.served("a.example").covers("www.a.example"));
    CHECK(has_certificate(world, "d.example"));
    CHECK(world.ca.orders_made == 3);
    CHECK(world.ports.served["c.example"].empty());
    CHECK(world.ports.http01_answers.empty());
}

TEST_CASE("a domain that goes while it is worked on is withdrawn afterwards") {
    World world({acme_domain({"a.example"})});
    during_an_order(world, [&] { world.engine->change_domains({}); });
    CHECK(world.run() == 1);
    CHECK(names_of(world).empty());
    CHECK(world.ports.served["a.example"].empty());
    CHECK(world.ports.status["a.example"].empty());
    CHECK(world.store.has(Group::Domains, "a.example", "pubcert.p-256.pem"));
}

TEST_CASE("a rename waits for what is under way, and takes what came of it") {
    World world({acme_domain({"a.example", "b.example"})});
    during_an_order(world, [&] {
        world.engine->change_domains({acme_domain({"b.example", "a.example"})});
        CHECK(names_of(world) == Names{"a.example"});
        CHECK_FALSE(world.store.has(Group::Domains, "b.example", "md.json"));
    });
    world.run();
    CHECK(names_of(world) == Names{"b.example"});
    CHECK(has_certificate(world, "b.example"));
    CHECK_FALSE(world.store.has(Group::Domains, "a.example", "md.json"));
    CHECK(world.ca.certificates_made == 1);
}

TEST_CASE("a name that moves to another domain moves when both can: it is always served") {
    World world({acme_domain({"a.example", "x.example"}), acme_domain({"b.example"})});
    during_an_order(world, [&] {
        world.engine->change_domains(
            {acme_domain({"a.example"}), acme_domain({"b.example", "x.example"})});
        const auto rows = world.engine->summaries();
        CHECK(rows.at(0).names == Names{"a.example", "x.example"});
        CHECK(rows.at(1).names == Names{"b.example"});
    });
    world.run();
    CHECK(world.engine->summaries().at(1).names == Names{"b.example", "x.example"});
    CHECK(world.served("b.example").covers("x.example"));
    CHECK_FALSE(world.served("a.example").fallback);
}

TEST_CASE("changes twice in a row and back again while a domain is worked on: the last counts") {
    World world({acme_domain({"a.example"})});
    during_an_order(world, [&] {
        world.engine->change_domains({acme_domain({"x.example", "a.example"})});
        world.engine->change_domains({});
        world.engine->change_domains({acme_domain({"a.example"})});
    });
    world.run();
    CHECK(names_of(world) == Names{"a.example"});
    CHECK(world.ca.orders_made == 1);
    CHECK(world.ports.publications["a.example"] == 2);  // the fallback, the certificate
    CHECK(world.ports.publications["x.example"] == 0);
    world.engine->change_domains({acme_domain({"a.example"})});
    world.live(day);
    CHECK(world.ca.orders_made == 1);
}

TEST_CASE("what was asked of a domain is done, and counted, also if it changes meanwhile") {
    World world({acme_domain({"a.example"})});
    world.run();
    REQUIRE(world.engine->renew_now("a.example"));
    Domain changed = acme_domain({"a.example"});
    changed.warn_window = {0, day};
    world.engine->change_domains({changed});
    CHECK(world.engine->summaries().at(0).is_request_pending);
    world.run();
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.engine->summaries().at(0).requests_done == 1);
    changed.warn_window = {0, day * 2};
    world.engine->change_domains({changed});
    CHECK(world.engine->summaries().at(0).requests_done == 1);
}

TEST_CASE("challenges of a domain that stays outlive a change of others") {
    World world({acme_domain({"a.example"})});
    bool was_there = false;
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (was_there || request.url.find("/challenge/") == std::string::npos) return std::nullopt;
        world.engine->change_domains({acme_domain({"a.example"}), acme_domain({"b.example"})});
        was_there = !take(world.store.aspects(Group::Challenges, "a.example")).empty();
        return std::nullopt;
    };
    world.run();
    CHECK(was_there);
    CHECK(has_certificate(world, "b.example"));
}

TEST_CASE("the store's lock is another's: what is new is served all the same, and renewed later") {
    World world({acme_domain({"a.example"})});
    world.run();
    world.store.is_locked = true;
    world.engine->change_domains({acme_domain({"a.example"}), acme_domain({"b.example"})});
    CHECK(world.served("b.example").fallback);
    world.store.is_locked = false;
    world.live(day);
    CHECK(has_certificate(world, "b.example"));
}

TEST_CASE("domains change by the hundred while threads work on them and people look") {
    // The CA, ports and store in memory are for one thread: this CA refuses, and the store is real.
    struct Refusing final : Transport {
        Outcome<HttpResponse> exchange(const HttpRequest&) override {
            return make_problem(ECONNREFUSED, "no");
        }
    };
    struct Locked final : CertificatePort {
        std::mutex mutex;
        std::map<std::string, size_t> served;
        void publish(const std::string& domain, const Names&,
                     std::vector<std::shared_ptr<const tls::Certificate>> certificates) override {
            const std::lock_guard lock(mutex);
            served[domain] = certificates.size();
        }
        void publish_status(const std::string&, const Names&, std::string) override {}
    } port;
    TempDir directory;
    SystemFiles files;
    base::SystemClock clock;
    base::SystemRandom random;
    FakePorts challenges;
    FakeCommands commands;
    FreshKeys keys;
    auto store = FileStore::open(directory / "md", files, random);
    REQUIRE(store);
    EngineSettings settings;
    settings.domains_in_parallel = 4;
    settings.retry_delay = std::chrono::milliseconds{1};
    Engine engine(
        settings, {}, **store, files, clock, random, [] { return std::make_unique<Refusing>(); },
        challenges, port, commands, keys);
    REQUIRE(engine.load());
    engine.start();
    std::atomic<bool> is_over{false};
    std::thread people([&] {
        while (!is_over) {
            (void)engine.summaries();
            (void)engine.status_json("d1.example");
            (void)engine.renew_now("d2.example");
            (void)engine.server_status(true, {});
        }
    });
    base::Log::set_level(base::LogLevel::Error);
    std::vector<Domain> last;
    for (size_t round = 0; round < 30; ++round) {
        last.clear();
        for (size_t i = 0; i < 8; ++i) {
            if ((round + i) % 3 == 0) continue;  // gone this time
            Names names{fmt::format("d{}.example", i), fmt::format("x{}.example", i)};
            if ((round + i) % 4 == 0) std::swap(names[0], names[1]);
            if ((round + i) % 5 == 0) names.push_back(fmt::format("y{}.example", i));
            last.push_back(acme_domain(names));
            if (round % 7 == 0) last.back().ca_urls = {"https://other.example.net/dir"};
        }
        engine.change_domains(last);
    }
    Names wanted;
    for (const Domain& domain : last) wanted.push_back(domain.name);
    const auto deadline = std::chrono::steady_clock::now() + seconds{10};
    const auto is_settled = [&] {
        Names names;
        for (const DomainSummary& row : engine.summaries()) names.push_back(row.name);
        return names == wanted;
    };
    while (!is_settled() && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    CHECK(is_settled());
    is_over = true;
    people.join();
    engine.stop();
    base::Log::set_level(base::LogLevel::Info);
    for (const auto& [name, count] : port.served) {
        const bool is_wanted = std::find(wanted.begin(), wanted.end(), name) != wanted.end();
        CHECK(count == (is_wanted ? 1u : 0u));
    }
}
