// Reading, judging and making certificates.
#include "tls/certificate.h"

#include <openssl/pem.h>

#include "catch.h"
#include "tls/certificate_cache.h"
#include "tls/certificates.h"

using namespace test;
using tls::read_certificate;

namespace {

using Bytes = std::vector<uint8_t>;

struct Pki {
    Issued root = issue({.common_name = "Root", .key_number = 1, .is_ca = true});
    Issued middle = issue({.common_name = "Middle", .key_number = 2, .is_ca = true}, &root);
    Issued leaf = issue({.common_name = "leaf",
                         .names = {"Example.ORG", "*.example.org", "example.org"},
                         .must_staple = true,
                         .ocsp_url = "http://ocsp.test/a"},
                        &middle);
};
const Pki& pki() {
    static const Pki made;
    return made;
}

std::string ec_pem(EVP_PKEY* key, const EVP_CIPHER* cipher = nullptr) {
    BIO* bio = BIO_new(BIO_s_mem());
    char password[] = "secret";
    PEM_write_bio_PrivateKey_traditional(bio, key, cipher,
                                         cipher ? reinterpret_cast<uint8_t*>(password) : nullptr,
                                         cipher ? 6 : 0, nullptr, nullptr);
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio, &text);
    std::string result(text, static_cast<size_t>(size));
    BIO_free(bio);
    return result;
}

/// The certificate, which must be readable.
std::shared_ptr<const tls::Certificate> read_good(const std::string& chain,
                                                  const std::string& key) {
    auto result = read_certificate(chain, key);
    REQUIRE(result.ok());
    return *result;
}

Bytes key_bytes(const tls::Certificate& certificate) {
    const auto bytes = certificate.key->bytes();
    return Bytes(bytes.begin(), bytes.end());
}

std::string read_error(const std::string& chain, const std::string& key) {
    const auto result = read_certificate(chain, key);
    return result.ok() ? "accepted" : result.error().message();
}

}  // namespace

TEST_CASE("read_certificate gives the facts that selection and status need") {
    const Pki& p = pki();
    const auto result =
        read_certificate(p.leaf.pem() + p.middle.pem() + p.root.pem(), p.leaf.key_pem());
    REQUIRE(result.ok());
    const tls::Certificate& c = *result.value();
    CHECK(c.leaf == p.leaf.der());
    REQUIRE(c.chain.size() == 2);
    CHECK(*c.chain[0] == p.middle.der());
    CHECK(*c.chain[1] == p.root.der());
    CHECK(c.key_type == tls::KeyType::Ecdsa);
    CHECK(c.curve == "prime256v1");
    CHECK(c.key_bits == 256);
    CHECK(c.names == std::vector<std::string>{"example.org", "*.example.org"});
    CHECK(c.issuer == "CN=Middle");
    CHECK(c.serial.size() == 4);
    CHECK(c.serial.find_first_not_of("0123456789ABCDEF") == std::string::npos);
    CHECK(c.must_staple);
    CHECK(c.ocsp_url == "http://ocsp.test/a");
    CHECK_FALSE(c.fallback);
    CHECK(c.not_after - c.not_before == std::chrono::days(90) + std::chrono::hours(1));
    CHECK(c.covers("example.org"));
    CHECK(c.covers("WWW.example.org"));
    CHECK_FALSE(c.covers("a.b.example.org"));
    CHECK_FALSE(c.covers("example.com"));
}

TEST_CASE("read_certificate gives the same object for the same texts while somebody has it") {
    const std::string chain = pki().leaf.pem() + pki().middle.pem();
    const std::string key = pki().leaf.key_pem();
    auto first = read_certificate(chain, key);
    REQUIRE(first);
    auto again = read_certificate(chain, key);
    REQUIRE(again);
    CHECK(first->get() == again->get());
    CHECK_FALSE(read_certificate(chain, pki().middle.key_pem()));
}

TEST_CASE("read_certificate accepts what RFC 7468 and openssl(1) write") {
    const Pki& p = pki();
    const std::string chain = p.leaf.pem() + p.middle.pem();
    std::string crlf;
    for (const char c : chain) crlf += c == '\n' ? "\r\n" : std::string(1, c);
    std::string indented = chain;
    for (size_t at = 0; (at = indented.find('\n', at)) != std::string::npos; at += 3) {
        indented.replace(at, 1, " \n ");
    }
    const std::string old_key = ec_pem(p.leaf.key.get());
    CHECK(read_error(chain, p.leaf.key_pem()) == "accepted");
    CHECK(read_error(crlf, p.leaf.key_pem()) == "accepted");
    CHECK(read_error(indented, p.leaf.key_pem()) == "accepted");
    CHECK(read_error("subject=CN = leaf\n\n" + p.leaf.pem() + "issuer=\xc3\xa4\t...\n" +
                         p.middle.pem() + "\n",
                     p.leaf.key_pem()) == "accepted");
    CHECK(read_error(chain, old_key) == "accepted");
    CHECK(read_error(chain,
                     "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
                     "-----END EC PARAMETERS-----\n" +
                         old_key) == "accepted");
    const Issued rsa = issue({.names = {"r.test"}, .key = "RSA"});
    CHECK(read_error(rsa.pem(), ec_pem(rsa.key.get())) == "accepted");
    const Issued ed = issue({.names = {"e.test"}, .key = "Ed25519"});
    CHECK(read_error(ed.pem(), ed.key_pem()) == "accepted");
    // Keys are kept as PKCS#8, however they came.
    CHECK(key_bytes(*read_good(chain, old_key)) == key_bytes(*read_good(chain, p.leaf.key_pem())));
}

TEST_CASE("read_certificate names the cause of each refusal") {
    const Pki& p = pki();
    const std::string leaf = p.leaf.pem();
    const std::string key = p.leaf.key_pem();
    const Issued other = issue({.names = {"other.test"}, .key_number = 7}, &p.middle);
    const Issued weak = issue({.names = {"weak.test"}, .key = "RSA-1024"});
    const Issued curve = issue({.names = {"curve.test"}, .key = "secp256k1"});
    const Issued big = issue({.names = {"big.test"}, .padding = 100 * 1024});
    std::string cut = leaf;
    cut.resize(cut.size() / 2);
    std::string damaged = leaf;
    damaged[100] = '*';
    std::string wrong_byte = leaf;
    wrong_byte[28] = 'A';  // no longer a SEQUENCE
    std::string mixed = leaf;
    mixed.replace(mixed.find("-----END CERTIFICATE"), 20, "-----END PRIVATE KEY");
    std::string long_chain = leaf;
    for (int i = 0; i < 32; ++i) long_chain += p.middle.pem();

    struct Case {
        std::string chain;
        std::string key;
        const char* message;
    };
    const Case cases[] = {
        {"", key, "no certificate"},
        {"just text\n", key, "no certificate"},
        {cut, key, "PEM block has no end"},
        {damaged, key, "PEM block is not base64"},
        {wrong_byte, key, "a certificate cannot be read"},
        {mixed, key, "PEM block ends with another label than it began with"},
        {leaf + "-----BEGIN CERT\n", key, "PEM boundary is broken"},
        {leaf + "-----END CERTIFICATE-----\n", key, "PEM boundary is broken"},
        {leaf + std::string("\0x", 2), key, "PEM text holds control bytes"},
        {"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", key,
         "PEM block is not base64"},
        {"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n", key,
         "PEM block is not base64"},
        {leaf + key, key, "a private key stands among the certificates"},
        {leaf + "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n", key,
         "something other than certificates stands in the chain"},
        {leaf + p.root.pem(), key, "a certificate in the chain is not followed by its issuer"},
        {p.middle.pem() + leaf, key, "a certificate in the chain is not followed by its issuer"},
        {leaf + leaf + p.middle.pem(), key,
         "a certificate in the chain is not followed by its issuer"},
        {long_chain, key, "more than 32 certificates"},
        {big.pem(), big.key_pem(), "the chain is longer than 96 KiB"},
        {leaf, other.key_pem(), "private key and certificate do not belong together"},
        {leaf, make_key("RSA") ? issue({.key = "RSA"}).key_pem() : "",
         "private key and certificate do not belong together"},
        {leaf, "", "no private key"},
        {leaf, leaf, "something other than a private key stands in the key's text"},
        {leaf, key + key, "more than one private key"},
        {leaf, ec_pem(p.leaf.key.get(), EVP_aes_128_cbc()), "the private key is encrypted"},
        {leaf, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
         "the private key is encrypted"},
        {leaf, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
         "the private key cannot be read"},
        {weak.pem(), weak.key_pem(), "RSA key has less than 2048 bits"},
        {curve.pem(), curve.key_pem(), "the key's curve is none of P-256, P-384 and P-521"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.message);
        CHECK(read_error(c.chain, c.key) == c.message);
    }
}

TEST_CASE("a chain cut at any byte is refused without a crash") {
    const Pki& p = pki();
    const std::string chain = p.leaf.pem();
    size_t accepted = 0;
    // The last byte is the newline, which may be missing.
    for (size_t size = 0; size + 1 < chain.size(); ++size) {
        accepted += read_certificate(chain.substr(0, size), p.leaf.key_pem()).ok() ? 1 : 0;
    }
    CHECK(accepted == 0);
}

TEST_CASE("names come from dNSName, and from the common name only without one") {
    const Issued by_cn = issue({.common_name = "Old.Test"});
    CHECK(read_good(by_cn.pem(), by_cn.key_pem())->names == std::vector<std::string>{"old.test"});
    const Issued both = issue({.common_name = "cn.test", .names = {"san.test"}});
    CHECK(read_good(both.pem(), both.key_pem())->names == std::vector<std::string>{"san.test"});
    const Issued odd = issue({.common_name = "not a name"});
    CHECK(read_good(odd.pem(), odd.key_pem())->names.empty());
}

TEST_CASE("intermediates are kept once in the process") {
    const Pki& p = pki();
    const Issued second = issue({.names = {"second.test"}}, &p.middle);
    const auto a = read_certificate(p.leaf.pem() + p.middle.pem(), p.leaf.key_pem());
    const auto b = read_certificate(second.pem() + p.middle.pem(), second.key_pem());
    REQUIRE(a.ok());
    REQUIRE(b.ok());
    CHECK(a.value()->chain[0] == b.value()->chain[0]);
}

TEST_CASE("a fallback certificate looks as mod_md's does") {
    const base::Time now = std::chrono::sys_days{std::chrono::year{2026} / 5 / 1};
    const auto made = tls::make_fallback_certificate({"a.test", "*.b.test"}, now);
    REQUIRE(made.ok());
    const tls::Certificate& c = *made.value();
    CHECK(c.fallback);
    CHECK(c.names == std::vector<std::string>{"a.test", "*.b.test"});
    CHECK(c.issuer == "CN=Apache Managed Domain Fallback");
    CHECK(c.not_before == now);
    CHECK(c.not_after == now + std::chrono::days(14));
    CHECK(c.curve == "prime256v1");
    CHECK(c.chain.empty());
    const tls::X509Ptr x509 = tls::decode_x509(c.leaf, nullptr);
    REQUIRE(x509);
    CHECK(X509_get_key_usage(x509.get()) == KU_DIGITAL_SIGNATURE);
    CHECK(X509_get_extended_key_usage(x509.get()) == XKU_SSL_SERVER);
    CHECK((X509_get_extension_flags(x509.get()) & (EXFLAG_BCONS | EXFLAG_CA | EXFLAG_SS)) ==
          (EXFLAG_BCONS | EXFLAG_SS));
    CHECK(X509_check_host(x509.get(), "x.b.test", 0, 0, nullptr) == 1);
    const auto other = tls::make_fallback_certificate({"a.test"}, now);
    CHECK(other.value()->serial != c.serial);
}

TEST_CASE("a challenge certificate holds the key authorization as RFC 8737 wants it") {
    const base::Time now = std::chrono::sys_days{std::chrono::year{2026} / 5 / 1};
    std::array<uint8_t, 32> digest{};
    for (size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<uint8_t>(i * 7);
    const auto made = tls::make_challenge_certificate("a.test", digest, now);
    REQUIRE(made.ok());
    const tls::Certificate& c = *made.value();
    CHECK_FALSE(c.fallback);
    CHECK(c.names == std::vector<std::string>{"a.test"});
    CHECK(c.issuer == "CN=tls-alpn-01-challenge");
    CHECK(c.not_after - c.not_before == std::chrono::days(7));
    const tls::X509Ptr x509 = tls::decode_x509(c.leaf, nullptr);
    ASN1_OBJECT* id = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    const int at = X509_get_ext_by_OBJ(x509.get(), id, -1);
    ASN1_OBJECT_free(id);
    REQUIRE(at >= 0);
    X509_EXTENSION* extension = X509_get_ext(x509.get(), at);
    CHECK(X509_EXTENSION_get_critical(extension) == 1);
    const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(extension);
    REQUIRE(ASN1_STRING_length(value) == 34);
    const uint8_t* bytes = ASN1_STRING_get0_data(value);
    CHECK(bytes[0] == 4);
    CHECK(bytes[1] == 32);
    CHECK(std::equal(digest.begin(), digest.end(), bytes + 2));
    const EVP_PKEY* key = X509_get0_pubkey(x509.get());
    CHECK(X509_verify(x509.get(), const_cast<EVP_PKEY*>(key)) == 1);
}

TEST_CASE("names in made certificates never pass through OpenSSL's configuration syntax") {
    const auto made = tls::make_fallback_certificate({"a.test,DNS:evil.test"}, base::Time{});
    REQUIRE(made.ok());
    CHECK(made.value()->names.empty());
}

TEST_CASE("the cache of decoded certificates is bounded and shares intermediates") {
    tls::Library library;
    REQUIRE(library);
    tls::CertificateCache cache(library.get(), 2);
    const auto a = certificate({"a.test"});
    const auto b = certificate({"b.test"});
    const auto c = certificate({"c.test"});
    const tls::DecodedCertificate* first = cache.get(a);
    REQUIRE(first != nullptr);
    X509* leaf = first->leaf.get();
    X509* issuer = sk_X509_value(first->chain.get(), 0);
    CHECK(cache.get(a)->leaf.get() == leaf);
    CHECK(sk_X509_value(cache.get(b)->chain.get(), 0) == issuer);
    CHECK(cache.chain_size() == 1);
    CHECK(cache.get(a)->leaf.get() == leaf);
    cache.get(c);  // b was used the longest ago
    CHECK(cache.size() == 2);
    CHECK(cache.get(a)->leaf.get() == leaf);
    CHECK(b.use_count() == 1);
    CHECK(a.use_count() == 2);
    const auto lonely = tls::make_fallback_certificate({"d.test"}, base::Time{});
    const auto alone = tls::make_fallback_certificate({"e.test"}, base::Time{});
    cache.get(lonely.value());
    cache.get(alone.value());
    CHECK(cache.chain_size() == 0);

    auto broken = std::make_shared<tls::Certificate>(*a);
    broken->leaf.resize(20);
    CHECK(cache.get(broken) == nullptr);
    CHECK(cache.chain_size() == 0);
    CHECK(cache.size() == 2);
    ERR_clear_error();
}

TEST_CASE("an address is covered by an iPAddress alone (RFC 2818 3.1)") {
    const Issued good =
        issue({.common_name = "192.0.2.9", .names = {"192.0.2.1", "2001:DB8:0::1", "a.test"}});
    const auto read = read_good(good.pem(), good.key_pem());
    CHECK(read->names == std::vector<std::string>{"192.0.2.1", "2001:db8::1", "a.test"});
    CHECK(read->covers("192.0.2.1"));
    CHECK(read->covers("2001:db8::1"));
    CHECK_FALSE(read->covers("192.0.2.9"));
    CHECK_FALSE(read->covers("192.0.2.2"));
    const Issued by_cn = issue({.common_name = "192.0.2.1"});
    CHECK(read_good(by_cn.pem(), by_cn.key_pem())->names.empty());
    // Nor as a dNSName, whatever clients there may be that take it.
    for (const char* name : {"172.16.0.12", "*.16.0.1234"}) {
        Issued leaf = issue({.common_name = "x"});
        GENERAL_NAME* entry = a2i_GENERAL_NAME(nullptr, nullptr, nullptr, GEN_DNS, name, 0);
        REQUIRE(entry != nullptr);
        GENERAL_NAMES* list = sk_GENERAL_NAME_new_null();
        sk_GENERAL_NAME_push(list, entry);
        REQUIRE(X509_add1_ext_i2d(leaf.x509.get(), NID_subject_alt_name, list, 0, 0) == 1);
        GENERAL_NAMES_free(list);
        REQUIRE(X509_sign(leaf.x509.get(), leaf.key.get(), EVP_sha256()) > 0);
        CHECK(read_good(leaf.pem(), leaf.key_pem())->names.empty());
    }
}

TEST_CASE("made certificates have addresses as iPAddress") {
    const auto fallback = tls::make_fallback_certificate({"a.test", "192.0.2.1", "::1"}, {});
    REQUIRE(fallback.ok());
    CHECK(fallback.value()->names == std::vector<std::string>{"a.test", "192.0.2.1", "::1"});
    const tls::X509Ptr x509 = tls::decode_x509(fallback.value()->leaf, nullptr);
    CHECK(X509_check_ip_asc(x509.get(), "192.0.2.1", 0) == 1);
    CHECK(X509_check_ip_asc(x509.get(), "::1", 0) == 1);
    CHECK(X509_check_host(x509.get(), "192.0.2.1", 0, 0, nullptr) == 0);
    CHECK(X509_check_host(x509.get(), "a.test", 0, 0, nullptr) == 1);
}
