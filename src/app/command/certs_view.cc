#include "app/command/certs_view.h"

#include <algorithm>

#include "app/times.h"
#include "base/text.h"

namespace app {

namespace {

constexpr size_t listed_lines_max = 2;  // of further names
constexpr size_t error_lines_max = 4;   // in the list

/// "incomplete: the key is missing" has a word and a reason.
std::pair<std::string, std::string> split_state(const std::string& state) {
    const size_t colon = state.find(": ");
    if (colon == std::string::npos) {
        if (state == "missing information") return {"incomplete", state};
        return {state, ""};
    }
    return {state.substr(0, colon), state.substr(colon + 2)};
}

Cell state_cell(const md::DomainSummary& domain) {
    if (domain.is_revoked) return {"revoked", Paint::Bad};
    const std::string word = split_state(domain.state).first;
    if (word == "good") return {word, domain.errors > 0 ? Paint::Warn : Paint::Good};
    return {printable(word), word == "incomplete" ? Paint::Warn : Paint::Bad};
}

bool needs_a_look(const md::DomainSummary& domain) {
    return state_cell(domain).paint != Paint::Good;
}

/// The key types, RSA with its size if it is not the usual one: "P-256, RSA".
std::string keys_of(const md::DomainSummary& domain) {
    std::vector<std::string> types;
    for (const md::CertificateSummary& certificate : domain.certificates) {
        const std::string& type = certificate.key_type;
        const bool is_usual = type == "RSA 2048";
        types.push_back(type.starts_with("EC ") ? type.substr(3) : is_usual ? "RSA" : type);
    }
    return types.empty() ? "-" : base::join(types, ", ");
}

std::string renewal_of(const md::DomainSummary& domain, base::Time now) {
    if (!domain.activity.empty()) return "at work";
    if (domain.ready_at) return relative_time(*domain.ready_at, now);
    if (domain.next_renewal) {
        return *domain.next_renewal <= now ? "due" : relative_time(*domain.next_renewal, now);
    }
    if (domain.renew_mode == "static") return "own files";
    return domain.renew_mode == "manual" ? "by hand" : "none";
}

/// "3 failures in a row, the last 5 minutes ago; next attempt in 20 minutes"
std::string failures_of(const md::DomainSummary& domain, base::Time now) {
    std::string text =
        domain.errors == 1 ? "failed" : fmt::format("failed {} times in a row", domain.errors);
    if (domain.next_run) {
        text += *domain.next_run <= now ? ", next attempt now"
                                        : ", next attempt " + relative_time(*domain.next_run, now);
    }
    return text;
}

/// The lines below a row, indented; whole, or at most so many in a terminal, and `rest` for those
/// that are left out.
void add_below(std::string& out, std::string_view text, size_t lines_max, const Look& look,
               Paint paint, std::string_view rest) {
    const size_t room = look.width > 2 ? look.width - 2 : 0;
    std::vector<std::string> lines = wrapped(text, room);
    if (room > 0 && lines.size() > lines_max) {
        lines.resize(lines_max);
        const std::string end = rest.empty() ? " …" : fmt::format(" … {}", rest);
        lines.back() = wrapped(lines.back(), room - columns(end)).front() + end;
    }
    for (const std::string& line : lines) out += "  " + look.paint(paint, line) + "\n";
}

void add_details(std::string& out, const md::DomainSummary& domain, base::Time now,
                 const Look& look) {
    std::vector<std::string> others;
    std::copy_if(domain.names.begin(), domain.names.end(), std::back_inserter(others),
                 [&](const std::string& name) { return name != domain.name; });
    if (!others.empty()) {
        add_below(out, "also " + base::join(others, ", "), listed_lines_max, look, Paint::Quiet,
                  fmt::format("{} names", domain.names.size()));
    }
    // An error says more than the state that it leaves.
    const std::string why =
        domain.last_error.empty() ? printable(split_state(domain.state).second) : "";
    if (!why.empty()) add_below(out, why, error_lines_max, look, Paint::None, "");
    if (!domain.activity.empty()) {
        add_below(out, printable(domain.activity), 1, look, Paint::None, "");
    }
    if (domain.ready_at) {
        add_below(out, "a new certificate is ready and installed then", 1, look, Paint::None, "");
    }
    if (domain.errors > 0 || !domain.last_error.empty()) {
        std::string text = domain.errors > 0 ? failures_of(domain, now) : "last attempt";
        if (!domain.last_error.empty()) text += ": " + printable(domain.last_error);
        add_below(out, text, error_lines_max, look, Paint::Bad, "");
    }
}

/// "name" in a column of its own, for pages of facts.
constexpr size_t label_columns = 16;

void add_fact(std::string& out, std::string_view label, std::string_view text, const Look& look,
              Paint paint = Paint::None) {
    if (text.empty()) return;
    std::string first = fmt::format("  {}", label);
    first.resize(label_columns, ' ');
    // The label is painted after the lines were measured.
    std::string lines = paragraph(first, text, look, paint);
    lines.replace(0, label_columns,
                  "  " + look.paint(Paint::Quiet, label) +
                      std::string(label_columns - 2 - columns(label), ' '));
    out += lines;
}

std::string validity(const md::CertificateSummary& certificate, base::Time now) {
    const bool is_over = certificate.not_after <= now;
    return fmt::format("{} to {} ({} {})", day(certificate.not_before), day(certificate.not_after),
                       is_over ? "ended" : "ends", relative_time(certificate.not_after, now));
}

/// What its CA says about a certificate, and how we know.
void add_staple(std::string& out, const md::StapleReport& report, base::Time now,
                const Look& look) {
    std::string text = report.status;
    if (report.from && report.until) {
        text += fmt::format(", since {}, until {} ({})", minute(*report.from),
                            minute(*report.until), relative_time(*report.until, now));
    }
    text += fmt::format("; {}", report.is_crl        ? "by its CRL"
                                : !report.is_stapled ? "not stapled"
                                : report.has_staple  ? "stapled"
                                                     : "nothing to staple");
    const bool is_bad = report.status == "revoked" || (report.is_stapled && !report.has_staple);
    add_fact(out, report.is_crl ? "CRL" : "OCSP", text, look, is_bad ? Paint::Bad : Paint::None);
    text = printable(report.url);
    if (report.refresh_at) {
        text += *report.refresh_at <= now
                    ? ", asked now"
                    : fmt::format(", asked again {}", relative_time(*report.refresh_at, now));
    }
    add_fact(out, "", text, look, Paint::Quiet);
    if (!report.renewal || report.renewal->errors == 0) return;
    add_fact(out, "",
             fmt::format("{} failed in a row: {}", report.renewal->errors,
                         printable(report.renewal->last.message())),
             look, Paint::Bad);
}

void add_certificate(std::string& out, const md::CertificateSummary& certificate, base::Time now,
                     const Look& look) {
    out +=
        "\n" + look.paint(Paint::Strong, "Certificate, " + printable(certificate.key_type)) + "\n";
    add_fact(out, "issuer", printable(certificate.issuer), look);
    add_fact(out, "serial", printable(certificate.serial), look);
    add_fact(out, "SHA-256", printable(certificate.sha256), look);
    const bool is_over = certificate.not_after <= now;
    add_fact(out, "valid", validity(certificate, now), look, is_over ? Paint::Bad : Paint::None);
    if (certificate.revoked_at) {
        add_fact(out, "revoked",
                 fmt::format("{} ({}), {}", minute(*certificate.revoked_at),
                             relative_time(*certificate.revoked_at, now),
                             printable(certificate.revocation_reason)),
                 look, Paint::Bad);
    }
    if (certificate.staple) add_staple(out, *certificate.staple, now, look);
}

std::string why_then(const md::DomainSummary& domain) {
    if (domain.advised_renewal && domain.next_renewal == domain.advised_renewal) {
        return "as the CA advises";
    }
    if (domain.renew_window.empty()) return "by its renew_window";
    return domain.renew_window.ends_with('%')
               ? fmt::format("when {} of its life is left", domain.renew_window)
               : fmt::format("{} before it ends", domain.renew_window);
}

std::string next_renewal_text(const md::DomainSummary& domain, base::Time now) {
    if (domain.ready_at) {
        return fmt::format("a new certificate is ready, and installed at {} ({})",
                           minute(*domain.ready_at), relative_time(*domain.ready_at, now));
    }
    if (!domain.next_renewal) {
        if (domain.renew_mode == "static") return "none: it has certificate files of its own";
        if (domain.renew_mode == "manual") return "none by itself (renew_mode is \"manual\")";
        return "none: no site uses it, or it is in error";
    }
    if (*domain.next_renewal <= now) {
        return domain.certificates.empty() ? "due: it has no certificate yet"
                                           : "due, " + why_then(domain);
    }
    return fmt::format("{} ({}), {}", minute(*domain.next_renewal),
                       relative_time(*domain.next_renewal, now), why_then(domain));
}

void add_renewal(std::string& out, const md::DomainSummary& domain, base::Time now,
                 const Look& look) {
    out += "\n" + look.paint(Paint::Strong, "Renewal") + "\n";
    add_fact(out, "next", next_renewal_text(domain, now), look);
    add_fact(out, "explained at", printable(domain.renewal_explanation), look);
    add_fact(out, "at work", printable(domain.activity), look);
    if (domain.last_run) {
        add_fact(
            out, "last attempt",
            fmt::format("{} ({})", minute(*domain.last_run), relative_time(*domain.last_run, now)),
            look);
    }
    if (domain.errors > 0) {
        add_fact(out, "failures", fmt::format("{} in a row", domain.errors), look, Paint::Bad);
    }
    if (!domain.last_error.empty()) {
        add_fact(out, "last error", printable(domain.last_error), look, Paint::Bad);
        add_fact(out, "problem", printable(domain.last_problem), look);
        add_fact(out, "what to do", advice_for(domain.last_problem), look);
    }
    if (domain.next_run && !domain.ready_at) {
        add_fact(
            out, "next attempt",
            fmt::format("{} ({})", minute(*domain.next_run), relative_time(*domain.next_run, now)),
            look);
    }
}

}  // namespace

std::string issuer_name(const std::string& issuer) {
    for (const std::string_view key : {"CN=", "O="}) {
        size_t at = issuer.starts_with(key) ? 0 : issuer.find("," + std::string(key));
        if (at == std::string::npos) continue;
        at += (at > 0 ? 1 : 0) + key.size();
        std::string value;
        for (; at < issuer.size() && issuer[at] != ',' && issuer[at] != '+'; ++at) {
            if (issuer[at] == '\\' && at + 1 < issuer.size()) ++at;
            value += issuer[at];
        }
        if (!value.empty()) return printable(value);
    }
    return issuer.empty() ? "-" : printable(issuer);
}

std::string_view advice_for(std::string_view type) {
    constexpr std::string_view prefix = "urn:ietf:params:acme:error:";
    if (!type.starts_with(prefix)) return "";
    type.remove_prefix(prefix.size());
    static constexpr std::pair<std::string_view, std::string_view> known[] = {
        {"connection",
         "let the CA reach ports 80 and 443 of this name: check its DNS records, the firewall, and "
         "port_map"},
        {"dns", "check the name's DNS records and its name servers"},
        {"unauthorized",
         "the CA reached somebody else: point the name's DNS records (A and AAAA) here, and port "
         "80 or 443 to mdfront"},
        {"incorrectResponse",
         "the CA reached somebody else: point the name's DNS records (A and AAAA) here, and port "
         "80 or 443 to mdfront"},
        {"tls", "let port 443 of this name reach mdfront without anything that ends TLS between"},
        {"caa", "allow this CA in the name's CAA records, or use another one"},
        {"rateLimited", "wait: mdfront tries again when the CA allows it; ask for fewer names"},
        {"rejectedIdentifier", "the CA does not serve this name: remove it, or use another CA"},
        {"unsupportedIdentifier", "the CA does not serve this name: remove it, or use another CA"},
        {"userActionRequired", "read what the CA says, at the address that it gives"},
        {"externalAccountRequired", "set external_account_binding to what the CA gave you"},
        {"agreementRequired", "read the CA's terms and set certificate_agreement = \"accepted\""},
        {"invalidContact", "correct contact_email"},
        {"unsupportedContact", "correct contact_email"},
        {"accountDoesNotExist", "nothing: a new account is made at the next attempt"},
        {"serverInternal", "wait: the CA has trouble, and mdfront tries again"}};
    for (const auto& [name, advice] : known) {
        if (type == name) return advice;
    }
    return "";
}

std::string render_list(const std::vector<md::DomainSummary>& domains, base::Time now,
                        const Look& look) {
    if (domains.empty()) return "No managed domain is configured.\n";
    Table table({"DOMAIN", "STATE", "KEYS", "ISSUER", "EXPIRES", "RENEWAL"}, {3, 0, 2});
    size_t to_look_at = 0;
    for (const md::DomainSummary& domain : domains) {
        to_look_at += needs_a_look(domain) ? 1 : 0;
        const bool is_over = domain.not_after && *domain.not_after <= now;
        table.add({{printable(domain.name), Paint::Strong},
                   state_cell(domain),
                   {keys_of(domain)},
                   {domain.not_after ? issuer_name(domain.issuer) : "-"},
                   {domain.not_after ? relative_time(*domain.not_after, now) : "-",
                    is_over ? Paint::Bad : Paint::None},
                   {renewal_of(domain, now)}});
    }
    const std::vector<std::string> lines = table.lines(look);
    std::string out = lines.front() + "\n";
    for (size_t i = 0; i < domains.size(); ++i) {
        out += lines[i + 1] + "\n";
        add_details(out, domains[i], now, look);
    }
    const std::string count =
        domains.size() == 1 ? "1 domain" : fmt::format("{} domains", domains.size());
    out += "\n" + count;
    if (to_look_at > 0) {
        out += ", " + look.paint(Paint::Bad, fmt::format("{} to look at", to_look_at)) +
               ": `mdfront certs show NAME` tells more";
    } else {
        out += ", all good";
    }
    return out + "\n";
}

std::string render_domain(const md::DomainSummary& domain, base::Time now, const Look& look) {
    const Cell state = state_cell(domain);
    const std::string name = printable(domain.name);
    const bool fits = look.width == 0 || columns(name) + 2 + columns(state.text) <= look.width;
    std::string out = look.paint(Paint::Strong, name) + (fits ? "  " : "\n  ") +
                      look.paint(state.paint, state.text) + "\n";
    add_fact(out, "because", printable(split_state(domain.state).second), look);
    add_fact(out, "names", base::join(domain.names, ", "), look);
    add_fact(out, "CA", printable(domain.ca_url), look);
    add_fact(out, "account", printable(domain.account), look);
    for (const md::CertificateSummary& certificate : domain.certificates) {
        add_certificate(out, certificate, now, look);
    }
    if (domain.certificates.empty()) {
        out += "\n" + look.paint(Paint::Strong, "No certificate yet") +
               ": clients get a stand-in and 503\n";
    }
    add_renewal(out, domain, now, look);
    return out;
}

std::string render_certificates(const md::DomainSummary& domain, base::Time now, const Look& look) {
    std::string out;
    for (const md::CertificateSummary& certificate : domain.certificates) {
        add_fact(out, printable(certificate.key_type),
                 fmt::format("serial {}", printable(certificate.serial)), look);
        add_fact(out, "", fmt::format("issued by {}", issuer_name(certificate.issuer)), look);
        add_fact(out, "", "valid " + validity(certificate, now), look);
    }
    return out;
}

std::string render_failure(const md::DomainSummary& domain, const std::string& error,
                           base::Time now, const Look& look) {
    std::string out;
    add_fact(out, "error", printable(error), look, Paint::Bad);
    if (error == domain.last_error)
        add_fact(out, "what to do", advice_for(domain.last_problem), look);
    if (domain.next_run) {
        add_fact(
            out, "next attempt",
            fmt::format("{} ({})", minute(*domain.next_run), relative_time(*domain.next_run, now)),
            look);
    }
    return out;
}

std::string render_accounts(const std::vector<md::AccountSummary>& accounts, const Look& look) {
    if (accounts.empty()) return "There is no account yet.\n";
    Table table({"ACCOUNT", "STATUS", "KEY", "CA"}, {3});
    for (const md::AccountSummary& account : accounts) {
        const bool is_valid = account.status == "valid";
        table.add({{printable(account.id), Paint::Strong},
                   {account.status.empty() ? "unused" : printable(account.status),
                    is_valid ? Paint::Good : Paint::Warn},
                   {printable(account.key_type)},
                   {printable(account.ca_url)}});
    }
    const std::vector<std::string> lines = table.lines(look);
    std::string out = lines.front() + "\n";
    for (size_t i = 0; i < accounts.size(); ++i) {
        out += lines[i + 1] + "\n";
        add_below(out, "contact " + printable(base::join(accounts[i].contacts, ", ")),
                  listed_lines_max, look, Paint::Quiet, "");
        const auto& domains = accounts[i].domains;
        add_below(out,
                  domains.empty() ? "used by no domain" : "used by " + base::join(domains, ", "),
                  listed_lines_max, look, Paint::Quiet, fmt::format("{} domains", domains.size()));
    }
    return out;
}

}  // namespace app
