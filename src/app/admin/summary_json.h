// Domains and accounts as JSON: what the admin listener gives and `mdfront certs` reads
// (docs/command-line.md has the members). Members are only ever added.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "md/acme_account.h"
#include "md/domain_summary.h"

namespace app {

/// {"now": …, "domains": […], "file_certificates": […]}; the last are those of no domain.
std::string domains_to_json(const std::vector<md::DomainSummary>& domains,
                            const std::vector<md::CertificateSummary>& file_certificates,
                            base::Time now);
/// {"now": …, "domain": {…}}
std::string domain_to_json(const md::DomainSummary& domain, base::Time now);
/// {"accounts": […]}
std::string accounts_to_json(const std::vector<md::AccountSummary>& accounts);
/// {"error": "…"}
std::string error_to_json(std::string_view text);

/// Read by another version of mdfront, perhaps: what is missing keeps its default. nullopt: not
/// what it should be at all.
struct DomainsRead {
    base::Time now{};
    std::vector<md::DomainSummary> domains;  // of "domains" or "domain"
    std::vector<md::CertificateSummary> file_certificates;
};
std::optional<DomainsRead> domains_from_json(std::string_view json);
std::optional<std::vector<md::AccountSummary>> accounts_from_json(std::string_view json);

}  // namespace app
