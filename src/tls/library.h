// OpenSSL for this room: owning pointers, a library context per worker, and the error queue as
// text. Private to tls: nobody outside includes it.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace tls {

enum class KeyType : uint8_t;  // certificate.h
enum class Failure : uint8_t;  // failure.h

template <auto free_function>
struct OpenSslDeleter {
    template <typename T>
    void operator()(T* object) const {
        free_function(object);
    }
};
inline void free_x509_stack(STACK_OF(X509) * stack) {
    sk_X509_pop_free(stack, X509_free);
}

using BioPtr = std::unique_ptr<BIO, OpenSslDeleter<BIO_free>>;
using BnPtr = std::unique_ptr<BIGNUM, OpenSslDeleter<BN_free>>;
using CipherPtr = std::unique_ptr<EVP_CIPHER, OpenSslDeleter<EVP_CIPHER_free>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, OpenSslDeleter<EVP_PKEY_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, OpenSslDeleter<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, OpenSslDeleter<SSL_free>>;
using X509Ptr = std::unique_ptr<X509, OpenSslDeleter<X509_free>>;
using X509StackPtr = std::unique_ptr<STACK_OF(X509), OpenSslDeleter<free_x509_stack>>;

/// A library context with the default provider. A worker has one of its own, so that fetches and
/// random numbers take no lock that another worker holds (measured: -14% on two threads).
class Library {
  public:
    Library();
    /// False if OpenSSL could not make it; the reason is in the error queue.
    explicit operator bool() const { return provider_ != nullptr; }
    OSSL_LIB_CTX* get() const { return context_.get(); }

  private:
    // The provider goes before its context: members die in reverse order.
    std::unique_ptr<OSSL_LIB_CTX, OpenSslDeleter<OSSL_LIB_CTX_free>> context_;
    std::unique_ptr<OSSL_PROVIDER, OpenSslDeleter<OSSL_PROVIDER_unload>> provider_;
};

/// Empties this thread's error queue; next to nothing if it is empty already.
void clear_errors();
/// An Error of domain Tls with the oldest entry of the queue as its code; empties the queue.
base::Error openssl_error(const char* text);
/// What the queue says, for a log line: "no shared cipher", "peer's alert: bad
/// certificate". Empties the queue; "" if it was empty.
std::string take_error_text();
/// The same in three steps: the entry that says most (0: none), its text, its kind.
unsigned long take_error();
std::string error_text(unsigned long error);
Failure failure_of(unsigned long error);

/// One certificate that fills `der` entirely; null otherwise. `library` may be null: the default
/// context.
X509Ptr decode_x509(std::span<const uint8_t> der, OSSL_LIB_CTX* library);
/// A PKCS#8 key of the algorithm that OpenSSL calls `type` (EVP_PKEY_RSA ...): naming it spares
/// OpenSSL from trying all decoders (110 us against 374).
PkeyPtr decode_pkcs8(std::span<const uint8_t> der, int type, OSSL_LIB_CTX* library);
/// That name of an algorithm: EVP_PKEY_RSA ...
int openssl_type(KeyType type);

}  // namespace tls
