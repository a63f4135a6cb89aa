#include "app/admin/page.h"

#include "app/admin/json_values.h"
#include "app/times.h"
#include "base/text.h"

namespace app {

namespace {

using base::escape_html;

constexpr std::string_view style = R"(
:root { color-scheme: light dark;
  --ground: #f6f7f9; --card: #fff; --text: #1c2430; --quiet: #5d6878; --line: #dfe3e9;
  --good: #13713c; --good-ground: #e2f4e8; --warn: #8a5300; --warn-ground: #fdf0d5;
  --bad: #a31621; --bad-ground: #fde5e6; --accent: #1f5fbf; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #12161c; --card: #1a2029; --text: #e4e8ee; --quiet: #98a3b3; --line: #2c3541;
  --good: #6fd695; --good-ground: #16301f; --warn: #f0bd5f; --warn-ground: #372a10;
  --bad: #ff8f96; --bad-ground: #3c171b; --accent: #7fb2ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 78rem; margin: 0 auto; padding: 1.5rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem;
  margin-bottom: 1rem; }
h1 { font-size: 1.5rem; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.05rem; margin: 1.75rem 0 .6rem; }
.quiet { color: var(--quiet); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr));
  gap: .75rem; margin: 0; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .7rem .9rem; }
.numbers dt { color: var(--quiet); font-size: .85rem; }
.numbers dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.numbers small { display: block; font-size: .8rem; font-weight: 400; color: var(--quiet); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .6rem .9rem;
  border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--quiet); font-size: .85rem; font-weight: 600;
  white-space: nowrap; }
tbody th { font-weight: 600; }
td small, th small { display: block; color: var(--quiet); font-weight: 400; }
.names { overflow-wrap: anywhere; min-width: 11rem; }
td time, td .when { white-space: nowrap; }
.state { display: inline-block; border-radius: 1rem; padding: .05rem .65rem; font-size: .85rem;
  font-weight: 600; }
.good { color: var(--good); background: var(--good-ground); }
.warn { color: var(--warn); background: var(--warn-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
.error { color: var(--bad); overflow-wrap: anywhere; min-width: 16rem; max-width: 34rem; }
a { color: var(--accent); }
footer { margin-top: 2rem; font-size: .85rem; color: var(--quiet); }
)";

/// A date with how far away it is.
std::string dated(const std::optional<base::Time>& time, base::Time now) {
    if (!time) return "<span class=\"quiet\">–</span>";
    return fmt::format("<time datetime=\"{}\" title=\"{}\">{}</time><small>{}</small>",
                       base::format_rfc3339(*time), base::format_http_date(*time), day(*time),
                       relative_time(*time, now));
}

std::string_view state_class(const md::DomainSummary& domain) {
    if (domain.is_revoked) return "bad";
    if (domain.state.starts_with("good")) return domain.errors > 0 ? "warn" : "good";
    if (domain.state.starts_with("incomplete")) return "warn";
    return "bad";
}

/// "12,345,678"
std::string grouped(uint64_t number) {
    std::string digits = std::to_string(number);
    for (size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, 1, ',');
    }
    return digits;
}

std::string bytes(uint64_t number) {
    static constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = static_cast<double>(number);
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(units)) {
        value /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", number) : fmt::format("{:.1f} {}", value, units[unit]);
}

void number(std::string& page, std::string_view label, std::string_view value,
            std::string_view note) {
    page += fmt::format("<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>\n", label, value, note);
}

void add_numbers(std::string& page, const Status& status) {
    const proxy::Counters& c = status.counters;
    page += "<h2>Server</h2>\n<dl class=\"numbers\">\n";
    number(page, "Requests", grouped(c.requests),
           fmt::format("{} ok · {} redirected", grouped(c.responses[2]), grouped(c.responses[3])));
    number(page, "Errors", grouped(c.responses[4] + c.responses[5]),
           fmt::format("{} by clients (4xx) · {} ours (5xx)", grouped(c.responses[4]),
                       grouped(c.responses[5])));
    number(page, "Connections", grouped(c.connections),
           fmt::format("now · {} accepted", grouped(c.connections_accepted)));
    number(page, "TLS handshakes", grouped(c.handshakes_full + c.handshakes_resumed),
           fmt::format("{} resumed · {} failed", grouped(c.handshakes_resumed),
                       grouped(c.handshakes_failed)));
    number(page, "Backend connections", grouped(c.backend_connects),
           fmt::format("{} reused · {} failed", grouped(c.backend_reused),
                       grouped(c.backend_failures)));
    number(page, "Bytes", bytes(c.bytes_out), fmt::format("sent · {} received", bytes(c.bytes_in)));
    page += "</dl>\n";
}

/// MDCertificateCheck: "crt.sh[rsa]", as mod_md's server-status has it.
std::string check_links(const md::DomainSummary& domain, const md::CertificateCheck& check) {
    std::string links;
    if (check.url.empty()) return links;
    for (const md::CertificateSummary& certificate : domain.certificates) {
        links +=
            fmt::format("{}<a rel=\"noreferrer\" href=\"{}{}\">{}[{}]</a>",
                        links.empty() ? "<small>" : " ", escape_html(check.url), certificate.sha256,
                        escape_html(check.name), escape_html(certificate.label));
    }
    if (!links.empty()) links += "</small>";
    return links;
}

/// What the CA says of a certificate: "good, ends in 3 days".
std::string staple_text(const md::StapleReport& report, base::Time now) {
    std::string text = escape_html(report.status);
    if (report.until && report.status != "revoked") {
        text += fmt::format(", ends {}", relative_time(*report.until, now));
    }
    return text;
}

bool has_failed(const md::StapleReport& report) {
    return report.renewal && report.renewal->errors > 0;
}

std::string error_text(const md::StapleReport& report) {
    return fmt::format("<div class=\"error\">{}</div>",
                       escape_html(report.renewal->last.message()));
}

/// Of each certificate: "staple P-256: good, ends in 3 days".
std::string staple_notes(const md::DomainSummary& domain, base::Time now) {
    std::string notes;
    for (const md::CertificateSummary& certificate : domain.certificates) {
        if (!certificate.staple) continue;
        const md::StapleReport& report = *certificate.staple;
        notes += fmt::format("<small>{} {}: {}{}</small>",
                             report.is_crl ? "CRL" : (report.is_stapled ? "staple" : "OCSP"),
                             escape_html(certificate.label), staple_text(report, now),
                             has_failed(report) ? error_text(report) : "");
    }
    return notes;
}

void add_domain(std::string& page, const md::DomainSummary& domain, const Status& status) {
    const base::Time now = status.now;
    const std::string name = escape_html(domain.name);
    page += fmt::format("<tr><th scope=\"row\"><a href=\"/md-status/{0}\">{0}</a></th>", name);
    page += fmt::format("<td class=\"names\">{}</td>", escape_html(base::join(domain.names, ", ")));
    page += fmt::format("<td><span class=\"state {}\">{}</span>{}</td>", state_class(domain),
                        domain.is_revoked ? "revoked" : escape_html(domain.state),
                        staple_notes(domain, now));
    page += fmt::format("<td>{}</td>", dated(domain.not_after, now));
    page += fmt::format(
        "<td class=\"names\">{}{}</td>",
        domain.issuer.empty() ? "<span class=\"quiet\">–</span>" : escape_html(domain.issuer),
        check_links(domain, status.certificate_check));
    page += fmt::format("<td>{}", dated(domain.next_renewal, now));
    if (!domain.renewal_explanation.empty()) {
        page += fmt::format("<small><a rel=\"noreferrer\" href=\"{}\">why then</a></small>",
                            escape_html(domain.renewal_explanation));
    }
    page += "</td><td>";
    if (!domain.activity.empty()) page += fmt::format("{} ", escape_html(domain.activity));
    if (!domain.last_error.empty()) {
        page += fmt::format("<div class=\"error\">{}</div>", escape_html(domain.last_error));
    }
    if (domain.errors > 0) {
        page += fmt::format("<small>{} failed in a row</small>", domain.errors);
    }
    if (domain.next_run) {
        page += fmt::format("<small>next try {}</small>", relative_time(*domain.next_run, now));
    }
    page += "</td></tr>\n";
}

void add_domains(std::string& page, const Status& status) {
    page += "<h2>Managed domains</h2>\n";
    if (status.domains.empty()) {
        page += "<p class=\"quiet\">None is configured.</p>\n";
        return;
    }
    page +=
        "<div class=\"scroll\"><table>\n<thead><tr><th>Domain</th><th>Names</th><th>State</th>"
        "<th>Valid until</th><th>Issuer</th><th>Renewal</th><th>Activity</th></tr></thead>\n"
        "<tbody>\n";
    for (const md::DomainSummary& domain : status.domains) add_domain(page, domain, status);
    page += "</tbody></table></div>\n";
}

/// What is to be said of a certificate that belongs to no domain, and how it is coloured.
std::pair<std::string_view, std::string_view> state_of(const md::CertificateSummary& certificate,
                                                       base::Time now) {
    if (certificate.revoked_at) return {"revoked", "bad"};
    if (certificate.not_after <= now) return {"expired", "bad"};
    if (certificate.not_before > now) return {"not valid yet", "bad"};
    const auto& staple = certificate.staple;
    return {"good", staple && has_failed(*staple) ? "warn" : "good"};
}

/// The first name, and the others below it.
std::string listed_names(const std::vector<std::string>& names) {
    if (names.empty()) return "–";
    std::string text = escape_html(names.front());
    if (names.size() > 1) {
        const auto others = std::span(names).subspan(1);
        text += fmt::format("<small>{}</small>", escape_html(base::join(others, ", ")));
    }
    return text;
}

void add_file_certificate(std::string& page, const md::CertificateSummary& certificate,
                          base::Time now) {
    const auto [state, colour] = state_of(certificate, now);
    page += fmt::format(
        "<tr><th scope=\"row\" class=\"names\">{}</th>"
        "<td><span class=\"state {}\">{}</span></td><td>{}</td>",
        listed_names(certificate.names), colour, state, dated(certificate.not_after, now));
    if (certificate.staple) {
        const md::StapleReport& report = *certificate.staple;
        page += fmt::format("<td><span class=\"when\">{}{}</span></td>",
                            report.is_crl ? "by CRL: " : "", staple_text(report, now));
        page += fmt::format("<td><span class=\"when\">{}</span></td><td>{}</td>",
                            report.refresh_at ? relative_time(*report.refresh_at, now) : "–",
                            has_failed(report) ? error_text(report) : "");
    } else {
        page += "<td class=\"quiet\">–</td><td></td><td></td>";
    }
    page += "</tr>\n";
}

/// Those of sites that belong to no domain.
void add_file_certificates(std::string& page, const Status& status) {
    if (status.file_certificates.empty()) return;
    page +=
        "<h2>Certificates from files</h2>\n"
        "<div class=\"scroll\"><table>\n<thead><tr><th>Names</th><th>State</th>"
        "<th>Valid until</th><th>Staple</th><th>Next refresh</th>"
        "<th>Last error</th></tr></thead>\n<tbody>\n";
    for (const md::CertificateSummary& certificate : status.file_certificates) {
        add_file_certificate(page, certificate, status.now);
    }
    page += "</tbody></table></div>\n";
}

}  // namespace

std::string render_server_status_lines(const Status& status, const std::string& domains) {
    const proxy::Counters& c = status.counters;
    const auto uptime =
        std::chrono::floor<std::chrono::seconds>(status.now - status.started).count();
    // httpd's words where it has some.
    return fmt::format(
               "ServerVersion: mdfront/{}\nServerUptimeSeconds: {}\nTotal Accesses: {}\n"
               "Total kBytes: {}\nConnsTotal: {}\n",
               status.version, uptime, c.requests, c.bytes_out / 1024, c.connections) +
           domains;
}

std::string render_server_status(const Status& status, const std::string& domains) {
    std::string page =
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>mdfront: server status</title>\n";
    page += fmt::format("<style>{}</style>\n</head>\n<body><main>\n", style);
    page += fmt::format(
        "<header><h1>Server status</h1><span class=\"quiet\">mdfront {} · started {}</span>"
        "</header>\n",
        escape_html(status.version), relative_time(status.started, status.now));
    add_numbers(page, status);
    if (!domains.empty()) page += "<div class=\"scroll\">" + domains + "</div>\n";
    page += fmt::format(
        "<footer>{} · <a href=\"/\">status page</a>, as lines: "
        "<a href=\"/server-status?auto\">auto</a></footer>\n</main></body>\n"
        "</html>\n",
        base::format_http_date(status.now));
    return page;
}

std::string render_page(const Status& status) {
    size_t bad = 0;
    for (const md::DomainSummary& domain : status.domains) {
        bad += state_class(domain) == "good" ? 0 : 1;
    }
    for (const md::CertificateSummary& certificate : status.file_certificates) {
        bad += state_of(certificate, status.now).second == "good" ? 0 : 1;
    }
    std::string page =
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"refresh\" content=\"5\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    page += fmt::format("<title>mdfront{}</title>\n",
                        bad > 0 ? fmt::format(" – {} to look at", bad) : "");
    page += fmt::format("<style>{}</style>\n</head>\n<body><main>\n", style);
    page += fmt::format(
        "<header><h1>mdfront</h1><span class=\"quiet\">version {} · {} worker{} · {} site{} · "
        "started {}</span></header>\n",
        escape_html(status.version), status.workers, status.workers == 1 ? "" : "s", status.sites,
        status.sites == 1 ? "" : "s", relative_time(status.started, status.now));
    add_domains(page, status);
    add_file_certificates(page, status);
    add_numbers(page, status);
    page += fmt::format(
        "<footer>{} · as data: <a href=\"/status.json\">status.json</a>, "
        "<a href=\"/md-status\">md-status</a></footer>\n</main></body>\n</html>\n",
        base::format_http_date(status.now));
    return page;
}

std::string render_json(const Status& status) {
    const proxy::Counters& c = status.counters;
    Json json;
    json["version"] = status.version;
    json["now"] = base::format_rfc3339(status.now);
    json["started"] = base::format_rfc3339(status.started);
    json["workers"] = status.workers;
    json["sites"] = status.sites;
    Json responses;
    for (size_t i = 1; i < std::size(c.responses); ++i) {
        responses[fmt::format("{}xx", i)] = c.responses[i];
    }
    json["counters"] = Json{{"requests", c.requests},
                            {"responses", responses},
                            {"bytes_in", c.bytes_in},
                            {"bytes_out", c.bytes_out},
                            {"connections", c.connections},
                            {"connections_accepted", c.connections_accepted},
                            {"handshakes_full", c.handshakes_full},
                            {"handshakes_resumed", c.handshakes_resumed},
                            {"handshakes_failed", c.handshakes_failed},
                            {"backend_connects", c.backend_connects},
                            {"backend_reused", c.backend_reused},
                            {"backend_replays", c.backend_replays},
                            {"backend_failures", c.backend_failures}};
    json["domains"] = Json::array();
    for (const md::DomainSummary& domain : status.domains) {
        json["domains"].push_back(domain_json(domain));
    }
    json["file_certificates"] = file_certificates_json(status.file_certificates);
    return json_text(json);
}

}  // namespace app
