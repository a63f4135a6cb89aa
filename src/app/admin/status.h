// What the admin pages show, and where they get it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "md/engine.h"
#include "proxy/worker.h"

namespace app {

/// One look at everything.
struct Status {
    std::string version;
    base::Time now{};
    base::Time started{};
    size_t workers = 0;
    size_t sites = 0;
    proxy::Counters counters;
    md::CertificateCheck certificate_check;
    std::vector<md::DomainSummary> domains;
    std::vector<md::CertificateSummary> file_certificates;
};

/// Where admin pages get their data; called on the admin worker's thread, may wait a moment.
class StatusSource {
  public:
    virtual ~StatusSource() = default;
    virtual Status status() = 0;
    /// mod_md.md 7.1; "" for the list.
    virtual std::string md_status(const std::string& name) = 0;
    /// mod_md.md 7.3, 7.4: the domains in server-status; "" if server_status is off.
    virtual std::string server_status(bool as_lines) = 0;

    // Always as it is this moment, and without asking the workers.
    virtual base::Time now() = 0;
    virtual std::vector<md::DomainSummary> domains() = 0;
    /// The one with that name, else the one that contains it.
    virtual std::optional<md::DomainSummary> domain(const std::string& name) = 0;
    /// Certificates from files of sites that belong to no domain, those that are stapled alone:
    /// the others are nobody's to look after. Without labels.
    virtual std::vector<md::CertificateSummary> file_certificates() = 0;
    virtual std::vector<md::AccountSummary> accounts() = 0;
};

}  // namespace app
