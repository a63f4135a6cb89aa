// Command lines as the configuration and md.json have them: words, quotes and backslashes as in a
// shell, and nothing else of a shell (mod_md.md 5.12).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "md/problem.h"

namespace md {

/// PATH of every command, and where programs without '/' are looked for.
inline constexpr std::string_view command_path =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The words of a line: at least one. '…' as it stands; in "…" a backslash goes before '"' and '\';
/// elsewhere it takes the next character as it is. No variables, patterns, pipes or redirections.
Outcome<std::vector<std::string>> split_command_line(std::string_view line);

/// A line that split_command_line() takes apart into these words again.
std::string quote_command_line(const std::vector<std::string>& words);

/// The path of a program that can be run: `program` itself, which has to be absolute, or what
/// command_path has of that name. The Problem says what is wrong with it.
Outcome<std::string> find_program(const std::string& program);

}  // namespace md
