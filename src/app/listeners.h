// Opens the sockets of a configuration, for all workers.
#pragma once

#include <string>
#include <vector>

#include "app/config/configuration.h"
#include "app/worker_threads.h"

namespace app {

/// All sockets of one [[listen]]: one per worker.
struct OpenListener {
    net::Address address;
    proxy::Protocol protocol = proxy::Protocol::Https;
    uint16_t public_port = 0;
    std::vector<base::UniqueFd> fds;
};

/// Opens `count` sockets on the address; an error says which address, why, and what to do.
base::Result<OpenListener, std::string> open_listener(const net::Address& address, size_t count,
                                                      int backlog);

/// All of [[listen]]. `problems` gets one line for each that fails.
std::vector<OpenListener> open_listeners(const Configuration& configuration, size_t workers,
                                         std::vector<std::string>& problems);

}  // namespace app
