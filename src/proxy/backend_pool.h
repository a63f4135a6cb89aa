// Pools of connections to backend servers: per worker and server, last used first.
//
// httpd closes an idle keep-alive connection after its KeepAliveTimeout; a request sent at that
// moment is lost. So each connection says until when it may be used (what the server announced,
// less a margin), is closed when that has passed, and keeps a receive armed so that a FIN is seen
// at once.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "net/event_loop.h"
#include "proxy/backend_connection.h"
#include "proxy/limits.h"
#include "proxy/routes.h"

namespace proxy {

/// Connections to one server. Owns them until they delete themselves when their stream has closed.
class ServerPool {
  public:
    ServerPool(net::EventLoop& loop, const net::Address& address)
        : loop_(loop), address_(address) {}
    ~ServerPool();
    ServerPool(const ServerPool&) = delete;
    ServerPool& operator=(const ServerPool&) = delete;

    /// An idle connection that may still be used, leased to `user`; null if there is none.
    BackendConnection* reuse(BackendUser& user);
    /// A new one, connecting, leased to `user`. Chunks may be queued on it at once.
    base::Result<BackendConnection*> connect(BackendUser& user, uint32_t timeout_ms);

    /// False if it has as many idle ones as it may keep.
    bool put_idle(BackendConnection& connection);
    void take_idle(BackendConnection& connection);
    void close_expired();
    void close_idle();
    void forget(BackendConnection& connection);
    void set_idle_max(size_t idle_max) { idle_max_ = idle_max; }

    net::EventLoop& loop() { return loop_; }
    const net::Address& address() const { return address_; }
    size_t idle() const { return idle_.size(); }
    bool empty() const { return first_ == nullptr; }

  private:
    net::EventLoop& loop_;
    const net::Address address_;
    std::vector<BackendConnection*> idle_;
    BackendConnection* first_ = nullptr;
    size_t idle_max_ = Limits{}.backend_idle_max;
};

/// All pools of a worker, found by backend.
class BackendPools {
  public:
    explicit BackendPools(net::EventLoop& loop);
    ~BackendPools();

    /// The pools of a backend's servers, in their order. Keeps the backend alive. A backend that is
    /// new here means new routes: what they no longer have is let go.
    std::vector<ServerPool*>& of(const std::shared_ptr<const Backend>& backend,
                                 const Routes& routes);
    void close_idle();

  private:
    void keep_only(const Routes& routes);
    static void on_sweep(void* self) noexcept;

    struct Entry {
        std::shared_ptr<const Backend> backend;
        std::vector<ServerPool*> servers;
    };
    static constexpr uint64_t sweep_ms = 500;

    net::EventLoop& loop_;
    std::unordered_map<const Backend*, Entry> entries_;
    std::unordered_map<std::string, std::unique_ptr<ServerPool>> pools_;  // by address text
    net::Timer sweep_;
};

}  // namespace proxy
