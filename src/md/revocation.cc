#include "md/revocation.h"

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/acme_json.h"

namespace md {

namespace {

const std::string revoked_file = "revoked.json";

struct ReasonName {
    RevocationReason reason;
    std::string_view name;
};
constexpr ReasonName reason_names[] = {
    {RevocationReason::Unspecified, "unspecified"},
    {RevocationReason::KeyCompromise, "keyCompromise"},
    {RevocationReason::AffiliationChanged, "affiliationChanged"},
    {RevocationReason::Superseded, "superseded"},
    {RevocationReason::CessationOfOperation, "cessationOfOperation"},
};

/// The CA knows the account, and does not let it revoke this certificate; or not the account.
bool is_refused_account(const Problem& problem) {
    return is_acme_error(problem, "unauthorized") || is_acme_error(problem, "accountDoesNotExist");
}

}  // namespace

std::optional<RevocationReason> parse_revocation_reason(std::string_view name) {
    for (const ReasonName& known : reason_names) {
        if (base::iequals(known.name, name)) return known.reason;
    }
    return std::nullopt;
}

std::string_view revocation_reason_name(RevocationReason reason) {
    for (const ReasonName& known : reason_names) {
        if (known.reason == reason) return known.name;
    }
    base::check(false);
    return {};
}

std::string revocation_reason_names() {
    std::string names;
    for (const ReasonName& known : reason_names) {
        names += (names.empty() ? "" : ", ") + std::string(known.name);
    }
    return names;
}

Outcome<void> revoke_certificate(AcmeClient& client, bool has_account, const Slot& slot,
                                 RevocationReason reason) {
    const std::string& url = client.directory().revoke_cert;
    if (url.empty()) {
        return make_problem(ENOENT, fmt::format("{} does not revoke certificates: its directory "
                                                "has no revokeCert; ask the CA how else",
                                                client.directory().url));
    }
    Json payload;
    payload["certificate"] = base::base64url(slot.certificate->leaf);
    payload["reason"] = static_cast<int>(reason);
    std::optional<Outcome<HttpResponse>> response;
    if (has_account) response = client.post(url, payload.dump());
    if (!response || (!*response && is_refused_account(response->error()))) {
        auto key = AccountKey::from_pem(slot.key_pem.text());
        // Keys that JWS is not made with here (P-384 and others).
        if (!key) return response ? response->error() : key.error();
        response = client.post_with_jwk(*key, url, payload.dump());
    }
    if (*response || is_acme_error(response->error(), "alreadyRevoked")) return {};
    return response->error();
}

std::vector<RevokedCertificate> load_revoked(Store& store, const std::string& domain) {
    std::vector<RevokedCertificate> revoked;
    auto text = store.load(Group::Domains, domain, revoked_file);
    if (!text || !*text) return revoked;
    std::string error;
    const Json json = parse_json(**text, error);
    const Json* list = find(json, {"certificates"});
    if (list == nullptr || !list->is_array()) {
        base::log_warn("md", domain, "domains/{}/{} cannot be read", domain, revoked_file);
        return revoked;
    }
    for (const Json& entry : *list) {
        if (!entry.is_object()) continue;
        revoked.push_back({string_at(entry, {"sha256-fingerprint"}), string_at(entry, {"serial"}),
                           string_at(entry, {"reason"}),
                           time_at(entry, {"revoked"}).value_or(base::Time{})});
    }
    return revoked;
}

Outcome<void> save_revoked(Store& store, const std::string& domain,
                           const std::vector<RevokedCertificate>& revoked) {
    Json json;
    json["certificates"] = Json::array();
    for (const RevokedCertificate& one : revoked) {
        Json entry;
        entry["serial"] = one.serial;
        entry["sha256-fingerprint"] = one.sha256;
        entry["reason"] = one.reason;
        entry["revoked"] = base::format_http_date(one.when);
        json["certificates"].push_back(std::move(entry));
    }
    return store.save(Group::Domains, domain, revoked_file, json_text(json));
}

const RevokedCertificate* find_revoked(const std::vector<RevokedCertificate>& revoked,
                                       const tls::Certificate& certificate) {
    if (revoked.empty()) return nullptr;  // as good as always
    const std::string sha256 = base::hex(certificate.sha256);
    const auto found =
        std::find_if(revoked.begin(), revoked.end(),
                     [&](const RevokedCertificate& one) { return one.sha256 == sha256; });
    return found == revoked.end() ? nullptr : &*found;
}

}  // namespace md
