// Which server of a backend a request goes to: round robin over those that answer, each backend
// with a counter of its own, and those that did not answer lately last.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/backend_pool.h"
#include "proxy/routes.h"

namespace proxy {

/// Which servers a request has tried. Belongs to the request.
struct Attempts {
    uint64_t tried = 0;  // bit i: the i-th server from `first`
    uint32_t first = 0;
    bool begun = false;
};

/// The servers of one backend, on one worker.
class Balancer {
  public:
    /// A request tries at most so many servers.
    static constexpr size_t attempts_max = 64;

    explicit Balancer(std::vector<ServerPool*> servers) : servers_(std::move(servers)) {}

    /// The server to try now: each is given once for the same attempts; null when all were.
    ServerPool* next(Attempts& attempts, uint64_t now_ms);
    const std::vector<ServerPool*>& servers() const { return servers_; }

  private:
    std::vector<ServerPool*> servers_;
    uint32_t next_ = 0;
};

/// All pools of a worker, found by backend.
class BackendPools {
  public:
    explicit BackendPools(net::EventLoop& loop);
    ~BackendPools();

    /// The balancer of a backend; good until the next call. A backend that is new here means new
    /// routes: what they no longer have is let go.
    Balancer& of(const std::shared_ptr<const Backend>& backend, const Routes& routes);
    void close_idle();
    /// Over all servers.
    size_t idle() const;
    size_t leased() const;

  private:
    void keep_only(const Routes& routes);
    static void on_sweep(void* self) noexcept;

    struct Entry {
        std::shared_ptr<const Backend> backend;  // keeps the address that it is found by
        Balancer balancer;
    };
    static constexpr uint64_t sweep_ms = 500;

    net::EventLoop& loop_;
    std::unordered_map<const Backend*, Entry> entries_;
    std::unordered_map<std::string, std::unique_ptr<ServerPool>> pools_;  // by address text
    net::Timer sweep_;
};

}  // namespace proxy
