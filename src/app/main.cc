// mdfront: a table of contents.
#include "app/cli.h"
#include "app/command/certs_command.h"
#include "app/command/store_command.h"
#include "app/server.h"

int main(int argc, char** argv) {
    using Verb = app::CommandLine::Verb;
    app::CommandLine line;
    int exit_code = 0;
    if (!app::parse_command_line(argc, argv, line, exit_code)) return exit_code;
    switch (line.verb) {
        case Verb::Check:
            return app::run_check(line.config);
        case Verb::CertsList:
            return app::run_certs_list(line);
        case Verb::CertsShow:
            return app::run_certs_show(line);
        case Verb::CertsRenew:
            return app::run_certs_renew(line);
        case Verb::CertsRevoke:
            return app::run_certs_revoke(line);
        case Verb::AccountsList:
            return app::run_accounts_list(line);
        case Verb::AccountsRollover:
            return app::run_accounts_rollover(line);
        case Verb::StoreCheck:
            return app::run_store_check(line);
        case Verb::Version:
            return app::run_version(line.verbose);
        case Verb::Run:
            break;
    }
    return app::Server(line.config).run();
}
