// One request and its response between a ResponseSink and a leased backend connection. HTTP/1 and
// HTTP/2 on the client side differ in nothing else.
//
// Bodies flow by credit in bytes: the client's side gives body bytes while room() is not 0 and
// hears on_request_room() when it is so again; the other way round the exchange lets its backend
// wait while the sink's room() is 0.
//
//   Idle ─▶ Sending ─▶ Head ─▶ Body ─▶ Over ─▶ Idle     request staged ─▶ first byte of the
//             │          └──▶ Tunnel ─▲                  response ─▶ its head ─▶ its end; Tunnel
//             └───────────────────────┘                  after 101; Idle by reset()
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proxy/backend_connection.h"
#include "proxy/balancer.h"
#include "proxy/chunked.h"
#include "proxy/head.h"
#include "proxy/http1_parser.h"
#include "proxy/response_sink.h"
#include "proxy/rewrite.h"
#include "proxy/routes.h"

namespace proxy {

struct WorkerContext;

/// Part of a request, which outlives it and owns the routes that it goes by.
class Exchange final : public BackendUser {
  public:
    explicit Exchange(WorkerContext& worker) : worker_(worker) {}
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    /// Leases a connection to one of `site`'s servers and stages the head; flush() sends it.
    /// Nothing is called back from inside. False: no descriptor, port or memory was left for it
    /// (503), and the exchange is Idle as before. `site` and `limits` live until reset().
    bool start(ResponseSink& sink, const RequestHead& head, const ForwardInfo& forward,
               const Site& site, const Limits& limits);

    /// Body bytes, already unframed; framed anew for the backend. Needs room(). Not empty, 16 KiB
    /// at most.
    void send_body(std::span<const uint8_t> bytes);
    /// The request is complete.
    void end_body();
    /// Raw bytes of a tunnel, from the client. Needs room().
    void send_raw(std::span<const uint8_t> bytes) { append(bytes); }
    /// Sends what was staged since the last flush.
    void flush();
    /// Bytes of the request that can be given now.
    size_t room() const;
    /// What of the request waits for the server to take it.
    Waiting waiting() const { return connection_ != nullptr ? connection_->waiting() : Waiting{}; }
    /// From now on is_being_taken() counts.
    void begin_to_watch();
    /// So many bytes of the request were taken since begin_to_watch() or the last time that this
    /// was asked; or any, and with them the last one.
    bool is_being_taken(uint64_t bytes_min);

    /// The sink has room again.
    void resume_response();
    /// The client has ended its side of the tunnel: what it sent still goes to the server, then
    /// FIN. The sink hears nothing more. Not from inside the sink's calls. Then it is Idle.
    void finish_tunnel();
    /// Gives up what is under way: the backend connection is reset, the sink hears nothing more.
    /// Not from inside the sink's calls. Then it is Idle.
    void reset();

    /// From start() until the sink hears the end, or reset().
    bool is_under_way() const { return state_ != State::Idle && state_ != State::Over; }
    bool is_idle() const { return state_ == State::Idle; }

    Lease on_backend_data(std::span<uint8_t> bytes) noexcept override;
    Lease on_backend_end() noexcept override;
    void on_backend_connected() noexcept override;
    void on_backend_writable() noexcept override;
    void on_backend_closed(base::Error error) noexcept override;

  private:
    enum class State : uint8_t { Idle, Sending, Head, Body, Tunnel, Over };
    /// Whether the event's work goes on; Over: `lease_` says what becomes of the lease.
    enum class Step : uint8_t { Go, Over };

    /// The only place where the state changes.
    void move_to(State next);
    /// A pooled connection, unless `fresh`, or a new one to the next server; null if none could be
    /// made.
    BackendConnection* lease(bool fresh);
    void append(std::span<const uint8_t> bytes);
    void push_out();
    void send_first();
    void forget_first();
    bool may_replay() const;
    bool try_replay();

    /// Each parses a piece. `input` loses what was used.
    Step read_heads(std::string_view& input);
    Step read_head_bytes(std::string_view input);
    Step read_body(std::string_view input);

    // Ends of the exchange. The lease ends with what they return from the backend's event.
    Step complete(bool surplus);
    Step fail(int status, const char* reason);
    Step gone();
    Step over(const Lease& lease);
    /// The server ended or lost the connection before it answered: once more, or fail().
    Step lost(int status, const char* reason);

    WorkerContext& worker_;
    ResponseSink* sink_ = nullptr;
    const Site* site_ = nullptr;
    BackendConnection* connection_ = nullptr;
    Lease lease_;
    State state_ = State::Idle;
    base::Reentry reentry_;

    // The request.
    net::Chunk out_;     // staged bytes
    std::string first_;  // copy of what was sent first, until a byte of the response is there
    Attempts attempts_;
    Framing request_framing_ = Framing::None;
    bool pushed_ = false;  // something was given to the connection
    bool held_ =
        false;  // … but waits in first_ for the connection to be made: chunks are for who can send
    bool request_ended_ = false;
    bool body_begun_ = false;    // body bytes were staged
    bool beyond_first_ = false;  // bytes were sent that first_ does not hold
    bool is_watched_ = false;    // begin_to_watch()
    bool idempotent_ = false;
    bool to_head_ = false;
    bool websocket_ = false;
    bool replayed_ = false;
    bool lost_before_connect_ = false;  // how the last connection ended
    bool lost_reused_ = false;
    uint32_t connect_ms_ = 0;
    uint32_t pool_idle_ms_ = 0;

    // The response.
    std::string partial_;  // a head that came in pieces
    HeadProgress progress_;
    Framing response_framing_ = Framing::None;
    uint64_t response_left_ = 0;
    ChunkDecoder chunks_{ChunkDecoder::Peer::Backend};
    std::string trailers_;
    int interims_ = 0;
    bool backend_keep_alive_ = false;
    int keep_alive_timeout_s_ = -1;
};

}  // namespace proxy
