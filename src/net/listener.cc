#include "net/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace net {

namespace {

bool switch_on(int fd, int level, int option) {
    const int on = 1;
    return ::setsockopt(fd, level, option, &on, sizeof on) == 0;
}

/// Removes the file of a Unix socket that nobody listens on any more. What is no socket stays, and
/// bind() says that the path is in use.
void remove_stale_file(const Address& address) {
    const auto* path = reinterpret_cast<const sockaddr_un*>(address.data())->sun_path;
    struct stat status {};
    if (::lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
    const base::UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe) return;
    if (::connect(probe.fd(), address.data(), address.length()) == 0) return;
    if (errno == ECONNREFUSED) (void)::unlink(path);  // if it fails, bind() tells
}

base::Status bind_unix(int fd, const Address& address, mode_t mode) {
    remove_stale_file(address);
    // The mask makes the file with its mode in one step: there is no moment when others may
    // connect. Process-wide, which is why listeners are made before threads.
    const mode_t before = ::umask(~mode & 0777);
    const int result = ::bind(fd, address.data(), address.length());
    const int error = errno;
    (void)::umask(before);
    if (result != 0) return base::system_error(error, "bind");
    return {};
}

base::Status bind_inet(int fd, const Address& address, bool reuse_port) {
    if (!switch_on(fd, SOL_SOCKET, SO_REUSEADDR)) return base::system_error(errno, "SO_REUSEADDR");
    if (reuse_port && !switch_on(fd, SOL_SOCKET, SO_REUSEPORT)) {
        return base::system_error(errno, "SO_REUSEPORT");
    }
    // What is accepted inherits this: one system call less per connection.
    if (!switch_on(fd, IPPROTO_TCP, TCP_NODELAY)) return base::system_error(errno, "TCP_NODELAY");
    if (address.family() == AF_INET6) {
        const int v6only = 0;
        if (::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) != 0) {
            return base::system_error(errno, "IPV6_V6ONLY");
        }
    }
    if (::bind(fd, address.data(), address.length()) != 0) {
        return base::system_error(errno, "bind");
    }
    return {};
}

}  // namespace

base::Result<base::UniqueFd> listen_on(const Address& address, const ListenerOptions& options) {
    base::UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return base::system_error(errno, "socket");
    const base::Status bound = address.is_unix() ? bind_unix(fd.fd(), address, options.unix_mode)
                                                 : bind_inet(fd.fd(), address, options.reuse_port);
    if (!bound) return bound.error();
    if (::listen(fd.fd(), options.backlog) != 0) return base::system_error(errno, "listen");
    return fd;
}

base::Status try_address(const Address& address) {
    const base::UniqueFd fd(
        ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return base::system_error(errno, "socket");
    return bind_inet(fd.fd(), address, false);
}

base::Result<Address> bound_address(int fd) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
        return base::system_error(errno, "getsockname");
    }
    return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
}

}  // namespace net
