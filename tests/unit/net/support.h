// What the tests of net share: a loop that is turned until something holds, a handler that writes
// down what it hears, and plain blocking sockets as the other end.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "base/unique_fd.h"
#include "catch.h"
#include "net/event_loop.h"
#include "net/listener.h"

namespace net {

inline LoopOptions small_loop() {
    LoopOptions options;
    options.sq_entries = 64;
    options.cq_entries = 256;
    options.small_buffers = 32;
    options.large_buffers = 16;
    options.bulk_buffers = 4;
    return options;
}

/// Everything as small as it goes: each shortage happens.
inline LoopOptions tiny_loop() {
    LoopOptions options;
    options.sq_entries = 4;
    options.cq_entries = 16;
    options.small_buffers = 4;
    options.large_buffers = 4;
    options.bulk_buffers = 4;
    return options;
}

inline std::unique_ptr<EventLoop> make_loop(const LoopOptions& options = small_loop()) {
    auto loop = EventLoop::create(options);
    if (!loop) FAIL(loop.error().message());
    return std::move(*loop);
}

inline uint64_t steady_ms() {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                     std::chrono::steady_clock::now().time_since_epoch())
                                     .count());
}

/// Turns the loop until `done`; false after `limit_ms`.
template <typename Done>
bool turn_until(EventLoop& loop, Done done, uint64_t limit_ms = 10'000) {
    const uint64_t deadline = steady_ms() + limit_ms;
    while (!done()) {
        if (steady_ms() > deadline) return false;
        loop.turn(10);
    }
    return true;
}

inline void turn_for(EventLoop& loop, uint64_t ms) {
    (void)turn_until(
        loop, [] { return false; }, ms);
}

inline Chunk chunk_of(EventLoop& loop, std::string_view text) {
    Chunk chunk = loop.chunks().take();
    REQUIRE(chunk);
    std::memcpy(chunk.room().data(), text.data(), text.size());
    chunk.filled(text.size());
    return chunk;
}

/// Writes down what it hears; hooks run after that.
struct Recorder : StreamHandler {
    Stream* stream = nullptr;
    std::string received;
    int connected = 0;
    int ended = 0;
    int writable = 0;
    int closed = 0;
    base::Error error;
    std::function<void(std::span<uint8_t>)> when_data;
    std::function<void()> when_connected, when_end, when_writable, when_closed;

    void on_connected() noexcept override {
        alive();
        ++connected;
        if (when_connected) when_connected();
    }
    void on_data(std::span<uint8_t> bytes) noexcept override {
        alive();
        base::check(!bytes.empty());
        base::check(!stream || !stream->paused());
        received.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        std::fill(bytes.begin(), bytes.end(), 0xee);  // the header says that we may
        if (when_data) when_data(bytes);
    }
    void on_end() noexcept override {
        alive();
        ++ended;
        if (when_end) when_end();
    }
    void on_writable() noexcept override {
        alive();
        ++writable;
        if (when_writable) when_writable();
    }
    void on_closed(base::Error e) noexcept override {
        alive();
        ++closed;
        error = e;
        if (when_closed) when_closed();
        stream = nullptr;
    }

  private:
    void alive() const { base::check(closed == 0); }  // on_closed() is the last call
};

/// Gives every accepted stream a Recorder; `when_accepted` may set it up.
struct Acceptors : AcceptHandler {
    std::vector<std::unique_ptr<Recorder>> all;
    std::function<void(Recorder&)> when_accepted;

    void on_accept(Stream& stream) noexcept override {
        all.push_back(std::make_unique<Recorder>());
        all.back()->stream = &stream;
        stream.set_handler(*all.back());
        if (when_accepted) when_accepted(*all.back());
    }
    size_t open() const {
        return static_cast<size_t>(
            std::count_if(all.begin(), all.end(), [](const auto& r) { return r->closed == 0; }));
    }
};

inline Address address_of(std::string_view text) {
    auto address = Address::parse(text);
    REQUIRE(address.ok());
    return *address;
}

inline Address bound_to(const base::UniqueFd& fd) {
    auto address = bound_address(fd.fd());
    REQUIRE(address.ok());
    return *address;
}

inline base::UniqueFd listen_at(std::string_view text, const ListenerOptions& options = {}) {
    auto fd = listen_on(address_of(text), options);
    if (!fd) FAIL(fd.error().message());
    return std::move(*fd);
}

/// A listener on `text` in `loop`; where it stands.
inline Address listen_in(EventLoop& loop, AcceptHandler& handler,
                         std::string_view text = "127.0.0.1:0") {
    base::UniqueFd fd = listen_at(text);
    const Address bound = bound_to(fd);
    REQUIRE(loop.add_listener(fd.release(), handler).ok());
    return bound;
}

/// A blocking client with a receive timeout of 10 s, as tests run single-threaded.
inline base::UniqueFd dial(const Address& address) {
    base::UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(fd);
    REQUIRE(::connect(fd.fd(), address.data(), address.length()) == 0);
    const timeval limit{10, 0};
    REQUIRE(::setsockopt(fd.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    return fd;
}

inline void write_text(int fd, std::string_view text) {
    REQUIRE(::send(fd, text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
}

/// Reads without blocking what is there; errno-negative on error, 0 at FIN.
inline ssize_t read_now(int fd, std::string& into) {
    char buffer[65536];
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0) into.append(buffer, static_cast<size_t>(n));
    return n < 0 ? -errno : n;
}

/// A connected pair: one end for the loop, one for the test.
struct Pair {
    base::UniqueFd ours;
    base::UniqueFd theirs;
};

inline Pair tcp_pair() {
    const base::UniqueFd listener = listen_at("127.0.0.1:0");
    Pair pair;
    pair.theirs = dial(bound_to(listener));
    pair.ours.reset(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(pair.ours);
    return pair;
}

inline Pair unix_pair() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    return {base::UniqueFd(fds[0]), base::UniqueFd(fds[1])};
}

inline size_t open_descriptors() {
    size_t count = 0;
    for (int fd = 0; fd < 4096; ++fd) count += ::fcntl(fd, F_GETFD) != -1;
    return count;
}

}  // namespace net
