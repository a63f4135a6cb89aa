#include "app/times.h"

namespace app {

std::string relative_time(base::Time time, base::Time now) {
    const bool future = time > now;
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(future ? time - now : now - time).count();
    struct Unit {
        int64_t seconds;
        std::string_view name;
    };
    static constexpr Unit units[] = {
        {86'400, "day"}, {3'600, "hour"}, {60, "minute"}, {1, "second"}};
    for (const Unit& unit : units) {
        // Two of a unit at least, so that "in 1 day" is not said of 47 hours.
        if (seconds < 2 * unit.seconds) continue;
        const std::string text = fmt::format("{} {}s", seconds / unit.seconds, unit.name);
        return future ? "in " + text : text + " ago";
    }
    return "now";
}

std::string day(base::Time time) {
    return base::format_rfc3339(time).substr(0, 10);
}

std::string minute(base::Time time) {
    const std::string text = base::format_rfc3339(time);
    return text.substr(0, 10) + " " + text.substr(11, 5) + " UTC";
}

}  // namespace app
