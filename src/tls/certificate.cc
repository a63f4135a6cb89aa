#include "tls/certificate.h"

#include <mutex>
#include <unordered_map>

#include "base/ip_address.h"
#include "base/text.h"
#include "tls/library.h"
#include "tls/pem.h"
#include "tls/private_key.h"

namespace tls {

namespace {

using base::Error;
using base::ErrorDomain;

// A chain must fit what clients accept (OpenSSL's limit is 100 KiB for the whole message); a longer
// one is refused here, not in a handshake (faults.md TL-37).
constexpr size_t chain_bytes_max = 96 * 1024;
constexpr size_t chain_certificates_max = 32;
constexpr int rsa_bits_min = 2048;  // what OpenSSL's security level 2 accepts, Debian's default
constexpr std::string_view fallback_common_name = "Apache Managed Domain Fallback";

struct ExtensionDeleter {
    void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
    void operator()(AUTHORITY_INFO_ACCESS* access) const { AUTHORITY_INFO_ACCESS_free(access); }
    void operator()(TLS_FEATURE* features) const { TLS_FEATURE_free(features); }
    void operator()(AUTHORITY_KEYID* id) const { AUTHORITY_KEYID_free(id); }
};
template <typename T>
std::unique_ptr<T, ExtensionDeleter> extension(const X509* x509, int nid) {
    return std::unique_ptr<T, ExtensionDeleter>(
        static_cast<T*>(X509_get_ext_d2i(x509, nid, nullptr, nullptr)));
}

Error input_error(const char* text) {
    ERR_clear_error();
    return {ErrorDomain::Input, 0, text};
}

std::string_view view(const ASN1_STRING* text) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
            static_cast<size_t>(ASN1_STRING_length(text))};
}

struct Intermediate {
    std::shared_ptr<const Der> der;
    std::shared_ptr<X509> x509;
};

/// One copy of each intermediate in the process, and decoded once: thousands of leaves share a few
/// of them. Entries whose last user is gone are swept when the table has doubled.
class ChainTable {
  public:
    /// Null members if `der` is no certificate.
    Intermediate intern(Der der) {
        const std::string_view bytes(reinterpret_cast<const char*>(der.data()), der.size());
        const size_t hash = std::hash<std::string_view>{}(bytes);
        std::lock_guard lock(mutex_);
        const auto [first, last] = table_.equal_range(hash);
        for (auto it = first; it != last; ++it) {
            if (auto known = it->second.der.lock(); known && *known == der) {
                return {std::move(known), it->second.x509};
            }
        }
        const std::shared_ptr<X509> x509(decode_x509(der, nullptr));
        if (!x509) return {};
        // OpenSSL fills in what it remembers of the extensions at the first question. Threads share
        // this object: it is whole before another one sees it.
        (void)X509_check_purpose(x509.get(), -1, 0);
        ERR_clear_error();
        if (table_.size() >= sweep_at_) {
            std::erase_if(table_, [](const auto& entry) { return entry.second.der.expired(); });
            sweep_at_ = std::max<size_t>(64, table_.size() * 2);
        }
        auto added = std::make_shared<const Der>(std::move(der));
        table_.emplace(hash, Known{added, x509});
        return {std::move(added), x509};
    }

  private:
    struct Known {
        std::weak_ptr<const Der> der;
        std::shared_ptr<X509> x509;
    };
    std::mutex mutex_;
    std::unordered_multimap<size_t, Known> table_;
    size_t sweep_at_ = 64;
};

ChainTable& chain_table() {
    static ChainTable table;
    return table;
}

/// Certificates that are in use, by the texts that they were read from: the engine reads the files
/// of a domain several times in a renewal, a reload reads those of all, and decoding takes half a
/// millisecond. Swept as ChainTable is.
class CertificateTable {
  public:
    using Digest = std::array<uint8_t, 64>;

    /// nullopt if it cannot be computed.
    static std::optional<Digest> digest(std::string_view chain_pem, std::string_view key_pem) {
        Digest digest{};
        const auto half = [&](std::string_view text, size_t at) {
            return EVP_Digest(text.data(), text.size(), digest.data() + at, nullptr, EVP_sha256(),
                              nullptr) == 1;
        };
        if (!half(chain_pem, 0) || !half(key_pem, 32)) return std::nullopt;
        return digest;
    }
    std::shared_ptr<const Certificate> find(const Digest& digest) {
        std::lock_guard lock(mutex_);
        const auto known = table_.find(digest);
        return known == table_.end() ? nullptr : known->second.lock();
    }
    void add(const Digest& digest, const std::shared_ptr<const Certificate>& certificate) {
        std::lock_guard lock(mutex_);
        if (table_.size() >= sweep_at_) {
            std::erase_if(table_, [](const auto& entry) { return entry.second.expired(); });
            sweep_at_ = std::max<size_t>(64, table_.size() * 2);
        }
        table_[digest] = certificate;
    }

  private:
    std::mutex mutex_;
    std::map<Digest, std::weak_ptr<const Certificate>> table_;
    size_t sweep_at_ = 64;
};

CertificateTable& certificate_table() {
    static CertificateTable table;
    return table;
}

bool read_time(const ASN1_TIME* time, base::Time& out) {
    tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1) return false;
    out = base::Time(std::chrono::seconds(timegm(&parts)));
    return true;
}

std::string common_name(const X509* x509) {
    const X509_NAME* subject = X509_get_subject_name(x509);
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0) return {};
    return std::string(view(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
}

/// False if a name holds a NUL: such a certificate wants to be read in two ways (CVE-2025-66220
/// class). What is no DNS name matches nothing and is left out; so is an IP address as a dNSName or
/// common name, which no client takes for that address.
bool read_names(const X509* x509, std::vector<std::string>& out) {
    const auto keep = [&out](std::string name) {
        if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(std::move(name));
    };
    const auto add = [&keep](std::string_view name) {
        if (name.find('\0') != std::string_view::npos) return false;
        std::optional<std::string> normal = base::normalize_name(name);
        if (normal && !base::is_ip_address(*normal)) keep(std::move(*normal));
        return true;
    };
    bool has_dns_name = false;
    if (const auto names = extension<GENERAL_NAMES>(x509, NID_subject_alt_name)) {
        for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
            const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
            if (name->type == GEN_IPADD) {
                const std::string_view bytes = view(name->d.iPAddress);
                const auto address = base::IpAddress::from_bytes(
                    {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
                if (address) keep(address->text());
            }
            if (name->type != GEN_DNS) continue;
            has_dns_name = true;
            if (!add(view(name->d.dNSName))) return false;
        }
    }
    // RFC 6125 6.4.4: the common name counts only where no dNSName stands.
    return has_dns_name || add(common_name(x509));
}

std::string issuer_text(const X509* x509) {
    const BioPtr out(BIO_new(BIO_s_mem()));
    if (!out || X509_NAME_print_ex(out.get(), X509_get_issuer_name(x509), 0, XN_FLAG_RFC2253) < 0) {
        return {};
    }
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return std::string(text, static_cast<size_t>(std::max(0L, size)));
}

std::string serial_text(const X509* x509) {
    const BnPtr number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), nullptr));
    const std::unique_ptr<char, void (*)(char*)> text(number ? BN_bn2hex(number.get()) : nullptr,
                                                      [](char* p) { OPENSSL_free(p); });
    return text ? std::string(text.get()) : std::string();
}

Der authority_key_id(const X509* x509) {
    const std::unique_ptr<AUTHORITY_KEYID, ExtensionDeleter> id =
        extension<AUTHORITY_KEYID>(x509, NID_authority_key_identifier);
    if (!id || id->keyid == nullptr) return {};
    const std::string_view bytes = view(id->keyid);
    return Der(bytes.begin(), bytes.end());
}

bool must_staple(const X509* x509) {
    constexpr long status_request = 5;
    const auto features = extension<TLS_FEATURE>(x509, NID_tlsfeature);
    for (int i = 0; features && i < sk_ASN1_INTEGER_num(features.get()); ++i) {
        if (ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features.get(), i)) == status_request) {
            return true;
        }
    }
    return false;
}

std::string ocsp_url(const X509* x509) {
    const auto access = extension<AUTHORITY_INFO_ACCESS>(x509, NID_info_access);
    for (int i = 0; access && i < sk_ACCESS_DESCRIPTION_num(access.get()); ++i) {
        const ACCESS_DESCRIPTION* entry = sk_ACCESS_DESCRIPTION_value(access.get(), i);
        if (OBJ_obj2nid(entry->method) == NID_ad_OCSP && entry->location->type == GEN_URI) {
            return std::string(view(entry->location->d.uniformResourceIdentifier));
        }
    }
    return {};
}

/// Key type, curve and size; an error if no handshake could use it.
base::Status read_key_facts(const EVP_PKEY* key, Certificate& out) {
    out.key_bits = EVP_PKEY_get_bits(key);
    switch (EVP_PKEY_get_base_id(key)) {
        case EVP_PKEY_RSA:
            out.key_type = KeyType::Rsa;
            if (out.key_bits < rsa_bits_min) return input_error("RSA key has less than 2048 bits");
            return {};
        case EVP_PKEY_EC: {
            out.key_type = KeyType::Ecdsa;
            char name[64];
            size_t size = 0;
            if (EVP_PKEY_get_group_name(key, name, sizeof name, &size) == 1) out.curve = name;
            // RFC 8446 4.2.3 knows signatures for these three only.
            if (out.curve != "prime256v1" && out.curve != "secp384r1" && out.curve != "secp521r1") {
                return input_error("the key's curve is none of P-256, P-384 and P-521");
            }
            return {};
        }
        case EVP_PKEY_ED25519:
            out.key_type = KeyType::Ed25519;
            return {};
        case EVP_PKEY_ED448:
            out.key_type = KeyType::Ed448;
            return {};
        default:
            return input_error("the key is none of RSA, ECDSA, Ed25519 and Ed448");
    }
}

base::Status read_facts(const X509* leaf, Certificate& out) {
    if (const base::Status status = read_key_facts(X509_get0_pubkey(leaf), out); !status)
        return status;
    if (!read_names(leaf, out.names)) return input_error("a name in the certificate holds NUL");
    if (!read_time(X509_get0_notBefore(leaf), out.not_before) ||
        !read_time(X509_get0_notAfter(leaf), out.not_after)) {
        return input_error("the certificate's dates cannot be read");
    }
    out.issuer = issuer_text(leaf);
    out.serial = serial_text(leaf);
    out.authority_key_id = authority_key_id(leaf);
    out.must_staple = must_staple(leaf);
    out.ocsp_url = ocsp_url(leaf);
    out.fallback = common_name(leaf) == fallback_common_name &&
                   X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf)) == 0;
    if (EVP_Digest(out.leaf.data(), out.leaf.size(), out.sha256.data(), nullptr, EVP_sha256(),
                   nullptr) != 1) {
        return input_error("SHA-256 failed");
    }
    return {};
}

}  // namespace

bool Certificate::covers(std::string_view name) const {
    return std::any_of(names.begin(), names.end(), [name](const std::string& pattern) {
        return base::dns_name_matches(pattern, name);
    });
}

base::Result<std::shared_ptr<const Certificate>> read_certificate(std::string_view chain_pem,
                                                                  std::string_view key_pem) {
    const auto digest = CertificateTable::digest(chain_pem, key_pem);
    if (digest) {
        if (auto known = certificate_table().find(*digest)) return known;
    }
    auto blocks = read_pem(chain_pem);
    if (!blocks) return blocks.error();
    if (blocks->empty()) return input_error("no certificate");
    if (blocks->size() > chain_certificates_max) return input_error("more than 32 certificates");

    auto result = std::make_shared<Certificate>();
    std::shared_ptr<X509> leaf;
    std::shared_ptr<X509> last;  // who has to be issued by the next one
    size_t bytes = 0;
    for (PemBlock& block : *blocks) {
        if (block.label.ends_with("PRIVATE KEY")) {
            return input_error("a private key stands among the certificates");
        }
        if (block.label != "CERTIFICATE" && block.label != "X509 CERTIFICATE") {
            return input_error("something other than certificates stands in the chain");
        }
        bytes += block.der.size();
        if (bytes > chain_bytes_max) return input_error("the chain is longer than 96 KiB");
        if (!leaf) {
            leaf = decode_x509(block.der, nullptr);
            if (!leaf) return input_error("a certificate cannot be read");
            last = leaf;
            result->leaf = std::move(block.der);
            continue;
        }
        Intermediate next = chain_table().intern(std::move(block.der));
        if (!next.x509) return input_error("a certificate cannot be read");
        // Names and key identifiers tell the order; signatures are the business of whoever
        // verifies the chain against roots.
        if (X509_check_issued(next.x509.get(), last.get()) != X509_V_OK) {
            return input_error("a certificate in the chain is not followed by its issuer");
        }
        last = std::move(next.x509);
        result->chain.push_back(std::move(next.der));
    }

    const EVP_PKEY* public_key = X509_get0_pubkey(leaf.get());
    if (public_key == nullptr) return input_error("the certificate's public key cannot be read");
    auto key = read_private_key(key_pem, EVP_PKEY_get_base_id(public_key));
    if (!key) return key.error();
    if (X509_check_private_key(leaf.get(), key->key.get()) != 1) {
        return input_error("private key and certificate do not belong together");
    }

    result->key = std::move(key->pkcs8);
    if (const base::Status status = read_facts(leaf.get(), *result); !status) {
        return status.error();
    }
    ERR_clear_error();
    std::shared_ptr<const Certificate> certificate = std::move(result);
    if (digest) certificate_table().add(*digest, certificate);
    return certificate;
}

std::shared_ptr<x509_st> decoded_issuer(const Certificate& certificate) {
    if (certificate.chain.empty()) return nullptr;
    return chain_table().intern(*certificate.chain.front()).x509;
}

}  // namespace tls
