#include "bad_requests.h"

#include <iterator>

namespace sim::front {

namespace {

using namespace std::string_view_literals;

/// %T target, %H host, %X the hidden request.
struct Row {
    const char* fault;
    std::string_view bytes;
    bool is_in_body = false;
};

// clang-format off
#define POST "POST %T HTTP/1.1\r\nHost: %H\r\n"
#define GET "GET %T HTTP/1.1\r\nHost: %H\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
constexpr Row rows[] = {
    {"H1-01", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-01", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-02", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!%X"sv},
    {"H1-03", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello%X"sv},
    {"H1-03", POST "Content-Length: 5, 5\r\n\r\nhello%X"sv},
    {"H1-04", POST "Content-Length: 5, 6\r\n\r\nhello!%X"sv},
    {"H1-05", POST "Content-Length: +5\r\n\r\nhello%X"sv},
    {"H1-05", POST "Content-Length: 0x5\r\n\r\nhello%X"sv},
    {"H1-05", POST "Content-Length: 1 0\r\n\r\nhello%X"sv},
    {"H1-06", POST "Content-Length:\r\n\r\n%X"sv},
    {"H1-06", POST "Content-Length: 5\r\nContent-Length:\r\n\r\nhello%X"sv},
    {"H1-07", POST "Content-Length: 18446744073709551621\r\n\r\nhello%X"sv},
    {"H1-09", POST "Content-Length : 5\r\n\r\nhello%X"sv},
    {"H1-09", POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-09", GET "X : y\r\n\r\n"sv},
    {"H1-11", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-11", POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-11", POST "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-12", POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-12", POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-12", POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-13", POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-13", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-14", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-15", POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-15", POST "Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-17", POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-17", GET "X: y\r\n z\r\n\r\n"sv},
    {"H1-18", GET " X: y\r\n\r\n"sv},
    {"H1-19", POST "Transfer-\r\nEncoding: chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-20", GET "X-Without-Colon\r\n\r\n"sv},
    {"H1-20", GET ": x\r\n\r\n"sv},
    {"H1-21", "GET %T HTTP/1.1\nHost: %H\n\n"sv},
    {"H1-21", GET "X: y\nContent-Length: 5\r\n\r\nhello"sv},
    {"H1-22", GET "X: a\rb\r\n\r\n"sv},
    {"H1-22", GET "\rX: y\r\n\r\n"sv},
    {"H1-23", GET "X: a\0b\r\n\r\n"sv},
    {"H1-23", GET "X\x80: y\r\n\r\n"sv},
    {"H1-23", GET "X(Y: ab\r\n\r\n"sv},
    {"H1-24", "POST %T HTTP/1.0\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%X"sv},
    {"H1-39", POST "Content-Length: 5\r\nExpect: y 100-continue\r\n\r\nhello%X"sv},
    {"H1-39", GET "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello%X"sv},
    {"H1-42", "CONNECT %H:443 HTTP/1.1\r\nHost: %H\r\n\r\n%X"sv},
    {"H1-43", "GET http://other.test%T HTTP/1.1\r\nHost: %H\r\n\r\n"sv},
    {"H1-44", "GET %T HTTP/1.1\r\n\r\n"sv},
    {"H1-44", GET "Host: %H\r\n\r\n"sv},
    {"H1-44", "GET %T HTTP/1.1\r\nHost: user@%H\r\n\r\n"sv},
    {"H1-44", "GET %T HTTP/1.1\r\nHost: %H:99999\r\n\r\n"sv},
    {"H1-45", "GET %T HTTP/1.2\r\nHost: %H\r\n\r\n"sv},
    {"H1-45", "GET %T HTTP/2.0\r\nHost: %H\r\n\r\n"sv},
    {"H1-45", "GET %T\r\nHost: %H\r\n\r\n"sv},
    {"H1-46", "GET  %T HTTP/1.1\r\nHost: %H\r\n\r\n"sv},
    {"H1-46", "GET %T HTTP/1.1 \r\nHost: %H\r\n\r\n"sv},
    {"H1-47", "GET %T#x HTTP/1.1\r\nHost: %H\r\n\r\n"sv},
    {"H1-47", "GET x%T HTTP/1.1\r\nHost: %H\r\n\r\n"sv},
    {"H1-48", "get %T HTTP/1.1\r\nHost: %H\r\n\r\n"sv},
    {"H1-48", "G@T %T HTTP/1.1\r\nHost: %H\r\n\r\n"sv},
    {"H1-53", "\r\n\r\n\r\n\r\n" GET "\r\n"sv},
    {"H1-54", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%X"sv},
    {"H1-26", CHUNKED "+1\r\nx\r\n0\r\n\r\n%X"sv, true},
    {"H1-26", CHUNKED "0x1\r\nx\r\n0\r\n\r\n%X"sv, true},
    {"H1-26", CHUNKED "1 \r\nx\r\n0\r\n\r\n%X"sv, true},
    {"H1-26", CHUNKED "\r\n\r\n%X"sv, true},
    {"H1-26", CHUNKED "00000000000000001\r\nx\r\n0\r\n\r\n%X"sv, true},
    {"H1-27", CHUNKED "1\nx\r\n0\r\n\r\n%X"sv, true},
    {"H1-27", CHUNKED "1\rxx\r\n0\r\n\r\n%X"sv, true},
    {"H1-28", CHUNKED "1;a\nb\r\nx\r\n0\r\n\r\n%X"sv, true},
    {"H1-28", CHUNKED "1\r\r;a\r\nx\r\n0\r\n\r\n%X"sv, true},
    {"H1-28", CHUNKED "1;\0a\r\nx\r\n0\r\n\r\n%X"sv, true},
    {"H1-29", CHUNKED "1\r\nxy\r\n0\r\n\r\n%X"sv, true},
    {"H1-29", CHUNKED "9\r\nabc\r\n0\r\n\r\n%X"sv, true},
    {"H1-30", CHUNKED "1\r\nx0\r\n\r\n%X"sv, true},
    {"H1-30", CHUNKED "1\r\nx\n\r0\r\n\r\n%X"sv, true},
    {"H1-33", CHUNKED "0\r\n%X"sv, true},
    {"H1-34", CHUNKED "0\r\nContent-Length: 5\r\n\r\n%X"sv, true},
    {"H1-34", CHUNKED "0\r\nHost: b\r\n\r\n%X"sv, true},
    {"H1-34", CHUNKED "0\r\nX : y\r\n\r\n%X"sv, true},
    {"H1-34", CHUNKED "0\r\nX: y\n\r\n%X"sv, true},
};
#undef CHUNKED
#undef GET
#undef POST

constexpr std::string_view junk[] = {
    "<html>hello %M</html>\r\n\r\n"sv,
    "HTTP/2.0 200 OK\r\n%M\r\n"sv,
    "HTTP/1.2 200 OK\r\n%M\r\n"sv,
    "HTTP/1.1 99 x\r\n%M\r\n"sv,
    "HTTP/1.1 600 x\r\n%M\r\n"sv,
    "HTTP/1.1 200OK\r\n%M\r\n"sv,
    "HTTP/1.1  200 OK\r\n%M\r\n"sv,
    "http/1.1 200 OK\r\n%M\r\n"sv,
    "\r\nHTTP/1.1 200 OK\r\n%M\r\n"sv,
    "HTTP/1.1 200 O\rK\r\n%M\r\n"sv,
    "ICY 200 OK\r\n%M\r\n"sv,
    "HTTP/1.1 200 OK\n%M\nContent-Length: 0\n\n"sv,
    "HTTP/1.1 200 OK\r\n%MContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"sv,
    "HTTP/1.1 200 OK\r\n%MContent-Length: 5, 5\r\n\r\nhello"sv,
    "HTTP/1.1 200 OK\r\n%MContent-Length: -1\r\n\r\nhello"sv,
    "HTTP/1.1 200 OK\r\n%MContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"sv,
    "HTTP/1.0 200 OK\r\n%MTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"sv,
    "HTTP/1.1 200 OK\r\n%MTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"sv,
    "HTTP/1.1 200 OK\r\n%MX: y\r\n z\r\n\r\n"sv,
    "HTTP/1.1 200 OK\r\n%MX: y\nZ: 1\r\n\r\n"sv,
    "HTTP/1.1 200 OK\r\n%MX: a\0b\r\n\r\n"sv,
    "HTTP/1.1 200 OK\r\n%MX\r\n\r\n"sv,
    "HTTP/1.1 200 OK\r\n%M: x\r\n\r\n"sv,
    "HTTP/1.1 101 Switching\r\n%MUpgrade: x\r\nConnection: Upgrade\r\n\r\n"sv,
};
// clang-format on

std::string filled(std::string_view pattern, std::string_view target, std::string_view host,
                   std::string_view hidden) {
    std::string out;
    for (size_t at = 0; at < pattern.size(); ++at) {
        const char kind = pattern[at] == '%' && at + 1 < pattern.size() ? pattern[at + 1] : '\0';
        if (kind == 'T') {
            out += target;
        } else if (kind == 'H') {
            out += host;
        } else if (kind == 'M') {
            out += target;
        } else if (kind == 'X') {
            out += "GET ";
            out += hidden;
            out += " HTTP/1.1\r\nHost: ";
            out += host;
            out += "\r\n\r\n";
        } else {
            out += pattern[at];
            continue;
        }
        ++at;
    }
    return out;
}

std::string noise(Dice& dice, size_t size) {
    std::string out(size, '\0');
    for (char& c : out) c = static_cast<char>(dice.next());
    return out;
}

}  // namespace

BadRequest make_bad_request(Dice& dice, std::string_view target, std::string_view host,
                            std::string_view hidden) {
    const uint64_t kind = dice.below(std::size(rows) + 4);
    if (kind >= std::size(rows)) {
        std::string bytes = "GET " + std::string(target);
        switch (kind - std::size(rows)) {
            case 0:  // H1-49
                return {"H1-49", "GET /" + std::string(17'000, 'a') + std::string(target), false};
            case 1:
                bytes += " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n";
                for (int i = 0; i < 101; ++i) bytes += "X: y\r\n";
                return {"H1-49", bytes + "\r\n", false};
            case 2:
                bytes += " HTTP/1.1\r\nHost: " + std::string(host) + "\r\nX: ";
                return {"H1-49", bytes + std::string(40'000, 'x') + "\r\n\r\n", false};
            default: {
                // H1-32, H1-31: more framing than data.
                bytes = "POST " + std::string(target) + " HTTP/1.1\r\nHost: " + std::string(host) +
                        "\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(2'000, 'a') +
                        "\r\nx\r\n0\r\n\r\n";
                return {"H1-31", bytes, true};
            }
        }
    }
    const Row& row = rows[kind];
    return {row.fault, filled(row.bytes, target, host, hidden), row.is_in_body};
}

std::string make_garbage(Dice& dice) {
    switch (dice.below(8)) {
        case 0:
            return "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
        case 1:
            return "SSH-2.0-OpenSSH_9.6\r\n";
        case 2:
            return std::string("\x16\x03\x01\x00\x00", 5);  // a record of nothing
        case 3:
            return std::string("\x16\x03\x01\xff\xff", 5) + noise(dice, 300);
        case 4:  // a handshake of 128 kB that is announced and does not come (TL-05)
            return std::string("\x16\x03\x01\x00\x09\x01\x01\xff\xff", 9) + noise(dice, 5);
        case 5:
            return std::string("\x15\x03\x03\x00\x02\x02\x28", 7);  // an alert
        case 6:
            return std::string("\x80\x2e\x01\x03\x01", 5) + noise(dice, 41);  // as SSLv2 began
        default:
            return noise(dice, 1 + dice.some_of(4096));
    }
}

std::string make_junk_response(Dice& dice, std::string_view mark) {
    return filled(junk[dice.below(std::size(junk))], mark, {}, {});
}

}  // namespace sim::front
