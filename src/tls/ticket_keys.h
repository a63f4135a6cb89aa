// Keys that seal session tickets (RFC 5077, RFC 8446 4.6.1): our own, in memory only, rotated.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/random.h"

namespace tls {

struct TicketKey {
    std::array<uint8_t, 16> name{};
    std::array<uint8_t, 32> aes{};   // AES-256-CBC
    std::array<uint8_t, 32> hmac{};  // HMAC-SHA256
    base::Time made{};
    ~TicketKey();  // wipes
};

/// The current key first, then at most two previous ones that still open tickets.
struct TicketKeys {
    std::vector<std::shared_ptr<const TicketKey>> keys;

    /// Of a ticket, and of the current key.
    static constexpr std::chrono::hours lifetime{12};
    /// Each resumed connection gets a ticket for the next one; after this time since the full
    /// handshake none of them opens any more (RFC 8446 4.6.1).
    static constexpr std::chrono::hours resumption_max{7 * 24};
    /// A copy with a fresh current key; the oldest beyond three drops out.
    std::shared_ptr<const TicketKeys> rotated(base::Random& random, base::Time now) const;
};

}  // namespace tls
