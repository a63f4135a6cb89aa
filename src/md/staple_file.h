// OCSP answers and CRL findings on disk, so that a restart during an outage staples at once:
// mod_md's ocsp/<domain>/ocsp-<sha1>.json (mod_md.md 3.6), which both can read, and crl-<sha1>.json
// of our own beside. Found by name, never by reading a directory: a start with 100,000 of them
// opens just those that it needs.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "md/crl.h"
#include "md/ocsp.h"
#include "md/ocsp_client.h"
#include "md/store.h"

namespace md {

/// SHA-1 of the certificate's DER in hex: how mod_md names it.
std::string certificate_id(const tls::Certificate& certificate);
/// "ocsp-<certificate_id()>.json".
std::string staple_file(const tls::Certificate& certificate);

/// The stored answer, verified again unless it is bit by bit the one that we have verified before.
/// nullopt: there is none. The Problem: there is one, and it cannot be used (faults.md OC-15).
Outcome<std::optional<OcspAnswer>> load_staple(Store& store, const std::string& owner,
                                               const tls::Certificate& certificate,
                                               const OcspQuestion& question, base::Time now);
Outcome<void> save_staple(Store& store, const std::string& owner,
                          const tls::Certificate& certificate, const OcspAnswer& answer);

/// What a CRL has said about the certificates that were looked up in it. The list itself is not
/// kept: it may be 10 MB, and all that matters of it is here.
struct CrlFindings {
    Validators validators;
    base::Time from{};
    base::Time until{};
    std::map<std::string, std::optional<CrlEntry>> by_serial;  // nullopt: not revoked
};
/// One file for a CRL, whoever uses it.
std::string crl_file(const std::string& url, const tls::Der& issuer);
/// Nothing if there is no file, or one that cannot be read: the CRL is fetched then.
std::optional<CrlFindings> load_crl_findings(Store& store, const std::string& file);
Outcome<void> save_crl_findings(Store& store, const std::string& file, const std::string& url,
                                const CrlFindings& findings);

/// Removes answers that were written more than `keep` ago (MDStaplingKeepResponse; mod_md.md 6.6),
/// and ours about CRLs; unlike mod_md not the files `used`, whatever owner has them: they may be
/// all that there is until a responder is well again. Returns how many. Reads directories: not for
/// the start's critical path.
size_t remove_old_staples(Store& store, const std::set<std::string>& used, base::Duration keep,
                          base::Time now);

}  // namespace md
