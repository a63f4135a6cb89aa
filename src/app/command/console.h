// What text looks like for the one who reads it: a terminal's width and colours, tables, wrapped
// paragraphs. Pure but for Look::of().
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace app {

enum class Paint : uint8_t { None, Good, Warn, Bad, Quiet, Strong };

/// How to write.
struct Look {
    size_t width = 80;  // columns; 0: lines may be as long as they like, nothing is cut
    bool colour = false;

    /// Of a file descriptor: nothing is cut or coloured unless it is a terminal; NO_COLOR and
    /// TERM=dumb are respected.
    static Look of(int fd);
    std::string paint(Paint paint, std::string_view text) const;
};

/// Safe to print: what came from a CA could move the cursor, or worse. Control characters become
/// '?'.
std::string printable(std::string_view text);

/// Characters of UTF-8 text, each taken for one column.
size_t columns(std::string_view text);
/// At most `max` columns, the last an ellipsis if something is left out.
std::string cut(std::string_view text, size_t max);

/// Broken between words (longer ones anywhere) into lines of at most `width` columns; one line if
/// that is 0. No line at all for "".
std::vector<std::string> wrapped(std::string_view text, size_t width);
/// The same as one text: `first` before the first line, blanks of that length before the others,
/// and line breaks.
std::string paragraph(std::string_view first, std::string_view text, const Look& look,
                      Paint paint = Paint::None);

struct Cell {
    std::string text;
    Paint paint = Paint::None;
};

/// Columns as wide as their cells, two blanks between. If that is wider than the terminal, the
/// columns named in `yields` give up what is missing, one after the other.
class Table {
  public:
    Table(std::vector<std::string> heads, std::vector<size_t> yields);
    void add(std::vector<Cell> row);
    /// The heading and the rows, a line each, without the last line breaks.
    std::vector<std::string> lines(const Look& look) const;

  private:
    std::vector<size_t> widths(const Look& look) const;

    std::vector<std::vector<Cell>> rows_;  // the first is the heading
    std::vector<size_t> yields_;
};

}  // namespace app
