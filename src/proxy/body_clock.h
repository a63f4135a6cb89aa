// How fast a request's body comes, by the time in which we were ready to take it: while its backend
// is slow the client is not to blame. Pure.
#pragma once

#include <cstdint>

namespace proxy {

class BodyClock {
  public:
    /// A body may be slow for so long before its rate counts.
    static constexpr uint64_t grace_ms = 10'000;

    void start(uint64_t now_ms) {
        waited_ms_ = 0;
        bytes_ = 0;
        since_ms_ = now_ms;
        runs_ = true;
    }
    /// We cannot take more for now. False if it was paused already.
    bool pause(uint64_t now_ms) {
        if (!runs_) return false;
        waited_ms_ += now_ms - since_ms_;
        runs_ = false;
        return true;
    }
    /// False if it was not paused.
    bool resume(uint64_t now_ms) {
        if (runs_) return false;
        since_ms_ = now_ms;
        runs_ = true;
        return true;
    }
    void add(uint64_t bytes) { bytes_ += bytes; }

    uint64_t bytes() const { return bytes_; }
    uint64_t waited_ms(uint64_t now_ms) const {
        return waited_ms_ + (runs_ ? now_ms - since_ms_ : 0);
    }
    /// Slower than `rate_min` bytes per second on average; 0: never.
    bool is_too_slow(uint64_t now_ms, uint32_t rate_min) const {
        const uint64_t waited = waited_ms(now_ms);
        return waited > grace_ms && bytes_ * 1000 < uint64_t{rate_min} * waited;
    }

  private:
    uint64_t since_ms_ = 0;
    uint64_t waited_ms_ = 0;
    uint64_t bytes_ = 0;
    bool runs_ = false;
};

}  // namespace proxy
