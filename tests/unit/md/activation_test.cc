#include "md/activation.h"

#include "acme_fixture.h"
#include "catch.h"
#include "md/acme_account.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {
const std::string name = "example.org";
}

TEST_CASE("Guards: what the CA made is installed only if it is what was asked for (CA-34..37)") {
    struct Case {
        const char* what;
        bool installed;
    };
    const auto one = GENERATE(values<Case>({{"as asked for", true},
                                            {"wrong key", false},
                                            {"other names", false},
                                            {"fewer names", false},
                                            {"extra names", false},
                                            {"CN only", false},
                                            {"wildcard instead", false},
                                            {"expired", false},
                                            {"valid in 2 h", false},
                                            {"without chain", false},
                                            {"valid 100 years", true}}));
    CAPTURE(one.what);
    World world({acme_domain({name, "www.example.org"})});
    world.run();
    REQUIRE_FALSE(world.served(name).fallback);
    const std::string before = world.served(name).serial;

    const std::string_view what = one.what;
    using Names = std::vector<std::string>;
    if (what == "wrong key") world.ca.wrong_key = true;
    if (what == "other names") world.ca.change_names = [](Names) { return Names{"evil.example"}; };
    if (what == "fewer names") world.ca.change_names = [](Names) { return Names{name}; };
    if (what == "extra names") {
        world.ca.change_names = [](Names names) {
            names.push_back("extra.example");
            return names;
        };
    }
    if (what == "CN only") world.ca.change_names = [](Names) { return Names{}; };
    if (what == "wildcard instead") {
        world.ca.change_names = [](Names) { return Names{name, "*.example.org"}; };
    }
    if (what == "expired") world.ca.not_before_offset = -hours{24 * 91};
    if (what == "valid in 2 h") world.ca.not_before_offset = hours{2};
    if (what == "without chain") world.ca.without_chain = true;
    if (what == "valid 100 years") world.ca.lifetime = hours{24 * 36500};

    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK((world.served(name).serial != before) == one.installed);
    CHECK(world.ports.served[name].size() == 1);
    if (!one.installed) {
        const auto job = world.job(name);
        REQUIRE(job);
        CHECK(job->errors == 1);
        CHECK(job->last.detail.find("refused") != std::string::npos);
        CHECK_FALSE(world.store.has(Group::Staging, name, "order.json"));
    }
}

TEST_CASE("A certificate of a CA whose clock is a little ahead waits until it is valid (CA-36)") {
    World world({acme_domain({name})});
    world.ca.not_before_offset = minutes{30};
    world.run();
    CHECK(world.served(name).fallback);
    CHECK(world.job(name)->finished);
    const bool restarted = GENERATE(true, false);
    if (restarted) world.restart();
    world.run();
    CHECK(world.served(name).fallback);
    world.live(minutes{31});
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.ca.certificates_made == 1);
}

TEST_CASE("The activation delay holds a new certificate back while the old one is good") {
    World world({acme_domain({name})});
    world.settings.activation_delay = hours{24};
    world.restart();
    world.run();
    const std::string first = world.served(name).serial;  // nothing to wait for at the first one
    CHECK_FALSE(world.served(name).fallback);
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(world.served(name).serial == first);
    world.live(hours{23});
    CHECK(world.served(name).serial == first);
    world.restart();
    CHECK(world.served(name).serial == first);
    world.live(hours{2});
    CHECK(world.served(name).serial != first);
}

TEST_CASE("The old set is in the archive, and the new one says where it is from") {
    World world({acme_domain({name})});
    world.run();
    CHECK(world.store.names(Group::Archive)->size() == 1);  // the fallback's
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(world.store.names(Group::Archive)->size() == 2);
    const auto stored = take(load_domain(world.store, Group::Domains, name, world.clock.now()));
    REQUIRE(stored);
    CHECK(stored->ca_url == MiniCa::directory_url);
    CHECK(stored->ca_account == "ACME-ca.example.net-0000");
    CHECK(stored->state == DomainState::Complete);
}

TEST_CASE("A store that cannot be written keeps the staged set; it is installed later (ST-01)") {
    World world({acme_domain({name})});
    // From the download on nothing can be written any more, but the chain.
    world.ca.after = [&](const HttpRequest& request, HttpResponse&) {
        if (request.url.find("/certificate/") != std::string::npos) world.store.read_only = true;
    };
    world.run();
    CHECK(world.served(name).fallback);
    world.store.read_only = false;
    world.ca.after = nullptr;
    world.live(hours{1});
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.ca.certificates_made == 1);
}

TEST_CASE("A set that mod_md staged is installed at start") {
    World world({acme_domain({name})});
    StoredDomain staged;
    staged.domain = world.domains[0];
    staged.ca_url = MiniCa::directory_url;
    world.clock.move(seconds{1});
    // A chain with an issuer, as guards want it.
    World other({acme_domain({name})});
    other.run();
    const auto chain = take(other.store.load(Group::Domains, name, "pubcert.p-256.pem"));
    const auto key = take(other.store.load(Group::Domains, name, "privkey.p-256.pem"));
    REQUIRE(save_domain(world.store, Group::Staging, staged));
    const KeySpec spec{KeySpec::Type::Ec, 0, "P-256"};
    REQUIRE(save_credential(world.store, Group::Staging, name, spec, *chain, *key));
    world.restart();
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.ca.requests == 0);
    CHECK(world.store.names(Group::Staging)->empty());
}
