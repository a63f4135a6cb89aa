#include "md/status_json.h"

#include <cerrno>

#include "base/text.h"
#include "catch.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;

namespace {

std::shared_ptr<const tls::Certificate> certificate(const PairOptions& options) {
    const Pair pair = make_pair(options);
    auto read = tls::read_certificate(pair.chain, pair.key);
    REQUIRE(read.ok());
    return read.value();
}

/// The text with what differs from run to run replaced.
std::string with_fingerprints(std::string text,
                              const std::vector<std::shared_ptr<const tls::Certificate>>& all) {
    for (size_t i = 0; i < all.size(); ++i) {
        const std::string print = base::hex(all[i]->sha256);
        for (size_t at; (at = text.find(print)) != std::string::npos;) {
            text.replace(at, print.size(), fmt::format("<print {}>", i));
        }
    }
    return text;
}

DomainStatus plain(const std::string& name) {
    DomainStatus status;
    status.stored = stored_domain({name});
    status.stored.state = DomainState::Incomplete;
    return status;
}

}  // namespace

TEST_CASE("md-status: no domains, byte for byte") {
    CHECK(md_status_list({}) == "{\n  \"version\": \"mdfront/" MDFRONT_VERSION "\"\n}");
}

TEST_CASE("md-status: one object, byte for byte (mod_md.md 7.1)") {
    DomainStatus status = plain("shop.example.net");
    status.stored.state = DomainState::Complete;
    status.stored.domain.private_keys = {{KeySpec::Type::Ec, 0, "P-256"}};
    status.stored.domain.external_account = {"kid-1", "c2VjcmV0"};
    const auto served = certificate({.names = {"shop.example.net"},
                                     .from = at("2026-10-05T10:00:00Z"),
                                     .serial = {0x84, 0xa1},
                                     .authority_key_id = {1, 2, 3},
                                     .ca_issuers = "http://e1.example.net/"});
    const auto staged = certificate({.names = {"shop.example.net"}});
    StapleReport staple;
    staple.status = "good";
    staple.from = noon;
    staple.until = noon + std::chrono::hours{24 * 7};
    staple.url = "http://ocsp.example.net";
    staple.is_stapled = true;
    staple.has_staple = true;
    status.served = {{"P-256", served, staple}};
    status.staged = {{"P-256", staged, {}}};
    status.renew_at = at("2026-12-04T17:12:00Z");
    status.watched = true;
    Job job;
    job.name = "shop.example.net";
    job.last_run = noon;
    job.errors = 1;
    job.last = make_problem(ECONNREFUSED, "no answer");
    job.note(noon, "renewal-error", "", "no answer");
    status.job = job;
    CHECK(with_fingerprints(md_status(status), {served, staged}) == R"({
  "name": "shop.example.net",
  "domains": [
    "shop.example.net"
  ],
  "contacts": [
    "mailto:ops@example.org"
  ],
  "transitive": 1,
  "ca": {
    "proto": "ACME",
    "urls": [
      "https://ca.example.net/dir"
    ],
    "agreement": "accepted"
  },
  "privkey": {
    "type": "EC",
    "curve": "P-256"
  },
  "state": 2,
  "renew-mode": 1,
  "renew-window": "33%",
  "warn-window": "10%",
  "must-staple": false,
  "proto": {
    "acme-tls/1": []
  },
  "stapling": false,
  "eab": {
    "kid": "kid-1",
    "hmac": "***"
  },
  "profile-mandatory": false,
  "ari-renewals": true,
  "cert": {
    "P-256": {
      "issuer-name": "/C=XX/O=Example/CN=E1",
      "issuer-uri": "http://e1.example.net/",
      "valid": {
        "from": "Mon, 05 Oct 2026 10:00:00 GMT",
        "until": "Sun, 03 Jan 2027 10:00:00 GMT"
      },
      "serial": "84A1",
      "sha256-fingerprint": "<print 0>",
      "ari-cert-id": "AQID.AISh",
      "ocsp": {
        "status": "good",
        "valid": {
          "from": "Sun, 22 Nov 2026 12:00:00 GMT",
          "until": "Sun, 29 Nov 2026 12:00:00 GMT"
        },
        "responder": "http://ocsp.example.net",
        "stapled": true
      }
    },
    "valid": {
      "from": "Mon, 05 Oct 2026 10:00:00 GMT",
      "until": "Sun, 03 Jan 2027 10:00:00 GMT"
    }
  },
  "renew-at": "Fri, 04 Dec 2026 17:12:00 GMT",
  "watched": true,
  "renew": true,
  "renewal": {
    "name": "shop.example.net",
    "finished": false,
    "notified": false,
    "notified-renewed": false,
    "last-run": "Sun, 22 Nov 2026 12:00:00 GMT",
    "errors": 1,
    "last": {
      "status": 111,
      "status-description": "Connection refused",
      "detail": "no answer"
    },
    "log": {
      "entries": [
        {
          "when": "Sun, 22 Nov 2026 12:00:00 GMT",
          "type": "renewal-error",
          "detail": "no answer"
        }
      ]
    },
    "cert": {
      "P-256": {
        "issuer-name": "/C=XX/O=Example/CN=E1",
        "valid": {
          "from": "Sun, 22 Nov 2026 12:00:00 GMT",
          "until": "Sat, 20 Feb 2027 12:00:00 GMT"
        },
        "serial": "04A1",
        "sha256-fingerprint": "<print 1>"
      },
      "valid": {
        "from": "Sun, 22 Nov 2026 12:00:00 GMT",
        "until": "Sat, 20 Feb 2027 12:00:00 GMT"
      }
    }
  }
})");
}

TEST_CASE("md-status: the list is sorted and without logs (920_004)") {
    DomainStatus b = plain("b.org");
    b.job = Job{};
    b.job->name = "b.org";
    b.job->note(noon, "starting", "", "");
    const DomainStatus all[] = {b, plain("a.org")};
    const std::string text = md_status_list(all);
    const std::string expected_start = "{\n  \"version\": \"mdfront/" MDFRONT_VERSION
                                       "\",\n  \"managed-domains\": [\n    {\n      \"name\": "
                                       "\"a.org\",\n";
    CHECK(text.substr(0, expected_start.size()) == expected_start);
    CHECK(text.find("\"name\": \"b.org\"") != std::string::npos);
    CHECK(text.find("\"log\"") == std::string::npos);
    CHECK(text.find("\"cert\": {},\n      \"watched\": false\n    }") != std::string::npos);
    CHECK(md_status(b).find("\"log\"") != std::string::npos);
}

TEST_CASE("md-status: due without a job says renew, an internal error its number") {
    DomainStatus status = plain("a.org");
    CHECK(md_status(status).find("\"renew\"") == std::string::npos);
    status.renewal_due = true;
    status.error = EIO;
    CHECK_THAT(md_status(status), Catch::Matchers::ContainsSubstring("\"renew\": true") &&
                                      Catch::Matchers::ContainsSubstring("\"error\": 5") &&
                                      !Catch::Matchers::ContainsSubstring("\"renewal\""));
}

TEST_CASE("md-status: valid is what all certificates share; static ones are numbered") {
    DomainStatus status = plain("a.org");
    status.served = {
        {"0", certificate({.names = {"a.org"}, .from = noon}), {}},
        {"1", certificate({.names = {"a.org"}, .from = noon - std::chrono::hours{24 * 30}}), {}},
        {"2", nullptr, {}}};
    const std::string text = md_status(status);
    CHECK_THAT(text, Catch::Matchers::ContainsSubstring("\"0\": {") &&
                         Catch::Matchers::ContainsSubstring("\"1\": {") &&
                         !Catch::Matchers::ContainsSubstring("\"2\": {"));
    const size_t at = text.rfind("\"valid\"");
    CHECK_THAT(text.substr(at, 200),
               Catch::Matchers::ContainsSubstring("\"from\": \"Sun, 22 Nov 2026") &&
                   Catch::Matchers::ContainsSubstring("\"until\": \"Thu, 21 Jan 2027"));
}

TEST_CASE("ari-cert-id: the example of RFC 9773 4.1, serial with its leading zero") {
    // RFC 9773 4.1: key identifier 69:88:5B:6B:…, serial 00:87:65:43:21.
    const auto example = certificate(
        {.names = {"a.org"},
         .serial = {0x87, 0x65, 0x43, 0x21},
         .authority_key_id = {0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3,
                              0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4}});
    CHECK(ari_certificate_id(*example) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    const auto small =
        certificate({.names = {"a.org"}, .serial = {0x04, 0xa1}, .authority_key_id = {1, 2, 3}});
    CHECK(ari_certificate_id(*small) == "AQID.BKE");
    CHECK(ari_certificate_id(*certificate({.names = {"a.org"}})).empty());
    CHECK(ari_certificate_id(tls::Certificate{}).empty());
}

TEST_CASE("certificate-status: byte for byte, before, while and after (920_001, mod_md.md 7.2)") {
    DomainStatus status = plain("a.org");
    CHECK(certificate_status(status) == "{\n  \"rsa\": {}\n}");
    status.job = Job{};
    CHECK(certificate_status(status) ==
          "{\n  \"rsa\": {},\n  \"renewal\": {\n    \"cert\": {}\n  }\n}");
    const auto first = certificate({.names = {"a.org"}});
    const auto second = certificate({.names = {"a.org"}, .serial = {0x17}});
    status.served = {{"rsa", first, {}}};
    status.staged = {{"rsa", second, {}}};
    CHECK(with_fingerprints(certificate_status(status), {first, second}) == R"({
  "valid": {
    "from": "Sun, 22 Nov 2026 12:00:00 GMT",
    "until": "Sat, 20 Feb 2027 12:00:00 GMT"
  },
  "rsa": {
    "valid": {
      "from": "Sun, 22 Nov 2026 12:00:00 GMT",
      "until": "Sat, 20 Feb 2027 12:00:00 GMT"
    },
    "serial": "04A1",
    "sha256-fingerprint": "<print 0>"
  },
  "renewal": {
    "cert": {
      "rsa": {
        "valid": {
          "from": "Sun, 22 Nov 2026 12:00:00 GMT",
          "until": "Sat, 20 Feb 2027 12:00:00 GMT"
        },
        "serial": "17",
        "sha256-fingerprint": "<print 1>"
      }
    }
  }
})");
    // Static files have other names than key specs: as in mod_md, nothing is said of them.
    status = plain("a.org");
    status.served = {{"0", first, {}}};
    CHECK(certificate_status(status) == "{\n  \"rsa\": {}\n}");
}

TEST_CASE("What the CA says of a certificate: all in md-status, what handshakes show for all") {
    DomainStatus status = plain("a.org");
    StapleReport report;
    report.status = "revoked";
    report.from = noon;
    report.until = noon + std::chrono::hours{24};
    report.url = "http://crl.example.net/1.crl";
    report.is_crl = true;
    report.refresh_at = noon + std::chrono::hours{6};
    report.revoked_at = noon;
    report.reason = "keyCompromise";
    report.last_success = noon;
    report.renewal.emplace();
    report.renewal->name = "a.org";
    report.renewal->errors = 2;
    report.renewal->last = make_problem(EPROTO, "secret detail");
    status.served = {{"rsa", certificate({.names = {"a.org"}}), report}};
    const std::string all = md_status(status);
    CHECK_THAT(
        all,
        Catch::Matchers::ContainsSubstring("\"crl\": \"http://crl.example.net/1.crl\"") &&
            Catch::Matchers::ContainsSubstring("\"stapled\": false") &&
            Catch::Matchers::ContainsSubstring(
                "\"refresh-at\": \"Sun, 22 Nov 2026 18:00:00 GMT\"") &&
            Catch::Matchers::ContainsSubstring("\"answered\": \"Sun, 22 Nov 2026 12:00:00 GMT\"") &&
            Catch::Matchers::ContainsSubstring(
                "\"revoked-at\": \"Sun, 22 Nov 2026 12:00:00 GMT\"") &&
            Catch::Matchers::ContainsSubstring("\"reason\": \"keyCompromise\"") &&
            Catch::Matchers::ContainsSubstring("\"errors\": 2") &&
            Catch::Matchers::ContainsSubstring("secret detail"));
    const std::string shown = certificate_status(status);
    CHECK_THAT(shown, Catch::Matchers::ContainsSubstring(
                          "    \"ocsp\": {\n      \"status\": \"revoked\",\n"
                          "      \"valid\": {\n"));
    CHECK_THAT(shown, !Catch::Matchers::ContainsSubstring("secret detail") &&
                          !Catch::Matchers::ContainsSubstring("crl.example.net"));
}
