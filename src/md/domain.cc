#include "md/domain.h"

#include <charconv>

#include "base/text.h"

namespace md {

std::string KeySpec::file_suffix() const {
    return type == Type::Ec ? "." + base::to_lower(curve) : "";
}

std::string KeySpec::status_name() const {
    return type == Type::Ec ? curve : "rsa";
}

base::Duration Window::of(base::Duration lifetime) const {
    using std::chrono::floor;
    using std::chrono::seconds;
    if (length != base::Duration::zero()) return length;
    if (lifetime <= base::Duration::zero()) return base::Duration::zero();
    // Whole seconds, as mod_md computes it; certificates of seconds (in tests) need more.
    if (lifetime <= seconds{100}) return lifetime * percent / 100;
    return floor<seconds>(lifetime) * percent / 100;
}

std::string Window::text() const {
    if (length != base::Duration::zero()) return base::format_duration(length);
    return fmt::format("{}%", percent);
}

std::optional<Window> Window::parse(std::string_view text, std::string& error) {
    if (text.ends_with('%')) {
        const std::string_view number = text.substr(0, text.size() - 1);
        int percent = 0;
        const auto [end, code] =
            std::from_chars(number.data(), number.data() + number.size(), percent);
        if (code == std::errc::invalid_argument || end != number.data() + number.size()) {
            error = "has unrecognized duration format";
            return std::nullopt;
        }
        if (code != std::errc{} || percent < 0 || percent >= 100) {
            error = "percent must be less than 100";
            return std::nullopt;
        }
        return Window{percent, {}};
    }
    const std::optional<base::Duration> length = base::parse_duration(text, "d");
    if (!length) {
        error = "has unrecognized duration format";
        return std::nullopt;
    }
    if (*length < base::Duration::zero()) {
        error = "must not be negative";
        return std::nullopt;
    }
    return Window{0, *length};
}

std::vector<KeySpec> Domain::key_specs() const {
    if (private_keys.empty() || is_from_tailscale()) return {KeySpec{}};
    return private_keys;
}

bool Domain::contains(std::string_view other) const {
    return std::any_of(names.begin(), names.end(), [&](const std::string& pattern) {
        return base::dns_name_matches(pattern, other);
    });
}

std::vector<std::string> Domain::minimal_names() const {
    std::vector<std::string> minimal;
    for (const std::string& candidate : names) {
        const bool covered =
            std::any_of(names.begin(), names.end(), [&](const std::string& pattern) {
                return pattern != candidate && base::dns_name_matches(pattern, candidate);
            });
        if (!covered) minimal.push_back(candidate);
    }
    return minimal;
}

}  // namespace md
