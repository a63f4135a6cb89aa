#include "md/store_crypto.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "base/random.h"
#include "catch.h"
#include "md/store_fixture.h"

using namespace md;

namespace {

std::array<uint8_t, 48> secret_with_nul() {
    std::array<uint8_t, 48> secret{};
    base::SeededRandom(7).fill(secret);
    secret[3] = 0;
    secret[20] = 0;
    return secret;
}

/// Decrypts as openssl pkcs8 does: the callback gives the pass phrase byte for byte.
EVP_PKEY* decrypt_as_openssl(const std::string& pem, std::span<const uint8_t> pass_phrase) {
    BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    const auto give = [](char* buffer, int size, int, void* user) {
        const auto& bytes = *static_cast<std::span<const uint8_t>*>(user);
        if (static_cast<size_t>(size) < bytes.size()) return -1;
        std::copy(bytes.begin(), bytes.end(), buffer);
        return static_cast<int>(bytes.size());
    };
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, give, &pass_phrase);
    BIO_free(bio);
    return key;
}

}  // namespace

TEST_CASE("store_crypto: what is encrypted comes back, also with NUL in the pass phrase") {
    const auto secret = secret_with_nul();
    for (const bool rsa : {false, true}) {
        const std::string plain = test::make_pair({.names = {"a.org"}, .rsa = rsa}).key;
        const auto encrypted = encrypt_key(plain, secret);
        REQUIRE(encrypted.ok());
        CHECK(is_encrypted_key(encrypted.value()));
        CHECK_FALSE(is_encrypted_key(plain));
        CHECK(encrypted.value() != encrypt_key(plain, secret).value());  // salted
        const auto decrypted = decrypt_key(encrypted.value(), secret);
        REQUIRE(decrypted.ok());
        CHECK(decrypted.value().text() == plain);
    }
}

TEST_CASE("store_crypto: the raw 48 bytes decrypt in OpenSSL, the base64 text does not") {
    const auto secret = secret_with_nul();
    const auto encrypted = encrypt_key(test::make_pair({.names = {"a.org"}}).key, secret);
    REQUIRE(encrypted.ok());
    EVP_PKEY* key = decrypt_as_openssl(encrypted.value(), secret);
    CHECK(key != nullptr);
    EVP_PKEY_free(key);
    const std::string text(64, 'A');
    CHECK(decrypt_as_openssl(encrypted.value(), {reinterpret_cast<const uint8_t*>(text.data()),
                                                 text.size()}) == nullptr);
    auto other = secret;
    other[47] ^= 1;
    CHECK_FALSE(decrypt_key(encrypted.value(), other).ok());
}

TEST_CASE("store_crypto: PBES2 with AES-256-CBC, HMAC-SHA256, 2048 iterations, OpenSSL's salt") {
    const auto encrypted =
        encrypt_key(test::make_pair({.names = {"a.org"}}).key, secret_with_nul());
    REQUIRE(encrypted.ok());
    BIO* bio =
        BIO_new_mem_buf(encrypted.value().data(), static_cast<int>(encrypted.value().size()));
    X509_SIG* sig = PEM_read_bio_PKCS8(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    REQUIRE(sig != nullptr);
    unsigned char* der = nullptr;
    const int size = i2d_X509_SIG(sig, &der);
    const std::string_view bytes(reinterpret_cast<const char*>(der), static_cast<size_t>(size));
    using namespace std::literals;
    CHECK(bytes.find("\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"sv) != bytes.npos);  // PBES2
    CHECK(bytes.find("\x2a\x86\x48\x86\xf7\x0d\x02\x09"sv) != bytes.npos);      // hmacWithSHA256
    CHECK(bytes.find("\x60\x86\x48\x01\x65\x03\x04\x01\x2a"sv) != bytes.npos);  // aes256-CBC
    const size_t iterations = bytes.find("\x02\x02\x08\x00"sv);                 // INTEGER 2048
    REQUIRE(iterations != bytes.npos);
    // An OCTET STRING before it: OpenSSL's default, as mod_md has it, 8 bytes or, of late, 16.
    CHECK((bytes.substr(iterations - 10, 2) == "\x04\x08"sv ||
           bytes.substr(iterations - 18, 2) == "\x04\x10"sv));
    OPENSSL_free(der);
    X509_SIG_free(sig);
}

TEST_CASE("store_crypto: keys of older mod_md, with HMAC-SHA1, are read") {
    const auto secret = secret_with_nul();
    const std::string plain = test::make_pair({.names = {"a.org"}}).key;
    BIO* in = BIO_new_mem_buf(plain.data(), static_cast<int>(plain.size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
    BIO_free(in);
    PKCS8_PRIV_KEY_INFO* info = EVP_PKEY2PKCS8(key);
    X509_ALGOR* pbe =
        PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), 2048, nullptr, 0, nullptr, NID_hmacWithSHA1);
    X509_SIG* sig = PKCS8_set0_pbe(reinterpret_cast<const char*>(secret.data()),
                                   static_cast<int>(secret.size()), info, pbe);
    REQUIRE(sig != nullptr);
    BIO* out = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8(out, sig);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    const auto decrypted = decrypt_key({data, static_cast<size_t>(size)}, secret);
    REQUIRE(decrypted.ok());
    CHECK(decrypted.value().text() == plain);
    BIO_free(out);
    X509_SIG_free(sig);
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_PKEY_free(key);
}

TEST_CASE("store_crypto: what is no key is refused with a reason") {
    const auto secret = secret_with_nul();
    for (const char* text : {"", "hello",
                             "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE "
                             "KEY-----\n",
                             "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED "
                             "PRIVATE KEY-----\n"}) {
        INFO(text);
        CHECK_FALSE(encrypt_key(text, secret).ok());
        const auto decrypted = decrypt_key(text, secret);
        REQUIRE_FALSE(decrypted.ok());
        CHECK_FALSE(decrypted.error().detail.empty());
    }
}

TEST_CASE("store_crypto: PEM armour is what OpenSSL writes") {
    const test::Pair pair = test::make_pair({.names = {"a.org"}});
    const auto certificate = tls::read_certificate(pair.chain, pair.key);
    REQUIRE(certificate.ok());
    CHECK(chain_to_pem(*certificate.value()) == pair.chain);
    CHECK(key_to_pem(*certificate.value()) == base::Secret(pair.key));
}
