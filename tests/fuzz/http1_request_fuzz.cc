// Any bytes as a request. What must hold: the verdict does not depend on how the bytes are cut; our
// reader sees whatever llhttp would refuse; nothing in an accepted head can end a line; and the
// head that we send means to the next reader what the first one meant to us.
#include <algorithm>
#include <vector>

#include "base/ip_address.h"
#include "base/result.h"
#include "base/text.h"
#include "proxy/http1_parser.h"
#include "proxy/rewrite.h"

namespace proxy {

namespace {

using base::check;

bool is_clean(std::string_view text) {
    return std::none_of(text.begin(), text.end(), [](char c) {
        return c == '\r' || c == '\n' || c == '\0' || c == '\x7f' ||
               (c != '\t' && static_cast<unsigned char>(c) < ' ');
    });
}

ParseResult parse_in_pieces(std::string_view bytes, size_t step, RequestHead& head) {
    HeadProgress progress;
    for (size_t size = 0;;) {
        size = std::min(bytes.size(), size + step);
        const ParseResult result = parse_request(bytes.substr(0, size), progress, head);
        if (result.state != ParseResult::State::Incomplete || size == bytes.size()) return result;
    }
}

void check_same(const RequestHead& a, const RequestHead& b) {
    check(a.method == b.method);
    check(a.target == b.target);
    check(a.host == b.host);
    check(a.framing == b.framing);
    check(a.content_length == b.content_length);
    check(a.is_head == b.is_head);
    check(a.is_idempotent == b.is_idempotent);
}

void check_fields(std::string_view bytes, const RequestHead& head) {
    check(head.field_count <= fields_max);
    for (const Field& field : head.fields()) {
        check(!field.name.empty() && is_clean(field.name) && is_clean(field.value));
        check(std::all_of(field.name.begin(), field.name.end(), is_token_byte));
        check(field.line.ends_with("\r\n") &&
              is_clean(field.line.substr(0, field.line.size() - 2)));
        check(field.line.starts_with(field.name) && field.line[field.name.size()] == ':');
        check(field.line.data() >= bytes.data());
        check(field.line.data() + field.line.size() <= bytes.data() + bytes.size());
    }
    check(is_clean(head.method) && is_clean(head.target) && is_clean(head.host_sent));
    check(head.target.find_first_of(" \t#\\") == std::string_view::npos);
    check(head.host == base::to_lower(head.host) && head.host.size() <= 255);
    // One address, one host: sites and certificates are looked up by the text.
    if (head.host_sent.starts_with('[')) check(base::normalize_name(head.host) == head.host);
}

/// What goes to a backend is read again.
void check_rewrite(const RequestHead& head) {
    if (head.host_sent.empty()) return;  // only HTTP/1.0 may lack a Host
    const ForwardInfo info{.client_address = "192.0.2.1",
                           .proto = "https",
                           .host_sent = head.host_sent,
                           .port = 443,
                           .upgrade = head.is_websocket};
    std::vector<uint8_t> out(2 * head_bytes_max);
    const size_t size = write_request_head(head, info, out);
    check(size > 0);
    const std::string_view sent(reinterpret_cast<const char*>(out.data()), size);
    RequestHead again;
    HeadProgress progress;
    const ParseResult result = parse_request(sent, progress, again);
    if (result.status == 431) return;  // with our own fields it is more than we take ourselves
    check(result.state == ParseResult::State::Complete && result.consumed == size);
    check_same(head, again);
    check(again.minor == 1 && again.keep_alive && !again.expect_continue);
    check(again.is_websocket == head.is_websocket && again.upgrade == head.is_websocket);
    check(again.find(FieldId::XForwardedFor)->value == "192.0.2.1");
    size_t own[field_ids] = {};
    for (const Field& field : again.fields()) {
        own[static_cast<size_t>(field.id)]++;
        check(!field.nominated || field.id == FieldId::Upgrade);
        check(!field.is_unusual);
    }
    for (const FieldId once :
         {FieldId::Host, FieldId::Connection, FieldId::XForwardedFor, FieldId::XForwardedHost,
          FieldId::XForwardedPort, FieldId::XForwardedProto}) {
        check(own[static_cast<size_t>(once)] == 1);
    }
    for (const FieldId never :
         {FieldId::Expect, FieldId::Proxy, FieldId::Te, FieldId::Trailer, FieldId::KeepAlive,
          FieldId::Forwarded, FieldId::XForwardedOther, FieldId::XRealIp, FieldId::Http2Settings}) {
        check(own[static_cast<size_t>(never)] == 0);
    }
}

}  // namespace

}  // namespace proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace proxy;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    RequestHead head;
    HeadProgress progress;
    const ParseResult result = parse_request(bytes, progress, head);
    for (const size_t step : {size_t{1}, 1 + size / 3}) {
        RequestHead other;
        const ParseResult again = parse_in_pieces(bytes, step, other);
        base::check(again.state == result.state && again.status == result.status);
        base::check(again.consumed == result.consumed);
        base::check(std::string_view(again.reason) == result.reason);
        if (result.state == ParseResult::State::Complete) check_same(head, other);
    }
    base::check(std::string_view(result.reason) != "second-opinion");
    if (result.state == ParseResult::State::Bad) {
        constexpr int statuses[] = {400, 405, 414, 417, 431, 505};
        base::check(std::find(std::begin(statuses), std::end(statuses), result.status) !=
                    std::end(statuses));
    }
    if (result.state != ParseResult::State::Complete) return 0;
    base::check(bytes.substr(0, result.consumed).ends_with("\r\n\r\n"));
    check_fields(bytes, head);
    check_rewrite(head);
    return 0;
}
