// Keeps a flood of equal events from filling the log: the first few lines of each kind are written,
// the rest is counted, and the next line that is written tells how many it stands for.
//
// One per worker and kind of event; its thread. No allocation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace base {

class LogSampler {
  public:
    /// Kinds of lines are numbers (mostly an enumerator's) below this.
    static constexpr size_t keys_max = 32;
    static constexpr uint64_t period_ms = 10'000;

    /// At most `lines_max` (> 0) lines per key are written in the 10 s from the first one on.
    explicit LogSampler(uint32_t lines_max);

    /// Whether a line is due, and what is to stand at its end.
    class Line {
      public:
        explicit operator bool() const { return is_due_; }
        /// "", or " (and 1,234 more in 10 s)": those that were left out before this one.
        std::string_view left_out() const { return {text_.data(), size_}; }

      private:
        friend class LogSampler;
        void put(uint64_t left_out);
        std::array<char, 48> text_;  // the longest: 6 + 26 for 2^64 - 1 + 14 bytes
        uint8_t size_ = 0;
        bool is_due_ = false;
    };
    /// Called once for each event; `now_ms` is of a clock that does not go back.
    Line next(size_t key, uint64_t now_ms);

  private:
    struct Period {
        uint64_t start_ms = 0;
        uint64_t left_out = 0;
        uint32_t lines = 0;  // 0: there was none yet
    };
    const uint32_t lines_max_;
    std::array<Period, keys_max> periods_;
};

}  // namespace base
