// One connection to a backend server, used by one exchange at a time and pooled in between.
//
//   Connecting ─▶ Leased ◀─▶ Idle
//        └──────────┴─────────┴──▶ Closing ─▶ (deleted in on_closed)
#pragma once

#include <cstdint>
#include <span>

#include "base/reentry.h"
#include "net/event_loop.h"
#include "proxy/flow.h"

namespace proxy {

class ServerPool;

/// What becomes of a lease after an event: what its user says to the connection that told it.
struct [[nodiscard]] Lease {
    enum class Kind : uint8_t {
        Keep,   ///< it goes on
        Pool,   ///< it is over, and both messages ended cleanly: the connection may be used again
        Close,  ///< it is over, and so is the connection: FIN
        Abort,  ///< it is over in the middle: RST, see BackendConnection::release()
    };
    Kind kind = Kind::Keep;
    uint64_t idle_until_ms = 0;  ///< Pool: until then (loop time)

    static Lease keep() { return {}; }
    static Lease pool(uint64_t idle_until_ms) { return {Kind::Pool, idle_until_ms}; }
    static Lease close() { return {Kind::Close, 0}; }
    static Lease abort() { return {Kind::Abort, 0}; }
};

/// Who leases a backend connection: an exchange. All of these come from the loop, none from inside
/// a call to the connection; and none of them calls the connection to end its lease: it says so.
class BackendUser {
  public:
    virtual ~BackendUser() = default;
    virtual Lease on_backend_data(std::span<uint8_t> bytes) noexcept = 0;
    /// FIN: no more data.
    virtual Lease on_backend_end() noexcept = 0;
    /// The server has taken the connection.
    virtual void on_backend_connected() noexcept = 0;
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

    /// From Connecting or Idle; until `user` says otherwise, calls release(), or hears
    /// on_backend_closed().
    void lease_to(BackendUser& user);
    /// Its user gives up in the middle, between events: the connection is reset. FIN would look
    /// like the end of a request, and leave a port in TIME_WAIT for each client that goes away.
    void release();
    /// The lease ends between events; what was sent arrives, then FIN.
    void finish();

    // For its user.

    /// Bytes to the server; dropped if the connection broke, of which on_backend_closed() tells.
    void send(net::Chunk chunk);
    Waiting waiting() const;
    /// Whether the server's kernel has taken so many bytes since the last time that this was asked,
    /// or any, if it has all now. A system call.
    bool has_taken(uint64_t bytes_min);
    /// The next bytes come when there is room for them: `room` says how many can be taken, 0 none
    /// until this is called again. A receive brings at most net::large_buffer_bytes, or
    /// net::bulk_buffer_bytes where there is room for so many and the server fills its buffers.
    void set_room(size_t room);
    /// Room for request bytes: 0 until on_backend_writable().
    size_t send_room() const;
    /// Out of memory for the request: closes; on_backend_closed() with {None} follows.
    void give_up() { stream_->close(); }
    bool connected() const { return connected_; }
    /// It served an exchange before this one: the server may have closed it in the meantime.
    bool reused() const { return reused_; }

    void on_connected() noexcept override;
    void on_data(std::span<uint8_t> bytes) noexcept override;
    void on_end() noexcept override;
    void on_writable() noexcept override;
    void on_closed(base::Error error) noexcept override;

  private:
    friend class ServerPool;
    enum class State : uint8_t { Connecting, Leased, Idle, Closing };

    /// The only place where the state changes.
    void move_to(State next);
    /// What the user said.
    void settle(const Lease& lease);
    void end_lease();
    /// Out of the pool's hands.
    void close();

    ServerPool& pool_;
    net::Stream* stream_ = nullptr;
    BackendUser* user_ = nullptr;
    State state_ = State::Connecting;
    bool connected_ = false;
    bool reused_ = false;
    bool fills_buffers_ = false;  // the last receive brought all that it could
    uint64_t idle_until_ms_ = 0;
    uint64_t taken_ = 0;           // of what was sent, when has_taken() was asked
    uint64_t waits_since_ms_ = 0;  // of what was sent last, or of the last that was taken
    base::Reentry reentry_;
    // Links of the pool's list of all its connections.
    BackendConnection* previous_ = nullptr;
    BackendConnection* next_ = nullptr;
};

}  // namespace proxy
