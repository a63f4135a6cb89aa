// Answers the admin listener's requests: the status page, domains and accounts as JSON, mod_md's
// md-status, a health check, and actions (actions.h).
#pragma once

#include <string>
#include <vector>

#include "app/admin/actions.h"
#include "app/admin/status.h"
#include "proxy/local_handler.h"

namespace app {

struct AdminOptions {
    std::vector<std::string> hosts;  // by which it may be asked for, besides localhost, addresses
    bool actions_over_tcp = false;   // admin.actions
};

/// On the admin worker's thread.
class AdminHandler final : public proxy::LocalHandler {
  public:
    /// `source` and `actions` must outlive it.
    AdminHandler(StatusSource& source, Actions& actions, AdminOptions options)
        : source_(source), actions_(actions), options_(std::move(options)) {}

    proxy::LocalResponse handle(const proxy::LocalRequest& request) override;

  private:
    bool is_our_host(std::string_view host) const;
    proxy::LocalResponse answer(const proxy::LocalRequest& request);
    proxy::LocalResponse show(const proxy::LocalRequest& request);
    proxy::LocalResponse show_domain(std::string_view path);

    StatusSource& source_;
    Actions& actions_;
    const AdminOptions options_;
};

}  // namespace app
