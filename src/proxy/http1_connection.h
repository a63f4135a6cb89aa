// HTTP/1.1 (RFC 9112) on one client connection: reads requests and writes responses. One request at
// a time; pipelined ones wait in the connection's buffer.
//
//   request:   Head ─▶ Body ─▶ Done ─▶ Head …      Tunnel after 101; Dead when nothing more is read
//   response:  written by the exchange's calls, or at once by respond()
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/reentry.h"
#include "proxy/chunked.h"
#include "proxy/client_protocol.h"
#include "proxy/http1_parser.h"
#include "proxy/request.h"

namespace proxy {

class Http1Connection final : public ClientProtocol, private ResponseSink {
  public:
    Http1Connection(ClientTransport& client, WorkerContext& worker);
    ~Http1Connection() override;

    size_t on_bytes(std::string_view input) override;
    bool is_full(size_t waiting) const override;
    void on_turn() override;
    void on_end(size_t waiting) override;
    void on_writable() override;
    void on_deadline() override;
    void on_drain() override;
    void on_gone() override;
    bool is_waiting_for_response() const override;
    Idle idle() const override;
    Waiting waiting_for_servers() const override;

  private:
    enum class State : uint8_t { Head, Body, Done, Tunnel, Dead };
    /// A body of our own that is too large to go out at once.
    struct LocalRest {
        std::string body;
        size_t sent;
    };

    // ResponseSink
    Flow on_interim_response(const ResponseHead& head) noexcept override;
    Flow on_response_head(const ResponseHead& head, bool has_body) noexcept override;
    Flow on_response_data(std::span<const uint8_t> bytes) noexcept override;
    Flow on_response_flush() noexcept override;
    void on_response_end(std::string_view trailers) noexcept override;
    void on_failed(int status, const char* reason) noexcept override;
    void on_request_room() noexcept override;
    void on_request_deadline() noexcept override;
    size_t room() const noexcept override;

    /// The only place where the state changes.
    void move_to(State next);

    size_t read_head(std::string_view input);
    size_t read_body(std::string_view input);
    size_t read_tunnel(std::string_view input);
    void handle(const RequestHead& head);
    void ask_local_handler(const RequestHead& head);
    void forward(const RequestHead& head, const Forward& decision);
    void begin_request_body(const RequestHead& head);
    void end_request_body();
    void await_backend();

    /// Answers with a response of our own; closes after it if `close` or if the request has a body
    /// that was not read.
    void respond(const LocalResponse& response, bool close);
    void respond_error(int status, bool close);
    void send_local_rest();
    void log_refused(const char* what, int status, const char* reason);
    /// Refuses what could not be parsed or came too late: answers, logs the reason, closes.
    void refuse(int status, const char* reason);
    /// A request that goes wrong after its head: refused if nothing was answered yet, else cut.
    void break_request(int status, const char* reason);
    /// A backend that gives no response, or not all of it.
    void fail(int status, const char* reason);
    void progress_made();
    void message_done();
    void end_tunnel();
    /// A request for what comes next; the one that is over, if any, goes back to the worker.
    Request& fresh_request();
    void give_back_request();

    ClientTransport& client_;
    WorkerContext& worker_;
    std::unique_ptr<Request> request_;  // from its head until the turn after its end
    std::unique_ptr<LocalRest> local_rest_;
    State state_ = State::Head;
    HeadProgress progress_;
    Idle idle_;                // while no head has begun
    bool head_begun_ = false;  // bytes of a head are there: its deadline runs
    bool keep_alive_ = true;   // after the response in progress
    bool is_head_ = false;     // HEAD: no body in the response
    bool hsts_ = false;
    uint8_t minor_ = 1;
    Framing body_framing_ = Framing::None;
    Framing response_framing_ = Framing::None;  // towards the client
    uint64_t body_left_ = 0;
    ChunkDecoder chunks_;
    base::Reentry reentry_;
};

}  // namespace proxy
