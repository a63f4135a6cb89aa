// What happened in a world, as one number: a world that is lived again has the same. Printed line
// by line if somebody wants to read it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string_view>

namespace sim::front {

class Trace {
  public:
    Trace(const uint64_t& now_ms, bool is_printed) : now_ms_(now_ms), is_printed_(is_printed) {}

    /// `who` number `number` did or saw `what`, with two numbers that say more.
    void note(const char* who, uint64_t number, const char* what, uint64_t a = 0, uint64_t b = 0) {
        for (const char* at = what; *at != 0; ++at) add(static_cast<uint8_t>(*at));
        add(number);
        add(a);
        add(b);
        add(now_ms_);
        if (is_printed_) print(who, number, what, a, b);
    }
    bool is_printed() const { return is_printed_; }
    uint64_t hash() const { return hash_; }

  private:
    void add(uint64_t value) {
        hash_ = (hash_ ^ value) * 0x100000001b3ULL;
        hash_ ^= hash_ >> 29;
    }
    void print(const char* who, uint64_t number, const char* what, uint64_t a, uint64_t b) const {
        std::printf("%8llu ms  %-7s %4llu  %s %llu %llu\n",
                    static_cast<unsigned long long>(now_ms_), who,
                    static_cast<unsigned long long>(number), what,
                    static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
        // An abort must not lose what led to it.
        (void)std::fflush(stdout);
    }

    const uint64_t& now_ms_;
    const bool is_printed_;
    uint64_t hash_ = 0xcbf29ce484222325ULL;
};

}  // namespace sim::front
