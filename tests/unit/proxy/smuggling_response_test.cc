// The lines of faults.md on backends that bytes alone decide: BE-08 … BE-14 and BE-20. As
// smuggling_test.cc, for responses.
#include "proxy/smuggling.h"

#include <set>
#include "catch.h"

namespace proxy::smuggling {

namespace {

const std::string ok = "HTTP/1.1 200 OK\r\n";

Row response(const char* id, std::string bytes, Framing framing, std::string body,
             std::vector<std::string> has = {}, std::vector<std::string> has_not = {}) {
    return with_body(id, std::move(bytes), framing, std::move(body), std::move(has),
                     std::move(has_not));
}

Row until_close(const char* id, std::string bytes, std::string body) {
    Row row = response(id, std::move(bytes), Framing::UntilClose, std::move(body));
    row.complete = false;
    return row;
}

std::vector<Row> response_rows() {
    const std::string surplus = "HTTP/1.1 200 OK\r\n\r\nevil";
    const auto leaves = [](Row row, std::string rest) {
        row.rest = std::move(rest);
        return row;
    };
    const auto to_head = [](Row row) {
        row.to_head = true;
        return row;
    };
    std::vector<Row> rows = {
        response("BE-08", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", Framing::None, "",
                 {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n"}, {"Connection", "Content-Length"}),
        leaves(response("BE-08", "HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\n" + ok,
                        Framing::None, "", {}, {"Content-Length"}),
               ok),
        response("BE-08", "HTTP/1.1 102 Processing\r\nTransfer-Encoding: chunked\r\n\r\n",
                 Framing::None, "", {}, {"Transfer-Encoding"}),
        response("BE-08", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
                 Framing::None, "", {}, {"Upgrade"}),
        refused("BE-09", "<html>hello</html>\r\n\r\n"),
        refused("BE-09", "HTTP/2.0 200 OK\r\n\r\n"),
        refused("BE-09", "HTTP/1.2 200 OK\r\n\r\n"),
        refused("BE-09", "HTTP/1.1 99 x\r\n\r\n"),
        refused("BE-09", "HTTP/1.1 099 x\r\n\r\n"),
        refused("BE-09", "HTTP/1.1 600 x\r\n\r\n"),
        refused("BE-09", "HTTP/1.1 1000 x\r\n\r\n"),
        refused("BE-09", "HTTP/1.1 200OK\r\n\r\n"),
        refused("BE-09", "HTTP/1.1  200 OK\r\n\r\n"),
        refused("BE-09", "HTTP/1.1 +20 OK\r\n\r\n"),
        refused("BE-09", "HTTP/1.1200 OK\r\n\r\n"),
        refused("BE-09", "http/1.1 200 OK\r\n\r\n"),
        refused("BE-09", " HTTP/1.1 200 OK\r\n\r\n"),
        refused("BE-09", "\r\nHTTP/1.1 200 OK\r\n\r\n"),
        refused("BE-09", "HTTP/1.1 200\r\r\n\r\n"),
        refused("BE-09", "HTTP/1.1 200 O\rK\r\n\r\n"),
        refused("BE-09", "HTTP/1.1 200 O\0K\r\n\r\n"s),
        refused("BE-09", "ICY 200 OK\r\n\r\n"),
        response("BE-09", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Framing::Length, "",
                 {"HTTP/1.1 200 \r\n"}),
        response("BE-09", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", Framing::Length, "",
                 {"HTTP/1.1 200 \r\n"}),
        refused("BE-10", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        refused("BE-10", ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        refused("BE-10", ok + "Content-Length: 5, 5\r\n\r\nhello"),
        refused("BE-10", ok + "Content-Length: -1\r\n\r\nhello"),
        refused("BE-10", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        refused("BE-10", ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        refused("BE-10",
                "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
        refused("BE-10", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        refused("BE-10", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        refused("BE-10", ok + "Transfer-Encoding: identity\r\n\r\n"),
        refused("BE-10", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        refused("BE-10", ok + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        refused("BE-10", ok + "Transfer-Encoding: chunked\r\n\r\nx\r\n"),
        refused("BE-10", ok + "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n"),
        refused("BE-10", ok + "X: y\r\n z\r\n\r\n"),
        refused("BE-10", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        refused("BE-10", ok + "X: y\nZ: 1\r\n\r\n"),
        refused("BE-10", ok + "X: a\0b\r\n\r\n"s),
        refused("BE-10", ok + "X\r\n\r\n"),
        refused("BE-10", ok + ": x\r\n\r\n"),
        response("BE-10", ok + "Transfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\nX: y\r\n\r\n",
                 Framing::Chunked, "x", {"Transfer-Encoding: chunked\r\n"}),
        refused("BE-11", ok + "X: " + std::string(1'000'000, 'a') + "\r\n\r\n"),
        refused("BE-11", ok + "X: " + std::string(65'536, 'a') + "\r\n\r\n"),
        refused("BE-11", ok + times(10'000, "X: y\r\n") + "\r\n"),
        refused("BE-11", ok + times(5'000, "Set-Cookie: a=b\r\n") + "\r\n"),
        refused("BE-11", ok + times(101, "X: y\r\n") + "\r\n"),
        refused("BE-11", "HTTP/1.1 200 " + std::string(65'536, 'a') + "\r\n\r\n"),
        leaves(response("BE-12", ok + "Content-Length: 5\r\n\r\nhello" + surplus, Framing::Length,
                        "hello", {"Content-Length: 5\r\n"}),
               surplus),
        leaves(response("BE-12", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + surplus,
                        Framing::Chunked, ""),
               surplus),
        {.id = "BE-13",
         .bytes = ok + "Content-Length: 5\r\n\r\nhell",
         .framing = Framing::Length,
         .has = {},
         .has_not = {},
         .body = "hell",
         .complete = false},
        {.id = "BE-13",
         .bytes = ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n",
         .framing = Framing::Chunked,
         .has = {},
         .has_not = {},
         .body = "hell",
         .complete = false},
        until_close("BE-13", ok + "\r\nhello", "hello"),
        until_close("BE-13", "HTTP/1.0 200 OK\r\n\r\nhello", "hello"),
        leaves(response("BE-14", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
                        Framing::None, "", {}, {"Content-Length"}),
               "evil"),
        leaves(response("BE-14", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
                        Framing::None, "", {"Content-Length: 4\r\n"}),
               "evil"),
        leaves(to_head(response("BE-14", ok + "Content-Length: 4\r\n\r\nevil", Framing::None, "",
                                {"Content-Length: 4\r\n"})),
               "evil"),
        leaves(to_head(response("BE-14",
                                ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
                                Framing::None, "", {}, {"Transfer-Encoding"})),
               "4\r\nevil\r\n0\r\n\r\n"),
        to_head(response("BE-14", ok + "\r\n", Framing::None, "", {}, {"Content-Length"})),
    };
    for (const char* name : {"Location", "Set-Cookie", "Refresh"}) {
        for (const char c : {'\0', '\r', '\n', '\x01', '\x0b', '\x1b', '\x7f'}) {
            rows.push_back(
                refused("BE-20", ok + name + ": a" + c + "b\r\nContent-Length: 0\r\n\r\n"));
        }
        rows.push_back(response("BE-20",
                                ok + name + ": /\xc3\xa9?%0d%0a\r\nContent-Length: 0\r\n\r\n",
                                Framing::Length, "", {name + ": /\xc3\xa9?%0d%0a\r\n"s}));
    }
    for (Row& row : rows) {
        if (row.status != 0) row.status = 502;
    }
    return rows;
}

}  // namespace

TEST_CASE("each response of the smuggling table gets its verdict, however it is cut") {
    for (const Row& row : response_rows()) {
        INFO(row.id << " " << shown(row.bytes));
        const Outcome whole = read_response(row.bytes, row.bytes.size(), row.to_head);
        judge(row, whole);
        CHECK(read_response(row.bytes, 1, row.to_head) == whole);
        CHECK(read_response(row.bytes, 7, row.to_head) == whole);
    }
}

TEST_CASE("the table of responses has every line that bytes decide") {
    std::set<std::string> seen;
    for (const Row& row : response_rows()) seen.insert(row.id);
    CHECK(seen == std::set<std::string>{"BE-08", "BE-09", "BE-10", "BE-11", "BE-12", "BE-13",
                                        "BE-14", "BE-20"});
}

}  // namespace proxy::smuggling
