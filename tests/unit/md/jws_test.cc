#include "md/jws.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/text.h"
#include "catch.h"
#include "mini_ca.h"

using namespace md;
using namespace md::test;

namespace {

// RFC 7515 A.2
const char* rfc7515_rsa =
    "{\"kty\":\"RSA\", \"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPd"
    "dxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6"
    "b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-U"
    "To7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-"
    "DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\", \"e\":\"AQAB\","
    " \"d\":\"Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLK"
    "MgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f"
    "3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBju"
    "dU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOne"
    "ufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ\", \"p\":\"4BzEEOtIpmVdVEZNCqS"
    "7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJd"
    "TJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwG"
    "Uc\", \"q\":\"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAj"
    "LYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTl"
    "tRJ11BKBBypeeF6689rjcJIDEz9RWdc\", \"dp\":\"BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvn"
    "LQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAk"
    "tV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0\", \"dq\":\"h_96-"
    "mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oK"
    "r6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3"
    "nssTdlqvd0tIiTHU\", \"qi\":\"IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQL"
    "dgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOg"
    "o1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U\"}";
const char* rfc7515_input =
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv"
    "bS9pc19yb290Ijp0cnVlfQ";
const char* rfc7515_rsa_signature =
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5j"
    "ujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L"
    "07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEU"
    "ipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
// RFC 7515 A.3
const char* rfc7515_ec =
    "{\"kty\":\"EC\",\"crv\":\"P-256\", \"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
    "\", \"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\", \"d\":\"jpsQnnGQmL-YBIff"
    "H1136cspYG6-0iY7X1fCE9-E9LI\"}";
const char* rfc7515_ec_input =
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv"
    "bS9pc19yb290Ijp0cnVlfQ";
const char* rfc7515_ec_signature =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

std::string pem_of(EVP_PKEY* key) {
    BIO* bio = BIO_new(BIO_s_mem());
    REQUIRE(PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string pem(data, static_cast<size_t>(size));
    BIO_free(bio);
    return pem;
}

AccountKey key_of(const char* jwk) {
    auto key = AccountKey::from_pem(pem_of(key_from_jwk(Json::parse(jwk)).get()));
    REQUIRE(key);
    return std::move(key).value();
}

std::vector<uint8_t> decode(std::string_view text) {
    return *base::from_base64url(text);
}
std::string decode_text(std::string_view text) {
    const auto bytes = decode(text);
    return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("RS256 gives the signature of RFC 7515 A.2") {
    const AccountKey key = key_of(rfc7515_rsa);
    CHECK(key.algorithm() == "RS256");
    CHECK(base::base64url(take(key.sign(rfc7515_input))) == rfc7515_rsa_signature);
}

TEST_CASE("ES256 signatures are R and S of 32 bytes each; RFC 7515 A.3 verifies") {
    const AccountKey key = key_of(rfc7515_ec);
    CHECK(key.algorithm() == "ES256");
    const auto public_key = key_from_jwk(Json::parse(key.jwk()));
    CHECK(verify_jws(public_key.get(), "ES256", rfc7515_ec_input, decode(rfc7515_ec_signature)));
    for (int i = 0; i < 50; ++i) {  // short numbers are padded
        const auto signature = take(key.sign(rfc7515_ec_input));
        REQUIRE(signature.size() == 64);
        REQUIRE(verify_jws(public_key.get(), "ES256", rfc7515_ec_input, signature));
    }
}

TEST_CASE("JWK thumbprints: RFC 7638 3.1, and members in the order that is hashed") {
    const char* example =
        "{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM7"
        "8LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ"
        "_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaS"
        "qzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6W"
        "eZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\"}";
    CHECK(jwk_thumbprint(example) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    CHECK(key_of(rfc7515_ec).jwk() ==
          "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
          ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}");
    CHECK(key_of(rfc7515_rsa).jwk().starts_with(R"({"e":"AQAB","kty":"RSA","n":"ofgWCuLj)"));
}

TEST_CASE("A request is flattened JSON with url, nonce, and kid or jwk (RFC 8555 6.2)") {
    const auto key = AccountKey::generate();
    REQUIRE(key);
    const bool known = GENERATE(true, false);
    const base::Secret pem = take(key.value().pem());
    const auto body =
        sign_jws(take(AccountKey::from_pem(pem.text())), {.url = "https://ca/x",
                                                          .nonce = "abc",
                                                          .kid = known ? "https://ca/acct/1" : "",
                                                          .payload = known ? "" : "{\"a\":1}"});
    REQUIRE(body);
    const Json json = Json::parse(body.value());
    CHECK(json.size() == 3);
    const Json head = Json::parse(decode_text(json["protected"].get<std::string>()));
    CHECK(head["url"] == "https://ca/x");
    CHECK(head["nonce"] == "abc");
    CHECK(head["alg"] == "ES256");
    CHECK(head.contains("kid") == known);
    CHECK(head.contains("jwk") != known);
    if (!known) CHECK(head["jwk"] == Json::parse(key.value().jwk()));
    CHECK(json["payload"] == (known ? "" : "eyJhIjoxfQ"));
    const auto public_key = key_from_jwk(Json::parse(key.value().jwk()));
    CHECK(
        verify_jws(public_key.get(), "ES256",
                   json["protected"].get<std::string>() + "." + json["payload"].get<std::string>(),
                   decode(json["signature"].get<std::string>())));
}

TEST_CASE("Account keys: P-256 and RSA from 2048 bits, nothing else") {
    CHECK_FALSE(AccountKey::from_pem(""));
    CHECK_FALSE(
        AccountKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
    const auto pem = [](EVP_PKEY* key) {
        std::string text = pem_of(key);
        EVP_PKEY_free(key);
        return text;
    };
    CHECK_FALSE(AccountKey::from_pem(pem(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384"))));
    CHECK_FALSE(
        AccountKey::from_pem(pem(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", size_t{1024}))));
    CHECK(AccountKey::from_pem(pem(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", size_t{3072}))));
}

TEST_CASE("External accounts are bound by HS256 over the account's JWK (RFC 8555 7.3.4)") {
    const auto key = take(AccountKey::generate());
    auto bound = sign_external_account(key, {"kid-1", "c2VjcmV0"}, "https://ca/new");
    REQUIRE(bound);
    const Json json = Json::parse(*bound);
    const Json head = Json::parse(decode_text(json["protected"].get<std::string>()));
    CHECK(head == Json{{"alg", "HS256"}, {"kid", "kid-1"}, {"url", "https://ca/new"}});
    CHECK(decode_text(json["payload"].get<std::string>()) == key.jwk());
    auto padded = sign_external_account(key, {"kid-1", "c2VjcmV0MQ=="}, "https://ca/new");
    CHECK(padded);
    for (const char* bad : {"", "not base64url!", "===", "a+b/"}) {
        CAPTURE(bad);
        const auto refused = sign_external_account(key, {"kid-1", bad}, "https://ca/new");
        REQUIRE_FALSE(refused);
        CHECK(refused.error().type == "apache:eab-hmac-invalid");
        CHECK(refused.error().pause == std::chrono::hours{24});
        CHECK((*bad == '\0' || refused.error().detail.find(bad) == std::string::npos));
    }
}
