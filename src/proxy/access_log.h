// One line per request in the combined format that httpd and nginx write, through a bounded ring to
// the log thread: a worker never waits for a disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/log.h"
#include "proxy/head.h"

namespace proxy {

/// What is kept of a request until its line is written. Recycled with its owner: no allocation per
/// request once its strings have grown.
struct AccessRecord {
    std::string request_line;  // escaped: "GET /path HTTP/1.1"
    std::string referer;       // escaped, "-" if there was none
    std::string user_agent;
    int status = 0;
    uint64_t body_bytes = 0;  // of the response, as sent to the client without framing
};

class AccessLog {
  public:
    explicit AccessLog(std::shared_ptr<base::LogRing> ring) : ring_(std::move(ring)) {}

    bool enabled() const { return ring_ != nullptr; }
    /// Copies what the line needs. Call only if enabled().
    void begin(AccessRecord& record, const RequestHead& head);
    /// For a request that could not be parsed.
    void begin_bad(AccessRecord& record);
    /// Writes the line. `now_ms`: loop time, to format the date once per second only.
    void end(const AccessRecord& record, std::string_view client_address, uint64_t now_ms);

  private:
    std::shared_ptr<base::LogRing> ring_;
    std::string line_;
    std::string date_;
    uint64_t date_until_ms_ = 0;
};

}  // namespace proxy
