// Connections to backend servers: per worker and server, last used first.
//
// httpd closes an idle keep-alive connection after its KeepAliveTimeout; a request sent at that
// moment is lost. So each connection says until when it may be used (what the server announced,
// less a margin), is closed when that has passed, and keeps a receive armed so that a FIN is seen
// at once.
//
// How many idle ones are kept follows what was in use lately: as many connections in all, idle or
// leased, as were leased at the peak of the last 10 s, or three quarters of the peak before. A pool
// of a fixed size is a cliff: with 64 idle ones and 256 requests at a time, nearly each opened a
// connection (37 us a request instead of 17).
#pragma once

#include <memory>
#include <vector>

#include "net/event_loop.h"
#include "proxy/backend_connection.h"
#include "proxy/limits.h"

namespace proxy {

/// Whether an error is a lack of our own descriptors, ports or memory, as opposed to a server that
/// does not answer.
bool is_shortage(const base::Error& error);

/// Connections to one server. Owns them until they delete themselves when their stream has closed.
class ServerPool {
  public:
    ServerPool(net::EventLoop& loop, const net::Address& address)
        : loop_(loop), address_(address), window_from_ms_(loop.now_ms()) {}
    ~ServerPool();
    ServerPool(const ServerPool&) = delete;
    ServerPool& operator=(const ServerPool&) = delete;

    /// An idle connection that may still be used, leased to `user`; null if there is none.
    BackendConnection* reuse(BackendUser& user);
    /// A new one, connecting, leased to `user`. Chunks may be queued on it at once.
    base::Result<BackendConnection*> connect(BackendUser& user, uint32_t timeout_ms);

    /// Closes idle connections that are over their time or more than are needed.
    void trim();
    void close_idle();
    void set_idle_max(size_t idle_max) { idle_max_ = idle_max; }

    /// The server did not answer a connect lately: others come first.
    bool is_down(uint64_t now_ms) const { return down_until_ms_ > now_ms; }
    /// A server that was down is tried by one request at a time until it answers.
    void begin_attempt(uint64_t now_ms);

    net::EventLoop& loop() { return loop_; }
    const net::Address& address() const { return address_; }
    size_t idle() const { return idle_.size(); }
    size_t leased() const { return leased_; }
    bool empty() const { return first_ == nullptr; }

  private:
    friend class BackendConnection;
    /// How long a server that did not answer is left alone, as in nginx (fail_timeout).
    static constexpr uint64_t down_ms = 10'000;
    static constexpr uint64_t window_ms = 10'000;

    // From connections.
    /// False if it has as many idle ones as it may keep.
    bool put_idle(BackendConnection& connection);
    void take_idle(BackendConnection& connection);
    void count_lease();
    void count_end();
    void note_answer();
    void note_failure(const base::Error& error);
    void forget(BackendConnection& connection);
    /// Connections worth keeping, leased ones included.
    size_t wanted() const { return std::max(peak_, window_peak_); }
    void move_window();

    net::EventLoop& loop_;
    const net::Address address_;
    std::vector<BackendConnection*> idle_;  // the one used last at the end
    BackendConnection* first_ = nullptr;
    size_t idle_max_ = Limits{}.backend_idle_max;
    size_t leased_ = 0;
    size_t window_peak_ = 0;  // of leased_, since window_from_ms_
    size_t peak_ = 0;         // before that, decaying
    uint64_t window_from_ms_;
    uint64_t down_until_ms_ = 0;
    bool suspect_ = false;  // the last attempt to connect failed
};

}  // namespace proxy
