// External programs, behind an interface, so that tests and simulations can take their place
// (design.md, section 3). The calling engine thread waits until the program has ended.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "md/problem.h"

namespace md {

struct Command {
    std::vector<std::string> argv;         // the program, and its arguments as they are
    std::vector<std::string> environment;  // "MDFRONT_DOMAIN=example.org", beside PATH and HOME
    std::string domain;                    // for the log
    base::Duration timeout = std::chrono::minutes{5};
    std::stop_token stop;  // when requested, the program is ended early
};

/// How a program ended.
struct CommandResult {
    enum class End : uint8_t {
        Exited,      // number: its exit code
        Signalled,   // number: the signal that killed it
        TimedOut,    // we ended it
        Stopped,     // we ended it, or never began, because the engine stops
        NotStarted,  // number: errno
    };
    End end = End::Exited;
    int number = 0;
    std::string output{};  // what it printed last, at most Commands::output_max bytes

    bool succeeded() const { return end == End::Exited && number == 0; }
};

class Commands {
  public:
    static constexpr size_t output_max = 64 * 1024;

    virtual ~Commands() = default;
    /// Runs one to its end. Any thread, several at a time.
    virtual CommandResult run(const Command& command) = 0;
};

/// What went wrong, in words: `what` is the key that the command stands at, and is named with the
/// program and its last lines of output. stopping_problem() if the engine stops.
Problem command_problem(std::string_view what, const Command& command, const CommandResult& result);

}  // namespace md
