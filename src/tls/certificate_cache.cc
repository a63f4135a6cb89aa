#include "tls/certificate_cache.h"

namespace tls {

CertificateCache::CertificateCache(OSSL_LIB_CTX* library, size_t entries_max)
    : library_(library), entries_max_(entries_max) {
    base::check(entries_max > 0);
}

CertificateCache::~CertificateCache() = default;

const DecodedCertificate* CertificateCache::get(
    const std::shared_ptr<const Certificate>& certificate) {
    if (const auto known = by_certificate_.find(certificate.get());
        known != by_certificate_.end()) {
        entries_.splice(entries_.begin(), entries_, known->second);
        return &entries_.front().decoded;
    }
    Entry entry{certificate, {}};
    if (!decode(*certificate, entry.decoded)) {
        drop(entry);
        return nullptr;
    }
    if (entries_.size() >= entries_max_) {
        by_certificate_.erase(entries_.back().certificate.get());
        drop(entries_.back());
        entries_.pop_back();
    }
    entries_.push_front(std::move(entry));
    by_certificate_.emplace(certificate.get(), entries_.begin());
    return &entries_.front().decoded;
}

bool CertificateCache::decode(const Certificate& certificate, DecodedCertificate& out) {
    if (!certificate.chain.empty()) {
        out.chain.reset(sk_X509_new_reserve(nullptr, static_cast<int>(certificate.chain.size())));
        if (!out.chain) return false;
        for (const std::shared_ptr<const Der>& der : certificate.chain) {
            X509* x509 = chain_certificate(der);
            if (x509 == nullptr) return false;
            X509_up_ref(x509);
            sk_X509_push(out.chain.get(), x509);
        }
    }
    out.leaf = decode_x509(certificate.leaf, library_);
    out.key = decode_pkcs8(certificate.key->bytes(), openssl_type(certificate.key_type), library_);
    return out.leaf && out.key;
}

X509* CertificateCache::chain_certificate(const std::shared_ptr<const Der>& der) {
    ChainEntry& entry = chain_[der.get()];
    if (!entry.x509) {
        X509Ptr x509 = decode_x509(*der, library_);
        if (!x509) {
            chain_.erase(der.get());
            return nullptr;
        }
        entry.der = der;
        entry.x509 = std::move(x509);
    }
    ++entry.users;
    return entry.x509.get();
}

/// Takes back what decode() counted: as many intermediates as the stack holds.
void CertificateCache::drop(const Entry& entry) {
    const int count = entry.decoded.chain ? sk_X509_num(entry.decoded.chain.get()) : 0;
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        const auto used = chain_.find(entry.certificate->chain[i].get());
        if (--used->second.users == 0) chain_.erase(used);
    }
}

}  // namespace tls
