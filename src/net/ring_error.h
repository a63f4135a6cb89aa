// Why io_uring is not to be had (faults.md 4.3, PR-05). Pure: what it knows about the system is
// handed in.
#pragma once

#include <optional>
#include <string>

namespace net {

/// What decides whether and how io_uring is allowed.
struct RingEnvironment {
    std::optional<int> disabled;  // kernel.io_uring_disabled; none: the kernel has no such setting
    std::optional<long> group;    // kernel.io_uring_group
    std::string kernel;           // uname -r
    std::string unknown_flag;     // the first set-up flag that the kernel refuses, if one is
};

/// This system's. `errno_value` as from io_uring_setup: flags are probed for EINVAL only.
RingEnvironment read_ring_environment(int errno_value);

std::string explain_ring_error(int errno_value, const RingEnvironment& environment);

}  // namespace net
