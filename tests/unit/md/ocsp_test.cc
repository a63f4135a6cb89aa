#include "md/ocsp.h"

#include <cerrno>

#include "base/random.h"
#include "catch.h"
#include "md/acme_fixture.h"
#include "md/mini_responder.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

constexpr base::Duration day = hours{24};

std::shared_ptr<const tls::Certificate> certificate_of(const Issuer& issuer,
                                                       std::vector<uint8_t> serial) {
    return make_certificate({.names = {"a.example"},
                             .serial = std::move(serial),
                             .ocsp_url = MiniResponder::ocsp_url,
                             .issuer = &issuer});
}

/// A certificate, and its issuer's responder.
struct Subject {
    explicit Subject(bool rsa = false)
        : issuer(make_issuer({.rsa = rsa, .from = noon - 100 * day})),
          responder(clock, issuer),
          certificate(certificate_of(issuer, {0x04, 0xa1})),
          question(take(OcspQuestion::about(*certificate))) {}

    tls::Der answer(std::span<const uint8_t> with_nonce = {}) {
        return responder.answer(take(question.request(with_nonce)));
    }
    Outcome<OcspAnswer> read(std::span<const uint8_t> bytes) {
        return question.read(bytes, {}, clock.now());
    }
    /// What a question with `nonce` gives.
    Outcome<OcspAnswer> ask() { return question.read(answer(nonce), nonce, clock.now()); }

    FakeClock clock{noon};
    Issuer issuer;
    MiniResponder responder;
    std::shared_ptr<const tls::Certificate> certificate;
    OcspQuestion question;
    const tls::Der nonce = tls::Der(16, 0x5a);
};

void check_refused(const Outcome<OcspAnswer>& answer, int status, const std::string& why) {
    REQUIRE_FALSE(answer);
    CHECK(answer.error().status == status);
    CAPTURE(answer.error().detail);
    CHECK(answer.error().detail.find(why) != std::string::npos);
}

const std::string not_signed = "neither the certificate's issuer nor a responder";

}  // namespace

TEST_CASE("An answer of the issuer's is read, be its key EC or RSA (OC-11)") {
    for (const bool rsa : {false, true}) {
        Subject subject(rsa);
        const tls::Der bytes = subject.answer();
        const OcspAnswer answer = take(subject.read(bytes));
        CHECK(answer.response == bytes);
        CHECK(answer.status == CertificateStatus::Good);
        CHECK(answer.from == noon - hours{1});
        CHECK(answer.until == noon - hours{1} + 7 * day);
        CHECK_FALSE(answer.revoked_at);
        CHECK(answer.reason.empty());
    }
}

TEST_CASE("Without an issuer in the chain there is no question") {
    tls::Certificate alone = *Subject().certificate;
    alone.chain.clear();
    const auto none = OcspQuestion::about(alone);
    REQUIRE_FALSE(none);
    CHECK(none.error().status == EINVAL);
    CHECK(none.error().detail.find("has no chain") != std::string::npos);

    tls::Certificate broken = *Subject().certificate;
    broken.chain.front() = std::make_shared<const tls::Der>(tls::Der{0x30, 0x00});
    CHECK_FALSE(OcspQuestion::about(broken));
    broken = *Subject().certificate;
    broken.leaf.pop_back();
    CHECK_FALSE(OcspQuestion::about(broken));
}

TEST_CASE("A request without a nonce is always the same, one with it has it as an OCTET STRING") {
    Subject subject;
    const tls::Der plain = take(subject.question.request({}));
    CHECK(plain == take(subject.question.request({})));
    const tls::Der longer = take(subject.question.request(subject.nonce));
    tls::Der inside{0x04, 0x10};  // RFC 8954 2.1
    inside.insert(inside.end(), subject.nonce.begin(), subject.nonce.end());
    CHECK(std::search(longer.begin(), longer.end(), inside.begin(), inside.end()) != longer.end());
    CHECK(std::search(plain.begin(), plain.end(), inside.begin(), inside.end()) == plain.end());
}

TEST_CASE("What is cut short or longer than its DER is refused (OC-06)") {
    Subject subject;
    const tls::Der whole = subject.answer();
    REQUIRE(subject.read(whole));
    for (size_t size = 0; size < whole.size(); ++size) {
        CAPTURE(size);
        check_refused(subject.read(std::span(whole).first(size)), EPROTO, "no OCSPResponse");
    }
    tls::Der longer = whole;
    longer.push_back(0);
    check_refused(subject.read(longer), EPROTO, "no OCSPResponse");
}

TEST_CASE("Random bytes, and answers with one bit turned over, are refused (OC-06, OC-11)") {
    Subject subject;
    base::SeededRandom random(42);
    for (int i = 0; i < 2000; ++i) {
        tls::Der bytes(random.below(600));
        random.fill(bytes);
        CHECK_FALSE(subject.read(bytes));
    }
    const tls::Der whole = subject.answer();
    for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
        tls::Der bytes = whole;
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1 << bit % 8));
        auto answer = subject.read(bytes);
        // Bits outside of what is signed, in a certificate that comes along, may change; what the
        // answer says may not.
        if (!answer) continue;
        CAPTURE(bit);
        CHECK(answer->status == CertificateStatus::Good);
        CHECK(answer->from == noon - hours{1});
        CHECK(answer->until == noon - hours{1} + 7 * day);
    }
}

TEST_CASE("DER a thousand deep is refused (OC-06)") {
    Subject subject;
    tls::Der deep;
    for (int i = 0; i < 1000; ++i) {  // SEQUENCE of indefinite length
        deep.push_back(0x30);
        deep.push_back(0x80);
    }
    check_refused(subject.read(deep), EPROTO, "no OCSPResponse");
}

TEST_CASE("A status instead of an answer is told by its name (OC-07)") {
    const std::pair<int, const char*> statuses[] = {
        {1, "malformedRequest"}, {2, "internalError"}, {3, "tryLater"},
        {5, "sigRequired"},      {6, "unauthorized"},  {4, "a status that RFC 6960 does not have"}};
    for (const auto& [code, name] : statuses) {
        Subject subject;
        subject.responder.form.error = code;
        check_refused(subject.ask(), EAGAIN, name);
    }
}

TEST_CASE("An answer about another certificate or issuer is refused (OC-08)") {
    Subject subject;
    const std::string not_ours = "not about this certificate";
    SECTION("another serial") {
        subject.responder.form.other_serial = true;
        check_refused(subject.ask(), EPROTO, not_ours);
    }
    SECTION("another issuer") {
        subject.responder.form.other_issuer = true;
        check_refused(subject.ask(), EPROTO, not_ours);
    }
    SECTION("an id by another digest than asked") {
        subject.responder.form.is_sha256_id = true;
        check_refused(subject.ask(), EPROTO, not_ours);
    }
    SECTION("others only") {
        subject.responder.form.others_first = 3;
        subject.responder.form.other_serial = true;
        check_refused(subject.ask(), EPROTO, not_ours);
    }
    SECTION("that of a sibling, asked by the sibling") {
        const auto sibling = certificate_of(subject.issuer, {0x04, 0xa2});
        const OcspQuestion other = take(OcspQuestion::about(*sibling));
        const tls::Der bytes = subject.answer();
        check_refused(other.read(bytes, {}, noon), EPROTO, not_ours);
    }
}

TEST_CASE("Of several singles ours counts, though it is the last (OC-08)") {
    Subject subject;
    subject.responder.form.others_first = 3;
    subject.responder.verdicts["04A1"] = {.status = CertificateStatus::Revoked};
    CHECK(take(subject.ask()).status == CertificateStatus::Revoked);
    subject.responder.verdicts.clear();
    CHECK(take(subject.ask()).status == CertificateStatus::Good);
}

TEST_CASE("A serial with its high bit set is ours, too (OC-08)") {
    Subject subject;
    const auto high = certificate_of(subject.issuer, {0xff, 0x01});
    CHECK(high->serial == "FF01");
    const OcspQuestion question = take(OcspQuestion::about(*high));
    subject.responder.verdicts["FF01"] = {.status = CertificateStatus::Revoked};
    const tls::Der bytes = subject.responder.answer(take(question.request({})));
    CHECK(take(question.read(bytes, {}, noon)).status == CertificateStatus::Revoked);
}

TEST_CASE("revoked comes with its time and reason (OC-09)") {
    Subject subject;
    const base::Time revoked_at = at("2026-11-20T08:30:00Z");
    for (const std::string reason : {"", "keyCompromise", "superseded", "aACompromise"}) {
        subject.responder.verdicts["04A1"] = {
            .status = CertificateStatus::Revoked, .revoked_at = revoked_at, .reason = reason};
        const OcspAnswer answer = take(subject.ask());
        CHECK(answer.status == CertificateStatus::Revoked);
        CHECK(answer.revoked_at == revoked_at);
        CHECK(answer.reason == (reason.empty() ? "unspecified" : reason));
    }
    CHECK(certificate_status_name(CertificateStatus::Revoked) == "revoked");
    CHECK(certificate_status_name(CertificateStatus::Good) == "good");
    CHECK(certificate_status_name(CertificateStatus::Unknown) == "unknown");
}

TEST_CASE("unknown is no answer (OC-10)") {
    Subject subject;
    subject.responder.verdicts["04A1"] = {.status = CertificateStatus::Unknown};
    check_refused(subject.ask(), ENOENT, "does not know this certificate");
}

TEST_CASE(
    "An unknown that nobody authorized has signed is a bad answer before all (OC-10, OC-11)") {
    Subject subject;
    subject.responder.verdicts["04A1"] = {.status = CertificateStatus::Unknown};
    subject.responder.form.signer = Signer::Foreign;
    check_refused(subject.ask(), EPROTO, not_signed);
}

TEST_CASE("Answers are signed by the issuer or by whom it authorized (OC-11)") {
    for (const bool rsa : {false, true}) {
        Subject subject(rsa);
        subject.responder.form.signer = Signer::Delegate;
        CHECK(take(subject.ask()).status == CertificateStatus::Good);
        for (const Signer signer : {Signer::DelegateWithoutUsage, Signer::DelegateExpired,
                                    Signer::DelegateOfOther, Signer::Foreign}) {
            CAPTURE(rsa, static_cast<int>(signer));
            subject.responder.form.signer = signer;
            check_refused(subject.ask(), EPROTO, not_signed);
        }
    }
}

TEST_CASE("A responder's certificate is judged by our clock, not by the machine's (OC-11)") {
    Subject subject;
    subject.responder.form.signer = Signer::DelegateExpired;
    const tls::Der bytes = subject.answer();
    // The certificate ended a day before noon, the answer begins an hour before.
    check_refused(subject.read(bytes), EPROTO, not_signed);
    subject.responder.form.age = 2 * day;
    const tls::Der older = subject.answer();
    CHECK(subject.question.read(older, {}, noon - day - hours{1}));
    // The issuer's own is as mortal.
    subject.clock.move(4000 * day);
    subject.responder.form = {};
    check_refused(subject.ask(), EPROTO, not_signed);
}

TEST_CASE("A signature that was verified before is not verified again") {
    Subject subject;
    subject.responder.form.signer = Signer::Foreign;
    const tls::Der bytes = subject.answer();
    CHECK_FALSE(subject.question.read(bytes, {}, noon));
    CHECK(subject.question.read(bytes, {}, noon, false));
    // All else is.
    CHECK_FALSE(subject.question.read(bytes, {}, noon + 30 * day, false));
}

TEST_CASE("thisUpdate may be ahead of our clock by five minutes (OC-12)") {
    Subject subject;
    subject.responder.form.age = -minutes{5};
    CHECK(subject.ask());
    subject.responder.form.age = -minutes{5} - seconds{1};
    check_refused(subject.ask(), EPROTO, "not valid before 2026-11-22T12:05:01Z");
}

TEST_CASE("nextUpdate ends an answer's life to the second (OC-12)") {
    Subject subject;
    subject.responder.form.lifetime = hours{2};  // from 11 to 13
    const tls::Der bytes = subject.answer();
    CHECK(subject.question.read(bytes, {}, noon + hours{1} - milliseconds{1}));
    check_refused(subject.question.read(bytes, {}, noon + hours{1}), EPROTO,
                  "out of date since 2026-11-22T13:00:00Z");
}

TEST_CASE("Without nextUpdate an answer lives for 12 hours (OC-12)") {
    Subject subject;
    subject.responder.form.lifetime = std::nullopt;
    const tls::Der bytes = subject.answer();
    CHECK(take(subject.read(bytes)).until == noon + hours{11});
    CHECK(subject.question.read(bytes, {}, noon + hours{11} - seconds{1}));
    CHECK_FALSE(subject.question.read(bytes, {}, noon + hours{11}));
}

TEST_CASE("nextUpdate is after thisUpdate (OC-12)") {
    Subject subject;
    // Ahead of the clock, so that it is not out of date as well.
    subject.responder.form.age = -minutes{4};
    for (const base::Duration lifetime : {base::Duration{-seconds{60}}, base::Duration{0}}) {
        subject.responder.form.lifetime = lifetime;
        check_refused(subject.ask(), EPROTO, "nextUpdate is not later");
    }
    subject.responder.form.lifetime = seconds{1};
    CHECK(subject.ask());
}

TEST_CASE("An answer for ten years is taken (OC-12)") {
    Subject subject;
    subject.responder.form.lifetime = 3650 * day;
    CHECK(take(subject.ask()).until == noon - hours{1} + 3650 * day);
}

TEST_CASE("A nonce may be missing but not another one (OC-14)") {
    Subject subject;
    CHECK(subject.ask());
    subject.responder.form.nonce = NonceReply::Absent;
    CHECK(subject.ask());
    subject.responder.form.nonce = NonceReply::Other;
    check_refused(subject.ask(), EPROTO, "its nonce is another one's");
    // Who sends none takes what a cache has.
    CHECK(subject.read(subject.answer()));
}
