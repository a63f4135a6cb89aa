#include "md/store_crypto.h"

#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include <cerrno>

#include "md/openssl.h"

namespace md {

namespace {

using Pkcs8Ptr = std::unique_ptr<PKCS8_PRIV_KEY_INFO, OpenSslFree<PKCS8_PRIV_KEY_INFO_free>>;
using EncryptedPtr = std::unique_ptr<X509_SIG, OpenSslFree<X509_SIG_free>>;

// What OpenSSL 3 in mod_md writes (mod_md.md 3.4). The pass phrase is 48 random bytes, so that the
// number of iterations adds nothing to its strength.
constexpr int iterations = 2048;

Problem failed(std::string_view what) {
    return openssl_problem(EINVAL, what);
}

/// In PKCS#8 form. A text that has it already, as keys made here do, is not decoded further: that
/// takes OpenSSL a third of a millisecond.
Outcome<Pkcs8Ptr> read_plain(std::string_view pem) {
    const BioPtr bio = bio_of(pem);
    if (!bio) return make_problem(EFBIG, "the private key is too large");
    if (pem.find("-----BEGIN PRIVATE KEY-----") != std::string_view::npos) {
        Pkcs8Ptr info(PEM_read_bio_PKCS8_PRIV_KEY_INFO(bio.get(), nullptr, nullptr, nullptr));
        if (!info) return failed("the private key cannot be read");
        return info;
    }
    const EvpKeyPtr key = read_key_pem(pem);
    if (!key) return failed("the private key cannot be read");
    Pkcs8Ptr info(EVP_PKEY2PKCS8(key.get()));
    if (!info) return failed("the private key has no PKCS#8 form");
    return info;
}

}  // namespace

Outcome<std::string> encrypt_key(std::string_view pem, std::span<const uint8_t> pass_phrase) {
    auto info = read_plain(pem);
    if (!info.ok()) return info.error();
    // With -1 as the algorithm the cipher makes it PBES2; the salt (8 bytes) is chosen inside.
    const EncryptedPtr encrypted(
        PKCS8_encrypt(-1, EVP_aes_256_cbc(), reinterpret_cast<const char*>(pass_phrase.data()),
                      static_cast<int>(pass_phrase.size()), nullptr, 0, iterations, info->get()));
    if (!encrypted) return failed("the private key cannot be encrypted");
    const BioPtr out(BIO_new(BIO_s_mem()));
    if (!out || PEM_write_bio_PKCS8(out.get(), encrypted.get()) != 1) {
        return failed("the encrypted private key cannot be written");
    }
    return contents(out.get());
}

Outcome<base::Secret> decrypt_key(std::string_view pem, std::span<const uint8_t> pass_phrase) {
    const BioPtr bio = bio_of(pem);
    if (!bio) return make_problem(EFBIG, "the private key is too large");
    const EncryptedPtr encrypted(PEM_read_bio_PKCS8(bio.get(), nullptr, no_pass_phrase, nullptr));
    if (!encrypted) return failed("this is no encrypted private key");
    const Pkcs8Ptr info(PKCS8_decrypt(encrypted.get(),
                                      reinterpret_cast<const char*>(pass_phrase.data()),
                                      static_cast<int>(pass_phrase.size())));
    if (!info) return failed("the private key cannot be decrypted");
    const EvpKeyPtr key(EVP_PKCS82PKEY(info.get()));
    if (!key) return failed("the decrypted private key cannot be understood");
    auto plain = key_pem(key.get());
    if (!plain) return failed("the private key cannot be written");
    return *std::move(plain);
}

bool is_encrypted_key(std::string_view pem) {
    return pem.find("-----BEGIN ENCRYPTED PRIVATE KEY-----") != std::string_view::npos;
}

base::Secret to_secret_pem(std::string_view label, std::span<const uint8_t> der) {
    base::Secret body;
    body.resize(4 * ((der.size() + 2) / 3) + 1);
    const int size =
        EVP_EncodeBlock(body.writable().data(), der.data(), static_cast<int>(der.size()));
    body.resize(static_cast<size_t>(size));
    const std::string begin = fmt::format("-----BEGIN {}-----\n", label);
    const std::string end = fmt::format("-----END {}-----\n", label);
    base::Secret pem;
    pem.reserve(begin.size() + body.size() + body.size() / 64 + 1 + end.size());
    pem.append(begin);
    for (size_t at = 0; at < body.size(); at += 64) {
        pem.append(body.text().substr(at, 64));
        pem.append("\n");
    }
    pem.append(end);
    return pem;
}

std::string to_pem(std::string_view label, std::span<const uint8_t> der) {
    const base::Secret pem = to_secret_pem(label, der);
    return std::string(pem.text());
}

}  // namespace md
