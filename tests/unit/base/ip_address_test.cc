#include "base/ip_address.h"

#include <arpa/inet.h>

#include "base/random.h"
#include "base/text.h"
#include "catch.h"

using base::IpAddress;
using Use = base::IpAddress::Use;

TEST_CASE("addresses have one form (RFC 5952 4 and 5)") {
    const std::pair<const char*, const char*> rows[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"2001:0DB8::0001", "2001:db8::1"},
        {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
        {"2001:db8::2:1", "2001:db8::2:1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:DB8:AAAA:bbbb:CCCC:dddd:EEEE:1", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"::", "::"},
        {"0:0:0:0:0:0:0:1", "::1"},
        {"1:0:0:0:0:0:0:0", "1::"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
        {"::ffff:c000:201", "::ffff:192.0.2.1"},
        {"fe80::1", "fe80::1"},
    };
    for (const auto& [written, text] : rows) {
        CAPTURE(written);
        const auto address = IpAddress::parse(written);
        REQUIRE(address);
        CHECK(address->text() == text);
        CHECK(IpAddress::parse(text) == address);
        CHECK(IpAddress::from_bytes(address->bytes()) == address);
        char room[IpAddress::text_bytes_max];
        CHECK(address->write_text(room) == text);
    }
    CHECK(IpAddress::parse("::1") != IpAddress::parse("0.0.0.1"));
    CHECK(IpAddress::parse("::") != IpAddress::parse("0.0.0.0"));
}

TEST_CASE("what is no address is none") {
    for (const std::string& text : {std::string(),
                                    std::string("192.0.2"),
                                    std::string("192.0.2.1.5"),
                                    std::string("192.0.02.1"),
                                    std::string("192.0.2.01"),
                                    std::string("192.0.2.256"),
                                    std::string("0xc0.0.2.1"),
                                    std::string("3221225985"),
                                    std::string("192.0.2.1 "),
                                    std::string(" 192.0.2.1"),
                                    std::string("192.0.2.1\0", 10),
                                    std::string("192.0.2.1:80"),
                                    std::string("[::1]"),
                                    std::string("::1%lo"),
                                    std::string("::1%1"),
                                    std::string(":::"),
                                    std::string(":1"),
                                    std::string("1::2::3"),
                                    std::string("12345::"),
                                    std::string("::g"),
                                    std::string("1:2:3:4:5:6:7"),
                                    std::string("1:2:3:4:5:6:7:8:9"),
                                    std::string("::1.2.3"),
                                    std::string("::1.2.3.04"),
                                    std::string("::\0"
                                                "1",
                                                4),
                                    std::string(1000, ':'),
                                    std::string("example.org"),
                                    std::string("2001.db8")}) {
        CAPTURE(text);
        CHECK_FALSE(IpAddress::parse(text));
        CHECK_FALSE(base::is_ip_address(text));
    }
    const std::array<uint8_t, 17> bytes{};
    for (size_t size = 0; size <= bytes.size(); ++size) {
        const bool is_one = size == 4 || size == 16;
        CHECK(IpAddress::from_bytes({bytes.data(), size}).has_value() == is_one);
    }
}

TEST_CASE("any bytes are read as inet_pton reads them, and written so that they are read again") {
    base::SeededRandom random{20260501};
    constexpr std::string_view alphabet = "0123456789abcdefF:.:.%[]";
    size_t good = 0;
    for (int i = 0; i < 200'000; ++i) {
        std::string text;
        const uint64_t size = random.below(20);
        for (uint64_t j = 0; j < size; ++j) text += alphabet[random.below(alphabet.size())];
        in6_addr room;
        const bool is_one = ::inet_pton(AF_INET, text.c_str(), &room) == 1 ||
                            ::inet_pton(AF_INET6, text.c_str(), &room) == 1;
        const auto address = IpAddress::parse(text);
        CAPTURE(text);
        REQUIRE(address.has_value() == is_one);
        if (!address) continue;
        ++good;
        REQUIRE(IpAddress::parse(address->text()) == address);
        REQUIRE(base::normalize_name(text) == address->text());
        REQUIRE(base::normalize_dns_name(address->reverse_name()) == address->reverse_name());
    }
    CHECK(good > 100);
}

TEST_CASE("the name that stands for an address in a ClientHello (RFC 8738 6)") {
    CHECK(IpAddress::parse("192.0.2.1")->reverse_name() == "1.2.0.192.in-addr.arpa");
    CHECK(IpAddress::parse("2001:db8::1")->reverse_name() ==
          "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

TEST_CASE("what an address is for") {
    const std::pair<const char*, Use> rows[] = {
        {"8.8.8.8", Use::Global},
        {"0.0.0.0", Use::Unspecified},
        {"0.0.0.1", Use::Reserved},
        {"9.255.255.255", Use::Global},
        {"10.0.0.0", Use::Private},
        {"10.255.255.255", Use::Private},
        {"100.63.255.255", Use::Global},
        {"100.64.0.1", Use::Private},
        {"100.127.255.255", Use::Private},
        {"100.128.0.0", Use::Global},
        {"127.0.0.1", Use::Loopback},
        {"169.254.1.1", Use::LinkLocal},
        {"172.15.255.255", Use::Global},
        {"172.16.0.0", Use::Private},
        {"172.31.255.255", Use::Private},
        {"172.32.0.0", Use::Global},
        {"192.168.0.1", Use::Private},
        {"192.0.2.255", Use::Documentation},
        {"192.0.3.0", Use::Global},
        {"224.0.0.1", Use::Multicast},
        {"239.255.255.255", Use::Multicast},
        {"240.0.0.1", Use::Reserved},
        {"255.255.255.255", Use::Reserved},
        {"::", Use::Unspecified},
        {"::1", Use::Loopback},
        {"::2", Use::EmbeddedIpv4},
        {"::ffff:8.8.8.8", Use::EmbeddedIpv4},
        {"2606:4700::1111", Use::Global},
        {"2001:db8:ffff::", Use::Documentation},
        {"2001:db9::", Use::Global},
        {"3fff:fff::", Use::Documentation},
        {"fc00::", Use::Private},
        {"fdff::1", Use::Private},
        {"fe00::", Use::Global},
        {"fe80::1", Use::LinkLocal},
        {"febf::1", Use::LinkLocal},
        {"ff02::1", Use::Multicast},
    };
    for (const auto& [text, use] : rows) {
        CAPTURE(text);
        CHECK(IpAddress::parse(text)->use() == use);
    }
}

TEST_CASE("names of sites and domains: DNS names and addresses, and nothing between") {
    const std::pair<const char*, const char*> rows[] = {
        {"WWW.Example.org.", "www.example.org"},
        {"*.example.org", "*.example.org"},
        {"localhost", "localhost"},
        {"1.example", "1.example"},
        {"example.0x1", "example.0x1"},
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.1.", "192.0.2.1"},
        {"2001:DB8:0::1", "2001:db8::1"},
        {"*.0.2.1", nullptr},
        {"*.192.0.2.1", nullptr},
        {"192.0.02.1", nullptr},
        {"192.0.2", nullptr},
        {"a.1", nullptr},
        {"7", nullptr},
        {"[::1]", nullptr},
        {"::1.", nullptr},
        {"a b", nullptr},
        {"", nullptr},
    };
    for (const auto& [written, name] : rows) {
        CAPTURE(written);
        const auto normal = base::normalize_name(written);
        CHECK(normal.has_value() == (name != nullptr));
        if (name != nullptr) CHECK(normal == name);
    }
    CHECK(base::url_host("2001:db8::1") == "[2001:db8::1]");
    CHECK(base::url_host("192.0.2.1") == "192.0.2.1");
    CHECK(base::url_host("example.org") == "example.org");
    CHECK(base::dns_name_matches("*.example.org", "a.example.org"));
    CHECK(base::dns_name_matches("192.0.2.1", "192.0.2.1"));
    CHECK_FALSE(base::dns_name_matches("*.0.2.1", "192.0.2.1"));
}
