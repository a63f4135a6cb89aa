// Certificates for tests, made on the spot with OpenSSL.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

#include "tls/certificate.h"

namespace test {

using X509Ref = std::shared_ptr<X509>;
using KeyRef = std::shared_ptr<EVP_PKEY>;

/// "P-256", "P-384", "P-521", "RSA" (2048), "RSA-<bits>", "Ed25519", "secp256k1". Kept and shared:
/// making RSA keys is slow.
KeyRef make_key(const std::string& kind, int number = 0);

struct Issued {
    X509Ref x509;
    KeyRef key;
    std::string pem() const;
    std::string key_pem() const;
    std::vector<uint8_t> der() const;
};

struct Request {
    std::string common_name = "test";
    std::vector<std::string> names = {};
    std::string key = "P-256";
    int key_number = 0;
    bool is_ca = false;
    bool must_staple = false;
    std::string ocsp_url = {};
    size_t padding = 0;  // bytes of nsComment, to make it big
};
/// Signed by `issuer`, or by itself.
Issued issue(const Request& request, const Issued* issuer = nullptr);

/// A leaf for `names` under a fixed CA, as the product reads it.
std::shared_ptr<const tls::Certificate> certificate(const std::vector<std::string>& names,
                                                    const std::string& key = "P-256");
const Issued& test_ca();

}  // namespace test
