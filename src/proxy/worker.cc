#include "proxy/worker.h"

#include "base/clock.h"
#include "proxy/client_connection.h"
#include "proxy/worker_context.h"

namespace proxy {

void Counters::add(const Counters& other) {
    requests += other.requests;
    for (size_t i = 0; i < std::size(responses); ++i) responses[i] += other.responses[i];
    bytes_in += other.bytes_in;
    bytes_out += other.bytes_out;
    backend_connects += other.backend_connects;
    backend_reused += other.backend_reused;
    backend_replays += other.backend_replays;
    backend_failures += other.backend_failures;
    slow_clients += other.slow_clients;
    shed_clients += other.shed_clients;
    memory_aborts += other.memory_aborts;
    handshakes_full += other.handshakes_full;
    handshakes_resumed += other.handshakes_resumed;
    handshakes_failed += other.handshakes_failed;
    connections_accepted += other.connections_accepted;
    connections += other.connections;
}

// --- what a worker's objects share

std::unique_ptr<Request> WorkerContext::take_request() {
    ++requests_;
    if (idle_requests_.empty()) return std::make_unique<Request>(*this);
    std::unique_ptr<Request> request = std::move(idle_requests_.back());
    idle_requests_.pop_back();
    return request;
}

void WorkerContext::give_back(std::unique_ptr<Request> request) {
    base::check(requests_ > 0);
    --requests_;
    if (idle_requests_.size() < idle_requests_max) idle_requests_.push_back(std::move(request));
}

std::string_view WorkerContext::http_date() {
    if (loop.now_ms() >= date_until_ms_) {
        date_ = base::format_http_date(
            std::chrono::floor<base::Duration>(std::chrono::system_clock::now()));
        date_until_ms_ = loop.now_ms() + 1000;
    }
    return date_;
}

void WorkerContext::watch_memory() {
    if (!memory_timer_.armed()) loop.timers().arm(memory_timer_, memory_sweep_ms);
}

void WorkerContext::on_memory_timer(void* self) noexcept {
    auto& worker = *static_cast<WorkerContext*>(self);
    if (worker.memory_is_out()) worker.shed_slowest();
    for (ClientConnection* connection = worker.first_connection; connection != nullptr;) {
        ClientConnection* next = connection->next;
        connection->on_memory();
        connection = next;
    }
    if (worker.memory_is_low()) worker.watch_memory();
}

void WorkerContext::watch_paused() {
    if (!paused_timer_.armed()) loop.timers().arm(paused_timer_, paused_sweep_ms);
}

void WorkerContext::on_paused_timer(void* self) noexcept {
    auto& worker = *static_cast<WorkerContext*>(self);
    bool any = false;
    for (ClientConnection* connection = worker.first_connection; connection != nullptr;) {
        ClientConnection* next = connection->next;
        any |= connection->look_if_paused();
        connection = next;
    }
    if (any) worker.watch_paused();
}

void WorkerContext::watch_places() {
    const size_t places = options.loop.connections_max;
    const size_t few = std::max<size_t>(1, places / 16);
    if (places_timer_.armed() || loop.counters().connections + few <= places) return;
    loop.timers().arm(places_timer_, places_sweep_ms);
}

void WorkerContext::on_places_timer(void* self) noexcept {
    auto& worker = *static_cast<WorkerContext*>(self);
    const size_t places = worker.options.loop.connections_max;
    const size_t target = places - std::min(places, std::max<size_t>(2, places / 8));
    if (worker.loop.counters().connections <= target) return;
    const uint64_t now_ms = worker.loop.now_ms();
    using Candidates = std::vector<std::pair<uint64_t, ClientConnection*>>;  // by idle since
    Candidates fresh;
    Candidates kept;
    size_t young = 0;  // they get their time to ask, and then make place for those that have
    size_t open = 0;   // those that are closing need not be closed
    for (ClientConnection* c = worker.first_connection; c != nullptr; c = c->next) {
        if (c->is_leaving()) continue;
        ++open;
        const Idle idle = c->idle();
        if (idle.since_ms == 0) continue;
        if (!idle.is_new) {
            kept.emplace_back(idle.since_ms, c);
        } else if (idle.since_ms + idle_min_ms <= now_ms) {
            fresh.emplace_back(idle.since_ms, c);
        } else {
            ++young;
        }
    }
    const auto close_oldest = [](Candidates& candidates, size_t most) {
        std::sort(candidates.begin(), candidates.end());
        candidates.resize(std::min(candidates.size(), most));
        for (const auto& [since_ms, connection] : candidates) connection->close_idle();
        return candidates.size();
    };
    const size_t wanted = open - std::min(open, target);
    const size_t closed = young + close_oldest(fresh, wanted);
    if (closed < wanted) (void)close_oldest(kept, wanted - closed);
    worker.loop.timers().arm(worker.places_timer_, places_sweep_ms);  // until there are places
}

void WorkerContext::shed_slowest() {
    struct Candidate {
        ClientConnection* connection;
        Waiting waiting;
    };
    std::vector<Candidate> candidates;
    for (ClientConnection* c = first_connection; c != nullptr; c = c->next) {
        const Waiting waiting = c->waiting_output();
        if (waiting.bytes > 0) candidates.push_back({c, waiting});
    }
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
        return a.waiting.since_ms < b.waiting.since_ms;
    });
    const size_t target = options.loop.chunks_max / 2;
    size_t left = loop.chunks().in_use();
    size_t shed = 0;
    for (const Candidate& candidate : candidates) {
        if (left <= target) break;
        // Aborting gives chunks back at once, but for those that the kernel still reads.
        left -= std::min(left, candidate.waiting.bytes / net::chunk_bytes + 1);
        candidate.connection->shed();
        ++shed;
    }
    if (shed == 0) return;
    counters.shed_clients += shed;
    base::log_warn("proxy", "",
                   "output memory is used up by clients and servers that do not read: {} of {} "
                   "clients that wait, or whose requests do, were cut, the slowest first",
                   shed, candidates.size());
}

// --- the worker

namespace {

std::optional<base::IpAddress> local_ip(const void* stream) noexcept {
    return static_cast<const net::Stream*>(stream)->local().ip();
}

}  // namespace

struct Worker::Impl {
    /// Makes connections of what one listener accepts.
    struct Listener final : net::AcceptHandler {
        Listener(Impl& worker, const ListenSocket& listen_socket)
            : impl(worker), socket(listen_socket) {}
        void on_accept(net::Stream& stream) noexcept override { impl.accept(stream, socket); }
        Impl& impl;
        ListenSocket socket;
    };

    Impl(const WorkerOptions& options, Snapshots& snapshots, std::unique_ptr<net::EventLoop> loop,
         std::unique_ptr<tls::ServerContext> tls)
        : event_loop(std::move(loop)),
          context(std::make_unique<WorkerContext>(options, snapshots, *event_loop, std::move(tls))),
          drain_timer(this, on_drain_timer) {}

    ~Impl() {
        // Connections are owned by their streams' last call, which does not come any more.
        while (context->first_connection != nullptr) {
            context->first_connection->stop();
            delete context->first_connection;
        }
    }

    void accept(net::Stream& stream, const ListenSocket& socket) noexcept {
        // Asked now: after a reset the kernel has none, and a request without its client's address
        // would be taken for one of our own by whoever trusts X-Forwarded-For.
        const net::Address client = stream.peer();
        if (client.family() == AF_UNSPEC) {
            stream.close();
            return;
        }
        std::unique_ptr<tls::Session> session;
        if (socket.protocol == Protocol::Https) {
            session = context->tls->accept({&stream, local_ip});
            if (!session) {
                stream.close();
                return;
            }
        }
        auto* connection =
            new ClientConnection(*context, stream, client, socket, std::move(session));
        stream.set_handler(*connection);  // owned by its stream: deleted in on_closed()
        context->watch_places();
    }

    /// Ends run() once the last connection is gone.
    static void on_drain_timer(void* self) noexcept {
        auto& impl = *static_cast<Impl*>(self);
        if (impl.context->first_connection == nullptr) {
            impl.event_loop->stop();
        } else {
            impl.event_loop->timers().arm(impl.drain_timer, drain_poll_ms);
        }
    }

    static constexpr uint64_t drain_poll_ms = 20;

    std::unique_ptr<net::EventLoop> event_loop;
    std::unique_ptr<WorkerContext> context;
    std::vector<std::unique_ptr<Listener>> listeners;
    net::Timer drain_timer;
};

Worker::Worker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Worker::~Worker() = default;

base::Result<std::unique_ptr<Worker>> Worker::create(const WorkerOptions& options,
                                                     Snapshots& snapshots, std::string& why) {
    auto loop = net::EventLoop::create(options.loop);
    if (!loop) {
        why = net::explain_ring_error(loop.error().code);
        return loop.error();
    }
    auto tls = tls::ServerContext::create(options.tls, snapshots.tls);
    if (!tls) {
        why = "TLS: " + tls.error().message();
        return tls.error();
    }
    return std::unique_ptr<Worker>(new Worker(std::make_unique<Impl>(
        options, snapshots, std::move(loop).value(), std::move(tls).value())));
}

base::Status Worker::add_listener(const ListenSocket& socket) {
    impl_->listeners.push_back(std::make_unique<Impl::Listener>(*impl_, socket));
    return impl_->event_loop->add_listener(socket.fd, *impl_->listeners.back());
}

void Worker::run() {
    impl_->event_loop->run();
}

void Worker::turn(uint64_t wait_ms) {
    impl_->event_loop->turn(wait_ms);
}

void Worker::post(std::function<void()> work) {
    impl_->event_loop->mailbox().post(std::move(work));
}

void Worker::drain() {
    WorkerContext& context = *impl_->context;
    if (std::exchange(context.draining, true)) return;
    impl_->event_loop->close_listeners();
    for (ClientConnection* connection = context.first_connection; connection != nullptr;) {
        ClientConnection* next = connection->next;
        connection->drain();
        connection = next;
    }
    context.pools.close_idle();
    impl_->event_loop->timers().arm(impl_->drain_timer, Impl::drain_poll_ms);
}

void Worker::stop() {
    impl_->event_loop->stop();
}

Counters Worker::counters() const {
    Counters counters = impl_->context->counters;
    const tls::TlsCounters& tls = impl_->context->tls->counters();
    counters.handshakes_full = tls.full_handshakes;
    counters.handshakes_resumed = tls.resumed_handshakes;
    counters.handshakes_failed = tls.failed_handshakes;
    counters.connections_accepted = impl_->event_loop->counters().accepted;
    counters.connections = impl_->event_loop->counters().connections;
    return counters;
}

Worker::Load Worker::load() const {
    const WorkerContext& context = *impl_->context;
    size_t connections = 0;
    for (const ClientConnection* c = context.first_connection; c != nullptr; c = c->next) {
        ++connections;
    }
    return {.streams = impl_->event_loop->streams(),
            .chunks = impl_->event_loop->chunks().in_use(),
            .chunks_queued = impl_->event_loop->queued_chunks(),
            .timers = impl_->event_loop->timers().armed(),
            .requests = context.requests(),
            .backends_leased = context.pools.leased(),
            .backends_idle = context.pools.idle(),
            .connections = connections,
            .is_stopping = impl_->event_loop->is_stopping()};
}

}  // namespace proxy
