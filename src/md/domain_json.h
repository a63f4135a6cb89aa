// md.json: a domain as it is stored (mod_md.md 3.6).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "md/domain.h"
#include "md/store.h"

namespace md {

/// A domain with what only the store knows of it.
struct StoredDomain {
    Domain domain;
    std::string ca_account;  // the account's directory, "" if none yet
    std::string ca_url;      // effective: the CA of the last or ongoing issuance, "" if none yet
    DomainState state = DomainState::Unknown;
    std::string state_description;  // why it is incomplete or in error
};

/// md.json's bytes: mod_md's key order, 2 spaces, no trailing newline.
std::string domain_to_json(const StoredDomain& stored);

/// Reads md.json, also the forms of older versions. The Problem says which member is wrong.
/// `used` and everything else that is not stored keeps its default.
Outcome<StoredDomain> domain_from_json(std::string_view json);

/// nullopt: no file, or one that cannot be read as md.json (it is then set aside as
/// md.json.bad-<time>, logged). The directory's name wins over the name in the file (mod_md.md
/// 2.4).
Outcome<std::optional<StoredDomain>> load_domain(Store& store, Group group, const std::string& name,
                                                 base::Time now);
/// To <group>/<domain.name>/md.json.
Outcome<void> save_domain(Store& store, Group group, const StoredDomain& stored);

}  // namespace md
