// Names to certificates.
#include "base/random.h"
#include "catch.h"
#include "tls/certificate_index.h"
#include "tls/server_name.h"
#include "tls/ticket_keys.h"

using tls::CertificateIndex;
using tls::CertificateSet;
using tls::CertificateSetPtr;

namespace {
CertificateSetPtr new_set() {
    return std::make_shared<const CertificateSet>();
}
const CertificateSet* found(const CertificateIndex& index, std::string_view name) {
    const CertificateSetPtr* set = index.find(name);
    return set ? set->get() : nullptr;
}
}  // namespace

TEST_CASE("a name finds its exact entry, then its wildcard, then nothing") {
    const auto exact = new_set();
    const auto wild = new_set();
    const auto index =
        CertificateIndex().with({"www.a.test", "a.test"}, exact)->with({"*.a.test"}, wild);
    CHECK(index->size() == 3);
    const std::string label64(64, 'x');
    struct Case {
        std::string name;
        const CertificateSet* set;
    };
    const Case cases[] = {
        {"www.a.test", exact.get()},
        {"WWW.A.tEsT", exact.get()},
        {"www.a.test.", exact.get()},
        {"a.test", exact.get()},
        {"b.a.test", wild.get()},
        {"B.A.TEST.", wild.get()},
        {"x.a.test", wild.get()},
        {"c.b.a.test", nullptr},
        {"*.a.test", nullptr},
        {".a.test", nullptr},
        {"a.test..", nullptr},
        {"www..a.test", nullptr},
        {"test", nullptr},
        {"", nullptr},
        {".", nullptr},
        {std::string("www.a.test\0", 11), nullptr},
        {std::string("w\0w.a.test", 10), nullptr},
        {label64 + ".a.test", nullptr},
        {std::string(63, 'x') + ".a.test", wild.get()},
        {std::string(300, 'x'), nullptr},
        {std::string(10000, '.'), nullptr},
        {"[::1]", nullptr},
        {"127.0.0.1", nullptr},
        {"\xc3\xa4.a.test", nullptr},
        {"a_b.a.test", wild.get()},
        {"../../etc/passwd", nullptr},
    };
    for (const Case& c : cases) {
        CAPTURE(c.name);
        CHECK(found(*index, c.name) == c.set);
    }
    CHECK(found(CertificateIndex(), "a.test") == nullptr);
}

TEST_CASE("changing a name copies one shard and shares the rest") {
    std::vector<CertificateIndex::Change> changes;
    for (int i = 0; i < 5000; ++i) changes.push_back({fmt::format("n{}.test", i), new_set()});
    const auto index = CertificateIndex().with_all(changes);
    CHECK(index->size() == 5000);
    for (const auto& change : changes) {
        REQUIRE(found(*index, change.name) == change.value.get());
    }
    const auto replacement = new_set();
    const auto changed = index->with({"n42.test"}, replacement);
    CHECK(changed->shards_shared_with(*index) == 255);
    CHECK(changed->size() == 5000);
    CHECK(found(*changed, "n42.test") == replacement.get());
    CHECK(found(*index, "n42.test") == changes[42].value.get());
    CHECK(found(*changed, "n43.test") == changes[43].value.get());

    const auto removed = changed->with({"n42.test", "n43.test", "unknown.test"}, nullptr);
    CHECK(removed->size() == 4998);
    CHECK(found(*removed, "n42.test") == nullptr);
    CHECK(found(*removed, "n44.test") == changes[44].value.get());

    const auto fallback = new_set();
    const auto with_default = index->with_default(fallback);
    CHECK(with_default->shards_shared_with(*index) == 256);
    CHECK(with_default->fallback() == fallback);
    CHECK(index->fallback() == nullptr);
    CHECK(with_default->with({"z.test"}, new_set())->fallback() == fallback);
}

TEST_CASE("the same name twice in one change: the last one counts") {
    const auto a = new_set();
    const auto b = new_set();
    const auto index = CertificateIndex().with_all({{"a.test", a}, {"a.test", b}});
    CHECK(index->size() == 1);
    CHECK(found(*index, "a.test") == b.get());
}

TEST_CASE("challenges are found by name whatever its case, and never by wildcard") {
    tls::ChallengeCertificates challenges;
    const auto a = std::make_shared<tls::Certificate>();
    const auto b = std::make_shared<tls::Certificate>();
    challenges.entries = {{"a.test", a}, {"b.test", b}};
    CHECK(challenges.find("A.test.") == a.get());
    CHECK(challenges.find("b.test") == b.get());
    CHECK(challenges.find("x.b.test") == nullptr);
    CHECK(challenges.find("") == nullptr);
    CHECK(challenges.find("c.test") == nullptr);
    CHECK(tls::ChallengeCertificates().find("a.test") == nullptr);
}

TEST_CASE("rotation keeps two previous ticket keys") {
    base::SeededRandom random(1);
    auto keys = std::make_shared<const tls::TicketKeys>();
    std::vector<std::shared_ptr<const tls::TicketKey>> made;
    for (int i = 0; i < 5; ++i) {
        keys = keys->rotated(random, base::Time(std::chrono::hours(i)));
        made.insert(made.begin(), keys->keys.front());
        CHECK(keys->keys.front()->made == base::Time(std::chrono::hours(i)));
    }
    REQUIRE(keys->keys.size() == 3);
    CHECK(keys->keys[0] == made[0]);
    CHECK(keys->keys[2] == made[2]);
    CHECK(made[0]->name != made[1]->name);
    CHECK(made[0]->aes != made[0]->hmac);
}

TEST_CASE("addresses are found by their bytes, and nobody asks where there are none") {
    const auto four = new_set();
    const auto six = new_set();
    const auto at = [](const CertificateIndex& index, const char* address) {
        const CertificateSetPtr* set = index.find(*base::IpAddress::parse(address));
        return set ? set->get() : nullptr;
    };
    CHECK_FALSE(CertificateIndex().has_addresses());
    CHECK_FALSE(CertificateIndex().with({"a.test", "*.a.test"}, four)->has_addresses());
    auto index = CertificateIndex().with({"192.0.2.1", "a.test"}, four)->with({"2001:db8::1"}, six);
    CHECK(index->has_addresses());
    CHECK(at(*index, "192.0.2.1") == four.get());
    CHECK(at(*index, "2001:DB8:0:0::1") == six.get());
    CHECK(at(*index, "192.0.2.2") == nullptr);
    CHECK(at(*index, "::ffff:192.0.2.1") == nullptr);
    index = index->with({"192.0.2.1"}, six);  // again
    CHECK(at(*index, "192.0.2.1") == six.get());
    index = index->with({"192.0.2.1", "192.0.2.7"}, nullptr);
    CHECK(index->has_addresses());
    index = index->with({"2001:db8::1"}, nullptr);
    CHECK_FALSE(index->has_addresses());
    CHECK(found(*index, "a.test") == four.get());
}
