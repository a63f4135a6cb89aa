#include "base/text.h"

#include "base/random.h"
#include "catch.h"

using namespace base;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST_CASE("durations follow mod_md's grammar") {
    struct Row {
        std::string_view text;
        std::optional<Duration> expected;
    };
    const Row rows[] = {
        {"30d", hours{24 * 30}},
        {"12h", hours{12}},
        {"5mi", minutes{5}},
        {"30s", seconds{30}},
        {"200ms", milliseconds{200}},
        {"30days", hours{24 * 30}},
        {"7D", hours{24 * 7}},
        {"-5s", seconds{-5}},
        {"10", std::nullopt},
        {"5m", std::nullopt},
        {"1w", std::nullopt},
        {"1y", std::nullopt},
        {"", std::nullopt},
        {"d", std::nullopt},
        {"1e9h", std::nullopt},
        {"10 d", std::nullopt},
        {"9223372036854775807d", std::nullopt},
    };
    for (const Row& row : rows) {
        INFO(row.text);
        CHECK(parse_duration(row.text) == row.expected);
    }
    CHECK(parse_duration("10", "d") == hours{240});
}

TEST_CASE("durations are written in the largest unit that divides them") {
    CHECK(format_duration(hours{24 * 14}) == "14d");
    CHECK(format_duration(hours{36}) == "36h");
    CHECK(format_duration(minutes{90}) == "90mi");
    CHECK(format_duration(seconds{30}) == "30s");
    CHECK(format_duration(milliseconds{200}) == "200ms");
    CHECK(format_duration(milliseconds{0}) == "0s");
}

TEST_CASE("sizes") {
    CHECK(parse_size("16KiB") == 16384u);
    CHECK(parse_size("64k") == 65536u);
    CHECK(parse_size("1MiB") == 1048576u);
    CHECK(parse_size("512") == 512u);
    CHECK_FALSE(parse_size("10 MB"));
    CHECK_FALSE(parse_size("-1"));
    CHECK_FALSE(parse_size("99999999999999999999"));
    CHECK_FALSE(parse_size("17179869184GiB"));
}

TEST_CASE("texts are joined with separators between them") {
    CHECK(join({}, ", ").empty());
    const std::vector<std::string> texts{"", "a", "", "b"};
    CHECK(join(std::span(texts).subspan(1, 1), ", ") == "a");
    CHECK(join(texts, "; ") == "; a; ; b");
}

TEST_CASE("base64url is strict and reversible") {
    SeededRandom random(42);
    for (size_t size = 0; size < 70; ++size) {
        std::vector<uint8_t> bytes(size);
        random.fill(bytes);
        CHECK(from_base64url(base64url(bytes)) == bytes);
    }
    CHECK(base64url(std::vector<uint8_t>{0xfb, 0xff}) == "-_8");
    for (const char* bad : {"A", "AB=", "A B", "+/8", "-_9"}) {
        INFO(bad);
        CHECK_FALSE(from_base64url(bad));
    }
}

TEST_CASE("log text is escaped and cut") {
    CHECK(escape_for_log("a\r\n\x1b[31m\"b\\") == "a\\x0d\\x0a\\x1b[31m\\x22b\\x5c");
    CHECK(escape_for_log(std::string(50, 'x'), 10) == "xxxxxxxxxx...");
}

TEST_CASE("html is escaped") {
    CHECK(escape_html("<a href='x'>\"&") == "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
}

TEST_CASE("the nearest word is a likely typo only") {
    const std::string_view words[] = {"listen", "backend", "renew_window"};
    CHECK(nearest("listn", words) == "listen");
    CHECK(nearest("renew_windw", words) == "renew_window");
    CHECK_FALSE(nearest("zzz", words));
}

TEST_CASE("DNS names are normalised or refused") {
    CHECK(normalize_dns_name("Example.ORG.") == "example.org");
    CHECK(normalize_dns_name("*.Example.org") == "*.example.org");
    for (const char* bad : {"", ".", "a..b", "*", "a.*.b", "a b", "ex\xc3\xa4mple.org", "http://a",
                            "a:80", "*.", "a/b"}) {
        INFO(bad);
        CHECK_FALSE(normalize_dns_name(bad));
    }
    CHECK_FALSE(normalize_dns_name(std::string(64, 'a') + ".org"));
    CHECK_FALSE(normalize_dns_name(std::string(250, 'a')));
}

TEST_CASE("a wildcard covers exactly one label") {
    CHECK(dns_name_matches("*.a.b", "x.a.b"));
    CHECK(dns_name_matches("A.b", "a.B"));
    CHECK_FALSE(dns_name_matches("*.a.b", "a.b"));
    CHECK_FALSE(dns_name_matches("*.a.b", "x.y.a.b"));
    CHECK_FALSE(dns_name_matches("*.a.b", ".a.b"));
    CHECK(dns_name_matches("*.a.b", "*.a.b"));
}
