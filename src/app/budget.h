// What the kernel's limits on descriptors and locked memory leave for clients. Pure arithmetic; the
// limits are read, and raised as far as they go, by process.h.
//
// Descriptors. Each client may need a connection to a backend, so that clients get half of what is
// left when listeners, rings, logs, the store, the engine and the admin pages have theirs. What is
// beyond that waits in the listeners' backlogs, where it costs none of them.
//
// Locked memory. Rings may be counted against it (net/ring_size.h). If they do not fit, their
// queues are made smaller; if the smallest do not fit, there are fewer workers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "net/event_loop.h"

namespace app {

/// What needs descriptors besides the clients of the workers.
struct DescriptorNeeds {
    uint64_t workers = 1;
    uint64_t sockets = 0;    // that listen, of all workers and the admin pages
    bool has_admin = false;  // pages: a worker of their own
    bool has_access_log = false;
    uint64_t store_threads = 0;    // of engine and stapler: they talk to CAs and write the store
    uint32_t connections_max = 0;  // per worker, as configured
};

struct DescriptorBudget {
    uint64_t limit = 0;
    uint64_t kept_back = 0;        // for everything but clients and backends
    uint64_t needed = 0;           // the limit with which nothing would be lowered
    uint32_t connections_max = 0;  // of clients, per worker
    uint32_t outgoing_max = 0;     // of connections to backends, per worker
    uint32_t admin_connections_max = 0;

    bool operator==(const DescriptorBudget&) const = default;
};

/// The share of everybody, or nothing if no worker could serve a client.
std::optional<DescriptorBudget> divide_descriptors(uint64_t limit, const DescriptorNeeds& needs);

/// One sentence with the numbers, and what to change if connections_max is lowered.
std::string describe(const DescriptorBudget& budget, const DescriptorNeeds& needs);
/// Why nothing can be served with so few, and what to change.
std::string explain_too_few(uint64_t limit, const DescriptorNeeds& needs);

/// How many workers with which rings.
struct RingBudget {
    uint64_t workers = 0;
    net::LoopOptions loop;  // queues that fit
    uint64_t needed = 0;    // bytes with which nothing would be smaller
    bool is_smaller = false;
};

/// `limit`: bytes of locked memory, none: they do not count. `loop` and `admin` are the loops as
/// wanted; without admin pages `admin` is null.
RingBudget divide_locked_memory(std::optional<uint64_t> limit, uint64_t workers,
                                const net::LoopOptions& loop, const net::LoopOptions* admin);

}  // namespace app
