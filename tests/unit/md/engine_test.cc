#include "md/engine.h"

#include <condition_variable>
#include <mutex>

#include "acme_fixture.h"
#include "catch.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

const std::string name = "example.org";
constexpr hours day{24};

/// Fails every request until told otherwise.
void fail_all(World& world, int& attempts) {
    world.ca.before = [&attempts](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        ++attempts;
        return Outcome<HttpResponse>(make_problem(ECONNREFUSED, "Connection refused"));
    };
}

}  // namespace

TEST_CASE("A certificate is renewed after two thirds of its life, and not before") {
    World world({acme_domain({name})});
    world.run();
    const std::string first = world.served(name).serial;
    world.live(day * 59);
    CHECK(world.served(name).serial == first);
    CHECK(world.ca.certificates_made == 1);
    world.live(day * 2);
    CHECK(world.served(name).serial != first);
    CHECK(world.ca.certificates_made == 2);
    world.live(day * 365 * 2);
    CHECK(world.ca.certificates_made >= 13);
    CHECK(world.ca.certificates_made <= 15);
    CHECK(world.served(name).not_after > world.clock.now());
}

TEST_CASE("Short-lived certificates are renewed in time, whatever the check interval") {
    World world({acme_domain({name})});
    world.ca.lifetime = hours{2};
    for (int i = 0; i < 200; ++i) {
        world.live(minutes{10});
        REQUIRE(world.served(name).not_after > world.clock.now());
    }
    CHECK(world.ca.certificates_made <= 40);
}

TEST_CASE("A domain is due also if time goes on while it is looked at") {
    World world({acme_domain({name})});
    world.clock.tick = milliseconds{1};
    world.live(hours{1});
    CHECK_FALSE(world.served(name).fallback);
    world.live(day * 100);
    CHECK(world.ca.certificates_made == 2);
}

TEST_CASE("A renew window longer than the lifetime does not storm the CA") {
    Domain domain = acme_domain({name});
    domain.renew_window = {0, day * 100};
    World world({domain});
    world.live(day * 10);
    CHECK(world.ca.certificates_made >= 5);
    CHECK(world.ca.certificates_made <= 11);
}

TEST_CASE("A window that is longer than a short life lets no certificate end") {
    Domain domain = acme_domain({name});
    domain.renew_window = {0, day * 100};
    World world({domain});
    world.ca.lifetime = std::chrono::hours{16};
    world.run();
    for (int hour = 0; hour < 24 * 5; ++hour) {
        world.live(std::chrono::hours{1});
        const auto& served = world.ports.served.at(name);
        REQUIRE(served.size() == 1);
        REQUIRE(served.front()->not_after > world.clock.now());
    }
    CHECK(world.ca.certificates_made <= 40);
}

TEST_CASE("Failures back off to a day with jitter, and never stop or storm (CVE-2025-55753)") {
    World world({acme_domain({name})});
    int attempts = 0;
    fail_all(world, attempts);
    world.live(hours{1});
    CHECK(attempts >= 5);
    CHECK(attempts <= 12);
    world.live(day * 365);
    CHECK(attempts >= 200);
    CHECK(attempts <= 800);
    CHECK(world.job(name)->last.detail == "Connection refused");
    world.ca.before = nullptr;
    world.live(day * 2);
    CHECK_FALSE(world.served(name).fallback);
}

TEST_CASE("A CA that is back for the last hours of a certificate is asked in time") {
    for (const int hours_left : {24, 12, 6, 3}) {
        INFO(hours_left);
        World world({acme_domain({name})});
        world.run();
        const base::Time end = world.served(name).not_after;
        int attempts = 0;
        fail_all(world, attempts);
        world.live(end - hours{hours_left} - world.clock.now());
        CHECK(attempts > 20);
        world.ca.before = nullptr;
        world.live(end - minutes{1} - world.clock.now());
        CHECK(world.served(name).not_after > end);
    }
}

TEST_CASE("A program that lets renewals begin in the last hours is asked in time") {
    World world({acme_domain({name})});
    world.settings.message_command = "message";
    world.settings.check_interval = hours{24 * 14};
    world.restart();
    world.run();
    const base::Time end = world.served(name).not_after;
    world.commands.on_run = [](const Command&) {
        return CommandResult{CommandResult::End::Exited, 1, "not now\n"};
    };
    world.live(end - hours{6} - world.clock.now());
    CHECK(world.commands.count("message renewing " + name) > 2);
    world.commands.on_run = nullptr;
    world.live(end - minutes{1} - world.clock.now());
    CHECK(world.served(name).not_after > end);
}

TEST_CASE("A pause that the CA asked for holds also if the order cannot be saved") {
    World world({acme_domain({name})});
    world.ca.after = [&](const HttpRequest& request, HttpResponse& response) {
        if (request.url.find("/finalize/") == std::string::npos) return;
        response.fields.emplace_back("retry-after", "3600");
        world.store.read_only = true;
    };
    world.run();
    const DomainSummary summary = world.engine->summaries().at(0);
    CHECK(summary.errors == 1);
    CHECK(summary.last_error.find("cannot be written") != std::string::npos);
    CHECK(*world.engine->next_due() >= world.clock.now() + hours{1} - seconds{1});
}

TEST_CASE("Back-off outlives restarts") {
    World world({acme_domain({name})});
    int attempts = 0;
    fail_all(world, attempts);
    world.live(hours{4});
    const int before = attempts;
    for (int i = 0; i < 20; ++i) {
        world.restart();
        world.run();
    }
    CHECK(attempts == before);
    CHECK(world.engine->summaries().at(0).errors > 5);
    CHECK(world.engine->summaries().at(0).last_error == "Connection refused");
}

TEST_CASE("Other settings end the wait after a failure that they may mend, and no other wait") {
    struct Case {
        const char* type;
        const char* wait;
        bool ends;
    };
    const auto one = GENERATE(values<Case>({{"externalAccountRequired", "", true},
                                            {"unauthorized", "", true},
                                            {"rateLimited", "86400", false},
                                            {"serverInternal", "86400", false}}));
    const bool is_changed = GENERATE(true, false);
    CAPTURE(one.type, is_changed);
    World world({acme_domain({name})});
    world.ca.before = [&](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        HttpResponse response = MiniCa::problem(403, one.type, "no");
        response.fields.emplace_back("retry-after", one.wait);
        return Outcome<HttpResponse>(response);
    };
    world.run();
    world.ca.before = nullptr;
    world.clock.move(seconds{1});
    if (is_changed) world.domains.front().contacts = {"mailto:others@example.com"};
    world.restart();
    world.run();
    CHECK(world.served(name).fallback == !(is_changed && one.ends));
}

TEST_CASE("One domain's failures leave the others and what is served alone") {
    World world({acme_domain({"a.example"}), acme_domain({"b.example"})});
    world.run();
    const std::string served = world.served("a.example").serial;
    world.ca.refuse_names = {{"a.example", "dns"}};
    world.ca.reuse_authorizations = false;
    world.live(day * 62);
    CHECK(world.served("a.example").serial == served);
    CHECK(world.served("b.example").not_after > world.clock.now() + day * 80);
    world.live(day * 60);
    CHECK(world.served("a.example").serial == served);  // expired, and still the best there is
    CHECK(world.engine->summaries().at(0).state == "expired");
}

TEST_CASE("Who is renewed: modes manual, auto, always, and unused domains (mod_md.md 4.2)") {
    struct Case {
        RenewMode mode;
        bool used;
        bool renewed;
    };
    const auto one = GENERATE(values<Case>({{RenewMode::Auto, true, true},
                                            {RenewMode::Auto, false, false},
                                            {RenewMode::Always, false, true},
                                            {RenewMode::Manual, true, false}}));
    Domain domain = acme_domain({name});
    domain.renew_mode = one.mode;
    domain.used = one.used;
    World world({domain});
    world.live(day * 3);
    CHECK(world.ca.certificates_made == (one.renewed ? 1 : 0));
    CHECK(world.served(name).fallback != one.renewed);
    REQUIRE(world.engine->renew_now(name));  // somebody wants it
    world.run();
    CHECK_FALSE(world.served(name).fallback);
}

TEST_CASE("renew_now knows its domains and passes over back-off") {
    World world({acme_domain({name})});
    CHECK_FALSE(world.engine->renew_now("other.example"));
    int attempts = 0;
    fail_all(world, attempts);
    world.run();
    world.ca.before = nullptr;
    world.run();
    CHECK(world.served(name).fallback);
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK_FALSE(world.served(name).fallback);
}

TEST_CASE("A renewal that was asked for and failed is not pursued while the certificate is good") {
    Domain domain = acme_domain({name});
    domain.renew_via_ari = false;
    World world({domain});
    world.run();
    int attempts = 0;
    fail_all(world, attempts);
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(attempts == 1);
    CHECK(world.job(name));
    world.live(day * 3);
    CHECK(attempts == 1);
    CHECK_FALSE(world.job(name));
}

TEST_CASE("A name that is added is ordered; until then the old certificate is served") {
    World world({acme_domain({name})});
    world.run();
    world.clock.move(minutes{1});
    world.domains = {acme_domain({name, "new.example.org"})};
    world.restart();
    CHECK_FALSE(world.served(name).fallback);
    CHECK_FALSE(world.served(name).covers("new.example.org"));
    CHECK(world.engine->summaries().at(0).state.starts_with("incomplete: "));
    world.run();
    CHECK(world.served(name).covers("new.example.org"));
}

TEST_CASE("The first check after the start waits for the initial delay") {
    World world({acme_domain({name})});
    world.settings.initial_delay = minutes{10};
    world.restart();
    CHECK(world.run() == 0);
    CHECK(world.ca.requests == 0);
    world.live(minutes{11});
    CHECK_FALSE(world.served(name).fallback);
}

TEST_CASE("Status tells of the job, and of the certificate that is served") {
    World world({acme_domain({name})});
    int attempts = 0;
    fail_all(world, attempts);
    world.run();
    const Json failing = Json::parse(world.engine->status_json(name));
    CHECK(failing["name"] == name);
    CHECK(failing["renewal"]["errors"] == 1);
    CHECK(failing["renewal"]["last"]["detail"] == "Connection refused");
    world.ca.before = nullptr;
    world.live(minutes{5});
    const Json good = Json::parse(world.engine->status_json(""));
    REQUIRE(good["managed-domains"].size() == 1);
    CHECK(good["managed-domains"][0]["state"] == 2);
    CHECK(good["managed-domains"][0]["cert"].contains("P-256"));
    CHECK_FALSE(good["managed-domains"][0].contains("renewal"));
    CHECK(Json::parse(world.ports.status[name]).contains("P-256"));
    CHECK(Json::parse(world.engine->status_json("unknown.example")).contains("managed-domains"));
    const DomainSummary row = world.engine->summaries().at(0);
    CHECK(row.issuer.find("Mini CA") != std::string::npos);
    CHECK(*row.next_renewal > world.clock.now() + day * 59);
    CHECK(row.activity.empty());
}

TEST_CASE("A CA that is stopped at gives the domain back without an error") {
    World world({acme_domain({name})});
    world.ca.processing_polls = 1000;
    world.ca.after = [&](const HttpRequest& request, HttpResponse&) {
        if (request.url.find("/finalize/") != std::string::npos) world.clock.stopping = true;
    };
    // run() would find it due again at once: the clock says stop, nobody else does.
    world.ca.before = [&](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        if (world.clock.stopping && world.engine) world.engine->stop();
        return std::nullopt;
    };
    world.run();
    const auto job = world.job(name);
    REQUIRE(job);
    CHECK(job->errors == 0);
    CHECK_FALSE(job->next_run);
    CHECK(world.store.has(Group::Staging, name, "order.json"));
    world.clock.stopping = false;
    world.ca.before = nullptr;
    world.ca.processing_polls = 0;
    world.restart();
    world.live(hours{1});
    CHECK(world.ca.orders_made == 1);
}

TEST_CASE("A CA that hangs keeps half of the threads at most, and stop() does not wait for it") {
    TempDir directory;
    SystemFiles files;
    base::SystemClock clock;
    base::SystemRandom random;
    auto store = FileStore::open(directory / "md", files, random);
    REQUIRE(store);
    struct Hanging final : Transport {
        std::atomic<bool> cancelled{false};
        std::mutex* mutex = nullptr;
        std::map<std::string, int>* asked = nullptr;
        Outcome<HttpResponse> exchange(const HttpRequest& request) override {
            const std::string host = request.url.substr(8, 4);
            {
                const std::lock_guard lock(*mutex);
                ++(*asked)[host];
            }
            while (host == "hang" && !cancelled) std::this_thread::sleep_for(milliseconds{5});
            return make_problem(cancelled ? ECANCELED : ECONNREFUSED, "no");
        }
        void cancel() override { cancelled = true; }
    };
    std::mutex mutex;
    std::map<std::string, int> asked;
    std::vector<Domain> domains;
    for (int i = 0; i < 8; ++i) {
        domains.push_back(acme_domain({fmt::format("h{}.example", i)}));
        domains.back().ca_urls = {"https://hang.example.net/dir"};
    }
    domains.push_back(acme_domain({"other.example"}));
    domains.back().ca_urls = {"https://fine.example.net/dir"};
    FakePorts ports;
    EngineSettings settings;
    settings.domains_in_parallel = 4;
    struct LockedPorts final : ChallengePort, CertificatePort {
        void publish_http01(const std::string&, const std::string&, const std::string&) override {}
        void withdraw_http01(const std::string&, const std::string&) override {}
        void publish_alpn(const std::string&, std::shared_ptr<const tls::Certificate>) override {}
        void withdraw_alpn(const std::string&) override {}
        void publish(const std::string&, const std::vector<std::string>&,
                     std::vector<std::shared_ptr<const tls::Certificate>>) override {}
        void publish_status(const std::string&, const std::vector<std::string>&,
                            std::string) override {}
    } none;
    FakeCommands commands;
    FreshKeys keys;
    Engine engine(
        settings, domains, **store, files, clock, random,
        [&] {
            auto transport = std::make_unique<Hanging>();
            transport->mutex = &mutex;
            transport->asked = &asked;
            return transport;
        },
        none, none, commands, keys);
    REQUIRE(engine.load());
    engine.start();
    const auto deadline = std::chrono::steady_clock::now() + seconds{10};
    const auto count = [&](const char* host) {
        const std::lock_guard lock(mutex);
        return asked[host];
    };
    while ((count("fine") < 1 || count("hang") < 2) &&
           std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(milliseconds{5});
    }
    CHECK(count("fine") == 1);
    CHECK(count("hang") == 2);
    CHECK(engine.summaries().size() == 9);
    CHECK_FALSE(engine.status_json("").empty());
    const auto begin = std::chrono::steady_clock::now();
    engine.stop();
    CHECK(std::chrono::steady_clock::now() - begin < seconds{2});
}
