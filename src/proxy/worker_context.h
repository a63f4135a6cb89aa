// What the objects of one worker share: its loop, its readers of the snapshots, its pools, its
// scratch memory and its counters. One per worker, on its thread.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/log_sampler.h"
#include "proxy/access_log.h"
#include "proxy/balancer.h"
#include "proxy/head.h"
#include "proxy/request.h"
#include "proxy/worker.h"

namespace proxy {

class ClientConnection;

struct WorkerContext {
    WorkerContext(const WorkerOptions& worker_options, Snapshots& snapshots,
                  net::EventLoop& event_loop, std::unique_ptr<tls::ServerContext> tls_context)
        : options(worker_options),
          loop(event_loop),
          tls(std::move(tls_context)),
          routes(snapshots.routes),
          http01(snapshots.http01),
          certificate_status(snapshots.certificate_status),
          pools(event_loop),
          access_log(worker_options.access_log) {}

    WorkerOptions options;
    net::EventLoop& loop;
    std::unique_ptr<tls::ServerContext> tls;
    base::SnapshotReader<Routes> routes;
    base::SnapshotReader<Http01Answers> http01;
    base::SnapshotReader<CertificateStatusAnswers> certificate_status;
    BackendPools pools;
    AccessLog access_log;
    Counters counters;
    bool draining = false;
    // What strangers can cause at will is logged now and then, by kind, with how much was left out.
    base::LogSampler failed_handshakes{5};  // by tls::Failure
    base::LogSampler refused_requests{5};   // by status
    base::LogSampler failed_requests{20};   // by status: servers', mostly

    // Scratch that is only used within one call from the loop, which nothing re-enters: heads are
    // large and would cost each idle connection 6 KiB.
    RequestHead request_head;
    ResponseHead response_head;
    std::array<uint8_t, tls::Session::plaintext_max> plaintext;  // opened records
    // Response heads being written: any that the parser accepts fits with what we add to it.
    std::array<char, response_head_bytes_max + rewrite_bytes_max> head_text;
    std::array<char, 2 * head_bytes_max> request_text;  // request heads beyond one chunk

    /// Requests are recycled: no allocation per request after warm-up.
    std::unique_ptr<Request> take_request();
    /// After Request::reset().
    void give_back(std::unique_ptr<Request> request);
    size_t requests() const { return requests_; }

    /// A quarter of the chunks is in use: nobody should take more than is needed to go on.
    bool memory_is_low() const { return loop.chunks().scarce(); }
    /// Three quarters are: only what cannot wait takes more.
    bool memory_is_out() const { return loop.chunks().in_use() > options.loop.chunks_max / 4 * 3; }

    /// RFC 9110 5.6.7 date, made once per second.
    std::string_view http_date();

    /// Memory is low: until it is not, who waits for some is called every 250 ms
    /// (ClientConnection::on_memory()), and while it is out the clients that take what they were
    /// sent slowest, or whose requests servers take slowest, are cut until half of the chunks are
    /// free.
    void watch_memory();

    /// Somebody's connection is paused: every 5 s each is looked at that is, whether the client is
    /// still there (ClientConnection::look_if_paused()).
    void watch_paused();

    /// Nearly all places for connections are taken: idle ones are closed until an eighth is free,
    /// first those that have never asked for anything, those that are idle for longest first.
    void watch_places();

    /// All client connections, for draining.
    ClientConnection* first_connection = nullptr;

  private:
    static constexpr size_t idle_requests_max = 1024;
    static constexpr uint64_t memory_sweep_ms = 250;
    static constexpr uint64_t paused_sweep_ms = 5'000;
    static void on_memory_timer(void* self) noexcept;
    static constexpr uint64_t places_sweep_ms = 250;
    static constexpr uint64_t idle_min_ms = 1'000;  // for a first request to come
    static void on_paused_timer(void* self) noexcept;
    static void on_places_timer(void* self) noexcept;
    void shed_slowest();

    std::vector<std::unique_ptr<Request>> idle_requests_;
    size_t requests_ = 0;  // taken
    std::string date_;
    uint64_t date_until_ms_ = 0;
    net::Timer memory_timer_{this, on_memory_timer};
    net::Timer paused_timer_{this, on_paused_timer};
    net::Timer places_timer_{this, on_places_timer};
};

}  // namespace proxy
