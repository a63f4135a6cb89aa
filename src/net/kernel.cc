#include "net/kernel.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace net::kernel {

namespace {

template <int (*ask)(int, sockaddr*, socklen_t*) noexcept>
Address address_of(int fd) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (ask(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
    return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
}

/// All zero if it is no TCP.
tcp_info tcp_info_of(int fd) {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return {};
    return info;
}

}  // namespace

uint64_t monotonic_ms() {
    timespec now{};
    (void)::clock_gettime(CLOCK_MONOTONIC, &now);  // cannot fail for this clock
    return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

int open_socket(int family) {
    const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    const int on = 1;
    // Without it requests are late, not wrong.
    if (family != AF_UNIX) (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int family_of(int fd) {
    int family = AF_UNSPEC;
    socklen_t length = sizeof family;
    (void)::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length);  // not a socket: AF_UNSPEC
    return family;
}

bool is_listening(int fd) {
    int listening = 0;
    socklen_t length = sizeof listening;
    return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening != 0;
}

Address peer_of(int fd) {
    return address_of<::getpeername>(fd);
}

Address local_of(int fd) {
    return address_of<::getsockname>(fd);
}

int64_t acknowledged(int fd) {
    const tcp_info info = tcp_info_of(fd);
    return info.tcpi_state == 0 ? -1 : static_cast<int64_t>(info.tcpi_bytes_acked);
}

bool is_broken(int fd) {
    // TCP_CLOSE of <netinet/tcp.h>, which knows a tcp_info without tcpi_bytes_acked.
    constexpr auto closed = 7;
    return tcp_info_of(fd).tcpi_state == closed;
}

void shut_write(int fd) {
    (void)::shutdown(fd, SHUT_WR);
}

void shut_both(int fd) {
    (void)::shutdown(fd, SHUT_RDWR);
}

void reset_at_close(int fd) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void close(int fd) {
    (void)::close(fd);  // nothing can be done about a failing close
}

int open_event() {
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

void signal_event(int fd) {
    const uint64_t one = 1;
    // Fails only with the counter at its limit, which wakes just as well.
    (void)!::write(fd, &one, sizeof one);
}

void clear_event(int fd) {
    uint64_t count = 0;
    (void)!::read(fd, &count, sizeof count);
}

}  // namespace net::kernel
