#include "md/command_line.h"

#include <sys/stat.h>

#include "catch.h"
#include "mini_ca.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;

TEST_CASE("A command line is split like in a shell, and nothing is expanded") {
    struct Case {
        std::string line;
        std::vector<std::string> words;  // none: refused
    };
    const std::vector<Case> cases = {
        {"/bin/x", {"/bin/x"}},
        {"  /bin/x \t a  b ", {"/bin/x", "a", "b"}},
        {"/bin/x 'a b' \"c d\"", {"/bin/x", "a b", "c d"}},
        {"/bin/x a'b c'd", {"/bin/x", "ab cd"}},
        {"/bin/x ''", {"/bin/x", ""}},
        {"\"/a path/x\" y", {"/a path/x", "y"}},
        {"/bin/x a\\ b \\\"", {"/bin/x", "a b", "\""}},
        {R"(/bin/x "a\"b\\c\d")", {"/bin/x", "a\"b\\c\\d"}},
        {R"(/bin/x 'a\b"')", {"/bin/x", "a\\b\""}},
        {"/bin/x $HOME ~ *.pem `id` $(id) | cat > /tmp/x; y",
         {"/bin/x", "$HOME", "~", "*.pem", "`id`", "$(id)", "|", "cat", ">", "/tmp/x;", "y"}},
        {"/bin/x \xc3\xa4", {"/bin/x", "\xc3\xa4"}},
        {"", {}},
        {"   ", {}},
        {"''", {}},
        {"/bin/x 'a", {}},
        {"/bin/x \"a", {}},
        {"/bin/x a\\", {}},
        {std::string("/bin/x a\0b", 10), {}},
    };
    for (const Case& one : cases) {
        CAPTURE(one.line);
        auto words = split_command_line(one.line);
        CHECK(words.ok() == !one.words.empty());
        if (words) CHECK(*words == one.words);
    }
}

TEST_CASE("Words that were quoted are the same words again") {
    const std::vector<std::string> words = {"/a b/x", "",   "'", "\"",     "\\",
                                            "a\\\"b", "$x", "c", "d\te\n", "\xc3\xa4"};
    CHECK(take(split_command_line(quote_command_line(words))) == words);
}

TEST_CASE("A program is found, or it is said why not (CF-30)") {
    CHECK(take(find_program("/bin/sh")) == "/bin/sh");
    CHECK(take(find_program("sh")).ends_with("/sh"));
    const TempDir directory;
    write_text(directory / "plain", "#!/bin/sh\n");
    REQUIRE(::chmod((directory / "plain").c_str(), 0644) == 0);
    struct Case {
        std::string program;
        int status;
        std::string detail;
    };
    const std::vector<Case> cases = {
        {"/no/such/program", ENOENT, "/no/such/program: No such file"},
        {"no-such-program", ENOENT, "there is no program no-such-program in /usr/local/sbin"},
        {"bin/x", EINVAL, "bin/x is a relative path"},
        {"./x", EINVAL, "relative"},
        {directory.path(), EISDIR, "Is a directory"},
        {directory / "plain", EACCES, "x permission"},
    };
    for (const Case& one : cases) {
        const auto found = find_program(one.program);
        REQUIRE_FALSE(found);
        CHECK(found.error().status == one.status);
        CHECK(found.error().detail.find(one.detail) != std::string::npos);
    }
}
