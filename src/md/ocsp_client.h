// Asking OCSP responders and fetching CRLs: HTTP, and what is refused before anything is sent
// (faults.md OC-02 to OC-05, OC-19). Any engine thread.
#pragma once

#include <string>
#include <string_view>

#include "base/random.h"
#include "md/domain.h"
#include "md/ocsp.h"
#include "md/transport.h"

namespace md {

/// Longer answers are not read (CVE-2026-29168: mod_md had no limit).
constexpr size_t ocsp_bytes_max = size_t{64} * 1024;
/// Let's Encrypt's shards have some hundred KB, after a mass revocation a few MB.
constexpr size_t crl_bytes_max = size_t{10} * 1024 * 1024;

/// Whether the scheme is http or https, in any case (RFC 3986 3.1). Others are never called.
bool is_http_url(std::string_view url);

/// Asks `url`: by GET, which caches answer (RFC 6960 A.1, RFC 5019 5), then by POST with a nonce if
/// that gives nothing that can be verified. `domain`: whose proxy is used. The Problem is that of
/// the last attempt.
Outcome<OcspAnswer> ask_ocsp(Transport& transport, const Domain& domain, const std::string& url,
                             const OcspQuestion& question, base::Clock& clock,
                             base::Random& random);

/// What makes the next fetch of a CRL cheap (RFC 9110 13.1): empty where the server gives none.
struct Validators {
    std::string etag;
    std::string last_modified;
};
struct CrlDownload {
    bool is_unchanged = false;  // 304: what the validators belong to is still the newest
    tls::Der der;
    Validators validators;
};
/// A CRL in DER, unverified.
Outcome<CrlDownload> download_crl(Transport& transport, const Domain& domain,
                                  const std::string& url, const Validators& known,
                                  base::Clock& clock);

}  // namespace md
