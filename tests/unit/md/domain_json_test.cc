#include "md/domain_json.h"

#include "catch.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;

TEST_CASE("md.json: the smallest domain, byte for byte (mod_md.md 3.6)") {
    StoredDomain stored = stored_domain({"a.example.com", "www.a.example.com"});
    stored.state = DomainState::Incomplete;
    CHECK(domain_to_json(stored) == R"({
  "name": "a.example.com",
  "domains": [
    "a.example.com",
    "www.a.example.com"
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
  "state": 1,
  "renew-mode": 1,
  "renew-window": "33%",
  "warn-window": "10%",
  "must-staple": false,
  "proto": {
    "acme-tls/1": []
  },
  "stapling": false,
  "profile-mandatory": false,
  "ari-renewals": true
})");
}

TEST_CASE("md.json: everything set, byte for byte, and back") {
    StoredDomain stored = stored_domain({"b.example.com"});
    Domain& domain = stored.domain;
    stored.ca_account = "ACME-localhost-0000";
    stored.ca_url = "https://ca.example.net/dir";
    stored.state = DomainState::Error;
    stored.state_description = "error initializing";
    domain.auto_members = false;
    domain.challenges = {"DNS-01", "http-01"};
    domain.private_keys = {{KeySpec::Type::Ec, 0, "P-256"},
                           {KeySpec::Type::Rsa, 3072, ""},
                           {KeySpec::Type::Default, 0, ""}};
    domain.renew_mode = RenewMode::Always;
    domain.renew_window = {0, std::chrono::hours{21 * 24}};
    domain.warn_window = {0, std::chrono::hours{36}};
    domain.require_https = RequireHttps::Permanent;
    domain.must_staple = true;
    domain.acme_tls_names = {"b.example.com"};
    domain.certificate_files = {"/etc/c.pem"};
    domain.certificate_key_files = {"/etc/k.pem"};
    domain.stapling = true;
    domain.challenge_dns01_command = "/bin/dns a b";
    domain.http_proxy = "http://proxy:3128";
    domain.ca_certificate_file = "/etc/ca.pem";
    domain.http_proxy_ca_file = "/etc/proxy.pem";
    domain.external_account = {"kid-1", "aGVsbG8"};
    domain.profile = "shortlived";
    domain.profile_mandatory = true;
    domain.renew_via_ari = false;
    const std::string text = domain_to_json(stored);
    CHECK(text == R"({
  "name": "b.example.com",
  "domains": [
    "b.example.com"
  ],
  "contacts": [
    "mailto:ops@example.org"
  ],
  "transitive": 0,
  "ca": {
    "account": "ACME-localhost-0000",
    "proto": "ACME",
    "url": "https://ca.example.net/dir",
    "urls": [
      "https://ca.example.net/dir"
    ],
    "agreement": "accepted",
    "challenges": [
      "dns-01",
      "http-01"
    ]
  },
  "privkey": [
    {
      "type": "EC",
      "curve": "P-256"
    },
    {
      "type": "RSA",
      "bits": 3072
    },
    {
      "type": "Default"
    }
  ],
  "state": 4,
  "state-descr": "error initializing",
  "renew-mode": 2,
  "renew-window": "21d",
  "warn-window": "36h",
  "require-https": "permanent",
  "must-staple": true,
  "proto": {
    "acme-tls/1": [
      "b.example.com"
    ]
  },
  "cert-files": [
    "/etc/c.pem"
  ],
  "pkey-files": [
    "/etc/k.pem"
  ],
  "stapling": true,
  "cmd-dns-01": "/bin/dns a b",
  "proxy-url": "http://proxy:3128",
  "ca-certs": "/etc/ca.pem",
  "proxy-ca-certs": "/etc/proxy.pem",
  "eab": {
    "kid": "kid-1",
    "hmac": "aGVsbG8"
  },
  "profile": "shortlived",
  "profile-mandatory": true,
  "ari-renewals": false
})");
    const auto read = domain_from_json(text);
    REQUIRE(read.ok());
    CHECK(domain_to_json(read.value()) == text);
    CHECK(read.value().domain.private_keys == domain.private_keys);
}

TEST_CASE("md.json: one key spec is an object, several are an array (310_209)") {
    StoredDomain stored = stored_domain({"a.org"});
    CHECK(domain_to_json(stored).find("privkey") == std::string::npos);
    stored.domain.private_keys = {{KeySpec::Type::Rsa, 4096, ""}};
    const std::string text = domain_to_json(stored);
    CHECK(text.find("\"privkey\": {\n    \"type\": \"RSA\",\n    \"bits\": 4096\n  }") !=
          std::string::npos);
    CHECK(domain_from_json(text).value().domain.private_keys == stored.domain.private_keys);
    stored.domain.private_keys = {{KeySpec::Type::Rsa, 0, ""}};  // "RSA": mod_md fills it in
    CHECK(domain_to_json(stored).find("\"type\": \"RSA\",\n    \"bits\": 2048") !=
          std::string::npos);
}

TEST_CASE("md.json: forms of older versions are read") {
    const auto read = domain_from_json(R"({
        "version": "0.6.1", "name": "A.org", "domains": ["A.org", "a.org", "B.org", 17],
        "ca": { "proto": "ACME", "url": "https://acme-v01.example/dir" },
        "privkey": [ {"type": "RSA", "bits": 1024}, {"type": "quantum"}, {"type": "EC"}, {} ],
        "state": 3, "drive-mode": 1, "renew-window": 1209600, "warn-window": -5,
        "transitive": 0 })");
    REQUIRE(read.ok());
    const StoredDomain& stored = read.value();
    CHECK(stored.domain.name == "a.org");
    CHECK(stored.domain.names == std::vector<std::string>{"a.org", "b.org"});
    CHECK(stored.ca_url == "https://acme-v01.example/dir");
    CHECK(stored.domain.ca_urls == std::vector<std::string>{"https://acme-v01.example/dir"});
    REQUIRE(stored.domain.private_keys.size() == 4);
    CHECK(stored.domain.private_keys[0] == KeySpec{KeySpec::Type::Rsa, 2048, ""});
    CHECK(stored.domain.private_keys[1] == KeySpec{});
    CHECK(stored.domain.private_keys[2] == KeySpec{});
    CHECK(stored.state == DomainState::Complete);  // expired is no state any more
    CHECK(stored.domain.renew_window.text() == "14d");
    CHECK(stored.domain.warn_window.text() == "10%");
    CHECK_FALSE(stored.domain.auto_members);
    CHECK(stored.domain.renew_via_ari);
}

TEST_CASE("md.json: what is none is set aside, and the domain counts as new (ST-08)") {
    const std::string bad[] = {"",
                               "{",
                               "null",
                               "[]",
                               "17",
                               "garbage",
                               std::string(100, '\0'),
                               "{}",
                               R"({"name": 17, "domains": ["a.org"]})",
                               R"({"name": "a.org"})",
                               R"({"name": "a.org", "domains": "a.org"})",
                               R"({"name": "a.org", "domains": []})",
                               R"({"name": "a.org", "domains": [1, 2]})",
                               R"({"name": "a.org", "domains": ["a.org"], "state": NaN})",
                               "{\"name\": \"\xff\xfe\", \"domains\": [\"a.org\"]}",
                               std::string(50'000, '[') + std::string(50'000, ']'),
                               std::string(2 * 1024 * 1024, ' ')};
    for (const std::string& text : bad) {
        INFO(text.substr(0, 60));
        const TempDir dir;
        auto store = open_store(dir / "md");
        write_text(dir / "md/domains/a.org/md.json", text);
        auto loaded = load_domain(*store, Group::Domains, "a.org", noon);
        REQUIRE(loaded.ok());
        CHECK_FALSE(loaded->has_value());
        CHECK(read_text(dir / "md/domains/a.org/md.json.bad-1795348800") == text);
        CHECK(store->aspects(Group::Domains, "a.org").value().size() == 1);
    }
}

TEST_CASE("md.json: wrong types of single members give the default") {
    const auto read = domain_from_json(R"({ "name": "a.org", "domains": ["a.org"], "contacts": 1,
        "transitive": "x", "ca": [], "privkey": 7, "state": 99, "renew-mode": 77,
        "renew-window": {},
        "must-staple": "yes", "proto": 3, "eab": "none", "require-https": true })");
    REQUIRE(read.ok());
    const StoredDomain& stored = read.value();
    CHECK(stored.state == DomainState::Unknown);
    CHECK(stored.domain.renew_mode == RenewMode::Auto);
    CHECK(stored.domain.renew_window == Window{33, {}});
    CHECK(stored.domain.external_account.empty());
    CHECK(stored.domain.auto_members);
}

TEST_CASE("md.json: the directory's name wins over the stale one inside (mod_md.md 2.4)") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    StoredDomain stored = stored_domain({"old.org", "new.org"});
    REQUIRE(save_domain(*store, Group::Domains, stored).ok());
    REQUIRE(store->rename_domain("old.org", "new.org").ok());
    auto loaded = load_domain(*store, Group::Domains, "new.org", noon);
    REQUIRE(loaded.ok());
    REQUIRE(loaded->has_value());
    CHECK(loaded->value().domain.name == "new.org");
    CHECK_FALSE(load_domain(*store, Group::Domains, "missing", noon).value().has_value());
}
