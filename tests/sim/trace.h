// What happened in a run, as one number: a run that is repeated has the same. With
// MDFRONT_SIM_TRACE=1 the lines are printed, too.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "sim_clock.h"

namespace md::test {

class Trace {
  public:
    explicit Trace(const SimClock& clock) : clock_(clock) {}

    template <typename... Arguments>
    void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
        const std::string line =
            fmt::format("{} {}", clock_.true_now().time_since_epoch().count(),
                        fmt::format(format, std::forward<Arguments>(arguments)...));
        for (const char c : line) {  // FNV-1a
            hash_ = (hash_ ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
        }
        ++lines_;
        if (is_printed_) {
            fmt::print("{} {}\n", base::format_rfc3339(clock_.true_now()),
                       line.substr(line.find(' ') + 1));
        }
    }
    uint64_t hash() const { return hash_; }
    size_t lines() const { return lines_; }

  private:
    const SimClock& clock_;
    const bool is_printed_ = std::getenv("MDFRONT_SIM_TRACE") != nullptr;
    uint64_t hash_ = 0xcbf29ce484222325ULL;
    size_t lines_ = 0;
};

}  // namespace md::test
