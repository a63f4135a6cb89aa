// Requests that this process answers itself: the admin listener's pages. The proxy parses and
// writes HTTP; what stands in the answer comes from here.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxy {

struct LocalRequest {
    std::string_view method;
    std::string_view path;   // before '?', as sent
    std::string_view query;  // after '?', or ""
    std::string_view host;   // normalised
};

struct LocalResponse {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::vector<std::pair<std::string, std::string>> fields;
    std::string body;
};

/// Answers GET and HEAD without a body; called on the thread of the worker that has it.
class LocalHandler {
  public:
    virtual ~LocalHandler() = default;
    virtual LocalResponse handle(const LocalRequest& request) = 0;
};

}  // namespace proxy
