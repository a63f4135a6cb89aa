#include "base/log_sampler.h"

#include <charconv>

#include "base/result.h"

namespace base {

LogSampler::LogSampler(uint32_t lines_max) : lines_max_(lines_max) {
    check(lines_max > 0);
}

LogSampler::Line LogSampler::next(size_t key, uint64_t now_ms) {
    check(key < keys_max);
    Period& period = periods_[key];
    Line line;
    const bool is_new = period.lines == 0 || now_ms - period.start_ms >= period_ms;
    if (!is_new && period.lines >= lines_max_) {
        ++period.left_out;
        return line;
    }
    line.is_due_ = true;
    if (is_new) {
        // Lines were left out between the old period's start and its end only: in 10 s.
        if (period.left_out > 0) line.put(period.left_out);
        period = {.start_ms = now_ms};
    }
    ++period.lines;
    return line;
}

void LogSampler::Line::put(uint64_t left_out) {
    char digits[20];
    const auto count =
        static_cast<size_t>(std::to_chars(digits, digits + sizeof digits, left_out).ptr - digits);
    const auto append = [this](std::string_view text) {
        std::copy(text.begin(), text.end(), text_.begin() + size_);
        size_ = static_cast<uint8_t>(size_ + text.size());
    };
    append(" (and ");
    for (size_t i = 0; i < count; ++i) {
        if (i > 0 && (count - i) % 3 == 0) append(",");
        append({digits + i, 1});
    }
    append(" more in 10 s)");
}

}  // namespace base
