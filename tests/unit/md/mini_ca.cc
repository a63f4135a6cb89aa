#include "mini_ca.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/ip_address.h"
#include "base/text.h"
#include "catch.h"
#include "md/jws.h"
#include "md/store_crypto.h"
#include "md/store_fixture.h"

namespace md::test {

namespace {

using KeyPtr = std::shared_ptr<EVP_PKEY>;

constexpr base::Duration reuse_max = std::chrono::hours{24 * 30};  // of a valid authorization

std::string text_of(const std::vector<uint8_t>& bytes) {
    return {bytes.begin(), bytes.end()};
}

std::string decode(const std::string& text) {
    const auto bytes = base::from_base64url(text);
    return bytes ? text_of(*bytes) : std::string();
}

/// The members that RFC 7638 hashes, in its order.
std::string canonical(const Json& jwk) {
    Json members;
    for (const char* name : {"crv", "e", "kty", "n", "x", "y"}) {
        if (jwk.contains(name)) members[name] = jwk[name];
    }
    return members.dump();
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    REQUIRE(extension != nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

void set_times(X509* certificate, base::Time from, base::Duration lifetime) {
    const auto seconds = [](base::Time time) {
        return static_cast<time_t>(
            std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count());
    };
    ASN1_TIME_set(X509_getm_notBefore(certificate), seconds(from));
    ASN1_TIME_set(X509_getm_notAfter(certificate), seconds(from + lifetime));
}

std::string pem_of(X509* certificate) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string pem(data, static_cast<size_t>(size));
    BIO_free(bio);
    return pem;
}

std::string der_of(X509* certificate) {
    uint8_t* der = nullptr;
    const int size = i2d_X509(certificate, &der);
    std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
    OPENSSL_free(der);
    return bytes;
}

/// Must-staple, if the request asks for it (RFC 7633 section 3).
void add_asked_features(X509* certificate, X509_REQ* csr) {
    STACK_OF(X509_EXTENSION)* asked = X509_REQ_get_extensions(csr);
    const int at = X509v3_get_ext_by_NID(asked, NID_tlsfeature, -1);
    if (at >= 0) X509_add_ext(certificate, X509v3_get_ext(asked, at), -1);
    sk_X509_EXTENSION_pop_free(asked, X509_EXTENSION_free);
}

HttpResponse json_answer(int status, const Json& json) {
    HttpResponse response;
    response.status = status;
    response.fields = {{"content-type", "application/json"}};
    response.body = json.dump();
    return response;
}

class MiniTransport final : public Transport {
  public:
    explicit MiniTransport(MiniCa& ca) : ca_(ca) {}
    Outcome<HttpResponse> exchange(const HttpRequest& request) override {
        return ca_.exchange(request);
    }

  private:
    MiniCa& ca_;
};

}  // namespace

std::shared_ptr<evp_pkey_st> key_from_jwk(const Json& jwk) {
    OSSL_PARAM_BLD* build = OSSL_PARAM_BLD_new();
    std::vector<BIGNUM*> numbers;
    const auto number = [&](const char* parameter, const char* member) {
        if (!jwk.contains(member)) return;
        const auto bytes = base::from_base64url(jwk[member].get<std::string>());
        REQUIRE(bytes);
        numbers.push_back(BN_bin2bn(bytes->data(), static_cast<int>(bytes->size()), nullptr));
        OSSL_PARAM_BLD_push_BN(build, parameter, numbers.back());
    };
    const bool rsa = jwk["kty"] == "RSA";
    std::string point;
    if (rsa) {
        number(OSSL_PKEY_PARAM_RSA_N, "n");
        number(OSSL_PKEY_PARAM_RSA_E, "e");
        number(OSSL_PKEY_PARAM_RSA_D, "d");
        number(OSSL_PKEY_PARAM_RSA_FACTOR1, "p");
        number(OSSL_PKEY_PARAM_RSA_FACTOR2, "q");
        number(OSSL_PKEY_PARAM_RSA_EXPONENT1, "dp");
        number(OSSL_PKEY_PARAM_RSA_EXPONENT2, "dq");
        number(OSSL_PKEY_PARAM_RSA_COEFFICIENT1, "qi");
    } else {
        point = "\x04" + decode(jwk["x"]) + decode(jwk["y"]);
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                         point.size());
        number(OSSL_PKEY_PARAM_PRIV_KEY, "d");
    }
    OSSL_PARAM* parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, rsa ? "RSA" : "EC", nullptr);
    EVP_PKEY* key = nullptr;
    EVP_PKEY_fromdata_init(context);
    (void)EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, parameters);  // key tells
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(build);
    for (BIGNUM* one : numbers) BN_free(one);
    return {key, EVP_PKEY_free};
}

bool verify_jws(evp_pkey_st* key, const std::string& algorithm, const std::string& input,
                std::span<const uint8_t> signature) {
    std::vector<uint8_t> der(signature.begin(), signature.end());
    if (algorithm == "ES256") {
        if (signature.size() != 64) return false;
        ECDSA_SIG* pair = ECDSA_SIG_new();
        ECDSA_SIG_set0(pair, BN_bin2bn(signature.data(), 32, nullptr),
                       BN_bin2bn(signature.data() + 32, 32, nullptr));
        uint8_t* bytes = nullptr;
        const int size = i2d_ECDSA_SIG(pair, &bytes);
        der.assign(bytes, bytes + size);
        OPENSSL_free(bytes);
        ECDSA_SIG_free(pair);
    }
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    const bool good =
        EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, key) == 1 &&
        EVP_DigestVerify(context, der.data(), der.size(),
                         reinterpret_cast<const uint8_t*>(input.data()), input.size()) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

MiniCa::MiniCa(base::Clock& clock, Answers& answers, std::string base_url)
    : clock_(clock),
      answers_(answers),
      base_url_(std::move(base_url)),
      ca_key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), EVP_PKEY_free),
      ca_certificate_(X509_new(), X509_free) {
    X509* ca = ca_certificate_.get();
    X509_set_version(ca, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(ca), 1);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(ca), "CN", MBSTRING_ASC,
                               reinterpret_cast<const uint8_t*>("Mini CA"), -1, -1, 0);
    X509_set_issuer_name(ca, X509_get_subject_name(ca));
    set_times(ca, clock_.now() - std::chrono::hours{24}, std::chrono::hours{24 * 3650});
    X509_set_pubkey(ca, ca_key_.get());
    add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(ca, ca, NID_subject_key_identifier, "hash");
    REQUIRE(X509_sign(ca, ca_key_.get(), EVP_sha256()) > 0);
}

MiniCa::~MiniCa() = default;

Issuer MiniCa::issuer() const {
    return {ca_certificate_, ca_key_};
}

std::unique_ptr<Transport> MiniCa::transport() {
    return std::make_unique<MiniTransport>(*this);
}

HttpResponse MiniCa::problem(int status, const std::string& type, const std::string& detail) {
    HttpResponse response = json_answer(
        status, Json{{"type", "urn:ietf:params:acme:error:" + type}, {"detail", detail}});
    response.fields = {{"content-type", "application/problem+json"}};
    return response;
}

std::string MiniCa::fresh(std::string_view kind) {
    return fmt::format("{}{}", kind, ++counter_);
}

Outcome<HttpResponse> MiniCa::exchange(const HttpRequest& request) {
    ++requests;
    log.push_back(request.method + " " + request.url.substr(base_url_.size()));
    if (before) {
        if (auto instead = before(request)) return *instead;
    }
    HttpResponse response = answer(request);
    if (request.url != directory()) {
        const std::string nonce = fresh("nonce");
        nonces_.insert(nonce);
        response.fields.emplace_back("replay-nonce", nonce);
    }
    if (after) after(request, response);
    return response;
}

HttpResponse MiniCa::answer(const HttpRequest& request) {
    if (request.url == directory()) {
        Json json;
        json["newNonce"] = base_url_ + "/new-nonce";
        json["newAccount"] = base_url_ + "/new-account";
        json["newOrder"] = base_url_ + "/new-order";
        json["revokeCert"] = base_url_ + "/revoke-cert";
        json["keyChange"] = base_url_ + "/key-change";
        if (renewal_info) json["renewalInfo"] = base_url_ + "/renewal-info";
        json["meta"]["termsOfService"] = base_url_ + "/terms";
        json["meta"]["externalAccountRequired"] = external_account_required;
        for (const std::string& name : profiles) json["meta"]["profiles"][name] = "about it";
        return json_answer(200, json);
    }
    if (request.method == "HEAD") return {.status = 200, .fields = {}, .body = {}};
    const std::string renewal_path = base_url_ + "/renewal-info/";
    if (request.method == "GET" && renewal_info && request.url.starts_with(renewal_path)) {
        return renewal_info(request.url.substr(renewal_path.size()));
    }
    return signed_request(request);
}

HttpResponse MiniCa::signed_request(const HttpRequest& request) {
    const Json body = Json::parse(request.body);
    const std::string head_text = body["protected"];
    const std::string payload_text = body["payload"];
    const Json head = Json::parse(decode(head_text));
    REQUIRE(head["url"] == request.url);
    if (nonces_.erase(head["nonce"]) != 1 || bad_nonces > 0) {
        --bad_nonces;
        return problem(400, "badNonce", "the nonce is not one of ours");
    }
    Json jwk;
    std::string kid;
    if (head.contains("kid")) {
        kid = head["kid"];
        if (!accounts_.contains(kid)) {
            return problem(400, "accountDoesNotExist", "no such account");
        }
        if (accounts_[kid].status != "valid") {
            return problem(401, "unauthorized", "the account is deactivated");
        }
        jwk = accounts_[kid].jwk;
    } else {
        jwk = head["jwk"];
    }
    const auto signature = base::from_base64url(body["signature"].get<std::string>());
    REQUIRE(signature);
    if (signatures_++ % verify_every == 0) {
        const auto key = key_from_jwk(jwk);
        REQUIRE(verify_jws(key.get(), head["alg"], head_text + "." + payload_text, *signature));
    }
    const std::string payload = decode(payload_text);
    const Json json = payload.empty() ? Json() : Json::parse(payload);
    const std::string path = request.url.substr(base_url_.size());
    if (path == "/new-account") return new_account(json, jwk);
    if (path == "/new-order") return new_order(json, kid);
    if (path == "/revoke-cert") return revoke(json, jwk, kid);
    if (path == "/key-change") return change_key(json, kid);
    if (path.starts_with("/account/")) return update_account(path, json);
    if (path.starts_with("/order/")) return show_order(path);
    if (path.starts_with("/authz/")) return show_authz(path);
    if (path.starts_with("/challenge/")) return challenge(path);
    if (path.starts_with("/finalize/")) return finalize(path, json);
    if (path.starts_with("/certificate/")) return certificate(path);
    return problem(404, "malformed", "no such resource");
}

void MiniCa::expire(base::Duration age) {
    const base::Time oldest = clock_.now() - age;
    std::erase_if(authz_, [&](const auto& entry) { return entry.second.created < oldest; });
    std::erase_if(orders_, [&](const auto& entry) {
        if (entry.second.created >= oldest) return false;
        certificates_.erase(entry.second.certificate);
        finalized.erase(entry.first);
        return true;
    });
    nonces_.clear();
    log.clear();
}

HttpResponse MiniCa::new_account(const Json& payload, const Json& jwk) {
    const std::string thumbprint = jwk_thumbprint(canonical(jwk));
    for (const auto& [url, account] : accounts_) {
        if (account.thumbprint != thumbprint) continue;
        HttpResponse response = json_answer(200, Json{{"status", account.status}});
        response.fields.emplace_back("location", url);
        return response;
    }
    if (payload.value("onlyReturnExisting", false)) {
        return problem(400, "accountDoesNotExist", "no account has this key");
    }
    if (external_account_required) {
        if (!payload.contains("externalAccountBinding")) {
            return problem(403, "externalAccountRequired", "who are you?");
        }
        const Json& eab = payload["externalAccountBinding"];
        const std::string input =
            eab["protected"].get<std::string>() + "." + eab["payload"].get<std::string>();
        uint8_t digest[32];
        HMAC(EVP_sha256(), external_account_key.data(),
             static_cast<int>(external_account_key.size()),
             reinterpret_cast<const uint8_t*>(input.data()), input.size(), digest, nullptr);
        if (base::base64url(digest) != eab["signature"].get<std::string>() ||
            decode(eab["payload"]) != canonical(jwk)) {
            return problem(403, "unauthorized", "the binding is not signed right");
        }
    }
    if (!payload.value("termsOfServiceAgreed", false)) {
        return problem(403, "userActionRequired", "agree to the terms");
    }
    const std::string url = base_url_ + fresh("/account/");
    accounts_[url] = {thumbprint, "valid", jwk,
                      payload.value("contact", std::vector<std::string>{})};
    ++accounts_made;
    HttpResponse response =
        json_answer(201, Json{{"status", "valid"}, {"orders", url + "/orders"}});
    response.fields.emplace_back("location", url);
    return response;
}

HttpResponse MiniCa::new_order(const Json& payload, const std::string& account) {
    Order order;
    order.account = account;
    order.created = clock_.now();
    last_profile = payload.value("profile", "");
    last_replaces = payload.value("replaces", "");
    if (!last_replaces.empty() && !replaced.insert(last_replaces).second) {
        return problem(409, "alreadyReplaced", "an order has replaced it");
    }
    for (const Json& identifier : payload["identifiers"]) {
        order.names.push_back(identifier["value"]);
        const std::string& name = order.names.back();
        if ((identifier["type"] == "ip") != base::is_ip_address(name)) {
            return problem(400, "unsupportedIdentifier", "the type is not the name's");
        }
        const bool wildcard = name.starts_with("*.");
        std::string path;
        for (const auto& [url, authz] : authz_) {
            const bool is_fresh = clock_.now() - authz.created < reuse_max;
            if (reuse_authorizations && is_fresh && authz.status == "valid" &&
                authz.account == account && authz.wildcard == wildcard &&
                authz.name == (wildcard ? name.substr(2) : name)) {
                path = url;
            }
        }
        if (path.empty()) {
            path = fresh("/authz/");
            authz_[path] = {.name = wildcard ? name.substr(2) : name,
                            .wildcard = wildcard,
                            .status = "pending",
                            .challenge = {},
                            .token = fresh("token-"),
                            .error = {},
                            .account = account,
                            .created = clock_.now()};
        }
        order.authz.push_back(path);
    }
    const std::string path = fresh("/order/");
    orders_[path] = order;
    progress(orders_[path]);
    ++orders_made;
    HttpResponse response = json_answer(201, order_json(path));
    response.fields.emplace_back("location", base_url_ + path);
    return response;
}

Json MiniCa::identifier(const std::string& name) const {
    const std::string shown = written_names.contains(name) ? written_names.at(name) : name;
    return Json{{"type", base::is_ip_address(name) ? "ip" : "dns"}, {"value", shown}};
}

Json MiniCa::order_json(const std::string& path) {
    const Order& order = orders_[path];
    Json json;
    json["status"] = order.status;
    for (const std::string& name : order.names) {
        json["identifiers"].push_back(identifier(name));
    }
    for (const std::string& authz : order.authz)
        json["authorizations"].push_back(base_url_ + authz);
    json["finalize"] = base_url_ + "/finalize/" + path.substr(1);
    if (order.status == "valid") json["certificate"] = base_url_ + order.certificate;
    return json;
}

void MiniCa::progress(Order& order) {
    if (order.status == "pending") {
        bool all = true;
        for (const std::string& path : order.authz) {
            if (authz_[path].status == "invalid") order.status = "invalid";
            if (authz_[path].status != "valid") all = false;
        }
        if (all) order.status = "ready";
    } else if (order.status == "processing" && order.polls_left-- <= 0) {
        order.certificate = fresh("/certificate/");
        certificates_[order.certificate] = issue(order);
        ++certificates_made;
        order.status = "valid";
    }
}

HttpResponse MiniCa::show_order(const std::string& path) {
    if (!orders_.contains(path)) return problem(404, "malformed", "no such order");
    progress(orders_[path]);
    return json_answer(200, order_json(path));
}

HttpResponse MiniCa::show_authz(const std::string& path, int status) {
    Authz& authz = authz_[path];
    if (!authz.challenge.empty() && authz.status == "pending") {
        validate(authz, accounts_[authz.account]);
    }
    Json json;
    json["status"] = authz.status;
    json["identifier"] = identifier(authz.name);
    if (authz.wildcard) json["wildcard"] = true;
    json["challenges"] = Json::array();
    for (const std::string& type : offered) {
        if (authz.wildcard && type != "dns-01") continue;
        Json challenge{{"type", type},
                       {"url", base_url_ + "/challenge/" + type + path},
                       {"token", authz.token},
                       {"status", "pending"}};
        if (type == authz.challenge) {
            challenge["status"] = authz.status == "pending" ? "processing" : authz.status;
            if (!authz.error.empty()) {
                challenge["error"] = Json{{"type", "urn:ietf:params:acme:error:" + authz.error},
                                          {"detail", "looked at " + authz.name}};
            }
        }
        json["challenges"].push_back(challenge);
    }
    return json_answer(status, json);
}

void MiniCa::validate(Authz& authz, const Account& account) {
    const std::string expected = authz.token + "." + account.thumbprint;
    bool good = false;
    if (authz.challenge == "http-01") {
        good = answers_.http01_answer(authz.name, authz.token) == expected;
    } else if (authz.challenge == "dns-01") {
        good = answers_.dns01_answer(authz.name).contains(base::base64url(sha256(expected)));
    } else if (authz.challenge == "tls-alpn-01") {
        // An address cannot stand in a ClientHello (RFC 8738 6).
        const auto address = base::IpAddress::parse(authz.name);
        const auto certificate =
            answers_.alpn_answer(address ? address->reverse_name() : authz.name);
        const auto digest = sha256(expected);
        // The extension holds the digest; where exactly is the business of tls's tests.
        good = certificate && std::search(certificate->leaf.begin(), certificate->leaf.end(),
                                          digest.begin(), digest.end()) != certificate->leaf.end();
    }
    if (refuse_names.contains(authz.name)) {
        authz.error = refuse_names[authz.name];
    } else if (!good) {
        authz.error = "unauthorized";
    }
    authz.status = authz.error.empty() ? "valid" : "invalid";
}

HttpResponse MiniCa::challenge(const std::string& path) {
    const size_t authz_at = path.find("/authz/");
    Authz& authz = authz_[path.substr(authz_at)];
    authz.challenge = path.substr(11, authz_at - 11);
    return json_answer(200, Json{{"type", authz.challenge}, {"status", "processing"}});
}

HttpResponse MiniCa::finalize(const std::string& path, const Json& payload) {
    const std::string order_path = path.substr(std::string("/finalize").size());
    if (!orders_.contains(order_path)) return problem(404, "malformed", "no such order");
    Order& order = orders_[order_path];
    progress(order);
    if (order.status != "ready") return problem(403, "orderNotReady", "it is " + order.status);
    ++finalized[order_path];
    order.csr = *base::from_base64url(payload["csr"].get<std::string>());
    last_csr = order.csr;
    order.status = "processing";
    order.polls_left = processing_polls;
    return json_answer(200, order_json(order_path));
}

std::string MiniCa::issue(const Order& order) {
    const uint8_t* at = order.csr.data();
    X509_REQ* csr = d2i_X509_REQ(nullptr, &at, static_cast<long>(order.csr.size()));
    REQUIRE(csr != nullptr);
    REQUIRE(X509_REQ_verify(csr, X509_REQ_get0_pubkey(csr)) == 1);
    std::vector<std::string> names = order.names;
    if (change_names) names = change_names(names);
    std::shared_ptr<X509> leaf(X509_new(), X509_free);
    X509_set_version(leaf.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(leaf.get()), 1000 + ++counter_);
    X509_set_issuer_name(leaf.get(), X509_get_subject_name(ca_certificate_.get()));
    set_times(leaf.get(), clock_.now() + not_before_offset, lifetime);
    X509_set_pubkey(leaf.get(), wrong_key ? ca_key_.get() : X509_REQ_get0_pubkey(csr));
    std::string alternatives;
    for (const std::string& name : names) {
        if (!alternatives.empty()) alternatives += ',';
        alternatives += (base::is_ip_address(name) ? "IP:" : "DNS:") + name;
    }
    if (names.empty()) {  // CN only
        X509_NAME_add_entry_by_txt(X509_get_subject_name(leaf.get()), "CN", MBSTRING_ASC,
                                   reinterpret_cast<const uint8_t*>(order.names.front().c_str()),
                                   -1, -1, 0);
    } else {
        add_extension(leaf.get(), ca_certificate_.get(), NID_subject_alt_name, alternatives);
    }
    add_extension(leaf.get(), ca_certificate_.get(), NID_authority_key_identifier, "keyid:always");
    if (!ocsp_url.empty()) {
        add_extension(leaf.get(), ca_certificate_.get(), NID_info_access, "OCSP;URI:" + ocsp_url);
    }
    if (!crl_url.empty()) add_crl_points(leaf.get(), {{.urls = {crl_url}}});
    add_asked_features(leaf.get(), csr);
    X509_sign(leaf.get(), ca_key_.get(), weak_signature ? EVP_sha1() : EVP_sha256());
    X509_REQ_free(csr);
    if (der_chain == "yes") return der_of(leaf.get());
    return pem_of(leaf.get()) + (without_chain ? "" : pem_of(ca_certificate_.get()));
}

HttpResponse MiniCa::certificate(const std::string& path) {
    HttpResponse response;
    response.status = 200;
    response.fields = {{"content-type", "application/pem-certificate-chain"}};
    if (path == "/certificate/issuer") {
        response.fields = {{"content-type", "application/pkix-cert"}};
        response.body = der_of(ca_certificate_.get());
        return response;
    }
    const size_t alternate_at = path.find("/alternate/");
    const std::string main_path = path.substr(0, alternate_at);
    if (!certificates_.contains(main_path)) {
        return problem(404, "malformed", "no such certificate");
    }
    response.body = certificates_[main_path];
    if (alternate_at != std::string::npos) {
        const std::string& leaf = certificates_[main_path];
        const size_t number = std::stoul(path.substr(alternate_at + 11));
        response.body =
            leaf.substr(0, leaf.find("-----BEGIN", 1)) + cross_signed(alternate_roots.at(number));
    }
    for (size_t i = 0; i < alternate_roots.size(); ++i) {
        response.fields.emplace_back(
            "link", fmt::format("<{}{}/alternate/{}>;rel=\"alternate\"", base_url_, main_path, i));
    }
    if (der_chain == "yes") {
        response.fields = {{"content-type", "application/pkix-cert"},
                           {"link", "<" + base_url_ + "/dir>;rel=\"index\""},
                           {"link", "<" + base_url_ + "/certificate/issuer>;rel=\"up\""}};
    }
    return response;
}

}  // namespace md::test
