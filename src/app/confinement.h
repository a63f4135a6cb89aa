// What a thread that reads bytes of strangers may still do. A worker needs no file, no new ring and
// no other program: it gives them up for good before it serves (faults.md 4.1, 4.3). Other threads
// of the process keep what they have; threads that a confined one starts would inherit it.
#pragma once

namespace app {

/// Confines the calling thread, and no other, for the rest of its life: no new privileges, Landlock
/// against opening and changing files (its ring's operations included), a seccomp allow-list for
/// system calls. What is not on the list fails with EPERM. Called once per thread, when all is open
/// that it will need. What the kernel refuses is logged, and the thread goes on without it. Does
/// nothing under sanitizers.
void confine_thread();

}  // namespace app
