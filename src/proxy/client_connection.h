// One accepted connection: moves bytes between its stream, its TLS session (if any) and the
// protocol that is spoken on it. Knows deadlines and back-pressure, nothing of HTTP.
//
//   Handshaking ─▶ Open ─▶ Over ─▶ (deleted in on_closed)
//
// A handshake with a slow key lends the session to the handshake pool for one step. Meanwhile the
// client may go or its time run out: if the pool is at work on the session by then, the connection
// is deleted when it comes back.
//
// Over means: nothing more is read or written here. abort() and finish() only say so; the protocol
// hears of it from the loop, at the end of the turn or when the stream is closed.
//
// Incoming plaintext that the protocol cannot use yet waits in pending_, never more than one head
// and one record; while it waits the stream is paused. So does ciphertext for a lent session.
// Outgoing pieces are gathered in a chunk of the connection's own until flush() seals them, into as
// few records as possible. Between two events no chunk is held here.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/reentry.h"
#include "net/event_loop.h"
#include "proxy/client_protocol.h"
#include "proxy/deadline.h"
#include "proxy/output_clock.h"
#include "proxy/worker_context.h"

namespace proxy {

class ClientConnection final : public net::StreamHandler,
                               public net::Deferred,
                               public ClientTransport {
  public:
    /// Takes over an accepted stream, whose other end is `client`. `session`: null for plain HTTP.
    ClientConnection(WorkerContext& worker, net::Stream& stream, const net::Address& client,
                     const ListenSocket& listener, std::unique_ptr<tls::Session> session);
    ~ClientConnection();

    // ClientTransport
    Flow append(std::span<const uint8_t> bytes) override;
    using ClientTransport::append;
    Flow flush() override;
    size_t room() const override;
    void resume() override;
    void set_bulk(bool bulk) override;
    void set_deadline(uint32_t delay_ms) override {
        if (state_ != State::Over) deadline_.set(delay_ms);
    }
    void finish() override;
    void leave() override;
    void abort() override;
    bool is_open() const override { return state_ != State::Over; }
    const tls::SessionInfo* tls_info() const override {
        return session_ ? &session_->info() : nullptr;
    }
    const std::string& address() const override { return address_; }
    bool is_unix() const override { return is_unix_; }
    uint16_t public_port() const override { return public_port_; }

    // From the worker.

    /// Closes when idle, else after the response in progress.
    void drain();
    /// What waits for the client to take it, and of its requests for servers.
    Waiting waiting_output() const;
    /// Memory has come free: what waited for it goes on.
    void on_memory();
    /// Its memory is needed by others, and it is the slowest: cut.
    void shed();
    /// ClientProtocol::idle(); not, before there is one.
    Idle idle() const;
    /// Over since a moment ago, and nothing has to be taken first: its place is free soon. A client
    /// that goes on sending can stay for longer, and nobody should count on its place.
    bool is_leaving() const {
        return state_ == State::Over && stream_->unsent() == 0 &&
               worker_.loop.now_ms() < over_since_ms_ + leaving_ms;
    }
    /// Closes it in order if it is idle.
    void close_idle();
    /// The worker ends: what is under way is cut, so that no part of it looks complete.
    void stop();
    /// Nothing is received now, or the client has ended its side: cuts it if the client is gone.
    /// True if it has to be looked at again.
    bool look_if_paused();

    void on_data(std::span<uint8_t> bytes) noexcept override;
    void on_end() noexcept override;
    void on_writable() noexcept override;
    void on_closed(base::Error error) noexcept override;
    void run_deferred() noexcept override;

    ClientConnection* previous = nullptr;  // the worker's list
    ClientConnection* next = nullptr;

  private:
    enum class State : uint8_t { Handshaking, Open, Over };

    static void on_deadline(void* self) noexcept;
    static void on_output_deadline(void* self) noexcept;
    /// The only place where the state changes.
    void move_to(State next_state);

    // Receiving.
    void feed_session(std::span<const uint8_t> bytes);
    void read_session();
    void lend_session();
    void take_session_back();
    void handshake_done();
    void session_failed();
    /// Says so in the log, now and then.
    void log_failed_handshake(tls::Failure failure, std::string_view what);
    void deliver(std::span<const uint8_t> bytes);
    void use_pending();
    void block_if_full();
    void input_ended();
    /// Input that is there and not used; how much of it counts only if it is none.
    size_t waiting() const;

    // Sending.
    /// A chunk to be sent, with room for so many bytes; false, and aborted: there is no memory.
    bool make_room(size_t bytes, net::Purpose purpose);
    Flow seal(std::span<const uint8_t> plaintext);
    bool take_chunk(net::Purpose purpose);
    Flow push_out();
    void send_or_keep();
    void begin_to_wait();
    void cut();

    /// Every event ends here: if the connection is over, its protocol is told, once.
    void settle();
    void run_soon();
    /// The stream's orderly end: what is queued, FIN.
    void part();
    void close_now();

    WorkerContext& worker_;
    net::Stream* stream_;
    std::unique_ptr<tls::Session> session_;
    std::unique_ptr<ClientProtocol> protocol_;  // null while handshaking
    Deadline deadline_;                         // the protocol's; before: the handshake's
    Deadline output_deadline_;                  // for what waits to be taken
    OutputClock output_clock_;                  // of that
    net::Chunk gather_;                         // plaintext to be sealed; TLS only
    net::Chunk out_;                            // sealed or plain bytes to be sent
    uint16_t public_port_;
    State state_ = State::Handshaking;
    bool is_unix_;
    bool bulk_ = false;
    bool has_spoken_ = false;  // bytes came
    bool run_wanted_ = false;  // run_deferred() is on its way
    bool turn_wanted_ = false;
    bool leaving_ = false;
    bool is_hurried_ = false;     // its place is needed
    bool has_ended_ = false;      // the client's FIN came
    bool input_over_ = false;     // close_notify or FIN: what follows is nobody's
    bool protocol_told_ = false;  // on_gone()
    bool dead_ = false;
    bool lent_ = false;  // the handshake pool has session_: not to be touched
    base::Reentry reentry_;
    std::string pending_;
    static constexpr uint64_t leaving_ms = 2'000;
    uint64_t over_since_ms_ = 0;
    std::string kept_;  // of the session's, until the response that is due
    std::string address_;
};

}  // namespace proxy
