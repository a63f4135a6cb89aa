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
    handshakes_full += other.handshakes_full;
    handshakes_resumed += other.handshakes_resumed;
    handshakes_failed += other.handshakes_failed;
    connections_accepted += other.connections_accepted;
    connections += other.connections;
}

// --- what a worker's objects share

std::unique_ptr<Exchange> WorkerContext::take_exchange() {
    // Trimmed here and not in give_back(), which an exchange's own functions are below.
    while (idle_exchanges_.size() > idle_exchanges_max) idle_exchanges_.pop_back();
    if (idle_exchanges_.empty()) return std::make_unique<Exchange>(*this);
    std::unique_ptr<Exchange> exchange = std::move(idle_exchanges_.back());
    idle_exchanges_.pop_back();
    return exchange;
}

void WorkerContext::give_back(std::unique_ptr<Exchange> exchange) {
    idle_exchanges_.push_back(std::move(exchange));
}

std::string_view WorkerContext::http_date() {
    if (loop.now_ms() >= date_until_ms_) {
        date_ = base::format_http_date(
            std::chrono::floor<base::Duration>(std::chrono::system_clock::now()));
        date_until_ms_ = loop.now_ms() + 1000;
    }
    return date_;
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
        while (context->first_connection != nullptr) delete context->first_connection;
    }

    void accept(net::Stream& stream, const ListenSocket& socket) noexcept {
        std::unique_ptr<tls::Session> session;
        if (socket.protocol == Protocol::Https) {
            session = context->tls->accept({&stream, local_ip});
            if (!session) {
                stream.close();
                return;
            }
        }
        auto* connection = new ClientConnection(*context, stream, socket, std::move(session));
        stream.set_handler(*connection);  // owned by its stream: deleted in on_closed()
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

}  // namespace proxy
