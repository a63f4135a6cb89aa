#include "md/command_line.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace md {

namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// 0, or why the file cannot be run.
int why_not_executable(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return errno;
    if (S_ISDIR(status.st_mode)) return EISDIR;
    if (!S_ISREG(status.st_mode) || ::access(path.c_str(), X_OK) != 0) return EACCES;
    return 0;
}

}  // namespace

Outcome<std::vector<std::string>> split_command_line(std::string_view line) {
    std::vector<std::string> words;
    std::string word;
    bool in_word = false;
    char quote = 0;
    for (size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (c == '\0') return make_problem(EINVAL, "it has a NUL in it");
        const bool has_next = i + 1 < line.size();
        if (quote != 0) {
            if (c == quote) {
                quote = 0;
            } else if (c == '\\' && quote == '"' && has_next &&
                       (line[i + 1] == '"' || line[i + 1] == '\\')) {
                word += line[++i];
            } else {
                word += c;
            }
        } else if (c == '"' || c == '\'') {
            quote = c;
            in_word = true;
        } else if (c == '\\') {
            if (!has_next) return make_problem(EINVAL, "it ends in a backslash");
            word += line[++i];
            in_word = true;
        } else if (is_blank(c)) {
            if (in_word) words.push_back(std::exchange(word, {}));
            in_word = false;
        } else {
            word += c;
            in_word = true;
        }
    }
    if (quote != 0) return make_problem(EINVAL, fmt::format("a {} is not closed", quote));
    if (in_word) words.push_back(std::move(word));
    if (words.empty() || words.front().empty()) return make_problem(EINVAL, "it names no program");
    return words;
}

std::string quote_command_line(const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) {
        if (!line.empty()) line += ' ';
        const bool plain = !word.empty() && word.find_first_of(" \t\r\n'\"\\") == std::string::npos;
        if (plain) {
            line += word;
            continue;
        }
        line += '"';
        for (const char c : word) {
            if (c == '"' || c == '\\') line += '\\';
            line += c;
        }
        line += '"';
    }
    return line;
}

Outcome<std::string> find_program(const std::string& program) {
    const std::string shown = base::escape_for_log(program, 200);
    if (program.starts_with('/')) {
        const int error = why_not_executable(program);
        if (error == 0) return program;
        return make_problem(
            error, error == EACCES
                       ? fmt::format("{} cannot be executed: it has to be a file with the x "
                                     "permission",
                                     shown)
                       : fmt::format("{}: {}", shown, std::strerror(error)));
    }
    if (program.find('/') != std::string::npos) {
        return make_problem(EINVAL,
                            fmt::format("{} is a relative path; write it from / on", shown));
    }
    int error = ENOENT;
    for (const std::string_view directory : base::split(command_path, ':')) {
        std::string path = fmt::format("{}/{}", directory, program);
        const int why = why_not_executable(path);
        if (why == 0) return path;
        if (why != ENOENT && why != EISDIR) error = why;
    }
    return make_problem(error, fmt::format("there is no program {} in {}", shown, command_path));
}

}  // namespace md
