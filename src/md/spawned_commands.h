// Commands as processes: posix_spawn, never a shell (faults.md 4.5).
//
// A program gets: the arguments as they are; an environment made from nothing (PATH, HOME and what
// the Command says: no LD_*, OPENSSL_CONF or *_proxy of ours); /dev/null as standard input, one
// pipe to us as output and error; "/" as its directory; default signal handling; a session and
// process group of its own; and no other descriptor. What it prints goes to the log line by line.
//
// At the time limit its group gets SIGTERM, five seconds later SIGKILL; sooner if the engine stops.
// A program that has ended is not waited for any longer because a child of it still holds the pipe.
#pragma once

#include "md/commands.h"

namespace md {

class SpawnedCommands final : public Commands {
  public:
    static constexpr base::Duration grace_when_stopping = std::chrono::seconds{1};
    /// So much of a program's output is logged; the last output_max bytes are kept in any case.
    static constexpr size_t logged_max = 64 * 1024;

    /// A SIGCHLD that whoever started us ignores would take our children's ends from us: it is set
    /// to its default. `grace`: between SIGTERM and SIGKILL.
    explicit SpawnedCommands(base::Duration grace = std::chrono::seconds{5});
    CommandResult run(const Command& command) override;

  private:
    const base::Duration grace_;
};

}  // namespace md
