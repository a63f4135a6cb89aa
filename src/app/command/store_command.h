// `mdfront store check`: verifies a store without a running mdfront (md/store_check.h).
#pragma once

#include <string>

#include "app/command/console.h"
#include "md/store_check.h"

namespace app {

struct CommandLine;

/// Exit code: 0 if nothing is wrong (any more), 1 otherwise.
int run_store_check(const CommandLine& line);

/// For people: a line of sums, then findings, the worst first.
std::string render_store_report(const md::StoreReport& report, bool fix, const Look& look);
/// For programs; docs/command-line.md has the members.
std::string store_report_json(const md::StoreReport& report);

}  // namespace app
