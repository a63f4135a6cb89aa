// What OCSP responders send may hold anything: nothing but an answer about our certificate may come
// out of it, valid now. The corpus is a MiniResponder's (tests/unit/md).
#include "md/ocsp.h"

#include <algorithm>

#include "fuzz/chain.h"

namespace md {

namespace {

using base::check;

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

}  // namespace

}  // namespace md

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const tls::Certificate certificate = md::fuzz::read_chain();
    static const auto question = md::OcspQuestion::about(certificate);
    base::check(question.ok());
    md::read_ocsp(question.value(), {data, size}, md::fuzz::noon());
    return 0;
}
