// A store that was damaged, opened to others or left half-way: each is told of, with the file, and
// only what cannot lose anything is repaired.
#include <sys/stat.h>

#include <functional>

#include "catch.h"
#include "md/acme_account.h"
#include "md/job.h"
#include "md/store_check.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;
using Severity = Finding::Severity;

namespace {

const std::string account_id = "ACME-ca.example.net-0000";

/// Two domains (one of them with two former sets), an account, and nothing to complain about.
void make_good_store(const std::string& path) {
    auto store = open_store(path);
    Account account{.id = account_id,
                    .status = "valid",
                    .url = "https://ca.example.net/acct/1",
                    .ca_url = "https://ca.example.net/dir",
                    .contacts = {"mailto:ops@example.org"},
                    .agreement = {},
                    .orders = {},
                    .external_account = {},
                    .key = AccountKey::generate().value()};
    REQUIRE(save_account(*store, account).ok());
    const base::Secret key = account.key.pem().value();
    REQUIRE(store->save_key(Group::Accounts, account_id, "account.pem", key.text()).ok());
    for (const char* name : {"a.test", "b.test"}) {
        StoredDomain stored = stored_domain({name, std::string("www.") + name});
        stored.ca_account = account_id;
        const Pair pair = make_pair({.names = stored.domain.names});
        save_set(*store, Group::Domains, stored, {pair});
    }
    StoredDomain stored = stored_domain({"a.test", "www.a.test"});
    for (int i = 0; i < 2; ++i) {
        save_set(*store, Group::Tmp, stored, {make_pair({.names = stored.domain.names})});
        REQUIRE(store->activate_tmp("a.test").ok());
    }
}

StoreReport check(const std::string& path, bool fix = false,
                  base::Time now = noon + std::chrono::hours{24}) {
    SystemFiles files;
    base::SystemClock clock;
    auto report = check_store(path, files, clock, {.now = now, .fix = fix});
    if (!report.ok()) FAIL(report.error().message());
    return std::move(report).value();
}

std::string listed(const StoreReport& report) {
    std::string text;
    for (const Finding& finding : report.findings) {
        text += fmt::format("{} {}: {}; {}{}\n", severity_name(finding.severity), finding.path,
                            finding.what, finding.advice, finding.is_fixed ? " [fixed]" : "");
    }
    return text;
}

const Finding* find(const StoreReport& report, const std::string& path, std::string_view words) {
    for (const Finding& finding : report.findings) {
        if (finding.path == path && finding.what.find(words) != std::string::npos) return &finding;
    }
    return nullptr;
}

void make_directory(const std::string& path) {
    REQUIRE(::mkdir(path.c_str(), 0700) == 0);
}

/// As the store writes: nobody else may read it.
void put(const std::string& path, std::string_view text) {
    write_text(path, text);
    REQUIRE(::chmod(path.c_str(), 0600) == 0);
}

enum class Fix : uint8_t { None, Done };

struct Damage {
    const char* name;
    std::function<void(const TempDir&)> make;
    Severity severity;
    const char* path;
    const char* words;
    Fix fix = Fix::None;
};

const std::string dead_temporary = ".tmp.2147483646.1";

const std::vector<Damage>& damages() {
    static const std::vector<Damage> all = {
        {"a key that belongs to another certificate",
         [](const TempDir& dir) {
             put(dir / "domains/a.test/privkey.pem", make_pair({.names = {"a.test"}}).key);
         },
         Severity::Error, "domains/a.test/pubcert.pem", "privkey.pem"},
        {"a chain cut short",
         [](const TempDir& dir) {
             const std::string path = dir / "domains/a.test/pubcert.pem";
             put(path, read_text(path).substr(0, 200));
         },
         Severity::Error, "domains/a.test/pubcert.pem", "privkey.pem"},
        {"a key that is gone",
         [](const TempDir& dir) { std::filesystem::remove(dir / "domains/a.test/privkey.pem"); },
         Severity::Error, "domains/a.test/pubcert.pem", "is missing"},
        {"a key with a second name",
         [](const TempDir& dir) {
             std::filesystem::create_hard_link(dir / "domains/a.test/privkey.pem",
                                               dir.path() + ".stolen");
         },
         Severity::Error, "domains/a.test/privkey.pem", "hard link"},
        {"md.json that is garbage",
         [](const TempDir& dir) { put(dir / "domains/a.test/md.json", "{\"name\": "); },
         Severity::Error, "domains/a.test/md.json", "not JSON", Fix::Done},
        {"md.json without names",
         [](const TempDir& dir) { put(dir / "domains/a.test/md.json", "{\"name\":\"a.test\"}"); },
         Severity::Error, "domains/a.test/md.json", "domains", Fix::Done},
        {"md.json that is gone",
         [](const TempDir& dir) { std::filesystem::remove(dir / "domains/a.test/md.json"); },
         Severity::Error, "domains/a.test", "has no md.json"},
        {"md.json of another domain",
         [](const TempDir& dir) {
             put(dir / "domains/a.test/md.json", domain_to_json(stored_domain({"other.test"})));
         },
         Severity::Warning, "domains/a.test/md.json", "a.test is not among"},
        {"a certificate that lacks a name",
         [](const TempDir& dir) {
             put(dir / "domains/a.test/md.json",
                 domain_to_json(stored_domain({"a.test", "new.a.test"})));
         },
         Severity::Warning, "domains/a.test/pubcert.pem", "does not cover new.a.test"},
        {"job.json that is too large",
         [](const TempDir& dir) {
             put(dir / "domains/a.test/job.json", std::string(2 * 1024 * 1024, ' '));
         },
         Severity::Error, "domains/a.test/job.json", "1 MiB", Fix::Done},
        {"ari.json that is garbage",
         [](const TempDir& dir) { put(dir / "domains/a.test/ari.json", "]"); }, Severity::Error,
         "domains/a.test/ari.json", "not JSON"},
        {"a symbolic link in place of a key",
         [](const TempDir& dir) {
             std::filesystem::remove(dir / "domains/a.test/privkey.pem");
             std::filesystem::create_symlink("/etc/passwd", dir / "domains/a.test/privkey.pem");
         },
         Severity::Error, "domains/a.test/privkey.pem", "symbolic link"},
        {"a pipe in place of a file",
         [](const TempDir& dir) {
             REQUIRE(::mkfifo((dir / "domains/a.test/x.json").c_str(), 0600) == 0);
         },
         Severity::Error, "domains/a.test/x.json", "neither a file nor a directory"},
        {"an account whose key was encrypted with another secret",
         [](const TempDir& dir) {
             TempDir other;
             make_good_store(other.path());
             put(dir / ("accounts/" + account_id + "/account.pem"),
                 read_text(other / ("accounts/" + account_id + "/account.pem")));
         },
         Severity::Error, "accounts/ACME-ca.example.net-0000/account.pem", "decrypted"},
        {"an account without its key",
         [](const TempDir& dir) {
             std::filesystem::remove(dir / ("accounts/" + account_id + "/account.pem"));
         },
         Severity::Error, "accounts/ACME-ca.example.net-0000", "account.pem"},
        {"an account without its URL",
         [](const TempDir& dir) {
             put(dir / ("accounts/" + account_id + "/account.json"), "{\"status\":\"valid\"}");
         },
         Severity::Error, "accounts/ACME-ca.example.net-0000", "url"},
        {"an account that a domain uses and that is not there",
         [](const TempDir& dir) { std::filesystem::remove_all(dir / ("accounts/" + account_id)); },
         Severity::Warning, "domains/b.test/md.json", "is not there"},
        {"a job that lies",
         [](const TempDir& dir) {
             make_directory(dir / "staging");
             make_directory(dir / "staging/a.test");
             put(dir / "staging/a.test/job.json",
                 "{\"name\":\"a.test\",\"finished\":true,\"notified-renewed\":true}");
         },
         Severity::Warning, "staging/a.test/job.json", "is not there"},
        {"an order that is none",
         [](const TempDir& dir) {
             make_directory(dir / "staging");
             make_directory(dir / "staging/a.test");
             put(dir / "staging/a.test/order.json", "{}");
         },
         Severity::Warning, "staging/a.test/order.json", "no order"},
        {"an activation that stopped between its two renames",
         [](const TempDir& dir) {
             std::filesystem::rename(dir / "domains/a.test", dir / "tmp/a.test");
         },
         Severity::Error, "tmp/a.test", "activation stopped", Fix::Done},
        {"a file that was being written",
         [](const TempDir& dir) { put(dir / ("domains/a.test/" + dead_temporary), "half"); },
         Severity::Warning, "domains/a.test/.tmp.2147483646.1", "being written", Fix::Done},
        {"a store that others can read",
         [](const TempDir& dir) {
             REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
             REQUIRE(::chmod((dir / "domains/a.test/privkey.pem").c_str(), 0644) == 0);
         },
         Severity::Warning, "", "2 files and directories", Fix::Done},
        {"md_store.json that is garbage",
         [](const TempDir& dir) { put(dir / "md_store.json", "{"); }, Severity::Error,
         "md_store.json", "not JSON"},
        {"md_store.json that is gone",
         [](const TempDir& dir) { std::filesystem::remove(dir / "md_store.json"); },
         Severity::Error, "md_store.json", "is missing"},
        {"a store of a version to come",
         [](const TempDir& dir) {
             put(dir / "md_store.json", "{\"store\":{\"version\":4.0},\"key\":\"\"}");
         },
         Severity::Error, "md_store.json", "version 4.0"},
        {"a file where a group belongs", [](const TempDir& dir) { put(dir / "ocsp", ""); },
         Severity::Error, "ocsp", "where a directory belongs"},
    };
    return all;
}

struct Remark {
    const char* name;
    std::function<void(const TempDir&)> make;
    const char* path;
    const char* words;
};

const std::vector<Remark>& remarks() {
    static const std::vector<Remark> all = {
        {"a stray file", [](const TempDir& dir) { put(dir / "domains/a.test/notes.txt", "x"); },
         "domains/a.test/notes.txt", "is nothing that mdfront knows"},
        {"a stray directory", [](const TempDir& dir) { make_directory(dir / "backup"); }, "backup",
         "is nothing that mdfront knows"},
        {"what was put aside",
         [](const TempDir& dir) { put(dir / "domains/a.test/job.json.bad-1790000000", "{"); },
         "domains/a.test/job.json.bad-1790000000", "put aside"},
        {"mod_md's stray job in tmp",
         [](const TempDir& dir) {
             make_directory(dir / "tmp/a.test");
             put(dir / "tmp/a.test/job.json", "{}");
         },
         "tmp/a.test", "without a certificate"},
        {"a challenge",
         [](const TempDir& dir) {
             make_directory(dir / "challenges");
             make_directory(dir / "challenges/a.test");
             put(dir / "challenges/a.test/acme-http-01.txt", "token.thumb");
         },
         "challenges/a.test", "challenge"},
        {"a key type that was given up",
         [](const TempDir& dir) {
             const Pair pair = make_pair({.names = {"a.test"}});
             put(dir / "domains/a.test/privkey.p-256.pem", pair.key);
             put(dir / "domains/a.test/pubcert.p-256.pem", pair.chain);
         },
         "domains/a.test/privkey.p-256.pem", "key type"},
        {"too many former sets",
         [](const TempDir& dir) {
             for (int i = 3; i <= 60; ++i) {
                 make_directory(dir / ("archive/a.test." + std::to_string(i)));
             }
         },
         "archive", "a.test has 60 former sets"},
        {"a directory in the archive that is no former set",
         [](const TempDir& dir) { make_directory(dir / "archive/old"); }, "archive/old",
         "is nothing that mdfront knows"},
        {"wide modes behind a closed door",
         [](const TempDir& dir) {
             REQUIRE(::chmod((dir / "domains/a.test/md.json").c_str(), 0644) == 0);
         },
         "", "domains/a.test/md.json (644)"},
        {"a set that was refused",
         [](const TempDir& dir) {
             make_directory(dir / "archive/a.test.rejected");
             put(dir / "archive/a.test.rejected/rejected.json", "{}");
         },
         "archive/a.test.rejected", "refused"},
        {"a registration under way",
         [](const TempDir& dir) {
             make_directory(dir / "accounts/ACME-x-0000");
             put(dir / "accounts/ACME-x-0000/pending.json", "{}");
         },
         "accounts/ACME-x-0000", "registration"},
    };
    return all;
}

}  // namespace

TEST_CASE("a good store is clean, and counted") {
    TempDir dir;
    make_good_store(dir.path());
    const auto before = tree(dir.path());
    const StoreReport report = check(dir.path());
    INFO(listed(report));
    CHECK(report.findings.empty());
    CHECK(report.domains == 2);
    CHECK(report.certificates == 2);
    CHECK(report.accounts == 1);
    CHECK(tree(dir.path()) == before);
}

TEST_CASE("each damage is found, nothing is changed by looking, and what is safe is repaired") {
    for (const Damage& damage : damages()) {
        DYNAMIC_SECTION(damage.name) {
            TempDir dir;
            make_good_store(dir.path());
            damage.make(dir);
            const auto before = tree(dir.path());
            const StoreReport found = check(dir.path());
            INFO(listed(found));
            const Finding* finding = find(found, damage.path, damage.words);
            REQUIRE(finding != nullptr);
            CHECK(finding->severity == damage.severity);
            CHECK(found.problems() > 0);
            CHECK(finding->is_fixable == (damage.fix == Fix::Done));
            CHECK_FALSE(finding->is_fixed);
            CHECK(tree(dir.path()) == before);

            const StoreReport repaired = check(dir.path(), true);
            INFO(listed(repaired));
            // Keys and certificates are still there, whatever was repaired.
            std::vector<std::string> pems_before;
            std::vector<std::string> pems;
            const auto is_pem = [](const std::string& path) { return path.ends_with(".pem"); };
            const auto after = tree(dir.path());
            std::copy_if(before.begin(), before.end(), std::back_inserter(pems_before), is_pem);
            std::copy_if(after.begin(), after.end(), std::back_inserter(pems), is_pem);
            CHECK(pems.size() == pems_before.size());
            const StoreReport again = check(dir.path());
            INFO(listed(again));
            const Finding* left = find(again, damage.path, damage.words);
            if (damage.fix == Fix::Done) {
                CHECK(left == nullptr);
                CHECK(repaired.problems() == 0);
                CHECK(again.problems() == 0);
            } else {
                CHECK(left != nullptr);
            }
        }
    }
}

TEST_CASE("what is nobody's fault is told without being a problem") {
    for (const Remark& remark : remarks()) {
        DYNAMIC_SECTION(remark.name) {
            TempDir dir;
            make_good_store(dir.path());
            remark.make(dir);
            const StoreReport report = check(dir.path());
            INFO(listed(report));
            const Finding* finding = find(report, remark.path, remark.words);
            REQUIRE(finding != nullptr);
            CHECK(finding->severity == Severity::Note);
            CHECK(report.problems() == 0);
        }
    }
}

TEST_CASE("certificates that end are told of") {
    TempDir dir;
    make_good_store(dir.path());
    const std::string chain = "domains/a.test/pubcert.pem";
    const auto at_day = [&](int days) {
        return check(dir.path(), false, noon + std::chrono::hours{24 * days});
    };
    CHECK(at_day(70).findings.empty());
    const StoreReport soon = at_day(85);
    REQUIRE(find(soon, chain, "expires on 2027-02-20") != nullptr);
    CHECK(find(soon, chain, "expires")->severity == Severity::Warning);
    const StoreReport late = at_day(91);
    REQUIRE(find(late, chain, "expired on 2027-02-20") != nullptr);
    CHECK(find(late, chain, "expired")->severity == Severity::Error);
    CHECK(find(at_day(-2), chain, "valid from 2026-11-22") != nullptr);
}

TEST_CASE("a missing secret is told once, not for each file that it has encrypted") {
    TempDir dir;
    make_good_store(dir.path());
    std::filesystem::remove(dir / "md_store.json");
    const StoreReport report = check(dir.path());
    INFO(listed(report));
    CHECK(report.problems() == 1);
}

TEST_CASE("nothing is repaired while mdfront works on the store") {
    TempDir dir;
    make_good_store(dir.path());
    put(dir / "domains/a.test/job.json", "{");
    SystemFiles files;
    base::SystemClock clock;
    auto store = open_store(dir.path());
    store->claim(clock);
    const auto refused = check_store(dir.path(), files, clock, {.now = noon, .fix = true});
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().message().find(fmt::format("process {}", ::getpid())) !=
          std::string::npos);
    CHECK(read_text(dir / "domains/a.test/job.json") == "{");
    CHECK(find(check(dir.path()), "", "works on it") != nullptr);
    store.reset();
    CHECK(check(dir.path(), true).problems() == 0);
}

TEST_CASE("what is no store is an error of its own") {
    TempDir dir;
    SystemFiles files;
    base::SystemClock clock;
    const auto absent = check_store(dir / "absent", files, clock, {.now = noon});
    REQUIRE_FALSE(absent.ok());
    CHECK(absent.error().detail.find("absent") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(dir / "absent"));
}
