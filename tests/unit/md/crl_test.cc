#include "md/crl.h"

#include <cerrno>

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
const std::string url = MiniResponder::crl_url;

std::shared_ptr<const tls::Certificate> certificate_of(const Issuer& issuer,
                                                       std::vector<CrlPoint> points,
                                                       std::vector<uint8_t> serial = {1}) {
    return make_certificate({.names = {"a.example"},
                             .serial = std::move(serial),
                             .crl_points = std::move(points),
                             .issuer = &issuer});
}

/// A CA, and what it publishes.
struct Subject {
    explicit Subject(bool rsa = false)
        : issuer(make_issuer({.rsa = rsa})),
          responder(clock, issuer),
          issuer_der(*certificate_of(issuer, {})->chain.front()) {}

    Outcome<Crl> read(const tls::Der& der) { return Crl::read(der, issuer_der, url, clock.now()); }
    Outcome<Crl> read() { return read(responder.make_crl()); }

    FakeClock clock{noon};
    Issuer issuer;
    MiniResponder responder;
    tls::Der issuer_der;
};

void check_refused(const Outcome<Crl>& crl, const std::string& why) {
    REQUIRE_FALSE(crl);
    CHECK(crl.error().status == EPROTO);
    CAPTURE(crl.error().detail);
    CHECK(crl.error().detail.find(why) != std::string::npos);
}

std::string url_of(std::vector<CrlPoint> points) {
    static const Issuer issuer = make_issuer();
    return crl_url(*certificate_of(issuer, std::move(points)));
}

}  // namespace

TEST_CASE("A list of the issuer's is read, be its key EC or RSA") {
    for (const bool rsa : {false, true}) {
        Subject subject(rsa);
        subject.responder.crl_form.age = hours{1};
        const Crl crl = take(subject.read());
        CHECK(crl.from() == noon - hours{1});
        CHECK(crl.until() == noon - hours{1} + 7 * day);
        CHECK_FALSE(crl.find("04A1"));
    }
}

TEST_CASE("What is revoked is found with its time and reason") {
    Subject subject;
    const base::Time then = at("2026-11-20T08:30:00Z");
    const auto revoked = [&](const std::string& reason) {
        return Verdict{.status = CertificateStatus::Revoked, .revoked_at = then, .reason = reason};
    };
    subject.responder.verdicts = {{"04A1", revoked("keyCompromise")},
                                  {"04A2", revoked("")},
                                  {"04A3", revoked("certificateHold")},
                                  {"04A4", revoked("removeFromCRL")},
                                  {"04A5", {.status = CertificateStatus::Good}},
                                  {"FF01020304", revoked("superseded")}};
    const Crl crl = take(subject.read());
    const auto found = crl.find("04A1");
    REQUIRE(found);
    CHECK(found->revoked_at == then);
    CHECK(found->reason == "keyCompromise");
    CHECK(crl.find("4A1"));  // the same number
    REQUIRE(crl.find("04A2"));
    CHECK(crl.find("04A2")->reason == "unspecified");
    REQUIRE(crl.find("04A3"));
    CHECK(crl.find("04A3")->reason == "certificateHold");
    CHECK_FALSE(crl.find("04A4"));
    CHECK_FALSE(crl.find("04A5"));
    REQUIRE(crl.find("FF01020304"));  // its high bit makes no negative number of it
    CHECK(crl.find("FF01020304")->reason == "superseded");
    CHECK_FALSE(crl.find("01020304"));
    CHECK_FALSE(crl.find(""));
    CHECK_FALSE(crl.find("no number"));
}

TEST_CASE("A certificate is found by the serial that it has itself") {
    Subject subject;
    for (const std::vector<uint8_t>& serial :
         {std::vector<uint8_t>{0xff, 0x01}, {0x00, 0xab}, {0x7f}, {0x80}}) {
        const auto certificate = certificate_of(subject.issuer, {}, serial);
        subject.responder.verdicts.clear();
        subject.responder.verdicts[certificate->serial] = {.status = CertificateStatus::Revoked};
        CAPTURE(certificate->serial);
        CHECK(take(subject.read()).find(certificate->serial));
    }
}

TEST_CASE("What is no list, cut short or longer than its DER is refused") {
    Subject subject;
    subject.responder.verdicts["04A1"] = {.status = CertificateStatus::Revoked};
    const tls::Der whole = subject.responder.make_crl();
    REQUIRE(subject.read(whole));
    for (size_t size = 0; size < whole.size(); ++size) {
        CAPTURE(size);
        check_refused(subject.read(tls::Der(whole.data(), whole.data() + size)),
                      "no CertificateList");
    }
    tls::Der longer = whole;
    longer.push_back(0);
    check_refused(subject.read(longer), "no CertificateList");
    for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
        tls::Der bytes = whole;
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1 << bit % 8));
        CAPTURE(bit);
        CHECK_FALSE(subject.read(bytes));
    }
}

TEST_CASE("A list that the issuer has not signed is refused") {
    Subject subject;
    SECTION("a CA that calls itself as the issuer does") {
        subject.responder.crl_form.signer = Signer::Foreign;
        check_refused(subject.read(), "has not signed it");
    }
    SECTION("another CA") {
        MiniResponder other(subject.clock, make_issuer({.name = "Other"}));
        check_refused(subject.read(other.make_crl()), "not of the certificate's issuer");
    }
    SECTION("an issuer that is none") {
        const auto broken =
            Crl::read(subject.responder.make_crl(), tls::Der{0x30, 0x00}, url, noon);
        REQUIRE_FALSE(broken);
        CHECK(broken.error().status == EINVAL);
    }
}

TEST_CASE("A list that is not about all certificates naming its URL is refused") {
    Subject subject;
    CrlForm& form = subject.responder.crl_form;
    SECTION("its own point") {
        form.point_url = url;
        CHECK(subject.read());
    }
    SECTION("another point") {
        form.point_url = "http://crl.example.net/2.crl";
        check_refused(subject.read(), "it is that of http://crl.example.net/2.crl");
    }
    SECTION("CAs only") {
        form.only_ca = true;
        check_refused(subject.read(), "not about servers' certificates");
    }
    SECTION("attribute certificates only") {
        form.only_attributes = true;
        check_refused(subject.read(), "not about servers' certificates");
    }
    SECTION("indirect") {
        form.indirect = true;
        check_refused(subject.read(), "an indirect one");
    }
    SECTION("some reasons") {
        form.some_reasons = true;
        check_refused(subject.read(), "some reasons only");
    }
    SECTION("delta") {
        form.delta = true;
        check_refused(subject.read(), "a delta only");
    }
    SECTION("a critical extension that is unknown (RFC 5280 5.2)") {
        form.unknown_critical = true;
        check_refused(subject.read(), "a critical extension");
    }
}

TEST_CASE("A list is refused before and after its time") {
    Subject subject;
    CrlForm& form = subject.responder.crl_form;
    form.age = -minutes{5};
    CHECK(subject.read());
    form.age = -minutes{5} - seconds{1};
    check_refused(subject.read(), "not valid before 2026-11-22T12:05:01Z");

    form.age = hours{1};
    form.lifetime = hours{2};
    const tls::Der der = subject.responder.make_crl();
    CHECK(Crl::read(der, subject.issuer_der, url, noon + hours{1} - milliseconds{1}));
    check_refused(Crl::read(der, subject.issuer_der, url, noon + hours{1}),
                  "out of date since 2026-11-22T13:00:00Z");
    form.lifetime = std::nullopt;
    check_refused(subject.read(), "when the next one comes");
}

TEST_CASE("A certificate's CRL is at its first http URL for all reasons and of its issuer") {
    CHECK(url_of({}).empty());
    CHECK(url_of({{.urls = {url}}}) == url);
    CHECK(url_of({{.urls = {"https://a.example/1"}}, {.urls = {url}}}) == "https://a.example/1");
    CHECK(url_of({{.urls = {"ldap://a.example/cn=a"}}}).empty());
    CHECK(url_of({{.urls = {"httpx://a.example/1", "http:/a.example/1", "http"}}}).empty());
    // A scheme's case says nothing (RFC 3986 3.1).
    CHECK(url_of({{.urls = {"LDAP://a.example/cn=a", "HTTP://a.example/A"}}}) ==
          "HTTP://a.example/A");
    CHECK(url_of({{.urls = {"HttpS://a.example/1"}}}) == "HttpS://a.example/1");
    CHECK(url_of({{.urls = {"ldap://a.example/cn=a", url}}}) == url);
    CHECK(url_of({{.urls = {"ldap://a.example/cn=a"}}, {.urls = {url}}}) == url);
    CHECK(url_of({{.urls = {"http://a.example/1"}, .some_reasons = true}, {.urls = {url}}}) == url);
    CHECK(url_of({{.urls = {"http://a.example/1"}, .other_issuer = true}, {.urls = {url}}}) == url);
    CHECK(url_of({{.urls = {"http://a.example/1"}, .some_reasons = true}}).empty());
    CHECK(crl_url(tls::Certificate{}).empty());
}
