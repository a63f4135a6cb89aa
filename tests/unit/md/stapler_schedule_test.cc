// When the stapler asks: renew windows, back-off, clocks that jump.
#include "md/stapler_fixture.h"

using namespace md;
using namespace md::test;
using namespace md::test::stapling;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

TEST_CASE("It is asked again when the renew window begins, each at a time of its own (OC-18)") {
    struct Row {
        Window window;
        base::Duration lifetime;
        base::Duration begins;  // after thisUpdate, which is an hour ago
        base::Duration spread;
    };
    const Row rows[] = {{{33, {}}, 100 * hours{1}, hours{67}, base::Duration{hours{33}} / 8},
                        {{50, {}}, 100 * hours{1}, hours{50}, base::Duration{hours{50}} / 8},
                        {{0, day}, 5 * day, 4 * day, day / 8},
                        // However long it holds: who revokes wants to be heard before (OC-12).
                        {{33, {}}, 3650 * day, 7 * day + hours{1}, 7 * day / 8 + minutes{8}}};
    for (const Row& row : rows) {
        Bench bench;
        bench.settings.stapling_renew_window = row.window;
        bench.restart();
        bench.responder.form.lifetime = row.lifetime;
        std::vector<CertificatePtr> certificates;
        for (uint8_t i = 0; i < 20; ++i) certificates.push_back(bench.make({.serial = i}));
        bench.watch(certificates);
        CHECK(bench.run() == 20);
        std::set<base::Time> times;
        for (const auto& certificate : certificates) {
            const base::Time due = *bench.stapler->report(*certificate)->refresh_at;
            times.insert(due);
            CHECK(due >= noon - hours{1} + row.begins);
            CHECK(due <= noon - hours{1} + row.begins + row.spread);
        }
        CHECK(times.size() >= 18);
        bench.clock.move(*times.begin() - noon - seconds{1});
        CHECK(bench.run() == 0);
        bench.clock.move(row.spread + seconds{1});
        CHECK(bench.run() == 20);
    }
}

TEST_CASE("Answers that are old already do not make a storm (OC-12)") {
    // A CA that signs for ten years ahead, five years ago.
    Bench bench;
    bench.responder.form.age = 1825 * day;
    bench.responder.form.lifetime = 3650 * day;
    const auto certificate = bench.make();
    bench.watch({certificate});
    bench.live(30 * day);
    CHECK(bench.responder.requests >= 4);
    CHECK(bench.responder.requests <= 6);
    // Also after a restart: an old answer is asked about soon, once.
    bench.restart();
    bench.watch({certificate});
    bench.live(day);
    CHECK(bench.responder.requests <= 7);
}

TEST_CASE("A window longer than the answers' life has them asked for every hour") {
    Bench bench;
    bench.settings.stapling_renew_window = {0, 30 * day};
    bench.restart();
    const auto certificate = bench.make();
    bench.watch({certificate});
    bench.run();
    CHECK(bench.until_due() == hours{1});
    bench.live(day);
    CHECK(bench.responder.requests >= 24);
    CHECK(bench.responder.requests <= 26);
    // Answers that hold for minutes are asked for in time, yet not without a pause.
    bench.responder.form.age = seconds{0};
    bench.responder.form.lifetime = minutes{2};
    bench.live(hours{2});
    CHECK(bench.has_staple(certificate));
    bench.responder.form.lifetime = seconds{5};
    bench.live(hours{1});
    CHECK(bench.until_due() >= seconds{1});
    CHECK(bench.responder.requests < 26 + 200 + 400);
}

TEST_CASE("A responder that fails is asked ever less often") {
    Bench bench;
    bench.cut();
    const auto certificate = bench.make();
    bench.watch({certificate});
    base::Duration expected = bench.settings.retry_delay;
    for (int i = 1; i <= 20; ++i) {
        CAPTURE(i);
        CHECK(bench.run() == 1);
        CHECK(bench.until_due() >= expected / 2);
        CHECK(bench.until_due() <= expected * 3 / 2);
        CHECK(bench.job().errors == i);
        bench.clock.move(bench.until_due());
        expected = std::min<base::Duration>(expected * 2, day);
    }
    bench.mend();
    CHECK(bench.run() == 1);
    CHECK(bench.has_staple(certificate));
    CHECK(bench.job().errors == 0);
    // All begins anew.
    bench.cut();
    bench.live(bench.until_due());
    CHECK(bench.job().errors == 1);
}

TEST_CASE("What the responder asks for with its failure is kept, also over a restart") {
    Bench bench;
    bench.push_away("7200");
    const bool is_must_staple = GENERATE(false, true);
    const auto certificate = bench.make({.must_staple = is_must_staple});
    bench.watch({certificate});
    bench.run();
    CHECK(bench.responder.requests == 1);  // no POST after a GET that was answered so
    CHECK(bench.until_due() == hours{2});
    bench.clock.move(hours{1});
    bench.restart();
    bench.watch({certificate});
    CHECK(bench.run() == 0);
    CHECK(bench.until_due() == hours{1});
    bench.mend();
    bench.clock.move(hours{1});
    CHECK(bench.run() == 1);
    CHECK(bench.has_staple(certificate));
}

TEST_CASE("A pause is of one question, and keeps no other one of its domain back") {
    Bench bench;
    const auto paused = bench.make({.serial = 1});
    const auto other = bench.make({.serial = 2});
    bench.push_away("86400");
    bench.watch({paused});
    CHECK(bench.run() == 1);
    bench.mend();
    bench.watch({paused, other});
    CHECK(bench.run() == 1);
    CHECK(bench.has_staple(other));
    CHECK(bench.job().pauses.size() == 1);
    REQUIRE(bench.store.remove(Group::Ocsp, name, staple_file(*other)));
    bench.restart();
    bench.watch({paused, other});
    CHECK(bench.run() == 1);
    CHECK(bench.has_staple(other));
    CHECK_FALSE(bench.has_staple(paused));
    bench.clock.move(hours{24});
    CHECK(bench.run() == 1);
    CHECK(bench.has_staple(paused));
    CHECK(bench.job().pauses.empty());
}

TEST_CASE("Other settings end a back-off, and no pause that was asked for") {
    Bench bench;
    const bool is_asked_for = GENERATE(false, true);
    const auto certificate = bench.make();
    if (is_asked_for) {
        bench.push_away("7200");
    } else {
        bench.cut();
    }
    bench.watch({certificate});
    CHECK(bench.run() == 1);
    bench.domain.http_proxy = "http://proxy.example:3128";
    bench.watch({certificate});
    CHECK(bench.run() == (is_asked_for ? 0 : 1));
}

TEST_CASE("A pause of a CRL's server is kept over a restart") {
    Bench bench;
    bench.push_away("7200");
    const auto certificate = bench.make({.ocsp = false, .crl = true});
    bench.watch({certificate});
    CHECK(bench.run() == 1);
    bench.restart();
    bench.watch({certificate});
    CHECK(bench.run() == 0);
    CHECK(bench.until_due() == hours{2});
}

TEST_CASE("Plans of a clock that was wrong do not last (PR-15)") {
    Bench bench;
    const auto certificate = bench.make();
    SECTION("it was ahead when the last process ended") {
        bench.cut();
        bench.clock.move(365 * day);
        bench.watch({certificate});
        bench.run();
        bench.clock.move(-365 * day);
        bench.restart();
        bench.mend();
        bench.watch({certificate});
        CHECK(bench.run() == 1);
        CHECK(bench.has_staple(certificate));
    }
    SECTION("it is set back while we run") {
        bench.clock.move(365 * day);
        bench.watch({certificate});
        bench.run();
        bench.clock.move(-365 * day);
        // The answer that we have is of the future, and newer than all that are true.
        CHECK(bench.run() == 1);
        CHECK(bench.job().errors == 0);
        CHECK(bench.stapler->report(*certificate)->from == noon - hours{1});
    }
    SECTION("it jumps ahead") {
        bench.watch({certificate});
        bench.run();
        bench.clock.move(365 * day);
        CHECK_FALSE(bench.has_staple(certificate));
        CHECK(bench.run() == 1);
        CHECK(bench.has_staple(certificate));
    }
}

TEST_CASE("A CRL of a clock that was ahead does not outlast it") {
    Bench bench;
    const auto certificate = bench.make({.ocsp = false, .crl = true});
    bench.clock.move(100 * day);
    bench.watch({certificate});
    bench.run();
    bench.clock.move(-100 * day);
    bench.responder.publish_crl();
    const bool is_restart = GENERATE(false, true);
    if (is_restart) {
        bench.restart();
        bench.watch({certificate});
    }
    CHECK(bench.run() == 1);
    CHECK(bench.job().errors == 0);
    CHECK(bench.stapler->report(*certificate)->from == noon);
}

TEST_CASE("A must-staple certificate without a staple is asked for every five minutes (OC-20)") {
    Bench bench(false);  // also where stapling is off
    bench.cut();
    const auto certificate = bench.make({.must_staple = true});
    bench.watch({certificate});
    for (int i = 0; i < 100; ++i) {
        CHECK(bench.run() == 1);
        REQUIRE(bench.until_due() <= minutes{5});
        bench.clock.move(bench.until_due());
    }
    bench.mend();
    bench.run();
    CHECK(bench.has_staple(certificate));
}

TEST_CASE("A good staple outlives an outage until it ends itself (OC-02, OC-18)") {
    Bench bench;
    const auto certificate = bench.make();
    bench.watch({certificate});
    bench.run();
    const base::Time until = bench.stapler->staple_of(*certificate)->until;
    const int failure = GENERATE(0, 1, 2, 3);
    CAPTURE(failure);
    if (failure == 0) bench.cut();
    if (failure == 1) bench.responder.form.error = 3;  // tryLater
    if (failure == 2) bench.responder.form.signer = Signer::Foreign;
    if (failure == 3) {
        bench.responder.verdicts[certificate->serial].status = CertificateStatus::Unknown;
    }
    while (bench.clock.now() + hours{1} < until) {
        bench.live(hours{1});
        REQUIRE(bench.has_staple(certificate));
        REQUIRE(bench.status(certificate) == "good");
    }
    CHECK(bench.job().errors > 3);
    bench.live(hours{1});
    CHECK_FALSE(bench.has_staple(certificate));
    CHECK(bench.status(certificate) == "unknown");
    // Near its end it is tried more often than the back-off of three days has it.
    bench.mend();
    bench.responder.form = {};
    bench.responder.verdicts.clear();
    bench.live(day * 3 / 2);
    CHECK(bench.has_staple(certificate));
}

TEST_CASE("A responder that comes back shortly before the end is heard in time") {
    Bench bench;
    const auto certificate = bench.make();
    bench.watch({certificate});
    bench.run();
    const base::Time until = bench.stapler->staple_of(*certificate)->until;
    bench.cut();
    bench.live(until - minutes{25} - bench.clock.now());
    bench.mend();
    bench.live(minutes{24});
    REQUIRE(bench.has_staple(certificate));
    CHECK(bench.stapler->staple_of(*certificate)->until > until);
}
