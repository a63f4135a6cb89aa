#include "app/cli.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/setup.h"
#include "app/version.h"
#include "base/clock.h"
#include "md/revocation.h"

namespace app {

namespace {

constexpr const char* description =
    "mdfront: a TLS front for HTTP servers that gets and renews its own certificates (ACME),\n"
    "configured as Apache's mod_md.\n";

constexpr const char* footer =
    R"(Examples:
  mdfront check -c conf/mdfront.toml    tell everything that is wrong with a configuration
  mdfront run                           serve, in the foreground, with /etc/mdfront/mdfront.toml
  mdfront certs                         the certificates of the running mdfront, and their state
  mdfront certs renew example.org       a new certificate, now
  mdfront store check                   verify keys and certificates on disk
  kill -HUP <pid>                       read the configuration again

Signals of `run`:
  TERM, INT   finish the requests in flight, at most server.drain_timeout, then end; twice: end now
  HUP         read the configuration again; with a mistake in it nothing changes
  USR1        open log files anew, after they were rotated

Files:
  /etc/mdfront/mdfront.toml             the configuration: docs/configuration.md tells every key
  /var/lib/mdfront/md                   accounts, keys and certificates (md.store_dir)

Exit codes: 0 ok, 1 refused configuration, failed start or failed command, 2 wrong usage)";

constexpr const char* check_footer =
    R"(Prints a line for each mistake, with its file and line, and what to write instead.
Exit codes: 0 ok, 1 the configuration would be refused, 2 wrong usage)";

constexpr const char* running_footer =
    R"(Talks to the mdfront that runs, over [admin] listen: a Unix socket ("unix:/path")
if there is one. Acting over TCP needs actions = true in [admin].
docs/command-line.md has examples.
Exit codes: 0 ok, 1 it failed, or mdfront does not run; 2 wrong usage)";

constexpr const char* store_footer =
    R"(Reads every file of the store and tells what is damaged, open to others, left
over or unknown; changes nothing without --fix. --fix never removes a key or a
certificate, and refuses to work while mdfront runs on the store.
Exit codes: 0 nothing is wrong, 1 there are problems (left), 2 wrong usage)";

constexpr const char* reasons =
    "Why: unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation";

/// Builds the parser on a CommandLine that it fills in.
class Parser {
  public:
    using Verb = CommandLine::Verb;

    explicit Parser(CommandLine& line) : line_(line) {
        cli_.footer(footer);
        cli_.allow_extras();
        cli_.set_help_flag("-h,--help", "This text");
        takes_config(cli_);
        CLI::App& run =
            verb(cli_, "run", "Serve in the foreground until a signal ends it", Verb::Run);
        takes_config(run);
        CLI::App& check =
            verb(cli_, "check",
                 "Read the configuration and all it names, and tell what is wrong; changes nothing",
                 Verb::Check);
        takes_config(check);
        check.footer(check_footer);
        add_certs();
        add_accounts();
        add_store();
        CLI::App& version =
            verb(cli_, "version", "The version, and the libraries it runs with", Verb::Version);
        version.add_flag("-v,--verbose", line_.verbose, "Also what this machine lets it do");
        version.footer("");
    }

    CLI::App& cli() { return cli_; }

  private:
    CLI::App& verb(CLI::App& parent, const char* name, const char* text, Verb value) {
        CLI::App* command = parent.add_subcommand(name, text);
        command->callback([this, command, value] {
            // The callback of `certs list` comes before that of `certs`.
            if (command->get_subcommands().empty()) line_.verb = value;
        });
        command->allow_extras(false);
        return *command;
    }

    void takes_config(CLI::App& command) {
        command.add_option("-c,--config", line_.config, "The configuration file")
            ->type_name("FILE")
            ->capture_default_str();
    }

    void takes_json(CLI::App& command) {
        command.add_flag("--json", line_.json, "For programs: JSON (docs/command-line.md)");
    }

    /// What commands have that talk to a running mdfront.
    CLI::App& running(CLI::App& command) {
        takes_config(command);
        command
            .add_option("--admin", line_.admin,
                        "unix:/path or 127.0.0.1:9180, if not as configured")
            ->type_name("ADDRESS");
        takes_json(command);
        command.footer(running_footer);
        return command;
    }

    void takes_name(CLI::App& command, const char* what, const char* text) {
        command.add_option(what, line_.name, text)->required()->type_name("");
    }

    void may_not_wait(CLI::App& command) {
        command.add_flag_callback(
            "--no-wait", [this] { line_.wait = false; },
            "Return at once, without seeing it through");
    }

    void takes_revocation(CLI::App& command) {
        takes_name(command, "NAME", "A managed domain, or one of its names");
        command.add_option("--reason", line_.reason, reasons)
            ->type_name("REASON")
            ->default_str("unspecified");
        may_not_wait(command);
    }

    void add_certs() {
        CLI::App& certs = running(
            verb(cli_, "certs", "Look at certificates, renew and revoke them", Verb::CertsList));
        certs.require_subcommand(0, 1);
        running(verb(certs, "list", "All domains: state, keys, issuer, expiry, renewal, errors",
                     Verb::CertsList));
        CLI::App& show = running(verb(certs, "show", "All about one domain", Verb::CertsShow));
        takes_name(show, "NAME", "A managed domain, or one of its names");
        CLI::App& renew = running(
            verb(certs, "renew", "Get a new certificate now, and wait for it", Verb::CertsRenew));
        takes_name(renew, "NAME", "A managed domain, or one of its names");
        may_not_wait(renew);
        constexpr const char* revoke = "Revoke what a domain serves, and renew it with new keys";
        takes_revocation(running(verb(certs, "revoke", revoke, Verb::CertsRevoke)));
        takes_revocation(
            running(verb(cli_, "revoke", "The same as certs revoke", Verb::CertsRevoke)));
    }

    void add_accounts() {
        CLI::App& accounts = running(
            verb(cli_, "accounts", "Look at the accounts at CAs, change keys", Verb::AccountsList));
        accounts.require_subcommand(0, 1);
        running(verb(accounts, "list", "All accounts: status, key, CA, who uses them",
                     Verb::AccountsList));
        CLI::App& rollover =
            running(verb(accounts, "rollover", "Give an account a new key, here and at its CA",
                         Verb::AccountsRollover));
        takes_name(rollover, "ID", "The account, as accounts list calls it");
        may_not_wait(rollover);
    }

    void add_store() {
        CLI::App* store = cli_.add_subcommand("store", "Verify the store on disk");
        store->require_subcommand(1);
        store->allow_extras(false);
        store->footer("");
        CLI::App& check = verb(*store, "check", "Verify every file of the store", Verb::StoreCheck);
        takes_config(check);
        check
            .add_option("--store", line_.store,
                        "The store (default: md.store_dir of the configuration)")
            ->type_name("DIR");
        check.add_flag("--fix", line_.fix, "Repair what can be repaired without losing anything");
        takes_json(check);
        check.footer(store_footer);
    }

    CommandLine& line_;
    CLI::App cli_{description, "mdfront"};
};

}  // namespace

bool parse_command_line(int argc, char** argv, CommandLine& line, int& exit_code) {
    line.reason = "unspecified";
    Parser parser(line);
    CLI::App& cli = parser.cli();
    try {
        cli.parse(argc, argv);
        const std::vector<std::string> unknown = cli.remaining();
        if (!unknown.empty()) {
            fmt::print(stderr, "mdfront: {}: no such {}; ", unknown.front(),
                       unknown.front().starts_with('-') ? "option" : "command");
        } else if (cli.get_subcommands().empty()) {
            fmt::print(stderr, "mdfront: no command; ");
        } else if (const auto reason = md::parse_revocation_reason(line.reason)) {
            line.reason = md::revocation_reason_name(*reason);
            return true;
        } else {
            fmt::print(stderr, "mdfront: --reason {}: there are {}\n", line.reason,
                       md::revocation_reason_names());
            exit_code = exit_usage;
            return false;
        }
        fmt::print(stderr,
                   "there are run, check, certs, revoke, accounts, store and version (mdfront "
                   "--help tells more)\n");
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

int run_version(bool verbose) {
    fmt::print("{}", describe_version(verbose));
    return exit_ok;
}

}  // namespace app
