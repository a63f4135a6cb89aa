// One connection to a backend server, used by one exchange at a time and pooled in between.
//
//   Connecting ─▶ Leased ◀─▶ Idle
//        └──────────┴─────────┴──▶ Closing ─▶ (deleted in on_closed)
#pragma once

#include <cstdint>
#include <span>

#include "net/event_loop.h"

namespace proxy {

class ServerPool;

/// Who leases a backend connection: an exchange. None of these is called from inside a call to the
/// connection.
class BackendUser {
  public:
    virtual ~BackendUser() = default;
    virtual void on_backend_connected() noexcept = 0;
    virtual void on_backend_data(std::span<uint8_t> bytes) noexcept = 0;
    /// FIN: no more data.
    virtual void on_backend_end() noexcept = 0;
    virtual void on_backend_writable() noexcept = 0;
    /// The connection is gone; the lease ended with it.
    virtual void on_backend_closed(base::Error error) noexcept = 0;
};

class BackendConnection final : public net::StreamHandler {
  public:
    explicit BackendConnection(ServerPool& pool) : pool_(pool) {}
    ~BackendConnection() override;

    /// Starts connecting. An error leaves the object without a stream: delete it.
    base::Status connect(const net::Address& address, uint32_t timeout_ms);

    void lease_to(BackendUser& user);
    /// Ends the lease. Reused only if both messages ended cleanly; then it waits in the pool until
    /// `idle_until_ms` (loop time).
    void give_back(bool reusable, uint64_t idle_until_ms);
    /// Ends the lease and closes.
    void drop() { give_back(false, 0); }

    net::Stream& stream() { return *stream_; }
    /// Room for one more piece of a request body: at most two chunks are in flight.
    bool can_take() const { return stream_->queued() <= 1; }
    bool connected() const { return connected_; }
    /// It served an exchange before this one: the server may have closed it in the meantime.
    bool reused() const { return reused_; }
    uint64_t idle_until_ms() const { return idle_until_ms_; }
    ServerPool& pool() { return pool_; }

    void on_connected() noexcept override;
    void on_data(std::span<uint8_t> bytes) noexcept override;
    void on_end() noexcept override;
    void on_writable() noexcept override;
    void on_closed(base::Error error) noexcept override;

  private:
    friend class ServerPool;
    enum class State : uint8_t { Connecting, Leased, Idle, Closing };

    ServerPool& pool_;
    net::Stream* stream_ = nullptr;
    BackendUser* user_ = nullptr;
    State state_ = State::Connecting;
    bool connected_ = false;
    bool reused_ = false;
    uint64_t idle_until_ms_ = 0;
    // Links of the pool's list of all its connections.
    BackendConnection* previous_ = nullptr;
    BackendConnection* next_ = nullptr;
};

}  // namespace proxy
