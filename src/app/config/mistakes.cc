#include "app/config/mistakes.h"

namespace app {

void Mistakes::put(std::vector<Line>& lines, const Place& place, std::string text) {
    if (lines.size() >= shown_max) {
        if (&lines == &mistakes_) ++unshown_;
        return;
    }
    if (place.file) text = fmt::format("{}: {}", place.text(), text);
    const Line line{place.file ? place.file->order : -1, place.line, std::move(text)};
    const auto same = [&](const Line& other) { return other.text == line.text; };
    if (std::none_of(lines.begin(), lines.end(), same)) lines.push_back(line);
}

std::vector<std::string> Mistakes::sorted(std::vector<Line> lines) {
    std::stable_sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) {
        return std::tie(a.file, a.line) < std::tie(b.file, b.line);
    });
    std::vector<std::string> texts;
    for (Line& line : lines) texts.push_back(std::move(line.text));
    return texts;
}

std::vector<std::string> Mistakes::lines() const {
    std::vector<std::string> texts = sorted(mistakes_);
    if (unshown_ > 0) texts.push_back(fmt::format("… and {} more", unshown_));
    return texts;
}

std::vector<std::string> Mistakes::warning_lines() const {
    return sorted(warnings_);
}

}  // namespace app
