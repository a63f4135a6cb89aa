#include "proxy/head_guard.h"

#include <algorithm>
#include <bit>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace proxy {

namespace {

enum ByteClass : uint8_t { Token = 1, Control = 2, NotInTarget = 4 };

constexpr std::array<uint8_t, 256> byte_classes = [] {
    constexpr std::string_view symbols = "!#$%&'*+-.^_`|~";
    std::array<uint8_t, 256> classes{};
    for (size_t c = 0; c < 256; ++c) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const bool digit = c >= '0' && c <= '9';
        const bool symbol = symbols.find(static_cast<char>(c)) != std::string_view::npos;
        if (letter || digit || symbol) classes[c] |= Token;
        if ((c < 0x20 && c != '\t') || c == 0x7f) classes[c] |= Control;
        if (c <= ' ' || c >= 0x7f || c == '#' || c == '\\') classes[c] |= NotInTarget;
    }
    return classes;
}();

bool is_of(char c, ByteClass wanted) {
    return (byte_classes[static_cast<uint8_t>(c)] & wanted) != 0;
}

// A scan looks at 16 bytes at once where the machine can: `stops` gives one bit for each of them.
#if defined(__SSE2__)

__m128i load(const char* at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

uint32_t mask(__m128i bytes) {
    return static_cast<uint32_t>(_mm_movemask_epi8(bytes));
}

uint32_t control_stops(const char* at) {
    const __m128i bytes = load(at);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    const __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    return mask(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}

uint32_t target_stops(const char* at) {
    const __m128i bytes = load(at);
    // Signed: bytes from 0x80 on are below '!' too.
    const __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8('!'));
    const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    const __m128i hash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('#'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    return mask(_mm_or_si128(_mm_or_si128(low, del), _mm_or_si128(hash, backslash)));
}

/// All but letters and '-': what nearly all field names are made of.
uint32_t name_stops(const char* at) {
    const __m128i bytes = load(at);
    const __m128i lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    const __m128i letter = _mm_and_si128(_mm_cmpgt_epi8(lower, _mm_set1_epi8('a' - 1)),
                                         _mm_cmplt_epi8(lower, _mm_set1_epi8('z' + 1)));
    const __m128i dash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-'));
    return ~mask(_mm_or_si128(letter, dash)) & 0xffff;
}

template <uint32_t (*stops)(const char*)>
size_t scan(std::string_view bytes, size_t from, size_t to) {
    for (; to - from >= 16; from += 16) {
        if (const uint32_t found = stops(bytes.data() + from); found != 0) {
            return from + static_cast<size_t>(std::countr_zero(found));
        }
    }
    if (from == to) return to;
    if (to >= 16) {
        // The rest, as the end of a block that begins earlier.
        const uint32_t found = stops(bytes.data() + to - 16) >> (16 - (to - from));
        return found != 0 ? from + static_cast<size_t>(std::countr_zero(found)) : to;
    }
    return from;
}

#else

template <int>
size_t scan(std::string_view, size_t from, size_t) {
    return from;
}
constexpr int control_stops = 0, target_stops = 0, name_stops = 0;

#endif

constexpr GuardResult bad(const char* reason) {
    return {GuardResult::State::Bad, reason};
}

const char* reason_for_control(char c) {
    switch (c) {
        case '\n':
            return "bare-lf";
        case '\0':
            return "nul";
        default:
            return "control-byte";
    }
}

}  // namespace

bool is_token_byte(char c) {
    return is_of(c, Token);
}

// Where a scan stops early (no SSE2, a short buffer, an unusual byte), the table goes on from
// there.

size_t token_end(std::string_view bytes, size_t from, size_t to) {
    from = scan<name_stops>(bytes, from, to);
    while (from < to && is_of(bytes[from], Token)) ++from;
    return from;
}

size_t target_end(std::string_view bytes, size_t from, size_t to) {
    from = scan<target_stops>(bytes, from, to);
    while (from < to && !is_of(bytes[from], NotInTarget)) ++from;
    return from;
}

size_t find_control(std::string_view bytes, size_t from, size_t to) {
    from = scan<control_stops>(bytes, from, to);
    while (from < to && !is_of(bytes[from], Control)) ++from;
    return from;
}

GuardResult guard_head(std::string_view bytes, const GuardRules& rules, HeadProgress& progress,
                       HeadLines& lines) {
    const bool resumed = progress.scanned > 0;
    const size_t end = std::min(bytes.size(), rules.head_bytes_max);
    HeadProgress at = progress;  // in registers
    for (;;) {
        const bool limited =
            at.lines == 0 && bytes.size() - at.line_start >= rules.start_line_bytes_max;
        const size_t line_limit = limited ? at.line_start + rules.start_line_bytes_max : end;
        if (at.scanned == at.line_start) {
            if (at.scanned == end) break;
            const char first = bytes[at.scanned];
            if (first == '\r') {
                if (at.scanned + 1 == end) break;
                if (bytes[at.scanned + 1] != '\n') return bad("bare-cr");
                if (at.lines == 0) {
                    if (!rules.skip_empty_line || at.line_start > 0) return bad("empty-line");
                    at.scanned = at.line_start = 2;
                    continue;
                }
                if (resumed) {
                    // Where the earlier lines begin was not kept: once more, over the whole.
                    progress.reset();
                    return guard_head(bytes, rules, progress, lines);
                }
                lines.starts[at.lines] = static_cast<uint32_t>(at.scanned);
                lines.count = at.lines;
                lines.end = at.scanned + 2;
                progress = at;
                return {GuardResult::State::Complete};
            }
            if (first == ' ' || first == '\t') return bad("blank-before-line");
            if (at.lines > fields_max)
                return {GuardResult::State::TooManyFields, "too-many-fields"};
            lines.starts[at.lines] = static_cast<uint32_t>(at.scanned);
        }
        at.scanned = find_control(bytes, at.scanned, line_limit);
        if (at.scanned < line_limit && bytes[at.scanned] != '\r') {
            return bad(reason_for_control(bytes[at.scanned]));
        }
        if (at.scanned + 1 >= line_limit) {
            if (!limited) break;
            progress = at;
            return {GuardResult::State::StartLineTooLong, "start-line-too-long"};
        }
        if (bytes[at.scanned + 1] != '\n') return bad("bare-cr");
        at.lines++;
        at.scanned += 2;
        at.line_start = at.scanned;
    }
    progress = at;
    if (bytes.size() >= rules.head_bytes_max) {
        return {GuardResult::State::TooLarge, "head-too-large"};
    }
    return {};
}

}  // namespace proxy
