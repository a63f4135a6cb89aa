// What the tests of the front's objects share: a worker's context on a small loop of its own, a
// client's connection that only writes down what is asked of it, and servers as plain sockets.
#pragma once

#include <string>
#include <vector>

#include "catch.h"
#include "net/support.h"
#include "proxy/http1_connection.h"
#include "proxy/worker_context.h"

namespace proxy {

/// A ClientTransport without a socket. `memory` bytes are taken before room() is 0.
struct FakeTransport final : ClientTransport {
    Flow append(std::span<const uint8_t> bytes) override {
        if (!is_open()) return Flow::Gone;
        if (gone_at != 0 && ++appends >= gone_at) {
            abort();
            return Flow::Gone;
        }
        staged.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return Flow::Go;
    }
    using ClientTransport::append;
    Flow flush() override {
        if (!is_open()) return Flow::Gone;
        sent += std::exchange(staged, {});
        room_left = std::min(room_left, room_left_after_flush);
        return Flow::Go;
    }
    size_t room() const override { return is_open() ? room_left : 0; }
    void resume() override { ++resumed; }
    void set_bulk(bool bulk) override { is_bulk = bulk; }
    void set_deadline(uint32_t delay_ms) override { deadline_ms = delay_ms; }
    void finish() override {
        (void)flush();
        if (is_open()) end = "finished";
    }
    void leave() override {
        if (is_open()) end = "left";
    }
    void abort() override {
        if (is_open()) end = "aborted";
    }
    bool is_open() const override { return end.empty(); }
    const tls::SessionInfo* tls_info() const override { return nullptr; }
    const std::string& address() const override { return client; }
    bool is_unix() const override { return false; }
    uint16_t public_port() const override { return 80; }

    /// What was sent since the last time.
    std::string take() { return std::exchange(sent, {}); }

    std::string staged, sent, end;
    std::string client = "192.0.2.7";
    size_t room_left = 100'000;
    size_t room_left_after_flush = SIZE_MAX;
    int gone_at = 0;  // the append that finds the client gone; 0: none
    int appends = 0;
    int resumed = 0;
    uint32_t deadline_ms = 0;
    bool is_bulk = false;
};

/// One worker with the sites a.test, b.test, ... that are asked for.
struct FrontFixture {
    FrontFixture() : loop(net::make_loop()) {
        options.loop = net::small_loop();
        limits.body_ms = 2'000;
        limits.backend_response_ms = 3'000;
        publish();
        worker = std::make_unique<WorkerContext>(options, snapshots, *loop, nullptr);
    }
    ~FrontFixture() { worker->pools.close_idle(); }

    void add_site(const char* host, const std::vector<net::Address>& servers) {
        auto backend = std::make_shared<Backend>();
        backend->name = host;
        backend->servers = servers;
        auto site = std::make_shared<Site>();
        site->name = host;
        site->hosts = {host};
        site->backend = std::move(backend);
        sites.push_back(std::move(site));
        publish();
    }
    void publish() { snapshots.routes.publish(std::make_shared<const Routes>(sites, -1, limits)); }
    template <typename Done>
    bool turn_until(Done done) {
        return net::turn_until(*loop, done);
    }

    Limits limits;
    std::vector<std::shared_ptr<const Site>> sites;
    Snapshots snapshots;
    WorkerOptions options;
    std::unique_ptr<net::EventLoop> loop;
    std::unique_ptr<WorkerContext> worker;
};

/// A listening server whose connections the test answers by hand.
struct HandServer {
    HandServer() : listener(net::listen_at("127.0.0.1:0")) { address = net::bound_to(listener); }
    /// The next connection, as a plain blocking socket.
    base::UniqueFd accept() { return base::UniqueFd(::accept(listener.fd(), nullptr, nullptr)); }

    base::UniqueFd listener;
    net::Address address;
};

}  // namespace proxy
