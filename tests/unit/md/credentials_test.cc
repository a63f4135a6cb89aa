#include "md/credentials.h"

#include <sys/stat.h>

#include "catch.h"
#include "md/store_crypto.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;

namespace {

const KeySpec p256{KeySpec::Type::Ec, 0, "P-256"};

Slot load_one(const Pair& pair) {
    const TempDir dir;
    auto store = open_store(dir / "md");
    write_text(dir / "md/domains/a.org/pubcert.pem", pair.chain);
    write_text(dir / "md/domains/a.org/privkey.pem", pair.key);
    auto slots = load_credentials(*store, Group::Domains, "a.org", {{}});
    return std::move(slots.at(0));
}

std::vector<Slot> load_each(std::initializer_list<Pair> pairs) {
    std::vector<Slot> slots;
    for (const Pair& pair : pairs) slots.push_back(load_one(pair));
    return slots;
}

}  // namespace

TEST_CASE("Credentials: file names (mod_md.md 3.3)") {
    CHECK(key_file({}) == "privkey.pem");
    CHECK(chain_file({KeySpec::Type::Rsa, 4096, ""}) == "pubcert.pem");
    CHECK(key_file(p256) == "privkey.p-256.pem");
    CHECK(chain_file({KeySpec::Type::Ec, 0, "secp384r1"}) == "pubcert.secp384r1.pem");
    CHECK(key_file(p256, "fallback-") == "fallback-privkey.p-256.pem");
    CHECK(chain_file({}, "acme-tls-alpn-01-") == "acme-tls-alpn-01-pubcert.pem");
}

TEST_CASE("Credentials: one slot for each key spec, whole or with a reason") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    const Pair pair = make_pair({.names = {"a.org"}});
    REQUIRE(save_credential(*store, Group::Staging, "a.org", p256, pair.chain, pair.key).ok());
    const auto slots = load_credentials(*store, Group::Staging, "a.org", {{}, p256});
    REQUIRE(slots.size() == 2);
    CHECK(slots[0].label == "rsa");
    CHECK(slots[0].fault == Slot::Fault::Missing);
    CHECK(slots[0].why == "staging/a.org/pubcert.pem is missing");
    CHECK(slots[1].label == "P-256");
    CHECK(slots[1].fault == Slot::Fault::None);
    CHECK(slots[1].chain_pem == pair.chain);
    CHECK(slots[1].key_pem.text() == pair.key);
    REQUIRE(slots[1].certificate);
    CHECK(slots[1].certificate->covers("a.org"));
    CHECK(usable(slots).size() == 1);
}

TEST_CASE("Credentials: damaged files are named with the cause (ST-09, ST-10)") {
    const Pair good = make_pair({.names = {"a.org"}});
    const Pair other = make_pair({.names = {"a.org"}});
    std::array<uint8_t, 48> pass_phrase{1, 2, 3};
    const std::string encrypted = encrypt_key(good.key, pass_phrase).value();
    const std::string parameters =
        "-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQI=\n-----END DH PARAMETERS-----\n";
    struct Case {
        const char* what;
        Pair pair;
        Slot::Fault fault;
    };
    using Fault = Slot::Fault;
    const Case cases[] = {
        {"good", good, Fault::None},
        {"empty chain", {"", good.key}, Fault::Missing},
        {"garbage chain (120_003)", {"garbage", good.key}, Fault::Missing},
        {"truncated chain",
         {good.chain.substr(0, good.chain.size() / 2), good.key},
         Fault::Damaged},
        {"key for a chain", {good.key, good.key}, Fault::Damaged},
        {"parameters for a chain", {parameters, good.key}, Fault::Damaged},
        {"empty key", {good.chain, ""}, Fault::Missing},
        {"truncated key", {good.chain, good.key.substr(0, good.key.size() / 2)}, Fault::Damaged},
        {"two keys", {good.chain, good.key + other.key}, Fault::Damaged},
        {"foreign pass phrase", {good.chain, encrypted}, Fault::Broken},
        {"another's key", {good.chain, other.key}, Fault::Damaged},
        {"unrelated second certificate", {good.chain + other.chain, good.key}, Fault::Damaged},
    };
    for (const Case& c : cases) {
        INFO(c.what);
        const Slot slot = load_one(c.pair);
        INFO(slot.why);
        CHECK(slot.fault == c.fault);
        CHECK((slot.certificate != nullptr) == (c.fault == Fault::None));
        if (c.fault != Fault::None) {
            CHECK((slot.why.find("pubcert.pem") != std::string::npos ||
                   slot.why.find("privkey.pem") != std::string::npos));
        }
    }
    std::string crlf;
    for (const char c : good.chain) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
    CHECK(load_one({crlf, good.key}).fault == Fault::None);
}

TEST_CASE("Credentials: mod_md's states (mod_md.md 4.1)") {
    Domain domain = stored_domain({"a.org", "www.a.org"}).domain;
    const auto state = [&](const Pair& pair) { return evaluate_state(domain, load_each({pair})); };

    CHECK(state(make_pair({.names = {"a.org", "www.a.org"}})).state == DomainState::Complete);
    CHECK(state(make_pair({.names = {"a.org", "*.a.org", "x.org"}})).state ==
          DomainState::Complete);
    // Expiry is not part of it.
    CHECK(state(make_pair({.names = {"a.org", "www.a.org"}, .from = at("2001-01-01T00:00:00Z")}))
              .state == DomainState::Complete);

    auto report = state(make_pair({.names = {"a.org"}}));
    CHECK(report.state == DomainState::Incomplete);
    CHECK_THAT(report.description,
               Catch::Matchers::StartsWith("certificate(rsa) does not cover all domains"
                                           ": www.a.org"));
    report = state({"", ""});
    CHECK(report.state == DomainState::Incomplete);
    CHECK_THAT(report.description, Catch::Matchers::StartsWith("certificate(rsa) is missing"));

    const Pair staple = make_pair({.names = {"a.org", "www.a.org"}, .must_staple = true});
    report = state(staple);
    CHECK(report.state == DomainState::Incomplete);
    CHECK_THAT(report.description, Catch::Matchers::ContainsSubstring("must-staple"));
    domain.must_staple = true;
    CHECK(state(staple).state == DomainState::Complete);
    CHECK(state(make_pair({.names = {"a.org", "www.a.org"}})).state == DomainState::Incomplete);
    domain.must_staple = false;

    const Pair pair = make_pair({.names = {"a.org", "www.a.org"}});
    report = state({pair.chain, staple.key});
    CHECK(report.state == DomainState::Incomplete);  // a renewal heals it
    CHECK_THAT(report.description, Catch::Matchers::StartsWith("certificate(rsa) is damaged: ") &&
                                       Catch::Matchers::ContainsSubstring("privkey.pem"));
    // So it does here, where mod_md has state 4 and does nothing more.
    report = state({pair.chain, "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n"});
    CHECK(report.state == DomainState::Incomplete);
    // What cannot be read at all is for somebody to see to.
    {
        const TempDir dir;
        auto store = open_store(dir / "md");
        std::filesystem::create_directories(dir / "md/domains/a.org/pubcert.pem");
        report = evaluate_state(domain, load_credentials(*store, Group::Domains, "a.org", {{}}));
        CHECK(report.state == DomainState::Error);
        CHECK_THAT(report.description,
                   Catch::Matchers::StartsWith("error initializing certificate(rsa): ") &&
                       Catch::Matchers::ContainsSubstring("pubcert.pem"));
    }
    // A renewal does not heal an administrator's files.
    Domain with_files = domain;
    with_files.certificate_files = {"/c.pem"};
    CHECK(evaluate_state(with_files, load_each({{pair.chain, staple.key}})).state ==
          DomainState::Error);

    // The first slot that fails decides.
    CHECK(evaluate_state(domain, load_each({pair, {"", ""}})).state == DomainState::Incomplete);
    CHECK(evaluate_state(domain, {}).state == DomainState::Incomplete);
}

TEST_CASE("Credentials: static files, also behind symbolic links") {
    const TempDir dir;
    SystemFiles files;
    const Pair pair = make_pair({.names = {"a.org"}});
    write_text(dir / "real/c.pem", pair.chain);
    write_text(dir / "real/k.pem", pair.key);
    std::filesystem::create_symlink(dir / "real/c.pem", dir / "c.pem");
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
    Domain domain = stored_domain({"a.org"}).domain;
    domain.certificate_files = {dir / "c.pem", dir / "missing.pem", dir / "fifo", dir / "c.pem"};
    domain.certificate_key_files = {dir / "real/k.pem", dir / "real/k.pem", dir / "real/k.pem"};
    const auto slots = load_static_credentials(files, domain);
    REQUIRE(slots.size() == 4);
    CHECK(slots[0].label == "0");
    CHECK(slots[0].fault == Slot::Fault::None);
    CHECK(slots[1].fault == Slot::Fault::Broken);
    CHECK_THAT(slots[1].why, Catch::Matchers::ContainsSubstring("missing.pem") &&
                                 Catch::Matchers::ContainsSubstring("No such file"));
    CHECK_THAT(slots[2].why, Catch::Matchers::ContainsSubstring("no regular file"));
    CHECK_THAT(slots[3].why, Catch::Matchers::ContainsSubstring("no certificate_key_file"));
}

TEST_CASE("Credentials: the fallback pair is kept, and renewed where mod_md keeps it expired") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    Domain domain = stored_domain({"a.org"}).domain;
    auto first = fallback_certificate(*store, domain, noon);
    REQUIRE(first.ok());
    CHECK(first.value()->fallback);
    CHECK(first.value()->covers("a.org"));
    CHECK(store->aspects(Group::Domains, "a.org").value() ==
          std::vector<std::string>{"fallback-privkey.pem", "fallback-pubcert.pem"});
    const auto days = [](int n) { return std::chrono::hours{24 * n}; };
    CHECK(fallback_certificate(*store, domain, noon + days(13)).value()->sha256 ==
          first.value()->sha256);
    CHECK(fallback_certificate(*store, domain, noon + days(15)).value()->sha256 !=
          first.value()->sha256);
    domain.names.push_back("b.org");
    CHECK(fallback_certificate(*store, domain, noon).value()->covers("b.org"));
    write_text(dir / "md/domains/a.org/fallback-pubcert.pem", "garbage");
    CHECK(fallback_certificate(*store, domain, noon).ok());
}

TEST_CASE("Credentials: the archive's newest good pair stands in for a damaged one (ST-10)") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    const Pair pair = make_pair({.names = {"a.org"}});
    for (const int n : {2, 10, 3}) {
        const Pair archived = n == 10 ? pair : make_pair({.names = {"a.org"}});
        REQUIRE(save_credential(*store, Group::Archive, fmt::format("a.org.{}", n), {},
                                archived.chain, archived.key)
                    .ok());
    }
    write_text(dir / "md/archive/a.org.11/pubcert.pem", "garbage");
    write_text(dir / "md/archive/a.org.x/pubcert.pem", "garbage");
    const auto archives = store->names(Group::Archive).value();
    const auto found = archived_credential(*store, archives, "a.org", {});
    REQUIRE(found);
    CHECK(found->chain_pem == pair.chain);
    CHECK_FALSE(archived_credential(*store, archives, "a.org", p256));
    CHECK_FALSE(archived_credential(*store, archives, "b.org", {}));
}
