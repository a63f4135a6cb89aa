// Where the response to one request goes: an HTTP/1 connection, or a stream of HTTP/2. The client's
// side of an exchange.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "proxy/flow.h"
#include "proxy/head.h"

namespace proxy {

/// All calls come while an event of the backend is worked on, or from the request's deadline; none
/// comes from inside a call to the exchange. The sink never calls the exchange back from them: what
/// it has to say, it returns. After Gone no more calls come.
///
/// One final response: any number of on_interim_response(), on_response_head(), any number of
/// on_response_data(), and on_response_end() with the trailers; on_failed() instead of what is
/// still to come.
class ResponseSink {
  public:
    /// A 1xx other than 100 and 101. `head` lives during the call, as below.
    virtual Flow on_interim_response(const ResponseHead& head) noexcept = 0;
    /// `has_body`: on_response_data() may follow. For 101 raw bytes follow, both ways.
    virtual Flow on_response_head(const ResponseHead& head, bool has_body) noexcept = 0;
    virtual Flow on_response_data(std::span<const uint8_t> bytes) noexcept = 0;
    /// All that one read from the backend brought was given, and more is to come: send it.
    virtual Flow on_response_flush() noexcept = 0;
    /// The response is complete: send what is left. The exchange is over. `trailers`: field lines,
    /// of which none is about framing or routing (RFC 9110 6.5.1); they live during the call.
    virtual void on_response_end(std::string_view trailers) noexcept = 0;
    /// It broke. `status`: what to tell the client (502, 503, 504) if nothing of a final response
    /// was given yet; else the client's message has to be cut. The exchange is over. `reason` is
    /// for the log.
    virtual void on_failed(int status, const char* reason) noexcept = 0;
    /// More of the request's body may be given.
    virtual void on_request_room() noexcept = 0;
    /// The request's own deadline has passed.
    virtual void on_request_deadline() noexcept = 0;

    /// Bytes that can be taken now; 0: none until the sink's owner calls resume_response(). What
    /// one read brings on top of it is taken all the same.
    virtual size_t room() const noexcept = 0;

  protected:
    ~ResponseSink() = default;
};

}  // namespace proxy
