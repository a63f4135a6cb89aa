#include "md/server_status.h"

#include <algorithm>

#include "base/text.h"
#include "md/acme_directory.h"
#include "md/renewal.h"
#include "md/staple_file.h"

namespace md {

namespace {

using base::escape_html;

/// What both forms are made of.
struct Row {
    const DomainStatus& status;
    std::optional<base::Time> from;  // the latest start, the earliest end of what is served
    std::optional<base::Time> until;
    std::string state;
    bool has_errors = false;
    bool is_ready = false;  // a new set is staged
};

Row row_of(const DomainStatus& status, base::Time now) {
    Row row{.status = status, .from = {}, .until = {}, .state = {}};
    for (const ShownCertificate& shown : status.served) {
        if (!shown.certificate) continue;
        row.from = std::max(row.from.value_or(base::Time::min()), shown.certificate->not_before);
        row.until = std::min(row.until.value_or(base::Time::max()), shown.certificate->not_after);
    }
    row.state = state_text(status.stored, row.until, now);
    row.has_errors = status.job && status.job->errors > 0;
    row.is_ready = status.job && status.job->finished;
    return row;
}

std::vector<const DomainStatus*> sorted(std::span<const DomainStatus> domains) {
    std::vector<const DomainStatus*> result;
    for (const DomainStatus& status : domains) result.push_back(&status);
    std::sort(result.begin(), result.end(), [](const DomainStatus* a, const DomainStatus* b) {
        return a->stored.domain.name < b->stored.domain.name;
    });
    return result;
}

/// The CA of what is served if known, else all that are configured.
std::vector<std::string> cas_of(const DomainStatus& status) {
    if (!status.stored.ca_url.empty()) return {status.stored.ca_url};
    return status.stored.domain.ca_urls;
}

std::string day(base::Time time) {
    return base::format_rfc3339(time).substr(0, 10);
}

/// Days for what is far away, else roughly how far.
std::string when(base::Time time, base::Time now) {
    using std::chrono::duration_cast;
    using std::chrono::seconds;
    const int64_t away = duration_cast<seconds>(time > now ? time - now : now - time).count();
    if (away >= 4 * 86'400) return day(time);
    const auto text = [&](int64_t number, std::string_view unit) {
        return fmt::format("{}~{} {}{}{}", time > now ? "in " : "", number, unit,
                           number == 1 ? "" : "s", time > now ? "" : " ago");
    };
    if (away >= 86'400) return text(away / 86'400, "day");
    if (away >= 3600) return text(away / 3600, "hour");
    if (away >= 60) return text(away / 60, "minute");
    return text(away, "second");
}

size_t staged_count(const DomainStatus& status) {
    return static_cast<size_t>(
        std::count_if(status.staged.begin(), status.staged.end(),
                      [](const ShownCertificate& shown) { return shown.certificate != nullptr; }));
}

void add_activity_lines(std::string& out, const std::string& prefix, const Row& row,
                        base::Time now) {
    const DomainStatus& status = row.status;
    const auto line = [&](std::string_view key, std::string_view value) {
        out += fmt::format("{}{}: {}\n", prefix, key, base::escape_for_log(value));
    };
    if (!status.job) {
        if (!status.renew_at) {
            line("Activity", "Manual renew");
        } else if (*status.renew_at > now) {
            line("ActivityRenew",
                 std::to_string(
                     std::chrono::floor<std::chrono::seconds>(*status.renew_at - now).count()));
        } else {
            line("Activity", "Pending");
        }
        return;
    }
    const Job& job = *status.job;
    line("ActivityLastStatus",
         job.last.status == 0 ? "success" : status_description(job.last.status));
    if (!job.last.type.empty()) line("ActivityLastProblem", job.last.type);
    line("ActivityFinished", job.finished ? "yes" : "no");
    if (job.finished) line("ActivityNewStaged", std::to_string(staged_count(status)));
    if (!job.last.detail.empty()) line("ActivityLastDetail", job.last.detail);
    if (job.next_run && *job.next_run > now && !job.finished) {
        line("ActivityNextRun", base::format_http_date(*job.next_run));
    } else if (!job.finished) {
        line("Activity", "Ongoing");
    }
}

std::string activity_cell(const Row& row, base::Time now) {
    const DomainStatus& status = row.status;
    if (!status.job) {
        if (!status.renew_at) return "Manual renew";
        return *status.renew_at > now ? "Renew " + when(*status.renew_at, now) : "Pending";
    }
    const Job& job = *status.job;
    std::string text;
    if (job.last.status != 0) {
        text = fmt::format("Error[{}]", escape_html(status_description(job.last.status)));
        if (!job.last.type.empty()) text += " " + escape_html(job.last.type);
        if (job.errors > 1) text += fmt::format(" ({} in a row)", job.errors);
        text += ". ";
    }
    if (job.finished) {
        const size_t count = staged_count(status);
        text += count > 0 ? fmt::format("Finished, {} new certificate{} staged. ", count,
                                        count == 1 ? "" : "s")
                          : std::string("Finished successfully. ");
    }
    if (!job.last.detail.empty()) text += escape_html(job.last.detail) + " ";
    if (job.next_run && *job.next_run > now && !job.finished) {
        text += "Next run " + when(*job.next_run, now);
    } else if (!job.finished) {
        text += "Ongoing...";
    }
    return text;
}

// ---- staples (mod_md.md 7.3, 7.4)

/// The host, as ca_name() gives it: most responders are at http.
std::string responder_name(const std::string& url) {
    constexpr std::string_view plain = "http://";
    const bool is_plain = base::iequals(url.substr(0, plain.size()), plain);
    const std::string name = ca_name(is_plain ? "https://" + url.substr(plain.size()) : url);
    return name.starts_with("https://") ? url : name;
}

/// What is being done about an answer: "Refresh in ~2 days", or how it failed.
std::string staple_activity(const StapleReport& report, base::Time now) {
    std::string text;
    if (report.renewal && report.renewal->errors > 0) {
        const Job& job = *report.renewal;
        text = fmt::format("Error[{}] {} ({} in a row). ",
                           escape_html(status_description(job.last.status)),
                           escape_html(job.last.message()), job.errors);
    }
    if (report.refresh_at) text += "Refresh " + when(*report.refresh_at, now);
    return text;
}

}  // namespace

std::string state_text(const StoredDomain& stored, std::optional<base::Time> not_after,
                       base::Time now) {
    const std::string& why = stored.state_description;
    switch (stored.state) {
        case DomainState::Complete:
        case DomainState::Expired:
            return not_after && *not_after <= now ? "expired" : "good";
        case DomainState::Incomplete:
            return "incomplete: " + why;
        case DomainState::Error:
            return "error: " + why;
        case DomainState::MissingInformation:
            return "missing information";
        case DomainState::Unknown:
            break;
    }
    return "unknown";
}

std::string server_status_lines(std::span<const DomainStatus> domains,
                                const CertificateCheck& check, base::Time now) {
    size_t ok = 0;
    size_t renew = 0;
    size_t errored = 0;
    size_t ready = 0;
    std::string lines;
    size_t index = 0;
    for (const DomainStatus* status : sorted(domains)) {
        const Row row = row_of(*status, now);
        if (status->stored.state == DomainState::Complete) ++ok;
        if (status->renewal_due) {
            ++renew;
            errored += row.has_errors ? 1 : 0;
            ready += row.is_ready ? 1 : 0;
        }
        const std::string prefix = fmt::format("ManagedDomain[{}]", index++);
        const auto line = [&](std::string_view key, std::string_view value) {
            lines += fmt::format("{}{}: {}\n", prefix, key, base::escape_for_log(value));
        };
        line("Domain", status->stored.domain.name);
        size_t number = 0;
        for (const std::string& name : status->stored.domain.names) {
            line(fmt::format("Names[{}]", number++), name);
        }
        line("Status", row.state);
        if (row.from && *row.from > now) line("ValidFrom", day(*row.from));
        if (row.until) line("ValidUntil", day(*row.until));
        number = 0;
        for (const std::string& url : cas_of(*status)) {
            const std::string suffix = number == 0 ? "" : std::to_string(number);
            line("CAName" + suffix, ca_name(url));
            line("CAURL" + suffix, url);
            ++number;
        }
        if (status->stored.domain.stapling) line("Stapling", "on");
        for (const ShownCertificate& shown : status->served) {
            if (!shown.certificate || check.url.empty()) continue;
            const std::string fingerprint = base::hex(shown.certificate->sha256);
            line("CheckAtType", shown.label);
            line("CheckAtName", check.name);
            line("CheckAtURL", check.url + fingerprint);
            line("CheckAtFingerprint", fingerprint);
        }
        add_activity_lines(lines, prefix, row, now);
    }
    return fmt::format(
               "ManagedCertificatesTotal: {}\nManagedCertificatesOK: {}\n"
               "ManagedCertificatesRenew: {}\nManagedCertificatesErrored: {}\n"
               "ManagedCertificatesReady: {}\n",
               domains.size(), ok, renew, errored, ready) +
           lines;
}

std::string server_status_table(std::span<const DomainStatus> domains,
                                const CertificateCheck& check, base::Time now) {
    std::string out =
        "<h2>Managed Certificates</h2>\n<table class=\"md_status\"><thead><tr><th>Domain</th>"
        "<th>Names</th><th>Status</th><th>Valid</th><th>CA</th><th>Stapling</th><th>CheckAt</th>"
        "<th>Activity</th></tr></thead>\n<tbody>\n";
    bool is_even = true;
    for (const DomainStatus* status : sorted(domains)) {
        const Row row = row_of(*status, now);
        std::string names;
        for (const std::string& name : status->stored.domain.names) {
            names += (names.empty() ? "" : " ") + escape_html(name);
        }
        std::string valid;
        if (row.from && *row.from > now) valid = "from " + day(*row.from) + " ";
        if (row.until) valid += "until " + day(*row.until);
        std::string cas;
        for (const std::string& url : cas_of(*status)) {
            cas += fmt::format("{}<a rel=\"noreferrer\" href=\"{}\">{}</a>", cas.empty() ? "" : " ",
                               escape_html(url), escape_html(ca_name(url)));
        }
        std::string links;
        for (const ShownCertificate& shown : status->served) {
            if (!shown.certificate || check.url.empty()) continue;
            links += fmt::format("{}<a rel=\"noreferrer\" href=\"{}{}\">{}[{}]</a>",
                                 links.empty() ? "" : " ", escape_html(check.url),
                                 base::hex(shown.certificate->sha256), escape_html(check.name),
                                 escape_html(shown.label));
        }
        out += fmt::format(
            "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
            "<td>{}</td><td>{}</td></tr>\n",
            is_even ? "even" : "odd", escape_html(status->stored.domain.name), names,
            escape_html(row.state), valid, cas, status->stored.domain.stapling ? "on" : "off",
            links, activity_cell(row, now));
        is_even = !is_even;
    }
    return out + "</tbody></table>\n";
}

std::string staple_status_lines(std::span<const StapleRow> staples, base::Time now) {
    std::map<std::string, size_t> counts;
    std::string lines;
    size_t index = 0;
    for (const StapleRow& row : staples) {
        const StapleReport& report = row.report;
        ++counts[report.status];
        const std::string prefix = fmt::format("ManagedStapling[{}]", index++);
        const auto line = [&](std::string_view key, std::string_view value) {
            lines += fmt::format("{}{}: {}\n", prefix, key, base::escape_for_log(value));
        };
        line("Domain", row.domain);
        line("CertificateID", certificate_id(*row.certificate));
        line("OCSPStatus", report.status);
        if (report.from) line("StaplingValidFrom", base::format_http_date(*report.from));
        if (report.until) line("StaplingValidUntil", base::format_http_date(*report.until));
        line("ResponderName", responder_name(report.url));
        line("ResponderURL", report.url);
        if (report.renewal && report.renewal->errors > 0) {
            line("ActivityLastStatus", status_description(report.renewal->last.status));
            line("ActivityLastDetail", report.renewal->last.message());
        }
        if (report.refresh_at) {
            const auto left = std::chrono::floor<std::chrono::seconds>(*report.refresh_at - now);
            line("ActivityRefresh", std::to_string(left.count()));
        }
    }
    return fmt::format(
               "ManagedStaplingsTotal: {}\nManagedStaplingsOK: {}\nManagedStaplingsRenew: {}\n"
               "ManagedStaplingsErrored: {}\n",
               staples.size(), counts["good"], counts["revoked"], counts["unknown"]) +
           lines;
}

std::string staple_status_table(std::span<const StapleRow> staples, base::Time now) {
    if (staples.empty()) return "";
    std::string out =
        "<h2>Managed Staplings</h2>\n<table class=\"md_ocsp_status\"><thead><tr><th>Domain</th>"
        "<th>CertificateID</th><th>OCSPStatus</th><th>StaplingValid</th><th>Responder</th>"
        "<th>Activity</th></tr></thead>\n<tbody>\n";
    bool is_even = true;
    for (const StapleRow& row : staples) {
        const StapleReport& report = row.report;
        out += fmt::format(
            "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
            "</tr>\n",
            is_even ? "even" : "odd", escape_html(row.domain), certificate_id(*row.certificate),
            escape_html(report.status), report.until ? "until " + when(*report.until, now) : "-",
            escape_html(responder_name(report.url)), staple_activity(report, now));
        is_even = !is_even;
    }
    return out + "</tbody></table>\n";
}

}  // namespace md
