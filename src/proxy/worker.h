// One worker: a thread's event loop with its listeners, its client connections, its backend pools,
// its TLS context and its counters. Nothing of it is touched by another thread, except the mailbox.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/snapshot.h"
#include "net/event_loop.h"
#include "proxy/local_handler.h"
#include "proxy/routes.h"
#include "tls/server_context.h"

namespace proxy {

/// What all workers read; lives as long as the process.
struct Snapshots {
    base::Published<Routes> routes;
    base::Published<Http01Answers> http01;
    base::Published<CertificateStatusAnswers> certificate_status;
    tls::Snapshots tls;
};

struct WorkerOptions {
    int number = 0;
    net::LoopOptions loop;
    tls::ContextOptions tls;
    std::shared_ptr<base::LogRing> access_log;  // of this worker alone; null: none
    LocalHandler* local = nullptr;              // admin worker: answers everything itself
};

enum class Protocol : uint8_t { Http, Https };

/// A listening socket for one worker.
struct ListenSocket {
    int fd = -1;
    Protocol protocol = Protocol::Https;
    uint16_t public_port = 0;  // X-Forwarded-Port
};

/// Numbers of one worker, or a sum of them.
struct Counters {
    uint64_t requests = 0;
    uint64_t responses[6] = {};  // by status / 100
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;
    uint64_t backend_connects = 0;
    uint64_t backend_reused = 0;
    uint64_t backend_replays = 0;
    uint64_t backend_failures = 0;
    uint64_t slow_clients = 0;   // cut: took their responses too slowly
    uint64_t shed_clients = 0;   // cut: the slowest when memory was short
    uint64_t memory_aborts = 0;  // cut: no memory even for what cannot wait
    uint64_t handshakes_full = 0;
    uint64_t handshakes_resumed = 0;
    uint64_t handshakes_failed = 0;
    uint64_t connections_accepted = 0;
    uint32_t connections = 0;
    void add(const Counters& other);
};

class Worker {
  public:
    /// Worker's thread. Errors: io_uring (explained), TLS.
    static base::Result<std::unique_ptr<Worker>> create(const WorkerOptions& options,
                                                        Snapshots& snapshots, std::string& why);
    ~Worker();

    base::Status add_listener(const ListenSocket& socket);
    /// Until stopped. Worker's thread.
    void run();
    /// One turn of the loop, waiting at most `wait_ms`: for a loop around it (the simulation).
    void turn(uint64_t wait_ms);

    /// Thread-safe: runs `work` on the worker's thread between two turns.
    void post(std::function<void()> work);
    /// The following: worker's thread only (post them).
    /// Closes listeners, lets requests in flight finish with Connection: close, closes idle
    /// connections, and ends run() when the last is gone.
    void drain();
    /// Ends run() now; connections are cut.
    void stop();
    Counters counters() const;

    /// What is held at the moment.
    struct Load {
        size_t streams = 0;  // both sides, closing ones included
        size_t chunks = 0;
        size_t chunks_queued = 0;  // in streams, where shedding sees them: between turns all
        size_t timers = 0;
        size_t requests = 0;  // from head to the end of the response
        size_t backends_leased = 0;
        size_t backends_idle = 0;
        size_t connections = 0;
        bool is_stopping = false;  // run() ends
    };
    Load load() const;

  private:
    struct Impl;
    explicit Worker(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace proxy
