#include "net/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <charconv>
#include <cstddef>

namespace net {

namespace {

base::Error input_error(const char* text) {
    return {base::ErrorDomain::Input, 0, text};
}

bool parse_port(std::string_view text, uint16_t& port) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

const sockaddr_in& ipv4(const sockaddr* address) {
    return *reinterpret_cast<const sockaddr_in*>(address);
}
const sockaddr_in6& ipv6(const sockaddr* address) {
    return *reinterpret_cast<const sockaddr_in6*>(address);
}

std::string ipv4_text(const void* bytes) {
    char buffer[INET_ADDRSTRLEN];
    return ::inet_ntop(AF_INET, bytes, buffer, sizeof buffer);
}

std::string ipv6_text(const in6_addr& bytes) {
    char buffer[INET6_ADDRSTRLEN];
    return ::inet_ntop(AF_INET6, &bytes, buffer, sizeof buffer);
}

/// "::1" or "fe80::1%eth0" or "fe80::1%2".
bool parse_ipv6(std::string_view text, sockaddr_in6& address) {
    if (const size_t percent = text.find('%'); percent != std::string_view::npos) {
        const std::string scope(text.substr(percent + 1));
        const auto [end, error] =
            std::from_chars(scope.data(), scope.data() + scope.size(), address.sin6_scope_id);
        if (error != std::errc{} || *end != '\0') {
            address.sin6_scope_id = ::if_nametoindex(scope.c_str());
        }
        if (address.sin6_scope_id == 0) return false;
        text = text.substr(0, percent);
    }
    return ::inet_pton(AF_INET6, std::string(text).c_str(), &address.sin6_addr) == 1;
}

}  // namespace

base::Result<Address> Address::parse(std::string_view text) {
    if (text.starts_with("unix:")) return unix_path(text.substr(5));
    // A NUL would end the text early for inet_pton.
    if (text.find('\0') != std::string_view::npos) return input_error("not an address");

    const size_t colon = text.rfind(':');
    const size_t bracket = text.rfind(']');
    const bool is_ipv6 = text.starts_with('[');
    if (is_ipv6 && bracket == std::string_view::npos) return input_error("']' is missing");
    if (colon == std::string_view::npos || (is_ipv6 && colon < bracket)) {
        return input_error("port is missing");
    }
    if (is_ipv6 && colon != bracket + 1) return input_error("not an address");
    if (!is_ipv6 && text.find(':') != colon) {
        return input_error("an IPv6 address stands in brackets: [::1]:80");
    }
    uint16_t port = 0;
    if (colon + 1 == text.size()) return input_error("port is missing");
    if (!parse_port(text.substr(colon + 1), port)) {
        return input_error("port is not a number from 0 to 65535");
    }

    Address result;
    if (is_ipv6) {
        auto& address = reinterpret_cast<sockaddr_in6&>(result.storage_);
        if (!parse_ipv6(text.substr(1, bracket - 1), address)) {
            return input_error("not an IPv6 address");
        }
        address.sin6_family = AF_INET6;
        result.length_ = sizeof(sockaddr_in6);
    } else {
        auto& address = reinterpret_cast<sockaddr_in&>(result.storage_);
        const std::string host(text.substr(0, colon));
        if (host.empty()) return input_error("address is missing; write *:80 for all of them");
        if (host != "*" && ::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
            return input_error("not an address; names are not resolved here");
        }
        address.sin_family = AF_INET;
        result.length_ = sizeof(sockaddr_in);
    }
    result.set_port(port);
    return result;
}

base::Result<Address> Address::unix_path(std::string_view path) {
    Address result;
    auto& address = reinterpret_cast<sockaddr_un&>(result.storage_);
    if (path.empty()) return input_error("path is missing");
    if (path.find('\0') != std::string_view::npos) return input_error("path contains NUL");
    if (path.size() >= sizeof address.sun_path) {
        return input_error("path of a Unix socket is longer than 107 bytes");
    }
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    result.length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    return result;
}

Address Address::from_sockaddr(const sockaddr* address, socklen_t length) {
    Address result;
    if (address == nullptr || length < sizeof(sa_family_t)) return result;
    length = std::min<socklen_t>(length, sizeof result.storage_);
    std::memcpy(&result.storage_, address, length);
    result.length_ = length;
    return result;
}

bool Address::is_loopback() const {
    switch (family()) {
        case AF_UNIX:
            return true;
        case AF_INET:
            return (ntohl(ipv4(data()).sin_addr.s_addr) >> 24) == 127;
        case AF_INET6: {
            const in6_addr& bytes = ipv6(data()).sin6_addr;
            return IN6_IS_ADDR_LOOPBACK(&bytes) ||
                   (IN6_IS_ADDR_V4MAPPED(&bytes) && bytes.s6_addr[12] == 127);
        }
        default:
            return false;
    }
}

uint16_t Address::port() const {
    switch (family()) {
        case AF_INET:
            return ntohs(ipv4(data()).sin_port);
        case AF_INET6:
            return ntohs(ipv6(data()).sin6_port);
        default:
            return 0;
    }
}

void Address::set_port(uint16_t port) {
    if (family() == AF_INET) reinterpret_cast<sockaddr_in&>(storage_).sin_port = htons(port);
    if (family() == AF_INET6) reinterpret_cast<sockaddr_in6&>(storage_).sin6_port = htons(port);
}

std::string Address::text() const {
    switch (family()) {
        case AF_UNIX: {
            // The path ends at its NUL or, for a name of 108 bytes, with the structure.
            const auto* path = reinterpret_cast<const sockaddr_un*>(&storage_)->sun_path;
            const size_t bytes =
                length_ - std::min<size_t>(length_, offsetof(sockaddr_un, sun_path));
            return "unix:" + std::string(path, ::strnlen(path, bytes));
        }
        case AF_INET:
            return fmt::format("{}:{}", ipv4_text(&ipv4(data()).sin_addr), port());
        case AF_INET6: {
            const sockaddr_in6& address = ipv6(data());
            const std::string scope =
                address.sin6_scope_id != 0 ? fmt::format("%{}", address.sin6_scope_id) : "";
            return fmt::format("[{}{}]:{}", ipv6_text(address.sin6_addr), scope, port());
        }
        default:
            return {};
    }
}

std::string Address::host_text() const {
    switch (family()) {
        case AF_UNIX:
            return "unix:";
        case AF_INET:
            return ipv4_text(&ipv4(data()).sin_addr);
        case AF_INET6: {
            const in6_addr& bytes = ipv6(data()).sin6_addr;
            if (IN6_IS_ADDR_V4MAPPED(&bytes)) return ipv4_text(&bytes.s6_addr[12]);
            return ipv6_text(bytes);
        }
        default:
            return {};
    }
}

std::optional<base::IpAddress> Address::ip() const {
    switch (family()) {
        case AF_INET:
            return base::IpAddress::from_bytes(
                {reinterpret_cast<const uint8_t*>(&ipv4(data()).sin_addr), 4});
        case AF_INET6: {
            const in6_addr& bytes = ipv6(data()).sin6_addr;
            if (IN6_IS_ADDR_V4MAPPED(&bytes)) {
                return base::IpAddress::from_bytes({&bytes.s6_addr[12], 4});
            }
            return base::IpAddress::from_bytes(bytes.s6_addr);
        }
        default:
            return std::nullopt;
    }
}

bool Address::operator==(const Address& other) const {
    if (family() != other.family()) return false;
    switch (family()) {
        case AF_INET:
            return port() == other.port() &&
                   ipv4(data()).sin_addr.s_addr == ipv4(other.data()).sin_addr.s_addr;
        case AF_INET6:
            return port() == other.port() &&
                   IN6_ARE_ADDR_EQUAL(&ipv6(data()).sin6_addr, &ipv6(other.data()).sin6_addr) &&
                   ipv6(data()).sin6_scope_id == ipv6(other.data()).sin6_scope_id;
        default:
            return text() == other.text();
    }
}

}  // namespace net
