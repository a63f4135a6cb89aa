// Looks through a store that no process has to work on, and tells what is damaged, open to others,
// left over or unknown (faults.md ST-08..ST-18). Repairs only what cannot lose anything: modes,
// what a crash left, an activation that stopped half-way, and JSON that nobody can read, which is
// put aside as a running mdfront does. Never removes a key or a certificate.
//
// One thread; reads with the store's own functions, so that what passes here is what is served.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "md/files.h"
#include "md/problem.h"

namespace md {

struct Finding {
    enum class Severity : uint8_t {
        Error,    // something is lost or not served as it should be
        Warning,  // works now; somebody should look
        Note      // nothing to do
    };
    Severity severity = Severity::Note;
    std::string path;    // below the store; "" for the store itself
    std::string what;    // what is wrong
    std::string advice;  // what to do, or ""
    bool is_fixable = false;
    bool is_fixed = false;
};

/// "error", "warning", "note".
std::string_view severity_name(Finding::Severity severity);

struct StoreReport {
    std::string path;
    size_t domains = 0;
    size_t certificates = 0;  // that can be served
    size_t accounts = 0;
    std::vector<Finding> findings;

    /// Errors and warnings that are still there.
    size_t problems() const;
};

struct StoreCheckOptions {
    base::Time now{};
    bool fix = false;
};

/// The Problem: there is no store, it cannot be read, or (with `fix`) another process works on it.
Outcome<StoreReport> check_store(const std::string& path, Files& files, base::Clock& clock,
                                 const StoreCheckOptions& options);

}  // namespace md
