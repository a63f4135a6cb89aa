#include "md/key_cache.h"

#include <fmt/format.h>

#include "catch.h"

using md::KeyCache;

TEST_CASE("KeyCache: exactly the text that was added is found") {
    KeyCache keys;
    CHECK_FALSE(keys.find("encrypted"));
    keys.add("encrypted", "plain");
    CHECK(keys.find("encrypted") == base::Secret("plain"));
    CHECK_FALSE(keys.find("encrypted "));
}

TEST_CASE("KeyCache: what was used least lately makes room") {
    KeyCache keys;
    for (size_t i = 0; i < KeyCache::keys_max; ++i) keys.add(fmt::format("e{}", i), "p");
    CHECK(keys.find("e0"));  // used just now
    keys.add("one more", "q");
    CHECK(keys.find("e0"));
    CHECK_FALSE(keys.find("e1"));
    CHECK(keys.find("one more") == base::Secret("q"));
}
