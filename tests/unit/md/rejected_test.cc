// Guards at work in the engine: what is refused is not served, is kept for people to look at, and
// does not make a storm.
#include "acme_fixture.h"
#include "catch.h"
#include "md/csr.h"
#include "md/json.h"

namespace md::test {

namespace {

constexpr std::chrono::hours day{24};

std::string why_rejected(World& world) {
    const auto text = take(world.store.load(Group::Archive, "a.example.rejected", "rejected.json"));
    if (!text) return "";
    std::string error;
    return string_at(parse_json(*text, error), {"why"});
}

}  // namespace

TEST_CASE("a set that no handshake works with is not served, and is kept") {
    Domain domain = acme_domain({"a.example"});
    World world({domain});
    world.restart();
    world.run();
    const std::string before = world.served("a.example").serial;

    world.ca.weak_signature = true;  // which TLS libraries refuse, and nothing else looks at
    REQUIRE(world.engine->renew_now("a.example").ok());
    world.run();
    CHECK(world.served("a.example").serial == before);
    CHECK(why_rejected(world).find("handshake") != std::string::npos);
    CHECK(world.store.has(Group::Archive, "a.example.rejected", "pubcert.p-256.pem"));
    CHECK(world.store.has(Group::Archive, "a.example.rejected", "privkey.p-256.pem"));
    const DomainSummary summary = world.engine->summaries().at(0);
    CHECK(summary.last_error.find("handshake") != std::string::npos);
    CHECK(summary.errors == 1);
    // Not again and again; and over when the CA has come to its senses.
    world.live(day * 70);
    CHECK(world.ca.certificates_made < 40);
    CHECK(world.served("a.example").serial == before);
    world.ca.weak_signature = false;
    world.live(day * 3);
    CHECK(world.served("a.example").serial != before);
}

TEST_CASE("a certificate for other names is kept with the reason") {
    World world({acme_domain({"a.example"})});
    world.ca.change_names = [](std::vector<std::string>) {
        return std::vector<std::string>{"evil.example"};
    };
    world.restart();
    world.run();
    CHECK(why_rejected(world).find("evil.example") != std::string::npos);
    const auto chain =
        take(world.store.load(Group::Archive, "a.example.rejected", "pubcert.p-256.pem"));
    REQUIRE(chain);
    CHECK(root_name(*chain) == "Mini CA");
    world.ca.change_names = nullptr;
    world.live(day);
    CHECK_FALSE(world.served("a.example").fallback);
}

}  // namespace md::test
