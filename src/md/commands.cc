#include "md/commands.h"

#include <cstring>

#include "base/text.h"
#include "md/poll.h"

namespace md {

namespace {

constexpr size_t detail_lines_max = 3;  // of the output, in a Problem
constexpr size_t detail_bytes_max = 400;

/// The last lines, printable, for people.
std::string last_lines(const std::string& output) {
    std::string text;
    size_t count = 0;
    const auto lines = base::split(output, '\n');
    for (auto line = lines.rbegin(); line != lines.rend() && count < detail_lines_max; ++line) {
        const std::string_view trimmed = base::trim(*line);
        if (trimmed.empty()) continue;
        const std::string shown = base::escape_for_log(trimmed, 200);
        if (text.size() + shown.size() > detail_bytes_max) break;
        text = text.empty() ? shown : shown + " / " + text;
        ++count;
    }
    return text;
}

}  // namespace

Problem command_problem(std::string_view what, const Command& command,
                        const CommandResult& result) {
    using End = CommandResult::End;
    constexpr int general = 20014;  // APR_EGENERAL, as mod_md stores it
    constexpr int timed_out = 70007;
    const std::string named =
        fmt::format("{} {}", what, base::escape_for_log(command.argv.front(), 200));
    Problem problem;
    switch (result.end) {
        case End::Stopped:
            return stopping_problem();
        case End::Exited:
            problem = make_problem(
                general, fmt::format("{} failed with exit code {}{}", named, result.number,
                                     result.number > 127 ? ", which is a failed execution" : ""));
            break;
        case End::Signalled:
            problem = make_problem(general, fmt::format("{} was killed by signal {} ({})", named,
                                                        result.number, ::strsignal(result.number)));
            break;
        case End::TimedOut:
            problem =
                make_problem(timed_out, fmt::format("{} did not end within {} and was killed",
                                                    named, base::format_duration(command.timeout)));
            break;
        case End::NotStarted:
            problem = make_problem(result.number, fmt::format("{} could not be started: {}", named,
                                                              std::strerror(result.number)));
            break;
    }
    if (const std::string lines = last_lines(result.output); !lines.empty()) {
        problem.detail += "; its last lines: " + lines;
    }
    return problem;
}

}  // namespace md
