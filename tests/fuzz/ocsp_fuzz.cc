// What responders and CRL servers send may hold anything: nothing but an answer about our
// certificate may come out of it, valid now. The corpus is a MiniResponder's (tests/unit/md), about
// the certificate below.
#include <openssl/bio.h>
#include <openssl/pem.h>

#include <algorithm>

#include "base/result.h"
#include "md/crl.h"
#include "md/ocsp.h"

namespace md {

namespace {

using base::check;

/// Serial 04A1, and its issuer.
constexpr char chain_pem[] = R"(-----BEGIN CERTIFICATE-----
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
constexpr char crl_at[] = "http://crl.example.net/1.crl";

tls::Der next_der(BIO* bio) {
    X509* x509 = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    check(x509 != nullptr);
    unsigned char* out = nullptr;
    const int size = i2d_X509(x509, &out);
    check(size > 0);
    tls::Der der(out, out + size);
    OPENSSL_free(out);
    X509_free(x509);
    return der;
}

tls::Certificate read_chain() {
    BIO* bio = BIO_new_mem_buf(chain_pem, -1);
    tls::Certificate certificate;
    certificate.leaf = next_der(bio);
    certificate.chain.push_back(std::make_shared<const tls::Der>(next_der(bio)));
    BIO_free(bio);
    return certificate;
}

base::Time noon() {
    base::Time time{};
    check(base::parse_rfc3339("2026-11-22T12:00:00Z", time));
    return time;
}

void check_answer(const OcspAnswer& answer, std::span<const uint8_t> bytes, base::Time now) {
    check(std::equal(bytes.begin(), bytes.end(), answer.response.begin(), answer.response.end()));
    check(answer.status != CertificateStatus::Unknown);
    check(answer.from < answer.until);
    check(answer.from <= now + ocsp_skew_max && answer.until > now);
    check(answer.reason.empty() == (answer.status != CertificateStatus::Revoked));
}

void read_ocsp(const OcspQuestion& question, std::span<const uint8_t> bytes, base::Time now) {
    const tls::Der nonce(16, 0x5a);  // as in the corpus
    auto unverified = question.read(bytes, {}, now, false);
    if (unverified) check_answer(*unverified, bytes, now);
    auto verified = question.read(bytes, {}, now);
    if (verified) {
        // All that the corpus has of the issuer's was made at noon.
        check(unverified && verified->status == unverified->status);
        check_answer(*verified, bytes, now);
        check(verified->from == now - std::chrono::hours{1});
    }
    auto asked = question.read(bytes, nonce, now);
    if (asked) check(verified.ok());
}

void read_crl(std::span<const uint8_t> bytes, const tls::Der& issuer, base::Time now) {
    auto crl = Crl::read(bytes, issuer, crl_at, now);
    if (!crl) return;
    check(crl->from() == now && crl->until() > now);  // as in the corpus
    const auto revoked = crl->find("04A1");
    check(revoked && revoked->reason == "keyCompromise");
    check(!crl->find("04A2"));
}

}  // namespace

}  // namespace md

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const tls::Certificate certificate = md::read_chain();
    static const auto question = md::OcspQuestion::about(certificate);
    static const base::Time now = md::noon();
    base::check(question.ok());
    md::read_ocsp(question.value(), {data, size}, now);
    md::read_crl({data, size}, *certificate.chain.front(), now);
    return 0;
}
