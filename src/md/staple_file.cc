#include "md/staple_file.h"

#include <openssl/evp.h>

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/json.h"

namespace md {

namespace {

template <size_t size>
std::array<uint8_t, size> digest(const EVP_MD* how, std::span<const uint8_t> bytes) {
    std::array<uint8_t, size> result{};
    base::check(EVP_Digest(bytes.data(), bytes.size(), result.data(), nullptr, how, nullptr) == 1);
    return result;
}

std::string sha1_hex(std::span<const uint8_t> bytes) {
    return base::hex(digest<20>(EVP_sha1(), bytes));
}

std::string sha256_text(std::span<const uint8_t> bytes) {
    return base::base64url(digest<32>(EVP_sha256(), bytes));
}

}  // namespace

std::string certificate_id(const tls::Certificate& certificate) {
    return sha1_hex(certificate.leaf);
}

std::string staple_file(const tls::Certificate& certificate) {
    return fmt::format("ocsp-{}.json", certificate_id(certificate));
}

Outcome<std::optional<OcspAnswer>> load_staple(Store& store, const std::string& owner,
                                               const tls::Certificate& certificate,
                                               const OcspQuestion& question, base::Time now) {
    const std::string file = staple_file(certificate);
    auto text = store.load(Group::Ocsp, owner, file);
    if (!text.ok()) return text.error();
    if (!*text) return std::optional<OcspAnswer>{};
    const auto unusable = [&](std::string_view why) {
        return make_problem(EINVAL, fmt::format("ocsp/{}/{}: {}", owner, file, why));
    };
    std::string error;
    const Json json = parse_json(**text, error);
    if (!json.is_object()) return unusable("it is no JSON object");
    const auto response = base::from_base64url(string_at(json, {"response"}));
    if (!response || response->empty()) return unusable("\"response\" is missing");
    // What mod_md wrote was not verified; what we wrote was.
    const bool is_ours = string_at(json, {"verified-sha256"}) == sha256_text(*response);
    auto answer = question.read(*response, {}, now, !is_ours);
    if (!answer) return unusable(answer.error().detail);
    return std::optional<OcspAnswer>(std::move(answer).value());
}

Outcome<void> save_staple(Store& store, const std::string& owner,
                          const tls::Certificate& certificate, const OcspAnswer& answer) {
    Json json;
    json["response"] = base::base64url(answer.response);
    json["status"] = certificate_status_name(answer.status);
    json["valid"] = period_json(answer.from, answer.until);
    json["verified-sha256"] = sha256_text(answer.response);
    return store.save(Group::Ocsp, owner, staple_file(certificate), json_text(json));
}

std::string crl_file(const std::string& url, const tls::Der& issuer) {
    tls::Der key = issuer;
    key.insert(key.end(), url.begin(), url.end());
    return fmt::format("crl-{}.json", sha1_hex(key));
}

std::optional<CrlFindings> load_crl_findings(Store& store, const std::string& file) {
    auto text = store.load(Group::Ocsp, other_owner, file);
    if (!text.ok() || !*text) return std::nullopt;
    std::string error;
    const Json json = parse_json(**text, error);
    const auto from = time_at(json, {"valid", "from"});
    const auto until = time_at(json, {"valid", "until"});
    const Json* serials = find(json, {"certificates"});
    if (!from || !until || serials == nullptr || !serials->is_object()) return std::nullopt;
    CrlFindings findings;
    findings.validators = {string_at(json, {"etag"}), string_at(json, {"last-modified"})};
    findings.from = *from;
    findings.until = *until;
    for (const auto& [serial, entry] : serials->items()) {
        std::optional<CrlEntry>& found = findings.by_serial[serial];
        if (string_at(entry, {"status"}) != "revoked") continue;
        found = CrlEntry{time_at(entry, {"revoked"}).value_or(*from), string_at(entry, {"reason"})};
    }
    return findings;
}

Outcome<void> save_crl_findings(Store& store, const std::string& file, const std::string& url,
                                const CrlFindings& findings) {
    Json json;
    json["url"] = url;
    if (!findings.validators.etag.empty()) json["etag"] = findings.validators.etag;
    if (!findings.validators.last_modified.empty()) {
        json["last-modified"] = findings.validators.last_modified;
    }
    json["valid"] = period_json(findings.from, findings.until);
    json["certificates"] = Json::object();
    for (const auto& [serial, found] : findings.by_serial) {
        Json& entry = json["certificates"][serial];
        entry["status"] =
            certificate_status_name(found ? CertificateStatus::Revoked : CertificateStatus::Good);
        if (!found) continue;
        entry["revoked"] = base::format_http_date(found->revoked_at);
        entry["reason"] = found->reason;
    }
    return store.save(Group::Ocsp, other_owner, file, json_text(json));
}

size_t remove_old_staples(Store& store, const std::set<std::string>& used, base::Duration keep,
                          base::Time now) {
    size_t removed = 0;
    auto owners = store.names(Group::Ocsp);
    if (!owners.ok()) return 0;
    for (const std::string& owner : *owners) {
        auto files = store.aspects(Group::Ocsp, owner);
        if (!files.ok()) continue;
        for (const std::string& file : *files) {
            const bool is_answer = file.starts_with("ocsp") || file.starts_with("crl-");
            if (!is_answer || !file.ends_with(".json") || used.contains(file)) continue;
            const auto written = store.modified(Group::Ocsp, owner, file);
            if (!written || *written >= now - keep) continue;
            if (auto gone = store.remove(Group::Ocsp, owner, file); gone.ok()) {
                ++removed;
            } else {
                base::log_warn("md", owner, "{}", gone.error().message());
            }
        }
    }
    return removed;
}

}  // namespace md
