// Waiting for the CA (mod_md.md 5.10): 100 ms, doubling up to 10 s, 5 minutes in all for each
// phase; a Retry-After is followed. One engine thread.
#pragma once

#include <optional>
#include <string>

#include "base/clock.h"
#include "md/problem.h"

namespace md {

class Poll {
  public:
    static constexpr base::Duration first_pause = std::chrono::milliseconds{100};
    static constexpr base::Duration pause_max = std::chrono::seconds{10};
    static constexpr base::Duration limit = std::chrono::minutes{5};

    /// `what` is waited for, in words for the Problem: "the order to become ready".
    Poll(base::Clock& clock, std::string what)
        : clock_(clock), what_(std::move(what)), begin_(clock.now()) {}

    /// Sleeps before the next look. Problems: the limit is used up (with the pause that the CA
    /// asked for, if that was the reason), or the process is stopping.
    Outcome<void> wait(std::optional<base::Duration> retry_after = {});

  private:
    base::Clock& clock_;
    std::string what_;
    base::Time begin_;
    base::Duration slept_{0};  // a clock that jumps must not lengthen the phase (faults.md CA-40)
    base::Duration pause_ = first_pause;
};

/// What everything returns that gave up because the process stops: no failure of the domain.
Problem stopping_problem();
bool is_stopping(const Problem& problem);

}  // namespace md
