#include "app/command/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "base/result.h"

namespace app {

namespace {

constexpr size_t width_min = 40;   // a window that nobody reads in
constexpr size_t column_min = 10;  // what a yielding column keeps
constexpr size_t gap = 2;
constexpr std::string_view ellipsis = "…";

/// How many bytes the character at the beginning of `text` has, at least 1.
size_t character_bytes(std::string_view text) {
    size_t size = 1;
    while (size < text.size() && (static_cast<uint8_t>(text[size]) & 0xc0) == 0x80) ++size;
    return size;
}

std::string_view escape_of(Paint paint) {
    switch (paint) {
        case Paint::Good:
            return "\x1b[32m";
        case Paint::Warn:
            return "\x1b[33m";
        case Paint::Bad:
            return "\x1b[31m";
        case Paint::Quiet:
            return "\x1b[2m";
        case Paint::Strong:
            return "\x1b[1m";
        case Paint::None:
            break;
    }
    return "";
}

}  // namespace

Look Look::of(int fd) {
    if (::isatty(fd) == 0) return {.width = 0, .colour = false};
    Look look;
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        look.width = std::max<size_t>(size.ws_col, width_min);
    }
    const char* no_color = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    const bool is_dumb = term == nullptr || std::string_view(term) == "dumb";
    look.colour = !is_dumb && (no_color == nullptr || *no_color == '\0');
    return look;
}

std::string Look::paint(Paint paint, std::string_view text) const {
    if (!colour || paint == Paint::None || text.empty()) return std::string(text);
    return fmt::format("{}{}\x1b[0m", escape_of(paint), text);
}

std::string printable(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const size_t size = character_bytes(text);
        const auto first = static_cast<uint8_t>(text[0]);
        // U+0080 to U+009F are control characters, too.
        const bool is_c1 = first == 0xc2 && size == 2 && static_cast<uint8_t>(text[1]) < 0xa0;
        const bool is_stray = first >= 0x80 && (size == 1 || first < 0xc2);
        if (first < 0x20 || first == 0x7f || is_c1 || is_stray) {
            result += '?';
        } else {
            result += text.substr(0, size);
        }
        text.remove_prefix(size);
    }
    return result;
}

size_t columns(std::string_view text) {
    size_t count = 0;
    for (; !text.empty(); text.remove_prefix(character_bytes(text))) ++count;
    return count;
}

std::string cut(std::string_view text, size_t max) {
    if (columns(text) <= max) return std::string(text);
    size_t bytes = 0;
    for (size_t i = 0; i + 1 < max; ++i) bytes += character_bytes(text.substr(bytes));
    return std::string(text.substr(0, bytes)) + std::string(ellipsis);
}

std::vector<std::string> wrapped(std::string_view text, size_t width) {
    std::vector<std::string> lines;
    size_t used = 0;  // columns of the last line
    while (!text.empty()) {
        const size_t blank = text.find(' ');
        std::string_view word = text.substr(0, blank);
        text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
        if (word.empty()) continue;
        const size_t needed = columns(word);
        if (!lines.empty() && (width == 0 || used + 1 + needed <= width)) {
            lines.back() += ' ';
            lines.back() += word;
            used += 1 + needed;
            continue;
        }
        for (lines.emplace_back(), used = 0; !word.empty();) {
            if (width > 0 && used == width) {
                lines.emplace_back();
                used = 0;
            }
            const size_t size = character_bytes(word);
            lines.back() += word.substr(0, size);
            word.remove_prefix(size);
            ++used;
        }
    }
    return lines;
}

std::string paragraph(std::string_view first, std::string_view text, const Look& look,
                      Paint paint) {
    const size_t indent = columns(first);
    const size_t room = look.width > indent ? look.width - indent : look.width;
    std::string result;
    for (const std::string& line : wrapped(text, room)) {
        result += result.empty() ? std::string(first) : std::string(indent, ' ');
        result += look.paint(paint, line) + "\n";
    }
    return result;
}

Table::Table(std::vector<std::string> heads, std::vector<size_t> yields)
    : yields_(std::move(yields)) {
    std::vector<Cell> row;
    for (std::string& head : heads) row.push_back({std::move(head), Paint::Quiet});
    rows_.push_back(std::move(row));
}

void Table::add(std::vector<Cell> row) {
    base::check(row.size() == rows_.front().size());
    rows_.push_back(std::move(row));
}

std::vector<size_t> Table::widths(const Look& look) const {
    std::vector<size_t> widths(rows_.front().size(), 0);
    for (const auto& row : rows_) {
        for (size_t i = 0; i < row.size(); ++i) {
            widths[i] = std::max(widths[i], columns(row[i].text));
        }
    }
    if (look.width == 0) return widths;
    const size_t gaps = gap * (widths.size() - 1);
    size_t all = std::accumulate(widths.begin(), widths.end(), gaps);
    for (const size_t column : yields_) {
        if (all <= look.width || widths[column] <= column_min) continue;
        const size_t given = std::min(all - look.width, widths[column] - column_min);
        widths[column] -= given;
        all -= given;
    }
    return widths;
}

std::vector<std::string> Table::lines(const Look& look) const {
    const std::vector<size_t> width = widths(look);
    std::vector<std::string> lines;
    for (const auto& row : rows_) {
        std::string line;
        for (size_t i = 0; i < row.size(); ++i) {
            const std::string text = cut(row[i].text, width[i]);
            line += look.paint(row[i].paint, text);
            // No blanks at the end of a line.
            if (i + 1 < row.size()) line += std::string(width[i] - columns(text) + gap, ' ');
        }
        lines.push_back(std::move(line));
    }
    return lines;
}

}  // namespace app
