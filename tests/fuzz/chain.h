// What the corpora of OCSP answers and CRLs are about: a certificate, its issuer, and a time.
#pragma once

#include <openssl/bio.h>
#include <openssl/pem.h>

#include <memory>

#include "base/clock.h"
#include "base/result.h"
#include "tls/certificate.h"

namespace md::fuzz {

/// Serial 04A1, and its issuer.
inline constexpr char chain_pem[] = R"(-----BEGIN CERTIFICATE-----
MIIBhDCCASqgAwIBAgICBKEwCgYIKoZIzj0EAwIwLDELMAkGA1UEBhMCWFgxEDAO
BgNVBAoMB0V4YW1wbGUxCzAJBgNVBAMMAkUxMB4XDTI2MTEyMjEyMDAwMFoXDTI3
MDIyMDEyMDAwMFowADBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEieQI+PxQPG
fQSxpgsRc3C2mHYqexZsKWEVRctaQp42havrPSsonwso9TSdkX7dmSgTkbnrx9F3
Vbe6dF6to5ijaDBmMBQGA1UdEQQNMAuCCWEuZXhhbXBsZTAtBgNVHR8EJjAkMCKg
IKAehhxodHRwOi8vY3JsLmV4YW1wbGUubmV0LzEuY3JsMB8GA1UdIwQYMBaAFAmN
CGjRbXEIVVSVZZ7HkJZGKH3QMAoGCCqGSM49BAMCA0gAMEUCIQDhWiykwU9RAZds
PBw1VIx0aHzHxbdzK3vy3QcGp+ERYwIgaRrxkZ5DL6qWzM4tn8YpY10jBz7lrBpG
LR/4ezekgOo=
-----END CERTIFICATE-----
-----BEGIN CERTIFICATE-----
MIIBeTCCAR+gAwIBAgIBATAKBggqhkjOPQQDAjAsMQswCQYDVQQGEwJYWDEQMA4G
A1UECgwHRXhhbXBsZTELMAkGA1UEAwwCRTEwHhcNMjYxMTIxMTIwMDAwWhcNMzYx
MTE4MTIwMDAwWjAsMQswCQYDVQQGEwJYWDEQMA4GA1UECgwHRXhhbXBsZTELMAkG
A1UEAwwCRTEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQleTf++oqJK6LYnVkY
SWexizQBITl8vKm/LvCVlD4QdyvI5FUTtZSSit2fcLnloZ6RjbYbIs2Di1s32xs5
bVziozIwMDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBQJjQho0W1xCFVUlWWe
x5CWRih90DAKBggqhkjOPQQDAgNIADBFAiEA9+QiRbOFHcFiO3qhbMB0VskNGCkj
u6Jps0jBkCpXcVYCIHvfTyYekntIlOT1nMwQBLZ1+yZRUy8gUCn8FDrRFuXG
-----END CERTIFICATE-----
)";

inline tls::Der next_der(BIO* bio) {
    X509* x509 = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    base::check(x509 != nullptr);
    unsigned char* out = nullptr;
    const int size = i2d_X509(x509, &out);
    base::check(size > 0);
    tls::Der der(out, out + size);
    OPENSSL_free(out);
    X509_free(x509);
    return der;
}

inline tls::Certificate read_chain() {
    BIO* bio = BIO_new_mem_buf(chain_pem, -1);
    tls::Certificate certificate;
    certificate.leaf = next_der(bio);
    certificate.chain.push_back(std::make_shared<const tls::Der>(next_der(bio)));
    BIO_free(bio);
    return certificate;
}

inline base::Time noon() {
    base::Time time{};
    base::check(base::parse_rfc3339("2026-11-22T12:00:00Z", time));
    return time;
}

}  // namespace md::fuzz
