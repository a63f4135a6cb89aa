#include "sim_commands.h"

#include <cerrno>
#include <csignal>

namespace md::test {

CommandResult SimCommands::fate(const Command& command, bool& is_done) {
    using End = CommandResult::End;
    is_done = true;
    if (!is_bad_) return {};
    switch (random_.below(6)) {
        case 0:
            is_done = false;
            return {End::Exited, 1, "it did not work\n"};
        case 1:
            is_done = false;
            return {End::Signalled, SIGKILL, ""};
        case 2:
            is_done = random_.below(2) == 0;
            (void)clock_.sleep(command.timeout);
            return {End::TimedOut, 0, "waiting for the name server\n"};
        case 3:
            is_done = false;
            return {End::NotStarted, ENOENT, ""};
        case 4:
            return {End::Exited, 3, "done, but the log cannot be written\n"};
        default:
            return {};
    }
}

/// argv: dns setup|teardown <name> [<value>].
void SimCommands::change_records(const std::vector<std::string>& words, bool is_done) {
    const std::string& name = words.at(2);
    if (words.at(1) == "setup") {
        if (is_done) ports_.txt_records[name].insert(words.at(3));
        return;
    }
    const auto at = ports_.txt_records.find(name);
    if (at == ports_.txt_records.end()) return;
    if (!is_done) {
        given_up_.insert(name);
    } else if (words.size() > 3) {
        at->second.erase(words.at(3));
    } else {
        at->second.clear();
    }
    if (at->second.empty()) ports_.txt_records.erase(at);
}

CommandResult SimCommands::run(const Command& command) {
    if (around) around();
    // It takes a while, as programs do.
    (void)clock_.sleep(std::chrono::seconds{1});
    bool is_done = false;
    const CommandResult result = fate(command, is_done);
    const std::vector<std::string>& words = command.argv;
    if (words.front() == "dns") change_records(words, is_done);
    const std::string subject = words.size() > 2 ? words[2] : "";
    trace_.add("run {} {} {}: {} {}", words[0], words.size() > 1 ? words[1] : "", subject,
               static_cast<int>(result.end), result.number);
    if (around) around();
    return result;
}

}  // namespace md::test
