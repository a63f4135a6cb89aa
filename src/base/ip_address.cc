#include "base/ip_address.h"

#include <arpa/inet.h>

#include "base/result.h"
#include "base/text.h"

namespace base {

namespace {

struct Range {
    std::string_view network;
    unsigned bits;
    IpAddress::Use use;
};

// The first that fits counts.
constexpr Range ranges[] = {
    {"0.0.0.0", 32, IpAddress::Use::Unspecified},
    {"0.0.0.0", 8, IpAddress::Use::Reserved},
    {"10.0.0.0", 8, IpAddress::Use::Private},
    {"100.64.0.0", 10, IpAddress::Use::Private},
    {"127.0.0.0", 8, IpAddress::Use::Loopback},
    {"169.254.0.0", 16, IpAddress::Use::LinkLocal},
    {"172.16.0.0", 12, IpAddress::Use::Private},
    {"192.0.2.0", 24, IpAddress::Use::Documentation},
    {"192.168.0.0", 16, IpAddress::Use::Private},
    {"198.51.100.0", 24, IpAddress::Use::Documentation},
    {"203.0.113.0", 24, IpAddress::Use::Documentation},
    {"224.0.0.0", 4, IpAddress::Use::Multicast},
    {"240.0.0.0", 4, IpAddress::Use::Reserved},
    {"::", 128, IpAddress::Use::Unspecified},
    {"::1", 128, IpAddress::Use::Loopback},
    {"::", 96, IpAddress::Use::EmbeddedIpv4},
    {"::ffff:0:0", 96, IpAddress::Use::EmbeddedIpv4},
    {"2001:db8::", 32, IpAddress::Use::Documentation},
    {"3fff::", 20, IpAddress::Use::Documentation},
    {"fc00::", 7, IpAddress::Use::Private},
    {"fe80::", 10, IpAddress::Use::LinkLocal},
    {"fec0::", 10, IpAddress::Use::Private},
    {"ff00::", 8, IpAddress::Use::Multicast},
};

bool is_in(const IpAddress& address, const Range& range) {
    const std::optional<IpAddress> network = IpAddress::parse(range.network);
    check(network.has_value());
    if (address.is_ipv4() != network->is_ipv4()) return false;
    const size_t whole = range.bits / 8;
    const auto same = [&](size_t at, unsigned bits) {
        return ((address.bytes()[at] ^ network->bytes()[at]) >> (8 - bits)) == 0;
    };
    for (size_t i = 0; i < whole; ++i) {
        if (!same(i, 8)) return false;
    }
    return range.bits % 8 == 0 || same(whole, range.bits % 8);
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    // inet_pton() wants a NUL at the end, and would take one within for it.
    char copy[text_bytes_max];
    if (text.size() >= sizeof copy || text.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    copy[text.copy(copy, text.size())] = '\0';
    IpAddress result;
    const bool is_ipv6 = text.find(':') != std::string_view::npos;
    if (::inet_pton(is_ipv6 ? AF_INET6 : AF_INET, copy, result.bytes_.data()) != 1) {
        return std::nullopt;
    }
    result.size_ = is_ipv6 ? 16 : 4;
    return result;
}

std::optional<IpAddress> IpAddress::from_bytes(std::span<const uint8_t> bytes) {
    if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
    IpAddress result;
    std::copy(bytes.begin(), bytes.end(), result.bytes_.begin());
    result.size_ = static_cast<uint8_t>(bytes.size());
    return result;
}

std::string IpAddress::text() const {
    char room[text_bytes_max];
    return std::string(write_text(room));
}

std::string_view IpAddress::write_text(std::span<char, text_bytes_max> room) const {
    // glibc's text is RFC 5952's: lower case, the first longest run of two and more zero groups as
    // "::", an embedded IPv4 address with dots. The test has the table.
    const char* text =
        ::inet_ntop(is_ipv4() ? AF_INET : AF_INET6, bytes_.data(), room.data(), room.size());
    check(text != nullptr);
    return text;
}

std::string IpAddress::reverse_name() const {
    std::string name;
    for (size_t i = size_; i-- > 0;) {
        if (is_ipv4()) {
            name += fmt::format("{}.", bytes_[i]);
        } else {
            name += fmt::format("{:x}.{:x}.", bytes_[i] & 15, bytes_[i] >> 4);
        }
    }
    return name + (is_ipv4() ? "in-addr.arpa" : "ip6.arpa");
}

IpAddress::Use IpAddress::use() const {
    for (const Range& range : ranges) {
        if (is_in(*this, range)) return range.use;
    }
    return Use::Global;
}

bool is_ip_address(std::string_view name) {
    return IpAddress::parse(name).has_value();
}

std::optional<std::string> normalize_name(std::string_view name) {
    std::optional<std::string> normal = normalize_dns_name(name);
    // A dot at the end goes, as it does for DNS names.
    if (const auto address = IpAddress::parse(normal ? *normal : name)) return address->text();
    if (!normal) return std::nullopt;
    const std::string_view last = std::string_view(*normal).substr(normal->rfind('.') + 1);
    const bool is_number =
        std::all_of(last.begin(), last.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (is_number) return std::nullopt;
    return normal;
}

std::string url_host(std::string_view name) {
    const bool is_ipv6 = name.find(':') != std::string_view::npos;
    return is_ipv6 ? fmt::format("[{}]", name) : std::string(name);
}

}  // namespace base
