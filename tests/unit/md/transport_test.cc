#include "md/transport.h"

#include <cstdlib>
#include <thread>

#include "catch.h"
#include "md/local_server.h"

using namespace md;
using md::test::Server;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

Outcome<HttpResponse> get(const std::string& url, TransportOptions options = {}) {
    options.user_agent = "mdfront/test";
    HttpRequest request;
    request.url = url;
    return make_curl_transport(options)->exchange(request);
}

}  // namespace

TEST_CASE("An exchange gives status, fields in lower case, body; sends what it is told to") {
    Server server(
        "HTTP/1.1 201 Created\r\nReplay-Nonce:  abc \r\nX: 1\r\nX: 2\r\n"
        "Content-Length: 5\r\n\r\nhello");
    HttpRequest request;
    request.method = "POST";
    request.url = server.url();
    request.fields = {{"Content-Type", "application/jose+json"}};
    request.body = std::string("a\0b", 3);
    auto response = make_curl_transport({.user_agent = "mdfront/1"})->exchange(request);
    REQUIRE(response);
    CHECK(response->status == 201);
    CHECK(response->field("replay-nonce") == "abc");
    CHECK(response->field("x") == "1");
    CHECK(response->field("y").empty());
    CHECK(response->body == "hello");
    CHECK(server.seen().starts_with("POST /path HTTP/1.1\r\n"));
    CHECK(server.seen().find("\r\nUser-Agent: mdfront/1\r\n") != std::string::npos);
    CHECK(server.seen().find("\r\nContent-Type: application/jose+json\r\n") != std::string::npos);
    CHECK(server.seen().find("Expect") == std::string::npos);
    CHECK(server.seen().ends_with(std::string("\r\n\r\na\0b", 7)));
}

TEST_CASE("Redirects are not followed; interim answers leave no fields") {
    Server server(
        "HTTP/1.1 103 Early Hints\r\nLocation: /early\r\n\r\n"
        "HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n");
    auto response = get(server.url());
    REQUIRE(response);
    CHECK(response->status == 302);
    CHECK(response->field("location") == "/else");
    CHECK(server.connections() == 1);
}

TEST_CASE("Connections are kept between requests") {
    Server server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true);
    const auto transport = make_curl_transport({.user_agent = "mdfront/1"});
    HttpRequest request;
    request.url = server.url();
    for (int i = 0; i < 5; ++i) REQUIRE(transport->exchange(request));
    CHECK(server.connections() == 1);
}

TEST_CASE("No proxy is taken from the environment") {
    Server server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    ::setenv("http_proxy", "http://127.0.0.1:1", 1);
    ::setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    CHECK(get(server.url()));
    ::unsetenv("http_proxy");
    ::unsetenv("ALL_PROXY");
}

TEST_CASE("Answers are cut off at the limit (CA-13)") {
    Server server("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + std::string(100000, 'a'));
    HttpRequest request;
    request.url = server.url();
    request.response_max = 100000;
    CHECK(make_curl_transport({.user_agent = "t"})->exchange(request));
    request.response_max = 99999;
    const auto refused = make_curl_transport({.user_agent = "t"})->exchange(request);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().status == EFBIG);
    CHECK(refused.error().detail.find("larger than 99999") != std::string::npos);

    std::string many = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
    for (int i = 0; i < 300; ++i) many += fmt::format("X{}: y\r\n", i);
    Server fields(many + "\r\n");
    CHECK_FALSE(get(fields.url()));
}

TEST_CASE("Failures name the host and the cause (CA-08, CA-09, CA-13)") {
    SECTION("refused") {
        std::string url;
        {
            Server gone("");
            url = gone.url();
        }
        const auto refused = get(url);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().status == ECONNREFUSED);
        CHECK(refused.error().detail.find("Connection refused") != std::string::npos);
        CHECK(refused.error().detail.find("127.0.0.1:") != std::string::npos);
    }
    SECTION("unknown name") {
        const auto unknown = get("http://does-not-exist.invalid/");
        REQUIRE_FALSE(unknown);
        CHECK(unknown.error().detail.find("does-not-exist.invalid") != std::string::npos);
    }
    SECTION("accepts and says nothing") {
        Server silent("", true);
        const auto slow = get(silent.url(), {.user_agent = {}, .total_timeout = milliseconds{300}});
        REQUIRE_FALSE(slow);
        CHECK(slow.error().status == ETIMEDOUT);
    }
    SECTION("cut") {
        Server cut("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
        CHECK_FALSE(get(cut.url()));
    }
    SECTION("other schemes") {
        for (const char* url : {"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/"}) {
            CHECK_FALSE(get(url));
        }
    }
    SECTION("a CA bundle that is not there") {
        HttpRequest request;
        request.url = "https://127.0.0.1:1/";
        request.ca_file = "/does/not/exist.pem";
        CHECK_FALSE(make_curl_transport({.user_agent = "t"})->exchange(request));
    }
}

TEST_CASE("cancel() ends an exchange that waits") {
    Server silent("", true);
    const auto transport = make_curl_transport({.user_agent = "t"});
    std::thread canceller([&] {
        std::this_thread::sleep_for(milliseconds{100});
        transport->cancel();
    });
    HttpRequest request;
    request.url = silent.url();
    const auto begin = std::chrono::steady_clock::now();
    const auto cancelled = transport->exchange(request);
    canceller.join();
    REQUIRE_FALSE(cancelled);
    CHECK(cancelled.error().status == ECANCELED);
    CHECK(std::chrono::steady_clock::now() - begin < seconds{3});
}
