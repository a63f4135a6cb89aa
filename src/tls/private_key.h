// Reading a private key from PEM. Private to tls.
#pragma once

#include <string_view>

#include "tls/certificate.h"
#include "tls/library.h"

namespace tls {

struct PrivateKey {
    PkeyPtr key;
    std::shared_ptr<const KeyDer> pkcs8;
};

/// The only private key of `pem`, in PKCS#8 or its older form; a block of parameters, as
/// openssl-ecparam(1) writes it, may stand before it. `expected` is the type of key that the
/// certificate has (EVP_PKEY_RSA ...): trying that one first is three times as fast as leaving the
/// search to OpenSSL.
base::Result<PrivateKey> read_private_key(std::string_view pem, int expected);

}  // namespace tls
