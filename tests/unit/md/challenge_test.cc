#include "md/challenge.h"

#include "acme_fixture.h"
#include "catch.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;

TEST_CASE("Challenge types: configured ones as given, else by reachability (mod_md.md 5.6)") {
    struct Case {
        std::vector<std::string> configured;
        bool http;
        bool https;
        bool alpn;
        std::vector<std::string> types;
    };
    const std::vector<Case> cases = {
        {{}, true, true, true, {"tls-alpn-01", "http-01"}},
        {{}, true, true, false, {"http-01"}},
        {{}, true, false, true, {"http-01"}},
        {{}, false, true, true, {"tls-alpn-01"}},
        {{}, false, false, true, {}},
        {{"http-01"}, false, false, false, {"http-01"}},
        {{"http-01", "tls-alpn-01"}, true, true, true, {"http-01", "tls-alpn-01"}},
        {{"made-up"}, true, true, true, {"made-up"}},
    };
    for (const Case& one : cases) {
        Domain domain = acme_domain({"a.example"});
        domain.challenges = one.configured;
        if (one.alpn) domain.acme_tls_names = {"a.example"};
        EngineSettings settings;
        settings.http_reachable = one.http;
        settings.https_reachable = one.https;
        const ChallengeChoice choice = choose_challenges(domain, settings);
        CHECK(choice.types == one.types);
        if (one.types.empty()) CHECK(choice.reasons.size() == 3);
    }
}

TEST_CASE("Tokens are base64url (CA-27)") {
    for (const char* good : {"a", "vgDE4mlsF6hjZ2R94ns6jQHyeCQnBzl5YqduWCSmPDU", "A-_9"}) {
        CHECK(is_challenge_token(good));
    }
    for (const std::string& bad :
         {std::string(), std::string("a/b"), std::string("../x"), std::string("a.b"),
          std::string("a b"), std::string("a\0b", 3), std::string("a="), std::string("\xc3\xa4"),
          std::string(257, 'a')}) {
        CHECK_FALSE(is_challenge_token(bad));
    }
}

TEST_CASE("Answers are published, saved, and withdrawn at the end") {
    FakeClock clock(noon);
    MemoryStore store(clock);
    FakePorts ports;
    const Domain domain = acme_domain({"a.example"});
    FakeCommands commands;
    const EngineSettings settings;
    const Dns01 dns(commands, settings, domain, {});
    const auto key = AccountKey::generate();
    REQUIRE(key);
    Authorization authorization;
    authorization.name = "a.example";
    for (const char* type : {"dns-01", "http-01", "tls-alpn-01"}) {
        authorization.challenges.push_back({type, "https://ca/c", "token", "pending", {}});
    }
    const std::string expected = "token." + key.value().thumbprint();
    {
        ChallengeAnswers answers({ports, store, clock, domain, key.value(), dns, {}, {}});
        auto first = answers.set_up({"made-up", "http-01", "tls-alpn-01"}, authorization);
        REQUIRE(first);
        CHECK((*first)->type == "http-01");
        CHECK(ports.http01_answers["a.example"]["token"] == expected);
        CHECK(*take(store.load(Group::Challenges, "a.example", "acme-http-01.txt")) == expected);
        auto second = answers.set_up({"tls-alpn-01"}, authorization);
        REQUIRE(second);
        CHECK(ports.alpn_answers.at("a.example")->names == std::vector<std::string>{"a.example"});
        CHECK(store.has(Group::Challenges, "a.example", "acme-tls-alpn-01-privkey.p-256.pem"));
        CHECK(answers.setups() ==
              std::vector<std::string>{"http-01:a.example", "tls-alpn-01:a.example"});
    }
    CHECK(ports.http01_answers.empty());
    CHECK(ports.alpn_answers.empty());
    CHECK(store.names(Group::Challenges)->empty());
}

TEST_CASE("No common type is a mismatch that names both sides; a failing set-up is told") {
    FakeClock clock(noon);
    MemoryStore store(clock);
    FakePorts ports;
    const Domain domain = acme_domain({"*.a.example"});
    FakeCommands commands;
    const EngineSettings settings;
    const Dns01 dns(commands, settings, domain, {});
    const auto key = AccountKey::generate();
    ChallengeAnswers answers({ports, store, clock, domain, key.value(), dns, {}, {}});
    Authorization authorization;
    authorization.name = "a.example";
    authorization.wildcard = true;
    authorization.challenges.push_back({"dns-01", "https://ca/c", "token", "pending", {}});
    const auto mismatch = answers.set_up({"http-01"}, authorization);
    REQUIRE_FALSE(mismatch);
    CHECK(mismatch.error().type == "challenge-mismatch");
    CHECK(mismatch.error().detail.find("it offers dns-01, usable are http-01") !=
          std::string::npos);
    CHECK(mismatch.error().detail.find("*.a.example") != std::string::npos);
    store.read_only = true;
    authorization.challenges[0].type = "http-01";
    const auto failed = answers.set_up({"http-01"}, authorization);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().type == "challenge-setup-failure");
}

TEST_CASE("What a former process set up is removed, and nothing else") {
    FakeClock clock(noon);
    MemoryStore store(clock);
    for (const char* name : {"a.example", "b.example", "c.example"}) {
        REQUIRE(store.save(Group::Challenges, name, "acme-http-01.txt", "x"));
    }
    FakeCommands commands;
    EngineSettings settings;
    settings.challenge_dns01_command = "/dns";
    const Domain domain = acme_domain({"a.example"});
    const Dns01 dns(commands, settings, domain, {});
    CHECK(remove_stored_answers(
              store, dns,
              {"http-01:a.example", "tls-alpn-01:b.example", "rubbish", "http-01:../../etc",
               "http-01:", "dns-01:b.example value", "dns-01:--help value", "dns-01:a.example ",
               "dns-01:a.example -x", "dns-01:a.example va/lue", "dns-01:../x value"})
              .empty());
    CHECK(take(store.names(Group::Challenges)) == std::vector<std::string>{"c.example"});
    CHECK(commands.lines() ==
          std::vector<std::string>{"/dns teardown b.example", "/dns teardown a.example"});
}

TEST_CASE("Addresses are certified by http-01 and tls-alpn-01 (RFC 8738)") {
    const auto type = GENERATE(std::string("http-01"), std::string("tls-alpn-01"));
    Domain domain = acme_domain({"2001:db8::1", "192.0.2.1", "a.example"});
    domain.challenges = {type};
    World world({domain});
    // Equal by address, however the CA writes it.
    world.ca.written_names["2001:db8::1"] = "2001:DB8:0:0::0001";
    world.run();
    REQUIRE_FALSE(world.served("2001:db8::1").fallback);
    CHECK(world.served("2001:db8::1").names ==
          std::vector<std::string>{"2001:db8::1", "192.0.2.1", "a.example"});
    CHECK(world.ports.alpn_answers.empty());
    CHECK(world.ports.http01_answers.empty());
    CHECK(world.store.has(Group::Domains, "2001:db8::1", "md.json"));
    CHECK(take(world.store.names(Group::Challenges)).empty());
}

TEST_CASE("An address of the CA's that nobody asked for is refused") {
    for (const char* other : {"192.0.2.2", "::ffff:192.0.2.1", "192.0.02.1", "x"}) {
        CAPTURE(other);
        World world({acme_domain({"192.0.2.1"})});
        world.ca.written_names["192.0.2.1"] = other;
        world.run();
        CHECK(world.served("192.0.2.1").fallback);
        CHECK(world.job("192.0.2.1")->last.detail ==
              "the CA's order is for other names than those asked for");
    }
    // As the other type, in the order or in the authorization alone.
    for (const char* where : {"/order", "/authz"}) {
        CAPTURE(where);
        World world({acme_domain({"192.0.2.1"})});
        world.ca.after = [&](const HttpRequest& request, HttpResponse& response) {
            const bool is_order = request.url.find("order") != std::string::npos;
            if (is_order != (std::string_view(where) == "/order")) return;
            const size_t at = response.body.find("\"ip\"");
            if (at != std::string::npos) response.body.replace(at, 4, "\"dns\"");
        };
        world.run();
        CHECK(world.served("192.0.2.1").fallback);
        CHECK(world.job("192.0.2.1")->last.detail.find("ask") != std::string::npos);
    }
}

TEST_CASE("A certificate with a name in place of the address is refused") {
    World world({acme_domain({"192.0.2.1", "a.example"})});
    world.ca.change_names = [](std::vector<std::string>) {
        return std::vector<std::string>{"192.0.2.2", "a.example"};
    };
    world.run();
    CHECK(world.served("192.0.2.1").fallback);
    CHECK(world.job("192.0.2.1")
              ->last.detail.find(
                  "it is for 192.0.2.2, a.example, asked for was 192.0.2.1, a.example") !=
          std::string::npos);
}

TEST_CASE("dns-01 is not for addresses, even where the CA offers it (RFC 8738 7)") {
    Domain domain = acme_domain({"192.0.2.1", "a.example"});
    domain.challenges = {"dns-01"};
    domain.challenge_dns01_command = "/dns";
    World world({domain});
    world.run();
    CHECK(world.ca.requests == 0);
    CHECK(world.job("192.0.2.1")->last.type == "challenge-mismatch");
    CHECK(world.job("192.0.2.1")->last.detail ==
          "192.0.2.1 is an IP address, which CAs prove by http-01 and tls-alpn-01 alone (RFC 8738 "
          "7): add one of them to ca_challenges");
    // First in the list, it is for the name alone.
    domain.challenges = {"dns-01", "http-01"};
    World mixed({domain});
    mixed.commands.on_run = [&](const Command& command) {
        if (command.argv.at(1) == "setup") {
            mixed.ports.txt_records[command.argv.at(2)].insert(command.argv.at(3));
        }
        return CommandResult{};
    };
    mixed.run();
    CHECK_FALSE(mixed.served("192.0.2.1").fallback);
    CHECK(mixed.commands.count("/dns setup 192.0.2.1") == 0);
    for (const std::string& line : mixed.commands.lines()) {
        CHECK(line.find("192.0.2.1") == std::string::npos);
    }
    CHECK_FALSE(mixed.commands.lines().empty());
}

TEST_CASE("What a former process set up for an address is removed") {
    FakeClock clock(noon);
    MemoryStore store(clock);
    for (const char* name : {"::1", "192.0.2.1", "192.0.2.2"}) {
        REQUIRE(store.save(Group::Challenges, name, "acme-http-01.txt", "x"));
    }
    FakeCommands commands;
    const EngineSettings settings;
    const Domain domain = acme_domain({"::1"});
    const Dns01 dns(commands, settings, domain, {});
    CHECK(remove_stored_answers(store, dns, {"http-01:::1", "tls-alpn-01:192.0.2.1"}).empty());
    CHECK(take(store.names(Group::Challenges)) == std::vector<std::string>{"192.0.2.2"});
}
