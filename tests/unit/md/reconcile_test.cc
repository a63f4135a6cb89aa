// The store when the configuration changes: mod_md.md 2.4, and 300/310/400/702/910 of section 11.

#include "catch.h"
#include "md/match.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;

namespace {

using Names = std::vector<std::string>;

Domain configured(Names names) {
    return stored_domain(std::move(names)).domain;
}

struct Bench {
    TempDir dir;
    SystemFiles files;
    std::unique_ptr<FileStore> store = open_store(dir / "md");

    std::vector<ReconciledDomain> run(std::vector<Domain> domains) {
        auto result = reconcile(*store, files, domains, noon);
        for (const ReconciledDomain& entry : result) {
            if (entry.problem) FAIL(entry.problem->message());
        }
        return result;
    }
    StoredDomain live(const std::string& name) {
        auto loaded = load_domain(*store, Group::Domains, name, noon);
        REQUIRE(loaded.ok());
        REQUIRE(loaded->has_value());
        return loaded->value();
    }
    void give_certificate(const std::string& name, const Names& covered) {
        const Pair pair = make_pair({.names = covered});
        REQUIRE(save_credential(*store, Group::Domains, name, {}, pair.chain, pair.key).ok());
    }
    Names domains() { return store->names(Group::Domains).value(); }
};

}  // namespace

TEST_CASE("Reconcile: new domains appear with state 1, in one step or several (310_100, 101)") {
    Bench bench;
    auto result = bench.run({configured({"a.org", "www.a.org"}), configured({"b.org"})});
    CHECK(bench.domains() == Names{"a.org", "b.org"});
    CHECK(bench.live("a.org").state == DomainState::Incomplete);
    CHECK(result[0].notes == Names{"is new"});
    CHECK(result[0].slots.at(0).fault == Slot::Fault::Missing);
    result = bench.run(
        {configured({"a.org", "www.a.org"}), configured({"b.org"}), configured({"c.org"})});
    CHECK(result[0].notes.empty());
    CHECK(result[2].notes == Names{"is new"});
}

TEST_CASE("Reconcile: md.json is written only if something changed") {
    Bench bench;
    Domain domain = configured({"a.org"});
    bench.run({domain});
    const auto written = [&] {
        const std::string path = bench.dir / "md/domains/a.org/md.json";
        const auto old = std::filesystem::file_time_type::clock::now() - std::chrono::hours{1};
        std::filesystem::last_write_time(path, old);
        bench.run({domain});
        return std::filesystem::last_write_time(path) != old;
    };
    CHECK_FALSE(written());
    domain.renew_window = {0, std::chrono::hours{14 * 24}};
    CHECK(written());
    CHECK_FALSE(written());
    // What mod_md does not compare and leaves stale (mod_md.md 2.4).
    domain.profile = "shortlived";
    CHECK(written());
    domain.external_account = {"kid", "aG1hYw"};
    CHECK(written());
    domain.names = {"a.org", "c.org", "b.org"};
    CHECK(written());
    domain.names = {"a.org", "b.org", "c.org"};
    CHECK(written());
}

TEST_CASE("Reconcile: 310, what a configuration sets and drops") {
    Bench bench;
    Domain domain = configured({"a.org"});
    domain.renew_mode = RenewMode::Manual;
    domain.challenges = {"http-01"};
    domain.private_keys = {{KeySpec::Type::Rsa, 4096, ""}};
    domain.require_https = RequireHttps::Temporary;
    domain.must_staple = true;
    bench.run({domain});
    std::string text = read_text(bench.dir / "md/domains/a.org/md.json");
    for (const char* part :
         {"\"renew-mode\": 0", "http-01", "4096", "temporary", "\"must-staple\": true"}) {
        CHECK_THAT(text, Catch::Matchers::ContainsSubstring(part));
    }
    Domain plain = configured({"a.org"});
    plain.contacts.clear();
    std::vector<Domain> domains = {plain};
    (void)reconcile(*bench.store, bench.files, domains, noon);
    text = read_text(bench.dir / "md/domains/a.org/md.json");
    for (const char* part : {"challenges", "privkey", "require-https"}) {  // 208-210
        CHECK(text.find(part) == std::string::npos);
    }
    CHECK_THAT(text, Catch::Matchers::ContainsSubstring("\"renew-mode\": 1") &&
                         Catch::Matchers::ContainsSubstring("\"must-staple\": false"));
    // 205: the contact is kept.
    CHECK(bench.live("a.org").domain.contacts == Names{"mailto:ops@example.org"});
    CHECK(domains[0].contacts == Names{"mailto:ops@example.org"});
}

TEST_CASE("Reconcile: name removed stays complete, name added becomes incomplete (310_400)") {
    Bench bench;
    bench.run({configured({"a.org", "www.a.org"})});
    bench.give_certificate("a.org", {"a.org", "www.a.org"});
    CHECK(bench.run({configured({"a.org", "www.a.org"})})[0].stored.state == DomainState::Complete);
    CHECK(bench.run({configured({"a.org"})})[0].stored.state == DomainState::Complete);
    CHECK(bench.live("a.org").domain.names == Names{"a.org"});
    const auto added = bench.run({configured({"a.org", "new.org"})});
    CHECK(added[0].stored.state == DomainState::Incomplete);
    CHECK(added[0].slots.at(0).certificate);  // the old one goes on being served
}

TEST_CASE("Reconcile: CA changed keeps state, account and effective CA (310_401)") {
    Bench bench;
    StoredDomain stored = stored_domain({"a.org"});
    stored.ca_account = "ACME-ca.example.net-0000";
    stored.ca_url = "https://ca.example.net/dir";
    REQUIRE(save_domain(*bench.store, Group::Domains, stored).ok());
    bench.give_certificate("a.org", {"a.org"});
    Domain domain = configured({"a.org"});
    domain.ca_urls = {"https://other.example/dir"};
    const auto result = bench.run({domain});
    CHECK(result[0].stored.state == DomainState::Complete);
    CHECK(bench.live("a.org").ca_account == "ACME-ca.example.net-0000");
    CHECK(bench.live("a.org").ca_url == "https://ca.example.net/dir");
    CHECK(bench.live("a.org").domain.ca_urls == Names{"https://other.example/dir"});
}

TEST_CASE("Reconcile: first name removed keeps the certificate under the new name (310_202)") {
    Bench bench;
    bench.run({configured({"a.org", "b.org", "c.org"})});
    bench.give_certificate("a.org", {"a.org", "b.org", "c.org"});
    REQUIRE(save_domain(*bench.store, Group::Staging, stored_domain({"a.org"})).ok());
    const auto result = bench.run({configured({"b.org", "c.org"})});
    CHECK(bench.domains() == Names{"b.org"});
    CHECK(bench.store->names(Group::Staging).value() == Names{"b.org"});
    CHECK(result[0].stored.state == DomainState::Complete);
    CHECK(result[0].notes.at(0) == "takes over what is stored of a.org");
    CHECK(bench.live("b.org").domain.name == "b.org");
}

TEST_CASE(
    "Reconcile: a reorder renames and rewrites, where mod_md leaves md.json stale (310_300)") {
    Bench bench;
    bench.run({configured({"a.org", "b.org"})});
    bench.give_certificate("a.org", {"a.org", "b.org"});
    bench.run({configured({"b.org", "a.org"})});
    CHECK(bench.domains() == Names{"b.org"});
    CHECK(read_text(bench.dir / "md/domains/b.org/md.json").find("\"name\": \"b.org\"") !=
          std::string::npos);
    CHECK(bench.live("b.org").domain.names == Names{"b.org", "a.org"});
    CHECK(bench.live("b.org").state == DomainState::Complete);
}

TEST_CASE("Reconcile: a removed domain stays, and is picked up when it returns (310_200)") {
    Bench bench;
    bench.run({configured({"a.org"}), configured({"b.org"})});
    bench.give_certificate("b.org", {"b.org"});
    bench.run({configured({"a.org"})});
    CHECK(bench.domains() == Names{"a.org", "b.org"});
    CHECK(bench.run({configured({"a.org"}), configured({"b.org"})})[1].stored.state ==
          DomainState::Complete);
}

TEST_CASE("Reconcile: split, merge and move of names (310_301, 702_032)") {
    SECTION("split: the part with the directory's name keeps the certificate") {
        Bench bench;
        bench.run({configured({"a.org", "b.org"})});
        bench.give_certificate("a.org", {"a.org", "b.org"});
        const auto result = bench.run({configured({"a.org"}), configured({"b.org"})});
        CHECK(result[0].stored.state == DomainState::Complete);
        CHECK(result[1].stored.state == DomainState::Incomplete);
    }
    SECTION("merge: the first that has all names, else the one with most, is inherited") {
        Bench bench;
        bench.run({configured({"a.org"}), configured({"b.org", "c.org"})});
        bench.give_certificate("b.org", {"b.org", "c.org"});
        const auto result = bench.run({configured({"new.org", "a.org", "b.org", "c.org"})});
        CHECK(bench.domains() == Names{"a.org", "new.org"});
        CHECK(result[0].slots.at(0).certificate);
        CHECK(result[0].stored.state == DomainState::Incomplete);
    }
    SECTION("ties go to the first directory; nothing in common is new") {
        Bench bench;
        bench.run({configured({"a.org"}), configured({"b.org"})});
        bench.run({configured({"x.org", "a.org", "b.org"}), configured({"y.org"})});
        CHECK(bench.domains() == Names{"b.org", "x.org", "y.org"});
    }
    SECTION("a directory goes to one heir only, and never from a configured domain") {
        Bench bench;
        bench.run({configured({"a.org", "b.org", "c.org"})});
        bench.run({configured({"b.org"}), configured({"c.org"})});
        CHECK(bench.domains() == Names{"b.org", "c.org"});
        bench.run({configured({"b.org", "c.org"}), configured({"d.org", "b.org"})});
        CHECK(bench.domains() == Names{"b.org", "c.org", "d.org"});
    }
    SECTION("moved from one to the other") {
        Bench bench;
        bench.run({configured({"a.org", "x.org"}), configured({"b.org"})});
        bench.give_certificate("a.org", {"a.org", "x.org"});
        bench.give_certificate("b.org", {"b.org"});
        const auto result = bench.run({configured({"a.org"}), configured({"b.org", "x.org"})});
        CHECK(result[0].stored.state == DomainState::Complete);
        CHECK(result[1].stored.state == DomainState::Incomplete);
    }
}

TEST_CASE("Reconcile: a key spec added makes the domain incomplete, removed is ignored (810_007)") {
    Bench bench;
    Domain domain = configured({"a.org"});
    bench.run({domain});
    bench.give_certificate("a.org", {"a.org"});
    domain.private_keys = {{}, {KeySpec::Type::Ec, 0, "P-256"}};
    auto result = bench.run({domain});
    CHECK(result[0].stored.state == DomainState::Incomplete);
    CHECK(result[0].slots.at(0).certificate);
    domain.private_keys.clear();
    CHECK(bench.run({domain})[0].stored.state == DomainState::Complete);
}

TEST_CASE(
    "Reconcile: challenges of unknown names go, those of all configured names stay (910_01)") {
    Bench bench;
    for (const char* name : {"a.org", "www.a.org", "w.org", "x.w.org", "unknown.org"}) {
        REQUIRE(bench.store->save(Group::Challenges, name, "acme-http-01.txt", "token").ok());
    }
    bench.run({configured({"a.org", "www.a.org"}), configured({"*.w.org"})});
    // mod_md would have kept a.org only.
    CHECK(bench.store->names(Group::Challenges).value() ==
          Names{"a.org", "w.org", "www.a.org", "x.w.org"});
}

TEST_CASE("Reconcile: a domain whose files fail is told, the others go on (ST-04, ST-08)") {
    Bench bench;
    bench.run({configured({"a.org"}), configured({"b.org"})});
    bench.give_certificate("b.org", {"b.org"});
    std::filesystem::remove_all(bench.dir / "md/domains/a.org");
    std::filesystem::create_directory_symlink(bench.dir / "md/domains/b.org",
                                              bench.dir / "md/domains/a.org");
    std::vector<Domain> domains = {configured({"a.org"}), configured({"b.org"})};
    auto result = reconcile(*bench.store, bench.files, domains, noon);
    REQUIRE(result[0].problem);
    CHECK_THAT(result[0].problem->message(), Catch::Matchers::ContainsSubstring("symbolic link"));
    CHECK(result[0].stored.state == DomainState::Error);
    CHECK(result[1].stored.state == DomainState::Complete);

    // A spoiled md.json costs the account's name only.
    write_text(bench.dir / "md/domains/b.org/md.json", std::string(40, '\0'));
    result = bench.run({configured({"b.org"})});
    CHECK(result[0].stored.state == DomainState::Complete);
    CHECK(bench.live("b.org").domain.names == Names{"b.org"});
}

TEST_CASE("Reconcile: a damaged certificate is stood in for from the archive (ST-10)") {
    Bench bench;
    bench.run({configured({"a.org"})});
    const Pair good = make_pair({.names = {"a.org"}});
    const Pair other = make_pair({.names = {"a.org"}});
    REQUIRE(
        save_credential(*bench.store, Group::Archive, "a.org.1", {}, good.chain, good.key).ok());
    REQUIRE(save_credential(*bench.store, Group::Domains, "a.org", {}, good.chain, other.key).ok());
    const auto result = bench.run({configured({"a.org"})});
    CHECK(result[0].stored.state == DomainState::Incomplete);
    REQUIRE(result[0].archived.size() == 1);
    CHECK(result[0].archived[0].key_pem.text() == good.key);
}

TEST_CASE("Reconcile: domains that are not to be touched keep directory and challenges") {
    Bench bench;
    bench.run({configured({"a.org", "www.a.org"})});
    REQUIRE(bench.store->save(Group::Challenges, "www.a.org", "acme-http-01.txt", "x").ok());
    std::vector<Domain> coming{configured({"www.a.org", "a.org"})};
    const std::vector<Domain> others{configured({"a.org", "www.a.org"})};
    auto result = reconcile(*bench.store, bench.files, coming, noon, Reconcile::Write, others);
    CHECK(result[0].notes == Names{"is new"});
    CHECK(bench.domains() == Names{"a.org", "www.a.org"});
    coming = {configured({"b.org"})};
    (void)reconcile(*bench.store, bench.files, coming, noon, Reconcile::Write, others);
    CHECK(bench.store->names(Group::Challenges).value() == Names{"www.a.org"});
    (void)reconcile(*bench.store, bench.files, coming, noon);
    CHECK(bench.store->names(Group::Challenges).value().empty());
}
