// Domains and accounts as text for people. Pure: values in, text out; everything that came from a
// CA is made printable.
#pragma once

#include <string>
#include <vector>

#include "app/command/console.h"
#include "base/clock.h"
#include "md/acme_account.h"
#include "md/domain_summary.h"

namespace app {

/// `certs list`: a table with a line for each domain, and below it what else there is to know.
std::string render_list(const std::vector<md::DomainSummary>& domains, base::Time now,
                        const Look& look);
/// `certs show`: all about one.
std::string render_domain(const md::DomainSummary& domain, base::Time now, const Look& look);
/// What is served now, in a few lines: after a renewal.
std::string render_certificates(const md::DomainSummary& domain, base::Time now, const Look& look);
/// What went wrong, what can be done, and when it is tried again.
std::string render_failure(const md::DomainSummary& domain, const std::string& error,
                           base::Time now, const Look& look);
/// `accounts list`.
std::string render_accounts(const std::vector<md::AccountSummary>& accounts, const Look& look);

/// The organisation's word for itself in an RFC 2253 text: its common name, else its organisation,
/// else all of it.
std::string issuer_name(const std::string& issuer);
/// What somebody can do about an ACME problem (RFC 8555 6.7), or "".
std::string_view advice_for(std::string_view problem_type);

}  // namespace app
