// With MDFRONT_SIM_TRACE=1 what the simulated kernel does is printed, line by line.
#pragma once

#include <fmt/format.h>

#include <cstdlib>

namespace sim::front {

inline bool is_traced() {
    static const bool traced = std::getenv("MDFRONT_SIM_TRACE") != nullptr;
    return traced;
}

template <typename... Arguments>
void trace(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (!is_traced()) [[likely]]
        return;
    fmt::print("{}\n", fmt::format(format, std::forward<Arguments>(arguments)...));
    std::fflush(stdout);
}

}  // namespace sim::front
