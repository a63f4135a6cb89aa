// Requests that this process answers itself: the admin listener's pages and actions. The proxy
// parses and writes HTTP; what stands in the answer comes from here.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxy {

struct RequestHead;

/// What a handler sees of a request: views that end with the call.
struct LocalRequest {
    std::string_view method = {};
    std::string_view path = {};       // before '?', as sent
    std::string_view query = {};      // after '?', or ""
    std::string_view host = {};       // normalised
    std::string_view host_sent = {};  // with its port
    // Fields; "" if the request has none of that name.
    std::string_view content_type = {};
    std::string_view origin = {};
    std::string_view fetch_site = {};  // Sec-Fetch-Site
    std::string_view body = {};
    bool is_unix = false;  // came over a Unix socket
};

struct LocalResponse {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::vector<std::pair<std::string, std::string>> fields;
    std::string body;
};

/// Called on the thread of the worker that has it, once the whole request is there.
class LocalHandler {
  public:
    /// Longer bodies are refused with 413.
    static constexpr size_t body_bytes_max = 64 * 1024;

    virtual ~LocalHandler() = default;
    virtual LocalResponse handle(const LocalRequest& request) = 0;
};

/// Views into `head`, without a body.
LocalRequest make_local_request(const RequestHead& head, bool is_unix);

/// A request whose body is still being read: what the handler will see of its head, which is
/// overwritten by then, and the body so far.
class WaitingLocalRequest {
  public:
    explicit WaitingLocalRequest(const LocalRequest& request);
    void add(std::string_view bytes) { body_ += bytes; }
    LocalRequest request() const;

  private:
    const std::string method_;
    const std::string path_;
    const std::string query_;
    const std::string host_;
    const std::string host_sent_;
    const std::string content_type_;
    const std::string origin_;
    const std::string fetch_site_;
    const bool is_unix_;
    std::string body_;
};

}  // namespace proxy
