// Where a listener or a server stands: an IPv4, IPv6 or Unix socket address.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <string_view>

#include "base/ip_address.h"
#include "base/result.h"

namespace net {

/// A socket address by value. Never resolves names.
class Address {
  public:
    Address() = default;

    /// "127.0.0.1:80", "[::1]:443", "*:80" (all IPv4), "[::]:80" (all, both families),
    /// "unix:/path". Errors name what is wrong ("port is missing", "not an address; names are not
    /// resolved here").
    static base::Result<Address> parse(std::string_view text);
    static base::Result<Address> unix_path(std::string_view path);
    static Address from_sockaddr(const sockaddr* address, socklen_t length);

    const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
    socklen_t length() const { return length_; }
    int family() const { return storage_.ss_family; }
    bool is_unix() const { return family() == AF_UNIX; }
    /// 127.0.0.0/8, ::1 or a Unix socket.
    bool is_loopback() const;
    /// 0 for Unix sockets.
    uint16_t port() const;
    void set_port(uint16_t port);
    /// As parse() reads it.
    std::string text() const;
    /// Without the port and without brackets; "unix:" for Unix sockets. An IPv4-mapped IPv6 address
    /// is shown as IPv4. This is what X-Forwarded-For and the access log show.
    std::string host_text() const;
    /// Nothing for Unix sockets; an IPv4-mapped IPv6 address, as sockets that take both families
    /// have it, is IPv4.
    std::optional<base::IpAddress> ip() const;

    bool operator==(const Address& other) const;

  private:
    sockaddr_storage storage_{};
    socklen_t length_ = 0;
};

}  // namespace net
