// All that is wrong with a configuration, collected, so that one run of `mdfront check` shows
// everything. A line: "file:line: what is wrong; what to write instead" (faults.md 2i).
#pragma once

#include <fmt/format.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "app/config/document.h"

namespace app {

/// Mistakes forbid a start; warnings do not.
class Mistakes {
  public:
    /// More than this are counted and not shown.
    static constexpr size_t shown_max = 100;

    template <typename... Args>
    void add(const Place& place, fmt::format_string<Args...> format, Args&&... args) {
        put(mistakes_, place, fmt::format(format, std::forward<Args>(args)...));
    }
    template <typename... Args>
    void warn(const Place& place, fmt::format_string<Args...> format, Args&&... args) {
        put(warnings_, place, fmt::format(format, std::forward<Args>(args)...));
    }

    /// Remembers that the value of `key` could not be read, so that its absence is no second
    /// mistake.
    void note_unread(std::string_view key) { unread_.emplace(key); }
    bool is_unread(std::string_view key) const { return unread_.count(std::string(key)) > 0; }

    /// A file that a value, or the configuration itself, was read from: a reload reads it again.
    struct ReadFile {
        Place place;
        std::string path;
    };
    void note_read(const Place& place, std::string path) {
        read_files_.push_back({place, std::move(path)});
    }
    const std::vector<ReadFile>& read_files() const { return read_files_; }

    bool any() const { return !mistakes_.empty(); }
    size_t count() const { return mistakes_.size() + unshown_; }
    /// In the order of files and lines, each with its place; a last line says how many are left
    /// out.
    std::vector<std::string> lines() const;
    std::vector<std::string> warning_lines() const;

  private:
    struct Line {
        int file = 0;
        uint32_t line = 0;
        std::string text;
    };
    void put(std::vector<Line>& lines, const Place& place, std::string text);
    static std::vector<std::string> sorted(std::vector<Line> lines);

    std::vector<Line> mistakes_;
    std::vector<Line> warnings_;
    std::set<std::string> unread_;
    std::vector<ReadFile> read_files_;
    size_t unshown_ = 0;
};

}  // namespace app
