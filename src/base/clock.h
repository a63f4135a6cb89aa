// Time, injected: the engine never reads the system's clock itself, so that tests can move months.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace base {

using Time = std::chrono::sys_time<std::chrono::milliseconds>;
using Duration = std::chrono::milliseconds;

/// Wall time and waiting. Implementations are safe to use from several threads.
class Clock {
  public:
    virtual ~Clock() = default;
    virtual Time now() = 0;
    /// Waits; false if the process is stopping and the caller should give up.
    virtual bool sleep(Duration duration) = 0;
};

/// The system's clock. stop() wakes all sleepers and makes every later sleep return false at once.
class SystemClock final : public Clock {
  public:
    SystemClock();
    ~SystemClock() override;
    Time now() override;
    bool sleep(Duration duration) override;
    void stop();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// "Sun, 22 Nov 2026 03:55:46 GMT": the form of HTTP's Date (RFC 9110 5.6.7) and of mod_md's JSON.
std::string format_http_date(Time time);
/// Reads exactly that form; false for anything else, the two obsolete forms included.
bool parse_http_date(std::string_view text, Time& time);
/// "2026-11-22T03:55:46Z" (RFC 3339, whole seconds).
std::string format_rfc3339(Time time);
/// RFC 3339 with any offset and fraction.
bool parse_rfc3339(std::string_view text, Time& time);

}  // namespace base
