#include "app/budget.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/ring_size.h"

namespace app {

namespace {

/// Standard streams, the log, what a reload opens one after the other, name servers.
constexpr uint64_t process_descriptors = 24;
/// A ring and the event that wakes it.
constexpr uint64_t descriptors_per_worker = 2;
/// Of a thread at work: two connections to a CA or responder, the pipes to a program, a file with
/// its directory, the store's lock.
constexpr uint64_t descriptors_per_store_thread = 8;
constexpr uint64_t admin_connections_wanted = 256;

uint64_t of_rings_and_sockets(const DescriptorNeeds& needs) {
    return process_descriptors + descriptors_per_worker * (needs.workers + needs.has_admin) +
           needs.sockets + (needs.has_access_log ? needs.workers : 0);
}

}  // namespace

std::optional<DescriptorBudget> divide_descriptors(uint64_t limit, const DescriptorNeeds& needs) {
    DescriptorBudget budget;
    budget.limit = limit;
    const uint64_t fixed = of_rings_and_sockets(needs);
    const uint64_t store_wanted = descriptors_per_store_thread * needs.store_threads;
    const uint64_t admin_wanted = needs.has_admin ? admin_connections_wanted : 0;
    // Where there is little, everybody has less: a thread or a page that finds none tries again.
    const uint64_t store = std::min(store_wanted, limit / 4);
    const uint64_t admin = std::min(admin_wanted, std::max<uint64_t>(limit / 16, 4));
    budget.kept_back = fixed + store + admin;
    budget.needed = fixed + store_wanted + admin_wanted + 2 * needs.workers * needs.connections_max;
    budget.admin_connections_max = static_cast<uint32_t>(std::max<uint64_t>(admin, 1));

    if (limit < budget.kept_back) return std::nullopt;
    const uint64_t per_worker = (limit - budget.kept_back) / needs.workers;
    const uint64_t connections = std::min<uint64_t>(per_worker / 2, needs.connections_max);
    if (connections == 0) return std::nullopt;
    budget.connections_max = static_cast<uint32_t>(connections);
    budget.outgoing_max =
        static_cast<uint32_t>(std::min<uint64_t>(per_worker - connections, UINT32_MAX));
    return budget;
}

std::string describe(const DescriptorBudget& budget, const DescriptorNeeds& needs) {
    std::string text = fmt::format(
        "of {} descriptors {} are kept for listeners, rings, logs, store and admin pages; {} "
        "worker(s) take {} client connections each and leave as many to backends",
        budget.limit, budget.kept_back, needs.workers, budget.connections_max);
    if (budget.connections_max < needs.connections_max) {
        text += fmt::format(
            ", not the {} of limits.connections_max: raise the limit of descriptors to {} "
            "(LimitNOFILE=, ulimit -n), or lower limits.connections_max",
            needs.connections_max, budget.needed);
    }
    return text;
}

std::string explain_too_few(uint64_t limit, const DescriptorNeeds& needs) {
    return fmt::format(
        "{} descriptors are too few for {} worker(s) and {} listening sockets, with none left for "
        "clients: raise the limit to {} (LimitNOFILE=, ulimit -n), or lower server.workers",
        limit, needs.workers, needs.sockets,
        of_rings_and_sockets(needs) + descriptors_per_store_thread * needs.store_threads +
            (needs.has_admin ? admin_connections_wanted : 0) +
            2 * needs.workers * std::min<uint64_t>(needs.connections_max, 1024));
}

RingBudget divide_locked_memory(std::optional<uint64_t> limit, uint64_t workers,
                                const net::LoopOptions& loop, const net::LoopOptions* admin) {
    const uint64_t of_admin = admin != nullptr ? net::locked_bytes(*admin) : 0;
    RingBudget budget{workers, loop, workers * net::locked_bytes(loop) + of_admin, false};
    if (!limit) return budget;
    const uint64_t left = *limit - std::min(*limit, of_admin);
    while (budget.workers * net::locked_bytes(budget.loop) > left &&
           net::shrink_queues(budget.loop)) {
        budget.is_smaller = true;
    }
    // One in any case: whether it counts here is the kernel's to say.
    budget.workers = std::clamp<uint64_t>(left / net::locked_bytes(budget.loop), 1, budget.workers);
    return budget;
}

}  // namespace app
