#include "tls/certificates.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <map>

#include "base/ip_address.h"
#include "catch.h"

namespace test {

namespace {

std::string bio_text(BIO* bio) {
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio, &text);
    std::string result(text, static_cast<size_t>(size));
    BIO_free(bio);
    return result;
}

void add(X509* x509, int nid, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    REQUIRE(extension != nullptr);
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
}

}  // namespace

KeyRef make_key(const std::string& kind, int number) {
    static std::map<std::pair<std::string, int>, KeyRef> made;
    KeyRef& key = made[{kind, number}];
    if (key) return key;
    EVP_PKEY* raw = nullptr;
    if (kind == "RSA") {
        raw = EVP_RSA_gen(2048);
    } else if (kind.starts_with("RSA-")) {
        raw = EVP_RSA_gen(static_cast<size_t>(std::stoi(kind.substr(4))));
    } else if (kind == "Ed25519") {
        raw = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
    } else {
        raw = EVP_EC_gen(kind.c_str());
    }
    REQUIRE(raw != nullptr);
    key = KeyRef(raw, EVP_PKEY_free);
    return key;
}

std::string Issued::pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x509.get());
    return bio_text(bio);
}

std::string Issued::key_pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return bio_text(bio);
}

std::vector<uint8_t> Issued::der() const {
    std::vector<uint8_t> bytes(static_cast<size_t>(i2d_X509(x509.get(), nullptr)));
    uint8_t* at = bytes.data();
    i2d_X509(x509.get(), &at);
    return bytes;
}

Issued issue(const Request& request, const Issued* issuer) {
    static long serial = 0x1000;
    Issued result{X509Ref(X509_new(), X509_free), make_key(request.key, request.key_number)};
    X509* x509 = result.x509.get();
    X509_set_version(x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const uint8_t*>(request.common_name.data()),
                               static_cast<int>(request.common_name.size()), -1, 0);
    X509_set_issuer_name(x509, X509_get_subject_name(issuer ? issuer->x509.get() : x509));
    X509_set_pubkey(x509, result.key.get());
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 90 * 86400L);
    add(x509, NID_basic_constraints, request.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    std::string names;
    for (const std::string& name : request.names) {
        if (!names.empty()) names += ',';
        names += (base::is_ip_address(name) ? "IP:" : "DNS:") + name;
    }
    if (!names.empty()) add(x509, NID_subject_alt_name, names);
    if (request.must_staple) add(x509, NID_tlsfeature, "status_request");
    if (!request.ocsp_url.empty()) add(x509, NID_info_access, "OCSP;URI:" + request.ocsp_url);
    if (request.padding > 0) add(x509, NID_netscape_comment, std::string(request.padding, 'x'));
    EVP_PKEY* signer = issuer ? issuer->key.get() : result.key.get();
    const bool no_digest = EVP_PKEY_is_a(signer, "ED25519") == 1;
    REQUIRE(X509_sign(x509, signer, no_digest ? nullptr : EVP_sha256()) > 0);
    return result;
}

const Issued& test_ca() {
    static const Issued ca = issue({.common_name = "Test CA", .key_number = 99, .is_ca = true});
    return ca;
}

std::shared_ptr<const tls::Certificate> certificate(const std::vector<std::string>& names,
                                                    const std::string& key) {
    const Issued leaf =
        issue({.common_name = names.front(), .names = names, .key = key}, &test_ca());
    auto result = tls::read_certificate(leaf.pem() + test_ca().pem(), leaf.key_pem());
    REQUIRE(result.ok());
    return *result;
}

}  // namespace test
