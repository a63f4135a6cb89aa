#include "md/ocsp_client.h"

#include <cerrno>

#include "catch.h"
#include "md/acme_fixture.h"
#include "md/local_server.h"
#include "md/mini_responder.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::seconds;

namespace {

using Log = std::vector<std::string>;

/// A certificate, its responder, and who asks.
struct Asker {
    Asker() { set_serial({0x04, 0xa1}); }

    void set_serial(std::vector<uint8_t> serial) {
        const auto certificate = make_certificate(
            {.names = {"a.example"}, .serial = std::move(serial), .issuer = &issuer});
        question.emplace(take(OcspQuestion::about(*certificate)));
    }
    Outcome<OcspAnswer> ask(const std::string& url = MiniResponder::ocsp_url) {
        const auto transport = responder.transport();
        return ask_ocsp(*transport, domain, url, *question, clock, random);
    }
    Outcome<CrlDownload> download(const Validators& known = {},
                                  const std::string& url = MiniResponder::crl_url) {
        const auto transport = responder.transport();
        return download_crl(*transport, domain, url, known, clock);
    }
    /// The first request is answered so.
    void answer_once(HttpResponse response) {
        responder.before = [this, response](const HttpRequest&) {
            return responder.requests == 1 ? std::optional(Outcome<HttpResponse>(response))
                                           : std::nullopt;
        };
    }

    FakeClock clock{noon};
    base::SeededRandom random{3};
    Issuer issuer = make_issuer();
    MiniResponder responder{clock, issuer};
    Domain domain;
    std::optional<OcspQuestion> question;
};

HttpResponse response_of(int status, const std::string& type, std::string body = {}) {
    HttpResponse response;
    response.status = status;
    response.fields = {{"content-type", type}};
    response.body = std::move(body);
    return response;
}

/// HTTP's bytes of an OCSP answer that long.
std::string long_answer(size_t size) {
    return fmt::format(
               "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n"
               "Content-Length: {}\r\n\r\n",
               size) +
           std::string(size, 'a');
}

}  // namespace

TEST_CASE("A GET is enough where it gives an answer") {
    Asker asker;
    CHECK(take(asker.ask()).status == CertificateStatus::Good);
    CHECK(asker.responder.ocsp_gets == 1);
    CHECK(asker.responder.ocsp_posts == 0);
}

TEST_CASE("A GET's path is base64, escaped, after exactly one slash") {
    Asker asker;
    HttpRequest seen;
    asker.responder.before = [&](const HttpRequest& request) {
        seen = request;
        return std::nullopt;
    };
    std::map<std::string, int> escapes{{"%2B", 0}, {"%2F", 0}, {"%3D", 0}};
    for (uint8_t i = 1; i < 60; ++i) {  // so many serials have all of the alphabet
        asker.set_serial({i, static_cast<uint8_t>(7 * i), static_cast<uint8_t>(31 * i)});
        for (const char* slash : {"", "/"}) {
            CHECK(asker.ask(MiniResponder::ocsp_url + slash));
            CHECK(seen.method == "GET");
            CHECK(seen.body.empty());
            const std::string path = seen.url.substr(MiniResponder::ocsp_url.size());
            CHECK(path.find('/', 1) == std::string::npos);
            CHECK(path.find_first_of("+=") == std::string::npos);
            for (auto& [escape, count] : escapes) {
                if (path.find(escape) != std::string::npos) ++count;
            }
        }
    }
    for (const auto& [escape, count] : escapes) {
        CAPTURE(escape);
        CHECK(count > 0);
    }
    CHECK(asker.responder.ocsp_posts == 0);
    CHECK(seen.response_max == 65536);
    CHECK(seen.refuse_link_local);
}

TEST_CASE("A GET that would be longer than 255 bytes is not made (RFC 5019 5)") {
    Asker asker;
    asker.set_serial(std::vector<uint8_t>(20, 0x7b));
    const std::string root = MiniResponder::ocsp_url + "/" + std::string(200, 'a');
    asker.responder.before = [&](const HttpRequest& request) {
        CHECK(request.method == "POST");
        CHECK(request.url == root);
        HttpRequest shorter = request;
        shorter.url = MiniResponder::ocsp_url;
        asker.responder.before = nullptr;
        return std::optional(asker.responder.exchange(shorter));
    };
    CHECK(asker.ask(root));
    CHECK(asker.responder.ocsp_posts == 1);
    CHECK(asker.responder.ocsp_gets == 0);
}

TEST_CASE("POST with a nonce follows a GET that gives nothing to verify (OC-04, OC-07)") {
    Asker asker;
    SECTION("404") {
        asker.answer_once(response_of(404, "text/html"));
    }
    SECTION("405") {
        asker.answer_once(response_of(405, "text/plain"));
    }
    SECTION("500") {
        asker.answer_once(response_of(500, "text/plain"));
    }
    SECTION("a page") {
        asker.answer_once(response_of(200, "text/html", "<p>hello"));
    }
    SECTION("no content type") {
        HttpResponse response = response_of(200, "", "<p>hello");
        response.fields.clear();
        asker.answer_once(response);
    }
    SECTION("garbage") {
        asker.answer_once(response_of(200, "application/ocsp-response", "garbage"));
    }
    SECTION("nothing") {
        asker.answer_once(response_of(200, "application/ocsp-response"));
    }
    SECTION("unauthorized") {
        const std::string unauthorized("\x30\x03\x0a\x01\x06", 5);
        asker.answer_once(response_of(200, "application/ocsp-response", unauthorized));
    }
    SECTION("out of date, from a cache") {
        asker.responder.form.lifetime = hours{1};
        asker.responder.after = [&](const HttpRequest&, HttpResponse&) {
            asker.responder.form.lifetime = hours{24};
        };
    }
    bool has_random_nonce = false;
    asker.responder.after = [&, before = asker.responder.after](const HttpRequest& request,
                                                                HttpResponse& response) {
        if (before) before(request, response);
        if (request.method != "POST") return;
        // The first 16 bytes that a random of that seed gives.
        tls::Der nonce(16);
        base::SeededRandom(3).fill(nonce);
        has_random_nonce =
            request.body.find(std::string(nonce.begin(), nonce.end())) != std::string::npos;
    };
    CHECK(take(asker.ask()).status == CertificateStatus::Good);
    CHECK(asker.responder.log.size() == 2);
    CHECK(asker.responder.log.back() == "POST " + MiniResponder::ocsp_url);
    CHECK(asker.responder.ocsp_posts == 1);
    CHECK(has_random_nonce);
}

TEST_CASE("An answer to a POST with another's nonce is refused (OC-14)") {
    Asker asker;
    asker.answer_once(response_of(404, "text/html"));
    asker.responder.form.nonce = NonceReply::Other;
    const auto refused = asker.ask();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().detail ==
          "http://ocsp.example.net: the OCSP answer is refused: its nonce is another one's");
}

TEST_CASE("The media type's case and parameters do not matter") {
    Asker asker;
    asker.responder.after = [](const HttpRequest&, HttpResponse& response) {
        response.fields = {{"content-type", "Application/OCSP-Response ; charset=binary"}};
    };
    CHECK(asker.ask());
    CHECK(asker.responder.requests == 1);
}

TEST_CASE("No second question after a failed connection (OC-02)") {
    Asker asker;
    asker.responder.before = [](const HttpRequest&) {
        return std::optional<Outcome<HttpResponse>>(make_problem(ECONNREFUSED, "refused"));
    };
    const auto failed = asker.ask();
    REQUIRE_FALSE(failed);
    CHECK(failed.error().status == ECONNREFUSED);
    CHECK(asker.responder.requests == 1);
}

TEST_CASE("No second question to who asks for a pause (OC-07)") {
    Asker asker;
    SECTION("503") {
        HttpResponse busy = response_of(503, "text/plain");
        busy.fields.emplace_back("retry-after", "120");
        asker.answer_once(busy);
    }
    SECTION("tryLater") {
        asker.responder.form.error = 3;
        asker.responder.after = [](const HttpRequest&, HttpResponse& response) {
            response.fields.emplace_back("retry-after", "120");
        };
    }
    const auto busy = asker.ask();
    REQUIRE_FALSE(busy);
    CHECK(busy.error().retry_after == seconds{120});
    CHECK(asker.responder.requests == 1);
}

TEST_CASE("The last attempt's failure is told, with the URL (OC-07)") {
    Asker asker;
    asker.responder.form.error = 3;
    const auto failed = asker.ask();
    REQUIRE_FALSE(failed);
    CHECK(failed.error().status == EAGAIN);
    CHECK(failed.error().detail ==
          "http://ocsp.example.net: the OCSP responder answers tryLater: it is busy");
    CHECK(asker.responder.requests == 2);
}

TEST_CASE("Redirects are not followed (OC-04)") {
    Asker asker;
    asker.responder.after = [](const HttpRequest&, HttpResponse& response) {
        response.status = 302;
        response.fields.emplace_back("location", "http://elsewhere.example/");
    };
    for (const std::string& detail :
         {asker.ask().error().detail, asker.download().error().detail}) {
        CHECK(detail.find("status 302 (redirects are not followed)") != std::string::npos);
    }
    for (const std::string& line : asker.responder.log) {
        CHECK(line.find("elsewhere") == std::string::npos);
    }
    CHECK(asker.responder.requests == 3);
}

TEST_CASE("http is http in any case (RFC 3986 3.1)") {
    Asker asker;
    for (const std::string url : {"HTTP://a.example", "HttpS://a.example", "hTTP://a.example"}) {
        CAPTURE(url);
        std::vector<std::string> seen;
        asker.responder.before = [&](const HttpRequest& request) {
            seen.push_back(request.url);
            return refuse_connection(request);
        };
        CHECK(asker.ask(url).error().status == ECONNREFUSED);
        CHECK(asker.download({}, url).error().status == ECONNREFUSED);
        REQUIRE(seen.size() == 2);
        CHECK(seen[0].starts_with(url + "/"));
        CHECK(seen[1] == url);
    }
}

TEST_CASE("URLs that are no short http ones are not called (OC-19)") {
    Asker asker;
    const std::string long_url = "http://a.example/" + std::string(4096, 'a');
    const std::pair<std::string, std::string> urls[] = {
        {"ldap://a.example/cn=a", "neither http nor https"},
        {"file:///etc/passwd", "neither http nor https"},
        {"ftp://a.example/", "neither http nor https"},
        {"", "neither http nor https"},
        {"http:/a.example/", "neither http nor https"},
        {"http://a.example/ b", "characters that URLs do not have"},
        {"http://a.example/\r\nX: y", "characters that URLs do not have"},
        {"http://a.example/\xc3\xa4", "characters that URLs do not have"},
        {long_url, "longer than 1024 bytes"}};
    for (const auto& [bad, why] : urls) {
        CAPTURE(bad.substr(0, 60));
        const auto answer = asker.ask(bad);
        REQUIRE_FALSE(answer);
        CHECK(answer.error().status == EINVAL);
        CHECK(answer.error().detail.find(why) != std::string::npos);
        CHECK(answer.error().detail.size() < 400);
        const auto list = asker.download({}, bad);
        REQUIRE_FALSE(list);
        CHECK(list.error().status == EINVAL);
        CHECK(list.error().detail.find(why) != std::string::npos);
    }
    CHECK(asker.responder.requests == 0);
    CHECK_FALSE(asker.ask("HTTPS://a.example/"));  // 404
    CHECK(asker.responder.requests == 2);
}

TEST_CASE("The domain's proxy is used for all requests") {
    Asker asker;
    asker.domain.http_proxy = "http://proxy.example:3128";
    asker.domain.http_proxy_ca_file = "/etc/proxy.pem";
    int count = 0;
    asker.responder.before = [&](const HttpRequest& request) {
        CHECK(request.proxy == "http://proxy.example:3128");
        CHECK(request.proxy_ca_file == "/etc/proxy.pem");
        CHECK(request.refuse_link_local);
        ++count;
        return std::optional<Outcome<HttpResponse>>(response_of(404, "text/html"));
    };
    CHECK_FALSE(asker.ask());
    CHECK_FALSE(asker.download());
    CHECK(count == 3);
}

TEST_CASE("A CRL comes with its validators, and not again while they fit") {
    Asker asker;
    const CrlDownload first = take(asker.download());
    CHECK_FALSE(first.is_unchanged);
    CHECK_FALSE(first.der.empty());
    CHECK(first.validators.etag == "\"crl-1\"");
    CHECK(first.validators.last_modified == base::format_http_date(noon));

    asker.clock.move(hours{1});
    for (const Validators& known : {first.validators, Validators{first.validators.etag, ""},
                                    Validators{"", first.validators.last_modified}}) {
        const CrlDownload again = take(asker.download(known));
        CHECK(again.is_unchanged);
        CHECK(again.der.empty());
        CHECK(again.validators.etag == known.etag);
        CHECK(again.validators.last_modified == known.last_modified);
    }
    CHECK(asker.responder.crls_unchanged == 3);

    asker.responder.publish_crl();
    const CrlDownload next = take(asker.download(first.validators));
    CHECK_FALSE(next.is_unchanged);
    CHECK(next.der != first.der);
    CHECK(next.validators.etag == "\"crl-2\"");
}

TEST_CASE("Other answers than a list are told: 404, a 304 that nobody asked for") {
    Asker asker;
    HttpResponse gone = response_of(404, "text/html");
    gone.fields.emplace_back("retry-after", "60");
    asker.answer_once(gone);
    const auto missing = asker.download();
    REQUIRE_FALSE(missing);
    CHECK(missing.error().detail == "http://crl.example.net/1.crl answers with status 404");
    CHECK(missing.error().retry_after == seconds{60});

    asker.responder.before = [](const HttpRequest&) {
        return std::optional<Outcome<HttpResponse>>(response_of(304, ""));
    };
    CHECK_FALSE(asker.download());
    CHECK(asker.download({.etag = "\"a\"", .last_modified = {}}));
}

TEST_CASE("Of an OCSP answer 64 KiB are read, of a CRL more (OC-05)") {
    Asker asker;
    const auto transport = make_curl_transport({.user_agent = "t"});
    const auto ask = [&](const std::string& url) {
        return ask_ocsp(*transport, asker.domain, url, *asker.question, asker.clock, asker.random);
    };
    {
        Server exact(long_answer(ocsp_bytes_max));
        const auto read = ask(exact.url());
        REQUIRE_FALSE(read);
        CHECK(read.error().status == EPROTO);  // read, and no OCSP answer
        CHECK(exact.connections() == 2);       // GET and POST
    }
    {
        Server longer(long_answer(ocsp_bytes_max + 1));
        const auto cut = ask(longer.url());
        REQUIRE_FALSE(cut);
        CHECK(cut.error().status == EFBIG);
        const CrlDownload list =
            take(download_crl(*transport, asker.domain, longer.url(), {}, asker.clock));
        CHECK(list.der.size() == ocsp_bytes_max + 1);
    }
    {
        std::string chunks =
            "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n"
            "Transfer-Encoding: chunked\r\n\r\n";
        for (int i = 0; i < 100; ++i) chunks += "400\r\n" + std::string(1024, 'a') + "\r\n";
        Server endless(chunks);
        const auto cut = ask(endless.url());
        REQUIRE_FALSE(cut);
        CHECK(cut.error().status == EFBIG);
    }
    {
        Server huge(
            "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n"
            "Content-Length: 9223372036854775808\r\n\r\n" +
            std::string(ocsp_bytes_max + 1, 'a'));
        CHECK_FALSE(ask(huge.url()));
    }
}

TEST_CASE("A real socket carries a question and its answer, loopback among its ends (OC-19)") {
    Asker asker;
    const tls::Der der = asker.responder.answer(take(asker.question->request({})));
    Server server(fmt::format("HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n"
                              "Content-Length: {}\r\n\r\n",
                              der.size()) +
                  std::string(der.begin(), der.end()));
    const auto transport = make_curl_transport({.user_agent = "t"});
    CHECK(take(ask_ocsp(*transport, asker.domain, server.url(), *asker.question, asker.clock,
                        asker.random))
              .status == CertificateStatus::Good);
    CHECK(server.seen().starts_with("GET /path/ME"));
    CHECK(server.connections() == 1);
}

TEST_CASE("Nothing is sent to link-local, unspecified and group addresses (OC-19)") {
    Asker asker;
    const auto transport = make_curl_transport({.user_agent = "t"});
    for (const std::string host :
         {"169.254.169.254", "169.254.0.1", "[fe80::1]", "[::ffff:169.254.169.254]", "0.0.0.0",
          "[::]", "224.0.0.1", "255.255.255.255", "[ff02::1]", "2852039166", "0xa9fea9fe"}) {
        CAPTURE(host);
        const std::string url = "http://" + host + "/";
        const auto answer =
            ask_ocsp(*transport, asker.domain, url, *asker.question, asker.clock, asker.random);
        REQUIRE_FALSE(answer);
        // The address is refused before there is a socket for it.
        CHECK(answer.error().status == EACCES);
        CHECK(answer.error().detail.find("link-local or group") != std::string::npos);
        const auto list = download_crl(*transport, asker.domain, url, {}, asker.clock);
        REQUIRE_FALSE(list);
        CHECK(list.error().status == EACCES);
    }
}
