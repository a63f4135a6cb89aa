// Listening sockets, made by the main thread before workers start, so that a failure is reported
// before anything runs and privileged ports are bound before privileges are dropped.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/address.h"

namespace net {

struct ListenerOptions {
    int backlog = 4096;
    bool reuse_port = true;  // one socket per worker on the same address
    mode_t unix_mode =
        0660;  // of a Unix socket's file; a stale file of a dead listener is replaced
};

/// A bound, listening, non-blocking, close-on-exec socket with TCP_NODELAY (inherited by what it
/// accepts). "[::]" takes both families. Errors: which operation and errno.
base::Result<base::UniqueFd> listen_on(const Address& address, const ListenerOptions& options);

/// Whether no other socket has the address (TCP). It is bound alone and not listened on, so that
/// nobody can connect to what is closed again.
base::Status try_address(const Address& address);

/// The address a socket is bound to (the port that the kernel chose for port 0).
base::Result<Address> bound_address(int fd);

}  // namespace net
