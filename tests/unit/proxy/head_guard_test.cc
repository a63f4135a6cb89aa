// HeadGuard: lines, ends, and raw bytes. The vectorised scans are compared with the plain
// definition at every length and offset.
#include "proxy/head_guard.h"

#include <string>
#include <vector>
#include "catch.h"

namespace proxy {

namespace {

using namespace std::string_literals;
using State = GuardResult::State;

constexpr GuardRules rules{
    .start_line_bytes_max = 64, .head_bytes_max = 1024, .skip_empty_line = true};

GuardResult guard(std::string_view bytes, HeadLines& lines) {
    HeadProgress progress;
    return guard_head(bytes, rules, progress, lines);
}

bool is_name_byte(unsigned char c) {
    return std::isalnum(c) != 0 ||
           (c != 0 && "!#$%&'*+-.^_`|~"s.find(static_cast<char>(c)) != std::string::npos);
}
bool is_target_byte(unsigned char c) {
    return c > ' ' && c < 0x7f && c != '#' && c != '\\';
}
bool is_control_byte(unsigned char c) {
    return (c < ' ' && c != '\t') || c == 0x7f;
}

}  // namespace

TEST_CASE("the guard finds each line and the end of a head") {
    const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nrest";
    HeadLines lines;
    REQUIRE(guard(bytes, lines).state == State::Complete);
    REQUIRE(lines.count == 3);
    CHECK(lines.starts[0] == 0);
    CHECK(lines.starts[1] == 16);
    CHECK(lines.starts[2] == 25);
    CHECK(lines.starts[3] == 31);
    CHECK(lines.end == 33);
}

TEST_CASE("one CRLF before the start line is skipped only where that is allowed") {
    HeadLines lines;
    REQUIRE(guard("\r\nA\r\n\r\n", lines).state == State::Complete);
    CHECK(lines.starts[0] == 2);
    CHECK(lines.count == 1);
    CHECK(lines.end == 7);
    CHECK(guard("\r\n\r\nA\r\n\r\n", lines).state == State::Bad);
    HeadProgress progress;
    CHECK(guard_head("\r\nA\r\n\r\n", {64, 1024, false}, progress, lines).state == State::Bad);
}

TEST_CASE("the guard says the same of a head in any two pieces") {
    for (const std::string& bytes :
         {"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nrest"s, "\r\nA\r\nB\r\n\r\n"s,
          "A\r\nB\rC\r\n\r\n"s, "A\r\n B\r\n\r\n"s, "A\r\nB\nC\r\n\r\n"s, "A\r\n\r\r\n"s,
          std::string(64, 'a') + "\r\n\r\n", "A\r\nX: " + std::string(2000, 'x') + "\r\n\r\n"}) {
        HeadLines whole;
        const GuardResult expected = guard(bytes, whole);
        for (size_t cut = 0; cut <= bytes.size(); ++cut) {
            INFO(bytes << " at " << cut);
            HeadProgress progress;
            HeadLines lines;
            GuardResult result =
                guard_head(std::string_view(bytes).substr(0, cut), rules, progress, lines);
            lines.starts.fill(~0u);  // nothing of the first call may be needed
            if (result.state == State::Incomplete) {
                result = guard_head(bytes, rules, progress, lines);
            } else {
                REQUIRE(guard(bytes, lines).state == result.state);
            }
            REQUIRE(result.state == expected.state);
            CHECK(result.reason == std::string_view(expected.reason));
            if (result.state != State::Complete) continue;
            CHECK(lines.count == whole.count);
            CHECK(lines.end == whole.end);
            for (size_t i = 0; i <= whole.count; ++i) CHECK(lines.starts[i] == whole.starts[i]);
        }
    }
}

TEST_CASE("the guard refuses what could end or continue a line for another reader") {
    const std::vector<std::pair<std::string, const char*>> rows = {
        {"A\r\n B\r\n\r\n", "blank-before-line"},
        {"A\r\n\tB\r\n\r\n", "blank-before-line"},
        {" A\r\n\r\n", "blank-before-line"},
        {"A\n", "bare-lf"},
        {"A\r\nB\n", "bare-lf"},
        {"A\r\n\n", "bare-lf"},
        {"A\rB", "bare-cr"},
        {"A\r\r\n", "bare-cr"},
        {"A\r\n\rB", "bare-cr"},
        {"\rA", "bare-cr"},
        {"A\r\nB\0"s, "nul"},
        {"A\x1b", "control-byte"},
        {"A\x7f", "control-byte"},
        {"\r\n\r\n", "empty-line"},
    };
    for (const auto& [bytes, reason] : rows) {
        INFO(bytes);
        HeadLines lines;
        const GuardResult result = guard(bytes, lines);
        CHECK(result.state == State::Bad);
        CHECK(std::string_view(result.reason) == reason);
    }
}

TEST_CASE("the guard's limits hold to the byte") {
    HeadLines lines;
    CHECK(guard(std::string(62, 'a') + "\r\n\r\n", lines).state == State::Complete);
    CHECK(guard(std::string(63, 'a') + "\r\n\r\n", lines).state == State::StartLineTooLong);
    CHECK(guard(std::string(63, 'a'), lines).state == State::Incomplete);
    CHECK(guard(std::string(64, 'a'), lines).state == State::StartLineTooLong);
    CHECK(guard("A\r\n" + std::string(1017, 'a') + "\r\n\r\n", lines).state == State::Complete);
    CHECK(guard("A\r\n" + std::string(1018, 'a') + "\r\n\r\n", lines).state == State::TooLarge);
    std::string fields;
    for (size_t i = 0; i < fields_max; ++i) fields += "X: y\r\n";
    CHECK(guard("A\r\n" + fields + "\r\n", lines).state == State::Complete);
    CHECK(lines.count == fields_max + 1);
    CHECK(guard("A\r\n" + fields + "X", lines).state == State::TooManyFields);
}

TEST_CASE("scans agree with the definition of their bytes at every length and offset") {
    for (int value = 0; value < 256; ++value) {
        const auto byte = static_cast<unsigned char>(value);
        CHECK(is_token_byte(static_cast<char>(byte)) == is_name_byte(byte));
        for (size_t size = 1; size < 40; ++size) {
            for (size_t at = 0; at < size; ++at) {
                std::string text(size, 'a');
                text[at] = static_cast<char>(byte);
                const size_t from = at / 2;
                const bool fine =
                    token_end(text, from, size) == (is_name_byte(byte) ? size : at) &&
                    target_end(text, from, size) == (is_target_byte(byte) ? size : at) &&
                    find_control(text, from, size) == (is_control_byte(byte) ? at : size);
                if (!fine) FAIL("byte " << value << " at " << at << " of " << size);
            }
        }
    }
    CHECK(token_end("", 0, 0) == 0);
    CHECK(find_control("a\n", 0, 1) == 1);
}

}  // namespace proxy
