#include "proxy/backend_pool.h"

namespace proxy {

ServerPool::~ServerPool() {
    // The loop is being destroyed with its streams: no on_closed comes any more.
    while (first_ != nullptr) delete first_;
}

BackendConnection* ServerPool::reuse(BackendUser& user) {
    while (!idle_.empty()) {
        BackendConnection* connection = idle_.back();
        idle_.pop_back();
        if (connection->idle_until_ms() > loop_.now_ms()) {
            connection->lease_to(user);
            return connection;
        }
        connection->state_ = BackendConnection::State::Closing;
        connection->stream().close();
    }
    return nullptr;
}

base::Result<BackendConnection*> ServerPool::connect(BackendUser& user, uint32_t timeout_ms) {
    auto connection = std::make_unique<BackendConnection>(*this);
    connection->next_ = first_;
    if (first_ != nullptr) first_->previous_ = connection.get();
    first_ = connection.get();
    if (const base::Status status = connection->connect(address_, timeout_ms); !status) {
        return status.error();
    }
    connection->lease_to(user);
    return connection.release();  // deletes itself in on_closed
}

bool ServerPool::put_idle(BackendConnection& connection) {
    if (idle_.size() >= idle_max_) return false;
    idle_.push_back(&connection);
    return true;
}

void ServerPool::take_idle(BackendConnection& connection) {
    std::erase(idle_, &connection);
}

void ServerPool::close_expired() {
    const uint64_t now_ms = loop_.now_ms();
    std::erase_if(idle_, [now_ms](BackendConnection* connection) {
        if (connection->idle_until_ms() > now_ms) return false;
        connection->state_ = BackendConnection::State::Closing;
        connection->stream().close();
        return true;
    });
}

void ServerPool::close_idle() {
    for (BackendConnection* connection : std::exchange(idle_, {})) {
        connection->state_ = BackendConnection::State::Closing;
        connection->stream().close();
    }
}

void ServerPool::forget(BackendConnection& connection) {
    if (connection.previous_ != nullptr) connection.previous_->next_ = connection.next_;
    if (connection.next_ != nullptr) connection.next_->previous_ = connection.previous_;
    if (first_ == &connection) first_ = connection.next_;
}

BackendPools::BackendPools(net::EventLoop& loop) : loop_(loop), sweep_(this, on_sweep) {}

BackendPools::~BackendPools() = default;

std::vector<ServerPool*>& BackendPools::of(const std::shared_ptr<const Backend>& backend,
                                           const Routes& routes) {
    if (!sweep_.armed()) loop_.timers().arm(sweep_, sweep_ms);
    const auto found = entries_.find(backend.get());
    if (found != entries_.end()) return found->second.servers;

    keep_only(routes);
    Entry entry{backend, {}};
    for (const net::Address& address : backend->servers) {
        auto& pool = pools_[address.text()];
        if (!pool) pool = std::make_unique<ServerPool>(loop_, address);
        pool->set_idle_max(routes.limits().backend_idle_max);
        entry.servers.push_back(pool.get());
    }
    return entries_.emplace(backend.get(), std::move(entry)).first->second.servers;
}

void BackendPools::keep_only(const Routes& routes) {
    std::erase_if(entries_, [&](const auto& item) {
        return std::none_of(routes.sites().begin(), routes.sites().end(),
                            [&](const auto& site) { return site->backend.get() == item.first; });
    });
    for (auto& [text, pool] : pools_) {
        const bool used = std::any_of(entries_.begin(), entries_.end(), [&](const auto& item) {
            const auto& servers = item.second.servers;
            return std::find(servers.begin(), servers.end(), pool.get()) != servers.end();
        });
        if (!used) pool->close_idle();
    }
    // A pool goes when its last connection has; until then it stays for them to find.
    std::erase_if(pools_, [&](const auto& item) {
        return item.second->empty() &&
               std::none_of(entries_.begin(), entries_.end(), [&](const auto& entry) {
                   const auto& servers = entry.second.servers;
                   return std::find(servers.begin(), servers.end(), item.second.get()) !=
                          servers.end();
               });
    });
}

void BackendPools::close_idle() {
    for (auto& [text, pool] : pools_) pool->close_idle();
}

void BackendPools::on_sweep(void* self) noexcept {
    auto& pools = *static_cast<BackendPools*>(self);
    bool any_idle = false;
    for (auto& [text, pool] : pools.pools_) {
        pool->close_expired();
        any_idle |= pool->idle() > 0;
    }
    // With nothing pooled the worker sleeps undisturbed; the next request arms it again.
    if (any_idle) pools.loop_.timers().arm(pools.sweep_, sweep_ms);
}

}  // namespace proxy
