#include "net/address.h"

#include <netinet/in.h>

#include "catch.h"

namespace net {

TEST_CASE("Addresses are read and shown in one form") {
    struct Row {
        const char* text;
        const char* shown;
        const char* host;
        int family;
        uint16_t port;
        bool loopback;
    };
    const Row rows[] = {
        {"127.0.0.1:80", "127.0.0.1:80", "127.0.0.1", AF_INET, 80, true},
        {"127.255.0.9:1", "127.255.0.9:1", "127.255.0.9", AF_INET, 1, true},
        {"192.0.2.1:65535", "192.0.2.1:65535", "192.0.2.1", AF_INET, 65535, false},
        {"*:443", "0.0.0.0:443", "0.0.0.0", AF_INET, 443, false},
        {"[::]:80", "[::]:80", "::", AF_INET6, 80, false},
        {"[::1]:443", "[::1]:443", "::1", AF_INET6, 443, true},
        {"[2001:DB8::0:1]:0", "[2001:db8::1]:0", "2001:db8::1", AF_INET6, 0, false},
        {"[::ffff:192.0.2.7]:9", "[::ffff:192.0.2.7]:9", "192.0.2.7", AF_INET6, 9, false},
        {"[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:9", "127.0.0.1", AF_INET6, 9, true},
        {"[fe80::1%1]:80", "[fe80::1%1]:80", "fe80::1", AF_INET6, 80, false},
        {"unix:/run/a.sock", "unix:/run/a.sock", "unix:", AF_UNIX, 0, true},
    };
    for (const Row& row : rows) {
        INFO(row.text);
        auto address = Address::parse(row.text);
        REQUIRE(address.ok());
        CHECK(address->text() == row.shown);
        CHECK(address->host_text() == row.host);
        CHECK(address->family() == row.family);
        CHECK(address->port() == row.port);
        CHECK(address->is_loopback() == row.loopback);
        auto again = Address::parse(address->text());
        REQUIRE(again.ok());
        CHECK(*again == *address);
        CHECK(Address::from_sockaddr(address->data(), address->length()) == *address);
    }
}

TEST_CASE("What is no address is refused with a reason") {
    const std::string long_path(108, 'x');
    const std::pair<std::string, const char*> rows[] = {
        {"", "port is missing"},
        {"127.0.0.1", "port is missing"},
        {"127.0.0.1:", "port is missing"},
        {"[::1]", "port is missing"},
        {"80", "port is missing"},
        {"127.0.0.1:65536", "port is not a number from 0 to 65535"},
        {"127.0.0.1:-1", "port is not a number from 0 to 65535"},
        {"127.0.0.1:8o", "port is not a number from 0 to 65535"},
        {"127.0.0.1: 80", "port is not a number from 0 to 65535"},
        {"localhost:80", "not an address; names are not resolved here"},
        {"127.1:80", "not an address; names are not resolved here"},
        {"0x7f.0.0.1:80", "not an address; names are not resolved here"},
        {":80", "address is missing; write *:80 for all of them"},
        {"::1:80", "an IPv6 address stands in brackets: [::1]:80"},
        {"[::1:80", "']' is missing"},
        {"[::1]x:80", "not an address"},
        {"[127.0.0.1]:80", "not an IPv6 address"},
        {"[]:80", "not an IPv6 address"},
        {"[fe80::1%nosuchlink]:80", "not an IPv6 address"},
        {std::string("127.0.0.1\0:80", 13), "not an address"},
        {"unix:", "path is missing"},
        {"unix:/" + long_path, "path of a Unix socket is longer than 107 bytes"},
        {std::string("unix:/a\0b", 9), "path contains NUL"},
    };
    for (const auto& [text, reason] : rows) {
        INFO(text);
        const auto address = Address::parse(text);
        REQUIRE_FALSE(address.ok());
        CHECK(address.error().domain == base::ErrorDomain::Input);
        CHECK(std::string(address.error().text) == reason);
    }
    CHECK(Address::parse("unix:" + std::string(107, 'x')).ok());
}

TEST_CASE("Addresses are equal by family, host, port and path") {
    const char* distinct[] = {"127.0.0.1:80", "127.0.0.2:80",      "127.0.0.1:81", "[::1]:80",
                              "[::2]:80",     "[::1%1]:80",        "unix:/a",      "unix:/b",
                              "unix:/ab",     "[::ffff:7f00:1]:80"};
    for (const char* a : distinct) {
        for (const char* b : distinct) {
            INFO(a << " " << b);
            auto left = Address::parse(a);
            auto right = Address::parse(b);
            REQUIRE(left.ok());
            REQUIRE(right.ok());
            CHECK((*left == *right) == (a == b));
        }
    }
    CHECK(Address() == Address());
    CHECK(Address().text().empty());
    CHECK(Address().host_text().empty());
    CHECK(Address::from_sockaddr(nullptr, 0) == Address());
}

TEST_CASE("The port can be set; Unix sockets have none") {
    auto inet = Address::parse("[::1]:80");
    inet->set_port(81);
    CHECK(inet->text() == "[::1]:81");
    auto path = Address::parse("unix:/a");
    path->set_port(81);
    CHECK(path->text() == "unix:/a");
    CHECK(path->port() == 0);
}

TEST_CASE("The IP address of a socket's end, IPv4 also where sockets take both families") {
    const std::pair<const char*, const char*> rows[] = {
        {"192.0.2.1:80", "192.0.2.1"},
        {"[2001:db8::1]:80", "2001:db8::1"},
        {"[::ffff:192.0.2.1]:80", "192.0.2.1"},
        {"[::1%1]:80", "::1"},
        {"[::]:80", "::"},
    };
    for (const auto& [text, ip] : rows) {
        INFO(text);
        const auto address = Address::parse(text).value().ip();
        REQUIRE(address);
        CHECK(address->text() == ip);
    }
    CHECK_FALSE(Address::parse("unix:/a").value().ip());
    CHECK_FALSE(Address().ip());
}

}  // namespace net
