#include "base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/result.h"

namespace base {

uint64_t Random::below(uint64_t bound) {
    check(bound > 0);
    // Rejection keeps it uniform: values in the incomplete last stretch are drawn again.
    const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    for (;;) {
        uint64_t value = 0;
        fill({reinterpret_cast<uint8_t*>(&value), sizeof value});
        if (value < limit) return value % bound;
    }
}

void SystemRandom::fill(std::span<uint8_t> bytes) {
    while (!bytes.empty()) {
        const ssize_t n = getrandom(bytes.data(), bytes.size(), 0);
        if (n < 0) {
            check(errno == EINTR);
            continue;
        }
        bytes = bytes.subspan(static_cast<size_t>(n));
    }
}

void SeededRandom::fill(std::span<uint8_t> bytes) {
    for (size_t i = 0; i < bytes.size(); i += 8) {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        z ^= z >> 31;
        std::memcpy(bytes.data() + i, &z, std::min<size_t>(8, bytes.size() - i));
    }
}

}  // namespace base
