// A parsed message head: views into the bytes it was read from, plus what framing and routing need
// to know. Nothing here owns memory; the bytes must outlive it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/limits.h"

namespace proxy {

/// Fields that we look at, remove or replace; everything else is Other and passed on as it stands.
enum class FieldId : uint8_t {
    Other,
    Connection,
    ContentLength,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    Proxy,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Server,
    StrictTransportSecurity,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Referer,
    Via,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    XForwardedServer,
    XForwardedOther,  // any other name that begins with X-Forwarded-
    XRealIp,
};
constexpr size_t field_ids = static_cast<size_t>(FieldId::XRealIp) + 1;

/// Which field a name is; case does not matter. `name` holds no control bytes. Cheap: length, first
/// and last letter decide nearly all.
FieldId field_id(std::string_view name);
/// Whether `name` (without control bytes) is `lower` in any case.
bool is_named(std::string_view name, std::string_view lower);

/// Whether it is made of letters, digits and '-' alone.
bool is_usual_name(std::string_view name);

struct Field {
    std::string_view name;   // as sent
    std::string_view value;  // without surrounding blanks
    std::string_view line;   // the whole line with its CRLF: what is passed on unchanged
    FieldId id = FieldId::Other;
    bool nominated = false;  // named by a Connection field: hop-by-hop (RFC 9110 7.6.1)
    /// Its name has more than letters, digits and '-': gateways read "X_Y", "X.Y" and "X!Y" as
    /// "X-Y" (faults.md H1-10).
    bool is_unusual = false;
};

enum class Framing : uint8_t {
    None,    ///< no body
    Length,  ///< content_length bytes (may be 0)
    Chunked,
    UntilClose,  ///< responses only
};

/// What both directions have.
struct Head {
    int minor = 1;  // HTTP/1.minor: 0 or 1
    std::array<Field, fields_max> field_storage;
    size_t field_count = 0;
    Framing framing = Framing::None;
    uint64_t content_length = 0;  // Length only
    bool keep_alive = true;       // RFC 9112 9.3: version and Connection
    bool upgrade = false;         // Connection: upgrade and an Upgrade field

    std::span<const Field> fields() const { return {field_storage.data(), field_count}; }
    /// The first field with that id, or null.
    const Field* find(FieldId id) const;
};

struct RequestHead : Head {
    std::string_view method;
    std::string_view target;  // origin-form or "*"; of an absolute-form what follows the authority
    /// Host (or, in HTTP/1.0 without one, the authority of an absolute-form) as sent, with its
    /// port.
    std::string_view host_sent;
    /// Host, normalised: lower case, without port and trailing dot; an IPv6 literal without its
    /// brackets and in its one form (RFC 5952). "" if HTTP/1.0 had none. Stands in storage of its
    /// own.
    std::string_view host;
    std::array<char, 256> host_storage;
    bool expect_continue = false;  // a body is announced and waits for 100 (Continue)
    bool is_head = false;          // HEAD
    bool is_idempotent = false;    // RFC 9110 9.2.2
    bool is_websocket = false;     // upgrade, and Upgrade is exactly "websocket" on a bodiless GET
};

struct ResponseHead : Head {
    int status = 0;
    std::string_view reason;
    /// Content-Length of a response to HEAD or of a 304: what a GET would have (RFC 9110 8.6). No
    /// body follows (framing is None); it may be passed on.
    std::optional<uint64_t> declared_length;
    /// Keep-Alive: timeout=N, max=M, as httpd announces them; -1: not announced.
    int keep_alive_timeout_s = -1;
    int keep_alive_max = -1;
};

}  // namespace proxy
