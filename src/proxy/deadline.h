// A deadline that is moved far more often than it comes: moving it later is one store, and the
// timer behind it looks again when it fires too early.
#pragma once

#include <cstdint>

#include "net/timer_wheel.h"

namespace proxy {

/// Embedded in its owner; its worker's thread. The wheel outlives it.
class Deadline {
  public:
    /// Called from the loop, once for each set().
    using Callback = net::Timer::Callback;

    Deadline(net::TimerWheel& timers, void* owner, Callback callback)
        : timers_(timers), owner_(owner), callback_(callback), timer_(this, on_timer) {}

    /// In `delay_ms` from now, instead of what was set before. 0: never.
    void set(uint64_t delay_ms) {
        if (delay_ms == 0) return clear();
        const uint64_t now_ms = timers_.now_ms();
        at_ms_ = now_ms + delay_ms;
        if (timer_.armed() && timer_at_ms_ <= at_ms_) return;
        timer_at_ms_ = at_ms_;
        timers_.arm(timer_, delay_ms);
    }
    void clear() { at_ms_ = 0; }
    bool is_set() const { return at_ms_ != 0; }
    /// clear(), and no timer is left in the wheel.
    void disarm() {
        at_ms_ = 0;
        timer_.cancel();
    }

  private:
    static void on_timer(void* self) noexcept {
        auto& deadline = *static_cast<Deadline*>(self);
        const uint64_t now_ms = deadline.timers_.now_ms();
        if (deadline.at_ms_ == 0) return;
        if (deadline.at_ms_ > now_ms) {
            deadline.timer_at_ms_ = deadline.at_ms_;
            deadline.timers_.arm(deadline.timer_, deadline.at_ms_ - now_ms);
            return;
        }
        deadline.at_ms_ = 0;
        deadline.callback_(deadline.owner_);  // may destroy the owner and this with it
    }

    net::TimerWheel& timers_;
    void* owner_;
    Callback callback_;
    net::Timer timer_;
    uint64_t at_ms_ = 0;        // 0: none
    uint64_t timer_at_ms_ = 0;  // when timer_ fires; never after at_ms_
};

}  // namespace proxy
