// Reads HTTP/1 message heads (RFC 9112), strictly: HeadGuard over the raw bytes, llhttp, then a
// semantic check. What is accepted means one thing only to every HTTP/1 reader; all else is refused
// with the verdict of faults.md 2a and BE-08 … BE-11. Pure: no socket, no clock, no memory of its
// own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proxy/head.h"
#include "proxy/head_guard.h"

namespace proxy {

struct ParseResult {
    enum class State : uint8_t { Incomplete, Complete, Bad };
    State state = State::Incomplete;
    size_t consumed =
        0;  ///< Complete: bytes of the head, its empty line (and a CRLF before it) included
    int status = 0;           ///< Bad: 400, 405, 414, 417, 431, 505 (requests) or 502 (responses)
    const char* reason = "";  ///< Bad: the word for the log, e.g. "bare-lf", "te-and-cl"
};

/// `bytes`: everything received since the last message's end, from its first byte; the same bytes
/// and more at the next call. `head` is filled when Complete; its views point into `bytes` (or to
/// literals). The verdict does not depend on how the bytes were cut (H1-50).
ParseResult parse_request(std::string_view bytes, HeadProgress& progress, RequestHead& head);

/// `to_head`: it answers a HEAD request. 1xx are heads of their own. Framing is RFC 9112 6.3.
ParseResult parse_response(std::string_view bytes, HeadProgress& progress, bool to_head,
                           ResponseHead& head);

/// Calls `each(token)` for the elements of a comma-separated list (RFC 9110 5.6.1), trimmed, empty
/// ones left out.
template <typename Each>
void for_each_element(std::string_view list, Each&& each);

}  // namespace proxy

#include "proxy/http1_parser_inl.h"
