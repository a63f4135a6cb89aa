// What the engine tells programs of: mod_md's events with MessageCmd and NotifyCmd (mod_md.md 5.12,
// rate limits 4.9). What a failure means is the caller's business.
#pragma once

#include <stop_token>
#include <string>

#include "base/clock.h"
#include "md/commands.h"
#include "md/domain.h"
#include "md/job.h"

namespace md {

enum class EventKind : uint8_t {
    Renewing,
    ChallengeSetup,
    Renewed,
    Installed,
    Expiring,
    Errored,
    OcspRenewed,
    OcspErrored,
    Revoked  // new: mod_md has none
};

struct Event {
    EventKind kind;
    std::string subject{};  // of ChallengeSetup: "http-01:a.example"

    /// What a program is given: "renewing", "challenge-setup:http-01:a.example".
    std::string reason() const;
};

/// The time that has to pass between two of a kind for one domain, or for one set of certificates
/// where they are of a set; zero: none.
base::Duration event_interval(EventKind kind);

/// Environment of every command for a domain, besides PATH and HOME.
std::vector<std::string> command_environment(const Domain& domain, const EngineSettings& settings);

/// Raises events. Any engine thread. What is given must outlive it.
class Events {
  public:
    Events(Commands& commands, base::Clock& clock, const EngineSettings& settings,
           std::stop_token stop)
        : commands_(commands), clock_(clock), settings_(settings), stop_(std::move(stop)) {}

    /// Runs notify_cmd (for Renewed) and message_cmd, and notes in the job's log how it went. An
    /// event that comes too soon after the last is a success without a run, and not noted. The
    /// Problem is stopping_problem() if the engine stops: then the event was not raised.
    Outcome<void> raise(const Event& event, const Domain& domain, Job& job) const;

    /// Whether the last one of its kind is so recent that raise() does nothing. "renewed" and
    /// "installed" are of the newest finished set: those of former sets do not count.
    bool is_too_soon(const Event& event, const Job& job) const;

  private:
    Outcome<void> run(std::string_view key, const std::string& line, const Event& event,
                      const Domain& domain, std::vector<std::string> arguments) const;

    Commands& commands_;
    base::Clock& clock_;
    const EngineSettings& settings_;
    const std::stop_token stop_;
};

}  // namespace md
