// The certificates and keys of a domain as they lie in the store, and what they amount to: mod_md's
// state (mod_md.md 4.1).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "md/domain.h"
#include "md/files.h"
#include "md/store.h"
#include "tls/certificate.h"

namespace md {

/// mod_md.md 3.3: "privkey.pem", "privkey.p-256.pem"; with prefix "fallback-" etc.
std::string key_file(const KeySpec& spec, std::string_view prefix = {});
/// "pubcert.pem", "pubcert.secp384r1.pem".
std::string chain_file(const KeySpec& spec, std::string_view prefix = {});

/// One certificate of a domain, or why there is none.
struct Slot {
    enum class Fault : uint8_t {
        None,
        Missing,  // no chain or no key, or a file with nothing in it
        Damaged,  // both can be read, and are no certificate with its key: a renewal heals it
        Broken    // a file cannot be read: somebody has to see to that
    };
    KeySpec spec;           // of static files: Default
    std::string label;      // in md-status: "rsa", "P-256"; static files "0", "1", …
    std::string chain_pem;  // leaf first
    base::Secret key_pem;   // plain PKCS#8
    std::shared_ptr<const tls::Certificate> certificate;  // null unless Fault::None
    Fault fault = Fault::Missing;
    std::string why;  // names file and cause (faults.md ST-09); "" without a fault

    /// What is kept and passed on, of which the key's text is no part.
    Slot without_texts() const;
};

/// The slots of <group>/<name>, one per key spec and in that order. Never fails as a whole.
std::vector<Slot> load_credentials(Store& store, Group group, const std::string& name,
                                   const std::vector<KeySpec>& specs);
/// MDCertificateFile and MDCertificateKeyFile. Symbolic links are followed here.
std::vector<Slot> load_static_credentials(Files& files, const Domain& domain);
/// What the domain serves: the static files or else domains/<name>.
std::vector<Slot> load_live_credentials(Store& store, Files& files, const Domain& domain);

/// The newest good pair for that spec in the archive, to serve while the live one is damaged
/// (faults.md ST-10); nullopt if there is none. `archives`: names(Group::Archive), sorted.
std::optional<Slot> archived_credential(Store& store, const std::vector<std::string>& archives,
                                        const std::string& name, const KeySpec& spec);

/// Saves chain and key as <group>'s files for that spec, key first.
Outcome<void> save_credential(Store& store, Group group, const std::string& name,
                              const KeySpec& spec, std::string_view chain_pem,
                              std::string_view key_pem);

/// mod_md.md 4.1: the first slot that fails decides. Expiry is not part of it.
struct StateReport {
    DomainState state = DomainState::Unknown;
    std::string description;  // "" if complete
};
StateReport evaluate_state(const Domain& domain, const std::vector<Slot>& slots);

/// The certificates that can be served: those of slots without a fault.
std::vector<std::shared_ptr<const tls::Certificate>> usable(const std::vector<Slot>& slots);

/// Stands in while there is nothing real (mod_md.md 5.11): the stored fallback pair if it is good
/// at `now` and covers the domain's names, else a new one, which is saved. mod_md keeps an expired
/// one.
Outcome<std::shared_ptr<const tls::Certificate>> fallback_certificate(Store& store,
                                                                      const Domain& domain,
                                                                      base::Time now);

/// PEM of a certificate with its chain, and of its key: what the store keeps.
std::string chain_to_pem(const tls::Certificate& certificate);
base::Secret key_to_pem(const tls::Certificate& certificate);

}  // namespace md
