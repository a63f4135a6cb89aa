// What an accepted head says: fields, host, persistence, expectations, upgrades. What is refused
// stands in smuggling_test.cc.
#include "proxy/http1_parser.h"

#include <string>
#include <vector>
#include "catch.h"

namespace proxy {

namespace {

using namespace std::string_literals;

struct ReadRequest {
    std::string bytes;
    RequestHead head;
    ParseResult result;
    explicit ReadRequest(std::string text) : bytes(std::move(text)) {
        HeadProgress progress;
        result = parse_request(bytes, progress, head);
        INFO(bytes << ": " << result.reason);
        REQUIRE(result.state == ParseResult::State::Complete);
    }
};

struct ReadResponse {
    std::string bytes;
    ResponseHead head;
    ParseResult result;
    explicit ReadResponse(std::string text, bool to_head = false) : bytes(std::move(text)) {
        HeadProgress progress;
        result = parse_response(bytes, progress, to_head, head);
        INFO(bytes << ": " << result.reason);
        REQUIRE(result.state == ParseResult::State::Complete);
    }
};

std::string get(const std::string& fields, const char* version = "HTTP/1.1") {
    return "GET / "s + version + "\r\nHost: a\r\n" + fields + "\r\n";
}

}  // namespace

TEST_CASE("a request's parts are views into its bytes") {
    const ReadRequest read(
        "\r\nPOST /p/q?x=%20 HTTP/1.1\r\nHost: Example.ORG:81\r\nX-One:  1 \t\r\nX-Empty:\r\n"
        "Content-Length: 12\r\n\r\nbody");
    const RequestHead& head = read.head;
    CHECK(read.result.consumed == read.bytes.size() - 4);
    CHECK(head.method == "POST");
    CHECK(head.target == "/p/q?x=%20");
    CHECK(head.minor == 1);
    CHECK(head.host == "example.org");
    CHECK(head.host_sent == "Example.ORG:81");
    CHECK(head.framing == Framing::Length);
    CHECK(head.content_length == 12);
    CHECK(head.keep_alive);
    CHECK_FALSE(head.is_idempotent);
    REQUIRE(head.fields().size() == 4);
    CHECK(head.fields()[1].name == "X-One");
    CHECK(head.fields()[1].value == "1");
    CHECK(head.fields()[1].line == "X-One:  1 \t\r\n");
    CHECK(head.fields()[2].value.empty());
    REQUIRE(head.find(FieldId::ContentLength) != nullptr);
    CHECK(head.find(FieldId::ContentLength)->value == "12");
    CHECK(head.find(FieldId::Via) == nullptr);
    CHECK(head.fields()[0].name.data() > read.bytes.data());
}

TEST_CASE("a head object can be used again") {
    RequestHead head;
    HeadProgress progress;
    const std::string first =
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, X\r\nX: 1\r\nA_b: 1\r\n"
        "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    REQUIRE(parse_request(first, progress, head).state == ParseResult::State::Complete);
    CHECK(head.expect_continue);
    CHECK_FALSE(head.keep_alive);
    progress.reset();
    const std::string second = "GET / HTTP/1.0\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n\r\n";
    REQUIRE(parse_request(second, progress, head).state == ParseResult::State::Complete);
    CHECK(head.field_count == 4);
    CHECK(head.framing == Framing::None);
    CHECK(head.content_length == 0);
    CHECK(head.host.empty());
    CHECK(head.host_sent.empty());
    CHECK_FALSE(head.expect_continue);
    for (const Field& field : head.fields()) {
        CHECK_FALSE(field.nominated);
        CHECK_FALSE(field.is_unusual);
        CHECK(field.id == FieldId::Other);
    }
}

TEST_CASE("each known name is found in any case, and nothing like it") {
    const std::vector<std::pair<const char*, FieldId>> names = {
        {"Connection", FieldId::Connection},
        {"Content-Length", FieldId::ContentLength},
        {"Date", FieldId::Date},
        {"Expect", FieldId::Expect},
        {"Forwarded", FieldId::Forwarded},
        {"Host", FieldId::Host},
        {"HTTP2-Settings", FieldId::Http2Settings},
        {"Keep-Alive", FieldId::KeepAlive},
        {"Proxy", FieldId::Proxy},
        {"Proxy-Authenticate", FieldId::ProxyAuthenticate},
        {"Proxy-Authorization", FieldId::ProxyAuthorization},
        {"Proxy-Connection", FieldId::ProxyConnection},
        {"Server", FieldId::Server},
        {"Strict-Transport-Security", FieldId::StrictTransportSecurity},
        {"TE", FieldId::Te},
        {"Trailer", FieldId::Trailer},
        {"Transfer-Encoding", FieldId::TransferEncoding},
        {"Upgrade", FieldId::Upgrade},
        {"User-Agent", FieldId::UserAgent},
        {"Referer", FieldId::Referer},
        {"Via", FieldId::Via},
        {"X-Forwarded-For", FieldId::XForwardedFor},
        {"X-Forwarded-Host", FieldId::XForwardedHost},
        {"X-Forwarded-Port", FieldId::XForwardedPort},
        {"X-Forwarded-Proto", FieldId::XForwardedProto},
        {"X-Forwarded-Server", FieldId::XForwardedServer},
        {"X-Forwarded-Ssl", FieldId::XForwardedOther},
        {"X-Real-IP", FieldId::XRealIp},
    };
    for (const auto& [name, id] : names) {
        INFO(name);
        CHECK(field_id(name) == id);
        std::string changed = name;
        for (char& c : changed) c = static_cast<char>(std::tolower(c));
        CHECK(field_id(changed) == id);
        for (char& c : changed) c = static_cast<char>(std::toupper(c));
        CHECK(field_id(changed) == id);
        for (size_t at = 0; at < changed.size(); ++at) {
            std::string other = changed;
            other[at] = other[at] == '-' ? '_' : other[at] == 'Q' ? 'Z' : 'Q';
            const FieldId found = field_id(other);
            CHECK((found == FieldId::Other || found == FieldId::XForwardedOther));
        }
        CHECK(field_id(changed.substr(1)) == FieldId::Other);
        const FieldId longer = field_id(changed + "S");
        CHECK((longer == FieldId::Other || longer == FieldId::XForwardedOther));
    }
    CHECK(field_id("") == FieldId::Other);
    CHECK(field_id("X-Forwarded") == FieldId::Other);
    CHECK(field_id("Accept") == FieldId::Other);
}

TEST_CASE("the host that routes is lower case, without port and trailing dot (H1-44)") {
    const std::vector<std::pair<const char*, const char*>> hosts = {
        {"example.org", "example.org"},
        {"EXAMPLE.org", "example.org"},
        {"example.org.", "example.org"},
        {"Example.Org.:443", "example.org"},
        {"a:1", "a"},
        {"a:65535", "a"},
        {"192.0.2.1:80", "192.0.2.1"},
        {"192.0.2.1.", "192.0.2.1"},
        {"[2001:DB8::1]:443", "2001:db8::1"},
        {"[2001:db8:0:0:0:0:0:1]", "2001:db8::1"},
        {"[2001:0db8:0000:0000:0000:0000:0000:0001]:1", "2001:db8::1"},
        {"[::1]", "::1"},
        {"[::ffff:192.0.2.1]", "::ffff:192.0.2.1"},
        {"[1111:2222:3333:4444:5555:6666:123.123.123.123]",
         "1111:2222:3333:4444:5555:6666:7b7b:7b7b"},
        {"a_b.c-d", "a_b.c-d"},
        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
    };
    for (const auto& [sent, host] : hosts) {
        const ReadRequest read("GET / HTTP/1.1\r\nHost: "s + sent + "\r\n\r\n");
        CHECK(read.head.host == host);
        CHECK(read.head.host_sent == sent);
    }
    std::string longest;
    for (int i = 0; i < 63; ++i) longest += "abc.";
    const ReadRequest read("GET / HTTP/1.1\r\nHost: " + longest + "abc\r\n\r\n");
    CHECK(read.head.host.size() == 255);
}

TEST_CASE("persistence follows version and Connection (RFC 9112 9.3)") {
    CHECK(ReadRequest(get("")).head.keep_alive);
    CHECK_FALSE(ReadRequest(get("Connection: close\r\n")).head.keep_alive);
    CHECK_FALSE(ReadRequest(get("Connection: x, ,CLOSE\r\n")).head.keep_alive);
    CHECK_FALSE(
        ReadRequest(get("Connection: keep-alive\r\nConnection: close\r\n")).head.keep_alive);
    CHECK_FALSE(ReadRequest(get("", "HTTP/1.0")).head.keep_alive);
    CHECK(ReadRequest(get("Connection: Keep-Alive\r\n", "HTTP/1.0")).head.keep_alive);
    CHECK_FALSE(ReadRequest(get("Connection: keep-alive, close\r\n", "HTTP/1.0")).head.keep_alive);
}

TEST_CASE("Connection nominates fields, but none that frames, routes or is ours (H1-25)") {
    const std::string names[] = {"Content-Length",
                                 "Host",
                                 "Forwarded",
                                 "X-Forwarded-For",
                                 "X-Forwarded-Proto",
                                 "X-Forwarded-Host",
                                 "X-Forwarded-Port",
                                 "X-Forwarded-Any",
                                 "X-Real-IP",
                                 "Via",
                                 "Date"};
    std::string options = "Connection: x-hop, Cookie";
    std::string fields;
    for (const std::string& name : names) {
        options += ", " + name;
        if (name != "Host") fields += name + ": 1\r\n";
    }
    const ReadRequest read(
        get(options + "\r\n" + fields + "X-HOP: 1\r\nCOOKIE: 1\r\nX-Stay: 1\r\n"));
    for (const Field& field : read.head.fields()) {
        INFO(field.name);
        CHECK(field.nominated == (field.name == "X-HOP" || field.name == "COOKIE"));
    }
}

TEST_CASE("100 (Continue) is owed only to an HTTP/1.1 client with a body (RFC 9110 10.1.1)") {
    const auto expects = [](const std::string& version, const std::string& fields) {
        return ReadRequest("POST / " + version + "\r\nHost: a\r\nExpect: 100-Continue\r\n" +
                           fields + "\r\n")
            .head.expect_continue;
    };
    CHECK(expects("HTTP/1.1", "Content-Length: 1\r\n"));
    CHECK(expects("HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    CHECK_FALSE(expects("HTTP/1.1", "Content-Length: 0\r\n"));
    CHECK_FALSE(expects("HTTP/1.1", ""));
    CHECK_FALSE(expects("HTTP/1.0", "Content-Length: 1\r\n"));
}

TEST_CASE("a websocket is a GET that upgrades to exactly that, with nothing after it (H1-40)") {
    const std::string upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    CHECK(ReadRequest(get(upgrade)).head.is_websocket);
    CHECK(ReadRequest(get(upgrade)).head.upgrade);
    CHECK(ReadRequest(get(upgrade + "Content-Length: 0\r\n")).head.is_websocket);
    CHECK_FALSE(ReadRequest(get(upgrade + "Content-Length: 1\r\n")).head.is_websocket);
    CHECK_FALSE(ReadRequest(get(upgrade + "Transfer-Encoding: chunked\r\n")).head.is_websocket);
    CHECK_FALSE(ReadRequest(get("Upgrade: websocket\r\n")).head.upgrade);
    CHECK_FALSE(ReadRequest(get("Connection: Upgrade\r\n")).head.upgrade);
    CHECK_FALSE(ReadRequest(get(upgrade, "HTTP/1.0")).head.upgrade);
    CHECK_FALSE(ReadRequest("PUT / HTTP/1.1\r\nHost: a\r\n" + upgrade + "\r\n").head.is_websocket);
}

TEST_CASE("methods tell what may be repeated and what has no body in its answer") {
    for (const char* method : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}) {
        CHECK(ReadRequest(method + " / HTTP/1.1\r\nHost: a\r\n\r\n"s).head.is_idempotent);
    }
    for (const char* method : {"POST", "PATCH", "LOCK", "BREW"}) {
        CHECK_FALSE(ReadRequest(method + " / HTTP/1.1\r\nHost: a\r\n\r\n"s).head.is_idempotent);
    }
    CHECK(ReadRequest("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").head.is_head);
    CHECK_FALSE(ReadRequest(get("")).head.is_head);
}

TEST_CASE("a response's framing follows RFC 9112 6.3") {
    const std::string length = "Content-Length: 5\r\n\r\n";
    CHECK(ReadResponse("HTTP/1.1 200 OK\r\n" + length).head.framing == Framing::Length);
    CHECK(ReadResponse("HTTP/1.1 200 OK\r\n" + length).head.content_length == 5);
    CHECK(ReadResponse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").head.framing ==
          Framing::Chunked);
    const ReadResponse open("HTTP/1.1 200 OK\r\n\r\n");
    CHECK(open.head.framing == Framing::UntilClose);
    CHECK_FALSE(open.head.keep_alive);
    for (const char* status : {"100", "101", "103", "199", "204"}) {
        const ReadResponse read("HTTP/1.1 "s + status + " x\r\n" + length);
        CHECK(read.head.framing == Framing::None);
        CHECK_FALSE(read.head.declared_length.has_value());
    }
    const ReadResponse not_modified("HTTP/1.1 304 x\r\n" + length);
    CHECK(not_modified.head.framing == Framing::None);
    CHECK(not_modified.head.declared_length == 5u);
    const ReadResponse to_head("HTTP/1.1 200 OK\r\n" + length, true);
    CHECK(to_head.head.framing == Framing::None);
    CHECK(to_head.head.declared_length == 5u);
    CHECK(to_head.head.keep_alive);
}

TEST_CASE("a response's status line and persistence are read") {
    const ReadResponse read("HTTP/1.0 404 Not  Found\r\nContent-Length: 0\r\n\r\n");
    CHECK(read.head.status == 404);
    CHECK(read.head.reason == "Not  Found");
    CHECK(read.head.minor == 0);
    CHECK_FALSE(read.head.keep_alive);
    CHECK(ReadResponse("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
              .head.keep_alive);
    CHECK_FALSE(ReadResponse("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                    .head.keep_alive);
}

TEST_CASE("Keep-Alive's timeout and max are read, the smallest if there are several") {
    const auto read = [](const std::string& fields) {
        const ReadResponse response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields + "\r\n");
        return std::pair(response.head.keep_alive_timeout_s, response.head.keep_alive_max);
    };
    CHECK(read("") == std::pair(-1, -1));
    CHECK(read("Keep-Alive: timeout=5, max=100\r\n") == std::pair(5, 100));
    CHECK(read("Keep-Alive: Timeout=5\r\nKeep-Alive: timeout=3,max=0\r\n") == std::pair(3, 0));
    CHECK(read("Keep-Alive: timeout=99999999999\r\n") == std::pair(1'000'000, -1));
    CHECK(read("Keep-Alive: timeout=-1, max=x, timeouts=3\r\n") == std::pair(-1, -1));
}

TEST_CASE("list elements are trimmed, and empty ones left out (RFC 9110 5.6.1)") {
    std::vector<std::string> found;
    for_each_element(" a ,,b\t, , c",
                     [&](std::string_view element) { found.emplace_back(element); });
    CHECK(found == std::vector<std::string>{"a", "b", "c"});
    for_each_element("", [&](std::string_view) { FAIL(); });
}

}  // namespace proxy
