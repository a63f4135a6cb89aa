// What the objects of one worker share: its loop, its readers of the snapshots, its pools, its
// scratch memory and its counters. One per worker, on its thread.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "proxy/access_log.h"
#include "proxy/backend_pool.h"
#include "proxy/exchange.h"
#include "proxy/head.h"
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

    // Scratch that is only used within one call from the loop: heads are large and would cost each
    // idle connection 6 KiB.
    RequestHead request_head;
    ResponseHead response_head;
    std::array<uint8_t, tls::Session::plaintext_max> plaintext;  // opened records
    std::array<uint8_t, tls::Session::plaintext_max> gather;  // pieces to be sealed into one record
    // Response heads being written: any that the parser accepts fits with what we add to it.
    std::array<char, response_head_bytes_max + rewrite_bytes_max> head_text;
    std::array<char, 2 * head_bytes_max> request_text;  // request heads beyond one chunk
    size_t next_server = 0;                             // round robin over a backend's servers

    /// Exchanges are recycled: no allocation per request after warm-up.
    std::unique_ptr<Exchange> take_exchange();
    void give_back(std::unique_ptr<Exchange> exchange);

    /// RFC 9110 5.6.7 date, made once per second.
    std::string_view http_date();

    /// All client connections, for draining.
    ClientConnection* first_connection = nullptr;

  private:
    static constexpr size_t idle_exchanges_max = 1024;
    std::vector<std::unique_ptr<Exchange>> idle_exchanges_;
    std::string date_;
    uint64_t date_until_ms_ = 0;
};

}  // namespace proxy
