#include "md/file_store.h"

#include <fcntl.h>
#include <signal.h>

#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>

#include "base/text.h"
#include "catch.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;

namespace {

using Names = std::vector<std::string>;

/// A secret like mod_md's, and the file that holds it.
constexpr char known_secret[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v";

std::string store_json(std::string_view version = "3.0") {
    return fmt::format("{{\n  \"store\": {{\n    \"version\": {}\n  }},\n  \"key\": \"{}\"\n}}",
                       version, known_secret);
}

Problem open_problem(const std::string& path) {
    SystemFiles files;
    base::SystemRandom random;
    auto store = FileStore::open(path, files, random);
    REQUIRE_FALSE(store.ok());
    return store.error();
}

/// What a load gives that must fail.
Problem load_problem(Store& store, const std::string& name, const std::string& aspect) {
    auto bytes = store.load(Group::Domains, name, aspect);
    REQUIRE_FALSE(bytes.ok());
    return bytes.error();
}

}  // namespace

TEST_CASE("FileStore: a new store has mod_md's names, and nobody else can read it") {
    const TempDir dir;
    for (const mode_t mask : {0, 022, 077, 0777}) {  // ST-17
        const std::string path = dir / fmt::format("md-{:o}", mask);
        const mode_t before = ::umask(mask);
        auto store = open_store(path);
        REQUIRE(store->save(Group::Domains, "*.a.org", "md.json", "{}").ok());
        REQUIRE(store
                    ->save_key(Group::Accounts, "ACME-ca.example-0000", "account.pem",
                               make_pair({.names = {"a.org"}}).key)
                    .ok());
        ::umask(before);
        CHECK(tree(path) == Names{"accounts/", "accounts/ACME-ca.example-0000/",
                                  "accounts/ACME-ca.example-0000/account.pem", "domains/",
                                  "domains/*.a.org/", "domains/*.a.org/md.json", "md_store.json"});
        CHECK(mode_of(path) == 0700);
        for (const std::string& entry : tree(path)) {
            INFO(entry);
            CHECK(mode_of(path + "/" + entry) == (entry.back() == '/' ? 0700u : 0600u));
        }
    }
}

TEST_CASE("FileStore: md_store.json has mod_md's bytes, and the secret stays") {
    const TempDir dir;
    SystemFiles files;
    base::SeededRandom random(1);
    REQUIRE(FileStore::open(dir / "md", files, random).ok());
    const std::string text = read_text(dir / "md/md_store.json");
    REQUIRE(text.size() == std::string_view(store_json()).size());
    const std::string head = "{\n  \"store\": {\n    \"version\": 3.0\n  },\n  \"key\": \"";
    CHECK(text.substr(0, head.size()) == head);
    CHECK(text.substr(head.size() + 64) == "\"\n}");
    const auto key = base::from_base64url(text.substr(head.size(), 64));
    REQUIRE(key);
    CHECK(key->size() == 48);
    open_store(dir / "md");
    CHECK(read_text(dir / "md/md_store.json") == text);
}

TEST_CASE("FileStore: keys are encrypted in accounts and staging only, and load as plain PKCS#8") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    const std::string key = make_pair({.names = {"a.org"}}).key;
    for (const Group group : {Group::Accounts, Group::Staging, Group::Domains, Group::Tmp,
                              Group::Challenges, Group::Archive}) {
        INFO(group_name(group));
        REQUIRE(store->save_key(group, "a.org", "privkey.pem", key).ok());
        const std::string path =
            fmt::format("{}/md/{}/a.org/privkey.pem", dir.path(), group_name(group));
        const bool encrypted = group == Group::Accounts || group == Group::Staging;
        CHECK((read_text(path) == key) == !encrypted);
        CHECK((read_text(path).rfind("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", 0) == 0) ==
              encrypted);
        auto loaded = store->load_key(group, "a.org", "privkey.pem");
        REQUIRE(loaded.ok());
        CHECK((*loaded)->text() == key);
        // Nor is it read by the wrong function, encrypted or not.
        const auto refused = store->load(group, "a.org", "privkey.pem");
        REQUIRE_FALSE(refused.ok());
        CHECK_THAT(refused.error().message(),
                   Catch::Matchers::ContainsSubstring("this is a private key"));
    }
    // A key must not get into the clear by the wrong function.
    CHECK_FALSE(store->save(Group::Staging, "a.org", "privkey.pem", key).ok());
}

TEST_CASE("FileStore: a key of another store is refused with the file's name (ST-12)") {
    const TempDir dir;
    {
        auto store = open_store(dir / "md");
        REQUIRE(store
                    ->save_key(Group::Accounts, "acme", "account.pem",
                               make_pair({.names = {"a.org"}}).key)
                    .ok());
    }
    std::filesystem::remove(dir / "md/md_store.json");
    auto store = open_store(dir / "md");
    auto loaded = store->load_key(Group::Accounts, "acme", "account.pem");
    REQUIRE_FALSE(loaded.ok());
    CHECK_THAT(loaded.error().message(),
               Catch::Matchers::ContainsSubstring("accounts/acme/account.pem") &&
                   Catch::Matchers::ContainsSubstring("md_store.json"));
}

TEST_CASE("FileStore: load, list, modified, remove, purge, set aside") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    CHECK(store->load(Group::Domains, "a.org", "md.json").value() == std::nullopt);
    CHECK(store->names(Group::Domains).value().empty());
    CHECK(store->aspects(Group::Domains, "a.org").value().empty());
    CHECK_FALSE(store->modified(Group::Domains, "a.org", "md.json"));
    CHECK(store->remove(Group::Domains, "a.org", "md.json").ok());
    CHECK(store->purge(Group::Domains, "a.org").ok());

    for (const char* name : {"b.org", "a.org"}) {
        REQUIRE(store->save(Group::Domains, name, "md.json", "1").ok());
        REQUIRE(store->save(Group::Domains, name, "job.json", "2").ok());
    }
    write_text(dir / "md/domains/stray", "501: survives");
    write_text(dir / "md/domains/a.org/.hidden", "not ours");
    REQUIRE(store->save(Group::Domains, "a.org", "md.json", "").ok());
    CHECK(store->load(Group::Domains, "a.org", "md.json").value() == "");
    CHECK(store->names(Group::Domains).value() == Names{"a.org", "b.org"});
    CHECK(store->aspects(Group::Domains, "a.org").value() == Names{"job.json", "md.json"});
    const auto modified = store->modified(Group::Domains, "a.org", "md.json");
    REQUIRE(modified);
    CHECK(std::chrono::abs(*modified - base::SystemClock().now()) < std::chrono::minutes{1});

    REQUIRE(store->remove(Group::Domains, "a.org", "md.json").ok());
    CHECK(store->load(Group::Domains, "a.org", "md.json").value() == std::nullopt);
    REQUIRE(store->set_aside(Group::Domains, "a.org", "job.json", noon).ok());
    CHECK(store->aspects(Group::Domains, "a.org").value() == Names{"job.json.bad-1795348800"});
    REQUIRE(store->purge(Group::Domains, "a.org").ok());
    CHECK(store->names(Group::Domains).value() == Names{"b.org"});
    CHECK(std::filesystem::exists(dir / "md/domains/stray"));
}

TEST_CASE("FileStore: names are ids, never paths (ST-18)") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    const std::string bad[] = {"",
                               ".",
                               "..",
                               "../x",
                               "a/b",
                               "/etc",
                               ".hidden",
                               std::string(256, 'a'),
                               "a\nb",
                               "a\x7f",
                               std::string("a\0b", 3)};
    for (const std::string& id : bad) {
        INFO(base::escape_for_log(id));
        CHECK_FALSE(is_store_id(id));
        CHECK_FALSE(store->save(Group::Domains, id, "md.json", "x").ok());
        CHECK_FALSE(store->save(Group::Domains, "a.org", id, "x").ok());
        CHECK_FALSE(store->load(Group::Domains, id, "md.json").ok());
        CHECK_FALSE(store->load(Group::Domains, "a.org", id).ok());
        CHECK_FALSE(store->remove(Group::Domains, "a.org", id).ok());
        CHECK_FALSE(store->purge(Group::Domains, id).ok());
        CHECK_FALSE(store->aspects(Group::Domains, id).ok());
        CHECK_FALSE(store->rename_domain(id, "b.org").ok());
        CHECK_FALSE(store->rename_domain("b.org", id).ok());
        CHECK_FALSE(store->activate_tmp(id).ok());
        CHECK_FALSE(store->modified(Group::Domains, id, "md.json"));
    }
    CHECK(tree(dir / "md") == Names{"md_store.json"});
    for (const std::string& id :
         {std::string("*.a.org"), std::string("xn--bcher-kva.example"), std::string(255, 'a'),
          std::string("ACME-.letsencrypt.org-0000")}) {
        CHECK(is_store_id(id));
    }
}

TEST_CASE("FileStore: symbolic links are not followed, at any place (ST-16)") {
    const TempDir dir;
    const std::string md = dir / "md";
    auto store = open_store(md);
    REQUIRE(store->save(Group::Domains, "a.org", "md.json", "x").ok());
    write_text(dir / "outside/md.json", "secret");

    SECTION("a file") {
        std::filesystem::create_symlink(dir / "outside/md.json", md + "/domains/a.org/job.json");
        CHECK_THAT(load_problem(*store, "a.org", "job.json").message(),
                   Catch::Matchers::ContainsSubstring("domains/a.org/job.json") &&
                       Catch::Matchers::ContainsSubstring("symbolic link"));
        // Replaced by what is written, and what it points to is not.
        CHECK(store->save(Group::Domains, "a.org", "job.json", "mine").ok());
        CHECK(store->load(Group::Domains, "a.org", "job.json").value() == "mine");
    }
    SECTION("a domain's directory") {
        std::filesystem::create_directory_symlink(dir / "outside", md + "/domains/b.org");
        CHECK_THAT(load_problem(*store, "b.org", "md.json").message(),
                   Catch::Matchers::ContainsSubstring("symbolic link"));
        CHECK_FALSE(store->save(Group::Domains, "b.org", "md.json", "x").ok());
        CHECK(store->names(Group::Domains).value() == Names{"a.org"});
        CHECK(store->purge(Group::Domains, "b.org").ok());
        CHECK_FALSE(std::filesystem::is_symlink(md + "/domains/b.org"));
    }
    SECTION("a group") {
        std::filesystem::create_directory_symlink(dir / "outside", md + "/staging");
        CHECK_FALSE(store->save(Group::Staging, "a.org", "md.json", "x").ok());
        CHECK_FALSE(store->names(Group::Staging).ok());
    }
    SECTION("the store") {
        std::filesystem::create_directory_symlink(md, dir / "link");
        CHECK_THAT(open_problem(dir / "link").message(),
                   Catch::Matchers::ContainsSubstring("link"));
    }
    SECTION("md_store.json") {
        std::filesystem::rename(md + "/md_store.json", dir / "elsewhere.json");
        std::filesystem::create_symlink(dir / "elsewhere.json", md + "/md_store.json");
        CHECK_THAT(open_problem(md).message(), Catch::Matchers::ContainsSubstring("md_store.json"));
    }
    CHECK(read_text(dir / "outside/md.json") == "secret");
}

TEST_CASE("FileStore: what is no file in the place of one is an error, and no hang (ST-16)") {
    const TempDir dir;
    const std::string a = dir / "md/domains/a.org";
    auto store = open_store(dir / "md");
    REQUIRE(store->save(Group::Domains, "a.org", "md.json", "x").ok());
    REQUIRE(::mkfifo((a + "/fifo").c_str(), 0600) == 0);
    CHECK_THAT(load_problem(*store, "a.org", "fifo").message(),
               Catch::Matchers::ContainsSubstring("no regular file"));
    std::filesystem::create_directory(a + "/directory");
    CHECK_THAT(load_problem(*store, "a.org", "directory").message(),
               Catch::Matchers::ContainsSubstring("no regular file"));
    CHECK_FALSE(store->save(Group::Domains, "a.org", "directory", "x").ok());
    write_text(dir / "md/domains/file", "x");
    CHECK_THAT(load_problem(*store, "file", "md.json").message(),
               Catch::Matchers::ContainsSubstring("no directory"));
    write_text(a + "/large", std::string(1024 * 1024 + 1, 'x'));
    CHECK_THAT(load_problem(*store, "a.org", "large").message(),
               Catch::Matchers::ContainsSubstring("1 MiB"));
    write_text(a + "/full", std::string(1024 * 1024, 'x'));
    CHECK(store->load(Group::Domains, "a.org", "full").ok());
    CHECK_FALSE(store->save(Group::Domains, "a.org", "x", std::string(1024 * 1024 + 1, 'x')).ok());
    CHECK(store->load(Group::Domains, "a.org", "x").value() == std::nullopt);
}

TEST_CASE("FileStore: a hard-linked private key is refused (ST-16)") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    const std::string key = make_pair({.names = {"a.org"}}).key;
    REQUIRE(store->save_key(Group::Domains, "a.org", "privkey.pem", key).ok());
    std::filesystem::create_hard_link(dir / "md/domains/a.org/privkey.pem", dir / "other");
    CHECK_THAT(load_problem(*store, "a.org", "privkey.pem").message(),
               Catch::Matchers::ContainsSubstring("privkey.pem") &&
                   Catch::Matchers::ContainsSubstring("hard link"));
    std::filesystem::remove(dir / "other");
    CHECK(store->load_key(Group::Domains, "a.org", "privkey.pem").value() == base::Secret(key));
}

TEST_CASE("FileStore: md_store.json that cannot be used refuses to open and says what to do") {
    const std::string key = fmt::format("\"key\": \"{}\"", known_secret);
    struct Case {
        std::string text;
        const char* says;
    };
    const Case cases[] = {
        {"", "empty"},
        {"{", "not JSON"},
        {"garbage", "not JSON"},
        {std::string(64, '\0'), "not JSON"},
        {"[]", "not a JSON object"},
        {"{}", "0 bytes instead of 48"},
        {"{\"store\": {\"version\": 3.0}, \"key\": 17}", "0 bytes instead of 48"},
        {"{\"store\": {\"version\": 3.0}, \"key\": \"AAAA\"}", "3 bytes instead of 48"},
        {"{\"store\": {\"version\": 3.0}, \"key\": \"***\"}", "base64url"},
        {"{\"store\": {\"version\": \"3\"}, " + key + "}", "store.version"},
        {"{\"store\": {\"version\": NaN}, " + key + "}", "not JSON"},
        {std::string(100'000, '[') + std::string(100'000, ']'), "nested"},
    };
    for (const Case& c : cases) {
        INFO(c.text.substr(0, 80));
        const TempDir dir;
        write_text(dir / "md/md_store.json", c.text);
        const std::string message = open_problem(dir / "md").message();
        CHECK_THAT(message, Catch::Matchers::ContainsSubstring("md_store.json") &&
                                Catch::Matchers::ContainsSubstring(c.says) &&
                                Catch::Matchers::ContainsSubstring("backup"));
        CHECK(message.find(known_secret) == std::string::npos);
        CHECK(read_text(dir / "md/md_store.json") == c.text);
    }
    // A byte order mark is harmless.
    const TempDir dir;
    write_text(dir / "md/md_store.json", "\xef\xbb\xbf" + store_json());
    CHECK(open_store(dir / "md"));
}

TEST_CASE("FileStore: a newer store is refused with both versions named (ST-21)") {
    const TempDir dir;
    write_text(dir / "md/md_store.json", store_json("4.0"));
    CHECK_THAT(open_problem(dir / "md").message(),
               Catch::Matchers::ContainsSubstring("4.0") &&
                   Catch::Matchers::ContainsSubstring("3.0") &&
                   Catch::Matchers::ContainsSubstring("newer mdfront"));
}

TEST_CASE("FileStore: a version 1 store is brought to version 3 (ST-21, 010_000)") {
    const TempDir dir;
    const std::string md = dir / "md";
    write_text(md + "/md_store.json",
               fmt::format("{{\"version\": \"0.6.1-git\", \"key\": \"{}\"}}", known_secret));
    write_text(md + "/domains/a.org/pkey.pem", "key");
    write_text(md + "/domains/a.org/cert.pem", "leaf");
    write_text(md + "/domains/a.org/chain.pem", "chain\n");
    write_text(md + "/archive/a.org.1/cert.pem", "old leaf\n");
    write_text(md + "/staging/b.org/pkey.pem", "staged");
    write_text(md + "/staging/b.org/cert.pem", "staged leaf");
    // Everything may be interrupted, and be done again.
    for (int at = 1;; ++at) {
        const bool died = dies_at(at, [&](Files& files) {
            base::SystemRandom random;
            (void)FileStore::open(md, files, random);
        });
        if (!died) break;
    }
    open_store(md);
    CHECK(tree(md) == Names{"archive/", "archive/a.org.1/", "archive/a.org.1/cert.pem",
                            "archive/a.org.1/pubcert.pem", "domains/", "domains/a.org/",
                            "domains/a.org/cert.pem", "domains/a.org/chain.pem",
                            "domains/a.org/privkey.pem", "domains/a.org/pubcert.pem",
                            "md_store.json", "staging/", "staging/b.org/", "staging/b.org/cert.pem",
                            "staging/b.org/privkey.pem"});
    CHECK(read_text(md + "/domains/a.org/pubcert.pem") == "leaf\nchain\n");
    CHECK(read_text(md + "/archive/a.org.1/pubcert.pem") == "old leaf\n");
    CHECK(mode_of(md + "/domains/a.org/pubcert.pem") == 0600);
    CHECK(read_text(md + "/md_store.json") == store_json());
}

TEST_CASE("FileStore: a store that others can read is closed to them") {
    const TempDir dir;
    write_text(dir / "md/md_store.json", store_json());
    ::chmod((dir / "md").c_str(), 0755);
    open_store(dir / "md");
    CHECK(mode_of(dir / "md") == 0700);
}

TEST_CASE("FileStore: leftovers of a crash go, those of a living process stay") {
    const TempDir dir;
    const std::string md = dir / "md";
    open_store(md);
    const pid_t child = ::fork();
    if (child == 0) {
        ::pause();
        ::_exit(0);
    }
    write_text(md + "/.tmp.999999999.1", "x");
    write_text(md + "/domains/a.org/.tmp.999999999.2", "x");
    write_text(md + "/staging/.tmp.999999999.3/md.json", "x");
    write_text(md + fmt::format("/domains/a.org/.tmp.{}.1", ::getpid()), "x");
    write_text(md + fmt::format("/domains/a.org/.tmp.{}.1", child), "x");
    write_text(md + "/domains/a.org/.tmp.x", "a stranger's");
    open_store(md);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    CHECK(tree(md) == Names{"domains/", "domains/a.org/",
                            fmt::format("domains/a.org/.tmp.{}.1", child), "domains/a.org/.tmp.x",
                            "md_store.json", "staging/"});
}

TEST_CASE("FileStore: activation keeps the former set in the archive (mod_md.md 3.7)") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    const StoredDomain stored = stored_domain({"a.org"});
    const Pair first = make_pair({.names = {"a.org"}});
    const Pair second = make_pair({.names = {"a.org"}});
    save_set(*store, Group::Tmp, stored, {first});
    REQUIRE(store->activate_tmp("a.org").ok());
    CHECK(store->load(Group::Domains, "a.org", "pubcert.pem").value() == first.chain);
    CHECK(store->names(Group::Archive).value().empty());

    save_set(*store, Group::Tmp, stored, {second});
    REQUIRE(store->activate_tmp("a.org").ok());
    CHECK(store->load(Group::Domains, "a.org", "pubcert.pem").value() == second.chain);
    CHECK(store->load(Group::Archive, "a.org.1", "pubcert.pem").value() == first.chain);
    CHECK(store->names(Group::Tmp).value().empty());
}

TEST_CASE("FileStore: what is not whole is not activated") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    StoredDomain stored = stored_domain({"a.org"});
    stored.domain.private_keys = {{}, {KeySpec::Type::Ec, 0, "P-256"}};
    const Pair pair = make_pair({.names = {"a.org"}});
    const Pair other = make_pair({.names = {"a.org"}});
    CHECK_FALSE(store->activate_tmp("a.org").ok());
    save_set(*store, Group::Tmp, stored, {pair});
    CHECK_FALSE(store->activate_tmp("a.org").ok());  // ST-11: one key type only
    save_set(*store, Group::Tmp, stored, {pair, {pair.chain, other.key}});
    CHECK_FALSE(store->activate_tmp("a.org").ok());  // ST-10
    CHECK(store->names(Group::Domains).value().empty());
    save_set(*store, Group::Tmp, stored, {pair, other});
    CHECK(store->activate_tmp("a.org").ok());
}

TEST_CASE("FileStore: the archive keeps the newest fifty, whatever the numbers (ST-19, ST-20)") {
    const TempDir dir;
    const std::string md = dir / "md";
    auto store = open_store(md);
    const StoredDomain stored = stored_domain({"a.org"});
    const Pair pair = make_pair({.names = {"a.org"}});
    save_set(*store, Group::Domains, stored, {pair});
    write_text(md + "/archive/a.org.x/md.json", "a stranger's");
    write_text(md + "/archive/a.org.05/md.json", "a stranger's");
    write_text(md + "/archive/b.a.org.1/md.json", "another domain's");

    SECTION("pruned after each activation") {
        for (int i = 1; i <= 60; ++i) write_text(fmt::format("{}/archive/a.org.{}/n", md, i), "x");
        save_set(*store, Group::Tmp, stored, {pair});
        REQUIRE(store->activate_tmp("a.org").ok());
        CHECK_FALSE(std::filesystem::exists(md + "/archive/a.org.11"));
        CHECK(std::filesystem::exists(md + "/archive/a.org.12"));
        CHECK(std::filesystem::exists(md + "/archive/a.org.61/privkey.pem"));
    }
    SECTION("closed up when the numbers end, where mod_md fails") {
        for (const int i : {7, 500, 998, 999}) {
            write_text(fmt::format("{}/archive/a.org.{}/n", md, i), fmt::format("{}", i));
        }
        save_set(*store, Group::Tmp, stored, {pair});
        REQUIRE(store->activate_tmp("a.org").ok());
        CHECK(read_text(md + "/archive/a.org.1/n") == "7");
        CHECK(read_text(md + "/archive/a.org.2/n") == "500");
        CHECK(read_text(md + "/archive/a.org.3/n") == "998");
        CHECK(read_text(md + "/archive/a.org.4/n") == "999");
        CHECK(std::filesystem::exists(md + "/archive/a.org.5/privkey.pem"));
    }
    CHECK(std::filesystem::exists(md + "/archive/a.org.x/md.json"));
    CHECK(std::filesystem::exists(md + "/archive/a.org.05/md.json"));
    CHECK(std::filesystem::exists(md + "/archive/b.a.org.1/md.json"));
}

TEST_CASE("FileStore: a name of 253 bytes can be archived as often as one likes") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    const std::string label(62, 'a');
    const std::string name = label + "." + label + "." + label + "." + std::string(60, 'a') + ".o";
    REQUIRE(name.size() == 251);
    const std::string long_name = name + "rg";
    const StoredDomain stored = stored_domain({long_name});
    const Pair pair = make_pair({.names = {"a.org"}});
    for (int i = 0; i < 12; ++i) {
        save_set(*store, Group::Tmp, stored, {pair});
        const auto done = store->activate_tmp(long_name);
        if (!done.ok()) FAIL(done.error().message());
    }
    CHECK(store->names(Group::Archive).value().size() <= 9);
}

TEST_CASE("FileStore: renaming a domain takes domains and staging along, not the rest") {
    const TempDir dir;
    const std::string md = dir / "md";
    auto store = open_store(md);
    for (const char* group : {"domains", "staging", "challenges", "archive"}) {
        write_text(fmt::format("{}/{}/old.org/x", md, group), "x");
    }
    write_text(md + "/staging/new.org/stale", "x");
    REQUIRE(store->rename_domain("old.org", "new.org").ok());
    CHECK(tree(md) == Names{"archive/", "archive/old.org/", "archive/old.org/x", "challenges/",
                            "challenges/old.org/", "challenges/old.org/x", "domains/",
                            "domains/new.org/", "domains/new.org/x", "md_store.json", "staging/",
                            "staging/new.org/", "staging/new.org/x"});
    CHECK_FALSE(store->rename_domain("missing.org", "other.org").ok());
    write_text(md + "/domains/taken.org/x", "x");
    CHECK_THAT(store->rename_domain("new.org", "taken.org").error().message(),
               Catch::Matchers::ContainsSubstring("exists"));
}

TEST_CASE("FileStore: mod_md's own store is read as it is (mod_md.md 3.10, ST-22)") {
    const TempDir dir;
    const std::string md = dir / "md";
    write_text(md + "/md_store.json", store_json());
    write_text(md + "/accounts/ACME-localhost-0000/account.json",
               R"({"status": "valid", "url": "https://localhost:19410/my-account/33a5",
                   "ca-url": "https://localhost:19410/dir"})");
    write_text(md + "/domains/b.example.com/fallback-privkey.p-256.pem", "x");
    write_text(md + "/ocsp/other/ocsp-7f872714.json", "{}");
    write_text(md + "/tmp/b.example.com/job.json", "{}");  // mod_md's stray
    write_text(md + "/store.lock", "");
    auto store = open_store(md);
    const Pair pair = make_pair({.names = {"b.example.com"}});
    save_set(*store, Group::Domains, stored_domain({"b.example.com"}), {pair});
    store = open_store(md);
    CHECK(store->names(Group::Tmp).value().empty());
    CHECK(store->names(Group::Ocsp).value() == Names{"other"});
    CHECK(store->load(Group::Accounts, "ACME-localhost-0000", "account.json").value());
    CHECK(store->aspects(Group::Domains, "b.example.com").value() ==
          Names{"fallback-privkey.p-256.pem", "md.json", "privkey.pem", "pubcert.pem"});
    CHECK(std::filesystem::exists(md + "/store.lock"));
}
