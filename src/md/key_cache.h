// Private keys that were decrypted or encrypted lately. A renewal reads its staged key about eight
// times and the account's once, and PBKDF2 takes a millisecond each time. What is in here the
// process has in memory anyway while it is at work with it.
// Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string_view>

#include "base/secret.h"

namespace md {

class KeyCache {
  public:
    static constexpr size_t keys_max = 32;  // twice what eight domains at a time work with

    /// The plain text of exactly this encrypted one.
    std::optional<base::Secret> find(std::string_view encrypted);
    /// The key that was used least lately makes room.
    void add(std::string_view encrypted, std::string_view plain);

  private:
    using Digest = std::array<uint8_t, 32>;
    struct Known {
        Digest digest;
        base::Secret plain;
    };
    static Digest digest_of(std::string_view encrypted);

    std::mutex mutex_;
    std::deque<Known> known_;  // latest first
};

}  // namespace md
