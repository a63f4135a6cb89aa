// Certificates in OpenSSL's form: made at first use, the least recently used ones given up when
// there are too many (design.md, section 2.3). Decoding costs about a quarter of a millisecond.
//
// Worker's thread; one per worker, in the worker's library context.
#pragma once

#include <list>
#include <memory>
#include <unordered_map>

#include "tls/certificate.h"
#include "tls/library.h"

namespace tls {

/// A certificate ready to be installed in an SSL, which takes references of its own.
struct DecodedCertificate {
    X509Ptr leaf;
    PkeyPtr key;
    X509StackPtr chain;  // null if there are no intermediates
};

class CertificateCache {
  public:
    /// `entries_max` > 0.
    CertificateCache(OSSL_LIB_CTX* library, size_t entries_max);
    ~CertificateCache();
    CertificateCache(const CertificateCache&) = delete;
    CertificateCache& operator=(const CertificateCache&) = delete;

    /// The decoded form, good until the next call; null with OpenSSL's reason in the error queue.
    const DecodedCertificate* get(const std::shared_ptr<const Certificate>& certificate);
    size_t size() const { return by_certificate_.size(); }
    /// Distinct intermediates that are decoded.
    size_t chain_size() const { return chain_.size(); }

  private:
    struct Entry {
        std::shared_ptr<const Certificate> certificate;  // keeps the address, our key, taken
        DecodedCertificate decoded;
    };
    struct ChainEntry {
        std::shared_ptr<const Der> der;  // likewise
        X509Ptr x509;
        size_t users = 0;
    };
    bool decode(const Certificate& certificate, DecodedCertificate& out);
    X509* chain_certificate(const std::shared_ptr<const Der>& der);
    void drop(const Entry& entry);

    OSSL_LIB_CTX* library_;
    size_t entries_max_;
    std::list<Entry> entries_;  // most recently used first
    std::unordered_map<const Certificate*, std::list<Entry>::iterator> by_certificate_;
    std::unordered_map<const Der*, ChainEntry> chain_;
};

}  // namespace tls
