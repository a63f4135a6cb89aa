#include "md/poll.h"

#include <cerrno>

namespace md {

namespace {
constexpr int timeout_expired = 70007;  // APR_TIMEUP, as mod_md stores it
}

Outcome<void> Poll::wait(std::optional<base::Duration> retry_after) {
    const base::Duration pause = retry_after ? *retry_after : pause_;
    pause_ = std::min(pause_ * 2, pause_max);
    const base::Duration used = std::max<base::Duration>(clock_.now() - begin_, slept_);
    if (used + pause > limit) {
        Problem problem = make_problem(
            timeout_expired,
            fmt::format("gave up waiting for {} after {} s", what_, used.count() / 1000));
        problem.retry_after = retry_after;
        return problem;
    }
    slept_ += pause;
    if (!clock_.sleep(pause)) return stopping_problem();
    return {};
}

Problem stopping_problem() {
    return make_problem(ECANCELED, "given up, the server is stopping");
}

bool is_stopping(const Problem& problem) {
    return problem.status == ECANCELED;
}

}  // namespace md
