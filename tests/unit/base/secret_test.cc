#include "base/secret.h"

#include <fmt/format.h>

#include "catch.h"

#include <array>
#include <ostream>
#include <string>
#include <type_traits>
#include <vector>

namespace {

/// Memory that stays when it is given back, so that what was left in it can be looked at.
class Arena final : public std::pmr::memory_resource {
  public:
    bool has(std::string_view text) const {
        return std::string_view(bytes_.data(), bytes_.size()).find(text) != std::string_view::npos;
    }
    size_t given_back() const { return given_back_; }

  private:
    void* do_allocate(size_t bytes, size_t) override {
        REQUIRE(bytes <= bytes_.size() - used_);
        void* at = bytes_.data() + used_;
        used_ += bytes;
        return at;
    }
    void do_deallocate(void*, size_t, size_t) override { ++given_back_; }
    bool do_is_equal(const memory_resource& other) const noexcept override {
        return this == &other;
    }

    std::array<char, 4096> bytes_{};
    size_t used_ = 0;
    size_t given_back_ = 0;
};

constexpr std::string_view key = "-----BEGIN PRIVATE KEY-----";

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) {
    out << value;
};
template <typename T>
concept HasText = requires(T&& value) {
    std::forward<T>(value).text();
};

}  // namespace

TEST_CASE("a secret is gone from its memory when it dies") {
    Arena arena;
    {
        const base::Secret secret(key, arena);
        CHECK(secret.text() == key);
        CHECK(arena.has(key));
    }
    CHECK(arena.given_back() == 1);
    CHECK_FALSE(arena.has("PRIVATE"));
    CHECK_FALSE(arena.has("-"));  // not one byte of it
}

TEST_CASE("a secret that grows leaves nothing behind where it was") {
    Arena arena;
    base::Secret secret(key, arena);
    secret.append("MIGH");
    CHECK(arena.given_back() == 1);
    CHECK(secret.text() == std::string(key) + "MIGH");
    secret.append("AgEA");  // fits: nothing moves
    CHECK(arena.given_back() == 1);
    secret.reserve(500);
    secret.resize(600);
    CHECK(arena.given_back() == 3);
    CHECK(secret.text().substr(0, key.size() + 8) == std::string(key) + "MIGHAgEA");
    CHECK(secret.text().substr(key.size() + 8).find_first_not_of('\0') == std::string_view::npos);
    secret = base::Secret();
    CHECK_FALSE(arena.has("-"));
    CHECK_FALSE(arena.has("MIGH"));
}

TEST_CASE("what is cut off a secret is gone at once") {
    Arena arena;
    base::Secret secret(key, arena);
    secret.resize(5);
    CHECK(secret.text() == "-----");
    CHECK_FALSE(arena.has("BEGIN"));
    secret.resize(12);  // and does not come back
    CHECK(secret.text() == std::string_view("-----\0\0\0\0\0\0\0", 12));
    secret.clear();
    CHECK(secret.empty());
    CHECK_FALSE(arena.has("-"));
}

TEST_CASE("a moved secret is in one place, and what it takes the place of is gone") {
    Arena arena;
    Arena other;
    base::Secret from(key, arena);
    base::Secret to("another key", other);
    to = std::move(from);
    CHECK_FALSE(other.has("another"));
    CHECK(to.text() == key);
    CHECK(from.empty());  // NOLINT: that is the question
    base::Secret last(std::move(to));
    CHECK(arena.given_back() == 0);  // the same memory all the time
    CHECK(last.text() == key);
    base::Secret& same = last;
    last = std::move(same);
    CHECK(last.text() == key);
    last = base::Secret();
    CHECK_FALSE(arena.has("-"));
}

TEST_CASE("a secret is copied by name, printed never, and read through views") {
    using base::Secret;
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Secret>);
    STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<Secret>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Secret>);
    STATIC_REQUIRE(std::is_nothrow_move_assignable_v<Secret>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<Secret, std::string>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<Secret, std::string_view>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<std::string, Secret>);
    STATIC_REQUIRE_FALSE(std::is_constructible_v<std::string, Secret>);
    STATIC_REQUIRE_FALSE(fmt::is_formattable<Secret>::value);
    STATIC_REQUIRE_FALSE(Printable<Secret>);
    STATIC_REQUIRE(HasText<const Secret&>);
    STATIC_REQUIRE_FALSE(HasText<Secret>);  // would look at what is gone

    const Secret secret(key);
    const Secret copy = secret.copy();
    CHECK(copy == secret);
    CHECK(copy.text().data() != secret.text().data());
    CHECK_FALSE(copy == Secret("-----BEGIN PRIVATE KEX-----"));
    CHECK_FALSE(copy == Secret());
    CHECK(Secret() == Secret(""));
    CHECK(secret.bytes().size() == key.size());
}

TEST_CASE("a secret is read from base64url") {
    const auto secret = base::secret_from_base64url("c2VjcmV0");
    REQUIRE(secret);
    CHECK(secret->text() == "secret");
    CHECK_FALSE(base::secret_from_base64url("c2Vj cmV0"));
    CHECK(base::secret_from_base64url("")->empty());
}

TEST_CASE("a string that a library made is emptied with all that was ever in it") {
    Arena arena;
    std::pmr::string text(std::string(100, 'x') + std::string(key), &arena);
    text.resize(100);
    base::wipe(text);
    CHECK(text.empty());
    CHECK_FALSE(arena.has("x"));
    CHECK_FALSE(arena.has("PRIVATE"));
    std::pmr::vector<uint8_t> bytes(10, 'y', &arena);
    base::wipe(bytes);
    CHECK(bytes.empty());
    CHECK_FALSE(arena.has("y"));
    std::vector<uint8_t> none;
    base::wipe(none);
}
