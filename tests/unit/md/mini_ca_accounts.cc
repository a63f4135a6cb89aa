// What the CA does beside orders: accounts that change, keys that roll, certificates that are
// revoked, chains with another root.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/text.h"
#include "catch.h"
#include "md/jws.h"
#include "mini_ca.h"

namespace md::test {

namespace {

std::string text_of(const std::string& base64url) {
    const auto bytes = base::from_base64url(base64url);
    REQUIRE(bytes);
    return {bytes->begin(), bytes->end()};
}

HttpResponse answer_json(const Json& json) {
    return {.status = 200, .fields = {{"content-type", "application/json"}}, .body = json.dump()};
}

}  // namespace

HttpResponse MiniCa::update_account(const std::string& path, const Json& payload) {
    Account& account = accounts_[base_url_ + path];
    if (payload.contains("contact")) {
        account.contacts = payload["contact"].get<std::vector<std::string>>();
    }
    return answer_json(Json{{"status", account.status}, {"contact", account.contacts}});
}

HttpResponse MiniCa::change_key(const Json& payload, const std::string& kid) {
    const std::string head_text = payload["protected"];
    const std::string body_text = payload["payload"];
    const Json head = Json::parse(text_of(head_text));
    const Json change = Json::parse(text_of(body_text));
    const auto key = key_from_jwk(head["jwk"]);
    const auto signature = base::from_base64url(payload["signature"].get<std::string>());
    REQUIRE(!head.contains("nonce"));
    REQUIRE(head["url"] == base_url_ + "/key-change");
    REQUIRE(verify_jws(key.get(), head["alg"], head_text + "." + body_text, *signature));
    Account& account = accounts_[kid];
    REQUIRE(change["account"] == kid);
    REQUIRE(jwk_thumbprint(change["oldKey"].dump()) == account.thumbprint);
    account.jwk = head["jwk"];
    account.thumbprint = jwk_thumbprint(head["jwk"].dump());
    ++keys_changed;
    return answer_json(Json{{"status", "valid"}});
}

HttpResponse MiniCa::revoke(const Json& payload, const Json& jwk, const std::string& kid) {
    const auto der = base::from_base64url(payload["certificate"].get<std::string>());
    REQUIRE(der);
    const uint8_t* at = der->data();
    const std::shared_ptr<X509> leaf(d2i_X509(nullptr, &at, static_cast<long>(der->size())),
                                     X509_free);
    REQUIRE(leaf != nullptr);
    const auto key = key_from_jwk(jwk);
    const bool by_its_key = EVP_PKEY_eq(key.get(), X509_get0_pubkey(leaf.get())) == 1;
    if (kid.empty() && !by_its_key) return problem(403, "unauthorized", "not your certificate");
    if (!kid.empty() && only_own_key_revokes) {
        return problem(403, "unauthorized", "another account's certificate");
    }
    const std::string serial =
        base::hex({ASN1_STRING_get0_data(X509_get0_serialNumber(leaf.get())),
                   static_cast<size_t>(ASN1_STRING_length(X509_get0_serialNumber(leaf.get())))});
    if (!revoked.emplace(serial, payload["reason"].get<int>()).second) {
        return problem(400, "alreadyRevoked", "twice");
    }
    return {.status = 200, .fields = {}, .body = {}};
}

/// The CA's certificate as another root has signed it.
std::string MiniCa::cross_signed(const std::string& root_name) {
    const std::shared_ptr<X509> cross(X509_dup(ca_certificate_.get()), X509_free);
    const std::shared_ptr<X509_NAME> issuer(X509_NAME_new(), X509_NAME_free);
    X509_NAME_add_entry_by_txt(issuer.get(), "CN", MBSTRING_ASC,
                               reinterpret_cast<const uint8_t*>(root_name.c_str()), -1, -1, 0);
    X509_set_issuer_name(cross.get(), issuer.get());
    X509_sign(cross.get(), ca_key_.get(), EVP_sha256());
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cross.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string pem(data, static_cast<size_t>(size));
    BIO_free(bio);
    return pem;
}

}  // namespace md::test
