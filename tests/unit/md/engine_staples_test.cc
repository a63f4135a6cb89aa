// The engine with its stapler: certificates go live with their staples, and what its CA has revoked
// is replaced.
#include <cerrno>

#include "acme_fixture.h"
#include "base/text.h"
#include "catch.h"
#include "md/stapler.h"
#include "mini_responder.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::minutes;

namespace {

const std::string name = "example.org";
constexpr hours day{24};

/// Sends what is for the responder to it, and the rest to the CA.
class RoutedTransport final : public Transport {
  public:
    RoutedTransport(MiniCa& ca, MiniResponder& responder) : ca_(ca), responder_(responder) {}
    Outcome<HttpResponse> exchange(const HttpRequest& request) override {
        const bool is_for_responder = request.url.starts_with(MiniResponder::ocsp_url) ||
                                      request.url == MiniResponder::crl_url;
        return is_for_responder ? responder_.exchange(request) : ca_.exchange(request);
    }

  private:
    MiniCa& ca_;
    MiniResponder& responder_;
};

/// A server with a stapler, its store, a CA and the CA's responder. restart() is the next process.
struct StapledWorld final : CertificatePort, StaplePort {
    explicit StapledWorld(Domain domain) : domains{std::move(domain)} {
        settings.user_agent = "test";
        settings.domains_in_parallel = 1;
        settings.message_command = "tell";
        ca.ocsp_url = MiniResponder::ocsp_url;
        restart();
    }
    ~StapledWorld() override { stapler->set_listener(nullptr); }

    void publish(const std::string& domain, const std::vector<std::string>& names,
                 std::vector<std::shared_ptr<const tls::Certificate>> certificates) override {
        for (const auto& one : certificates) {
            const bool is_stapled = stapler->staple_of(*one) != nullptr;
            published.emplace_back(one->fallback ? "fallback" : one->serial, is_stapled);
        }
        ports.publish(domain, names, std::move(certificates));
    }
    void publish_status(const std::string& domain, const std::vector<std::string>& names,
                        std::string json) override {
        ports.publish_status(domain, names, std::move(json));
    }
    void staples_changed(const std::string&,
                         const std::vector<std::shared_ptr<const tls::Certificate>>&) override {}

    void restart() {
        engine.reset();
        const auto transport = [this] { return std::make_unique<RoutedTransport>(ca, responder); };
        stapler =
            std::make_unique<Stapler>(settings, store, clock, random, transport, *this, commands);
        engine = std::make_unique<Engine>(settings, domains, store, files, clock, random, transport,
                                          ports, *this, commands, keys, stapler.get());
        stapler->set_listener(engine.get());
        REQUIRE(engine->load());
    }
    void run() {
        while (engine->run_due() + stapler->run_due() > 0) continue;
    }
    /// Moves from due time to due time until `duration` is over.
    void live(base::Duration duration) {
        live_through(
            clock, duration, [this] { run(); },
            [this] {
                constexpr base::Time never = base::Time::max();
                return std::min(engine->next_due().value_or(never),
                                stapler->next_due().value_or(never));
            });
    }
    const std::vector<std::shared_ptr<const tls::Certificate>>& served() {
        return ports.served.at(name);
    }
    const tls::Certificate& only() {
        REQUIRE(served().size() == 1);
        return *served().front();
    }
    DomainSummary summary() { return engine->summaries().at(0); }
    bool has_staple() { return stapler->staple_of(only()) != nullptr; }
    void cut_responder() { responder.before = refuse_connection; }
    void revoke(const tls::Certificate& certificate) {
        responder.verdicts[certificate.serial] = {.status = CertificateStatus::Revoked,
                                                  .revoked_at = clock.now(),
                                                  .reason = "keyCompromise"};
        responder.publish_crl();
    }
    /// Whatever the CA issues.
    void revoke_all() {
        for (int serial = 1000; serial < 4000; ++serial) {
            responder.verdicts[fmt::format("{:04X}", serial)].status = CertificateStatus::Revoked;
        }
    }
    /// No new orders.
    void close_ca() {
        ca.before = [this](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
            if (request.url != MiniCa::root + "/new-order") return std::nullopt;
            ++orders_refused;
            return Outcome<HttpResponse>(MiniCa::problem(500, "serverInternal", "closed today"));
        };
    }
    int revoked_events() { return commands.count("tell revoked " + name); }

    FakeClock clock{noon};
    MemoryStore store{clock};
    FakePorts ports;
    MiniCa ca{clock, ports};
    MiniResponder responder{clock, ca.issuer()};
    FakeCommands commands;
    FreshKeys keys;
    base::SeededRandom random{7};
    SystemFiles files;
    EngineSettings settings;
    std::vector<Domain> domains;
    std::unique_ptr<Stapler> stapler;
    std::unique_ptr<Engine> engine;
    std::vector<std::pair<std::string, bool>> published;  // serial; whether it had its staple
    int orders_refused = 0;
};

Domain stapled_domain(bool must_staple = false) {
    Domain domain = acme_domain({name});
    domain.stapling = true;
    domain.must_staple = must_staple;
    return domain;
}

bool has_same_key(const tls::Certificate& a, const tls::Certificate& b) {
    return std::equal(a.key->bytes().begin(), a.key->bytes().end(), b.key->bytes().begin(),
                      b.key->bytes().end());
}

}  // namespace

TEST_CASE("A renewed certificate is served with its staple from the first handshake on") {
    StapledWorld world(stapled_domain());
    world.run();
    const std::string first = world.only().serial;
    CHECK(world.has_staple());
    world.published.clear();
    world.live(day * 62);
    const std::string second = world.only().serial;
    CHECK(second != first);
    REQUIRE_FALSE(world.published.empty());
    CHECK(world.published.front() == std::pair{second, true});

    // Without a responder it goes live all the same, only later with a staple.
    world.published.clear();
    world.cut_responder();
    world.live(day * 62);
    const std::string third = world.only().serial;
    CHECK(third != second);
    CHECK(world.published.back() == std::pair{third, false});
    world.responder.before = nullptr;
    world.live(day * 2);
    CHECK(world.has_staple());
    CHECK(world.ca.orders_made == 3);
}

TEST_CASE("What a responder asked for before a certificate went live holds afterwards") {
    StapledWorld world(stapled_domain());
    world.run();
    const std::string first = world.only().serial;
    world.responder.before = [](const HttpRequest&) {
        return std::optional(Outcome<HttpResponse>(
            HttpResponse{.status = 503, .fields = {{"retry-after", "7200"}}, .body = {}}));
    };
    world.live(day * 58);
    while (world.only().serial == first) world.live(hours{1});
    const auto& log = world.responder.log;
    const std::string about_new_one = log.back();
    CHECK(std::count(log.begin(), log.end(), about_new_one) == 1);
    CHECK_FALSE(world.has_staple());
    world.restart();
    world.run();
    CHECK(std::count(log.begin(), log.end(), about_new_one) == 1);
    world.responder.before = nullptr;
    world.live(hours{2});
    CHECK(std::count(log.begin(), log.end(), about_new_one) == 2);
    CHECK(world.has_staple());
}

TEST_CASE("A must-staple certificate waits for its staple; the one before stays") {
    StapledWorld world(stapled_domain(true));
    world.run();
    const std::string first = world.only().serial;
    CHECK(world.only().must_staple);
    CHECK(world.has_staple());
    world.live(day * 58);
    world.cut_responder();
    world.published.clear();
    world.live(day * 10);
    CHECK(world.ca.orders_made == 2);
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.only().serial == first);
    CHECK(world.summary().errors > 1);
    CHECK(world.summary().last_error.find("waits for its staple") != std::string::npos);
    for (int i = 0; i < 3; ++i) {
        world.restart();
        world.live(day / 2);
    }
    CHECK(world.only().serial == first);
    CHECK(world.ca.orders_made == 2);
    world.responder.before = nullptr;
    world.live(day * 3 / 2);  // the longest pause
    CHECK(world.only().serial != first);
    CHECK(world.has_staple());
    CHECK(world.published.back() == std::pair{world.only().serial, true});
    CHECK(world.ca.orders_made == 2);
    CHECK(world.summary().errors == 0);
}

TEST_CASE("Behind a 503 a must-staple certificate waits, too") {
    StapledWorld world(stapled_domain(true));
    world.cut_responder();
    world.live(hours{1});
    CHECK(world.only().fallback);
    world.responder.before = nullptr;
    world.live(hours{2});
    CHECK_FALSE(world.only().fallback);
    CHECK(world.has_staple());
    CHECK(world.ca.orders_made == 1);
}

TEST_CASE("A must-staple certificate that names no responder: told, and not ordered again") {
    StapledWorld world(stapled_domain(true));
    world.ca.ocsp_url = "";
    world.live(day * 20);
    CHECK(world.only().fallback);
    CHECK(world.ca.orders_made == 1);
    CHECK(world.summary().last_error.find("write must_staple = false") != std::string::npos);
}

TEST_CASE("A set that waits for a staple nobody wants any more makes way for one without") {
    StapledWorld world(stapled_domain(true));
    world.ca.ocsp_url = "";
    world.live(day * 5);
    CHECK(world.ca.orders_made == 1);
    world.domains[0].must_staple = false;
    world.restart();
    world.live(minutes{10});
    CHECK_FALSE(world.only().fallback);
    CHECK_FALSE(world.only().must_staple);
    CHECK(world.ca.orders_made == 2);
}

TEST_CASE("A new must-staple certificate that is revoked before it is served is given up") {
    StapledWorld world(stapled_domain(true));
    world.run();
    const tls::Certificate first = world.only();
    world.revoke_all();
    world.responder.verdicts.erase(first.serial);
    world.live(day * 65);
    CHECK(world.only().serial == first.serial);
    CHECK(world.ca.orders_made >= 3);
    CHECK(world.ca.orders_made <= 6);  // one a day
    world.responder.verdicts.clear();
    world.live(day * 2);
    CHECK(world.only().serial != first.serial);
    CHECK(world.has_staple());
}

TEST_CASE("What the CA has revoked is replaced at once, by one with another key (OC-09)") {
    const bool is_by_crl = GENERATE(false, true);
    CAPTURE(is_by_crl);
    StapledWorld world(stapled_domain());
    if (is_by_crl) {
        world.ca.ocsp_url = "";
        world.ca.crl_url = MiniResponder::crl_url;
    }
    world.run();
    const tls::Certificate first = world.only();
    world.live(day);
    world.revoke(first);
    const base::Time asked = *world.stapler->next_due();
    world.live(asked - world.clock.now());
    const tls::Certificate second = world.only();
    CHECK(second.serial != first.serial);
    CHECK_FALSE(has_same_key(first, second));
    CHECK(world.clock.now() - asked < hours{1});
    CHECK(world.revoked_events() == 1);
    CHECK_FALSE(world.store.has(Group::Domains, name, "revoked.json"));  // it went with the set
    CHECK_FALSE(world.summary().is_revoked);
    world.restart();
    world.live(day * 20);
    CHECK(world.only().serial == second.serial);
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.revoked_events() == 1);
}

TEST_CASE("A revocation is remembered, and told once, while the CA fails") {
    StapledWorld world(stapled_domain());
    world.run();
    const std::string first = world.only().serial;
    world.live(day);
    world.revoke(world.only());
    world.close_ca();
    world.live(*world.stapler->next_due() - world.clock.now());
    world.live(day * 3);
    const int refused = world.orders_refused;
    CHECK(refused >= 5);
    CHECK(refused <= 25);                 // the back-off of renewals
    CHECK(world.only().serial == first);  // there is no other one
    CHECK_FALSE(world.has_staple());
    CHECK(world.revoked_events() == 1);
    CHECK(world.store.has(Group::Domains, name, "revoked.json"));
    CHECK(world.summary().is_revoked);
    CHECK(world.summary().certificates.at(0).revocation_reason == "keyCompromise");
    world.restart();
    world.live(hours{1});
    CHECK(world.orders_refused <= refused + 1);  // its pause outlives the process
    CHECK(world.revoked_events() == 1);
    CHECK(world.summary().is_revoked);
    world.ca.before = nullptr;
    world.live(day * 3 / 2);
    CHECK(world.only().serial != first);
    CHECK(world.revoked_events() == 1);
}

TEST_CASE("A set that waits is taken when what is served was revoked; no other one is ordered") {
    StapledWorld world(stapled_domain());
    world.settings.activation_delay = day * 7;
    world.restart();
    world.run();
    const std::string first = world.only().serial;
    world.live(day * 62);
    REQUIRE(world.ca.certificates_made == 2);
    REQUIRE(world.only().serial == first);
    world.revoke(world.only());
    world.live(*world.stapler->next_due() - world.clock.now());
    CHECK(world.only().serial != first);
    CHECK(world.has_staple());
    world.live(day * 10);
    CHECK(world.ca.orders_made == 2);
    CHECK(world.revoked_events() == 1);
}

TEST_CASE("What is urgent keeps the silence that the CA has asked for, also after a restart") {
    StapledWorld world(stapled_domain());
    world.run();
    const std::string first = world.only().serial;
    world.live(day * 57);
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (request.url != MiniCa::root + "/new-order") return std::nullopt;
        ++world.orders_refused;
        auto response = MiniCa::problem(429, "rateLimited", "later");
        response.fields.emplace_back("retry-after", "86400");
        return response;
    };
    while (world.orders_refused == 0) world.live(hours{1});
    if (GENERATE(false, true)) world.restart();
    world.engine->on_revoked(name, {base::hex(world.only().sha256), first, "keyCompromise", noon});
    world.live(hours{20});
    CHECK(world.revoked_events() == 1);
    CHECK(world.orders_refused == 1);
    world.ca.before = nullptr;
    world.live(hours{16});
    CHECK(world.only().serial != first);
}

TEST_CASE("Other settings end no silence that the responder of a waiting set has asked for") {
    StapledWorld world(stapled_domain(true));
    world.responder.before = [](const HttpRequest&) {
        return std::optional(Outcome<HttpResponse>(
            HttpResponse{.status = 503, .fields = {{"retry-after", "7200"}}, .body = {}}));
    };
    world.run();
    CHECK(world.only().fallback);
    const size_t asked = world.responder.log.size();
    CHECK(asked > 0);
    world.responder.before = nullptr;
    world.domains[0].renew_window = {40, {}};
    world.restart();
    world.live(hours{1});
    CHECK(world.responder.log.size() == asked);
    world.live(hours{2});
    CHECK_FALSE(world.only().fallback);
    CHECK(world.has_staple());
}

TEST_CASE("A CA that revokes whatever it issues is asked three times a day at most") {
    StapledWorld world(stapled_domain());
    world.revoke_all();
    int before = 0;
    for (int i = 0; i < 10; ++i) {
        world.live(day);
        const int made = world.ca.certificates_made - before;
        CAPTURE(i);
        CHECK(made >= 1);
        CHECK(made <= (i == 0 ? 4 : 3));  // the first is asked for in any case
        before = world.ca.certificates_made;
    }
    CHECK(world.revoked_events() == 1);  // of the first: the others were never served
}

TEST_CASE("A revoked certificate that we do not renew is told") {
    StapledWorld world(stapled_domain());
    world.run();
    const std::string first = world.only().serial;
    world.domains.front().renew_mode = RenewMode::Manual;
    world.restart();
    world.live(day);
    world.revoke(world.only());
    world.live(day * 7);
    CHECK(world.only().serial == first);
    CHECK(world.ca.orders_made == 1);
    CHECK(world.revoked_events() == 1);
    CHECK(world.summary().is_revoked);
    CHECK(world.ports.status.at(name).find("\"status\": \"revoked\"") != std::string::npos);
    CHECK(world.engine->status_json(name).find("\"status\": \"revoked\"") != std::string::npos);
}

TEST_CASE("Where revocation_check is off nothing happens") {
    Domain domain = stapled_domain();
    domain.revocation_check = RevocationCheck::Off;
    StapledWorld world(domain);
    world.run();
    world.live(day);
    world.revoke(world.only());
    world.live(day * 10);
    CHECK_FALSE(world.has_staple());
    CHECK(world.ca.orders_made == 1);
    CHECK(world.revoked_events() == 0);
}

TEST_CASE("Of two key types the one that was not revoked is served alone") {
    Domain domain = stapled_domain();
    domain.private_keys = {{KeySpec::Type::Ec, 0, "P-256"}, {KeySpec::Type::Ec, 0, "P-384"}};
    StapledWorld world(domain);
    world.run();
    REQUIRE(world.served().size() == 2);
    const std::string bad = world.served().at(0)->serial;
    const std::string good = world.served().at(1)->serial;
    world.live(day);
    world.close_ca();
    world.revoke(*world.served().at(0));
    world.live(day * 7);
    REQUIRE(world.served().size() == 1);
    CHECK(world.only().serial == good);
    CHECK(world.has_staple());
    world.restart();
    CHECK(world.only().serial == good);
    world.ca.before = nullptr;
    world.live(day * 2);
    REQUIRE(world.served().size() == 2);
    for (const auto& one : world.served()) CHECK((one->serial != bad && one->serial != good));
}

TEST_CASE("A start knows by what its responder said last that a certificate was revoked") {
    Domain domain = stapled_domain();
    domain.private_keys = {{KeySpec::Type::Ec, 0, "P-256"}, {KeySpec::Type::Ec, 0, "P-384"}};
    StapledWorld world(domain);
    world.run();
    world.live(day);
    world.close_ca();
    world.revoke(*world.served().at(0));
    world.live(day * 7);
    const std::string good = world.only().serial;
    REQUIRE(world.store.remove(Group::Domains, name, "revoked.json"));
    world.restart();
    CHECK(world.only().serial == good);
    world.run();
    CHECK(world.only().serial == good);
    CHECK(world.store.has(Group::Domains, name, "revoked.json"));
}

TEST_CASE("A revocation that the disk did not take is written down when it does") {
    StapledWorld world(stapled_domain());
    world.run();
    world.live(day);
    world.close_ca();
    world.revoke(world.only());
    world.store.read_only = true;
    world.live(day * 7);
    REQUIRE(world.summary().is_revoked);
    REQUIRE_FALSE(world.store.has(Group::Domains, name, "revoked.json"));
    world.store.read_only = false;
    world.live(day * 2);
    CHECK(world.store.has(Group::Domains, name, "revoked.json"));
    CHECK(world.revoked_events() == 1);
}
