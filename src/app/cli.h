// The command line: verbs, options, help.
#pragma once

#include <string>

namespace app {

/// Exit codes (design.md, section 10).
constexpr int exit_ok = 0;
constexpr int exit_refused = 1;  // refused configuration, failed start, failed command
constexpr int exit_usage = 2;

struct CommandLine {
    enum class Verb {
        Run,
        Check,
        CertsList,
        CertsShow,
        CertsRenew,
        CertsRevoke,
        AccountsList,
        AccountsRollover,
        StoreCheck,
        Version
    };
    Verb verb = Verb::Run;
    std::string config = "/etc/mdfront/mdfront.toml";
    std::string admin;  // --admin: where the running mdfront is; "": as the configuration says
    bool verbose = false;
    std::string name;    // of a domain, or of an account
    std::string reason;  // of a revocation, one that there is
    std::string store;   // --store; "": as the configuration says
    bool json = false;
    bool wait = true;
    bool fix = false;
};

/// Reads the arguments. False: `exit_code` is what the process ends with, after help or a message
/// was printed.
bool parse_command_line(int argc, char** argv, CommandLine& line, int& exit_code);

/// `mdfront check`: all that a start does short of listening and writing.
int run_check(const std::string& config_path);
/// `mdfront version`.
int run_version(bool verbose);

}  // namespace app
