// What is told of the stapler's certificates: declared in stapler.h.

#include "md/stapler.h"

namespace md {

StapleReport Stapler::report_of(const Item& item) const {
    const Question* question = item.responder ? item.responder.get() : item.list.get();
    if (item.list && item.status == CertificateStatus::Revoked) {
        const auto at = item.list->by_serial.find(item.certificate->serial);
        if (at != item.list->by_serial.end() && at->second) question = item.list.get();
    }
    StapleReport report{.status = std::string(certificate_status_name(item.status)),
                        .from = {},
                        .until = {},
                        .url = question->url,
                        .is_crl = !question->crl.empty(),
                        .is_stapled = item.is_stapled,
                        .has_staple = item.staple && item.staple->until > clock_.now(),
                        .refresh_at = question->next_run,
                        .revoked_at = item.revoked_at,
                        .reason = item.reason,
                        .last_success = question->last_success};
    // What is out of date says nothing any more.
    if (item.status != CertificateStatus::Unknown && item.until > clock_.now()) {
        report.from = item.from;
        report.until = item.until;
    } else if (item.status != CertificateStatus::Revoked) {
        report.status = certificate_status_name(CertificateStatus::Unknown);
    }
    Job job;
    job.name = item.owners.front()->domain.name;
    job.errors = question->errors;
    job.last = question->last;
    job.finished = question->errors == 0;
    job.next_run = question->next_run;
    report.renewal = std::move(job);
    return report;
}

std::optional<StapleReport> Stapler::report(const tls::Certificate& certificate) const {
    const std::lock_guard lock(mutex_);
    const auto at = items_.find(certificate.sha256);
    if (at == items_.end() || (!at->second.responder && !at->second.list)) return std::nullopt;
    return report_of(at->second);
}

std::vector<StapleRow> Stapler::rows() const {
    std::vector<StapleRow> rows;
    const std::lock_guard lock(mutex_);
    for (const auto& [domain, digests] : watched_) {
        for (const Digest& digest : digests) {
            const Item& item = items_.at(digest);
            if (!item.responder && !item.list) continue;
            rows.push_back({domain, item.certificate, report_of(item)});
        }
    }
    return rows;
}

}  // namespace md
