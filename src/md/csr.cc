#include "md/csr.h"

#include <openssl/ec.h>
#include <openssl/pem.h>

#include <cerrno>
#include <memory>

#include "base/ip_address.h"
#include "base/text.h"
#include "md/openssl.h"

namespace md {

namespace {

constexpr size_t common_name_bytes_max = 63;  // RFC 5280 ub-common-name is 64; mod_md.md 5.9: < 64

void free_extensions(STACK_OF(X509_EXTENSION) * extensions) {
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}
using RequestPtr = std::unique_ptr<X509_REQ, OpenSslFree<X509_REQ_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpenSslFree<GENERAL_NAMES_free>>;
using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), OpenSslFree<free_extensions>>;

/// OpenSSL's short name for all spellings that mod_md takes (mod_md.md 1.5); "" if unknown.
std::string curve_name(const std::string& curve) {
    if (base::iequals(curve, "secp256r1")) return SN_X9_62_prime256v1;
    if (base::iequals(curve, "secp192r1")) return SN_X9_62_prime192v1;
    std::string upper = curve;
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    int nid = EC_curve_nist2nid(upper.c_str());
    if (nid == NID_undef) nid = OBJ_sn2nid(curve.c_str());
    if (nid == NID_undef) nid = OBJ_sn2nid(base::to_lower(curve).c_str());
    return nid == NID_undef ? std::string() : std::string(OBJ_nid2sn(nid));
}

EvpKeyPtr generate(const KeySpec& spec) {
    if (spec.type != KeySpec::Type::Ec) {
        const int bits = std::max(spec.bits, KeySpec::rsa_bits_default);
        return EvpKeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<size_t>(bits)));
    }
    const std::string curve = curve_name(spec.curve);
    if (curve == SN_X25519 || curve == SN_ED25519 || curve == SN_ED448) {
        return EvpKeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, curve.c_str()));
    }
    if (curve.empty()) return nullptr;
    return EvpKeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", curve.c_str()));
}

bool add_extension(STACK_OF(X509_EXTENSION) * extensions, int nid, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    if (extension == nullptr) return false;
    if (sk_X509_EXTENSION_push(extensions, extension) > 0) return true;
    X509_EXTENSION_free(extension);
    return false;
}

bool set_common_name(X509_REQ* request, const std::string& name) {
    if (name.size() > common_name_bytes_max || base::is_ip_address(name)) return true;
    return X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_ASC,
                                      reinterpret_cast<const uint8_t*>(name.data()),
                                      static_cast<int>(name.size()), -1, 0) == 1;
}

bool add_extensions(X509_REQ* request, const std::vector<std::string>& names, bool must_staple) {
    const ExtensionsPtr extensions(sk_X509_EXTENSION_new_null());
    std::string alternatives;
    for (const std::string& name : names) {
        // The names are normalised: nothing in them means anything to this syntax.
        base::check(base::normalize_name(name) == name);
        if (!alternatives.empty()) alternatives += ',';
        alternatives += (base::is_ip_address(name) ? "IP:" : "DNS:") + name;
    }
    if (!add_extension(extensions.get(), NID_subject_alt_name, alternatives)) return false;
    if (must_staple && !add_extension(extensions.get(), NID_tlsfeature, "status_request")) {
        return false;
    }
    return X509_REQ_add_extensions(request, extensions.get()) == 1;
}

std::string text_of(const GENERAL_NAME* name) {
    if (name->type != GEN_DNS && name->type != GEN_IPADD) return fmt::format("{}:", name->type);
    const uint8_t* data = ASN1_STRING_get0_data(name->d.ia5);
    const auto size = static_cast<size_t>(ASN1_STRING_length(name->d.ia5));
    if (name->type == GEN_DNS) {
        const std::string text =
            base::to_lower(std::string_view(reinterpret_cast<const char*>(data), size));
        return base::is_ip_address(text) ? fmt::format("{}:{}", name->type, text) : text;
    }
    const auto address = base::IpAddress::from_bytes({data, size});
    return address ? address->text() : fmt::format("{}:", name->type);
}

}  // namespace

Outcome<base::Secret> generate_key(const KeySpec& spec) {
    ERR_clear_error();
    const EvpKeyPtr key = generate(spec);
    if (!key) {
        return openssl_problem(EINVAL,
                               spec.type == KeySpec::Type::Ec
                                   ? fmt::format("making a key on the curve {}", spec.curve)
                                   : fmt::format("making an RSA key of {} bits", spec.bits));
    }
    auto pem = key_pem(key.get());
    if (!pem) return openssl_problem(EINVAL, "writing a private key");
    return *std::move(pem);
}

Outcome<std::vector<uint8_t>> make_csr(std::string_view key_pem,
                                       const std::vector<std::string>& names, bool must_staple) {
    base::check(!names.empty());
    ERR_clear_error();
    const EvpKeyPtr key = read_key_pem(key_pem);
    if (!key) return openssl_problem(EINVAL, "reading the key for the certificate request");
    const RequestPtr request(X509_REQ_new());
    const bool edwards =
        EVP_PKEY_is_a(key.get(), "ED25519") == 1 || EVP_PKEY_is_a(key.get(), "ED448") == 1;
    if (!request || !set_common_name(request.get(), names.front()) ||
        !add_extensions(request.get(), names, must_staple) ||
        X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
        X509_REQ_sign(request.get(), key.get(), edwards ? nullptr : EVP_sha256()) <= 0) {
        return openssl_problem(EINVAL, "making the certificate request");
    }
    uint8_t* der = nullptr;
    const int size = i2d_X509_REQ(request.get(), &der);
    if (size <= 0) return openssl_problem(EINVAL, "writing the certificate request");
    std::vector<uint8_t> bytes(der, der + size);
    OPENSSL_free(der);
    return bytes;
}

std::vector<std::string> subject_alt_names(std::span<const uint8_t> certificate_der) {
    const auto certificate = decode_der<X509Ptr>(certificate_der, d2i_X509);
    if (!certificate) return {};
    const NamesPtr names(static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
    std::vector<std::string> texts;
    if (!names) return texts;
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
        texts.push_back(text_of(sk_GENERAL_NAME_value(names.get(), i)));
    }
    return texts;
}

std::string root_name(std::string_view chain_pem) {
    const size_t last = chain_pem.rfind("-----BEGIN ");
    if (last == std::string_view::npos) return "";
    const BioPtr bio = bio_of(chain_pem.substr(last));
    if (!bio) return "";
    const X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, no_pass_phrase, nullptr));
    ERR_clear_error();
    if (!certificate) return "";
    const X509_NAME* issuer = X509_get_issuer_name(certificate.get());
    const int at = X509_NAME_get_index_by_NID(issuer, NID_commonName, -1);
    if (at < 0) return "";
    unsigned char* text = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(issuer, at)));
    if (size < 0) return "";
    std::string name(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
    return name;
}

}  // namespace md
