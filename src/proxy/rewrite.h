// Parsed heads become the heads that we send. Nothing of a peer's framing, of its hop-by-hop fields
// or of what it claims about the way to us is passed on; the rest goes as it came, in its order,
// with one copy per run of unchanged lines. Pure, no allocation: both run once per request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "proxy/head.h"

namespace proxy {

/// What a backend is told about the client. Views live during the call.
struct ForwardInfo {
    std::string_view client_address = {};  // without port; "": it has none, and no X-Forwarded-For
    std::string_view proto = {};           // "https" or "http"
    std::string_view host_sent = {};       // Host, and X-Forwarded-Host unless empty
    uint16_t port = 0;                     // that the client connected to
    bool upgrade = false;                  // ask the backend for a websocket
    bool close = false;                    // the backend shall not keep the connection
    /// Passes on names beyond letters, digits and '-', but not those that a gateway could read as a
    /// field that we drop or make.
    bool allow_unusual_field_names = false;
};

/// The request as it goes to a backend: the raw target, Host, the end-to-end fields, X-Forwarded-*,
/// Via, and the head's framing made anew. Dropped besides hop-by-hop and nominated fields: Expect
/// (we answer it), Proxy, Forwarded, X-Real-IP, incoming X-Forwarded-*, unusual names (faults.md
/// H1-10, H1-25, H1-40, H1-60). Bytes written; 0 if it does not fit: at most rewrite_bytes_max more
/// than came, the address and Host counted twice.
size_t write_request_head(const RequestHead& head, const ForwardInfo& info, std::span<uint8_t> out);

/// How a response goes to the client.
struct ResponseRewrite {
    Framing framing = Framing::None;  // that we send; Chunked only to HTTP/1.1 clients
    uint64_t content_length = 0;      // Length only
    int client_minor = 1;
    bool keep_alive = true;      // false, or UntilClose: Connection: close
    bool hsts = false;           // add Strict-Transport-Security unless the backend did
    bool upgrade = false;        // a 101 that opens a tunnel: Upgrade stays
    std::string_view date = {};  // added if the backend sent none (RFC 9110 6.6.1); "": not
};

/// The response as it goes to the client: status line, end-to-end fields, Via, framing made anew.
/// An interim response (1xx but 101) gets neither framing nor Connection. Bytes written; 0 if it
/// does not fit.
size_t write_response_head(const ResponseHead& head, const ResponseRewrite& rewrite,
                           std::span<uint8_t> out);

/// What the fields that we add can take, apart from the texts in ForwardInfo.
constexpr size_t rewrite_bytes_max = 320;

}  // namespace proxy
