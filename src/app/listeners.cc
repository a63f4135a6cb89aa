#include "app/listeners.h"

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "net/listener.h"

namespace app {

namespace {

/// The kernel lets go of the sockets of an io_uring a moment after the process that had it was
/// killed: a restart right then finds them in use.
constexpr std::chrono::milliseconds release_max{1000};
constexpr std::chrono::milliseconds release_pause{20};

bool is_in_use(const base::Error& error) {
    return error.domain == base::ErrorDomain::System && error.code == EADDRINUSE;
}

std::string explain(const net::Address& address, const base::Error& error) {
    std::string why = fmt::format("cannot listen on {}: {}", address.text(), error.message());
    if (error.domain != base::ErrorDomain::System) return why;
    if ((error.code == EACCES || error.code == EPERM) && !address.is_unix() &&
        address.port() < 1024) {
        why +=
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=, "
            "else: setcap cap_net_bind_service=+ep on the program)";
    } else if (error.code == EADDRINUSE) {
        why += "; another process has it (ss -ltnp tells which)";
    } else if (error.code == EADDRNOTAVAIL) {
        why += "; no interface of this machine has this address";
    } else if (error.code == EAFNOSUPPORT) {
        why += "; IPv6 is switched off: write \"*:port\" instead of \"[::]:port\"";
    }
    return why;
}

}  // namespace

base::Result<OpenListener, std::string> open_listener(const net::Address& address, size_t count,
                                                      int backlog) {
    OpenListener listener;
    listener.address = address;
    net::ListenerOptions options;
    options.backlog = backlog;
    // A socket that is not ours must not share the address.
    if (!address.is_unix()) {
        base::Status free = net::try_address(address);
        const auto end = std::chrono::steady_clock::now() + release_max;
        while (!free && is_in_use(free.error()) && std::chrono::steady_clock::now() < end) {
            std::this_thread::sleep_for(release_pause);
            free = net::try_address(address);
        }
        if (!free) return explain(address, free.error());
    }
    for (size_t i = 0; i < count; ++i) {
        if (address.is_unix() && i > 0) {
            // A path has one socket; workers share it.
            base::UniqueFd copy(::fcntl(listener.fds.front().fd(), F_DUPFD_CLOEXEC, 3));
            if (!copy) return explain(address, base::system_error(errno, "dup"));
            listener.fds.push_back(std::move(copy));
            continue;
        }
        auto fd = net::listen_on(address, options);
        if (!fd) return explain(address, fd.error());
        listener.fds.push_back(std::move(fd).value());
    }
    return listener;
}

std::vector<OpenListener> open_listeners(const Configuration& configuration, size_t workers,
                                         std::vector<std::string>& problems) {
    std::vector<OpenListener> listeners;
    for (const ListenSettings& settings : configuration.listens) {
        if (!settings.address || !settings.protocol) continue;  // such a configuration is refused
        auto listener = open_listener(*settings.address, workers, settings.backlog);
        if (!listener) {
            problems.push_back(fmt::format("{}: {}", settings.place.text(), listener.error()));
            continue;
        }
        listener->protocol = *settings.protocol;
        listener->public_port = settings.shown_port();
        listeners.push_back(std::move(listener).value());
    }
    return listeners;
}

}  // namespace app
