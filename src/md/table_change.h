// What a change of the configured domains does to the domains that the engine looks after: which
// give way, which are new, and which have to wait. Pure: no store, no thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "md/domain.h"

namespace md {

/// A domain in the engine's table. `configured` must outlive the call.
struct TableRow {
    const Domain* configured = nullptr;  // as the configuration had it
    bool is_busy = false;                // a thread works on it: it stays until that is done
};

/// Indices, in order. Rows and domains that are in none of these are each other's: they stay.
struct TableChange {
    std::vector<size_t> leaving;  // rows that give way, to a new form of themselves or to nothing
    std::vector<size_t> coming;   // of the wanted domains
    std::vector<size_t> waiting;  // of the wanted domains: until no row is busy that they replace
    bool is_waiting = false;      // something is to be done when a busy row no longer is
};

/// What shares names with a busy row that has to go waits for it, and what shares names with that:
/// no name is without a domain meanwhile, no store directory has two, and one that is renamed finds
/// the directory of the former. Of two wanted domains with one name (and so one directory) the
/// first counts.
TableChange plan_change(std::span<const TableRow> rows, std::span<const Domain> wanted);

}  // namespace md
