#include "md/acme_account.h"

#include "acme_fixture.h"
#include "catch.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::minutes;

namespace {

const std::string name = "example.org";
const std::string first = "ACME-ca.example.net-0000";

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

/// A world whose domain has its first certificate; renewal is asked for.
World enrolled() {
    return World({acme_domain({name})});
}

}  // namespace

TEST_CASE("Accounts are named by the last 16 characters of the CA's host (mod_md.md 5.4)") {
    CHECK(account_prefix("https://acme-v02.api.letsencrypt.org/directory") ==
          "ACME-.letsencrypt.org");
    CHECK(account_prefix("https://localhost:14000/dir") == "ACME-localhost");
    CHECK(account_prefix("https://CA.Example.NET/dir") == "ACME-ca.example.net");
}

TEST_CASE("An account is used again, by other domains and after a restart") {
    World world = enrolled();
    world.run();
    REQUIRE(world.engine->renew_now(name));
    world.run();
    world.domains.push_back(acme_domain({"other.example"}));
    world.restart();
    world.run();
    CHECK(world.ca.accounts_made == 1);
    CHECK(world.ca.certificates_made == 3);
    CHECK_FALSE(world.store.has(Group::Accounts, first, "pending.json"));
}

TEST_CASE("A CA that lost its accounts gets the same key again, once (CA-17)") {
    World world = enrolled();
    world.run();
    const auto key = take(world.store.load(Group::Accounts, first, "account.pem"));
    world.ca.forget_accounts();
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(world.ca.accounts_made == 2);
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.store.names(Group::Accounts)->size() == 1);
    CHECK(take(world.store.load(Group::Accounts, first, "account.pem")) == key);
}

TEST_CASE("An account that was closed is told of for a day, then replaced (CA-18)") {
    World world = enrolled();
    world.run();
    world.ca.deactivate_accounts();
    REQUIRE(world.engine->renew_now(name));
    world.run();
    const auto job = world.job(name);
    REQUIRE(job);
    CHECK(contains(job->last.detail, first));
    CHECK(*job->next_run >= world.clock.now() + hours{24});
    CHECK(world.ca.accounts_made == 1);
    CHECK_FALSE(world.served(name).fallback);
    world.clock.move(hours{25});
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(world.ca.accounts_made == 2);
    CHECK(world.ca.certificates_made == 2);
    CHECK(world.store.names(Group::Accounts)->size() == 2);
}

TEST_CASE("What has to be configured is said, with the setting's name (CA-20, CA-21, CA-22)") {
    struct Case {
        const char* what;
        const char* type;
        const char* setting;
    };
    const auto one = GENERATE(
        values<Case>({{"contact", "invalidContact", "contact_email"},
                      {"agreement", "agreementRequired", "certificate_agreement = \"accepted\""},
                      {"external", "externalAccountRequired", "external_account_binding"}}));
    CAPTURE(one.what);
    Domain domain = acme_domain({name});
    if (one.what == std::string_view("contact")) domain.contacts.clear();
    if (one.what == std::string_view("agreement")) domain.agreement.clear();
    World world({domain});
    world.ca.external_account_required = one.what == std::string_view("external");
    world.run();
    const auto job = world.job(name);
    REQUIRE(job);
    CHECK(job->last.type == "urn:ietf:params:acme:error:" + std::string(one.type));
    CHECK(contains(job->last.detail, one.setting));
    CHECK(*job->next_run > world.clock.now() + hours{11});
    CHECK(world.ca.accounts_made == 0);
}

TEST_CASE("External accounts: bound, matched by kid and HMAC, refused without fast retry (CA-21)") {
    Domain domain = acme_domain({name});
    domain.external_account = {"kid-1", "c2VjcmV0"};
    World world({domain});
    world.ca.external_account_required = true;
    world.ca.external_account_key = "secret";
    world.run();
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.ca.accounts_made == 1);

    Domain plain = acme_domain({"plain.example"});  // must not use the other's account
    Domain changed = acme_domain({"changed.example"});
    changed.external_account = {"kid-2", "c2VjcmV0"};
    world.ca.external_account_required = false;
    world.domains = {domain, plain, changed};
    world.restart();
    world.run();
    CHECK(world.ca.accounts_made == 3);
}

TEST_CASE(
    "External accounts that the CA refuses: told which setting, tried again in a day (CA-21)") {
    struct Case {
        const char* type;
        const char* hint;
    };
    const auto one =
        GENERATE(values<Case>({{"unauthorized", "check external_account_binding, key id kid-1"},
                               {"externalAccountRequired", "set external_account_binding"}}));
    Domain domain = acme_domain({name});
    domain.external_account = {"kid-1", "c2VjcmV0"};
    World world({domain});
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (!contains(request.url, "/new-account")) return std::nullopt;
        return Outcome<HttpResponse>(MiniCa::problem(403, one.type, "no such customer"));
    };
    world.run();
    const auto job = world.job(name);
    REQUIRE(job);
    CHECK(contains(job->last.detail, "no such customer"));
    CHECK(contains(job->last.detail, one.hint));
    CHECK_FALSE(contains(job->last.detail, "c2VjcmV0"));
    CHECK(*job->next_run > world.clock.now() + hours{11});
}

TEST_CASE("mod_md's RSA account in staging becomes one of ours") {
    World world = enrolled();
    world.run();
    const auto json = take(world.store.load(Group::Accounts, first, "account.json"));
    const auto key = take(world.store.load(Group::Accounts, first, "account.pem"));
    REQUIRE(world.store.purge(Group::Accounts, first));
    REQUIRE(world.store.save(Group::Staging, "b.example", "account.json", *json));
    REQUIRE(world.store.save_key(Group::Staging, "b.example", "account.pem", *key));
    AccountRegistry accounts(world.store);
    CHECK(take(accounts.adopt_staged("b.example")) == first);
    CHECK(take(accounts.adopt_staged("b.example")) == first);
    CHECK(take(accounts.adopt_staged("c.example")) == "");
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(world.ca.accounts_made == 1);
    CHECK(world.ca.certificates_made == 2);
}

TEST_CASE("An account file that cannot be used is passed over") {
    const char* broken = GENERATE("", "{", "[]", "{\"url\":\"https://ca.example.net/account/1\"}",
                                  "{\"url\":5,\"ca-url\":\"https://ca.example.net/dir\"}");
    World world = enrolled();
    REQUIRE(world.store.save(Group::Accounts, first, "account.json", broken));
    world.run();
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.store.has(Group::Accounts, "ACME-ca.example.net-0001", "account.json"));
}
