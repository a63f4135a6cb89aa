// What the engine tells of its domains: declared in engine.h.

#include "md/engine.h"
#include "md/renewal.h"
#include "md/server_status.h"

namespace md {

namespace {

std::vector<ShownCertificate> shown(const std::vector<Slot>& slots) {
    std::vector<ShownCertificate> certificates;
    for (const Slot& slot : slots) {
        if (slot.certificate) certificates.push_back({slot.label, slot.certificate, {}});
    }
    return certificates;
}

std::string renew_mode_of(const Domain& domain) {
    switch (domain.renew_mode) {
        case RenewMode::Manual:
            return "manual";
        case RenewMode::Always:
            return "always";
        case RenewMode::Auto:
            break;
    }
    return domain.is_static() ? "static" : "auto";
}

}  // namespace

DomainStatus Engine::status_of(const Entry& entry) const {
    const base::Time now = clock_.now();
    DomainStatus status;
    status.stored = entry.stored;
    status.served = shown(entry.served);
    for (ShownCertificate& one : status.served) {
        if (const auto* revoked = find_revoked(entry.revoked, *one.certificate)) {
            one.revoked = *revoked;
        }
        if (stapler_ != nullptr) one.staple = stapler_->report(*one.certificate);
    }
    status.staged = shown(entry.staged);
    status.job = entry.job;
    status.watched = is_watched(entry.stored.domain, entry.stored.state);
    status.renew_at = renew_at(entry.stored.domain, entry.served, entry.stored.state, now);
    status.advised_at = advised_at(entry.renewal_infos);
    for (const RenewalInfo& info : entry.renewal_infos) {
        if (!info.explanation_url.empty()) status.explanation_url = info.explanation_url;
    }
    status.renewal_due = entry.job.has_value() || *status.renew_at <= now;
    return status;
}

std::string Engine::status_json(const std::string& name_or_empty) const {
    std::vector<DomainStatus> all;
    std::optional<DomainStatus> one;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& entry : entries_) {
            const Domain& domain = entry->stored.domain;
            if (name_or_empty.empty()) {
                all.push_back(status_of(*entry));
            } else if (domain.name == name_or_empty || (!one && domain.contains(name_or_empty))) {
                one = status_of(*entry);
                if (domain.name == name_or_empty) break;
            }
        }
        if (!name_or_empty.empty() && !one) {  // mod_md.md 7.1: the list, too
            for (const auto& entry : entries_) all.push_back(status_of(*entry));
        }
    }
    return one ? md_status(*one) : md_status_list(all);
}

DomainSummary Engine::summary_of(const Entry& entry) const {
    DomainSummary summary;
    const base::Time now = clock_.now();
    const Domain& domain = entry.stored.domain;
    summary.name = domain.name;
    summary.names = domain.names;
    for (const Slot& slot : entry.served) {
        if (!slot.certificate) continue;
        const tls::Certificate& certificate = *slot.certificate;
        summary.certificates.push_back(summarize(slot.label, certificate, entry.revoked));
        if (stapler_ != nullptr) {
            summary.certificates.back().staple = stapler_->report(certificate);
        }
        if (summary.certificates.back().revoked_at) summary.is_revoked = true;
        if (!summary.not_after || certificate.not_after < *summary.not_after) {
            summary.not_after = certificate.not_after;
            summary.issuer = certificate.issuer;
        }
    }
    summary.state = state_text(entry.stored, summary.not_after, now);
    summary.ca_url = entry.stored.ca_url;
    if (summary.ca_url.empty() && !domain.ca_urls.empty()) summary.ca_url = domain.ca_urls.front();
    summary.account = entry.stored.ca_account;
    summary.renew_mode = renew_mode_of(domain);
    summary.renew_window = domain.renew_window.text();
    if (may_renew(domain, entry.stored.state)) {
        const base::Time due = renew_at(domain, entry.served, entry.stored.state, now);
        const base::Time advised = advised_at(entry.renewal_infos);
        if (advised != base::Time::max()) summary.advised_renewal = advised;
        summary.next_renewal = std::min(due, advised);
        if (summary.is_revoked) summary.next_renewal = std::min(due, now);
    }
    for (const RenewalInfo& info : entry.renewal_infos) {
        if (!info.explanation_url.empty()) summary.renewal_explanation = info.explanation_url;
    }
    if (entry.driving && entry.job) summary.activity = entry.job->activity;
    if (entry.job) {
        const Job& job = *entry.job;
        summary.errors = job.errors;
        summary.last_run = job.last_run;
        summary.next_run = job.next_run;
        const bool is_waiting = job.finished && !entry.is_announcing && !entry.driving;
        if (is_waiting) summary.ready_at = job.valid_from.value_or(now);
        if (job.last.status != 0) {
            summary.last_error = job.last.message();
            summary.last_problem = job.last.type;
        }
    }
    summary.requests_done = entry.requests_done;
    summary.request_error = entry.request_error;
    summary.is_request_pending = entry.requests.any() || entry.is_answering;
    return summary;
}

std::string Engine::server_status(bool as_lines, const CertificateCheck& check) const {
    std::vector<DomainStatus> all;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& entry : entries_) all.push_back(status_of(*entry));
    }
    const base::Time now = clock_.now();
    return as_lines ? server_status_lines(all, check, now) : server_status_table(all, check, now);
}

/// Called with the mutex.
const Engine::Entry* Engine::find_entry(const std::string& name) const {
    const Entry* containing = nullptr;
    for (const auto& entry : entries_) {
        if (entry->stored.domain.name == name) return entry.get();
        if (containing == nullptr && entry->stored.domain.contains(name)) containing = entry.get();
    }
    return containing;
}

std::optional<DomainSummary> Engine::summary(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const Entry* entry = find_entry(name);
    if (entry == nullptr) return std::nullopt;
    return summary_of(*entry);
}

std::vector<DomainSummary> Engine::summaries() const {
    const std::lock_guard lock(mutex_);
    std::vector<DomainSummary> rows;
    rows.reserve(entries_.size());
    for (const auto& entry : entries_) rows.push_back(summary_of(*entry));
    return rows;
}

}  // namespace md
