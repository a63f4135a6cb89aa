// HTTP/1.1 (RFC 9112) on one client connection: reads requests, decides what becomes of each, and
// writes responses. One request at a time; pipelined ones wait in the connection's buffer.
//
//   request:   Head ─▶ Body ─▶ Done ─▶ Head …      Tunnel after 101; Dead when nothing more is read
//   response:  written by the exchange's calls, or at once by respond()
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/access_log.h"
#include "proxy/exchange.h"
#include "proxy/local_handler.h"

namespace proxy {

class ClientConnection;

class Http1Connection final : public ExchangeSource {
  public:
    Http1Connection(ClientConnection& client, WorkerContext& worker)
        : client_(client), worker_(worker) {}
    ~Http1Connection();

    /// Uses a prefix of `input` and says how long it was; the rest is given again, with more behind
    /// it, when the protocol has asked for it or more has arrived.
    size_t on_bytes(std::string_view input);
    /// The client ends its side. `clean`: so that a message without a length may be taken for
    /// complete.
    void on_end(bool clean);
    /// The connection can take more output.
    void on_writable();
    void on_deadline();
    /// The connection is gone: gives the exchange up.
    void on_gone();
    void drain();

    /// `waiting` unused bytes cannot be used before something else happens: stop receiving.
    bool is_full(size_t waiting) const;
    bool is_waiting_for_response() const { return exchange_ != nullptr; }

    void on_interim_response(const ResponseHead& head) noexcept override;
    void on_response_head(const ResponseHead& head, bool has_body) noexcept override;
    void on_response_data(std::span<const uint8_t> bytes) noexcept override;
    void on_response_flush() noexcept override;
    void on_response_end() noexcept override;
    void on_exchange_failed(int status, const char* reason) noexcept override;
    void on_exchange_writable() noexcept override;
    bool can_take_response() const noexcept override;

  private:
    enum class State : uint8_t { Head, Body, Done, Tunnel, Dead };
    /// A body of our own that is too large to go out at once.
    struct LocalRest {
        std::string body;
        size_t sent;
    };

    size_t read_head(std::string_view input);
    size_t read_body(std::string_view input);
    void handle(const RequestHead& head);
    bool answer_locally(const RequestHead& head, const Site* site, const Routes& routes);
    void ask_local_handler(const RequestHead& head);
    void forward(const RequestHead& head, const Site& site, const Routes& routes);
    void begin_request_body(const RequestHead& head, const Limits& limits);
    void end_request_body();
    /// Answers with a response of our own; closes after it if `close` or if the request has a body
    /// that was not read.
    void respond(const LocalResponse& response, bool close);
    void respond_error(int status, bool close);
    void send_local_rest();
    /// Refuses what could not be parsed or came too late: answers, logs the reason, closes.
    void refuse(int status, const char* reason);
    void break_request(int status, const char* reason);
    void on_progress();
    void message_done();
    void log_access();
    void drop_exchange();

    ClientConnection& client_;
    WorkerContext& worker_;
    std::unique_ptr<Exchange> exchange_;
    std::unique_ptr<AccessRecord> record_;
    std::unique_ptr<WaitingLocalRequest> waiting_local_;  // set while its body is read
    std::unique_ptr<LocalRest> local_rest_;
    State state_ = State::Head;
    HeadProgress progress_;
    bool first_ = true;        // no request was read yet
    bool head_begun_ = false;  // bytes of a head are there: its deadline runs
    bool keep_alive_ = true;   // after the response in progress
    bool is_head_ = false;     // HEAD: no body in the response
    bool hsts_ = false;
    uint8_t minor_ = 1;
    Framing body_framing_ = Framing::None;
    Framing response_framing_ = Framing::None;  // towards the client
    bool response_begun_ = false;
    uint64_t body_left_ = 0;
    uint64_t body_bytes_ = 0;
    uint64_t body_since_ms_ = 0;
    ChunkDecoder chunks_;
};

}  // namespace proxy
