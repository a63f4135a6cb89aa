// The process itself: signals, core dumps, descriptors, privileges. Main thread, before others.
#pragma once

#include <optional>
#include <string>

#include "app/identity.h"
#include "base/clock.h"
#include "base/result.h"

namespace app {

/// Descriptors 0 to 2 open, no core dumps and no tracing by others (keys are in memory), as many
/// descriptors and as much locked memory as allowed, SIGPIPE ignored.
void harden_process();

/// Descriptors that the process may have.
uint64_t descriptors_max();
/// Bytes that rings may lock in memory. Nothing: no limit, or none that counts: to this kernel, or
/// since the process has CAP_IPC_LOCK and keeps it. `is_giving_up_root`: it will not.
std::optional<uint64_t> locked_memory_max(bool is_giving_up_root);

/// Blocks the signals that wait_signal() takes; threads started later inherit that.
void block_signals();
/// The next of TERM, INT, HUP, USR1; nullopt after `limit`.
std::optional<int> wait_signal(base::Duration limit);

/// The directories above `path`, created if they are missing (mode 0755).
base::Status make_parents(const std::string& path);

/// Becomes the user for good, and checks that there is no way back. Errors name the step.
base::Status become_user(const User& user);

}  // namespace app
