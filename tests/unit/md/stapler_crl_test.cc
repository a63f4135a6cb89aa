// Whom the stapler asks about what; CRLs.
#include "md/stapler_fixture.h"

using namespace md;
using namespace md::test;
using namespace md::test::stapling;
using std::chrono::hours;

TEST_CASE("Who is asked about what, by settings and by what a certificate names") {
    struct Row {
        RevocationCheck check;
        bool stapling;
        bool ocsp;
        bool crl;
        int ocsp_requests;
        int crl_requests;
        bool is_told;
    };
    using enum RevocationCheck;
    const Row rows[] = {
        {Auto, true, true, false, 1, 0, true},   {Auto, true, false, true, 0, 1, true},
        {Auto, true, true, true, 1, 0, true},    {Auto, false, true, false, 1, 0, true},
        {Auto, false, false, true, 0, 1, true},  {Auto, false, true, true, 1, 0, true},
        {Ocsp, true, true, false, 1, 0, true},   {Ocsp, true, false, true, 0, 0, false},
        {Ocsp, true, true, true, 1, 0, true},    {Ocsp, false, true, false, 1, 0, true},
        {Ocsp, false, false, true, 0, 0, false}, {Ocsp, false, true, true, 1, 0, true},
        {Crl, true, true, false, 1, 0, true},    {Crl, true, false, true, 0, 1, true},
        {Crl, true, true, true, 1, 1, true},     {Crl, false, true, false, 0, 0, false},
        {Crl, false, false, true, 0, 1, true},   {Crl, false, true, true, 0, 1, true},
        {Off, true, true, false, 1, 0, false},   {Off, true, false, true, 0, 0, false},
        {Off, true, true, true, 1, 0, false},    {Off, false, true, true, 0, 0, false}};
    for (const Row& row : rows) {
        CAPTURE(static_cast<int>(row.check), row.stapling, row.ocsp, row.crl);
        Bench bench(row.stapling);
        bench.domain.revocation_check = row.check;
        const auto good = bench.make({.ocsp = row.ocsp, .crl = row.crl});
        bench.watch({good});
        bench.run();
        CHECK(bench.responder.ocsp_gets == row.ocsp_requests);
        CHECK(bench.responder.crl_gets == row.crl_requests);
        CHECK(bench.has_staple(good) == (row.stapling && row.ocsp));
        const bool is_asked = row.ocsp_requests + row.crl_requests > 0;
        CHECK(bench.status(good) == (is_asked ? "good" : "none"));
        if (is_asked) {
            const auto report = bench.stapler->report(*good);
            CHECK(report->is_stapled == (row.stapling && row.ocsp));
            CHECK(report->is_crl == (row.ocsp_requests == 0));
        }
        const auto bad = bench.make({.serial = 2, .ocsp = row.ocsp, .crl = row.crl});
        bench.revoke(bad);
        bench.responder.publish_crl();
        bench.watch({bad});
        bench.run();
        CHECK_FALSE(bench.has_staple(bad));
        CHECK(bench.status(bad) == (is_asked ? "revoked" : "none"));
        CHECK(bench.listener.revoked.empty() != row.is_told);
    }
}

TEST_CASE("Of a responder and a CRL the one that warns is believed") {
    Bench bench;
    bench.domain.revocation_check = RevocationCheck::Crl;
    const auto certificate = bench.make({.crl = true});
    bench.revoke(certificate);
    bench.responder.publish_crl();
    bench.responder.verdicts.clear();  // the responder has not heard of it
    bench.watch({certificate});
    bench.live(30 * day);
    CHECK(bench.status(certificate) == "good");  // in the end the list is another one
    CHECK(bench.listener.revoked.size() >= 1);
    CHECK(bench.port.changes.size() > 2);
}

TEST_CASE("A CRL is fetched once for all that name it") {
    Bench bench;
    bench.domain.revocation_check = RevocationCheck::Crl;
    bench.domain.stapling = false;
    const auto first = bench.make({.crl = true});
    const auto second = bench.make({.serial = 2, .crl = true});
    bench.watch({first, second});
    CHECK(bench.run() == 1);
    CHECK(bench.responder.crl_gets == 1);
    CHECK(bench.status(first) == "good");
    CHECK(bench.status(second) == "good");

    // It is looked at again within hours; what did not change is not sent again.
    CHECK(bench.until_due() >= hours{6});
    CHECK(bench.until_due() <= hours{7});
    bench.live(hours{7});
    CHECK(bench.responder.crl_gets == 2);
    CHECK(bench.responder.crls_unchanged == 1);
    CHECK(bench.job().errors == 0);

    // A certificate that comes later is looked up at once, in the whole list.
    const auto third = bench.make({.serial = 3, .crl = true});
    Domain other = bench.domain;
    other.name = "b.example";
    bench.stapler->watch(other, {third});
    CHECK(bench.status(third) == "unknown");
    CHECK(bench.run() == 1);
    CHECK(bench.responder.crl_gets == 3);
    CHECK(bench.responder.crls_unchanged == 1);
    CHECK(bench.status(third) == "good");
    CHECK(bench.status(first) == "good");

    // One that goes does not take it away from the others, nor does its domain.
    bench.watch({});
    bench.revoke(third, "superseded");
    bench.responder.publish_crl();
    bench.live(hours{7});
    CHECK(bench.listener.revoked == std::vector<std::string>{"b.example 1003 superseded"});
    CHECK(bench.job("b.example").finished);
    bench.stapler->watch(other, {});
    CHECK_FALSE(bench.stapler->next_due());
}

TEST_CASE("Of two issuers that name the same CRL URL each has its own list") {
    Bench bench(false);
    const Issuer other = make_issuer({.name = "E2"});
    MiniResponder other_responder(bench.clock, other);
    const auto ours = bench.make({.ocsp = false, .crl = true});
    // Of the same serial: what one issuer says of it is nothing about the other's.
    const auto theirs = bench.make({.ocsp = false, .crl = true, .issuer = &other});
    bench.revoke(ours);
    bench.watch({ours, theirs});
    CHECK(bench.run() == 2);
    CHECK(bench.responder.crl_gets == 2);
    CHECK(bench.status(ours) == "revoked");
    CHECK(bench.status(theirs) == "unknown");
    CHECK(bench.stapler->report(*ours)->renewal->errors == 0);
    CHECK(bench.stapler->report(*theirs)->renewal->last.detail.find(
              "not of the certificate's issuer") != std::string::npos);
    CHECK(bench.store.has(Group::Ocsp, "other",
                          crl_file(MiniResponder::crl_url, *ours->chain.front())));
    CHECK_FALSE(bench.store.has(Group::Ocsp, "other",
                                crl_file(MiniResponder::crl_url, *theirs->chain.front())));

    // The URL gives the other's list now: that is nothing new about ours.
    (void)other_responder.make_crl();  // so that its ETag is another one
    bench.responder.before = [&](const HttpRequest& request) {
        return std::optional(other_responder.exchange(request));
    };
    bench.live(hours{8});
    CHECK(bench.status(ours) == "revoked");
    CHECK(bench.status(theirs) == "good");
    CHECK(bench.stapler->report(*ours)->renewal->errors > 0);
    CHECK(bench.stapler->report(*theirs)->renewal->errors == 0);
    CHECK(bench.store.has(Group::Ocsp, "other",
                          crl_file(MiniResponder::crl_url, *theirs->chain.front())));
}

TEST_CASE("A certificate that comes while its CRL is read is looked up in the next") {
    Bench bench(false);
    const auto first = bench.make({.ocsp = false, .crl = true});
    const auto second = bench.make({.serial = 2, .ocsp = false, .crl = true});
    bench.watch({first});
    bench.responder.before = [&](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        bench.watch({first, second});
        bench.responder.before = nullptr;
        return std::nullopt;
    };
    CHECK(bench.run() == 2);
    CHECK(bench.status(second) == "good");
}

TEST_CASE("What CRLs said is known after a restart") {
    Bench bench(false);
    const auto good = bench.make({.ocsp = false, .crl = true});
    const auto bad = bench.make({.serial = 2, .ocsp = false, .crl = true});
    bench.watch({good});
    bench.run();
    bench.restart();
    bench.watch({good});
    CHECK(bench.status(good) == "good");
    CHECK(bench.run() == 0);
    bench.revoke(bad, "superseded");
    bench.responder.publish_crl();
    bench.watch({good, bad});
    CHECK(bench.run() == 1);
    bench.restart();
    bench.cut();
    bench.watch({good, bad});
    CHECK(bench.status(good) == "good");
    const auto report = bench.stapler->report(*bad);
    CHECK(report->status == "revoked");
    CHECK(report->reason == "superseded");
    CHECK(report->is_crl);
    bench.run();
    CHECK(bench.listener.revoked.size() == 2);
    // A file that is none, or out of date, is no finding.
    const std::string file = crl_file(MiniResponder::crl_url, *good->chain.front());
    REQUIRE(bench.store.has(Group::Ocsp, "other", file));
    SECTION("no file of ours") {
        REQUIRE(bench.store.save(Group::Ocsp, "other", file, "{\"valid\": 3}"));
    }
    SECTION("out of date") {
        bench.clock.move(8 * day);
    }
    bench.restart();
    bench.mend();
    bench.watch({good});
    CHECK(bench.status(good) == "unknown");
    bench.live(day * 3 / 2);  // within its pause
    CHECK(bench.status(good) == "good");
}

TEST_CASE("What a CRL said that the disk did not take is saved when it can be") {
    Bench bench;
    bench.store.read_only = true;
    const auto certificate = bench.make({.ocsp = false, .crl = true});
    bench.watch({certificate});
    CHECK(bench.run() == 1);
    CHECK(bench.until_due() == hours{1});
    bench.store.read_only = false;
    bench.live(hours{1} + std::chrono::minutes{1});
    CHECK(bench.responder.crl_gets == 1);
    bench.cut();
    bench.restart();
    bench.watch({certificate});
    CHECK(bench.status(certificate) == "good");
}

TEST_CASE("What a CRL said is known under other settings") {
    Bench bench;
    const auto good = bench.make({.ocsp = false, .crl = true});
    const auto bad = bench.make({.serial = 2, .ocsp = false, .crl = true});
    bench.revoke(bad);
    bench.watch({good, bad});
    CHECK(bench.run() == 1);
    bench.cut();
    bench.domain.http_proxy = "http://proxy.example:3128";
    bench.watch({good, bad});
    CHECK(bench.status(good) == "good");
    CHECK(bench.status(bad) == "revoked");
}

TEST_CASE("A certificate that is off the hold is good again") {
    Bench bench;
    const auto certificate = bench.make({.ocsp = false, .crl = true});
    bench.revoke(certificate, "certificateHold");
    bench.watch({certificate});
    bench.run();
    REQUIRE(bench.stapler->report(*certificate)->revoked_at);
    bench.responder.verdicts.clear();
    bench.clock.move(day);
    bench.run();
    CHECK(bench.status(certificate) == "good");
    CHECK_FALSE(bench.stapler->report(*certificate)->revoked_at);
}

TEST_CASE("A CRL that is older than ours, or not its issuer's, is ignored") {
    Bench bench(false);
    const auto certificate = bench.make({.ocsp = false, .crl = true});
    bench.watch({certificate});
    bench.run();
    bench.clock.move(hours{7});
    bench.revoke(certificate);
    std::string why;
    SECTION("older") {
        bench.responder.crl_form.age = hours{8};
        why = "ignored";
    }
    SECTION("foreign") {
        bench.responder.crl_form.signer = Signer::Foreign;
        why = MiniResponder::crl_url;
    }
    bench.responder.publish_crl();
    CHECK(bench.run() == 1);
    CHECK(bench.status(certificate) == "good");
    CHECK(bench.listener.revoked.empty());
    CHECK(bench.job().errors == 1);
    CAPTURE(bench.job().last.detail);
    CHECK(bench.job().last.detail.find(why) != std::string::npos);
}
