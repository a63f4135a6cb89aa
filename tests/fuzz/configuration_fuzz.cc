// Any bytes as a configuration file, up to where files are opened and names looked up. What must
// hold: every mistake names a line that the file has, in text without control characters; nothing
// that was refused is a configuration; and a comment in front moves all by one line and changes
// nothing else.
#include <algorithm>

#include "app/config/checks.h"
#include "app/config/configuration_reader.h"
#include "app/config/toml_reader.h"
#include "base/result.h"

namespace app {

namespace {

using base::check;

struct Told {
    std::vector<std::string> mistakes;
    std::vector<std::string> warnings;
};

Told read_text(std::string_view text) {
    Mistakes mistakes;
    const Node document = read_document_text(text, "m.toml", mistakes);
    const bool is_whole = !mistakes.any();
    const Configuration configuration = read_configuration(document, "m.toml", mistakes);
    if (is_whole) check_configuration(configuration, mistakes);
    check(mistakes.any() == !mistakes.lines().empty());
    return {mistakes.lines(), mistakes.warning_lines()};
}

/// "m.toml:14: text" gives 14, "m.toml: text" 0.
size_t line_of(std::string_view told) {
    constexpr std::string_view file = "m.toml:";
    check(told.starts_with(file));
    told.remove_prefix(file.size());
    size_t line = 0;
    for (; !told.empty() && told.front() >= '0' && told.front() <= '9'; told.remove_prefix(1)) {
        line = line * 10 + static_cast<size_t>(told.front() - '0');
    }
    return line;
}

void check_lines(const std::vector<std::string>& lines, size_t lines_max) {
    for (const std::string& line : lines) {
        if (line.starts_with("…")) continue;  // how many more there are
        check(line_of(line) <= lines_max);
        check(std::none_of(line.begin(), line.end(), [](char c) {
            return static_cast<unsigned char>(c) < ' ' || c == '\x7f';
        }));
    }
}

}  // namespace

}  // namespace app

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    // Files of this machine are not what is tried here.
    if (text.find("include") != std::string_view::npos) return 0;
    const size_t lines = 1 + static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
    const app::Told told = app::read_text(text);
    app::check_lines(told.mistakes, lines);
    app::check_lines(told.warnings, lines);
    if (text.starts_with("\xef\xbb\xbf")) return 0;  // a byte order mark stands first or nowhere
    const app::Told moved = app::read_text("# comment\n" + std::string(text));
    base::check(moved.mistakes.size() == told.mistakes.size());
    base::check(moved.warnings.size() == told.warnings.size());
    return 0;
}
