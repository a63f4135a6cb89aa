// Certificates that we sign ourselves: fallback pairs and tls-alpn-01 answers, field by field as
// mod_md makes them (mod_md.md 5.7 and 5.11).
#include "base/ip_address.h"
#include "base/text.h"
#include "tls/certificate.h"
#include "tls/library.h"

namespace tls {

namespace {

using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpenSslDeleter<X509_EXTENSION_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, OpenSslDeleter<GENERAL_NAMES_free>>;
using ObjectPtr = std::unique_ptr<ASN1_OBJECT, OpenSslDeleter<ASN1_OBJECT_free>>;
using OctetsPtr = std::unique_ptr<ASN1_OCTET_STRING, OpenSslDeleter<ASN1_OCTET_STRING_free>>;

bool add_text_extension(X509* x509, int nid, const char* value) {
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
    return extension && X509_add_ext(x509, extension.get(), -1) == 1;
}

using GeneralNamePtr = std::unique_ptr<GENERAL_NAME, OpenSslDeleter<GENERAL_NAME_free>>;
using StringPtr = std::unique_ptr<ASN1_STRING, OpenSslDeleter<ASN1_STRING_free>>;

/// iPAddress for an IP address, else dNSName; null if memory is out.
GeneralNamePtr general_name(const std::string& name) {
    const std::optional<base::IpAddress> address = base::IpAddress::parse(name);
    GeneralNamePtr entry(GENERAL_NAME_new());
    StringPtr value(ASN1_STRING_type_new(address ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING));
    const void* bytes = address ? static_cast<const void*>(address->bytes().data()) : name.data();
    const size_t size = address ? address->bytes().size() : name.size();
    if (!entry || !value || ASN1_STRING_set(value.get(), bytes, static_cast<int>(size)) != 1) {
        return nullptr;
    }
    GENERAL_NAME_set0_value(entry.get(), address ? GEN_IPADD : GEN_DNS, value.release());
    return entry;
}

/// Built from parts: a name never passes through OpenSSL's configuration syntax.
bool add_names(X509* x509, const std::vector<std::string>& names) {
    const GeneralNamesPtr list(sk_GENERAL_NAME_new_null());
    if (!list) return false;
    for (const std::string& name : names) {
        GeneralNamePtr entry = general_name(name);
        if (!entry || sk_GENERAL_NAME_push(list.get(), entry.get()) == 0) return false;
        (void)entry.release();  // the list's
    }
    return X509_add1_ext_i2d(x509, NID_subject_alt_name, list.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

/// RFC 8737 section 3: acmeIdentifier, critical, an OCTET STRING of 32 bytes.
bool add_acme_identifier(X509* x509, std::span<const uint8_t, 32> digest) {
    std::array<uint8_t, 34> der{0x04, 0x20};
    std::copy(digest.begin(), digest.end(), der.begin() + 2);
    const ObjectPtr object(OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1));
    const OctetsPtr value(ASN1_OCTET_STRING_new());
    if (!object || !value ||
        ASN1_OCTET_STRING_set(value.get(), der.data(), static_cast<int>(der.size())) != 1) {
        return false;
    }
    const ExtensionPtr extension(
        X509_EXTENSION_create_by_OBJ(nullptr, object.get(), 1, value.get()));
    return extension && X509_add_ext(x509, extension.get(), -1) == 1;
}

/// Subject, issuer, random serial, dates, key and CA:FALSE.
bool fill(X509* x509, EVP_PKEY* key, const char* common_name, base::Time from, int days) {
    constexpr int serial_bits = 159;  // positive and at most 20 octets (RFC 5280 4.1.2.2)
    const BnPtr serial(BN_new());
    const time_t start = std::chrono::system_clock::to_time_t(from);
    X509_NAME* name = X509_get_subject_name(x509);
    return serial && BN_rand(serial.get(), serial_bits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
           BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(x509)) != nullptr &&
           X509_set_version(x509, X509_VERSION_3) == 1 &&
           X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC,
                                      reinterpret_cast<const uint8_t*>(common_name), -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(x509, name) == 1 && X509_set_pubkey(x509, key) == 1 &&
           ASN1_TIME_adj(X509_getm_notBefore(x509), start, 0, 0) != nullptr &&
           ASN1_TIME_adj(X509_getm_notAfter(x509), start, days, 0) != nullptr &&
           add_text_extension(x509, NID_basic_constraints, "critical,CA:FALSE");
}

using Pem = std::unique_ptr<BIO, OpenSslDeleter<BIO_free>>;

std::string_view content(const Pem& pem) {
    char* text = nullptr;
    const long size = BIO_get_mem_data(pem.get(), &text);
    return {text, static_cast<size_t>(std::max(0L, size))};
}

/// Signs, and reads the result back the way every certificate is read.
base::Result<std::shared_ptr<const Certificate>> finish(X509* x509, EVP_PKEY* key) {
    const Pem chain(BIO_new(BIO_s_mem()));
    const Pem secret(BIO_new(BIO_s_secmem()));
    if (!chain || !secret || X509_sign(x509, key, EVP_sha256()) == 0 ||
        PEM_write_bio_X509(chain.get(), x509) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(secret.get(), key, nullptr, nullptr, 0, nullptr, nullptr) !=
            1) {
        return openssl_error("making a certificate");
    }
    auto result = read_certificate(content(chain), content(secret));
    const std::string_view bytes = content(secret);
    OPENSSL_cleanse(const_cast<char*>(bytes.data()), bytes.size());
    return result;
}

}  // namespace

base::Result<std::shared_ptr<const Certificate>> make_fallback_certificate(
    const std::vector<std::string>& names, base::Time now) {
    const PkeyPtr key(EVP_EC_gen("P-256"));
    const X509Ptr x509(X509_new());
    if (!key || !x509 || !fill(x509.get(), key.get(), "Apache Managed Domain Fallback", now, 14) ||
        !add_names(x509.get(), names) ||
        !add_text_extension(x509.get(), NID_key_usage, "critical,digitalSignature") ||
        !add_text_extension(x509.get(), NID_ext_key_usage, "serverAuth")) {
        return openssl_error("making a fallback certificate");
    }
    return finish(x509.get(), key.get());
}

base::Result<std::shared_ptr<const Certificate>> make_challenge_certificate(
    const std::string& name, std::span<const uint8_t, 32> key_authorization_sha256,
    base::Time now) {
    const PkeyPtr key(EVP_EC_gen("P-256"));
    const X509Ptr x509(X509_new());
    if (!key || !x509 || !fill(x509.get(), key.get(), "tls-alpn-01-challenge", now, 7) ||
        !add_names(x509.get(), {name}) ||
        !add_acme_identifier(x509.get(), key_authorization_sha256)) {
        return openssl_error("making a challenge certificate");
    }
    return finish(x509.get(), key.get());
}

}  // namespace tls
