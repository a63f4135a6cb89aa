// mdfront: a table of contents.
#include "app/cli.h"
#include "app/server.h"

int main(int argc, char** argv) {
    app::CommandLine line;
    int exit_code = 0;
    if (!app::parse_command_line(argc, argv, line, exit_code)) return exit_code;
    switch (line.verb) {
        case app::CommandLine::Verb::Check:
            return app::run_check(line.config);
        case app::CommandLine::Verb::Version:
            return app::run_version();
        case app::CommandLine::Verb::Run:
            break;
    }
    return app::Server(line.config).run();
}
