#include "app/config/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>

namespace app {

namespace {

/// c-ares' process-wide state, once.
int library_status() {
    static const int status = ares_library_init(ARES_LIB_INIT_ALL);
    return status;
}

void on_answer(void* context, int status, int, ares_addrinfo* answer) {
    auto& resolved = *static_cast<Resolved*>(context);
    switch (status) {
        case ARES_SUCCESS:
            for (const ares_addrinfo_node* node = answer->nodes; node; node = node->ai_next) {
                resolved.addresses.push_back(
                    net::Address::from_sockaddr(node->ai_addr, node->ai_addrlen));
            }
            break;
        case ARES_ENOTFOUND:
        case ARES_ENODATA:
            resolved.problem = "there is no such name in DNS or /etc/hosts";
            break;
        case ARES_ECANCELLED:
        case ARES_EDESTRUCTION:
        case ARES_ETIMEOUT:
            resolved.problem = "the name servers of /etc/resolv.conf did not answer in time";
            break;
        default:
            resolved.problem = ares_strerror(status);
    }
    if (answer != nullptr) ares_freeaddrinfo(answer);
    if (resolved.addresses.empty() && resolved.problem.empty()) {
        resolved.problem = "the name has no address";
    }
}

/// Runs the channel until all is answered or the time is over.
void run(ares_channel channel, base::Duration limit) {
    using Steady = std::chrono::steady_clock;
    const auto end = Steady::now() + limit;
    for (;;) {
        ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
        const int wanted = ares_getsock(channel, sockets, ARES_GETSOCK_MAXNUM);
        if (wanted == 0) return;  // nothing is under way any more
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end - Steady::now());
        if (left.count() <= 0) {
            ares_cancel(channel);
            return;
        }
        std::vector<pollfd> polled;
        for (int i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
            short events = 0;
            if (ARES_GETSOCK_READABLE(wanted, i)) events |= POLLIN;
            if (ARES_GETSOCK_WRITABLE(wanted, i)) events |= POLLOUT;
            if (events != 0) polled.push_back({sockets[i], events, 0});
        }
        // Short waits: c-ares counts its own time-outs in ares_process_fd().
        (void)::poll(polled.data(), polled.size(),
                     static_cast<int>(std::min<int64_t>(left.count(), 100)));
        for (const pollfd& p : polled) {
            const bool in = (p.revents & (POLLIN | POLLHUP | POLLERR)) != 0;
            const bool out = (p.revents & POLLOUT) != 0;
            ares_process_fd(channel, in ? p.fd : ARES_SOCKET_BAD, out ? p.fd : ARES_SOCKET_BAD);
        }
        ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    }
}

}  // namespace

std::map<std::string, Resolved> resolve(const std::vector<std::string>& names,
                                        base::Duration limit) {
    std::map<std::string, Resolved> results;
    for (const std::string& name : names) results.emplace(name, Resolved{});
    if (results.empty()) return results;

    ares_options options{};
    options.timeout = 2000;  // milliseconds of the first try
    options.tries = 2;
    ares_channel channel = nullptr;
    const int status =
        library_status() != ARES_SUCCESS
            ? library_status()
            : ares_init_options(&channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
    if (status != ARES_SUCCESS) {
        for (auto& [name, resolved] : results) resolved.problem = ares_strerror(status);
        return results;
    }
    for (auto& [name, resolved] : results) {
        ares_addrinfo_hints hints{};
        hints.ai_family = AF_UNSPEC;
        hints.ai_socktype = SOCK_STREAM;
        ares_getaddrinfo(channel, name.c_str(), nullptr, &hints, on_answer, &resolved);
    }
    run(channel, limit);
    ares_destroy(channel);
    return results;
}

}  // namespace app
