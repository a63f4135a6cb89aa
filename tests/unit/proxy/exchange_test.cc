// Exchange with a sink that only writes down, and a server that the test answers by hand: what a
// protocol other than HTTP/1 would get.
#include "proxy/exchange.h"

#include "front_fixture.h"
#include "proxy/http1_parser.h"

using namespace proxy;

namespace {

struct RecordingSink final : ResponseSink {
    Flow on_interim_response(const ResponseHead& head) noexcept override {
        return add(fmt::format("interim {}", head.status));
    }
    Flow on_response_head(const ResponseHead& head, bool has_body) noexcept override {
        return add(fmt::format("head {}{}", head.status, has_body ? " body" : ""));
    }
    Flow on_response_data(std::span<const uint8_t> bytes) noexcept override {
        body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return steps_left == 0 ? Flow::Gone : Flow::Go;
    }
    Flow on_response_flush() noexcept override { return Flow::Go; }
    void on_response_end(std::string_view trailers) noexcept override {
        (void)add(fmt::format("end [{}]", trailers));
    }
    void on_failed(int status, const char* reason) noexcept override {
        (void)add(fmt::format("failed {} {}", status, reason));
    }
    void on_request_room() noexcept override { ++rooms; }
    void on_request_deadline() noexcept override {}
    size_t room() const noexcept override { return 100'000; }

    /// Gone at the call for which none is left.
    Flow add(std::string step) {
        steps.push_back(std::move(step));
        return --steps_left == 0 ? Flow::Gone : Flow::Go;
    }

    std::vector<std::string> steps;
    std::string body;
    int steps_left = 100;
    int rooms = 0;
};

struct Trial : FrontFixture {
    Trial() : exchange(*worker) { add_site("a.test", {server.address}); }
    ~Trial() {
        if (!exchange.is_idle()) exchange.reset();
    }

    /// A GET that has reached the server.
    void begin() {
        HeadProgress progress;
        RequestHead head;
        const std::string text = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
        REQUIRE(parse_request(text, progress, head).state == ParseResult::State::Complete);
        const ForwardInfo info{.client_address = "192.0.2.7",
                               .proto = "https",
                               .host_sent = head.host_sent,
                               .port = 443,
                               .upgrade = false,
                               .allow_unusual_field_names = false};
        REQUIRE(exchange.start(sink, head, info, *sites.front(), limits));
        exchange.end_body();
        exchange.flush();
        loop->turn(10);
        at_server = server.accept();
        REQUIRE(turn_until([&] {
            (void)net::read_now(at_server.fd(), received);
            return received.ends_with("\r\n\r\n");
        }));
    }
    bool is_over_after(std::string_view response) {
        net::write_text(at_server.fd(), std::string(response));
        return turn_until([&] { return !exchange.is_under_way(); });
    }

    HandServer server;
    RecordingSink sink;
    Exchange exchange;
    base::UniqueFd at_server;
    std::string received;
};

}  // namespace

TEST_CASE("a sink gets head, data and the end with its trailers") {
    Trial trial;
    trial.begin();
    REQUIRE(
        trial.is_over_after("HTTP/1.1 103 Early Hints\r\n\r\n"
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                            "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Empty:\r\n\r\n"));
    CHECK(trial.sink.steps == std::vector<std::string>{"interim 103", "head 200 body",
                                                       "end [X-Sum: 1\r\nX-Empty:\r\n]"});
    CHECK(trial.sink.body == "hello");
    CHECK(trial.worker->pools.idle() == 1);
    trial.exchange.reset();
    trial.sink.steps.clear();
    SECTION("and those of one response are not those of the next") {
        trial.at_server = {};
        trial.turn_until([&] { return trial.worker->pools.idle() == 0; });
        trial.begin();
        REQUIRE(trial.is_over_after("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        CHECK(trial.sink.steps == std::vector<std::string>{"head 200 body", "end []"});
    }
}

TEST_CASE("after Gone a sink hears nothing more, and the connection is not used again") {
    const std::string response =
        "HTTP/1.1 103 Early Hints\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    for (const int steps : {1, 2}) {
        INFO(steps);
        Trial trial;
        trial.sink.steps_left = steps;
        trial.begin();
        REQUIRE(trial.is_over_after(response));
        CHECK(trial.sink.steps.size() == static_cast<size_t>(steps));
        CHECK(trial.worker->pools.idle() == 0);
        CHECK(trial.worker->pools.leased() == 0);
    }
}
