// What can be asked for over the admin listener: POST /actions/renew, /actions/revoke and
// /actions/account-rollover, JSON in and out. An action only queues work in the engine; who asked
// looks at the domain's "requests" to see what came of it.
//
// Who may: over a Unix socket whoever may open it (its file's mode is the guard), over TCP nobody
// unless admin.actions says so. A browser must not be made to act by somebody else's page (CSRF,
// faults.md 4.6): a form cannot send application/json, and what comes from another origin is
// refused.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "md/domain_summary.h"
#include "md/problem.h"
#include "proxy/local_handler.h"

namespace app {

/// Who does it. On the admin worker's thread; none of these may take long.
class Actions {
  public:
    virtual ~Actions() = default;
    virtual md::Outcome<void> renew(const std::string& name) = 0;
    virtual md::Outcome<void> revoke(const std::string& name, md::RevocationReason reason) = 0;
    /// Gives the domain whose turn does it.
    virtual md::Outcome<std::string> roll_account_key(const std::string& id) = 0;
    /// For the answer: where who asked will see what came of it.
    virtual std::vector<md::DomainSummary> domains() = 0;
};

constexpr std::string_view actions_path = "/actions/";

/// Answers a request below actions_path whose host is ours. `over_tcp`: admin.actions.
proxy::LocalResponse act(Actions& actions, const proxy::LocalRequest& request, bool over_tcp);

}  // namespace app
