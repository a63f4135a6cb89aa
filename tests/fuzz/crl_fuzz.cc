// What CRL servers send may hold anything: nothing but a list that our issuer signed, valid now and
// for our certificate, may come out of it. The corpus is a MiniResponder's (tests/unit/md).
#include "md/crl.h"

#include "fuzz/chain.h"

namespace md {

namespace {

using base::check;

constexpr char crl_at[] = "http://crl.example.net/1.crl";

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
    static const tls::Certificate certificate = md::fuzz::read_chain();
    md::read_crl({data, size}, *certificate.chain.front(), md::fuzz::noon());
    return 0;
}
