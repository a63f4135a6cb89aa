#include "app/config/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>

#include <deque>

namespace app {

namespace {

/// c-ares' process-wide state, once.
int library_status() {
    static const int status = ares_library_init(ARES_LIB_INIT_ALL);
    return status;
}

/// What c-ares waits for.
struct Waiting {
    std::map<ares_socket_t, short> events;  // as poll() takes them
    size_t questions = 0;                   // without an answer so far
};

struct Question {
    Waiting& waiting;
    Resolved& resolved;
};

void on_socket_state(void* context, ares_socket_t socket, int readable, int writable) {
    auto& events = static_cast<Waiting*>(context)->events;
    const int wanted = (readable != 0 ? POLLIN : 0) | (writable != 0 ? POLLOUT : 0);
    if (wanted == 0) {
        events.erase(socket);
    } else {
        events[socket] = static_cast<short>(wanted);
    }
}

void on_answer(void* context, int status, int, ares_addrinfo* answer) {
    const auto& question = *static_cast<Question*>(context);
    --question.waiting.questions;
    Resolved& resolved = question.resolved;
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
void run(ares_channel channel, const Waiting& waiting, base::Duration limit) {
    using Steady = std::chrono::steady_clock;
    const auto end = Steady::now() + limit;
    while (waiting.questions > 0) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end - Steady::now());
        if (left.count() <= 0) return ares_cancel(channel);
        std::vector<pollfd> polled;
        for (const auto& [socket, events] : waiting.events) polled.push_back({socket, events, 0});
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

    Waiting waiting;
    ares_options options{};
    options.sock_state_cb = on_socket_state;
    options.sock_state_cb_data = &waiting;
    options.timeout = 2000;  // milliseconds of the first try
    options.tries = 2;
    ares_channel channel = nullptr;
    const int status =
        library_status() != ARES_SUCCESS
            ? library_status()
            : ares_init_options(&channel, &options,
                                ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        for (auto& [name, resolved] : results) resolved.problem = ares_strerror(status);
        return results;
    }
    std::deque<Question> questions;
    for (auto& [name, resolved] : results) {
        questions.push_back({waiting, resolved});
        ++waiting.questions;
        ares_addrinfo_hints hints{};
        hints.ai_family = AF_UNSPEC;
        hints.ai_socktype = SOCK_STREAM;
        ares_getaddrinfo(channel, name.c_str(), nullptr, &hints, on_answer, &questions.back());
    }
    run(channel, waiting, limit);
    ares_destroy(channel);
    return results;
}

}  // namespace app
