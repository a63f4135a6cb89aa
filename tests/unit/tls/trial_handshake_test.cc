// A handshake in memory before a certificate is served.
#include "tls/trial_handshake.h"

#include "catch.h"
#include "tls/certificates.h"

using tls::why_no_handshake;

TEST_CASE("a handshake works with every kind of key that clients can verify") {
    for (const char* kind : {"P-256", "P-384", "P-521", "RSA", "Ed25519"}) {
        INFO(kind);
        const auto one = test::certificate({"a.example", "*.w.example"}, kind);
        CHECK(why_no_handshake(*one, "a.example").empty());
        CHECK(why_no_handshake(*one, "x.w.example").empty());
    }
}

TEST_CASE("what a look at the parts does not show comes out in the handshake") {
    SECTION("a signature that no client takes any more") {
        const test::Issued leaf = test::issue({.names = {"a.example"}}, &test::test_ca());
        REQUIRE(X509_sign(leaf.x509.get(), test::test_ca().key.get(), EVP_sha1()) > 0);
        auto one = tls::read_certificate(leaf.pem() + test::test_ca().pem(), leaf.key_pem());
        REQUIRE(one.ok());
        const std::string why = why_no_handshake(**one, "a.example");
        INFO(why);
        CHECK(why.find("too weak") != std::string::npos);
    }
    SECTION("a name that it is not for") {
        const auto one = test::certificate({"a.example"});
        CHECK(why_no_handshake(*one, "b.example").find("does not cover") != std::string::npos);
    }
    SECTION("the key of another certificate") {
        auto one = *test::certificate({"a.example"});
        one.key = test::certificate({"a.example"}, "P-384")->key;
        CHECK_FALSE(why_no_handshake(one, "a.example").empty());
    }
}
