#include "tls/private_key.h"

#include "tls/pem.h"

namespace tls {

namespace {

base::Error input_error(const char* text) {
    ERR_clear_error();
    return {base::ErrorDomain::Input, 0, text};
}

base::Result<std::shared_ptr<const KeyDer>> to_pkcs8(const EVP_PKEY* key) {
    const std::unique_ptr<PKCS8_PRIV_KEY_INFO, OpenSslDeleter<PKCS8_PRIV_KEY_INFO_free>> info(
        EVP_PKEY2PKCS8(key));
    const int size = info ? i2d_PKCS8_PRIV_KEY_INFO(info.get(), nullptr) : 0;
    if (size <= 0) return openssl_error("the private key cannot be written as PKCS#8");
    KeyDer bytes;
    bytes.resize(static_cast<size_t>(size));
    uint8_t* at = bytes.writable().data();
    i2d_PKCS8_PRIV_KEY_INFO(info.get(), &at);
    return std::make_shared<const KeyDer>(std::move(bytes));
}

/// The key in one block of PEM.
PkeyPtr decode_key(PemBlock& block, int expected) {
    if (block.label == "PRIVATE KEY") {
        if (PkeyPtr key = decode_pkcs8(block.der, expected, nullptr)) return key;
    }
    const uint8_t* at = block.der.data();
    const auto size = static_cast<long>(block.der.size());
    PkeyPtr key;
    if (block.label == "PRIVATE KEY") {
        key.reset(d2i_AutoPrivateKey(nullptr, &at, size));
    } else {
        const int type = block.label == "RSA PRIVATE KEY" ? EVP_PKEY_RSA : EVP_PKEY_EC;
        key.reset(d2i_PrivateKey(type, nullptr, &at, size));
    }
    if (at != block.der.data() + block.der.size()) return nullptr;
    return key;
}

}  // namespace

base::Result<PrivateKey> read_private_key(std::string_view pem, int expected) {
    auto blocks = read_pem(pem);
    if (!blocks) return blocks.error();
    PrivateKey result;
    for (PemBlock& block : *blocks) {
        if (block.label == "EC PARAMETERS") continue;
        if (block.encrypted || block.label == "ENCRYPTED PRIVATE KEY") {
            return input_error("the private key is encrypted");
        }
        if (block.label != "PRIVATE KEY" && block.label != "RSA PRIVATE KEY" &&
            block.label != "EC PRIVATE KEY") {
            return input_error("something other than a private key stands in the key's text");
        }
        if (result.key) return input_error("more than one private key");
        result.key = decode_key(block, expected);
        if (!result.key) return input_error("the private key cannot be read");
        if (block.label == "PRIVATE KEY") {
            result.pkcs8 = std::make_shared<const KeyDer>(std::span<const uint8_t>(block.der));
        }
    }
    if (!result.key) return input_error("no private key");
    if (!result.pkcs8) {
        auto pkcs8 = to_pkcs8(result.key.get());
        if (!pkcs8) return pkcs8.error();
        result.pkcs8 = std::move(*pkcs8);
    }
    return result;
}

}  // namespace tls
