// One request from its head to the end of its response, whatever protocol brought it: the snapshot
// that it goes by, its exchange with a backend or its wait for the local handler, the account of
// its body, its line in the access log, and its deadline.
//
// Recycled by its worker (WorkerContext::take_request()): no allocation per request once warm.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "proxy/access_log.h"
#include "proxy/body_clock.h"
#include "proxy/deadline.h"
#include "proxy/decide.h"
#include "proxy/exchange.h"

namespace proxy {

class ClientTransport;

class Request {
  public:
    explicit Request(WorkerContext& worker);
    ~Request();
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

    /// A head was read: counts it, begins its access record, holds the routes, and decides.
    /// `session`: null on a plain connection.
    Decision begin(const RequestHead& head, const tls::SessionInfo* session);
    /// Something that could not be parsed: only its access record is begun.
    void begin_bad();
    /// Of the routes that it was decided by.
    const Limits& limits() const { return routes_->limits(); }

    /// Forwards it. False: 503, see Exchange::start(). `sink` gets the response and the deadline.
    bool forward(ResponseSink& sink, const RequestHead& head, const ForwardInfo& info,
                 const Site& site);
    Exchange& exchange() { return exchange_; }
    const Exchange& exchange() const { return exchange_; }

    /// The local handler is asked when the body is there: keeps what it needs of the head. `sink`
    /// gets the deadline.
    void wait_for_body(ResponseSink& sink, const LocalRequest& request);
    bool waits_for_body() const { return local_ != nullptr; }
    /// The handler's answer, with the body that came.
    LocalResponse ask_local();

    // The request's body.
    enum class Body : uint8_t { Taken, TooLarge, TooSlow };
    void begin_body();
    /// Bytes of the body that can be taken now.
    size_t body_room() const;
    /// `data`: 16 KiB at most, and body_room() was not 0.
    Body take_body(std::string_view data);
    /// body_room() is 0, or not any more: the time in between is not the client's. False if that is
    /// known already.
    bool pause_body();
    bool resume_body();
    uint64_t body_bytes() const { return clock_.bytes(); }

    // The response.
    void note_status(int status);
    void note_sent(uint64_t body_bytes) { record_.body_bytes += body_bytes; }
    /// 200 to 599, once one was begun; else 0.
    bool response_begun() const { return record_.status != 0; }

    /// ResponseSink::on_request_deadline() in so many milliseconds; 0: never.
    void set_deadline(uint32_t delay_ms) { deadline_.set(delay_ms); }
    bool has_deadline() const { return deadline_.is_set(); }

    /// The response is complete, or never will be: writes the access record, stops the deadline. Of
    /// the exchange it touches nothing: that may be what calls.
    void finish(std::string_view client_address);
    bool is_finished() const { return finished_; }
    /// Ends what is still under way and lets everything go. Not from inside the sink's calls.
    void reset();

  private:
    static void on_deadline(void* self) noexcept;

    WorkerContext& worker_;
    std::shared_ptr<const Routes> routes_;
    Exchange exchange_;
    ResponseSink* sink_ = nullptr;
    std::unique_ptr<WaitingLocalRequest> local_;
    AccessRecord record_;
    BodyClock clock_;
    Deadline deadline_;
    bool finished_ = false;
};

}  // namespace proxy
