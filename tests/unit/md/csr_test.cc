#include "md/csr.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "catch.h"
#include "mini_ca.h"

using namespace md;
using md::test::take;

namespace {

struct Request {
    explicit Request(const std::vector<uint8_t>& der) {
        const uint8_t* at = der.data();
        csr.reset(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())), X509_REQ_free);
        REQUIRE(csr);
    }
    std::string common_name() const {
        char text[256] = {};
        X509_NAME_get_text_by_NID(X509_REQ_get_subject_name(csr.get()), NID_commonName, text, 256);
        return text;
    }
    std::vector<std::string> names() const {
        std::vector<std::string> found;
        auto* extensions = X509_REQ_get_extensions(csr.get());
        auto* all = static_cast<GENERAL_NAMES*>(
            X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr));
        for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
            const GENERAL_NAME* one = sk_GENERAL_NAME_value(all, i);
            if (one->type == GEN_IPADD) {
                found.push_back("IP of " + std::to_string(ASN1_STRING_length(one->d.iPAddress)));
                continue;
            }
            const ASN1_STRING* text = one->d.dNSName;
            found.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                               static_cast<size_t>(ASN1_STRING_length(text)));
        }
        GENERAL_NAMES_free(all);
        sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
        return found;
    }
    bool must_staple() const {
        auto* extensions = X509_REQ_get_extensions(csr.get());
        const bool found = X509v3_get_ext_by_NID(extensions, NID_tlsfeature, -1) >= 0;
        sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
        return found;
    }
    std::shared_ptr<X509_REQ> csr;
};

KeySpec ec(std::string curve) {
    return {KeySpec::Type::Ec, 0, std::move(curve)};
}

}  // namespace

TEST_CASE("Keys are made as the spec says, in all spellings of curves") {
    struct Case {
        KeySpec spec;
        const char* type;
        int bits;
    };
    const std::vector<Case> cases = {
        {{}, "RSA", 2048},
        {{KeySpec::Type::Rsa, 3072, ""}, "RSA", 3072},
        {{KeySpec::Type::Rsa, 0, ""}, "RSA", 2048},
        {ec("P-256"), "EC", 256},
        {ec("p-384"), "EC", 384},
        {ec("secp384r1"), "EC", 384},
        {ec("secp256r1"), "EC", 256},
        {ec("SECP192R1"), "EC", 192},
        {ec("prime256v1"), "EC", 256},
        {ec("P-521"), "EC", 521},
    };
    for (const Case& one : cases) {
        CAPTURE(one.spec.curve, one.spec.bits);
        auto pem = generate_key(one.spec);
        REQUIRE(pem);
        CHECK(pem->text().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        auto der = make_csr(pem->text(), {"a.example"}, false);
        REQUIRE(der);
        const Request request(*der);
        EVP_PKEY* key = X509_REQ_get0_pubkey(request.csr.get());
        CHECK(EVP_PKEY_is_a(key, one.type) == 1);
        CHECK(EVP_PKEY_get_bits(key) == one.bits);
        CHECK(X509_REQ_verify(request.csr.get(), key) == 1);
    }
}

TEST_CASE("An unknown curve is named") {
    const auto key = generate_key(ec("P-257"));
    REQUIRE_FALSE(key);
    CHECK(key.error().detail.find("P-257") != std::string::npos);
}

TEST_CASE("A request has all names, and the first as CN if it is short enough (mod_md.md 5.9)") {
    const base::Secret pem = take(generate_key(ec("P-256")));
    const std::string label(50, 'a');
    const std::string name63 = label + ".b23456789012";
    REQUIRE(name63.size() == 63);
    struct Case {
        std::vector<std::string> names;
        std::string common_name;
    };
    const std::vector<Case> cases = {
        {{"a.example"}, "a.example"},
        {{"a.example", "*.b.example"}, "a.example"},
        {{name63}, name63},
        {{name63 + "x", "a.example"}, ""},
    };
    for (const Case& one : cases) {
        const Request request(take(make_csr(pem.text(), one.names, false)));
        CHECK(request.names() == one.names);
        CHECK(request.common_name() == one.common_name);
        CHECK_FALSE(request.must_staple());
    }
    CHECK(Request(take(make_csr(pem.text(), {"a.example"}, true))).must_staple());
}

TEST_CASE("A request has addresses as iPAddress, and none as CN (RFC 8738 3)") {
    const base::Secret pem = take(generate_key(ec("P-256")));
    const Request request(
        take(make_csr(pem.text(), {"192.0.2.1", "a.example", "2001:db8::1"}, false)));
    CHECK(request.names() == std::vector<std::string>{"IP of 4", "a.example", "IP of 16"});
    CHECK(request.common_name().empty());
    const Request other(take(make_csr(pem.text(), {"a.example", "192.0.2.1"}, false)));
    CHECK(other.common_name() == "a.example");
}

TEST_CASE("A request needs a key that can be read") {
    CHECK_FALSE(make_csr("", {"a.example"}, false));
    CHECK_FALSE(make_csr("rubbish", {"a.example"}, false));
}
