#include "proxy/balancer.h"

namespace proxy {

ServerPool* Balancer::next(Attempts& attempts, uint64_t now_ms) {
    const size_t count = servers_.size();
    if (count == 0) return nullptr;
    if (!attempts.begun) {
        attempts.begun = true;
        attempts.first = next_++;
    }
    for (const bool down : {false, true}) {
        for (size_t i = 0; i < std::min(count, attempts_max); ++i) {
            if ((attempts.tried >> i & 1) != 0) continue;
            ServerPool& pool = *servers_[(attempts.first + i) % count];
            if (pool.is_down(now_ms) != down) continue;
            attempts.tried |= uint64_t{1} << i;
            pool.begin_attempt(now_ms);
            return &pool;
        }
    }
    return nullptr;
}

BackendPools::BackendPools(net::EventLoop& loop) : loop_(loop), sweep_(this, on_sweep) {}

BackendPools::~BackendPools() = default;

Balancer& BackendPools::of(const std::shared_ptr<const Backend>& backend, const Routes& routes) {
    if (!sweep_.armed()) loop_.timers().arm(sweep_, sweep_ms);
    const auto found = entries_.find(backend.get());
    if (found != entries_.end()) return found->second.balancer;

    keep_only(routes);
    std::vector<ServerPool*> servers;
    for (const net::Address& address : backend->servers) {
        auto& pool = pools_[address.text()];
        if (!pool) pool = std::make_unique<ServerPool>(loop_, address);
        pool->set_idle_max(routes.limits().backend_idle_max);
        servers.push_back(pool.get());
    }
    return entries_.emplace(backend.get(), Entry{backend, Balancer(std::move(servers))})
        .first->second.balancer;
}

void BackendPools::keep_only(const Routes& routes) {
    std::erase_if(entries_, [&](const auto& item) {
        return std::none_of(routes.sites().begin(), routes.sites().end(),
                            [&](const auto& site) { return site->backend.get() == item.first; });
    });
    const auto is_used = [this](const ServerPool* pool) {
        return std::any_of(entries_.begin(), entries_.end(), [&](const auto& item) {
            const auto& servers = item.second.balancer.servers();
            return std::find(servers.begin(), servers.end(), pool) != servers.end();
        });
    };
    for (auto& [text, pool] : pools_) {
        if (!is_used(pool.get())) pool->close_idle();
    }
    // A pool goes when its last connection has; until then it stays for them to find.
    std::erase_if(pools_, [&](const auto& item) {
        return item.second->empty() && !is_used(item.second.get());
    });
}

void BackendPools::close_idle() {
    for (auto& [text, pool] : pools_) pool->close_idle();
}

size_t BackendPools::idle() const {
    size_t count = 0;
    for (const auto& [text, pool] : pools_) count += pool->idle();
    return count;
}

size_t BackendPools::leased() const {
    size_t count = 0;
    for (const auto& [text, pool] : pools_) count += pool->leased();
    return count;
}

void BackendPools::on_sweep(void* self) noexcept {
    auto& pools = *static_cast<BackendPools*>(self);
    bool any = false;
    for (auto& [text, pool] : pools.pools_) {
        pool->trim();
        any |= pool->idle() + pool->leased() > 0;  // what is leased will be idle
    }
    // With nothing pooled the worker sleeps undisturbed; the next request arms it again.
    if (any) pools.loop_.timers().arm(pools.sweep_, sweep_ms);
}

}  // namespace proxy
