// Two times: the true one, which the CAs and the simulation live by, and what the machine's clock
// shows, which may be wrong. The engine sees only the latter.
#pragma once

#include "base/clock.h"

namespace md::test {

/// The machine's clock: true time plus an error.
class SimClock final : public base::Clock {
  public:
    explicit SimClock(base::Time now) : true_now_(now) {}

    base::Time now() override { return true_now_ + error_; }
    bool sleep(base::Duration duration) override {
        true_now_ += duration;
        return true;
    }

    base::Time true_now() const { return true_now_; }
    base::Duration error() const { return error_; }
    void set_error(base::Duration error) { error_ = error; }
    void move_to(base::Time true_time) { true_now_ = std::max(true_now_, true_time); }

  private:
    base::Time true_now_;
    base::Duration error_{0};
};

/// The clock of everybody else.
class TrueClock final : public base::Clock {
  public:
    explicit TrueClock(SimClock& clock) : clock_(clock) {}
    base::Time now() override { return clock_.true_now(); }
    bool sleep(base::Duration duration) override { return clock_.sleep(duration); }

  private:
    SimClock& clock_;
};

}  // namespace md::test
