// Looks up the host names of backends' servers, when a configuration is read: nothing on a worker
// ever resolves names. The only user of c-ares.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "net/address.h"

namespace app {

/// What came of one name.
struct Resolved {
    std::vector<net::Address> addresses;  // port 0; empty: see `problem`
    std::string problem;                  // "no such name", "no answer from the name servers"
};

/// All names at once, by /etc/hosts and the servers of /etc/resolv.conf; at most `limit` in all.
std::map<std::string, Resolved> resolve(const std::vector<std::string>& names,
                                        base::Duration limit = std::chrono::seconds{10});

}  // namespace app
