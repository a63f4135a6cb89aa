// Any bytes as a response; the first one says whether it answers a HEAD, and to whom it goes. What
// must hold: the verdict does not depend on how the bytes are cut; our reader sees whatever llhttp
// would refuse; and what we send reads again as what we meant.
#include <algorithm>
#include <vector>

#include "base/result.h"
#include "proxy/http1_parser.h"
#include "proxy/rewrite.h"

namespace proxy {

namespace {

using base::check;

ParseResult parse_in_pieces(std::string_view bytes, size_t step, bool to_head, ResponseHead& head) {
    HeadProgress progress;
    for (size_t size = 0;;) {
        size = std::min(bytes.size(), size + step);
        const ParseResult result = parse_response(bytes.substr(0, size), progress, to_head, head);
        if (result.state != ParseResult::State::Incomplete || size == bytes.size()) return result;
    }
}

void check_fields(const ResponseHead& head) {
    const auto is_line_end = [](char c) { return c == '\r' || c == '\n' || c == '\0'; };
    for (const Field& field : head.fields()) {
        check(!field.name.empty() &&
              std::all_of(field.name.begin(), field.name.end(), is_token_byte));
        check(std::none_of(field.value.begin(), field.value.end(), is_line_end));
        check(field.line.ends_with("\r\n"));
    }
    check(std::none_of(head.reason.begin(), head.reason.end(), is_line_end));
    check(head.status >= 100 && head.status <= 599);
}

void check_rewrite(const ResponseHead& head, bool to_head, bool to_old_client) {
    const bool unbounded = head.framing == Framing::Chunked || head.framing == Framing::UntilClose;
    const Framing bounded = to_old_client ? Framing::UntilClose : Framing::Chunked;
    const ResponseRewrite rewrite{.framing = unbounded ? bounded : head.framing,
                                  .content_length = head.content_length,
                                  .client_minor = to_old_client ? 0 : 1,
                                  .keep_alive = !(unbounded && to_old_client),
                                  .hsts = true,
                                  .upgrade = head.status == 101,
                                  .date = "Sun, 22 Nov 2026 03:55:46 GMT"};
    std::vector<uint8_t> out(2 * response_head_bytes_max);
    const size_t size = write_response_head(head, rewrite, out);
    check(size > 0);
    const std::string_view sent(reinterpret_cast<const char*>(out.data()), size);
    ResponseHead again;
    HeadProgress progress;
    const ParseResult result = parse_response(sent, progress, to_head, again);
    if (result.reason == std::string_view("too-many-fields")) return;  // with our own ones
    check(result.state == ParseResult::State::Complete && result.consumed == size);
    check(again.status == head.status && again.reason == head.reason);
    check(again.framing == rewrite.framing);
    check(again.content_length == head.content_length);
    check(again.declared_length == head.declared_length);
    for (const Field& field : again.fields())
        check(!field.nominated || field.id == FieldId::Upgrade);
    if (head.status < 200) return;
    check(again.find(FieldId::StrictTransportSecurity) != nullptr);
    check(again.find(FieldId::Date) != nullptr);
    check(again.keep_alive == rewrite.keep_alive);
}

}  // namespace

}  // namespace proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace proxy;
    if (size == 0) return 0;
    const bool to_head = (data[0] & 1) != 0;
    const bool to_old_client = (data[0] & 2) != 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    ResponseHead head;
    HeadProgress progress;
    const ParseResult result = parse_response(bytes, progress, to_head, head);
    for (const size_t step : {size_t{1}, 1 + size / 3}) {
        ResponseHead other;
        const ParseResult again = parse_in_pieces(bytes, step, to_head, other);
        base::check(again.state == result.state && again.status == result.status);
        base::check(again.consumed == result.consumed);
        base::check(std::string_view(again.reason) == result.reason);
    }
    base::check(std::string_view(result.reason) != "second-opinion");
    if (result.state == ParseResult::State::Bad) base::check(result.status == 502);
    if (result.state != ParseResult::State::Complete) return 0;
    check_fields(head);
    check_rewrite(head, to_head, to_old_client);
    return 0;
}
