#include "app/cli.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/setup.h"
#include "base/clock.h"

namespace app {

namespace {

constexpr const char* description =
    "mdfront: a TLS front for HTTP servers that gets and renews its own certificates (ACME),\n"
    "configured as Apache's mod_md.\n";

constexpr const char* footer =
    R"(Examples:
  mdfront check -c conf/mdfront.toml    tell everything that is wrong with a configuration
  mdfront run                           serve, in the foreground, with /etc/mdfront/mdfront.toml
  kill -HUP <pid>                       read the configuration again

Signals of `run`:
  TERM, INT   finish the requests in flight, at most server.drain_timeout, then end; twice: end now
  HUP         read the configuration again; with a mistake in it nothing changes
  USR1        open log files anew, after they were rotated

Files:
  /etc/mdfront/mdfront.toml             the configuration: docs/configuration.md tells every key
  /var/lib/mdfront/md                   accounts, keys and certificates (md.store_dir)

Exit codes: 0 ok, 1 refused configuration or failed start, 2 wrong usage)";

constexpr const char* check_footer =
    R"(Prints a line for each mistake, with its file and line, and what to write instead.
Exit codes: 0 ok, 1 the configuration would be refused, 2 wrong usage)";

}  // namespace

bool parse_command_line(int argc, char** argv, CommandLine& line, int& exit_code) {
    CLI::App cli{description, "mdfront"};
    cli.footer(footer);
    cli.allow_extras();
    cli.set_help_flag("-h,--help", "This text");
    const auto takes_config = [&](CLI::App& command) {
        command.add_option("-c,--config", line.config, "The configuration file")
            ->type_name("FILE")
            ->capture_default_str();
    };
    const auto verb = [&](const char* name, const char* text, CommandLine::Verb value) {
        CLI::App* command = cli.add_subcommand(name, text);
        command->callback([&line, value] { line.verb = value; });
        command->allow_extras(false);
        return command;
    };
    takes_config(cli);
    CLI::App* run =
        verb("run", "Serve in the foreground until a signal ends it", CommandLine::Verb::Run);
    takes_config(*run);
    CLI::App* check = verb(
        "check", "Read the configuration and all it names, and tell what is wrong; changes nothing",
        CommandLine::Verb::Check);
    takes_config(*check);
    check->footer(check_footer);
    verb("version", "The version", CommandLine::Verb::Version)->footer("");
    try {
        cli.parse(argc, argv);
        const std::vector<std::string> unknown = cli.remaining();
        if (!unknown.empty()) {
            fmt::print(stderr, "mdfront: {}: no such {}; ", unknown.front(),
                       unknown.front().starts_with('-') ? "option" : "command");
        } else if (cli.get_subcommands().empty()) {
            fmt::print(stderr, "mdfront: no command; ");
        } else {
            return true;
        }
        fmt::print(stderr, "there are run, check and version (mdfront --help tells more)\n");
        exit_code = exit_usage;
        return false;
    } catch (const CLI::ParseError& error) {
        // CLI11 has codes of its own above 100; 0 is help.
        exit_code = cli.exit(error) == 0 ? exit_ok : exit_usage;
        return false;
    }
}

int run_check(const std::string& config_path) {
    Mistakes mistakes;
    base::SystemClock clock;
    const auto setup = load_setup(config_path, mistakes, clock.now());
    for (const std::string& line : mistakes.warning_lines()) {
        fmt::print(stderr, "{} (warning)\n", line);
    }
    for (const std::string& line : mistakes.lines()) fmt::print(stderr, "{}\n", line);
    if (!setup) {
        fmt::print(stderr, "{}: refused ({} {})\n", config_path, mistakes.count(),
                   mistakes.count() == 1 ? "mistake" : "mistakes");
        return exit_refused;
    }
    fmt::print("{}: ok ({})\n", config_path, setup->summary());
    return exit_ok;
}

int run_version() {
    fmt::print("mdfront {}\n", MDFRONT_VERSION);
    return exit_ok;
}

}  // namespace app
