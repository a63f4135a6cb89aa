// Times as people read them, on the page and on the command line.
#pragma once

#include <string>

#include "base/clock.h"

namespace app {

/// "in 59 days", "3 hours ago", "now".
std::string relative_time(base::Time time, base::Time now);
/// "2027-02-22"
std::string day(base::Time time);
/// "2027-02-22 14:03 UTC"
std::string minute(base::Time time);

}  // namespace app
