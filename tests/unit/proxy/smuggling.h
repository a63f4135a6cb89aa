// What the smuggling tables share: a row, how its bytes are read as a message, and how the outcome
// is judged.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "catch.h"
#include "proxy/chunked.h"
#include "proxy/http1_parser.h"
#include "proxy/rewrite.h"

namespace proxy::smuggling {

using namespace std::string_literals;

/// What became of the bytes of one message.
struct Outcome {
    enum class End : uint8_t { Complete, Incomplete, Refused };
    End end = End::Incomplete;
    int status = 0;  // Refused
    std::string reason;
    Framing framing = Framing::None;
    std::string sent;  // the head that goes on
    std::string body;
    size_t consumed = 0;
    bool operator==(const Outcome&) const = default;
};

/// Reads the message after its head; `step` bytes more at a time.
inline void read_body(std::string_view bytes, size_t step, ChunkDecoder::Peer peer, uint64_t length,
                      int bad_status, Outcome& outcome) {
    ChunkDecoder decoder(peer);
    uint64_t left = length;
    size_t received = outcome.consumed;
    for (;;) {
        if (outcome.framing == Framing::None || (outcome.framing == Framing::Length && left == 0)) {
            outcome.end = Outcome::End::Complete;
            return;
        }
        if (outcome.framing == Framing::Chunked) {
            const auto taken =
                decoder.decode(bytes.substr(outcome.consumed, received - outcome.consumed));
            outcome.consumed += taken.consumed;
            outcome.body += taken.data;
            if (taken.state == ChunkDecoder::State::Bad) {
                outcome.end = Outcome::End::Refused;
                outcome.status = bad_status;
                outcome.reason = taken.reason;
                outcome.consumed = 0;  // how far it came may depend on the cuts
                outcome.body.clear();
                return;
            }
            if (taken.state == ChunkDecoder::State::Done) {
                outcome.end = Outcome::End::Complete;
                return;
            }
            if (taken.consumed > 0) continue;
        } else {
            const size_t size = std::min<uint64_t>(
                received - outcome.consumed, outcome.framing == Framing::Length ? left : ~0ull);
            outcome.body += bytes.substr(outcome.consumed, size);
            outcome.consumed += size;
            left -= size;
            if (size > 0) continue;
        }
        if (received == bytes.size()) return;
        received = std::min(bytes.size(), received + step);
    }
}

template <typename HeadType, typename Parse>
inline Outcome read_head(std::string_view bytes, size_t step, HeadType& head, Parse&& parse) {
    Outcome outcome;
    HeadProgress progress;
    size_t received = 0;
    do {
        received = std::min(bytes.size(), received + step);
        const ParseResult result = parse(bytes.substr(0, received), progress, head);
        if (result.state == ParseResult::State::Bad) {
            outcome.end = Outcome::End::Refused;
            outcome.status = result.status;
            outcome.reason = result.reason;
            return outcome;
        }
        if (result.state == ParseResult::State::Complete) {
            outcome.end = Outcome::End::Complete;
            outcome.consumed = result.consumed;
            outcome.framing = head.framing;
            return outcome;
        }
    } while (received < bytes.size());
    return outcome;
}

inline Outcome read_request(std::string_view bytes, size_t step) {
    RequestHead head;
    Outcome outcome = read_head(bytes, step, head, parse_request);
    if (outcome.end != Outcome::End::Complete) return outcome;
    std::vector<uint8_t> out(2 * head_bytes_max);
    const ForwardInfo info{.client_address = "192.0.2.1",
                           .proto = "https",
                           .host_sent = head.host_sent,
                           .port = 443,
                           .upgrade = head.is_websocket};
    const size_t size = write_request_head(head, info, out);
    outcome.sent.assign(out.begin(), out.begin() + static_cast<ptrdiff_t>(size));
    outcome.end = Outcome::End::Incomplete;
    read_body(bytes, step, ChunkDecoder::Peer::Client, head.content_length, 400, outcome);
    return outcome;
}

inline Outcome read_response(std::string_view bytes, size_t step, bool to_head) {
    ResponseHead head;
    Outcome outcome = read_head(bytes, step, head, [&](auto input, auto& progress, auto& into) {
        return parse_response(input, progress, to_head, into);
    });
    if (outcome.end != Outcome::End::Complete) return outcome;
    std::vector<uint8_t> out(2 * response_head_bytes_max);
    const bool unbounded = head.framing == Framing::Chunked || head.framing == Framing::UntilClose;
    const ResponseRewrite rewrite{.framing = unbounded ? Framing::Chunked : head.framing,
                                  .content_length = head.content_length};
    const size_t size = write_response_head(head, rewrite, out);
    outcome.sent.assign(out.begin(), out.begin() + static_cast<ptrdiff_t>(size));
    outcome.end = Outcome::End::Incomplete;
    read_body(bytes, step, ChunkDecoder::Peer::Backend, head.content_length, 502, outcome);
    return outcome;
}

struct Row {
    const char* id;
    std::string bytes;
    int status = 0;  // 0: accepted
    Framing framing = Framing::None;
    std::vector<std::string> has;  // in the head sent on
    std::vector<std::string> has_not;
    std::string body = {};
    bool complete = true;   // false: the message is cut
    std::string rest = {};  // what is left as the next message
    bool to_head = false;   // responses
};

inline std::string get(const std::string& fields) {
    return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}
inline std::string post(const std::string& fields, const std::string& body = "") {
    return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}
inline std::string chunked(const std::string& body) {
    return post("Transfer-Encoding: chunked\r\n", body);
}
inline std::string host(const std::string& value) {
    return "GET / HTTP/1.1\r\nHost: " + value + "\r\n\r\n";
}
inline std::string line(const std::string& start_line) {
    return start_line + "\r\nHost: a\r\n\r\n";
}
inline std::string times(size_t count, const std::string& text) {
    std::string all;
    for (size_t i = 0; i < count; ++i) all += text;
    return all;
}

inline Row refused(const char* id, std::string bytes, int status = 400) {
    return {.id = id, .bytes = std::move(bytes), .status = status, .has = {}, .has_not = {}};
}
inline Row accepted(const char* id, std::string bytes, std::vector<std::string> has = {},
                    std::vector<std::string> has_not = {}) {
    return {
        .id = id, .bytes = std::move(bytes), .has = std::move(has), .has_not = std::move(has_not)};
}
inline Row with_body(const char* id, std::string bytes, Framing framing, std::string body,
                     std::vector<std::string> has = {}, std::vector<std::string> has_not = {}) {
    return {.id = id,
            .bytes = std::move(bytes),
            .framing = framing,
            .has = std::move(has),
            .has_not = std::move(has_not),
            .body = std::move(body)};
}

inline void judge(const Row& row, const Outcome& outcome) {
    if (row.status != 0) {
        CHECK(outcome.end == Outcome::End::Refused);
        CHECK(outcome.status == row.status);
        CHECK_FALSE(outcome.reason.empty());
        // Our own reader has to see it: llhttp is the net below.
        CHECK(outcome.reason != "second-opinion");
        return;
    }
    CHECK(outcome.reason == "");
    CHECK(outcome.end == (row.complete ? Outcome::End::Complete : Outcome::End::Incomplete));
    CHECK(outcome.framing == row.framing);
    CHECK(outcome.body == row.body);
    CHECK(row.bytes.substr(outcome.consumed) == row.rest);
    CHECK_FALSE(outcome.sent.empty());
    for (const std::string& text : row.has)
        CHECK_THAT(outcome.sent, Catch::Matchers::ContainsSubstring(text));
    for (const std::string& text : row.has_not)
        CHECK_THAT(outcome.sent, !Catch::Matchers::ContainsSubstring(text));
}

inline std::string shown(const std::string& bytes) {
    std::string text;
    for (const char c : bytes.substr(0, 200)) {
        text += c == '\r' ? "\\r" : c == '\n' ? "\\n" : c == '\0' ? "\\0" : std::string(1, c);
    }
    return text;
}

}  // namespace proxy::smuggling
