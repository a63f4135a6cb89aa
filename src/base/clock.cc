#include "base/clock.h"

#include <condition_variable>
#include <cstdio>
#include <ctime>

namespace base {

namespace {

constexpr std::string_view day_names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::string_view month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct Fields {
    int year, month, day, hour, minute, second;
};

bool to_time(const Fields& f, Time& time) {
    using namespace std::chrono;
    const year_month_day date{year{f.year}, month{static_cast<unsigned>(f.month)},
                              day{static_cast<unsigned>(f.day)}};
    if (!date.ok() || f.hour > 23 || f.minute > 59 || f.second > 60) return false;
    time = sys_days{date} + hours{f.hour} + minutes{f.minute} + seconds{f.second};
    return true;
}

/// Reads exactly `count` digits and drops them from `text`.
bool take_digits(std::string_view& text, size_t count, int& value) {
    if (text.size() < count) return false;
    value = 0;
    for (size_t i = 0; i < count; ++i) {
        if (text[i] < '0' || text[i] > '9') return false;
        value = value * 10 + (text[i] - '0');
    }
    text.remove_prefix(count);
    return true;
}

bool take(std::string_view& text, std::string_view expected) {
    if (!text.starts_with(expected)) return false;
    text.remove_prefix(expected.size());
    return true;
}

std::tm to_tm(Time time) {
    const std::time_t seconds =
        std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
    std::tm result{};
    gmtime_r(&seconds, &result);
    return result;
}

}  // namespace

struct SystemClock::State {
    std::mutex mutex;
    std::condition_variable wake;
    bool stopping = false;
};

SystemClock::SystemClock() : state_(std::make_unique<State>()) {}
SystemClock::~SystemClock() = default;

Time SystemClock::now() {
    return std::chrono::floor<Duration>(std::chrono::system_clock::now());
}

bool SystemClock::sleep(Duration duration) {
    std::unique_lock lock(state_->mutex);
    return !state_->wake.wait_for(lock, duration, [this] { return state_->stopping; });
}

void SystemClock::stop() {
    {
        std::lock_guard lock(state_->mutex);
        state_->stopping = true;
    }
    state_->wake.notify_all();
}

std::string format_http_date(Time time) {
    const std::tm t = to_tm(time);
    return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
                       day_names[static_cast<size_t>(t.tm_wday)], t.tm_mday,
                       month_names[static_cast<size_t>(t.tm_mon)], t.tm_year + 1900, t.tm_hour,
                       t.tm_min, t.tm_sec);
}

bool parse_http_date(std::string_view text, Time& time) {
    Fields f{};
    const bool day_ok = std::any_of(std::begin(day_names), std::end(day_names),
                                    [&](std::string_view name) { return take(text, name); });
    if (!day_ok || !take(text, ", ") || !take_digits(text, 2, f.day) || !take(text, " ")) {
        return false;
    }
    for (int m = 0; m < 12; ++m) {
        if (take(text, month_names[m])) {
            f.month = m + 1;
            break;
        }
    }
    if (f.month == 0 || !take(text, " ") || !take_digits(text, 4, f.year) || !take(text, " ") ||
        !take_digits(text, 2, f.hour) || !take(text, ":") || !take_digits(text, 2, f.minute) ||
        !take(text, ":") || !take_digits(text, 2, f.second) || text != " GMT") {
        return false;
    }
    return to_time(f, time);
}

std::string format_rfc3339(Time time) {
    const std::tm t = to_tm(time);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", t.tm_year + 1900, t.tm_mon + 1,
                       t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

bool parse_rfc3339(std::string_view text, Time& time) {
    Fields f{};
    if (!take_digits(text, 4, f.year) || !take(text, "-") || !take_digits(text, 2, f.month) ||
        !take(text, "-") || !take_digits(text, 2, f.day) ||
        !(take(text, "T") || take(text, "t") || take(text, " ")) || !take_digits(text, 2, f.hour) ||
        !take(text, ":") || !take_digits(text, 2, f.minute) || !take(text, ":") ||
        !take_digits(text, 2, f.second)) {
        return false;
    }
    int milliseconds = 0;
    if (take(text, ".")) {
        int digit = 0;
        int scale = 100;
        if (!take_digits(text, 1, digit)) return false;
        do {
            milliseconds += digit * scale;
            scale /= 10;
        } while (take_digits(text, 1, digit));
    }
    int offset_minutes = 0;
    if (!take(text, "Z") && !take(text, "z")) {
        int hours = 0;
        int minutes = 0;
        const bool negative = text.starts_with('-');
        if (!take(text, "+") && !take(text, "-")) return false;
        if (!take_digits(text, 2, hours) || !take(text, ":") || !take_digits(text, 2, minutes) ||
            hours > 23 || minutes > 59) {
            return false;
        }
        offset_minutes = (hours * 60 + minutes) * (negative ? -1 : 1);
    }
    if (!text.empty() || !to_time(f, time)) return false;
    time += Duration{milliseconds} - std::chrono::minutes{offset_minutes};
    return true;
}

}  // namespace base
