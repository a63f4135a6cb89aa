#include "proxy/responder.h"

#include "catch.h"

using namespace proxy;

TEST_CASE("redirects to https keep method, path and query") {
    struct Row {
        bool temporary;
        std::string_view method;
        uint16_t port;
        int status;
        std::string location;
    };
    const Row rows[] = {
        {true, "GET", 443, 302, "https://a.example/x?y=%20"},
        {true, "POST", 443, 307, "https://a.example/x?y=%20"},
        {false, "HEAD", 443, 301, "https://a.example/x?y=%20"},
        {false, "PUT", 8443, 308, "https://a.example:8443/x?y=%20"},
    };
    for (const Row& row : rows) {
        const LocalResponse response =
            https_redirect(row.temporary, row.method, "a.example", row.port, "/x?y=%20");
        CHECK(response.status == row.status);
        REQUIRE(response.fields.size() == 1);
        CHECK(response.fields[0].first == "Location");
        CHECK(response.fields[0].second == row.location);
    }
}

TEST_CASE("H1-61: pages show nothing of the request unescaped") {
    const LocalResponse response =
        https_redirect(false, "GET", "a.example", 443, "/\"><script>alert(1)</script>");
    CHECK(response.body.find("<script>") == std::string::npos);
    CHECK(error_page(400).body.find("400 Bad Request") != std::string::npos);
}

TEST_CASE("local heads say how the connection goes on") {
    std::string head;
    write_local_head({200, "text/plain", {{"X-A", "b"}}, ""}, 1, true, 5, "DATE", head);
    CHECK(head ==
          "HTTP/1.1 200 OK\r\nDate: DATE\r\nServer: mdfront\r\nContent-Type: text/plain\r\n"
          "X-A: b\r\nContent-Length: 5\r\n\r\n");
    head.clear();
    write_local_head({404, "", {}, ""}, 1, false, 0, "DATE", head);
    CHECK(head.find("Connection: close\r\n") != std::string::npos);
    head.clear();
    write_local_head({200, "", {}, ""}, 0, true, 0, "DATE", head);
    CHECK(head.find("Connection: keep-alive\r\n") != std::string::npos);
}

TEST_CASE("an IPv6 address stands in brackets where a redirect leads") {
    const auto leads_to = [](std::string_view host, uint16_t port) {
        return https_redirect(false, "GET", host, port, "/x").fields.at(0).second;
    };
    CHECK(leads_to("2001:db8::1", 443) == "https://[2001:db8::1]/x");
    CHECK(leads_to("2001:db8::1", 8443) == "https://[2001:db8::1]:8443/x");
    CHECK(leads_to("192.0.2.1", 8443) == "https://192.0.2.1:8443/x");
}
