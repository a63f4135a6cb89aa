// Randomness, injected: tests and the simulation run from a seed.
#pragma once

#include <cstdint>
#include <span>

namespace base {

class Random {
  public:
    virtual ~Random() = default;
    /// Fills with unpredictable bytes; aborts rather than give weak ones.
    virtual void fill(std::span<uint8_t> bytes) = 0;
    /// Uniform in [0, bound); bound > 0.
    uint64_t below(uint64_t bound);
};

/// getrandom(2). Safe from any thread.
class SystemRandom final : public Random {
  public:
    void fill(std::span<uint8_t> bytes) override;
};

/// Reproducible, not secret: splitmix64 from a seed, for tests and the simulation.
class SeededRandom final : public Random {
  public:
    explicit SeededRandom(uint64_t seed) : state_(seed) {}
    void fill(std::span<uint8_t> bytes) override;

  private:
    uint64_t state_;
};

}  // namespace base
