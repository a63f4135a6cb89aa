#include "md/status_json.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "md/json.h"
#include "md/openssl.h"

namespace md {

namespace {

std::string issuer_name(X509* certificate) {
    char* text = X509_NAME_oneline(X509_get_issuer_name(certificate), nullptr, 0);
    const std::string result = text != nullptr ? text : "";
    OPENSSL_free(text);
    return result;
}

/// The first caIssuers URI of the authority information access.
std::string issuer_uri(X509* certificate) {
    auto* access = static_cast<AUTHORITY_INFO_ACCESS*>(
        X509_get_ext_d2i(certificate, NID_info_access, nullptr, nullptr));
    std::string uri;
    for (int i = 0; uri.empty() && i < sk_ACCESS_DESCRIPTION_num(access); ++i) {
        const ACCESS_DESCRIPTION* entry = sk_ACCESS_DESCRIPTION_value(access, i);
        if (OBJ_obj2nid(entry->method) != NID_ad_ca_issuers || entry->location->type != GEN_URI) {
            continue;
        }
        const ASN1_IA5STRING* text = entry->location->d.uniformResourceIdentifier;
        uri.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                   static_cast<size_t>(ASN1_STRING_length(text)));
    }
    AUTHORITY_INFO_ACCESS_free(access);
    ERR_clear_error();
    return uri;
}

Json staple_json(const StapleReport& staple) {
    Json json;
    json["status"] = staple.status;
    if (staple.from && staple.until) json["valid"] = period_json(*staple.from, *staple.until);
    if (staple.renewal) json["renewal"] = job_to_json_value(*staple.renewal, false);
    // Ours: mod_md has no more than the above.
    json[staple.is_crl ? "crl" : "responder"] = staple.url;
    json["stapled"] = staple.has_staple;
    if (staple.refresh_at) json["refresh-at"] = base::format_http_date(*staple.refresh_at);
    if (staple.last_success) json["answered"] = base::format_http_date(*staple.last_success);
    if (staple.revoked_at) json["revoked-at"] = base::format_http_date(*staple.revoked_at);
    if (!staple.reason.empty()) json["reason"] = staple.reason;
    return json;
}

Json brief_json(const tls::Certificate& certificate) {
    Json json;
    json["valid"] = period_json(certificate.not_before, certificate.not_after);
    json["serial"] = certificate.serial;
    json["sha256-fingerprint"] = base::hex(certificate.sha256);
    return json;
}

Json full_json(const ShownCertificate& shown) {
    const tls::Certificate& certificate = *shown.certificate;
    const auto x509 = decode_der<X509Ptr>(certificate.leaf, d2i_X509);
    Json json;
    if (x509) {
        json["issuer-name"] = issuer_name(x509.get());
        if (std::string uri = issuer_uri(x509.get()); !uri.empty()) json["issuer-uri"] = uri;
    }
    json.update(brief_json(certificate));
    if (std::string id = ari_certificate_id(certificate); !id.empty()) json["ari-cert-id"] = id;
    if (shown.staple) json["ocsp"] = staple_json(*shown.staple);
    if (shown.revoked) {
        json["revoked"]["reason"] = shown.revoked->reason;
        json["revoked"]["at"] = base::format_http_date(shown.revoked->when);
    }
    return json;
}

/// What all of them share, or nothing if there are none.
std::optional<Json> common_period(const std::vector<ShownCertificate>& shown) {
    std::optional<base::Time> from;
    std::optional<base::Time> until;
    for (const ShownCertificate& entry : shown) {
        if (!entry.certificate) continue;
        from = std::max(from.value_or(base::Time::min()), entry.certificate->not_before);
        until = std::min(until.value_or(base::Time::max()), entry.certificate->not_after);
    }
    if (!from) return std::nullopt;
    // Periods that do not meet: the shape says so with an empty one.
    return period_json(*from, std::max(*from, *until));
}

Json certificates_json(const std::vector<ShownCertificate>& shown) {
    Json json = Json::object();
    for (const ShownCertificate& entry : shown) {
        if (entry.certificate) json[entry.label] = full_json(entry);
    }
    if (auto valid = common_period(shown)) json["valid"] = std::move(*valid);
    return json;
}

Json status_value(const DomainStatus& status, bool with_log) {
    Json json = domain_to_json_value(status.stored);
    if (json.contains("eab")) json["eab"]["hmac"] = "***";
    json["cert"] = certificates_json(status.served);
    if (status.renew_at) json["renew-at"] = base::format_http_date(*status.renew_at);
    if (status.advised_at != base::Time::max()) {
        json["ari"]["renew-at"] = base::format_http_date(status.advised_at);
        if (!status.explanation_url.empty()) {
            json["ari"]["explanation-url"] = status.explanation_url;
        }
    }
    json["watched"] = status.watched;
    if (status.job || status.renewal_due) json["renew"] = true;
    if (status.job) {
        json["renewal"] = job_to_json_value(*status.job, with_log);
        json["renewal"]["cert"] = certificates_json(status.staged);
    }
    if (status.error != 0) json["error"] = status.error;
    return json;
}

}  // namespace

std::string ari_certificate_id(const tls::Certificate& certificate) {
    if (certificate.authority_key_id.empty() || certificate.serial.empty() ||
        certificate.serial.front() == '-') {
        return "";
    }
    std::vector<uint8_t> serial;
    for (size_t at = 0; at + 1 < certificate.serial.size(); at += 2) {
        uint8_t byte = 0;
        const char* digits = certificate.serial.data() + at;
        (void)std::from_chars(digits, digits + 2, byte, 16);  // ours, and always hex
        serial.push_back(byte);
    }
    // The serial's DER without tag and length: two's complement, so that a number with the top bit
    // set has a zero byte before it, which mod_md leaves out.
    if (!serial.empty() && serial.front() >= 0x80) serial.insert(serial.begin(), 0);
    return base::base64url(certificate.authority_key_id) + "." + base::base64url(serial);
}

std::string md_status_list(std::span<const DomainStatus> domains) {
    std::vector<const DomainStatus*> sorted;
    for (const DomainStatus& status : domains) sorted.push_back(&status);
    std::sort(sorted.begin(), sorted.end(), [](const DomainStatus* a, const DomainStatus* b) {
        return a->stored.domain.name < b->stored.domain.name;
    });
    Json json;
    json["version"] = "mdfront/" MDFRONT_VERSION;
    for (const DomainStatus* status : sorted) {
        json["managed-domains"].push_back(status_value(*status, false));
    }
    return json_text(json);
}

std::string md_status(const DomainStatus& status) {
    return json_text(status_value(status, true));
}

std::string certificate_status(const DomainStatus& status) {
    Json json = Json::object();
    // Slots by key spec: those of static files have other names and stay empty, as in mod_md.
    std::vector<ShownCertificate> active;
    for (const KeySpec& spec : status.stored.domain.key_specs()) {
        const auto at = std::find_if(
            status.served.begin(), status.served.end(), [&](const ShownCertificate& entry) {
                return entry.certificate && entry.label == spec.status_name();
            });
        if (at != status.served.end()) active.push_back(*at);
    }
    if (auto valid = common_period(active)) json["valid"] = std::move(*valid);
    for (const KeySpec& spec : status.stored.domain.key_specs()) {
        json[spec.status_name()] = Json::object();
    }
    for (const ShownCertificate& entry : active) {
        json[entry.label] = brief_json(*entry.certificate);
        if (!entry.staple) continue;
        // mod_md tells nothing of it here. Of ours, what is nobody's secret: each handshake has it.
        Json& ocsp = json[entry.label]["ocsp"];
        ocsp["status"] = entry.staple->status;
        if (entry.staple->from && entry.staple->until) {
            ocsp["valid"] = period_json(*entry.staple->from, *entry.staple->until);
        }
    }
    if (status.job) {
        Json staged = Json::object();
        for (const ShownCertificate& entry : status.staged) {
            if (entry.certificate) staged[entry.label] = brief_json(*entry.certificate);
        }
        json["renewal"]["cert"] = std::move(staged);
    }
    return json_text(json);
}

}  // namespace md
