// What calls down say back: an end, which travels up in no other way (docs/architecture.md, "Who
// may call whom"), and what is waited for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace proxy {

/// Whether the one that was called is still there. At Gone the caller stops: whoever is gone takes
/// no more, and the loop ends what belongs to it.
enum class [[nodiscard]] Flow : uint8_t{Go, Gone};

/// Bytes that somebody does not take, and for how long he has taken none.
struct Waiting {
    size_t bytes = 0;
    uint64_t since_ms = 0;  ///< loop time
};

}  // namespace proxy
