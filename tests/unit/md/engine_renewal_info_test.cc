// ARI (RFC 9773) as the engine follows it.
#include "acme_fixture.h"
#include "base/text.h"
#include "catch.h"
#include "md/status_json.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

const std::string name = "example.org";
constexpr hours day{24};

/// The CA's advice for every certificate: a window, and when to ask again.
struct Advice {
    base::Time start{};
    base::Time end{};
    std::string retry_after = "21600";
    std::string explanation = "https://ca.example.net/why";
    int status = 200;
    std::vector<std::string> asked;

    void give(MiniCa& ca) {
        ca.renewal_info = [this](const std::string& id) {
            asked.push_back(id);
            HttpResponse response;
            response.status = status;
            response.body = fmt::format(
                "{{\"suggestedWindow\":{{\"start\":\"{}\",\"end\":\"{}\"}},"
                "\"explanationURL\":\"{}\"}}",
                base::format_rfc3339(start), base::format_rfc3339(end), explanation);
            response.fields.emplace_back("retry-after", retry_after);
            return response;
        };
    }
};

}  // namespace

TEST_CASE("ARI: a certificate is renewed at a point in the CA's window, and the order says which") {
    World world({acme_domain({name})});
    Advice advice;
    advice.give(world.ca);
    world.run();
    const std::string first = world.served(name).serial;
    const std::string id = ari_certificate_id(world.served(name));
    CHECK(world.ca.last_replaces.empty());
    advice.start = world.clock.now() + day * 10;
    advice.end = advice.start + day * 2;
    world.live(day * 10 - hours{1});
    CHECK(world.served(name).serial == first);
    REQUIRE_FALSE(advice.asked.empty());
    CHECK(advice.asked.front() == id);
    const DomainSummary summary = world.engine->summaries().at(0);
    CHECK(summary.next_renewal >= advice.start);
    CHECK(summary.next_renewal <= advice.end);
    CHECK(summary.renewal_explanation == "https://ca.example.net/why");
    CHECK(world.engine->status_json(name).find(
              "\"explanation-url\": \"https://ca.example.net/why\"") != std::string::npos);

    world.live(*summary.next_renewal - world.clock.now() - seconds{1});
    CHECK(world.served(name).serial == first);
    world.live(minutes{5});
    CHECK(world.served(name).serial != first);
    CHECK(world.ca.last_replaces == id);
    CHECK(world.ca.replaced.count(id) == 1);
}

TEST_CASE("ARI: advice makes a renewal earlier, never later") {
    World world({acme_domain({name})});
    Advice advice;
    advice.give(world.ca);
    advice.start = world.clock.now() + day * 80;
    advice.end = advice.start + day;
    world.run();
    world.live(day * 62);
    CHECK(world.ca.certificates_made == 2);
}

TEST_CASE("ARI: the CA is asked again when it wants to be, also after restarts") {
    Domain domain = acme_domain({name});
    World world({domain});
    world.settings.check_interval = hours{1};
    Advice advice;
    advice.give(world.ca);
    advice.start = world.clock.now() + day * 30;
    advice.end = advice.start + day;
    advice.retry_after = "86400";
    world.restart();
    world.live(hours{2});
    REQUIRE(advice.asked.size() == 1);
    const auto point = world.engine->summaries().at(0).next_renewal;
    for (int i = 0; i < 10; ++i) {
        world.restart();
        world.live(hours{1});
    }
    CHECK(advice.asked.size() == 1);
    CHECK(world.engine->summaries().at(0).next_renewal == point);
    world.live(day * 5);
    CHECK(advice.asked.size() >= 5);
    CHECK(advice.asked.size() <= 7);
    CHECK(world.engine->summaries().at(0).next_renewal == point);  // the window is the same
}

TEST_CASE("ARI: a CA that fails to advise is asked again after hours, and nothing else changes") {
    World world({acme_domain({name})});
    Advice advice;
    advice.give(world.ca);
    advice.status = 503;
    advice.retry_after = "7200";
    world.run();
    world.live(day * 10);
    CHECK(world.ca.certificates_made == 1);
    CHECK(advice.asked.size() >= 15);  // about each 12 h of the check, or sooner
    CHECK(advice.asked.size() <= 10 * 12 + 1);
    CHECK_FALSE(world.job(name));
    CHECK(world.engine->summaries().at(0).errors == 0);
    world.live(day * 55);
    CHECK(world.ca.certificates_made == 2);
}

TEST_CASE("ARI: advice and jobs are written to domains/ by who holds the store's lock") {
    World world({acme_domain({name})});
    Advice advice;
    advice.give(world.ca);
    advice.start = world.clock.now() + day * 10;
    advice.end = advice.start + day;
    world.settings.message_command = "/m";  // its events keep a job in domains/
    world.restart();
    world.live(day * 2);
    CHECK(world.store.has(Group::Domains, name, "ari.json"));
    CHECK(world.store.unlocked_writes.empty());

    // While another process has it, the CA is asked all the same.
    const auto stored = *take(world.store.load(Group::Domains, name, "ari.json"));
    const size_t asked = advice.asked.size();
    world.store.is_locked = true;
    world.live(day * 2);
    CHECK(advice.asked.size() > asked);
    CHECK(*take(world.store.load(Group::Domains, name, "ari.json")) == stored);
    CHECK(world.store.unlocked_writes.empty());
    world.store.is_locked = false;
    world.live(day * 2);
    CHECK(*take(world.store.load(Group::Domains, name, "ari.json")) != stored);
}

TEST_CASE("ARI: off, the CA is not asked and told nothing") {
    Domain domain = acme_domain({name});
    domain.renew_via_ari = false;
    World world({domain});
    Advice advice;
    advice.give(world.ca);
    advice.start = world.clock.now() + day;
    advice.end = advice.start + day;
    world.live(day * 65);
    CHECK(advice.asked.empty());
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.ca.last_replaces.empty());
}

TEST_CASE("ARI: what the CA takes for replaced already is ordered without saying so") {
    World world({acme_domain({name})});
    Advice advice;
    advice.give(world.ca);
    advice.start = world.clock.now() + day * 80;
    advice.end = advice.start + day;
    world.run();
    world.ca.replaced.insert(ari_certificate_id(world.served(name)));
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.engine->summaries().at(0).errors == 0);
}

TEST_CASE("ARI: an order that the CA refuses for what it replaces is made without (CA-44)") {
    const char* type = GENERATE("malformed", "unauthorized", "alreadyReplaced", "serverInternal");
    CAPTURE(type);
    World world({acme_domain({name})});
    Advice advice;
    advice.give(world.ca);
    advice.start = world.clock.now() + day * 80;
    advice.end = advice.start + day;
    world.run();
    int refused = 0;
    world.ca.before = [&, others = world.ca.before](const HttpRequest& request) {
        if (request.url.find("/new-order") != std::string::npos && refused++ == 0) {
            return std::optional<Outcome<HttpResponse>>(
                MiniCa::problem(400, type, "that certificate is unknown here"));
        }
        return others ? others(request) : std::nullopt;
    };
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(refused == 2);
    CHECK(world.ca.last_replaces.empty());
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.engine->summaries().at(0).errors == 0);
}

TEST_CASE("ARI: a window that is over means now, once for each certificate") {
    World world({acme_domain({name})});
    Advice advice;
    advice.give(world.ca);
    advice.start = world.clock.now() - day * 2;
    advice.end = advice.start + day;
    world.run();
    world.live(day * 10);
    // Each new certificate is asked about at its first check: no storm.
    CHECK(world.ca.certificates_made >= 5);
    CHECK(world.ca.certificates_made <= 45);
}
