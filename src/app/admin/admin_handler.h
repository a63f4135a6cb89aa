// Answers the admin listener's requests: the status page, the status as JSON, mod_md's md-status
// and a health check. Reads only; nothing can be changed here.
#pragma once

#include <string>
#include <vector>

#include "app/admin/status.h"
#include "proxy/local_handler.h"

namespace app {

/// On the admin worker's thread.
class AdminHandler final : public proxy::LocalHandler {
  public:
    /// `hosts`: names by which it may be asked for, besides localhost and addresses. `source` must
    /// outlive it.
    AdminHandler(StatusSource& source, std::vector<std::string> hosts)
        : source_(source), hosts_(std::move(hosts)) {}

    proxy::LocalResponse handle(const proxy::LocalRequest& request) override;

  private:
    bool is_our_host(std::string_view host) const;

    StatusSource& source_;
    const std::vector<std::string> hosts_;
};

}  // namespace app
