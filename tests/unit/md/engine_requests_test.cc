// What people ask the engine for: renewals, revocations (RFC 8555 7.6), new account keys (7.3.5);
// and changed contacts (7.3.2).
#include "acme_fixture.h"
#include "base/text.h"
#include "catch.h"
#include "md/csr.h"
#include "md/revocation.h"

namespace md::test {

namespace {

constexpr std::chrono::hours day{24};

DomainSummary summary(World& world) {
    return world.engine->summaries().at(0);
}

std::string account_of(World& world) {
    return world.engine->accounts().at(0).id;
}

}  // namespace

TEST_CASE("a revoked certificate is replaced at once, by one with another key") {
    World world({acme_domain({"a.example"})});
    world.restart();
    world.run();
    const tls::Certificate before = world.served("a.example");
    REQUIRE(world.engine->revoke_now("a.example", RevocationReason::KeyCompromise).ok());
    world.run();
    CHECK(world.ca.revoked == std::map<std::string, int>{{base::to_lower(before.serial), 1}});
    CHECK(world.served("a.example").serial != before.serial);
    const auto same_key = [&](const tls::Certificate& other) {
        return std::equal(before.key->bytes().begin(), before.key->bytes().end(),
                          other.key->bytes().begin(), other.key->bytes().end());
    };
    CHECK_FALSE(same_key(world.served("a.example")));
    CHECK_FALSE(summary(world).is_revoked);
    CHECK(summary(world).requests_done == 1);
    CHECK(summary(world).request_error.empty());
    // Nothing of it is left: it is not renewed again.
    world.restart();
    world.live(day * 20);
    CHECK(world.ca.certificates_made == 2);
}

TEST_CASE(
    "a revoked certificate stays served, and is due, until there is another; also restarted") {
    World world({acme_domain({"a.example"})});
    world.restart();
    world.run();
    const std::string before = world.served("a.example").serial;
    bool is_closed = true;
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (!is_closed || request.url != MiniCa::root + "/new-order") return std::nullopt;
        return Outcome<HttpResponse>(MiniCa::problem(500, "serverInternal", "closed today"));
    };
    REQUIRE(world.engine->revoke_now("a.example", RevocationReason::Superseded).ok());
    world.run();
    CHECK(world.ca.revoked.size() == 1);
    CHECK(world.served("a.example").serial == before);
    CHECK(summary(world).is_revoked);
    CHECK(summary(world).request_error.find("closed today") != std::string::npos);
    CHECK(world.engine->status_json("a.example").find("\"superseded\"") != std::string::npos);

    world.restart();
    CHECK(summary(world).is_revoked);
    is_closed = false;
    world.live(day);
    CHECK(world.served("a.example").serial != before);
    CHECK(world.ca.revoked.size() == 1);
}

TEST_CASE("revoking is signed by the certificate's key where the account may not") {
    World world({acme_domain({"a.example"})});
    world.restart();
    world.run();
    SECTION("the CA does not take it from the account") {
        world.ca.only_own_key_revokes = true;
    }
    SECTION("the CA has lost the account") {
        world.ca.forget_accounts();
    }
    REQUIRE(world.engine->revoke_now("a.example", RevocationReason::Unspecified).ok());
    world.run();
    CHECK(world.ca.revoked.size() == 1);
    CHECK(world.ca.certificates_made == 2);
}

TEST_CASE("what cannot be asked for is told") {
    World world({acme_domain({"a.example"})});
    world.restart();
    CHECK_FALSE(world.engine->revoke_now("b.example", RevocationReason::Unspecified).ok());
    CHECK_FALSE(world.engine->renew_now("b.example").ok());
    CHECK_FALSE(world.engine->roll_account_key("ACME-x-0000").ok());
    // There is nothing to revoke yet: said, and the domain is renewed as it would have been.
    world.ca.offered = {"dns-01"};
    world.run();
    REQUIRE(world.engine->revoke_now("a.example", RevocationReason::Unspecified).ok());
    world.run();
    CHECK(summary(world).request_error.find("no certificate") != std::string::npos);
}

TEST_CASE("the reasons for a revocation have RFC 5280's names") {
    CHECK(parse_revocation_reason("keyCompromise") == RevocationReason::KeyCompromise);
    CHECK(parse_revocation_reason("KEYCOMPROMISE") == RevocationReason::KeyCompromise);
    CHECK_FALSE(parse_revocation_reason("cACompromise"));
    CHECK_FALSE(parse_revocation_reason(""));
    CHECK(revocation_reason_name(RevocationReason::CessationOfOperation) == "cessationOfOperation");
}

TEST_CASE("an account gets a new key, and goes on being used") {
    World world({acme_domain({"a.example"})});
    world.restart();
    world.run();
    const std::string id = account_of(world);
    const std::string before = *take(world.store.load(Group::Accounts, id, "account.pem"));
    REQUIRE(take(world.engine->roll_account_key(id)) == "a.example");
    world.run();
    CHECK(summary(world).request_error.empty());
    CHECK(world.ca.keys_changed == 1);
    CHECK(*take(world.store.load(Group::Accounts, id, "account.pem")) != before);
    CHECK_FALSE(world.store.has(Group::Accounts, id, "account-next.pem"));
    world.restart();
    REQUIRE(world.engine->renew_now("a.example").ok());
    world.run();
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.ca.accounts_made == 1);
}

TEST_CASE("a key change that ends anywhere leaves an account that works (CA-48)") {
    // Killed, or without an answer, before and after each of its requests.
    enum class End { Killed, NoAnswer, KilledAfter, NoAnswerAfter };
    for (const End end : {End::Killed, End::NoAnswer, End::KilledAfter, End::NoAnswerAfter}) {
        for (int at = 1; at <= 4; ++at) {
            INFO("end " << static_cast<int>(end) << " at request " << at);
            World world({acme_domain({"a.example"})});
            world.restart();
            world.run();
            const std::string id = account_of(world);
            int left = at;
            const auto strike = [&](bool is_kill) {
                if (--left != 0) return false;
                if (!is_kill) return true;
                world.store.frozen = true;
                throw Killed{};
            };
            if (end == End::Killed || end == End::NoAnswer) {
                world.ca.before = [&](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
                    if (!strike(end == End::Killed)) return std::nullopt;
                    return Outcome<HttpResponse>(make_problem(ECONNRESET, "cut off"));
                };
            } else {
                world.ca.after = [&](const HttpRequest&, HttpResponse& response) {
                    if (!strike(end == End::KilledAfter)) return;
                    response = {.status = 502, .fields = {}, .body = "gateway"};
                };
            }
            REQUIRE(world.engine->roll_account_key(id).ok());
            try {
                world.run();
            } catch (const Killed&) {
            }
            world.ca.before = nullptr;
            world.ca.after = nullptr;
            world.restart();
            REQUIRE(world.engine->renew_now("a.example").ok());
            world.run();
            CHECK(world.ca.certificates_made == 2);
            CHECK(world.ca.accounts_made == 1);
            CHECK_FALSE(world.store.has(Group::Accounts, id, "account-next.pem"));
        }
    }
}

TEST_CASE("a changed contact is told to the CA once; other domains' addresses do not fight") {
    World world({acme_domain({"a.example"}), acme_domain({"b.example"})});
    for (Domain& domain : world.domains) domain.contacts = {"mailto:old@example.org"};
    world.restart();
    world.run();
    CHECK(world.ca.contacts() == std::vector<std::string>{"mailto:old@example.org"});

    // One of two domains that share the account: the address is still somebody's.
    world.domains[0].contacts = {"mailto:new@example.org"};
    world.restart();
    world.run();
    CHECK(world.ca.contacts() == std::vector<std::string>{"mailto:old@example.org"});

    world.domains[1].contacts = {"mailto:new@example.org"};
    bool is_closed = true;
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (!is_closed || !request.url.starts_with(MiniCa::root + "/account/")) return std::nullopt;
        return Outcome<HttpResponse>(MiniCa::problem(503, "serverInternal", "later"));
    };
    world.restart();
    world.run();
    CHECK(world.ca.contacts() == std::vector<std::string>{"mailto:old@example.org"});
    is_closed = false;
    world.live(day);
    CHECK(world.ca.contacts() == std::vector<std::string>{"mailto:new@example.org"});
    CHECK(world.engine->accounts().at(0).contacts ==
          std::vector<std::string>{"mailto:new@example.org"});
    CHECK(world.engine->accounts().at(0).domains ==
          std::vector<std::string>{"a.example", "b.example"});

    const auto told = world.ca.log;
    world.restart();
    world.run();
    CHECK(std::count(world.ca.log.begin() + static_cast<ptrdiff_t>(told.size()), world.ca.log.end(),
                     "POST /account/1") == 0);
}

TEST_CASE("of several chains the one to the preferred root is taken (CA-38)") {
    Domain domain = acme_domain({"a.example"});
    std::string expected;
    SECTION("the second alternate") {
        domain.preferred_chain = "root y";
        expected = "Root Y";
    }
    SECTION("no chain leads there: the CA's default") {
        domain.preferred_chain = "Root Q";
        expected = "Mini CA";
    }
    SECTION("none is preferred") {
        expected = "Mini CA";
    }
    SECTION("the default is the preferred one: no other is looked at") {
        domain.preferred_chain = "Mini CA";
        expected = "Mini CA";
    }
    World world({domain});
    world.ca.alternate_roots = {"Root X", "Root Y"};
    world.restart();
    world.run();
    const std::string chain =
        *take(world.store.load(Group::Domains, "a.example", "pubcert.p-256.pem"));
    CHECK(root_name(chain) == expected);
    const auto looks = std::count_if(
        world.ca.log.begin(), world.ca.log.end(),
        [](const std::string& line) { return line.find("/alternate/") != std::string::npos; });
    CHECK((looks == 0) == (domain.preferred_chain.empty() || domain.preferred_chain == "Mini CA"));
}

TEST_CASE("alternate chains that loop or are many are no trap (CA-38)") {
    Domain domain = acme_domain({"a.example"});
    domain.preferred_chain = "Root Q";
    World world({domain});
    for (int i = 0; i < 60; ++i) world.ca.alternate_roots.push_back(fmt::format("Root {}", i));
    world.ca.after = [](const HttpRequest& request, HttpResponse& response) {
        if (request.url.find("/certificate/") == std::string::npos) return;
        response.fields.emplace_back("link", "<" + request.url + ">;rel=\"alternate\"");
    };
    world.restart();
    world.run();
    CHECK_FALSE(world.served("a.example").fallback);
    CHECK(world.ca.requests < 60);
}

}  // namespace md::test
