// What the stapler believes, keeps and hands on, and whom it tells.
#include "md/stapler_fixture.h"

using namespace md;
using namespace md::test;
using namespace md::test::stapling;
using std::chrono::hours;
using std::chrono::seconds;

namespace {

/// What mod_md would have written: nothing says that it was verified.
std::string without_proof(const std::string& text) {
    std::string error;
    Json json = parse_json(text, error);
    json.erase("verified-sha256");
    return json_text(json);
}

}  // namespace

TEST_CASE("The first answer is asked for at once, kept, and handed on") {
    Bench bench;
    const auto certificate = bench.make();
    bench.watch({certificate});
    CHECK_FALSE(bench.has_staple(certificate));
    CHECK(bench.status(certificate) == "unknown");
    CHECK(bench.run() == 1);
    const auto staple = bench.stapler->staple_of(*certificate);
    REQUIRE(staple);
    CHECK(staple->until == noon - hours{1} + 7 * day);
    CHECK_FALSE(staple->response.empty());
    CHECK(bench.port.changes == std::vector<std::string>{name + " 1001"});
    CHECK(bench.listener.reports == std::vector<std::string>{name});
    CHECK(bench.listener.revoked.empty());
    const auto report = bench.stapler->report(*certificate);
    REQUIRE(report);
    CHECK(report->status == "good");
    CHECK(report->from == noon - hours{1});
    CHECK(report->until == staple->until);
    CHECK(report->url == MiniResponder::ocsp_url);
    CHECK(report->is_stapled);
    CHECK_FALSE(report->is_crl);
    CHECK(report->last_success == noon);
    CHECK(bench.run() == 0);
    CHECK(bench.responder.requests == 1);
}

TEST_CASE("An answer that is older than ours is ignored (OC-13)") {
    Bench bench;
    const auto certificate = bench.make();
    bench.watch({certificate});
    bench.run();
    const auto staple = bench.stapler->staple_of(*certificate);
    bench.clock.move(bench.until_due());
    bench.responder.form.age = bench.clock.now() - noon + hours{2};
    CHECK(bench.run() == 1);
    CHECK(bench.stapler->staple_of(*certificate) == staple);
    CHECK(bench.job().errors == 1);
    CHECK(bench.job().last.detail.find("ignored") != std::string::npos);
}

TEST_CASE("A stored answer is used from the start, without a request") {
    Bench bench;
    const auto certificate = bench.make();
    bench.watch({certificate});
    bench.run();
    const tls::Der response = bench.stapler->staple_of(*certificate)->response;
    bench.clock.move(day);
    SECTION("ours") {}
    SECTION("mod_md's, once verified") {
        bench.store_answer(certificate, without_proof(bench.stored(certificate)));
    }
    bench.restart();
    bench.watch({certificate});
    REQUIRE(bench.has_staple(certificate));
    CHECK(bench.stapler->staple_of(*certificate)->response == response);
    CHECK(bench.run() == 0);
    CHECK(bench.responder.requests == 1);
    CHECK(bench.until_due() > 3 * day);
}

TEST_CASE("A stored answer that cannot be used is asked for anew (OC-15)") {
    Bench bench;
    const auto certificate = bench.make();
    const auto other = bench.make({.serial = 2});
    const int fault = GENERATE(range(0, 9));
    CAPTURE(fault);
    bench.watch({certificate, other});
    if (fault == 6) bench.responder.form.signer = Signer::Foreign;
    if (fault == 7) bench.clock.move(day);
    if (fault != 6) bench.run();
    if (fault == 6) {
        // mod_md takes whatever it is given (mod_md.md 6.3).
        auto question = take(OcspQuestion::about(*certificate));
        const tls::Der foreign = bench.responder.answer(take(question.request({})));
        bench.responder.form.signer = Signer::Issuer;
        Json json;
        json["response"] = base::base64url(foreign);
        json["status"] = "good";
        bench.store_answer(certificate, json_text(json));
    }
    const std::string good = bench.stored(certificate);
    if (fault == 0) bench.store_answer(certificate, "");
    if (fault == 1) bench.store_answer(certificate, "{");
    if (fault == 2) bench.store_answer(certificate, "{\"response\": 1}");
    if (fault == 3) bench.store_answer(certificate, "{\"response\": \"????\"}");
    if (fault == 4) bench.store_answer(certificate, bench.stored(other));
    if (fault == 5) bench.clock.move(8 * day);   // it is over
    if (fault == 7) bench.clock.move(-2 * day);  // its time has not come
    if (fault == 8) {                            // a digit of its time fell over
        std::string error;
        Json json = parse_json(good, error);
        auto bytes = *base::from_base64url(string_at(json, {"response"}));
        const std::string year = "2026";
        const auto digits = std::search(bytes.begin(), bytes.end(), year.begin(), year.end());
        REQUIRE(digits != bytes.end());
        digits[12] ^= 1;  // its seconds
        json["response"] = base::base64url(bytes);
        bench.store_answer(certificate, json_text(json));
    }
    bench.restart();
    bench.watch({certificate});
    CHECK_FALSE(bench.has_staple(certificate));
    CHECK(bench.run() == 1);
    CHECK(bench.has_staple(certificate));
    CHECK(bench.stored(certificate) != (fault < 5 || fault == 8 ? "" : good));
}

TEST_CASE("A certificate that goes while it is asked about leaves nothing behind (OC-17)") {
    Bench bench;
    const auto old = bench.make();
    const auto fresh = bench.make({.serial = 2});
    bench.watch({old});
    bench.responder.before = [&](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        bench.watch({fresh});
        bench.responder.before = nullptr;  // ends the captures, too
        return std::nullopt;
    };
    SECTION("for another one") {
        CHECK(bench.run() == 2);
        CHECK(bench.has_staple(fresh));
    }
    SECTION("and comes back meanwhile: that answer is not taken, and asked for again") {
        bench.responder.before = [&](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
            bench.watch({});
            bench.watch({old});
            bench.responder.before = nullptr;
            return std::nullopt;
        };
        CHECK(bench.run() == 2);
        CHECK(bench.has_staple(old));
        bench.watch({fresh});
        bench.run();
        CHECK_FALSE(bench.stapler->report(*old));
        return;
    }
    CHECK_FALSE(bench.has_staple(old));
    CHECK(bench.stored(old).empty());
    CHECK_FALSE(bench.stapler->report(*old));
    for (const std::string& change : bench.port.changes) CHECK(change == name + " 1002");
}

TEST_CASE("Nothing is asked where there is nobody to ask (OC-01)") {
    Bench bench;
    const auto certificate = bench.make({.ocsp = false});
    auto fallback = tls::make_fallback_certificate({name}, noon);
    REQUIRE(fallback);
    bench.watch({certificate, *fallback});
    CHECK_FALSE(bench.stapler->next_due());
    CHECK(bench.run() == 0);
    CHECK_FALSE(bench.stapler->report(*certificate));
    CHECK(bench.stapler->rows().empty());
    CHECK_FALSE(take(load_job(bench.store, Group::Ocsp, name, noon)));
}

TEST_CASE("URLs that are not for us are an error without a request (OC-19)") {
    Bench bench;
    const std::string url = GENERATE(as<std::string>{}, "ldap://ca.example.net/",
                                     "file:///etc/passwd", "http://" + std::string(4096, 'a'));
    const auto certificate = bench.make({.ocsp_url = url});
    bench.watch({certificate});
    CHECK(bench.run() == 1);
    CHECK(bench.responder.requests == 0);
    CHECK(bench.job().last.detail.find("is not called") != std::string::npos);
    CHECK(bench.stapler->report(*certificate)->renewal->errors == 1);
}

TEST_CASE("A revoked certificate is not stapled, and told (OC-09)") {
    Bench bench;
    const auto certificate = bench.make();
    bench.watch({certificate});
    bench.run();
    CHECK(bench.has_staple(certificate));
    bench.clock.move(bench.until_due());
    bench.revoke(certificate);
    const base::Time when = bench.clock.now();
    bench.run();
    CHECK_FALSE(bench.has_staple(certificate));
    CHECK(bench.listener.revoked == std::vector<std::string>{name + " 1001 keyCompromise"});
    CHECK(bench.port.changes.size() == 2);
    const auto report = bench.stapler->report(*certificate);
    CHECK(report->status == "revoked");
    CHECK(report->reason == "keyCompromise");
    CHECK(report->revoked_at == std::chrono::floor<seconds>(when));
    // Whoever was not told before the process ended is told by the next, even if nobody answers.
    bench.restart();
    bench.cut();
    bench.watch({certificate});
    CHECK_FALSE(bench.has_staple(certificate));
    CHECK(bench.run() == 1);
    CHECK(bench.listener.revoked.size() == 2);
}

TEST_CASE("Programs hear of staples, within their limits, and only where there are some") {
    Bench bench;
    bench.settings.message_command = "tell";
    bench.settings.stapling_renew_window = {0, 30 * day};  // asked every hour
    bench.restart();
    const auto certificate = bench.make();
    SECTION("where there are some") {
        bench.watch({certificate});
        bench.run();
        CHECK(bench.commands.lines() == std::vector<std::string>{"tell ocsp-renewed " + name});
        bench.live(hours{30});
        CHECK(bench.commands.count("tell ocsp-renewed " + name) == 2);
        bench.restart();  // the limits stand in job.json
        bench.watch({certificate});
        bench.live(hours{2});
        CHECK(bench.commands.count("tell ocsp-renewed " + name) == 2);
        bench.cut();
        bench.live(day);
        CHECK(bench.commands.count("tell ocsp-errored " + name) >= 3);
        CHECK(bench.commands.count("tell ocsp-errored " + name) <= 24);
        const auto& calls = bench.commands.calls;
        for (size_t i = 1; i < calls.size(); ++i) CHECK(calls[i].domain == name);
        // A program that fails changes nothing.
        bench.mend();
        bench.commands.on_run = [](const Command&) {
            return CommandResult{CommandResult::End::Exited, 1, ""};
        };
        bench.live(2 * day);
        CHECK(bench.has_staple(certificate));
        CHECK(bench.job().errors == 0);
    }
    SECTION("not where only the status is asked for") {
        bench.domain.stapling = false;
        bench.watch({certificate});
        bench.live(day);
        bench.cut();
        bench.live(day);
        CHECK(bench.commands.calls.empty());
    }
}

TEST_CASE("job.json tells what happened (mod_md's says that all went well)") {
    Bench bench;
    const auto certificate = bench.make();
    bench.watch({certificate});
    bench.run();
    Job job = bench.job();
    CHECK(job.finished);
    CHECK(job.errors == 0);
    CHECK(job.last.status == 0);
    CHECK(job.last_run == noon);
    CHECK(job.next_run >= *bench.stapler->next_due());
    CHECK(*job.next_run - *bench.stapler->next_due() < seconds{1});
    bench.clock.move(bench.until_due());
    bench.push_away("600");
    bench.run();
    job = bench.job();
    CHECK_FALSE(job.finished);
    CHECK(job.errors == 1);
    CHECK(job.last.detail.find("status 503") != std::string::npos);
    CHECK(*job.next_run - *bench.stapler->next_due() < seconds{1});
    REQUIRE_FALSE(job.log.empty());
    const auto is_error = [](const LogEntry& entry) { return entry.type == "ocsp-error"; };
    CHECK(std::count_if(job.log.begin(), job.log.end(), is_error) == 1);
    bench.mend();
    bench.clock.move(bench.until_due());
    bench.run();
    CHECK(bench.job().finished);
    CHECK(bench.job().errors == 0);
}

TEST_CASE("A certificate of two domains is asked about once, and both are told") {
    Bench bench(false);
    const auto certificate = bench.make();
    Domain other = bench.domain;
    other.name = "b.example";
    other.stapling = true;
    bench.watch({certificate});
    bench.run();
    CHECK_FALSE(bench.has_staple(certificate));
    // The second wants a staple: the first only its status.
    bench.stapler->watch(other, {certificate});
    CHECK(bench.run() == 1);
    CHECK(bench.has_staple(certificate));
    CHECK(bench.stapler->rows().size() == 2);
    bench.port.changes.clear();
    bench.clock.move(bench.until_due());
    bench.revoke(certificate);
    CHECK(bench.run() == 1);
    CHECK(bench.port.changes == std::vector<std::string>{name + " 1001", "b.example 1001"});
    CHECK(bench.listener.revoked ==
          std::vector<std::string>{name + " 1001 keyCompromise", "b.example 1001 keyCompromise"});
    bench.responder.verdicts.clear();
    bench.responder.form.age = seconds{0};
    bench.clock.move(bench.until_due());
    bench.run();
    CHECK(bench.has_staple(certificate));

    // The first goes: the other has it to itself, with its staple.
    bench.port.changes.clear();
    bench.watch({});
    CHECK(bench.has_staple(certificate));
    bench.clock.move(bench.until_due());
    CHECK(bench.run() == 1);
    CHECK(bench.port.changes == std::vector<std::string>{"b.example 1001"});
    CHECK(bench.job("b.example").finished);
    CHECK(bench.job("b.example").last_run == std::chrono::floor<seconds>(bench.clock.now()));
    bench.stapler->watch(other, {});
    CHECK_FALSE(bench.stapler->next_due());
    CHECK_FALSE(bench.stapler->report(*certificate));
}

TEST_CASE("Of two domains the one that wants staples may go") {
    Bench bench;
    const auto certificate = bench.make();
    Domain other = bench.domain;
    other.name = "b.example";
    other.stapling = false;
    bench.watch({certificate});
    bench.stapler->watch(other, {certificate});
    bench.run();
    CHECK(bench.has_staple(certificate));
    bench.watch({});
    CHECK_FALSE(bench.has_staple(certificate));
    CHECK(bench.status(certificate) == "good");
    bench.stapler->watch(other, {});
    CHECK_FALSE(bench.stapler->next_due());
}

TEST_CASE("Other settings count at once") {
    Bench bench;
    const auto certificate = bench.make();
    bench.watch({certificate});
    bench.run();
    bench.domain.stapling = false;
    bench.watch({certificate});
    CHECK_FALSE(bench.has_staple(certificate));
    CHECK(bench.run() == 0);
    bench.domain.revocation_check = RevocationCheck::Off;
    bench.watch({certificate});
    CHECK_FALSE(bench.stapler->next_due());
    bench.domain.stapling = true;
    bench.watch({certificate});
    CHECK(bench.has_staple(certificate));  // of the store
    CHECK(bench.responder.requests == 1);
    bench.domain.http_proxy = "http://proxy.example:3128";
    bench.watch({certificate});
    std::string proxy;
    bench.responder.before = [&](const HttpRequest& request) {
        proxy = request.proxy;
        return std::nullopt;
    };
    bench.clock.move(bench.until_due());
    bench.run();
    CHECK(proxy == bench.domain.http_proxy);
}

TEST_CASE("To watch nothing, or the same again, does nothing") {
    Bench bench;
    bench.watch({});
    CHECK_FALSE(bench.stapler->next_due());
    const auto certificate = bench.make();
    bench.watch({certificate, certificate});
    CHECK(bench.stapler->rows().size() == 1);
    CHECK(bench.run() == 1);
    const auto due = bench.stapler->next_due();
    const auto staple = bench.stapler->staple_of(*certificate);
    bench.watch({certificate});
    CHECK(bench.stapler->next_due() == due);
    CHECK(bench.stapler->staple_of(*certificate) == staple);
    CHECK(bench.run() == 0);
}

TEST_CASE("A store that cannot be written keeps nobody from having a staple") {
    Bench bench;
    bench.store.read_only = true;
    const auto certificate = bench.make();
    bench.watch({certificate});
    CHECK(bench.run() == 1);
    CHECK(bench.has_staple(certificate));
    CHECK(bench.stapler->report(*certificate)->renewal->errors == 0);
}

TEST_CASE("A staple that the disk did not take outlives other settings") {
    Bench bench;
    bench.store.read_only = true;
    const auto certificate = bench.make();
    bench.watch({certificate});
    CHECK(bench.run() == 1);
    bench.cut();
    bench.domain.http_proxy = "http://proxy.example:3128";
    bench.watch({certificate});
    CHECK(bench.has_staple(certificate));
    CHECK(bench.run() == 0);  // not due before its time
}

TEST_CASE("What the disk did not take is saved when it can be, and nobody is asked for it again") {
    Bench bench;
    bench.store.read_only = true;
    const auto certificate = bench.make();
    bench.watch({certificate});
    CHECK(bench.run() == 1);
    CHECK(bench.until_due() == std::chrono::hours{1});
    bench.live(std::chrono::hours{3});
    SECTION("under the same settings") {}
    SECTION("under others") {
        bench.domain.http_proxy = "http://proxy.example:3128";
        bench.watch({certificate});
    }
    bench.store.read_only = false;
    bench.live(std::chrono::hours{2});
    CHECK(bench.responder.requests == 1);
    CHECK(bench.until_due() > std::chrono::hours{24});
    bench.cut();
    bench.restart();
    bench.watch({certificate});
    CHECK(bench.has_staple(certificate));
}

TEST_CASE("A staple obtained for a swap while the disk takes nothing is saved later") {
    Bench bench;
    bench.store.read_only = true;
    const auto certificate = bench.make();
    CHECK(bench.stapler->obtain(bench.domain, certificate));
    bench.watch({certificate});
    bench.store.read_only = false;
    bench.cut();
    bench.live(std::chrono::hours{2});
    bench.restart();
    bench.watch({certificate});
    CHECK(bench.has_staple(certificate));
}

TEST_CASE("A second domain with the same certificate finds the staple in the store") {
    Bench bench;
    const auto certificate = bench.make();
    bench.watch({certificate});
    CHECK(bench.run() == 1);
    bench.cut();
    bench.restart();
    Domain plain = bench.domain;
    plain.name = "plain.example";
    plain.stapling = false;
    bench.stapler->watch(plain, {certificate});
    CHECK_FALSE(bench.has_staple(certificate));
    bench.watch({certificate});
    CHECK(bench.has_staple(certificate));
    // Other settings of the one that wants it take it from nobody.
    bench.domain.http_proxy = "http://proxy.example:3128";
    bench.watch({certificate});
    CHECK(bench.has_staple(certificate));
}

TEST_CASE("A site's file that a domain has now keeps its staple over a restart") {
    Bench bench;
    const auto certificate = bench.make();
    Domain others = bench.domain;
    others.name = other_owner;
    bench.stapler->watch(others, {certificate});
    CHECK(bench.run() == 1);
    bench.restart();
    bench.watch({certificate});
    CHECK(bench.has_staple(certificate));
    CHECK(bench.run() == 0);
}

TEST_CASE("A staple is obtained before its certificate is served, and there when it is") {
    Bench bench;
    const auto certificate = bench.make();
    CHECK(bench.stapler->obtain(bench.domain, certificate));
    CHECK(bench.responder.requests == 1);
    CHECK(bench.stapler->obtain(bench.domain, certificate));
    CHECK(bench.responder.requests == 1);
    CHECK_FALSE(bench.has_staple(certificate));
    bench.watch({certificate});
    CHECK(bench.has_staple(certificate));
    CHECK(bench.run() == 0);
    CHECK(bench.stapler->obtain(bench.domain, certificate));
    CHECK(bench.responder.requests == 1);
    bench.restart();  // … or in the store
    bench.cut();
    CHECK(bench.stapler->obtain(bench.domain, certificate));
}

TEST_CASE("What cannot be obtained is told") {
    Bench bench;
    const auto fails_with = [&](const CertificatePtr& certificate, const std::string& why) {
        const auto outcome = bench.stapler->obtain(bench.domain, certificate);
        REQUIRE_FALSE(outcome);
        CAPTURE(outcome.error().detail);
        CHECK(outcome.error().detail.find(why) != std::string::npos);
    };
    const auto bad = bench.make({.serial = 2});
    bench.revoke(bad);
    fails_with(bad, "is revoked (keyCompromise)");
    bench.cut();
    fails_with(bench.make(), "Connection refused");
    fails_with(bench.make({.ocsp = false, .must_staple = true}), "must_staple = false");
    // Nothing is to be had, and nothing is needed.
    CHECK(bench.stapler->obtain(bench.domain, bench.make({.ocsp = false})));
    bench.domain.stapling = false;
    CHECK(bench.stapler->obtain(bench.domain, bench.make()));
}

TEST_CASE("Old answers are removed, and nothing else (mod_md.md 6.6)") {
    FakeClock clock(noon);
    MemoryStore store(clock);
    const auto save = [&](const std::string& owner, const std::string& file) {
        REQUIRE(store.save(Group::Ocsp, owner, file, "{}"));
    };
    for (const char* owner : {"a.example", "other"}) {
        save(owner, "ocsp-00.json");
        save(owner, "ocsp.json");
        save(owner, "crl-00.json");
        save(owner, "job.json");
        save(owner, "ocsp-00.txt");
    }
    clock.move(hours{1});
    save("a.example", "ocsp-11.json");
    CHECK(remove_old_staples(store, {}, 7 * day, noon + 7 * day) == 0);
    CHECK(remove_old_staples(store, {}, 7 * day, noon + 7 * day + seconds{1}) == 6);
    CHECK(take(store.aspects(Group::Ocsp, "a.example")) ==
          std::vector<std::string>{"job.json", "ocsp-00.txt", "ocsp-11.json"});
    CHECK(take(store.aspects(Group::Ocsp, "other")) ==
          std::vector<std::string>{"job.json", "ocsp-00.txt"});
}

TEST_CASE("An answer that is in use stays in the store, however old it is") {
    Bench bench;
    bench.responder.form.lifetime = 30 * day;
    const auto certificate = bench.make();
    const auto former = bench.make({.serial = 2});
    bench.watch({certificate, former});
    bench.run();
    bench.cut();
    bench.clock.move(10 * day);
    for (int starts = 0; starts < 2; ++starts) {
        bench.restart();
        bench.watch({certificate});
        CHECK(bench.has_staple(certificate));
        bench.stapler->remove_old();
    }
    CHECK(bench.stored(former).empty());
    bench.watch({certificate, former});
    CHECK(bench.has_staple(certificate));
    CHECK_FALSE(bench.has_staple(former));
}
