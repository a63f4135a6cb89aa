// `mdfront certs` and `mdfront accounts`: looks at and acts on what a running mdfront has.
#pragma once

#include <string>

namespace app {

struct CommandLine;

/// Each returns the process' exit code: 0, or 1 after a line on standard error.
int run_certs_list(const CommandLine& line);
int run_certs_show(const CommandLine& line);
int run_certs_renew(const CommandLine& line);
int run_certs_revoke(const CommandLine& line);
int run_accounts_list(const CommandLine& line);
int run_accounts_rollover(const CommandLine& line);

}  // namespace app
