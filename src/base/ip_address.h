// An IP address as a name: what sites, certificates and orders may have instead of a DNS name
// (RFC 8738), and how it is written and compared.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace base {

/// An IPv4 or IPv6 address without port, brackets and zone. Two are equal if their bytes are.
class IpAddress {
  public:
    /// "192.0.2.1" (four decimal numbers without leading zeros) or "2001:db8::1" in any of the
    /// forms of RFC 4291 2.2.
    static std::optional<IpAddress> parse(std::string_view text);
    /// 4 or 16 bytes, as certificates (RFC 5280 4.2.1.6) and sockets have them.
    static std::optional<IpAddress> from_bytes(std::span<const uint8_t> bytes);

    bool is_ipv4() const { return size_ == 4; }
    std::span<const uint8_t> bytes() const { return {bytes_.data(), size_}; }

    /// RFC 5952 for IPv6: the one form in which addresses are kept and compared.
    std::string text() const;
    static constexpr size_t text_bytes_max = 46;  // with the NUL that is written, too
    /// The same without allocating.
    std::string_view write_text(std::span<char, text_bytes_max> room) const;
    /// "1.2.0.192.in-addr.arpa", "1.0.0.[…].ip6.arpa" (RFC 1035 3.5, RFC 3596 2.5).
    std::string reverse_name() const;

    /// What the address is for, as far as it matters for who can connect to it.
    enum class Use : uint8_t {
        Global,
        Loopback,
        LinkLocal,
        Private,        // RFC 1918, RFC 6598, RFC 4193, RFC 3879
        Documentation,  // RFC 5737, RFC 3849, RFC 9637
        Unspecified,
        Multicast,
        Reserved,      // 0.0.0.0/8, 240.0.0.0/4
        EmbeddedIpv4,  // RFC 4291 2.5.5: an IPv4 address in IPv6's clothes
    };
    Use use() const;

    bool operator==(const IpAddress&) const = default;

  private:
    std::array<uint8_t, 16> bytes_{};
    uint8_t size_ = 0;
};

/// Whether a normalised name is an IP address.
bool is_ip_address(std::string_view name);
/// A name as a site, domain or certificate has it: an IP address in its one form, or a DNS name as
/// normalize_dns_name() gives it, maybe a wildcard. nullopt also for a DNS name whose last label is
/// a number: clients take it for an address (WHATWG URL, 3.5).
std::optional<std::string> normalize_name(std::string_view name);
/// A normalised name as it stands in a URL: IPv6 addresses in brackets (RFC 3986 3.2.2).
std::string url_host(std::string_view name);

}  // namespace base
