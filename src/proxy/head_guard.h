// The first reader of a message head: one vectorised pass over the raw bytes that finds its lines
// and its end, and refuses what a reader could see as a line end, a continuation or a terminator
// where another does not (faults.md H1-17 … H1-23):
//
//   every LF stands after a CR, every CR before an LF; no NUL, control byte (HTAB excepted) or DEL;
//   no line begins with SP or HTAB; no empty line before the start line, save one CRLF if allowed;
//   not longer than its limits, and not more lines.
//
// It knows nothing of names and values: http1_parser.cc reads those from the lines found here. Also
// the byte classes of RFC 9110 that the readers share. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proxy/limits.h"

namespace proxy {

/// Progress over a head that comes in pieces, so that a byte at a time is not scanned
/// quadratically. reset() before each message.
struct HeadProgress {
    size_t scanned = 0;     // bytes judged
    size_t line_start = 0;  // where the line begins that is being scanned
    size_t lines = 0;       // ended before that one
    void reset() { *this = HeadProgress{}; }
};

/// Lines of a complete head. Line i, with its CRLF, is [starts[i], starts[i + 1]); line 0 is the
/// start line, starts[count] the empty line.
struct HeadLines {
    std::array<uint32_t, fields_max + 2> starts;
    size_t count = 0;
    size_t end = 0;  // after the empty line
};

struct GuardRules {
    size_t start_line_bytes_max;  // with its CRLF
    size_t head_bytes_max;
    bool skip_empty_line;  // one CRLF before the start line (RFC 9112 2.2)
};

struct GuardResult {
    enum class State : uint8_t {
        Incomplete,
        Complete,
        Bad,
        StartLineTooLong,
        TooLarge,
        TooManyFields
    };
    State state = State::Incomplete;
    const char* reason = "";  // not for Incomplete and Complete
};

/// `bytes` as for parse_request(). `lines` is filled when Complete.
GuardResult guard_head(std::string_view bytes, const GuardRules& rules, HeadProgress& progress,
                       HeadLines& lines);

/// RFC 9110 5.6.2.
bool is_token_byte(char c);
/// The first byte in [from, to) that is not of a token; `to` if all are.
size_t token_end(std::string_view bytes, size_t from, size_t to);
/// The first byte in [from, to) that no request target has (H1-47): SP and below, DEL and above,
/// '#', '\'.
size_t target_end(std::string_view bytes, size_t from, size_t to);
/// The first control byte other than HTAB, or DEL, in [from, to).
size_t find_control(std::string_view bytes, size_t from, size_t to);

}  // namespace proxy
