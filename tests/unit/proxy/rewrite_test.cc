// The heads that we send, to the byte.
#include "proxy/rewrite.h"

#include <string>
#include <vector>

#include "catch.h"
#include "proxy/http1_parser.h"

namespace proxy {

namespace {

std::string request(const std::string& bytes, ForwardInfo info = {}, size_t room = 4096) {
    RequestHead head;
    HeadProgress progress;
    const ParseResult result = parse_request(bytes, progress, head);
    INFO(bytes << ": " << result.reason);
    REQUIRE(result.state == ParseResult::State::Complete);
    if (info.client_address.data() == nullptr) info.client_address = "192.0.2.1";
    info.proto = "https";
    info.host_sent = head.host_sent;
    info.port = 8443;
    std::vector<uint8_t> out(room);
    const size_t size = write_request_head(head, info, out);
    return {out.begin(), out.begin() + static_cast<ptrdiff_t>(size)};
}

std::string response(const std::string& bytes, const ResponseRewrite& rewrite, bool to_head = false,
                     size_t room = 4096) {
    ResponseHead head;
    HeadProgress progress;
    const ParseResult result = parse_response(bytes, progress, to_head, head);
    INFO(bytes << ": " << result.reason);
    REQUIRE(result.state == ParseResult::State::Complete);
    std::vector<uint8_t> out(room);
    const size_t size = write_response_head(head, rewrite, out);
    return {out.begin(), out.begin() + static_cast<ptrdiff_t>(size)};
}

const std::string added =
    "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n"
    "X-Forwarded-Port: 8443\r\nVia: 1.1 mdfront\r\n";

}  // namespace

TEST_CASE("a request keeps its end-to-end fields in order, as they were written") {
    CHECK(
        request("GET /p?q HTTP/1.1\r\nAccept:*/*\r\nHost: a\r\nX-One:  1 \r\nConnection: x-two\r\n"
                "X-Two: 2\r\nx-three:3\r\nX_Four: 4\r\nVia: 1.0 other\r\nX-Five: 5\r\n\r\n") ==
        "GET /p?q HTTP/1.1\r\nHost: a\r\nAccept:*/*\r\nX-One:  1 \r\nx-three:3\r\nVia: 1.0 "
        "other\r\n"
        "X-Five: 5\r\n" +
            added + "Connection: keep-alive\r\n\r\n");
}

TEST_CASE("a client without an address gets no X-Forwarded-For, and cannot bring one") {
    CHECK(request("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
                  {.client_address = ""}) ==
          "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n"
          "X-Forwarded-Port: 8443\r\nVia: 1.1 mdfront\r\nConnection: keep-alive\r\n\r\n");
}

TEST_CASE("names that gateways rewrite go on only if they are allowed, and never as ours") {
    const std::string begin = "GET / HTTP/1.1\r\nHost: a\r\n";
    const std::string rest = added + "Connection: keep-alive\r\n\r\n";
    for (const char c : std::string_view("!#$%&'*+._`|~^")) {
        INFO(c);
        const auto named = [&](std::string name) {
            std::replace(name.begin(), name.end(), '?', c);
            return name + ": evil\r\n";
        };
        const std::string harmless = named("X?Mine");
        CHECK(request(begin + "A: 1\r\n" + harmless + "B: 2\r\n\r\n") ==
              begin + "A: 1\r\nB: 2\r\n" + rest);
        CHECK(request(begin + "A: 1\r\n" + harmless + "B: 2\r\n\r\n",
                      {.allow_unusual_field_names = true}) ==
              begin + "A: 1\r\n" + harmless + "B: 2\r\n" + rest);
        for (const char* ours :
             {"X?Forwarded?For", "X-Forwarded?For", "x?forwarded-proto", "X?Forwarded?Whatever",
              "X?Real?IP", "X-Real?IP", "Content?Length", "Transfer?Encoding", "Proxy?Connection",
              "Keep?Alive", "HTTP2?Settings"}) {
            INFO(ours);
            for (const bool allowed : {false, true}) {
                CHECK(request(begin + named(ours) + "\r\n",
                              {.allow_unusual_field_names = allowed}) == begin + rest);
            }
        }
    }
}

TEST_CASE("a request has one framing field, of our making") {
    CHECK(request("POST / HTTP/1.1\r\ncontent-length:007\r\nHost: a\r\n\r\n") ==
          "POST / HTTP/1.1\r\nHost: a\r\n" + added +
              "Content-Length: 7\r\nConnection: keep-alive\r\n\r\n");
    CHECK(request("POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n",
                  {.close = true}) ==
          "POST / HTTP/1.1\r\nHost: a\r\n" + added +
              "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    CHECK(request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n") ==
          "POST / HTTP/1.1\r\nHost: a\r\n" + added +
              "Content-Length: 0\r\nConnection: keep-alive\r\n\r\n");
}

TEST_CASE("a websocket request keeps its upgrade and only that") {
    CHECK(
        request(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
            "Sec-WebSocket-Key: k\r\n\r\n",
            {.upgrade = true}) == "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n" + added +
                                      "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

TEST_CASE("an HTTP/1.0 request goes on as HTTP/1.1, with Via telling") {
    CHECK(request("GET / HTTP/1.0\r\n\r\n") ==
          "GET / HTTP/1.1\r\nHost: \r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
          "X-Forwarded-Port: 8443\r\nVia: 1.0 mdfront\r\nConnection: keep-alive\r\n\r\n");
}

TEST_CASE("a response keeps its end-to-end fields and gets its framing anew") {
    const std::string bytes =
        "HTTP/1.1 200 Fine\r\nDate: d\r\nServer: s\r\nConnection: Keep-Alive, X-Hop\r\nKeep-Alive: "
        "timeout=5\r\nX-Hop: 1\r\ncontent-length: 05\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nUpgrade: "
        "h2,h2c\r\nX_Y: kept\r\n\r\n";
    const std::string kept =
        "HTTP/1.1 200 Fine\r\nDate: d\r\nServer: s\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX_Y: "
        "kept\r\n"
        "Via: 1.1 mdfront\r\n";
    CHECK(response(bytes, {.framing = Framing::Length, .content_length = 5}) ==
          kept + "Content-Length: 5\r\n\r\n");
    CHECK(response(bytes, {.framing = Framing::Chunked}) ==
          kept + "Transfer-Encoding: chunked\r\n\r\n");
    CHECK(response(bytes, {.framing = Framing::Length, .content_length = 5, .keep_alive = false}) ==
          kept + "Content-Length: 5\r\nConnection: close\r\n\r\n");
    CHECK(response(bytes, {.framing = Framing::UntilClose}) == kept + "Connection: close\r\n\r\n");
    CHECK(response(bytes, {.framing = Framing::Length, .content_length = 5, .client_minor = 0}) ==
          kept + "Content-Length: 5\r\nConnection: keep-alive\r\n\r\n");
    CHECK(response(bytes, {.framing = Framing::UntilClose, .client_minor = 0}) ==
          kept + "Connection: close\r\n\r\n");
}

TEST_CASE("what a HEAD or a 304 declares may be passed on, with no body") {
    const ResponseRewrite none{.framing = Framing::None};
    CHECK(response("HTTP/1.1 304 x\r\nDate: d\r\nContent-Length: 7\r\n\r\n", none) ==
          "HTTP/1.1 304 x\r\nDate: d\r\nVia: 1.1 mdfront\r\nContent-Length: 7\r\n\r\n");
    CHECK(response("HTTP/1.1 200 x\r\nDate: d\r\nContent-Length: 7\r\n\r\n", none, true) ==
          "HTTP/1.1 200 x\r\nDate: d\r\nVia: 1.1 mdfront\r\nContent-Length: 7\r\n\r\n");
    CHECK(response("HTTP/1.1 204 x\r\nDate: d\r\nContent-Length: 7\r\n\r\n", none) ==
          "HTTP/1.1 204 x\r\nDate: d\r\nVia: 1.1 mdfront\r\n\r\n");
}

TEST_CASE("Strict-Transport-Security and Date are added only where they are missing") {
    const std::string bare = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const std::string full =
        "HTTP/1.1 200 OK\r\nStrict-transport-security: max-age=1\r\nDate: d\r\nContent-Length: "
        "0\r\n\r\n";
    const ResponseRewrite rewrite{.framing = Framing::Length, .hsts = true, .date = "now"};
    CHECK(response(bare, rewrite) ==
          "HTTP/1.1 200 OK\r\nVia: 1.1 mdfront\r\nDate: now\r\n"
          "Strict-Transport-Security: max-age=15768000\r\nContent-Length: 0\r\n\r\n");
    CHECK(
        response(full, rewrite) ==
        "HTTP/1.1 200 OK\r\nStrict-transport-security: max-age=1\r\nDate: d\r\nVia: 1.1 mdfront\r\n"
        "Content-Length: 0\r\n\r\n");
    CHECK(response(bare, {.framing = Framing::Length}) ==
          "HTTP/1.1 200 OK\r\nVia: 1.1 mdfront\r\nContent-Length: 0\r\n\r\n");
}

TEST_CASE("an interim response has neither framing nor Connection; a 101 keeps its upgrade") {
    CHECK(response("HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 5\r\n\r\n",
                   {.keep_alive = false, .hsts = true, .date = "now"}) ==
          "HTTP/1.1 103 Early Hints\r\nLink: x\r\nVia: 1.1 mdfront\r\n\r\n");
    CHECK(response("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\n",
                   {.framing = Framing::UntilClose, .keep_alive = false, .upgrade = true}) ==
          "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nX: y\r\nVia: 1.1 mdfront\r\nConnection: "
          "Upgrade\r\n\r\n");
}

TEST_CASE("a head that does not fit is not written, and what we add is bounded") {
    const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    const std::string whole = request(bytes);
    for (size_t room = 0; room < whole.size(); ++room) CHECK(request(bytes, {}, room).empty());
    CHECK(request(bytes, {}, whole.size()) == whole);
    CHECK(whole.size() < bytes.size() + rewrite_bytes_max);
    const std::string answer = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n";
    const ResponseRewrite rewrite{.framing = Framing::Length,
                                  .content_length = ~0ull,
                                  .keep_alive = false,
                                  .hsts = true,
                                  .date = "Sun, 22 Nov 2026 03:55:46 GMT"};
    const std::string longest = response(answer, rewrite);
    for (size_t room = 0; room < longest.size(); ++room) {
        CHECK(response(answer, rewrite, false, room).empty());
    }
    CHECK(longest.size() < answer.size() + rewrite_bytes_max);
}

}  // namespace proxy
