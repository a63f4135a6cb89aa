// Stores of older mod_md versions: what has to be moved before they can be used (mod_md.md 3.9).
// Every step can be repeated; the new version is written to md_store.json after the last of them,
// so that a crash in between only means that they are done again (faults.md ST-21).
#pragma once

#include "md/files.h"
#include "md/problem.h"

namespace md {

inline constexpr double store_version = 3.0;

/// From 1.0 to 2.0: pkey.pem becomes privkey.pem in all groups; in domains and archive pubcert.pem
/// is put together from cert.pem and chain.pem where it is missing. Old files stay.
Outcome<void> upgrade_store_from_1(Files& files, int root, const std::string& path);

}  // namespace md
