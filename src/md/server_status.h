// mod_md's part of httpd's server-status (mod_md.md 7.3, 7.4): a table for people, lines for
// programs ("?auto").
#pragma once

#include <span>
#include <string>

#include "md/domain.h"
#include "md/status_json.h"

namespace md {

/// "ManagedCertificatesTotal: 2" and so on, one line each.
std::string server_status_lines(std::span<const DomainStatus> domains,
                                const CertificateCheck& check, base::Time now);
/// Heading and table, all texts escaped.
std::string server_status_table(std::span<const DomainStatus> domains,
                                const CertificateCheck& check, base::Time now);

/// "ManagedStaplingsTotal: 2" and so on.
std::string staple_status_lines(std::span<const StapleRow> staples, base::Time now);
/// Heading and table; "" without rows.
std::string staple_status_table(std::span<const StapleRow> staples, base::Time now);

/// What the state of a domain is called: "good", "expired", "incomplete: …", "error: …",
/// "missing information", "unknown". `not_after`: the earliest of what is served.
std::string state_text(const StoredDomain& stored, std::optional<base::Time> not_after,
                       base::Time now);

}  // namespace md
