// The status page: one HTML document without script, image or anything from elsewhere.
#pragma once

#include <string>

#include "app/admin/status.h"

namespace app {

/// The whole document. All texts in it are escaped: names come from the configuration, but issuers
/// and errors from CAs (faults.md 4.6).
std::string render_page(const Status& status);

/// httpd's /server-status for people and ("?auto") for programs: numbers of the server, then what
/// the engine says of the domains.
std::string render_server_status(const Status& status, const std::string& domains);
std::string render_server_status_lines(const Status& status, const std::string& domains);

/// The same as JSON, for programs.
std::string render_json(const Status& status);

}  // namespace app
