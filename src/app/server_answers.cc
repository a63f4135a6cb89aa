// What the admin listener shows and does: the server's answers to it (admin/admin_handler.h).
#include <cerrno>

#include "app/server.h"
#include "md/server_status.h"

namespace app {

namespace {

constexpr std::chrono::seconds counters_limit{1};
/// Page and JSON asked for many times a second cost the workers one message per interval.
constexpr std::chrono::milliseconds status_interval{200};

md::Problem no_domains() {
    return md::make_problem(ENOENT, "no managed domain is configured");
}

/// Of sites' certificates from files, those that the stapler looks after.
std::vector<md::CertificateSummary> of_no_domain(const md::Stapler& stapler) {
    std::vector<md::CertificateSummary> certificates;
    for (const md::StapleRow& row : stapler.rows()) {
        if (row.domain != md::other_owner) continue;
        certificates.push_back(md::summarize("", *row.certificate, {}));
        certificates.back().staple = row.report;
        certificates.back().revoked_at = row.report.revoked_at;
        certificates.back().revocation_reason = row.report.reason;
    }
    return certificates;
}

}  // namespace

// ---- status

Status Server::status() {
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard lock(status_mutex_);
    if (cached_at_.time_since_epoch().count() == 0 || now - cached_at_ > status_interval) {
        cached_.version = MDFRONT_VERSION;
        cached_.started = started_;
        cached_.workers = workers_count_;
        cached_.sites = setup_->configuration.sites.size();
        cached_.counters = workers_.counters(counters_limit);
        cached_.certificate_check = setup_->configuration.md.certificate_check;
        if (engine_) cached_.domains = engine_->summaries();
        if (stapler_) cached_.file_certificates = of_no_domain(*stapler_);
        cached_at_ = now;
    }
    Status status = cached_;
    status.now = clock_.now();
    return status;
}

std::string Server::server_status(bool as_lines) {
    md::CertificateCheck check;
    {
        const std::lock_guard lock(status_mutex_);  // a reload changes them
        if (!setup_->configuration.md.server_status || !stapler_) return "";
        check = setup_->configuration.md.certificate_check;
    }
    const md::Engine* domains = engine();
    const std::vector<md::StapleRow> staples = stapler_->rows();
    const std::string table = domains != nullptr ? domains->server_status(as_lines, check) : "";
    return table + (as_lines ? md::staple_status_lines(staples, clock_.now())
                             : md::staple_status_table(staples, clock_.now()));
}

std::string Server::md_status(const std::string& name) {
    const md::Engine* domains = engine();
    return domains != nullptr ? domains->status_json(name) : md::md_status_list({});
}

std::vector<md::DomainSummary> Server::domains() {
    const md::Engine* domains = engine();
    return domains != nullptr ? domains->summaries() : std::vector<md::DomainSummary>{};
}

std::vector<md::CertificateSummary> Server::file_certificates() {
    const std::lock_guard lock(status_mutex_);
    return stapler_ ? of_no_domain(*stapler_) : std::vector<md::CertificateSummary>{};
}

std::optional<md::DomainSummary> Server::domain(const std::string& name) {
    const md::Engine* domains = engine();
    return domains != nullptr ? domains->summary(name) : std::nullopt;
}

std::vector<md::AccountSummary> Server::accounts() {
    const md::Engine* domains = engine();
    return domains != nullptr ? domains->accounts() : std::vector<md::AccountSummary>{};
}

// ---- actions

md::Outcome<void> Server::renew(const std::string& name) {
    md::Engine* domains = engine();
    return domains != nullptr ? domains->renew_now(name) : no_domains();
}

md::Outcome<void> Server::revoke(const std::string& name, md::RevocationReason reason) {
    md::Engine* domains = engine();
    return domains != nullptr ? domains->revoke_now(name, reason) : no_domains();
}

md::Outcome<std::string> Server::roll_account_key(const std::string& id) {
    md::Engine* domains = engine();
    return domains != nullptr ? domains->roll_account_key(id) : no_domains();
}

}  // namespace app
