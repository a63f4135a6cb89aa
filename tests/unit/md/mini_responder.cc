#include "md/mini_responder.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>

#include "md/openssl.h"

namespace md::test {

namespace {

constexpr base::Duration crl_interval = std::chrono::hours{24};
constexpr int unknown_reason = -1;  // OpenSSL's number for none

using TimePtr = std::unique_ptr<ASN1_GENERALIZEDTIME, OpenSslFree<ASN1_GENERALIZEDTIME_free>>;
using IntegerPtr = std::unique_ptr<ASN1_INTEGER, OpenSslFree<ASN1_INTEGER_free>>;

time_t seconds_of(base::Time time) {
    return std::chrono::system_clock::to_time_t(time);
}

TimePtr time_from(std::optional<base::Time> time) {
    return TimePtr(time ? ASN1_GENERALIZEDTIME_set(nullptr, seconds_of(*time)) : nullptr);
}

template <typename T, typename Encode>
tls::Der encode(T* object, Encode encode_der) {
    unsigned char* out = nullptr;
    const int size = encode_der(object, &out);
    base::check(size > 0);
    tls::Der der(out, out + size);
    OPENSSL_free(out);
    return der;
}

int reason_code(const std::string& reason) {
    for (int code = 0; code <= 10 && !reason.empty(); ++code) {
        if (reason_text(code) == reason) return code;
    }
    base::check(reason.empty());
    return unknown_reason;
}

std::string serial_text(const ASN1_INTEGER* serial) {
    const BignumPtr number(ASN1_INTEGER_to_BN(serial, nullptr));
    char* hex = BN_bn2hex(number.get());
    std::string text = hex;
    OPENSSL_free(hex);
    return text;
}

IntegerPtr serial_from(const std::string& hex) {
    BIGNUM* raw = nullptr;
    base::check(BN_hex2bn(&raw, hex.c_str()) != 0);
    const BignumPtr number(raw);
    return IntegerPtr(BN_to_ASN1_INTEGER(number.get(), nullptr));
}

/// Another certificate of the same issuer.
OcspCertIdPtr sibling(OCSP_CERTID* id, int number) {
    OcspCertIdPtr other(OCSP_CERTID_dup(id));
    ASN1_INTEGER* serial = nullptr;
    OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial, other.get());
    ASN1_INTEGER_set(serial, 700 + number);
    return other;
}

void add_good(OCSP_BASICRESP* basic, OCSP_CERTID* id, ASN1_TIME* from, ASN1_TIME* until) {
    base::check(OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, nullptr, from,
                                       until) != nullptr);
}

tls::Der finish(int status, OCSP_BASICRESP* basic) {
    const OcspResponsePtr response(OCSP_response_create(status, basic));
    return encode(response.get(), i2d_OCSP_RESPONSE);
}

tls::Der der_of(const std::string& bytes) {
    return {bytes.begin(), bytes.end()};
}

/// The request of a GET's path; empty if it is none.
tls::Der from_path(std::string_view path) {
    std::string base64;
    for (size_t i = 0; i < path.size(); ++i) {
        if (path[i] != '%') {
            base64 += path[i];
        } else if (i + 2 < path.size()) {
            base64 += static_cast<char>(std::stoi(std::string(path.substr(i + 1, 2)), nullptr, 16));
            i += 2;
        }
    }
    tls::Der der(base64.size());
    const int size = EVP_DecodeBlock(der.data(), reinterpret_cast<const uint8_t*>(base64.data()),
                                     static_cast<int>(base64.size()));
    if (size < 0) return {};
    const auto padding = std::count(base64.begin(), base64.end(), '=');
    der.resize(static_cast<size_t>(size) - static_cast<size_t>(padding));
    return der;
}

bool has_field(const HttpRequest& request, const std::string& name, const std::string& value) {
    return std::find(request.fields.begin(), request.fields.end(), std::pair{name, value}) !=
           request.fields.end();
}

/// A responder of its own with a certificate of `issuer`.
Issuer delegate_of(const Issuer& issuer, const std::string& usage, base::Time from,
                   base::Duration lifetime) {
    const Pair pair = make_pair({.names = {"responder.example.net"},
                                 .from = from,
                                 .lifetime = lifetime,
                                 .serial = {0x7e},
                                 .extended_key_usage = usage,
                                 .issuer = &issuer});
    const auto read = [](const std::string& pem, auto decode) {
        BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
        auto* object = decode(bio, nullptr, nullptr, nullptr);
        base::check(object != nullptr);
        BIO_free(bio);
        return object;
    };
    return {{read(pair.chain, PEM_read_bio_X509), X509_free},
            {read(pair.key, PEM_read_bio_PrivateKey), EVP_PKEY_free}};
}

void add_scope(X509_CRL* crl, const CrlForm& form) {
    const bool is_plain = form.point_url.empty() && !form.only_ca && !form.only_attributes &&
                          !form.indirect && !form.some_reasons;
    if (is_plain) return;
    const std::unique_ptr<ISSUING_DIST_POINT, OpenSslFree<ISSUING_DIST_POINT_free>> scope(
        ISSUING_DIST_POINT_new());
    if (!form.point_url.empty()) {
        ASN1_IA5STRING* text = ASN1_IA5STRING_new();
        ASN1_STRING_set(text, form.point_url.data(), static_cast<int>(form.point_url.size()));
        GENERAL_NAME* name = GENERAL_NAME_new();
        GENERAL_NAME_set0_value(name, GEN_URI, text);
        scope->distpoint = DIST_POINT_NAME_new();
        scope->distpoint->type = 0;
        scope->distpoint->name.fullname = GENERAL_NAMES_new();
        sk_GENERAL_NAME_push(scope->distpoint->name.fullname, name);
    }
    scope->onlyCA = form.only_ca ? 0xff : -1;
    scope->onlyattr = form.only_attributes ? 0xff : -1;
    scope->indirectCRL = form.indirect ? 0xff : -1;
    if (form.some_reasons) {
        scope->onlysomereasons = ASN1_BIT_STRING_new();
        ASN1_BIT_STRING_set_bit(scope->onlysomereasons, 1, 1);  // keyCompromise
    }
    base::check(X509_CRL_add1_ext_i2d(crl, NID_issuing_distribution_point, scope.get(), 1, 0) == 1);
}

void add_unknown_extension(X509_CRL* crl) {
    ASN1_OBJECT* object = OBJ_txt2obj("1.3.6.1.4.1.55555.1", 1);
    ASN1_OCTET_STRING* value = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(value, reinterpret_cast<const unsigned char*>("\x05\x00"), 2);
    X509_EXTENSION* extension = X509_EXTENSION_create_by_OBJ(nullptr, object, 1, value);
    base::check(X509_CRL_add_ext(crl, extension, -1) == 1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(object);
}

void add_entry(X509_CRL* crl, const std::string& serial, const Verdict& verdict) {
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, serial_from(serial).get());
    X509_REVOKED_set_revocationDate(entry, time_from(verdict.revoked_at).get());
    if (const int code = reason_code(verdict.reason); code != unknown_reason) {
        const std::unique_ptr<ASN1_ENUMERATED, OpenSslFree<ASN1_ENUMERATED_free>> reason(
            ASN1_ENUMERATED_new());
        ASN1_ENUMERATED_set(reason.get(), code);
        base::check(X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason.get(), 0, 0) == 1);
    }
    base::check(X509_CRL_add0_revoked(crl, entry) == 1);
}

class ResponderTransport final : public Transport {
  public:
    explicit ResponderTransport(MiniResponder& responder) : responder_(responder) {}
    Outcome<HttpResponse> exchange(const HttpRequest& request) override {
        return responder_.exchange(request);
    }

  private:
    MiniResponder& responder_;
};

}  // namespace

MiniResponder::MiniResponder(base::Clock& clock, Issuer issuer, std::string url)
    : clock_(clock), url_(std::move(url)) {
    identities_[Signer::Issuer] = std::move(issuer);
}

std::unique_ptr<Transport> MiniResponder::transport() {
    return std::make_unique<ResponderTransport>(*this);
}

const Issuer& MiniResponder::identity(Signer signer) {
    if (const auto found = identities_.find(signer); found != identities_.end()) {
        return found->second;
    }
    constexpr base::Duration day = std::chrono::hours{24};
    const base::Time from = clock_.now() - day;
    switch (signer) {
        case Signer::Issuer:
            break;
        case Signer::Delegate:
            identities_[signer] =
                delegate_of(identity(Signer::Issuer), "OCSPSigning", from, 3650 * day);
            break;
        case Signer::DelegateWithoutUsage:
            identities_[signer] =
                delegate_of(identity(Signer::Issuer), "serverAuth", from, 3650 * day);
            break;
        case Signer::DelegateExpired:
            identities_[signer] =
                delegate_of(identity(Signer::Issuer), "OCSPSigning", from - 30 * day, 30 * day);
            break;
        case Signer::DelegateOfOther:
            identities_[signer] =
                delegate_of(identity(Signer::Foreign), "OCSPSigning", from, 3650 * day);
            break;
        case Signer::Foreign: {
            Issuer foreign = make_issuer({.from = from});
            X509* x509 = foreign.certificate.get();
            X509_NAME* name = X509_get_subject_name(identity(Signer::Issuer).certificate.get());
            X509_set_subject_name(x509, name);
            X509_set_issuer_name(x509, name);
            base::check(X509_sign(x509, foreign.key.get(), EVP_sha256()) > 0);
            identities_[signer] = std::move(foreign);
            break;
        }
    }
    return identities_.at(signer);
}

tls::Der MiniResponder::answer(std::span<const uint8_t> request_der) {
    if (form.error != 0) return finish(form.error, nullptr);
    const auto request = decode_der<OcspRequestPtr>(request_der, d2i_OCSP_REQUEST);
    if (!request || OCSP_request_onereq_count(request.get()) != 1) {
        return finish(OCSP_RESPONSE_STATUS_MALFORMEDREQUEST, nullptr);
    }
    X509* issuer = identity(Signer::Issuer).certificate.get();
    OCSP_CERTID* asked = OCSP_onereq_get0_id(OCSP_request_onereq_get0(request.get(), 0));
    const OcspCertIdPtr own(OCSP_cert_to_id(EVP_sha1(), issuer, issuer));
    if (OCSP_id_issuer_cmp(asked, own.get()) != 0) {
        return finish(OCSP_RESPONSE_STATUS_UNAUTHORIZED, nullptr);
    }
    ASN1_INTEGER* serial = nullptr;
    OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial, asked);
    const auto known = verdicts.find(serial_text(serial));
    const Verdict verdict = known != verdicts.end() ? known->second : Verdict{};

    const base::Time from = clock_.now() - form.age;
    const TimePtr this_update = time_from(from);
    const TimePtr next_update =
        time_from(form.lifetime ? std::optional(from + *form.lifetime) : std::nullopt);
    const OcspBasicPtr basic(OCSP_BASICRESP_new());
    for (int i = 0; i < form.others_first; ++i) {
        add_good(basic.get(), sibling(asked, i).get(), this_update.get(), next_update.get());
    }
    OcspCertIdPtr id(OCSP_CERTID_dup(asked));
    if (form.other_serial) id = sibling(asked, 99);
    if (form.other_issuer || form.is_sha256_id) {
        const std::shared_ptr<X509> by = form.other_issuer
                                             ? make_issuer({.name = "Other"}).certificate
                                             : identity(Signer::Issuer).certificate;
        id.reset(OCSP_cert_id_new(form.is_sha256_id ? EVP_sha256() : EVP_sha1(),
                                  X509_get_subject_name(by.get()),
                                  X509_get0_pubkey_bitstr(by.get()), serial));
    }
    const bool is_revoked = verdict.status == CertificateStatus::Revoked;
    const int status = verdict.status == CertificateStatus::Good ? V_OCSP_CERTSTATUS_GOOD
                       : is_revoked                              ? V_OCSP_CERTSTATUS_REVOKED
                                                                 : V_OCSP_CERTSTATUS_UNKNOWN;
    base::check(OCSP_basic_add1_status(
                    basic.get(), id.get(), status, reason_code(verdict.reason),
                    time_from(is_revoked ? std::optional(verdict.revoked_at) : std::nullopt).get(),
                    this_update.get(), next_update.get()) != nullptr);
    if (form.nonce == NonceReply::Echoed) {
        OCSP_copy_nonce(basic.get(), request.get());
    } else if (form.nonce == NonceReply::Other) {
        tls::Der other(16, 0xee);
        OCSP_basic_add1_nonce(basic.get(), other.data(), static_cast<int>(other.size()));
    }
    const Issuer& signer = identity(form.signer);
    base::check(OCSP_basic_sign(basic.get(), signer.certificate.get(), signer.key.get(),
                                EVP_sha256(), nullptr, 0) == 1);
    return finish(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic.get());
}

tls::Der MiniResponder::make_crl() {
    const Issuer& signer = identity(crl_form.signer);
    const X509CrlPtr crl(X509_CRL_new());
    X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(signer.certificate.get()));
    const base::Time from = clock_.now() - crl_form.age;
    X509_CRL_set1_lastUpdate(crl.get(), time_from(from).get());
    if (crl_form.lifetime) {
        X509_CRL_set1_nextUpdate(crl.get(), time_from(from + *crl_form.lifetime).get());
    }
    for (const auto& [serial, verdict] : verdicts) {
        if (verdict.status == CertificateStatus::Revoked) add_entry(crl.get(), serial, verdict);
    }
    const IntegerPtr number(ASN1_INTEGER_new());
    ASN1_INTEGER_set(number.get(), ++crl_number_);
    base::check(X509_CRL_add1_ext_i2d(crl.get(), NID_crl_number, number.get(), 0, 0) == 1);
    if (crl_form.delta) {
        base::check(X509_CRL_add1_ext_i2d(crl.get(), NID_delta_crl, number.get(), 1, 0) == 1);
    }
    add_scope(crl.get(), crl_form);
    if (crl_form.unknown_critical) add_unknown_extension(crl.get());
    X509_CRL_sort(crl.get());
    base::check(X509_CRL_sign(crl.get(), signer.key.get(), EVP_sha256()) > 0);
    return encode(crl.get(), i2d_X509_CRL);
}

void MiniResponder::publish_crl() {
    published_ = List{.der = make_crl(), .published = clock_.now(), .number = crl_number_};
}

Outcome<HttpResponse> MiniResponder::exchange(const HttpRequest& request) {
    ++requests;
    log.push_back(request.method + " " + request.url);
    if (before) {
        if (auto instead = before(request)) return *instead;
    }
    HttpResponse response = serve(request);
    if (after) after(request, response);
    return response;
}

std::optional<tls::Der> MiniResponder::question_of(const HttpRequest& request) const {
    if (request.method == "GET" && request.url.starts_with(url_ + "/")) {
        return from_path(std::string_view(request.url).substr(url_.size() + 1));
    }
    const bool is_ours = request.url == url_ || request.url == url_ + "/";
    if (request.method == "POST" && is_ours &&
        has_field(request, "Content-Type", "application/ocsp-request")) {
        return der_of(request.body);
    }
    return std::nullopt;
}

std::string MiniResponder::serial_of(std::span<const uint8_t> request_der) {
    const auto request = decode_der<OcspRequestPtr>(request_der, d2i_OCSP_REQUEST);
    if (!request || OCSP_request_onereq_count(request.get()) != 1) return "";
    ASN1_INTEGER* serial = nullptr;
    OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial,
                      OCSP_onereq_get0_id(OCSP_request_onereq_get0(request.get(), 0)));
    return serial_text(serial);
}

HttpResponse MiniResponder::serve(const HttpRequest& request) {
    HttpResponse response;
    response.status = 200;
    response.fields = {{"content-type", "application/ocsp-response"}};
    if (request.method == "GET" && request.url == crl_url) return serve_crl(request);
    const std::optional<tls::Der> asked = question_of(request);
    if (!asked) {
        response.status = 404;
        response.fields = {{"content-type", "text/html"}};
        return response;
    }
    ++(request.method == "GET" ? ocsp_gets : ocsp_posts);
    const tls::Der der = answer(*asked);
    response.body.assign(der.begin(), der.end());
    return response;
}

HttpResponse MiniResponder::serve_crl(const HttpRequest& request) {
    ++crl_gets;
    if (!published_ || clock_.now() - published_->published >= crl_interval) publish_crl();
    const std::string etag = fmt::format("\"crl-{}\"", published_->number);
    const std::string modified = base::format_http_date(published_->published);
    HttpResponse response;
    response.fields = {
        {"content-type", "application/pkix-crl"}, {"etag", etag}, {"last-modified", modified}};
    // The tag alone decides if there is one (RFC 9110 13.1.3).
    const bool has_tag =
        std::any_of(request.fields.begin(), request.fields.end(),
                    [](const auto& field) { return field.first == "If-None-Match"; });
    if (has_tag ? has_field(request, "If-None-Match", etag)
                : has_field(request, "If-Modified-Since", modified)) {
        ++crls_unchanged;
        response.status = 304;
        return response;
    }
    response.status = 200;
    response.body.assign(published_->der.begin(), published_->der.end());
    return response;
}

}  // namespace md::test
