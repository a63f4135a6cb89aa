#include "base/text.h"

#include <charconv>

#include "base/ip_address.h"

namespace base {

char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

std::string to_lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = to_lower(c);
    return result;
}

bool iequals(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               return to_lower(x) == to_lower(y);
           });
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (;;) {
        const size_t at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return parts;
        text.remove_prefix(at + 1);
    }
}

std::string join(std::span<const std::string> texts, std::string_view separator) {
    return fmt::format("{}", fmt::join(texts, separator));
}

std::string hex(std::span<const uint8_t> bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string result;
    result.reserve(bytes.size() * 2);
    for (const uint8_t b : bytes) {
        result += digits[b >> 4];
        result += digits[b & 15];
    }
    return result;
}

namespace {
constexpr std::string_view base64url_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
}

std::string base64url(std::span<const uint8_t> bytes) {
    std::string result;
    result.reserve((bytes.size() * 4 + 2) / 3);
    uint32_t bits = 0;
    int count = 0;
    for (const uint8_t b : bytes) {
        bits = (bits << 8) | b;
        count += 8;
        while (count >= 6) {
            count -= 6;
            result += base64url_alphabet[(bits >> count) & 63];
        }
    }
    if (count > 0) result += base64url_alphabet[(bits << (6 - count)) & 63];
    return result;
}

std::optional<std::vector<uint8_t>> from_base64url(std::string_view text) {
    std::vector<uint8_t> result;
    result.reserve(text.size() * 3 / 4);
    uint32_t bits = 0;
    int count = 0;
    for (const char c : text) {
        const size_t value = base64url_alphabet.find(c);
        if (value == std::string_view::npos) return std::nullopt;
        bits = (bits << 6) | static_cast<uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            result.push_back(static_cast<uint8_t>(bits >> count));
        }
    }
    // A lone sextet, or padding bits that are not zero, is no encoding of anything.
    if (count >= 6 || (bits & ((1u << count) - 1)) != 0) return std::nullopt;
    return result;
}

std::string escape_for_log(std::string_view text, size_t max) {
    std::string result;
    for (const char c : text) {
        if (result.size() >= max) {
            result += "...";
            break;
        }
        const auto byte = static_cast<uint8_t>(c);
        if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
            result += fmt::format("\\x{:02x}", byte);
        } else {
            result += c;
        }
    }
    return result;
}

std::string escape_html(std::string_view text) {
    std::string result;
    for (const char c : text) {
        switch (c) {
            case '&':
                result += "&amp;";
                break;
            case '<':
                result += "&lt;";
                break;
            case '>':
                result += "&gt;";
                break;
            case '"':
                result += "&quot;";
                break;
            case '\'':
                result += "&#39;";
                break;
            default:
                result += c;
        }
    }
    return result;
}

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates) {
    std::optional<std::string_view> best;
    size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
    std::vector<size_t> row;
    for (const std::string_view candidate : candidates) {
        row.resize(candidate.size() + 1);
        for (size_t j = 0; j < row.size(); ++j) row[j] = j;
        for (size_t i = 1; i <= word.size(); ++i) {
            size_t diagonal = std::exchange(row[0], i);
            for (size_t j = 1; j < row.size(); ++j) {
                const size_t substitute = diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
            }
        }
        if (row.back() < best_distance) {
            best_distance = row.back();
            best = candidate;
        }
    }
    return best;
}

namespace {

struct Unit {
    std::string_view name;
    int64_t milliseconds;
};
constexpr Unit duration_units[] = {
    {"d", 86'400'000}, {"h", 3'600'000}, {"mi", 60'000}, {"s", 1'000}, {"ms", 1}};

}  // namespace

std::optional<Duration> parse_duration(std::string_view text, std::string_view unit_if_none) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{}) return std::nullopt;
    std::string unit = to_lower(text.substr(static_cast<size_t>(end - text.data())));
    if (unit.empty()) unit = unit_if_none;
    if (unit.empty()) return std::nullopt;
    // mod_md looks at the first letters only: "30days" is 30d. "m" alone is ambiguous and refused.
    if (unit[0] == 'm') {
        if (!unit.starts_with("mi") && !unit.starts_with("ms")) return std::nullopt;
        unit.resize(2);
    } else {
        unit.resize(1);
    }
    for (const Unit& u : duration_units) {
        int64_t milliseconds = 0;
        if (u.name == unit && !__builtin_mul_overflow(number, u.milliseconds, &milliseconds)) {
            return Duration{milliseconds};
        }
    }
    return std::nullopt;
}

std::string format_duration(Duration duration) {
    const int64_t milliseconds = duration.count();
    if (milliseconds == 0) return "0s";
    for (const Unit& u : duration_units) {
        if (milliseconds % u.milliseconds == 0) {
            return fmt::format("{}{}", milliseconds / u.milliseconds, u.name);
        }
    }
    return fmt::format("{}ms", milliseconds);
}

std::optional<uint64_t> parse_size(std::string_view text) {
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{}) return std::nullopt;
    const std::string unit = to_lower(text.substr(static_cast<size_t>(end - text.data())));
    int shift = 0;
    if (unit == "k" || unit == "kib") {
        shift = 10;
    } else if (unit == "m" || unit == "mib") {
        shift = 20;
    } else if (unit == "g" || unit == "gib") {
        shift = 30;
    } else if (!unit.empty() && unit != "b") {
        return std::nullopt;
    }
    if (number > (UINT64_MAX >> shift)) return std::nullopt;
    return number << shift;
}

std::optional<std::string> normalize_dns_name(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    std::string_view labels = name;
    if (labels.starts_with("*.")) labels.remove_prefix(2);
    if (labels.empty() || name.size() > 253) return std::nullopt;
    for (const std::string_view label : split(labels, '.')) {
        if (label.empty() || label.size() > 63) return std::nullopt;
        for (const char c : label) {
            const char l = to_lower(c);
            if (!(l >= 'a' && l <= 'z') && !(l >= '0' && l <= '9') && l != '-' && l != '_') {
                return std::nullopt;
            }
        }
    }
    return to_lower(name);
}

bool dns_name_matches(std::string_view pattern, std::string_view name) {
    if (iequals(pattern, name)) return true;
    if (!pattern.starts_with("*.")) return false;
    const size_t dot = name.find('.');
    return dot != std::string_view::npos && dot > 0 &&
           iequals(pattern.substr(1), name.substr(dot)) && !is_ip_address(name);
}

}  // namespace base
