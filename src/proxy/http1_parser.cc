// How a head is read, and by whom:
//
// 1. guard_head() finds the lines and judges the raw bytes.
// 2. Here the lines become a start line and fields, and those are checked for what they mean
// together:
//    RFC 9112 3 (request line), 3.2 (Host), 6 (framing), 9.3 (persistence), with the choices of
//    faults.md 2a.
// 3. llhttp reads the same bytes again, all its lenient flags off, as a second opinion: a head
// passes only
//    if both readers agree on where it ends, on its version, its status and its framing.
//    Disagreement would be a hole in one of the two, and a smuggler's way in; it costs 0.8 ns a
//    byte to be sure.
//
// llhttp judges all but the method. It knows a fixed list of those, and any token has to pass
// (H1-48); some of its names also change how it reads what follows (PRI, CONNECT, SOURCE). So the
// method is checked here, and llhttp is given a GET in its place: a parser that has already read
// "GET " is copied and goes on at the target. It is the third and not the second to look because
// alone it accepts "Host : a", folded lines, a bare LF after the request line, HTTP/0.9, transfer
// codings in HTTP/1.0, and no Host or two.
#include "proxy/http1_parser.h"

#include <llhttp.h>

#include <charconv>
#include <cstring>

#include "base/ip_address.h"
#include "base/result.h"
#include "base/text.h"

namespace proxy {

namespace {

using Bytes = std::string_view;

struct Refusal {
    int status = 0;
    const char* reason = nullptr;  // null: none
    explicit operator bool() const { return reason != nullptr; }
};

constexpr Refusal refuse(const char* reason, int status = 400) {
    return {status, reason};
}

ParseResult bad(Refusal refusal) {
    return {ParseResult::State::Bad, 0, refusal.status, refusal.reason};
}

// ------------------------------------------------------------------------------------- field names

/// What the fields of a head say about the message itself.
struct Seen {
    const Field* host = nullptr;
    const Field* length = nullptr;
    const Field* coding = nullptr;
    const Field* expect = nullptr;
    const Field* upgrade = nullptr;
    bool has_connection = false;
    bool has_keep_alive = false;
    bool close = false;
    bool keep = false;
    bool option_upgrade = false;
    bool upgrade_twice = false;
};

Refusal note(const Field& field, Seen& seen) {
    switch (field.id) {
        case FieldId::Host:
            if (seen.host != nullptr) return refuse("two-hosts");
            seen.host = &field;
            break;
        case FieldId::ContentLength:
            // Equal ones too (H1-03).
            if (seen.length != nullptr) return refuse("two-content-lengths");
            seen.length = &field;
            break;
        case FieldId::TransferEncoding:
            if (seen.coding != nullptr) return refuse("two-transfer-encodings");
            seen.coding = &field;
            break;
        case FieldId::Expect:
            if (seen.expect != nullptr) return refuse("unknown-expectation", 417);
            seen.expect = &field;
            break;
        case FieldId::Upgrade:
            seen.upgrade_twice = seen.upgrade != nullptr;
            seen.upgrade = &field;
            break;
        case FieldId::Connection:
            seen.has_connection = true;
            break;
        case FieldId::KeepAlive:
            seen.has_keep_alive = true;
            break;
        default:
            break;
    }
    return {};
}

bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

Refusal read_field(Bytes bytes, size_t start, size_t next, Field& field) {
    const size_t end = next - 2;  // the CRLF
    const size_t colon = token_end(bytes, start, end);
    if (colon == end || bytes[colon] != ':' || colon == start) {
        if (colon == start) return refuse("no-field-name");
        if (colon == end) return refuse("no-colon");
        return refuse(is_blank(bytes[colon]) ? "blank-in-field-name" : "bad-field-name");
    }
    if (colon - start > field_name_bytes_max) return refuse("field-name-too-long", 431);
    size_t first = colon + 1;
    size_t last = end;
    while (first < last && is_blank(bytes[first])) ++first;
    while (last > first && is_blank(bytes[last - 1])) --last;
    field.name = bytes.substr(start, colon - start);
    field.value = bytes.substr(first, last - first);
    field.line = bytes.substr(start, next - start);
    field.id = field_id(field.name);
    field.nominated = false;
    field.is_unusual = field.id == FieldId::Other && !is_usual_name(field.name);
    return {};
}

/// Fields that a Connection option cannot take away: framing, routing, and those that we add
/// ourselves (H1-25).
bool is_protected(FieldId id) {
    switch (id) {
        case FieldId::ContentLength:
        case FieldId::Date:
        case FieldId::Forwarded:
        case FieldId::Host:
        case FieldId::StrictTransportSecurity:
        case FieldId::TransferEncoding:
        case FieldId::Via:
        case FieldId::XForwardedFor:
        case FieldId::XForwardedHost:
        case FieldId::XForwardedOther:
        case FieldId::XForwardedPort:
        case FieldId::XForwardedProto:
        case FieldId::XForwardedServer:
        case FieldId::XRealIp:
            return true;
        default:
            return false;
    }
}

/// RFC 9110 7.6.1.
Refusal read_connection(Head& head, Seen& seen) {
    size_t options = 0;
    const auto apply = [&](std::string_view option) {
        if (++options > connection_options_max) return;
        if (is_named(option, "keep-alive")) {
            seen.keep = true;
        } else if (is_named(option, "close")) {
            seen.close = true;
        } else if (is_named(option, "upgrade")) {
            seen.option_upgrade = true;
        } else if (const FieldId id = field_id(option); !is_protected(id)) {
            for (Field& field : std::span(head.field_storage).first(head.field_count)) {
                if (field.id == id && base::iequals(field.name, option)) field.nominated = true;
            }
        }
    };
    for (const Field& field : head.fields()) {
        if (field.id == FieldId::Connection) for_each_element(field.value, apply);
    }
    if (options > connection_options_max) return refuse("too-many-connection-options");
    return {};
}

/// Digits only, below 2^63 (H1-05 … H1-08).
bool read_length(std::string_view text, uint64_t& length) {
    const char* end = text.data() + text.size();
    for (const char c : text) {
        if (c < '0' || c > '9') return false;
    }
    const auto [stop, error] = std::from_chars(text.data(), end, length);
    return error == std::errc{} && stop == end && length >> 63 == 0;
}

/// What both directions have after the start line.
Refusal read_fields(Bytes bytes, const HeadLines& lines, Head& head, Seen& seen) {
    head.field_count = 0;
    for (size_t i = 1; i < lines.count; ++i) {
        Field& field = head.field_storage[i - 1];
        if (const Refusal bad_field =
                read_field(bytes, lines.starts[i], lines.starts[i + 1], field)) {
            return bad_field;
        }
        head.field_count = i;
        if (field.id == FieldId::Other) continue;
        if (const Refusal bad_field = note(field, seen)) return bad_field;
    }
    if (seen.has_connection) {
        if (const Refusal bad_connection = read_connection(head, seen)) return bad_connection;
    }
    head.keep_alive = !seen.close && (head.minor > 0 || seen.keep);
    // RFC 9110 7.8: HTTP/1.0 cannot upgrade.
    head.upgrade = head.minor > 0 && seen.option_upgrade && seen.upgrade != nullptr;

    head.framing = Framing::None;
    head.content_length = 0;
    for (const Field* field : {seen.length, seen.coding}) {
        // Allowed before and after a value, but readers differ on it, and only smugglers use it.
        if (field != nullptr && field->line.find('\t') != std::string_view::npos) {
            return refuse("tab-in-framing");
        }
    }
    if (seen.length != nullptr) {
        if (seen.coding != nullptr) return refuse("te-and-cl");
        if (!read_length(seen.length->value, head.content_length)) {
            return refuse("bad-content-length");
        }
        head.framing = Framing::Length;
    } else if (seen.coding != nullptr) {
        if (head.minor == 0) return refuse("te-in-http-1.0");
        // Nothing else, and once: no list, no parameter, no other coding (H1-11 … H1-16).
        if (!is_named(seen.coding->value, "chunked")) return refuse("bad-transfer-encoding");
        head.framing = Framing::Chunked;
    }
    return {};
}

// -------------------------------------------------------------------------------------------- Host

/// The lower-case form of a host name's byte; 0: not in a name.
constexpr std::array<char, 256> host_bytes = [] {
    std::array<char, 256> table{};
    for (char c = 'a'; c <= 'z'; ++c) table[static_cast<uint8_t>(c)] = c;
    for (char c = 'A'; c <= 'Z'; ++c) table[static_cast<uint8_t>(c)] = static_cast<char>(c | 0x20);
    for (char c = '0'; c <= '9'; ++c) table[static_cast<uint8_t>(c)] = c;
    for (const char c : {'-', '_', '.'}) table[static_cast<uint8_t>(c)] = c;
    return table;
}();

constexpr size_t label_bytes_max = 63;  // RFC 1035 2.3.4

/// "" or ":port".
bool is_port_suffix(std::string_view text) {
    if (text.empty()) return true;
    uint64_t port = 0;
    return text.front() == ':' && text.size() <= 6 && read_length(text.substr(1), port) &&
           port > 0 && port <= 65535;
}

/// Writes the host that routing uses (see head.h) and gives its length; 0: not a host (H1-44).
size_t normalize_host(std::string_view sent, std::array<char, 256>& out) {
    if (sent.starts_with('[')) {
        const size_t close = sent.find(']');
        if (close == std::string_view::npos || !is_port_suffix(sent.substr(close + 1))) return 0;
        const auto address = base::IpAddress::parse(sent.substr(1, close - 1));
        if (!address || address->is_ipv4()) return 0;
        return address->write_text(std::span(out).first<base::IpAddress::text_bytes_max>()).size();
    }
    size_t size = 0;
    size_t label = 0;
    for (; size < sent.size() && sent[size] != ':'; ++size) {
        const char c = host_bytes[static_cast<uint8_t>(sent[size])];
        if (c == 0 || size >= out.size() - 1) return 0;
        label = c == '.' ? 0 : label + 1;
        if ((c == '.' && (size == 0 || sent[size - 1] == '.')) || label > label_bytes_max) return 0;
        out[size] = c;
    }
    if (size == 0 || !is_port_suffix(sent.substr(size))) return 0;
    return out[size - 1] == '.' ? size - 1 : size;
}

std::string_view port_of(std::string_view authority) {
    const size_t colon = authority.rfind(':');
    return colon == std::string_view::npos || authority.ends_with(']') ? ""
                                                                       : authority.substr(colon);
}

// ---------------------------------------------------------------------------------------- requests

/// Method, target and version; `authority` only for an absolute-form.
Refusal read_request_line(std::string_view line, RequestHead& head, std::string_view& authority) {
    const size_t method_end = token_end(line, 0, std::min(line.size(), method_bytes_max + 1));
    if (method_end == 0 || method_end > method_bytes_max) return refuse("bad-method");
    head.method = line.substr(0, method_end);
    for (const char c : head.method) {
        if (c >= 'a' && c <= 'z') return refuse("bad-method");  // H1-48
    }
    if (method_end == line.size() || line[method_end] != ' ') return refuse("bad-start-line");
    const size_t target_start = method_end + 1;
    const size_t end = target_end(line, target_start, line.size());
    head.target = line.substr(target_start, end - target_start);
    if (head.target.size() > target_bytes_max) return refuse("target-too-long", 414);
    if (end == line.size()) return refuse("no-version");  // HTTP/0.9
    if (line[end] != ' ' || head.target.empty()) return refuse("bad-target");

    const std::string_view version = line.substr(end + 1);
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7])) {
        return refuse("bad-version");
    }
    if (head.method == "PRI") return refuse("http2-preface");  // H1-54
    if (version[5] != '1' || version[7] > '1') return refuse("unsupported-version", 505);
    head.minor = version[7] - '0';

    if (head.method == "CONNECT") return refuse("connect", 405);  // H1-42
    if (head.target.front() == '/') return {};
    if (head.target == "*") {
        return head.method == "OPTIONS" ? Refusal{} : refuse("bad-target");
    }
    // absolute-form, RFC 9112 3.2.2.
    size_t scheme = 0;
    if (head.target.size() > 7 && is_named(head.target.substr(0, 7), "http://")) scheme = 7;
    if (head.target.size() > 8 && is_named(head.target.substr(0, 8), "https://")) scheme = 8;
    if (scheme == 0) return refuse("bad-target");
    const size_t path = std::min(head.target.find_first_of("/?", scheme), head.target.size());
    authority = head.target.substr(scheme, path - scheme);
    head.target = head.target.substr(path);
    if (head.target.empty()) head.target = head.method == "OPTIONS" ? "*" : "/";  // RFC 9112 3.2.4
    // "http://a?b" means "/?b", which does not stand in the bytes; nobody sends it.
    return authority.empty() || head.target.front() == '?' ? refuse("bad-target") : Refusal{};
}

Refusal read_host(RequestHead& head, const Seen& seen, std::string_view authority) {
    head.host = head.host_sent = {};
    if (seen.host == nullptr && head.minor > 0) return refuse("no-host");
    if (seen.host != nullptr) {
        head.host_sent = seen.host->value;
    } else if (!authority.empty()) {
        head.host_sent = authority;
    } else {
        return {};
    }
    const size_t size = normalize_host(head.host_sent, head.host_storage);
    if (size == 0) return refuse("bad-host");
    head.host = {head.host_storage.data(), size};
    if (!authority.empty() && authority.data() != head.host_sent.data()) {
        // H1-43: another host or port than Host's; which of the two counts is nobody's guess.
        std::array<char, 256> other;
        const size_t other_size = normalize_host(authority, other);
        if (head.host != std::string_view(other.data(), other_size) ||
            port_of(authority) != port_of(head.host_sent)) {
            return refuse("host-mismatch");
        }
    }
    return {};
}

bool is_idempotent(std::string_view method) {
    return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" ||
           method == "OPTIONS" || method == "TRACE";
}

Refusal read_request(Bytes bytes, const HeadLines& lines, RequestHead& head, Seen& seen) {
    std::string_view authority;
    const std::string_view line =
        bytes.substr(lines.starts[0], lines.starts[1] - 2 - lines.starts[0]);
    if (const Refusal bad_line = read_request_line(line, head, authority)) return bad_line;
    if (const Refusal bad_field = read_fields(bytes, lines, head, seen)) return bad_field;
    if (const Refusal bad_host = read_host(head, seen, authority)) return bad_host;

    const bool has_body = head.framing == Framing::Chunked ||
                          (head.framing == Framing::Length && head.content_length > 0);
    const bool is_get = head.method == "GET";
    head.is_head = head.method == "HEAD";
    head.is_idempotent = is_get || is_idempotent(head.method);
    head.expect_continue = false;
    if (seen.expect != nullptr) {
        // Also where servers expect no body and may not read it: 0.CL (H1-39).
        if (!base::iequals(seen.expect->value, "100-continue") ||
            (has_body && (is_get || head.is_head))) {
            return refuse("unknown-expectation", 417);
        }
        head.expect_continue = has_body && head.minor > 0;  // RFC 9110 10.1.1
    }
    head.is_websocket = head.upgrade && is_get && !has_body && !seen.upgrade_twice &&
                        base::iequals(seen.upgrade->value, "websocket");
    return {};
}

// --------------------------------------------------------------------------------------- responses

Refusal read_status_line(std::string_view line, ResponseHead& head) {
    // "HTTP/1.1 200 OK". The blank after the code is required even before no reason (RFC 9112 4),
    // but servers leave out both, and that can mean nothing else.
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (line.size() < 12 || !line.starts_with("HTTP/1.") || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ') {
        return refuse("bad-status-line");
    }
    if (!is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]))
        return refuse("bad-status");
    head.minor = line[7] - '0';
    head.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    if (head.status < 100 || head.status > 599) return refuse("bad-status");
    if (line.size() > 12 && line[12] != ' ') return refuse("bad-status-line");
    head.reason = line.size() > 13 ? line.substr(13) : std::string_view();
    return {};
}

/// "timeout=5, max=100"; the smallest that is announced.
void read_keep_alive(ResponseHead& head) {
    const auto read = [](std::string_view element, std::string_view name, int& value) {
        if (element.size() <= name.size() || !is_named(element.substr(0, name.size()), name)) {
            return;
        }
        constexpr int most = 1'000'000;
        uint64_t number = 0;
        if (!read_length(element.substr(name.size()), number)) return;
        const int capped = static_cast<int>(std::min<uint64_t>(number, most));
        if (value < 0 || capped < value) value = capped;
    };
    for (const Field& field : head.fields()) {
        if (field.id != FieldId::KeepAlive) continue;
        for_each_element(field.value, [&](std::string_view element) {
            read(element, "timeout=", head.keep_alive_timeout_s);
            read(element, "max=", head.keep_alive_max);
        });
    }
}

Refusal read_response(Bytes bytes, const HeadLines& lines, bool to_head, ResponseHead& head,
                      Seen& seen) {
    const std::string_view line =
        bytes.substr(lines.starts[0], lines.starts[1] - 2 - lines.starts[0]);
    if (const Refusal bad_line = read_status_line(line, head)) return bad_line;
    if (const Refusal bad_field = read_fields(bytes, lines, head, seen)) return bad_field;
    head.keep_alive_timeout_s = head.keep_alive_max = -1;
    if (seen.has_keep_alive) read_keep_alive(head);

    // RFC 9112 6.3. Two lengths, or a length and a coding, were refused whatever the status.
    head.declared_length.reset();
    if (to_head || head.status < 200 || head.status == 204 || head.status == 304) {
        const bool declares =
            head.framing == Framing::Length && head.status >= 200 && head.status != 204;
        if (declares) head.declared_length = head.content_length;
        head.framing = Framing::None;
        head.content_length = 0;
    } else if (head.framing == Framing::None) {
        head.framing = Framing::UntilClose;
        head.keep_alive = false;
    }
    return {};
}

// ---------------------------------------------------------------------------------- second opinion

int pause_at_end(llhttp_t*) {
    return HPE_PAUSED;
}

/// An llhttp that stops at the end of a head and calls back for nothing else; `already_read` it has
/// behind it.
struct Primed {
    llhttp_settings_t settings;
    llhttp_t parser;

    Primed(llhttp_type_t type, std::string_view already_read) {
        llhttp_settings_init(&settings);
        settings.on_headers_complete = pause_at_end;
        llhttp_init(&parser, type, &settings);
        base::check(llhttp_execute(&parser, already_read.data(), already_read.size()) == HPE_OK);
    }
};

/// Whether llhttp, going on from `primed`, reads `rest` as a whole head of the same meaning.
bool agrees(const Primed& primed, std::string_view rest, const Head& head, const Seen& seen,
            int status) {
    llhttp_t parser = primed.parser;
    if (llhttp_execute(&parser, rest.data(), rest.size()) != HPE_PAUSED) return false;
    if (llhttp_get_error_pos(&parser) != rest.data() + rest.size()) return false;
    if (parser.http_major != 1 || parser.http_minor != head.minor || parser.status_code != status) {
        return false;
    }
    const bool has_length = (parser.flags & F_CONTENT_LENGTH) != 0;
    const bool has_coding = (parser.flags & F_TRANSFER_ENCODING) != 0;
    const bool is_chunked = (parser.flags & F_CHUNKED) != 0;
    if (has_length != (seen.length != nullptr) || has_coding != (seen.coding != nullptr) ||
        is_chunked != has_coding) {
        return false;
    }
    uint64_t length = 0;
    return !has_length ||
           (read_length(seen.length->value, length) && parser.content_length == length);
}

constexpr GuardRules request_rules{
    .start_line_bytes_max = method_bytes_max + 1 + target_bytes_max + 1 + 8 + 2,
    .head_bytes_max = head_bytes_max,
    .skip_empty_line = true,
};
constexpr GuardRules response_rules{
    .start_line_bytes_max = response_head_bytes_max,
    .head_bytes_max = response_head_bytes_max,
    .skip_empty_line = false,
};

}  // namespace

ParseResult parse_request(std::string_view bytes, HeadProgress& progress, RequestHead& head) {
    HeadLines lines;
    const GuardResult guard = guard_head(bytes, request_rules, progress, lines);
    switch (guard.state) {
        case GuardResult::State::Complete:
            break;
        case GuardResult::State::Incomplete:
            return {};
        case GuardResult::State::Bad:
            return bad(refuse(guard.reason));
        case GuardResult::State::StartLineTooLong: {
            // A method beyond its limit is a bad one, not a long target.
            const std::string_view line = bytes.substr(progress.line_start);
            const bool has_method = line.substr(0, method_bytes_max + 1).find(' ') != line.npos;
            return bad(has_method ? refuse(guard.reason, 414) : refuse("bad-method"));
        }
        case GuardResult::State::TooLarge:
        case GuardResult::State::TooManyFields:
            return bad(refuse(guard.reason, 431));
    }
    Seen seen;
    if (const Refusal refusal = read_request(bytes, lines, head, seen)) return bad(refusal);
    static const Primed primed(HTTP_REQUEST, "GET ");
    const size_t target = lines.starts[0] + head.method.size() + 1;
    if (!agrees(primed, bytes.substr(target, lines.end - target), head, seen, 0)) {
        return bad(refuse("second-opinion"));
    }
    return {ParseResult::State::Complete, lines.end, 0, ""};
}

ParseResult parse_response(std::string_view bytes, HeadProgress& progress, bool to_head,
                           ResponseHead& head) {
    HeadLines lines;
    const GuardResult guard = guard_head(bytes, response_rules, progress, lines);
    if (guard.state == GuardResult::State::Incomplete) return {};
    if (guard.state != GuardResult::State::Complete) return bad(refuse(guard.reason, 502));
    Seen seen;
    if (const Refusal refusal = read_response(bytes, lines, to_head, head, seen)) {
        return bad(refuse(refusal.reason, 502));
    }
    static const Primed primed(HTTP_RESPONSE, "");
    if (!agrees(primed, bytes.substr(0, lines.end), head, seen, head.status)) {
        return bad(refuse("second-opinion", 502));
    }
    return {ParseResult::State::Complete, lines.end, 0, ""};
}

}  // namespace proxy
