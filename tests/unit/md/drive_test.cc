#include "md/drive.h"

#include "acme_fixture.h"
#include "catch.h"
#include "md/csr.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

const std::string name = "example.org";

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("A new domain gets a certificate, which is served without a restart") {
    World world({acme_domain({name, "www.example.org"})});
    REQUIRE(world.served(name).fallback);
    CHECK(world.run() == 1);
    const tls::Certificate& certificate = world.served(name);
    CHECK_FALSE(certificate.fallback);
    CHECK(certificate.covers("www.example.org"));
    CHECK(certificate.chain.size() == 1);
    CHECK(world.ca.orders_made == 1);
    CHECK(world.ca.accounts_made == 1);
    CHECK(world.ports.http01_answers.empty());
    CHECK(world.store.names(Group::Challenges)->empty());
    CHECK(world.store.names(Group::Staging)->empty());
    CHECK(world.store.has(Group::Domains, name, "pubcert.p-256.pem"));
    CHECK(world.store.has(Group::Domains, name, "job.json"));
    CHECK(world.store.has(Group::Accounts, "ACME-ca.example.net-0000", "account.json"));
    CHECK(world.run() == 0);
    CHECK(world.engine->summaries().at(0).state == "good");
}

TEST_CASE("One certificate for each key spec, of its type") {
    Domain domain = acme_domain({name});
    domain.private_keys.push_back({KeySpec::Type::Rsa, 2048, ""});
    World world({domain});
    world.run();
    REQUIRE(world.ports.served[name].size() == 2);
    CHECK(world.served(name, 0).key_type == tls::KeyType::Ecdsa);
    CHECK(world.served(name, 1).key_type == tls::KeyType::Rsa);
    CHECK(world.ca.orders_made == 2);
    CHECK(world.ports.challenges_set_up == 1);  // the second order finds the name validated
}

TEST_CASE("tls-alpn-01 comes first where a listener speaks it, and is answered") {
    Domain domain = acme_domain({name});
    domain.acme_tls_names = {name};
    World world({domain});
    bool seen = false;
    world.ca.after = [&](const HttpRequest& request, HttpResponse&) {
        if (contains(request.url, "/challenge/tls-alpn-01")) {
            seen = world.ports.alpn_answers.contains(name) &&
                   world.store.has(Group::Challenges, name, "acme-tls-alpn-01-pubcert.p-256.pem");
        }
    };
    world.run();
    CHECK(seen);
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.ports.alpn_answers.empty());
}

TEST_CASE("The answer is in the store and at all workers before the CA is told") {
    World world({acme_domain({name})});
    bool told = false;
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (!contains(request.url, "/challenge/")) return std::nullopt;
        told = true;
        CHECK(world.ports.http01_answers.contains(name));
        const auto text = take(world.store.load(Group::Challenges, name, "acme-http-01.txt"));
        CHECK(text == world.ports.http01_answers[name].begin()->second);
        CHECK(contains(*take(world.store.load(Group::Staging, name, "order.json")),
                       "http-01:example.org"));
        return std::nullopt;
    };
    world.run();
    CHECK(told);
}

TEST_CASE("Domains that start together share one new account") {
    World world(
        {acme_domain({"a.example"}), acme_domain({"b.example"}), acme_domain({"c.example"})});
    world.run();
    CHECK(world.ca.accounts_made == 1);
    CHECK(world.store.names(Group::Accounts)->size() == 1);
    CHECK(world.ca.certificates_made == 3);
}

TEST_CASE(
    "A process that is killed at any exchange goes on where it was: at most one extra order, "
    "no order is finalized twice") {
    // before: the CA never got the request; after: it did, and its answer is lost.
    const bool after = GENERATE(false, true);
    Domain domain = acme_domain({name, "www.example.org"});
    domain.private_keys.push_back({KeySpec::Type::Rsa, 2048, ""});
    int exchanges = 0;
    {
        World world({domain});
        world.run();
        exchanges = world.ca.requests;
    }
    REQUIRE(exchanges > 15);
    for (int killed_at = 1; killed_at <= exchanges; ++killed_at) {
        CAPTURE(killed_at, after);
        World world({domain});
        int count = 0;
        const auto kill = [&] {
            if (++count != killed_at) return;
            world.store.frozen = true;
            throw Killed{};
        };
        if (after) {
            world.ca.after = [&](const HttpRequest&, HttpResponse&) { kill(); };
        } else {
            world.ca.before = [&](const HttpRequest&) {
                kill();
                return std::nullopt;
            };
        }
        CHECK_THROWS_AS(world.run(), Killed);
        world.restart();
        world.run();
        CHECK_FALSE(world.served(name).fallback);
        CHECK(world.ports.served[name].size() == 2);
        CHECK(world.ca.accounts_made == 1);
        CHECK(world.ca.orders_made <= 3);
        CHECK(world.ca.certificates_made == 2);
        for (const auto& [order, times] : world.ca.finalized) CHECK(times == 1);
        CHECK(world.store.names(Group::Staging)->empty());
        CHECK(world.store.names(Group::Challenges)->empty());
    }
}

TEST_CASE("An answer that is lost does not end in a second certificate, and is followed up") {
    struct Case {
        const char* path;
        int orders;
        bool same_attempt;
    };
    const auto one = GENERATE(values<Case>({{"/finalize/", 1, true},
                                            {"/certificate/", 1, true},
                                            {"/new-order", 2, false},
                                            {"/new-account", 1, false},
                                            {"/challenge/", 1, true}}));
    CAPTURE(one.path);
    World world({acme_domain({name})});
    bool lost = false;
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (lost || !contains(request.url, one.path)) return std::nullopt;
        lost = true;
        (void)world.ca.exchange(request);
        return Outcome<HttpResponse>(make_problem(ECONNRESET, "connection reset"));
    };
    world.run();
    CHECK(world.served(name).fallback != one.same_attempt);
    world.live(minutes{2});
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.ca.certificates_made == 1);
    CHECK(world.ca.accounts_made == 1);
    CHECK(world.ca.orders_made == one.orders);
}

TEST_CASE("The CA's own words about each name are kept and told") {
    Domain domain = acme_domain({"a.example.org", "b.example.org", "c.example.org"});
    World world({domain});
    world.ca.refuse_names = {{"b.example.org", "caa"}, {"c.example.org", "connection"}};
    world.run();
    const auto job = world.job("a.example.org");
    REQUIRE(job);
    CHECK(job->errors == 1);
    CHECK(job->last.type == "urn:ietf:params:acme:error:caa");
    CHECK(contains(job->last.detail, "b.example.org: looked at b.example.org"));
    REQUIRE(job->last.subproblems.size() == 2);
    CHECK(job->last.subproblems[1].identifier == "c.example.org");
    CHECK(job->last.subproblems[1].type == "urn:ietf:params:acme:error:connection");
    CHECK(contains(world.engine->status_json("a.example.org"), "looked at c.example.org"));
    CHECK(world.served("a.example.org").fallback);
    CHECK(world.ports.http01_answers.empty());
    CHECK_FALSE(world.store.has(Group::Staging, "a.example.org", "order.json"));
    world.ca.refuse_names.clear();
    world.live(minutes{2});
    CHECK_FALSE(world.served("a.example.org").fallback);
    CHECK(world.ca.orders_made == 2);
}

TEST_CASE("Retry-After is respected, also over a restart (CA-03, CA-06)") {
    const char* path = GENERATE("/dir", "/new-nonce", "/new-account", "/new-order", "/finalize/");
    CAPTURE(path);
    World world({acme_domain({name})});
    int asked = 0;
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (!contains(request.url, path)) return std::nullopt;
        ++asked;
        HttpResponse response = MiniCa::problem(429, "rateLimited", "too many of something");
        response.fields.emplace_back("retry-after", "7200");
        return Outcome<HttpResponse>(response);
    };
    world.run();
    CHECK(asked == 1);
    const auto job = world.job(name);
    REQUIRE(job);
    CHECK(job->last.detail == "too many of something");
    CHECK(*job->next_run >= world.clock.now() + hours{2});
    world.clock.move(hours{1});
    world.restart();
    world.run();
    CHECK(asked == 1);
    world.ca.before = nullptr;
    world.live(hours{3});
    CHECK_FALSE(world.served(name).fallback);
}

TEST_CASE("Whatever the CA answers is a failure with its text kept, never a crash (CA-07, CA-13)") {
    struct Case {
        int status;
        const char* body;
    };
    const auto bad = GENERATE(values<Case>({{500, "<html>broken</html>"},
                                            {502, ""},
                                            {504, "gateway"},
                                            {520, "\x01\xff"},
                                            {418, "teapot"},
                                            {301, ""},
                                            {204, ""},
                                            {200, ""},
                                            {200, "{"},
                                            {200, "[]"},
                                            {200, "{\"status\":1e999}"},
                                            {200, "{\"status\":5,\"status\":6}"},
                                            {200, "null"},
                                            {200, "\"text\""},
                                            {200, "{\"status\":{},\"authorizations\":7}"}}));
    const char* path = GENERATE("/dir", "/new-nonce", "/new-account", "/new-order", "/authz/",
                                "/order/", "/finalize/", "/certificate/");
    CAPTURE(bad.status, bad.body, path);
    World world({acme_domain({name})});
    bool active = true;
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (!active || !contains(request.url, path)) return std::nullopt;
        return Outcome<HttpResponse>(
            HttpResponse{.status = bad.status, .fields = {}, .body = bad.body});
    };
    world.run();
    // An account's or a challenge's answer is not read closely, an empty one is fine there.
    if (world.served(name).fallback) {
        const auto job = world.job(name);
        REQUIRE(job);
        CHECK(job->errors == 1);
        CHECK_FALSE(job->last.detail.empty());
        CHECK(job->next_run);
    }
    active = false;
    world.live(hours{48});
    CHECK_FALSE(world.served(name).fallback);
}

TEST_CASE("Orders with parts missing or foreign are refused (CA-13, CA-24)") {
    const char* what = GENERATE("no finalize", "no status", "no identifiers", "no authorizations",
                                "1001 authorizations", "foreign name", "http URL", "metadata URL",
                                "unknown status");
    CAPTURE(what);
    World world({acme_domain({name})});
    world.ca.after = [&](const HttpRequest& request, HttpResponse& response) {
        if (!contains(request.url, "/new-order")) return;
        Json order = Json::parse(response.body);
        const std::string_view change = what;
        if (change == "no finalize") order.erase("finalize");
        if (change == "no status") order.erase("status");
        if (change == "no identifiers") order.erase("identifiers");
        if (change == "no authorizations") order["authorizations"] = Json::array();
        if (change == "1001 authorizations") {
            for (int i = 0; i < 1001; ++i)
                order["authorizations"].push_back("https://ca/" + std::to_string(i));
        }
        if (change == "foreign name") order["identifiers"][0]["value"] = "evil.example";
        if (change == "http URL") order["finalize"] = "http://ca.example.net/finalize";
        if (change == "metadata URL") order["finalize"] = "https://169.254.169.254/finalize";
        if (change == "unknown status") order["status"] = "sleeping";
        response.body = order.dump();
    };
    world.run();
    CHECK(world.served(name).fallback);
    CHECK(world.job(name)->errors == 1);
    CHECK(world.ca.finalized.empty());
}

TEST_CASE("Authorizations: foreign names, unusable challenges and dead states (CA-25, CA-27)") {
    struct Case {
        const char* what;
        const char* detail;
    };
    const auto one = GENERATE(values<Case>({{"foreign name", "nobody asked for"},
                                            {"dots in token", "no challenge"},
                                            {"empty token", "no challenge"},
                                            {"long token", "no challenge"},
                                            {"unknown types", "dns-persist-01"},
                                            {"no challenges", "no challenge"},
                                            {"deactivated", "deactivated"},
                                            {"expired", "expired"},
                                            {"revoked", "revoked"}}));
    CAPTURE(one.what);
    World world({acme_domain({name})});
    world.ca.after = [&](const HttpRequest& request, HttpResponse& response) {
        if (!contains(request.url, "/authz/") || contains(request.url, "/challenge/")) return;
        Json authz = Json::parse(response.body);
        const std::string_view change = one.what;
        if (change == "foreign name") authz["identifier"]["value"] = "evil.example";
        if (change == "no challenges") authz["challenges"] = Json::array();
        if (change == "deactivated" || change == "expired" || change == "revoked") {
            authz["status"] = one.what;
        }
        for (Json& challenge : authz["challenges"]) {
            if (change == "dots in token") challenge["token"] = "../../etc/passwd";
            if (change == "empty token") challenge["token"] = "";
            if (change == "long token") challenge["token"] = std::string(1000, 'a');
            if (change == "unknown types") challenge["type"] = "dns-persist-01";
        }
        response.body = authz.dump();
    };
    world.run();
    CHECK(world.served(name).fallback);
    CHECK(contains(world.job(name)->last.detail, one.detail));
    CHECK(world.ports.challenges_set_up == 0);
    CHECK(world.store.names(Group::Challenges)->empty());
}

TEST_CASE(
    "A CA that never finishes is given up after five minutes and gone on with (CA-26, CA-31)") {
    const bool authorizing = GENERATE(true, false);
    World world({acme_domain({name})});
    if (authorizing) {
        world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
            if (!contains(request.url, "/challenge/")) return std::nullopt;
            return Outcome<HttpResponse>(HttpResponse{.status = 200, .fields = {}, .body = "{}"});
        };
    } else {
        world.ca.processing_polls = 1'000'000;
    }
    world.run();
    CHECK(world.clock.slept() >= minutes{4});
    CHECK(world.clock.slept() <= minutes{6});
    CHECK(world.job(name)->last.status == 70007);
    CHECK(world.ports.http01_answers.empty());
    world.ca.before = nullptr;
    world.live(hours{1});
    CHECK(world.ca.orders_made == 1);
    CHECK(world.served(name).fallback == !authorizing);
}

TEST_CASE("Polling follows Retry-After; one longer than the phase ends the attempt (CA-31)") {
    const std::string pause = GENERATE("3", "3600");
    World world({acme_domain({name})});
    world.ca.processing_polls = 2;
    world.ca.after = [&](const HttpRequest& request, HttpResponse& response) {
        if (contains(request.url, "/order/")) response.fields.emplace_back("retry-after", pause);
    };
    const base::Time begin = world.clock.now();
    world.run();
    if (pause == "3") {
        CHECK_FALSE(world.served(name).fallback);
        CHECK(world.clock.now() - begin >= seconds{6});
        return;
    }
    CHECK(*world.job(name)->next_run >= world.clock.now() + hours{1});
    world.live(hours{5});
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.ca.orders_made == 1);
}

TEST_CASE("A stored order that died is replaced in the same attempt, once") {
    const bool forgotten = GENERATE(true, false);
    World world({acme_domain({name})});
    world.ca.processing_polls = 1'000'000;
    world.run();
    REQUIRE(world.store.has(Group::Staging, name, "order.json"));
    world.ca.processing_polls = 0;
    if (forgotten) {
        world.ca.forget_orders();
    } else {
        world.ca.after = [&](const HttpRequest& request, HttpResponse& response) {
            if (!contains(request.url, "/order/") || world.ca.orders_made > 1) return;
            Json order = Json::parse(response.body);
            order["status"] = "invalid";
            response.body = order.dump();
        };
    }
    world.live(hours{1});
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.ca.orders_made == 2);
}

TEST_CASE("badCSR ends the order and waits a day (CA-32)") {
    World world({acme_domain({name})});
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (!contains(request.url, "/finalize/")) return std::nullopt;
        return Outcome<HttpResponse>(MiniCa::problem(400, "badCSR", "key too odd"));
    };
    world.run();
    CHECK(world.job(name)->last.detail == "key too odd");
    CHECK(*world.job(name)->next_run > world.clock.now() + hours{11});
    CHECK_FALSE(world.store.has(Group::Staging, name, "order.json"));
}

TEST_CASE("A leaf in DER with a link to its issuer becomes a chain (CA-37)") {
    World world({acme_domain({name})});
    world.ca.der_chain = "yes";
    world.run();
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.served(name).chain.size() == 1);
}

TEST_CASE("A certificate URL that is not ready, or cut, is asked again (CA-39)") {
    World world({acme_domain({name})});
    int times = 0;
    world.ca.after = [&](const HttpRequest& request, HttpResponse& response) {
        if (!contains(request.url, "/certificate/")) return;
        ++times;
        if (times == 1) response = MiniCa::problem(404, "malformed", "not yet");
        if (times == 2) response.body.resize(response.body.size() - 40);
    };
    world.run();
    CHECK(times == 3);
    CHECK_FALSE(world.served(name).fallback);
}

TEST_CASE("A profile is sent as the CA spells it; a mandatory one has to be offered (CA-45)") {
    Domain domain = acme_domain({name});
    domain.profile = "ShortLived";
    domain.profile_mandatory = GENERATE(true, false);
    const bool offered = GENERATE(true, false);
    CAPTURE(domain.profile_mandatory, offered);
    World world({domain});
    world.ca.profiles = {"classic", offered ? "shortlived" : "tiny"};
    world.run();
    if (!offered && domain.profile_mandatory) {
        CHECK(contains(world.job(name)->last.detail, "ShortLived"));
        CHECK(contains(world.job(name)->last.detail, "classic, tiny"));
        CHECK(world.ca.orders_made == 0);
    } else {
        CHECK_FALSE(world.served(name).fallback);
        CHECK(world.ca.last_profile == (offered ? "shortlived" : ""));
    }
}

TEST_CASE("Without a usable challenge it is told what is missing (CA-50)") {
    World world({acme_domain({name})});
    world.settings.http_reachable = false;
    world.restart();
    world.run();
    CHECK(contains(world.job(name)->last.detail, "port 80"));
    CHECK(contains(world.job(name)->last.detail, "tls-alpn-01 needs"));
    CHECK(world.ca.requests == 0);
}

TEST_CASE("After enough failures the next CA of the list is tried") {
    Domain domain = acme_domain({name});
    domain.ca_urls = {"https://dead.example.net/dir", MiniCa::directory_url};
    World world({domain});
    world.settings.retry_failover = 2;
    world.restart();
    int dead = 0;
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (!contains(request.url, "dead")) return std::nullopt;
        ++dead;
        return Outcome<HttpResponse>(make_problem(ECONNREFUSED, "refused"));
    };
    world.live(hours{1});
    CHECK(dead == 2);
    CHECK_FALSE(world.served(name).fallback);
}
