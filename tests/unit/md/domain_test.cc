#include "md/domain.h"

#include <cerrno>

#include "catch.h"
#include "md/problem.h"

using namespace md;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("Window: grammar and errors of mod_md.md 1.2") {
    struct Case {
        const char* text;
        const char* printed;  // nullptr: refused
        const char* error;
    };
    const Case cases[] = {
        {"33%", "33%", ""},
        {"0%", "0%", ""},
        {"99%", "99%", ""},
        {"14d", "14d", ""},
        {"10", "10d", ""},
        {"30days", "30d", ""},
        {"36h", "36h", ""},
        {"90mi", "90mi", ""},
        {"48H", "2d", ""},
        {"30s", "30s", ""},
        {"200ms", "200ms", ""},
        {"100%", nullptr, "percent must be less than 100"},
        {"-1%", nullptr, "percent must be less than 100"},
        {"99999999999999999999%", nullptr, "percent must be less than 100"},
        {"33.3%", nullptr, "has unrecognized duration format"},
        {"%", nullptr, "has unrecognized duration format"},
        {"3m", nullptr, "has unrecognized duration format"},
        {"2w", nullptr, "has unrecognized duration format"},
        {"1y", nullptr, "has unrecognized duration format"},
        {"", nullptr, "has unrecognized duration format"},
        {"d", nullptr, "has unrecognized duration format"},
        {"-14d", nullptr, "must not be negative"},
    };
    for (const Case& c : cases) {
        INFO(c.text);
        std::string error;
        const auto window = Window::parse(c.text, error);
        CHECK(window.has_value() == (c.printed != nullptr));
        if (window && c.printed) CHECK(window->text() == c.printed);
        CHECK(error == c.error);
    }
}

TEST_CASE("Window: share of a lifetime in whole seconds (mod_md.md 4.2)") {
    const auto days = [](int n) { return base::Duration(hours{24 * n}); };
    CHECK(Window{33, {}}.of(days(90)) == seconds{90 * 86400 * 33 / 100});
    CHECK(Window{33, {}}.of(seconds{1001}) == seconds{330});
    CHECK(Window{10, {}}.of(seconds{50}) == seconds{5});
    CHECK(Window{33, {}}.of(seconds{10}) == milliseconds{3300});
    CHECK(Window{0, days(14)}.of(days(90)) == days(14));
    CHECK(Window{0, {}}.of(days(90)) == seconds{0});
    CHECK(Window{50, {}}.of(seconds{-5}) == seconds{0});
    // A century must not overflow.
    CHECK(Window{99, {}}.of(days(36500)) == seconds{int64_t{36500} * 86400 * 99 / 100});
}

TEST_CASE("KeySpec: file names and status names (mod_md.md 3.3, 7.1)") {
    using Type = KeySpec::Type;
    CHECK(KeySpec{}.file_suffix().empty());
    CHECK(KeySpec{Type::Rsa, 4096, ""}.file_suffix().empty());
    CHECK(KeySpec{Type::Ec, 0, "P-256"}.file_suffix() == ".p-256");
    CHECK(KeySpec{Type::Ec, 0, "secp384r1"}.file_suffix() == ".secp384r1");
    CHECK(KeySpec{}.status_name() == "rsa");
    CHECK(KeySpec{Type::Rsa, 4096, ""}.status_name() == "rsa");
    CHECK(KeySpec{Type::Ec, 0, "P-256"}.status_name() == "P-256");
}

TEST_CASE("Domain: names it contains, and the minimal set (mod_md.md 2.1)") {
    Domain domain;
    domain.names = {"x.org", "www.x.org", "*.x.org", "a.b.x.org"};
    CHECK(domain.contains("X.ORG"));
    CHECK(domain.contains("mail.x.org"));
    CHECK(domain.contains("*.x.org"));
    CHECK_FALSE(domain.contains("c.b.x.org"));
    CHECK_FALSE(domain.contains("org"));
    CHECK(domain.minimal_names() == std::vector<std::string>{"x.org", "*.x.org", "a.b.x.org"});
    CHECK(domain.key_specs() == std::vector<KeySpec>{KeySpec{}});
}

TEST_CASE("Problem: which ACME errors are input-related (mod_md.md 4.4)") {
    for (const char* name :
         {"agreementRequired", "badCSR", "badSignatureAlgorithm", "externalAccountRequired",
          "invalidContact", "unsupportedContact", "malformed", "rejectedIdentifier",
          "unsupportedIdentifier", "userActionRequired", "badRevocationReason"}) {
        INFO(name);
        Problem problem = make_problem(EINVAL, "");
        problem.type = std::string("urn:ietf:params:acme:error:") + name;
        CHECK(problem.is_input_related());
        problem.type = std::string("urn:acme:error:") + name;
        CHECK(problem.is_input_related());
        problem.type = name;
        CHECK_FALSE(problem.is_input_related());
    }
    for (const char* name : {"badNonce", "rateLimited", "serverInternal", "unauthorized", "caa",
                             "dns", "connection", "tls", "incorrectResponse", "newInvention", ""}) {
        INFO(name);
        Problem problem = make_problem(EINVAL, "");
        problem.type = std::string("urn:ietf:params:acme:error:") + name;
        CHECK_FALSE(problem.is_input_related());
    }
}

TEST_CASE("Problem: one line with everything that is known") {
    Problem problem = make_problem(EINVAL, "the order was refused");
    problem.type = "urn:ietf:params:acme:error:rejectedIdentifier";
    problem.subproblems = {{"urn:ietf:params:acme:error:caa", "CAA forbids it", "a.org"}};
    CHECK(problem.message() ==
          "the order was refused (urn:ietf:params:acme:error:rejectedIdentifier); a.org: CAA "
          "forbids it (urn:ietf:params:acme:error:caa)");
    CHECK(make_problem(ECONNREFUSED, "").message() == "Connection refused");
    CHECK(status_description(70013) == "Missing parameter for the specified command line option");
    CHECK(status_description(0).empty());
    CHECK(status_description(99999) == "error 99999");
}
