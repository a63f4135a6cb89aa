// Small, pure text functions that several rooms need: ASCII case, trimming, base64url, hex, nearest
// word.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace base {

/// ASCII only, as DNS names and HTTP field names want it.
char to_lower(char c);
std::string to_lower(std::string_view text);
bool iequals(std::string_view a, std::string_view b);
/// Without SP and HTAB at both ends (RFC 9110 OWS).
std::string_view trim(std::string_view text);
/// The parts between separators, untrimmed; "" gives one empty part.
std::vector<std::string_view> split(std::string_view text, char separator);
/// The other way round.
std::string join(std::span<const std::string> texts, std::string_view separator);

std::string hex(std::span<const uint8_t> bytes);
/// RFC 4648 section 5 without padding.
std::string base64url(std::span<const uint8_t> bytes);
std::optional<std::vector<uint8_t>> from_base64url(std::string_view text);

/// Control bytes, quotes, backslashes and bytes >= 0x80 as \xNN, cut at `max` bytes with "...":
/// safe for a log line (faults.md PR-14).
std::string escape_for_log(std::string_view text, size_t max = 1024);
/// & < > " ' as entities.
std::string escape_html(std::string_view text);

/// The candidate with the smallest edit distance, if it is near enough to be a typo of `word`.
std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates);

/// mod_md's duration grammar (mod_md.md 1.2): an integer with unit d, h, mi, s or ms. `m` alone,
/// `w` and `y` are refused; a missing unit is refused unless `unit_if_none` is one of those.
std::optional<Duration> parse_duration(std::string_view text, std::string_view unit_if_none = {});
/// The largest unit that divides evenly: "14d", "36h", "90mi", "30s", "200ms".
std::string format_duration(Duration duration);

/// "16KiB", "64k", "1MiB", "512": bytes.
std::optional<uint64_t> parse_size(std::string_view text);

/// A DNS name as we store and compare it: ASCII lower case without a trailing dot. nullopt unless
/// it is letters, digits, '-', '_' and dots in labels of 1..63 bytes, 253 in all, or "*." before
/// such a name.
std::optional<std::string> normalize_dns_name(std::string_view name);
/// mod_md.md 2.1: equal, or `pattern` is "*.rest" and `name` has exactly one label before ".rest".
/// Both normalised; an IP address equals itself alone.
bool dns_name_matches(std::string_view pattern, std::string_view name);

}  // namespace base
