#include "app/worker_threads.h"

#include <pthread.h>

#include <cerrno>

#include "app/confinement.h"
#include "base/log.h"
#include "net/ring_size.h"

namespace app {

WorkerThreads::~WorkerThreads() {
    if (threads_.empty()) return;
    stop();
    join();
}

namespace {

/// A process that has just ended gives its locked memory back a moment later: that of the one whose
/// place we take. What still fails then is tried with smaller queues.
base::Result<std::unique_ptr<proxy::Worker>> create_worker(proxy::WorkerOptions& options,
                                                           proxy::Snapshots& snapshots,
                                                           std::string& why) {
    constexpr int attempts_max = 20;
    constexpr std::chrono::milliseconds pause{50};
    for (int attempt = 1;; ++attempt) {
        auto created = proxy::Worker::create(options, snapshots, why);
        if (created || created.error().code != ENOMEM) return created;
        if (attempt >= attempts_max) {
            if (!net::shrink_queues(options.loop)) return created;
            base::log_warn("app", "",
                           "worker {} has smaller io_uring queues ({} and {} entries): {}",
                           options.number, options.loop.sq_entries, options.loop.cq_entries, why);
        }
        std::this_thread::sleep_for(pause);
    }
}

}  // namespace

void WorkerThreads::run(WorkerPlan plan, Thread& own) {
    const std::string name =
        plan.options.local != nullptr ? "admin" : fmt::format("worker {}", plan.options.number);
    (void)::pthread_setname_np(::pthread_self(), name.c_str());  // for people with top(1)
    std::string why;
    auto created = create_worker(plan.options, snapshots_, why);
    std::unique_ptr<proxy::Worker> worker;
    if (created) worker = std::move(created).value();
    for (WorkerPlan::Socket& socket : plan.sockets) {
        if (!worker) break;
        // The worker closes it from now on, also if it cannot use it.
        const base::Status added =
            worker->add_listener({socket.fd.release(), socket.protocol, socket.public_port});
        if (!added) {
            why = "listening: " + added.error().message();
            worker.reset();
        }
    }

    if (worker) confine_thread();  // all that it needs is open; it serves nobody yet

    std::unique_lock lock(mutex_);
    own.worker = worker.get();
    ++ready_;
    if (!worker) {
        failed_ = true;
        if (why_.empty()) why_ = why;
    }
    changed_.notify_all();
    changed_.wait(lock, [&] { return may_run_ || may_end_; });
    if (worker && !may_end_) {
        lock.unlock();
        worker->run();
        lock.lock();
        own.running = false;
    }
    ++ended_;
    changed_.notify_all();
    // Others may post until main says that they do not any more: the mailbox has to outlive that.
    changed_.wait(lock, [&] { return may_end_; });
    own.worker = nullptr;
    lock.unlock();
    worker.reset();
}

bool WorkerThreads::start(std::vector<WorkerPlan> plans, std::string& why) {
    for (WorkerPlan& plan : plans) {
        threads_.push_back(std::make_unique<Thread>());
        Thread& own = *threads_.back();
        own.thread = std::thread(
            [this, &own, plan = std::move(plan)]() mutable { run(std::move(plan), own); });
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ready_ == threads_.size(); });
    if (!failed_) {
        may_run_ = true;
        for (const auto& thread : threads_) thread->running = true;
        changed_.notify_all();
        return true;
    }
    why = why_;
    lock.unlock();
    join();
    return false;
}

std::vector<proxy::Worker*> WorkerThreads::running() const {
    const std::lock_guard lock(mutex_);
    std::vector<proxy::Worker*> workers;
    for (const auto& thread : threads_) {
        if (thread->running) workers.push_back(thread->worker);
    }
    return workers;
}

std::vector<Post> WorkerThreads::posts() const {
    std::vector<Post> posts;
    for (proxy::Worker* worker : running()) {
        posts.push_back([worker](std::function<void()> work) { worker->post(std::move(work)); });
    }
    return posts;
}

proxy::Counters WorkerThreads::counters(base::Duration limit) const {
    struct Sum {
        std::mutex mutex;
        proxy::Counters counters;
    };
    auto sum = std::make_shared<Sum>();
    const std::vector<proxy::Worker*> workers = running();
    std::vector<Post> posts;
    for (proxy::Worker* worker : workers) {
        posts.push_back([worker](std::function<void()> work) { worker->post(std::move(work)); });
    }
    // One that is late adds to a sum that nobody reads any more.
    (void)run_on_all(
        posts,
        [sum, workers](size_t number) {
            const proxy::Counters own = workers[number]->counters();
            const std::lock_guard lock(sum->mutex);
            sum->counters.add(own);
        },
        limit);
    const std::lock_guard lock(sum->mutex);
    return sum->counters;
}

void WorkerThreads::drain() {
    const std::lock_guard lock(mutex_);
    for (const auto& thread : threads_) {
        proxy::Worker* worker = thread->worker;
        if (worker != nullptr) worker->post([worker] { worker->drain(); });
    }
}

void WorkerThreads::stop() {
    const std::lock_guard lock(mutex_);
    for (const auto& thread : threads_) {
        proxy::Worker* worker = thread->worker;
        if (worker != nullptr) worker->post([worker] { worker->stop(); });
    }
}

bool WorkerThreads::wait_ended(base::Duration limit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return ended_ == threads_.size(); });
}

void WorkerThreads::join() {
    {
        const std::lock_guard lock(mutex_);
        may_end_ = true;
        changed_.notify_all();
    }
    for (const auto& thread : threads_) thread->thread.join();
    threads_.clear();
}

}  // namespace app
