// nlohmann's JSON as the admin sources use it. Included by .cc files only.
#pragma once

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

#include "base/clock.h"
#include "md/domain_summary.h"

namespace app {

using Json = nlohmann::ordered_json;

/// Indented by 2; what a CA said may not be UTF-8 and is replaced.
std::string json_text(const Json& json);
/// RFC 3339, or null.
Json json_time(const std::optional<base::Time>& time);
Json domain_json(const md::DomainSummary& domain);
/// Of certificates that belong to no domain: an array.
Json file_certificates_json(const std::vector<md::CertificateSummary>& certificates);

}  // namespace app
