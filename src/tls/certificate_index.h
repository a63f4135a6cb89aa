// Which certificates belong to which name: an immutable snapshot, looked up by SNI in each
// handshake. Built and published by one thread, read by all workers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip_address.h"
#include "base/name_map.h"
#include "tls/certificate.h"

namespace tls {

/// An OCSP answer that says "good" of one certificate, verified (RFC 6960, RFC 6066 8).
struct Staple {
    Der response;        // as it is sent
    base::Time until{};  // its nextUpdate: not sent from then on
};

/// The certificates for one name: at most one per key type, the best first. `staples[i]` belongs to
/// `certificates[i]` and to no other; null: none.
struct CertificateSet {
    std::vector<std::shared_ptr<const Certificate>> certificates;
    std::vector<std::shared_ptr<const Staple>> staples;
};

using CertificateSetPtr = std::shared_ptr<const CertificateSet>;

class CertificateIndex {
  public:
    /// Exact name, else "*." and its parent, else null. `name` as it came in the ClientHello: case
    /// and a trailing dot do not matter. Never allocates.
    const CertificateSetPtr* find(std::string_view name) const;
    /// For clients that connect to an address and so send no name (RFC 6066 3). Never allocates.
    const CertificateSetPtr* find(const base::IpAddress& address) const;
    /// What is under that very name, as configured: also a wildcard. Null if nothing is.
    const CertificateSetPtr* at(std::string_view name) const { return names_.find(name); }
    /// Whether find() of an address can find anything: if not, nobody has to ask for one.
    bool has_addresses() const { return addresses_ > 0; }
    /// For clients without SNI or with a name nobody knows; null: such handshakes get
    /// unrecognized_name.
    const CertificateSetPtr& fallback() const { return default_; }
    size_t size() const { return names_.size(); }

    /// A copy in which `names` (normalised DNS names, wildcards, IP addresses) map to `set`; a null
    /// set removes them.
    std::shared_ptr<const CertificateIndex> with(const std::vector<std::string>& names,
                                                 CertificateSetPtr set) const;
    /// Many changes at once (loading at start); a change without a value removes its name.
    using Change = base::NameMap<CertificateSet>::Change;
    std::shared_ptr<const CertificateIndex> with_all(const std::vector<Change>& changes) const;
    std::shared_ptr<const CertificateIndex> with_default(CertificateSetPtr set) const;
    /// How many shards of names are the very same objects in `other`.
    size_t shards_shared_with(const CertificateIndex& other) const {
        return names_.shards_shared_with(other.names_);
    }

  private:
    base::NameMap<CertificateSet> names_;
    CertificateSetPtr default_;
    size_t addresses_ = 0;  // names that are IP addresses
};

/// Live tls-alpn-01 answers by the name that the CA sends as SNI (RFC 8737): for an IP address the
/// one in in-addr.arpa or ip6.arpa (RFC 8738 section 6). Small and rebuilt whole.
struct ChallengeCertificates {
    struct Entry {
        std::string name;
        std::shared_ptr<const Certificate> certificate;
    };
    std::vector<Entry> entries;  // sorted by name
    /// `name` as it came in the ClientHello; null if there is no challenge for it.
    const Certificate* find(std::string_view name) const;
    std::shared_ptr<const Certificate> hold(std::string_view name) const;
};

}  // namespace tls
