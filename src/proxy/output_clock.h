// How fast a client takes what it is sent, by the time in which something waited for it. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace proxy {

class OutputClock {
  public:
    /// Output may wait for so long before the rate counts.
    static constexpr uint64_t grace_ms = 10'000;
    /// Then a client may fall so far behind the rate, and further if it was faster before: a
    /// receiver opens its window again in lumps of a sixteenth of its buffer or more, which are
    /// minutes' worth for who reads slowly.
    static constexpr uint64_t credit_ms = 100'000;
    static constexpr uint64_t credit_max_ms = 400'000;

    /// Something waits to be taken. Nothing, if it did already.
    void begin(uint64_t now_ms) {
        if (since_ms_ == 0) since_ms_ = began_ms_ = now_ms;
    }
    /// Some of it was taken, and more waits.
    void progress(uint64_t now_ms) { since_ms_ = now_ms; }
    /// Nothing waits any more.
    void end(uint64_t now_ms) {
        if (since_ms_ == 0) return;
        waited_ms_ += now_ms - began_ms_;
        since_ms_ = 0;
    }
    /// As end(), for one that is over: nobody measures it any more.
    void stop() { since_ms_ = waited_ms_ = 0; }

    /// Since when nothing was taken of what waits; 0: nothing waits.
    uint64_t since_ms() const { return since_ms_; }

    struct Look {
        bool is_too_slow = false;
        uint64_t next_ms = 0;  ///< look again after so long; 0: grace_ms after the next begin()
    };
    /// `taken`: bytes since the connection began; `rate_min`: per second, not 0.
    Look look(uint64_t now_ms, uint64_t taken, uint64_t rate_min) {
        uint64_t waited_ms = std::exchange(waited_ms_, 0);
        if (since_ms_ != 0) waited_ms += now_ms - std::exchange(began_ms_, now_ms);
        const uint64_t before = std::exchange(taken_, taken);
        if (waited_ms == 0) {
            is_measured_ = false;
            return {};
        }
        if (std::exchange(is_measured_, true)) {
            const uint64_t bytes = taken - std::min(taken, before);
            const uint64_t gained_ms = bytes / rate_min * 1000 + bytes % rate_min * 1000 / rate_min;
            const uint64_t left_ms = left_ms_ + std::min(gained_ms, waited_ms + credit_max_ms);
            if (left_ms <= waited_ms && since_ms_ != 0) return {true, 0};
            left_ms_ = std::min(left_ms - std::min(left_ms, waited_ms), credit_max_ms);
        }
        return {false, std::clamp(left_ms_, look_min_ms, credit_ms)};
    }

  private:
    static constexpr uint64_t look_min_ms = 1'000;

    uint64_t since_ms_ = 0;   // 0: nothing waits
    uint64_t began_ms_ = 0;   // of that wait, or the last look
    uint64_t waited_ms_ = 0;  // in waits that ended since then
    uint64_t taken_ = 0;      // at the last look
    uint64_t left_ms_ = credit_ms;
    bool is_measured_ = false;  // taken_ is what this began with
};

}  // namespace proxy
