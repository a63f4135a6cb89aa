// A thread for the handshakes that a worker must not do itself: one signature with RSA 4096 takes
// 5 ms, for which thousands of connections would stand still.
//
// The worker does all of a handshake but one step: it reads the ClientHello, chooses, decodes and
// installs the certificate, lends the session to the pool, and goes on with it afterwards. The
// thread runs Session::use_slow_key() and nothing else. One thread, first come first served: what
// slow keys can take of the machine is one CPU, and the workers' share stays theirs.
//
// Made by app, one per process. Stopped before the first context whose sessions it had is destroyed
// (see WorkerTls), destroyed after the last.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "tls/session.h"

namespace tls {

class HandshakePool {
  public:
    /// 5 ms each: whoever comes last waits 5 s, half of what a handshake may take (10 s).
    static constexpr size_t waiting_max_default = 1024;

    /// Starts the thread, which inherits the caller's signal mask.
    explicit HandshakePool(size_t waiting_max = waiting_max_default);
    ~HandshakePool();
    HandshakePool(const HandshakePool&) = delete;
    HandshakePool& operator=(const HandshakePool&) = delete;

    /// Lends a session that said NeedSlowKey, until `done` is called or withdraw() gives it back:
    /// nobody else may touch or destroy it. `done` is called on the pool's thread: it posts to the
    /// session's worker. False, and nothing is lent: too many wait, or the pool was stopped.
    bool submit(Session& session, std::function<void()> done);
    /// Takes back a session that still waits; `done` will not be called. False: it is being worked
    /// on, and `done` has been or will be called.
    bool withdraw(const Session& session);
    /// Ends the thread after the step in progress. What still waits can be withdrawn.
    void stop();

    struct Counts {
        uint64_t taken = 0;    // by the thread
        uint64_t refused = 0;  // by submit()
        uint64_t withdrawn = 0;
        size_t waiting = 0;
    };
    Counts counts() const;

  private:
    struct Job {
        Session* session;
        std::function<void()> done;
    };
    void run();

    const size_t waiting_max_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Job> waiting_;
    Counts counts_;
    bool stopping_ = false;
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace tls
