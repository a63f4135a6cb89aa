#include "app/admin/summary_json.h"

#include <cerrno>

#include "app/admin/json_values.h"

namespace app {

namespace {

Json text_or_null(const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
}

/// What is known of it by OCSP or a CRL.
Json staple_json(const md::StapleReport& report) {
    Json json{{"status", report.status},
              {"from", json_time(report.from)},
              {"until", json_time(report.until)},
              {"source", report.is_crl ? "crl" : "ocsp"},
              {"url", report.url},
              {"stapling", report.is_stapled},
              {"stapled", report.has_staple},
              {"next_refresh", json_time(report.refresh_at)},
              {"last_answer", json_time(report.last_success)},
              {"errors", 0},
              {"last_error", nullptr}};
    if (report.renewal && report.renewal->errors > 0) {
        json["errors"] = report.renewal->errors;
        json["last_error"] = report.renewal->last.message();
    }
    return json;
}

Json certificate_json(const md::CertificateSummary& certificate) {
    Json json{{"label", certificate.label},
              {"key_type", certificate.key_type},
              {"issuer", certificate.issuer},
              {"serial", certificate.serial},
              {"sha256", certificate.sha256},
              {"names", certificate.names},
              {"not_before", base::format_rfc3339(certificate.not_before)},
              {"not_after", base::format_rfc3339(certificate.not_after)},
              {"revoked", nullptr}};
    if (certificate.revoked_at) {
        json["revoked"] = Json{{"at", json_time(certificate.revoked_at)},
                               {"reason", certificate.revocation_reason}};
    }
    json["ocsp"] = certificate.staple ? staple_json(*certificate.staple) : Json(nullptr);
    return json;
}

// Members of a type; the default if it is missing or of another type.

template <typename T>
T value_at(const Json& json, const char* key) {
    const auto at = json.find(key);
    if (at == json.end()) return {};
    if constexpr (std::is_same_v<T, std::string>) {
        return at->is_string() ? at->get<std::string>() : "";
    } else if constexpr (std::is_same_v<T, bool>) {
        return at->is_boolean() && at->get<bool>();
    } else {
        return at->is_number_integer() ? at->get<T>() : T{};
    }
}

std::vector<std::string> strings_at(const Json& json, const char* key) {
    std::vector<std::string> strings;
    const auto at = json.find(key);
    if (at == json.end() || !at->is_array()) return strings;
    for (const Json& entry : *at) {
        if (entry.is_string()) strings.push_back(entry.get<std::string>());
    }
    return strings;
}

std::optional<base::Time> time_at(const Json& json, const char* key) {
    base::Time time{};
    if (!base::parse_rfc3339(value_at<std::string>(json, key), time)) return std::nullopt;
    return time;
}

/// Objects of an array; none if it is missing.
std::vector<Json> objects_at(const Json& json, const char* key) {
    std::vector<Json> objects;
    const auto at = json.find(key);
    if (at == json.end() || !at->is_array()) return objects;
    for (const Json& entry : *at) {
        if (entry.is_object()) objects.push_back(entry);
    }
    return objects;
}

md::StapleReport staple_from(const Json& json) {
    md::StapleReport report;
    report.status = value_at<std::string>(json, "status");
    report.from = time_at(json, "from");
    report.until = time_at(json, "until");
    report.url = value_at<std::string>(json, "url");
    report.is_crl = value_at<std::string>(json, "source") == "crl";
    report.is_stapled = value_at<bool>(json, "stapling");
    report.has_staple = value_at<bool>(json, "stapled");
    report.refresh_at = time_at(json, "next_refresh");
    report.last_success = time_at(json, "last_answer");
    if (const int errors = value_at<int>(json, "errors"); errors > 0) {
        md::Job job;
        job.errors = errors;
        job.last = md::make_problem(EIO, value_at<std::string>(json, "last_error"));
        report.renewal = std::move(job);
    }
    return report;
}

md::CertificateSummary certificate_from(const Json& json) {
    md::CertificateSummary certificate;
    certificate.label = value_at<std::string>(json, "label");
    certificate.key_type = value_at<std::string>(json, "key_type");
    certificate.issuer = value_at<std::string>(json, "issuer");
    certificate.serial = value_at<std::string>(json, "serial");
    certificate.sha256 = value_at<std::string>(json, "sha256");
    certificate.names = strings_at(json, "names");
    certificate.not_before = time_at(json, "not_before").value_or(base::Time{});
    certificate.not_after = time_at(json, "not_after").value_or(base::Time{});
    if (const auto at = json.find("revoked"); at != json.end() && at->is_object()) {
        certificate.revoked_at = time_at(*at, "at");
        certificate.revocation_reason = value_at<std::string>(*at, "reason");
    }
    if (const auto at = json.find("ocsp"); at != json.end() && at->is_object()) {
        certificate.staple = staple_from(*at);
    }
    return certificate;
}

md::DomainSummary domain_from(const Json& json) {
    md::DomainSummary domain;
    domain.name = value_at<std::string>(json, "name");
    domain.names = strings_at(json, "names");
    domain.state = value_at<std::string>(json, "state");
    for (const Json& entry : objects_at(json, "certificates")) {
        domain.certificates.push_back(certificate_from(entry));
        domain.is_revoked = domain.is_revoked || domain.certificates.back().revoked_at;
    }
    domain.not_after = time_at(json, "not_after");
    domain.issuer = value_at<std::string>(json, "issuer");
    domain.ca_url = value_at<std::string>(json, "ca");
    domain.account = value_at<std::string>(json, "account");
    domain.renew_mode = value_at<std::string>(json, "renew_mode");
    domain.renew_window = value_at<std::string>(json, "renew_window");
    domain.next_renewal = time_at(json, "next_renewal");
    domain.advised_renewal = time_at(json, "advised_renewal");
    domain.renewal_explanation = value_at<std::string>(json, "renewal_explanation");
    domain.activity = value_at<std::string>(json, "activity");
    domain.errors = value_at<int>(json, "errors");
    domain.last_error = value_at<std::string>(json, "last_error");
    domain.last_problem = value_at<std::string>(json, "last_problem");
    domain.last_run = time_at(json, "last_run");
    domain.next_run = time_at(json, "next_run");
    domain.ready_at = time_at(json, "ready_at");
    if (const auto at = json.find("requests"); at != json.end() && at->is_object()) {
        domain.requests_done = value_at<uint64_t>(*at, "done");
        domain.request_error = value_at<std::string>(*at, "error");
        domain.is_request_pending = value_at<bool>(*at, "pending");
    }
    return domain;
}

}  // namespace

std::string json_text(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json json_time(const std::optional<base::Time>& time) {
    return time ? Json(base::format_rfc3339(*time)) : Json(nullptr);
}

Json domain_json(const md::DomainSummary& domain) {
    Json certificates = Json::array();
    for (const md::CertificateSummary& certificate : domain.certificates) {
        certificates.push_back(certificate_json(certificate));
    }
    return Json{{"name", domain.name},
                {"names", domain.names},
                {"state", domain.state},
                {"certificates", std::move(certificates)},
                {"not_after", json_time(domain.not_after)},
                {"issuer", domain.issuer},
                {"ca", text_or_null(domain.ca_url)},
                {"account", text_or_null(domain.account)},
                {"renew_mode", domain.renew_mode},
                {"renew_window", domain.renew_window},
                {"next_renewal", json_time(domain.next_renewal)},
                {"advised_renewal", json_time(domain.advised_renewal)},
                {"renewal_explanation", text_or_null(domain.renewal_explanation)},
                {"activity", domain.activity},
                {"errors", domain.errors},
                {"last_error", domain.last_error},
                {"last_problem", text_or_null(domain.last_problem)},
                {"last_run", json_time(domain.last_run)},
                {"next_run", json_time(domain.next_run)},
                {"ready_at", json_time(domain.ready_at)},
                {"requests", Json{{"done", domain.requests_done},
                                  {"pending", domain.is_request_pending},
                                  {"error", text_or_null(domain.request_error)}}}};
}

Json file_certificates_json(const std::vector<md::CertificateSummary>& certificates) {
    Json json = Json::array();
    for (const md::CertificateSummary& certificate : certificates) {
        json.push_back(certificate_json(certificate));
        json.back().erase("label");  // they have none
    }
    return json;
}

std::string domains_to_json(const std::vector<md::DomainSummary>& domains,
                            const std::vector<md::CertificateSummary>& file_certificates,
                            base::Time now) {
    Json json{{"now", json_time(now)}, {"domains", Json::array()}};
    for (const md::DomainSummary& domain : domains) json["domains"].push_back(domain_json(domain));
    json["file_certificates"] = file_certificates_json(file_certificates);
    return json_text(json);
}

std::string domain_to_json(const md::DomainSummary& domain, base::Time now) {
    return json_text(Json{{"now", json_time(now)}, {"domain", domain_json(domain)}});
}

std::string accounts_to_json(const std::vector<md::AccountSummary>& accounts) {
    Json json{{"accounts", Json::array()}};
    for (const md::AccountSummary& account : accounts) {
        json["accounts"].push_back(Json{{"id", account.id},
                                        {"ca", account.ca_url},
                                        {"url", account.url},
                                        {"status", account.status},
                                        {"contacts", account.contacts},
                                        {"key_type", account.key_type},
                                        {"domains", account.domains}});
    }
    return json_text(json);
}

std::string error_to_json(std::string_view text) {
    return json_text(Json{{"error", text}});
}

std::optional<DomainsRead> domains_from_json(std::string_view text) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) return std::nullopt;
    DomainsRead read;
    const auto now = time_at(json, "now");
    if (!now) return std::nullopt;
    read.now = *now;
    for (const Json& domain : objects_at(json, "domains")) {
        read.domains.push_back(domain_from(domain));
    }
    for (const Json& certificate : objects_at(json, "file_certificates")) {
        read.file_certificates.push_back(certificate_from(certificate));
    }
    if (const auto at = json.find("domain"); at != json.end() && at->is_object()) {
        read.domains.push_back(domain_from(*at));
    }
    return read;
}

std::optional<std::vector<md::AccountSummary>> accounts_from_json(std::string_view text) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("accounts")) return std::nullopt;
    std::vector<md::AccountSummary> accounts;
    for (const Json& entry : objects_at(json, "accounts")) {
        accounts.push_back({.id = value_at<std::string>(entry, "id"),
                            .ca_url = value_at<std::string>(entry, "ca"),
                            .url = value_at<std::string>(entry, "url"),
                            .status = value_at<std::string>(entry, "status"),
                            .contacts = strings_at(entry, "contacts"),
                            .key_type = value_at<std::string>(entry, "key_type"),
                            .domains = strings_at(entry, "domains")});
    }
    return accounts;
}

}  // namespace app
