// Sockets are opened so that no client is lost.
#include "app/listeners.h"

#include <sys/socket.h>
#include <sys/syscall.h>

#include "catch.h"
#include "net/listener.h"

namespace {

std::vector<int> listened_on;

}  // namespace

/// The C library's, with a note of each call: a socket that was listened on and is closed again has
/// reset whoever connected meanwhile.
extern "C" int listen(int fd, int backlog) noexcept {
    listened_on.push_back(fd);
    return static_cast<int>(::syscall(SYS_listen, fd, backlog));
}

namespace app {

TEST_CASE("each socket that is listened on is kept") {
    auto any = net::Address::parse("127.0.0.1:0");
    listened_on.clear();
    auto listener = open_listener(*any, 3, 16);
    REQUIRE(listener.ok());
    std::vector<int> kept;
    for (const base::UniqueFd& fd : listener->fds) kept.push_back(fd.fd());
    CHECK(kept.size() == 3);
    CHECK(listened_on == kept);
}

TEST_CASE("an address that somebody else listens on is not shared") {
    auto any = net::Address::parse("127.0.0.1:0");
    for (const bool reuse_port : {false, true}) {
        net::ListenerOptions options;
        options.reuse_port = reuse_port;
        auto other = net::listen_on(*any, options);
        REQUIRE(other.ok());
        auto address = net::bound_address((*other).fd());
        auto listener = open_listener(*address, 2, 16);
        REQUIRE_FALSE(listener.ok());
        CHECK_THAT(listener.error(), Catch::Matchers::ContainsSubstring("another process has it"));
    }
}

}  // namespace app
