// How much locked memory a loop's ring takes, and smaller rings where there is not enough of it.
// Pure.
//
// Kernels before 5.12, and again from 6.14 on, count the memory of rings against RLIMIT_MEMLOCK,
// for all processes of a user together, unless the creator has CAP_IPC_LOCK. The usual limit is 8
// MiB: 23 workers with the default queues. A smaller completion queue loses nothing: what does not
// fit is kept by the kernel until it is asked for.
#pragma once

#include <cstddef>
#include <string_view>

#include "net/event_loop.h"

namespace net {

/// Of RLIMIT_MEMLOCK, with the rings of the buffer groups (not the buffers).
size_t locked_bytes(const LoopOptions& options);

/// Whether a kernel ("6.1.0-18-amd64") counts it; true of what cannot be read.
bool counts_locked_memory(std::string_view release);

/// Halves the queues. False: they are as small as they may be.
bool shrink_queues(LoopOptions& options);

}  // namespace net
