// Deadlines of one worker: a hashed timer wheel. Arming, re-arming and cancelling are O(1); a timer
// fires late by at most one tick, never early.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"

namespace net {

class TimerWheel;

/// A deadline, embedded in its owner. Cancels itself when destroyed.
class Timer {
  public:
    /// Called on the loop, between completions: never inside another handler.
    using Callback = void (*)(void* owner) noexcept;

    Timer(void* owner, Callback callback) : owner_(owner), callback_(callback) {}
    ~Timer() { cancel(); }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    bool armed() const { return wheel_ != nullptr; }
    void cancel();

  private:
    friend class TimerWheel;

    void* owner_;
    Callback callback_;
    TimerWheel* wheel_ = nullptr;
    Timer* next_ = nullptr;
    Timer** link_ = nullptr;  // what points to this timer: the list's head or the one before
    uint64_t tick_ = 0;       // when it is due
};

class TimerWheel {
  public:
    /// `now_ms`: the monotonic clock, in milliseconds, as in advance().
    explicit TimerWheel(uint64_t now_ms);
    ~TimerWheel();

    /// Fires once, `delay_ms` after now_ms(). An armed timer is moved.
    void arm(Timer& timer, uint64_t delay_ms);
    /// The clock has moved on: arm() counts from here. Nothing fires before advance().
    void observe(uint64_t now_ms) {
        base::check(now_ms >= now_ms_);
        now_ms_ = now_ms;
    }
    /// Runs everything due at `now_ms`, which never goes back. Callbacks may arm and cancel any
    /// timer.
    void advance(uint64_t now_ms);
    /// Milliseconds until something can be due, at most `limit_ms`.
    uint64_t next_in(uint64_t limit_ms) const;
    uint64_t now_ms() const { return now_ms_; }
    size_t armed() const { return armed_; }

  private:
    friend class Timer;

    static constexpr uint64_t tick_ms = 16;
    static constexpr size_t slots = 4096;  // 65 s around; longer deadlines go round again

    void link(Timer& timer);
    void unlink(Timer& timer);

    std::vector<Timer*> slots_;
    std::array<uint64_t, slots / 64> occupied_{};  // a bit per slot that may have timers
    uint64_t now_ms_;
    uint64_t tick_;  // the last tick that was run
    size_t armed_ = 0;
};

}  // namespace net
