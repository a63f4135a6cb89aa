// Where every choice of a simulated world comes from: xoshiro256**, seeded by splitmix64. The same
// seed gives the same world.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace sim::front {

class Dice {
  public:
    explicit Dice(uint64_t seed) {
        for (uint64_t& word : state_) word = splitmix(seed);
    }

    uint64_t next() {
        const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
        const uint64_t shifted = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }
    /// 0..n-1; 0 if n is 0.
    uint64_t below(uint64_t n) {
        return static_cast<uint64_t>((static_cast<__uint128_t>(next()) * n) >> 64);
    }
    bool chance(uint32_t per_mille) { return per_mille > 0 && below(1000) < per_mille; }
    /// 1..most, small numbers as likely as large ones.
    size_t some_of(size_t most) {
        const auto bits = static_cast<uint64_t>(std::bit_width(most));
        return 1 + below(std::min<uint64_t>(most, uint64_t{1} << below(bits + 1)));
    }
    /// An independent stream for one actor.
    Dice fork() { return Dice(next()); }

  private:
    static uint64_t splitmix(uint64_t& x) {
        uint64_t z = (x += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    std::array<uint64_t, 4> state_;
};

}  // namespace sim::front
