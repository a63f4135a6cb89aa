// Whether what the configuration names can be used by whoever will use it: started as root, mdfront
// goes on as `server.user`, and root may open everything. Asked with that user's rights
// (identity.h), so that `mdfront check` tells before a start, and a start before it gives up root.
#pragma once

#include "app/config/configuration.h"
#include "app/config/mistakes.h"

namespace app {

/// What cannot be used is a mistake. What can be used now and not at a reload is warned of.
void check_access(const Configuration& configuration, Mistakes& mistakes);

}  // namespace app
