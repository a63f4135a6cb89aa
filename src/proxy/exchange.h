// One request and its response between a source (an HTTP/1 connection, later an HTTP/2 stream) and
// a leased backend connection. HTTP/1 and HTTP/2 on the client side differ in nothing else.
//
// Bodies flow by credit: the source gives body bytes only while can_take() is true and hears
// on_exchange_writable() when it is again; the other way round the exchange pauses its backend
// while the source cannot take more. At most two chunks are in flight per direction.
//
//   Idle ─▶ Sending ─▶ Head ─▶ Body ─▶ Idle     request staged ─▶ first byte of the response ─▶ its
//   end
//                        └──▶ Tunnel ─▶ Idle    after 101 on a websocket request
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "proxy/backend_connection.h"
#include "proxy/chunked.h"
#include "proxy/head.h"
#include "proxy/http1_parser.h"
#include "proxy/rewrite.h"
#include "proxy/routes.h"

namespace proxy {

struct WorkerContext;

/// The client's side of an exchange. Each call may end with the exchange being given back; the
/// exchange touches nothing afterwards.
class ExchangeSource {
  public:
    /// A 1xx other than 100 and 101.
    virtual void on_interim_response(const ResponseHead& head) noexcept = 0;
    /// `head` lives during the call. `has_body`: on_response_data() and on_response_end() follow,
    /// else only on_response_end(). For 101 raw bytes follow, both ways.
    virtual void on_response_head(const ResponseHead& head, bool has_body) noexcept = 0;
    virtual void on_response_data(std::span<const uint8_t> bytes) noexcept = 0;
    /// All that one read from the backend brought has been given: send it.
    virtual void on_response_flush() noexcept = 0;
    /// The response is complete (send what is left). The exchange is over.
    virtual void on_response_end() noexcept = 0;
    /// It broke. `status`: what to tell the client (502, 503, 504) if nothing of a response was
    /// given yet; else the client's message has to be cut. The exchange is over. `reason` is for
    /// the log.
    virtual void on_exchange_failed(int status, const char* reason) noexcept = 0;
    /// More of the request body may be given.
    virtual void on_exchange_writable() noexcept = 0;
    /// Room for one more read from the backend.
    virtual bool can_take_response() const noexcept = 0;

  protected:
    ~ExchangeSource() = default;
};

/// Recycled by its worker; see WorkerContext::take_exchange().
class Exchange final : public BackendUser {
  public:
    explicit Exchange(WorkerContext& worker) : worker_(worker) {}

    /// Leases a connection and stages the head; flush() sends it. Nothing is called back from
    /// inside; false: no descriptor, port or memory was left to lease one (503), and the exchange
    /// is as before.
    bool start(ExchangeSource& source, const RequestHead& head, const ForwardInfo& forward,
               const std::shared_ptr<const Backend>& backend, const Limits& limits);

    /// Body bytes, already unframed; framed anew for the backend. Needs can_take(). Not empty, 16
    /// KiB at most.
    void send_body(std::span<const uint8_t> bytes);
    /// The request is complete.
    void end_body();
    /// Raw bytes of a tunnel, from the client. Needs can_take().
    void send_raw(std::span<const uint8_t> bytes) { append(bytes); }
    /// Sends what was staged since the last flush.
    void flush();
    bool can_take() const { return connection_ != nullptr && connection_->can_take(); }

    /// The source can take more of the response.
    void resume_response();
    /// The source gives up: its client is gone, broke the protocol, or waited too long. No call
    /// back.
    void cancel() { release(false, 0); }

    bool request_ended() const { return request_ended_; }
    /// A byte of the response was there.
    bool response_started() const { return state_ >= State::Head && state_ != State::Sending; }
    bool is_tunnel() const { return state_ == State::Tunnel; }

    void on_backend_connected() noexcept override;
    void on_backend_data(std::span<uint8_t> bytes) noexcept override;
    void on_backend_end() noexcept override;
    void on_backend_writable() noexcept override;
    void on_backend_closed(base::Error error) noexcept override;

  private:
    enum class State : uint8_t { Idle, Sending, Head, Body, Tunnel };

    /// A pooled connection, else a new one to the next server; null if none could be made.
    BackendConnection* lease(bool fresh);
    void append(std::span<const uint8_t> bytes);
    void push_out();
    bool try_replay();
    /// Both parse one piece; false when the exchange is over or more bytes are needed.
    bool read_head(std::string_view& input);
    void read_body(std::string_view input);
    void response_complete(bool surplus);
    void fail(int status, const char* reason);
    void broke_off(int status, const char* reason);
    void release(bool reusable, uint64_t idle_until_ms);

    WorkerContext& worker_;
    ExchangeSource* source_ = nullptr;
    std::shared_ptr<const Backend> backend_;
    BackendConnection* connection_ = nullptr;
    State state_ = State::Idle;

    // The request.
    net::Chunk out_;    // staged bytes
    net::Chunk first_;  // copy of what was sent first, until a byte of the response is there
    Framing request_framing_ = Framing::None;
    bool pushed_ = false;  // something was given to the connection
    bool request_ended_ = false;
    bool body_begun_ = false;    // body bytes were staged
    bool beyond_first_ = false;  // bytes were sent that first_ does not hold
    bool idempotent_ = false;
    bool to_head_ = false;
    bool websocket_ = false;
    bool replayed_ = false;
    bool lost_before_connect_ = false;  // how the last connection ended
    bool lost_reused_ = false;
    uint32_t servers_tried_ = 0;
    uint32_t connect_ms_ = 0;
    uint32_t pool_idle_ms_ = 0;

    // The response.
    std::string partial_;  // a head that came in pieces
    HeadProgress progress_;
    Framing response_framing_ = Framing::None;
    uint64_t response_left_ = 0;
    ChunkDecoder chunks_{ChunkDecoder::Peer::Backend};
    int interims_ = 0;
    bool backend_keep_alive_ = false;
    int keep_alive_timeout_s_ = -1;
};

}  // namespace proxy
