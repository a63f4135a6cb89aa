#include "tls/handshake_pool.h"

#include <pthread.h>

namespace tls {

HandshakePool::HandshakePool(size_t waiting_max)
    : waiting_max_(waiting_max), thread_([this] { run(); }) {
    (void)::pthread_setname_np(thread_.native_handle(),
                               "handshake pool");  // for people with top(1)
}

HandshakePool::~HandshakePool() {
    stop();
}

bool HandshakePool::submit(Session& session, std::function<void()> done) {
    const std::lock_guard lock(mutex_);
    if (stopping_ || waiting_.size() >= waiting_max_) {
        ++counts_.refused;
        return false;
    }
    waiting_.push_back({&session, std::move(done)});
    changed_.notify_one();
    return true;
}

bool HandshakePool::withdraw(const Session& session) {
    const std::lock_guard lock(mutex_);
    const auto is_it = [&session](const Job& job) { return job.session == &session; };
    const auto job = std::find_if(waiting_.begin(), waiting_.end(), is_it);
    if (job == waiting_.end()) return false;
    waiting_.erase(job);
    ++counts_.withdrawn;
    return true;
}

void HandshakePool::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        changed_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
}

HandshakePool::Counts HandshakePool::counts() const {
    const std::lock_guard lock(mutex_);
    Counts counts = counts_;
    counts.waiting = waiting_.size();
    return counts;
}

void HandshakePool::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (stopping_) return;
        const Job job = std::move(waiting_.front());
        waiting_.pop_front();
        ++counts_.taken;
        lock.unlock();
        job.session->use_slow_key();
        job.done();
        lock.lock();
    }
}

}  // namespace tls
