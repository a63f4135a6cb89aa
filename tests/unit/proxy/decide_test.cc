// What becomes of a request, by table (mod_md.md section 9; faults.md TL-12, TL-13, H1-62).
#include "proxy/decide.h"

#include "catch.h"
#include "proxy/http1_parser.h"

using namespace proxy;

namespace {

std::shared_ptr<Site> site(const char* name, RequireHttps require_https = RequireHttps::Off) {
    auto result = std::make_shared<Site>();
    result->name = name;
    result->hosts = {name};
    result->backend = std::make_shared<Backend>();
    result->require_https = require_https;
    result->hsts = true;
    return result;
}

struct Scene {
    Scene() {
        limits.request_body_max = 1000;
        routes = Routes(
            {site("a.example"), site("b.example"), site("moved.example", RequireHttps::Permanent),
             site("moving.example", RequireHttps::Temporary)},
            -1, limits);
        http01.by_token["token"] = {"a.example", "token.thumb"};
        status.by_host = status.by_host.with_all(
            {{"a.example", std::make_shared<const std::string>("{\"a\":1}")}});
        mine.names = {"a.example"};
        fallback.names = {"a.example"};
        fallback.fallback = true;
    }

    /// "421", "200 token.thumb", "301 close", "forward a.example", "forward a.example hsts", "ask"
    std::string of(const std::string& request, const char* sni = nullptr,
                   bool with_fallback = false, bool local_only = false) {
        HeadProgress progress;
        RequestHead head;
        const std::string text = request + "\r\n\r\n";
        REQUIRE(parse_request(text, progress, head).state == ParseResult::State::Complete);
        tls::SessionInfo session;
        if (sni != nullptr) {
            session.server_name = sni;
            session.certificate = with_fallback ? &fallback : &mine;
        }
        const Decision decision =
            decide(head, sni != nullptr ? &session : nullptr, {routes, http01, status, local_only});
        if (const auto* reply = std::get_if<Reply>(&decision)) {
            std::string text_of = fmt::format("{}", reply->response.status);
            if (reply->response.status == 200) text_of += " " + reply->response.body;
            for (const auto& [name, value] : reply->response.fields) text_of += " " + value;
            return text_of + (reply->close ? " close" : "");
        }
        if (const auto* forward = std::get_if<Forward>(&decision)) {
            return "forward " + forward->site->name + (forward->hsts ? " hsts" : "");
        }
        return "ask";
    }

    Limits limits;
    Routes routes;
    Http01Answers http01;
    CertificateStatusAnswers status;
    tls::Certificate mine;
    tls::Certificate fallback;
};

}  // namespace

TEST_CASE("a request is forwarded, answered or asked of the local handler") {
    Scene scene;
    const auto get = [](const char* host, const char* target = "/") {
        return fmt::format("GET {} HTTP/1.1\r\nHost: {}", target, host);
    };
    SECTION("plain") {
        CHECK(scene.of(get("a.example")) == "forward a.example");
        CHECK(scene.of(get("A.EXAMPLE:80")) == "forward a.example");
        CHECK(scene.of(get("nobody.example")) == "404");
        CHECK(scene.of(get("moved.example", "/x?y")) == "301 https://moved.example/x?y");
        CHECK(scene.of(get("moving.example", "/x")) == "302 https://moving.example/x");
        CHECK(scene.of("POST / HTTP/1.1\r\nHost: moved.example\r\nContent-Length: 3") ==
              "308 https://moved.example/");
        CHECK(scene.of(get("moved.example", "/.well-known/x")) == "forward moved.example");
    }
    SECTION("over TLS") {
        CHECK(scene.of(get("a.example"), "a.example") == "forward a.example hsts");
        CHECK(scene.of(get("a.example", "/.well-known/x"), "a.example") == "forward a.example");
        CHECK(scene.of(get("b.example"), "a.example") == "421");
        CHECK(scene.of(get("nobody.example"), "a.example") == "421");
        CHECK(scene.of(get("a.example"), "a.example", true) == "503 10");  // Retry-After
        CHECK(scene.of(get("moved.example"), "moved.example") == "forward moved.example hsts");
    }
    SECTION("challenges and the certificate's status") {
        const char* const path = "/.well-known/acme-challenge/token";
        CHECK(scene.of(get("a.example", path)) == "200 token.thumb");
        CHECK(scene.of(get("b.example", path)) == "forward b.example");
        CHECK(scene.of(get("a.example", "/.well-known/acme-challenge/other")) ==
              "forward a.example");
        CHECK(scene.of(fmt::format("DELETE {} HTTP/1.1\r\nHost: a.example", path)) == "501");
        const char* const status = "/.httpd/certificate-status";
        CHECK(scene.of(get("a.example", status), "a.example", true) == "200 {\"a\":1}");
        CHECK(scene.of(get("b.example", status)) == "forward b.example");
        CHECK(scene.of(fmt::format("POST {} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1",
                                   status)) == "forward a.example");
    }
    SECTION("bodies") {
        const auto post = [](int length) {
            return fmt::format("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}", length);
        };
        CHECK(scene.of(post(1000)) == "forward a.example");
        CHECK(scene.of(post(1001)) == "413 close");
        CHECK(scene.of(post(1000), nullptr, false, true) == "ask");
    }
    SECTION("the admin worker asks its handler whatever the host is") {
        CHECK(scene.of(get("nobody.example", "/status.json"), nullptr, false, true) == "ask");
        scene.limits.request_body_max = 0;
        scene.routes = Routes({}, -1, scene.limits);
        CHECK(scene.of("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65537", nullptr, false,
                       true) == "413 close");
    }
}
