// The threads that serve: each creates its worker, runs it and destroys it (design.md, section 2).
// Owned and used by main; post() and counters() also by others while the threads are there.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "app/broadcast.h"
#include "base/unique_fd.h"
#include "proxy/worker.h"

namespace app {

/// What one worker is made of.
struct WorkerPlan {
    struct Socket {
        base::UniqueFd fd;
        proxy::Protocol protocol = proxy::Protocol::Https;
        uint16_t public_port = 0;
    };
    proxy::WorkerOptions options;
    std::vector<Socket> sockets;
};

class WorkerThreads {
  public:
    explicit WorkerThreads(proxy::Snapshots& snapshots) : snapshots_(snapshots) {}
    /// Stops what runs.
    ~WorkerThreads();
    WorkerThreads(const WorkerThreads&) = delete;
    WorkerThreads& operator=(const WorkerThreads&) = delete;

    /// Starts a thread per plan and waits until each has its worker. False: `why` says what the
    /// first that failed says (io_uring refused, …), and none runs.
    bool start(std::vector<WorkerPlan> plans, std::string& why);

    /// For run_on_all(): those that run. Valid until join().
    std::vector<Post> posts() const;
    /// Summed over the workers that answer within `limit`.
    proxy::Counters counters(base::Duration limit) const;

    /// Asks all to drain, or to stop now.
    void drain();
    void stop();
    /// Whether all have ended; waits at most `limit`.
    bool wait_ended(base::Duration limit);
    /// Destroys the workers and ends the threads; they must have ended, or been stopped.
    void join();

  private:
    struct Thread {
        std::thread thread;
        proxy::Worker* worker = nullptr;  // while the thread has one
        bool running = false;             // in run(): what is posted will be done
    };
    void run(WorkerPlan plan, Thread& own);
    std::vector<proxy::Worker*> running() const;

    proxy::Snapshots& snapshots_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::unique_ptr<Thread>> threads_;
    size_t ready_ = 0;  // created their worker, or failed
    size_t ended_ = 0;  // left run()
    bool failed_ = false;
    bool may_run_ = false;  // all are ready: begin
    bool may_end_ = false;  // nobody posts any more: destroy the workers
    std::string why_;
};

}  // namespace app
