// What a call down says back: the one way in which an end travels up (docs/architecture.md, "Who
// may call whom").
#pragma once

#include <cstdint>

namespace proxy {

/// Whether the one that was called is still there. At Gone the caller stops: whoever is gone takes
/// no more, and the loop ends what belongs to it.
enum class [[nodiscard]] Flow : uint8_t{Go, Gone};

}  // namespace proxy
