// One accepted connection: moves bytes between its stream, its TLS session (if any) and the
// protocol that is spoken on it. Knows deadlines and back-pressure, nothing of HTTP.
//
//   Handshaking ─▶ Open ─▶ Finishing ─▶ (deleted in on_closed)
//
// A handshake with a slow key lends the session to the handshake pool for one step. Meanwhile the
// client may go or its time run out: if the pool is at work on the session by then, the connection
// is deleted when it comes back.
//
// Incoming plaintext that the protocol cannot use yet waits in pending_, never more than one head
// and one record; while it waits the stream is paused. So does ciphertext for a lent session.
// Outgoing pieces are gathered within one call from the loop and sealed into as few records as
// possible by flush().
#pragma once

#include <memory>
#include <span>
#include <string>

#include "net/event_loop.h"
#include "proxy/http1_connection.h"
#include "proxy/worker_context.h"

namespace proxy {

class ClientConnection final : public net::StreamHandler, public net::Deferred {
  public:
    /// Takes over an accepted stream. `session`: null for plain HTTP.
    ClientConnection(WorkerContext& worker, net::Stream& stream, const ListenSocket& listener,
                     std::unique_ptr<tls::Session> session);
    ~ClientConnection() override;

    WorkerContext& worker() { return worker_; }
    /// Null on a plain connection; valid once the protocol gets bytes.
    const tls::SessionInfo* tls_info() const { return session_ ? &session_->info() : nullptr; }
    uint16_t public_port() const { return public_port_; }
    /// Over a Unix socket.
    bool is_unix() const { return stream_->local().is_unix(); }
    /// The client's address without port, as text.
    const std::string& address();

    /// Adds to what flush() sends. `bytes` must stay valid until then if larger than small_piece.
    void append(std::span<const uint8_t> bytes);
    void append(std::string_view text) {
        append({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    }
    static constexpr size_t small_piece = 512;
    void flush();
    /// Room for what one read from a backend can bring: at most one chunk waits behind the one in
    /// flight.
    bool can_write() const { return stream_->queued() <= 1; }

    /// More plaintext can be taken: what waits is given to the protocol at the end of this turn.
    void resume();
    /// A large body is coming, or has ended: larger receive buffers.
    void set_bulk(bool bulk);
    /// Everything that was flushed is sent, then close_notify and FIN; input is discarded.
    void finish();
    /// The client has ended its side and is owed nothing: finish() at the end of this turn, unless
    /// its FIN is there by then. Nobody would read our close_notify, and a closed socket answers it
    /// with a reset.
    void leave();
    /// Cuts the connection such that the client cannot take what it got for complete.
    void abort();
    bool closing() const { return state_ == State::Finishing; }

    /// The protocol's on_deadline() is called then, unless moved. 0: never.
    void set_deadline(uint32_t delay_ms);

    /// Closes when idle, else after the response in progress.
    void drain();

    void on_data(std::span<uint8_t> bytes) noexcept override;
    void on_end() noexcept override;
    void on_writable() noexcept override;
    void on_closed(base::Error error) noexcept override;
    void run_deferred() noexcept override;

    ClientConnection* previous = nullptr;  // the worker's list
    ClientConnection* next = nullptr;

  private:
    enum class State : uint8_t { Handshaking, Open, Finishing };

    static void on_timer(void* self) noexcept;
    void feed_session(std::span<const uint8_t> bytes);
    void read_session();
    void lend_session();
    void take_session_back();
    void handshake_done();
    void deliver(std::span<const uint8_t> bytes);
    void block_if_pending();
    void peer_ended(bool clean);
    void seal(std::span<const uint8_t> plaintext);
    void push_out();
    void run_soon();
    /// The stream's orderly end: what is queued, FIN.
    void part();

    WorkerContext& worker_;
    net::Stream* stream_;
    std::unique_ptr<tls::Session> session_;
    Http1Connection http1_;
    net::Timer timer_;
    uint64_t deadline_ms_ = 0;         // 0: none
    uint64_t timer_at_ms_ = 0;         // when timer_ fires; never after deadline_ms_
    net::Chunk out_;                   // sealed or plain bytes to be sent
    std::span<const uint8_t> direct_;  // a gathered piece that was not copied yet
    uint16_t gathered_ = 0;            // bytes in worker_.gather
    uint16_t public_port_;
    State state_;
    bool bulk_ = false;
    bool run_wanted_ = false;  // run_deferred() is on its way
    bool leaving_ = false;
    bool has_ended_ = false;  // the client's FIN came
    bool dead_ = false;
    bool lent_ = false;  // the handshake pool has session_: not to be touched
    std::string pending_;
    std::string address_;
};

}  // namespace proxy
