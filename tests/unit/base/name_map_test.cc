#include "base/name_map.h"

#include <fmt/format.h>

#include "catch.h"

namespace base {

namespace {

using Texts = NameMap<std::string>;

Texts::ValuePtr text(const char* value) {
    return std::make_shared<const std::string>(value);
}

std::string at(const Texts& map, std::string_view name) {
    const auto* found = map.find(name);
    return found == nullptr ? "nothing" : **found;
}

}  // namespace

TEST_CASE("A snapshot keeps what it had when names change in the next one") {
    const Texts first = Texts().with_all({{"a.test", text("A")}, {"b.test", text("B")}});
    const Texts second = first.with_all({{"a.test", text("other")}, {"b.test", nullptr}});
    CHECK(at(first, "a.test") == "A");
    CHECK(at(first, "b.test") == "B");
    CHECK(first.size() == 2);
    CHECK(at(second, "a.test") == "other");
    CHECK(at(second, "b.test") == "nothing");
    CHECK(second.size() == 1);
}

TEST_CASE("Of several changes of one name the last one counts") {
    const Texts start = Texts().with_all({{"a.test", text("A")}});
    CHECK(at(start.with_all({{"a.test", nullptr}, {"a.test", text("B")}}), "a.test") == "B");
    const Texts gone =
        start.with_all({{"a.test", text("B")}, {"a.test", nullptr}, {"nobody.test", nullptr}});
    CHECK(at(gone, "a.test") == "nothing");
    CHECK(gone.size() == 0);
}

TEST_CASE("One change among thousands shares all shards but one") {
    std::vector<Texts::Change> changes;
    for (int i = 0; i < 5000; ++i) changes.push_back({fmt::format("n{}.test", i), text("old")});
    const Texts all = Texts().with_all(changes);
    const Texts changed = all.with_all({{"n42.test", text("new")}});
    CHECK(changed.shards_shared_with(all) == 255);
    CHECK(at(changed, "n42.test") == "new");
    CHECK(at(changed, "n43.test") == "old");
    CHECK(changed.size() == 5000);
}

}  // namespace base
