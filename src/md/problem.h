// What went wrong in the engine, in words for people: mod_md's `last` object, an ACME problem
// document (RFC 8555 6.7), or our own text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace md {

struct Subproblem {
    std::string type;
    std::string detail;
    std::string identifier;  // the DNS name it is about
};

struct Problem {
    int status = 22;     // errno or mod_md's APR number, as in job.json's last.status
    std::string type;    // "urn:ietf:params:acme:error:…", or "" for our own
    std::string detail;  // what happened, where, and what to do
    std::vector<Subproblem> subproblems;
    std::optional<base::Duration> retry_after;  // asked for by the CA, clamped to [1 s, 1 day]
    // Ours: somebody has to do something first. Less when what is served ends soon (job.h).
    base::Duration pause{0};

    /// mod_md.md 4.4: retrying soon cannot help, somebody has to change something first.
    bool is_input_related() const;
    /// "detail (type); name: detail …" in one line.
    std::string message() const;
};

/// For Result<T, Problem>. `detail` names the thing concerned.
Problem make_problem(int status, std::string detail);

/// What job.json has as status for an HTTP answer that says no more (mod_md.md 5.3).
int status_of_http(int status);

/// What job.json's status-description says: errno's text, or APR's for its own numbers.
std::string status_description(int status);

template <typename T>
using Outcome = base::Result<T, Problem>;

}  // namespace md
