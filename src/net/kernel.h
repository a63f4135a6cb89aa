// The system calls that a worker makes beside its ring: sockets, an event to wake it, the clock.
// With ring.h this is all that net knows of the kernel. The front's simulation links another
// implementation of both (tests/sim/front), so that everything above runs on a simulated machine.
//
// Errors are negative errno values, as in completions. None of these blocks.
#pragma once

#include <cstdint>
#include <utility>

#include "net/address.h"

namespace net::kernel {

/// CLOCK_MONOTONIC.
uint64_t monotonic_ms();

/// A stream socket for an outgoing connection, close-on-exec, with TCP_NODELAY where it is TCP.
int open_socket(int family);
/// AF_UNIX, AF_INET, ... of a socket; AF_UNSPEC if it is none.
int family_of(int fd);
/// Whether listen() was called on it.
bool is_listening(int fd);
/// Both ends; an empty address if the connection is gone.
Address peer_of(int fd);
Address local_of(int fd);

/// Bytes that the peer's kernel has acknowledged; -1 if nobody counts them (Unix sockets).
int64_t acknowledged(int fd);
/// RST came, or the connection timed out, as a receive would tell. False for Unix sockets.
bool is_broken(int fd);

/// FIN: what was written before goes out first. Fails if the connection is gone, which the receive
/// tells as well.
void shut_write(int fd);
/// Both directions, now: receives and sends in flight end.
void shut_both(int fd);
/// close() sends RST instead of FIN. Nothing happens where there is no RST (Unix sockets).
void reset_at_close(int fd);
void close(int fd);

/// A counter that a ring can poll. Errors: errno.
int open_event();
/// Makes it readable. Any thread.
void signal_event(int fd);
/// Makes it unreadable again.
void clear_event(int fd);

/// Owns one of these descriptors; -1 owns nothing.
class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    ~Descriptor() { reset(); }

    int fd() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1) {
        if (fd_ >= 0) close(fd_);
        fd_ = fd;
    }

  private:
    int fd_ = -1;
};

}  // namespace net::kernel
