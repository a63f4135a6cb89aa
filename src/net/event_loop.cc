#include "net/event_loop.h"

#include <cerrno>
#include <mutex>

#include "base/log.h"
#include "net/acceptor.h"
#include "net/kernel.h"
#include "net/stream_parts.h"
#include "net/stream_table.h"

namespace net {

namespace {

/// Completions handled before timers and the mailbox get their turn.
constexpr size_t completions_per_turn = 1024;
constexpr size_t completions_per_batch = 64;
/// How often work that makes new work is followed before the turn ends.
constexpr int work_rounds = 4;
constexpr uint64_t wait_limit_ms = 60'000;
constexpr uint64_t retry_delay_ms = 20;
constexpr size_t idle_queues_max = 256;

/// Error::text is never freed: the few sentences that a failing start makes are kept.
const char* keep_text(std::string text) {
    static std::mutex mutex;
    static std::deque<std::string> kept;
    std::lock_guard lock(mutex);
    return kept.emplace_back(std::move(text)).c_str();
}

uint16_t group_id(BufferKind kind) {
    return static_cast<uint16_t>(kind);
}

size_t index(BufferKind kind) {
    return static_cast<size_t>(kind);
}

}  // namespace

// ---- Life ----

EventLoop::EventLoop(const LoopOptions& options)
    : options_(options),
      now_ms_(kernel::monotonic_ms()),
      chunks_(options.chunks_max, options.chunks_idle_max),
      timers_(now_ms_),
      groups_{BufferGroup(group_id(BufferKind::Small), options.small_buffers, small_buffer_bytes),
              BufferGroup(group_id(BufferKind::Large), options.large_buffers, large_buffer_bytes),
              BufferGroup(group_id(BufferKind::Bulk), options.bulk_buffers, bulk_buffer_bytes)},
      table_(std::make_unique<StreamTable>(*this)),
      acceptor_(
          std::make_unique<Acceptor>(*this, options.connections_max, options.accept_burst_max)),
      retry_timer_(this,
                   [](void* owner) noexcept { static_cast<EventLoop*>(owner)->retry_waiting(); }) {
    idle_queues_.reserve(idle_queues_max);
}

base::Result<std::unique_ptr<EventLoop>> EventLoop::create(const LoopOptions& options) {
    std::unique_ptr<EventLoop> loop(new EventLoop(options));
    if (const base::Status started = loop->start(); !started) {
        loop->ring_.reset();  // never enabled: there is nothing to wind up
        const base::Error& error = started.error();
        if (std::string_view(error.text) != "io_uring_setup") return error;
        return base::Error{base::ErrorDomain::Net, error.code,
                           keep_text(explain_ring_error(error.code))};
    }
    return loop;
}

base::Status EventLoop::start() {
    auto ring = Ring::create(options_.sq_entries, options_.cq_entries);
    if (!ring) return ring.error();
    ring_ = std::move(*ring);
    for (BufferGroup& group : groups_) {
        if (const base::Status s = group.attach(*ring_); !s) return s;
    }
    return ring_->enable();
}

EventLoop::~EventLoop() {
    if (!ring_) return;
    in_turn_ = true;
    // Mostly destruction: what it frees may close streams and defer more.
    while (deferred_.is_linked()) run_deferred();
    acceptor_->shut_down();
    table_->for_each([](Stream& stream) {
        // A FIN behind a part of what was given would look like its end.
        if (stream.outgoing_ != nullptr) return stream.abort();
        stream.begin_close({});
    });
    ring_->cancel_all();
    // Handlers may be gone: from here on completions are only counted off.
    const auto busy = [this] {
        size_t count = 0;
        table_->for_each([&](Stream& stream) { count += stream.ops_ != 0; });
        return count;
    };
    const uint64_t deadline = kernel::monotonic_ms() + 2000;
    while (busy() > 0 && kernel::monotonic_ms() < deadline) {
        ring_->submit_and_wait(10);
        drain_completions();
    }
    table_->for_each([this](Stream& stream) {
        stream.ops_ = 0;  // what the kernel did not end in 2 s ends with the ring
        stream.drop_queue();
        stream.queued_ = false;
        ring_->close(stream.fd_);
        table_->give_back(stream);
    });
    ring_->submit_and_wait(0);
    for (BufferGroup& group : groups_) group.detach(*ring_);
    ring_.reset();
}

size_t EventLoop::streams() const {
    return table_->in_use();
}

size_t EventLoop::queued_chunks() const {
    size_t chunks = 0;
    table_->for_each([&](const Stream& stream) { chunks += stream.queued(); });
    return chunks;
}

// ---- The turn ----

void EventLoop::run() {
    while (!stopping_) turn(wait_limit_ms);
    stopping_ = false;
}

void EventLoop::stop() {
    stopping_ = true;
}

void EventLoop::turn(uint64_t wait_ms) {
    base::check(!in_turn_);
    in_turn_ = true;
    ++counters_.turns;
    now_ms_ = kernel::monotonic_ms();
    // Before the completions, whose handlers arm timers; what is due fires after them, so that
    // bytes that came in time count.
    timers_.observe(now_ms_);

    drain_completions();
    feed_starved();
    timers_.advance(now_ms_);
    if (mail_waits_) {
        mail_waits_ = false;
        mailbox_.drain();
    }
    for (int round = 0; round < work_rounds && has_work(); ++round) run_work();

    // Also if it ended in this very turn: the wait may be long, and mail has to end it.
    if (!mail_armed_) {
        mail_armed_ = true;
        ring_->poll_multishot({Op::Mailbox, 0, 0}, mailbox_.event_fd());
    }
    const bool busy = stopping_ || has_work() || ring_->has_completions();
    ring_->submit_and_wait(busy ? 0 : timers_.next_in(wait_ms));
    in_turn_ = false;
}

void EventLoop::drain_completions() {
    std::array<Completion, completions_per_batch> batch;
    for (size_t handled = 0; handled < completions_per_turn;) {
        const size_t count = ring_->reap(batch);
        for (size_t i = 0; i < count; ++i) dispatch(batch[i]);
        handled += count;
        if (count < batch.size()) break;
    }
    counters_.cq_overflows = ring_->overflows();
}

void EventLoop::dispatch(const Completion& completion) {
    const Tag tag = Tag::unpack(completion.tag);
    switch (tag.op) {
        case Op::Accept:
            return acceptor_->on_completion(tag.slot, completion);
        case Op::Mailbox:
            mail_waits_ = true;
            mail_armed_ = completion.more();
            return;
        case Op::Cancel:
            return;  // what was to be cancelled was done already
        case Op::ReceiveSmall:
        case Op::ReceiveLarge:
        case Op::ReceiveBulk:
        case Op::Send:
        case Op::Connect:
            break;
    }
    Stream* stream = table_->find(tag.slot, tag.generation);
    if (stream == nullptr) [[unlikely]] {
        return dispatch_stale(tag, completion);
    }
    switch (tag.op) {
        case Op::ReceiveSmall:
        case Op::ReceiveLarge:
        case Op::ReceiveBulk:
            return stream->on_receive(completion, group(received_in(tag.op)));
        case Op::Send:
            return stream->on_sent(completion.result);
        default:
            return stream->on_connect_done(completion.result);
    }
}

void EventLoop::dispatch_stale(const Tag& tag, const Completion& completion) {
    ++counters_.stale_completions;
    if (!completion.has_buffer()) return;
    group(received_in(tag.op)).give_back(completion.buffer());
}

// ---- Work put off ----

void EventLoop::defer(Deferred& work) {
    if (!work.is_linked()) work.append_to(deferred_);
}

void EventLoop::enqueue(Stream& stream) {
    if (stream.queued_) return;
    stream.queued_ = true;
    stream.next_work_ = nullptr;
    *work_end_ = &stream;
    work_end_ = &stream.next_work_;
}

void EventLoop::run_work() {
    run_streams();
    run_deferred();
}

void EventLoop::run_streams() {
    Stream* next = std::exchange(work_, nullptr);
    work_end_ = &work_;
    while (next != nullptr) {
        Stream& stream = *std::exchange(next, next->next_work_);
        stream.queued_ = false;
        stream.run_work();
    }
}

void EventLoop::run_deferred() {
    // What is deferred meanwhile comes after the mark, in a later round. Each piece of work may
    // destroy others that wait.
    DeferredLink mark;
    mark.append_to(deferred_);
    while (&deferred_.next() != &mark) {
        auto& work = static_cast<Deferred&>(deferred_.next());
        work.unlink();
        work.run_deferred();
    }
}

void EventLoop::release(Stream& stream) {
    ring_->close(stream.fd_);
    const bool accepted = stream.accepted_;
    --(accepted ? counters_.connections : counters_.outgoing);
    if (stream.handler_ != nullptr) stream.handler_->on_closed(stream.error_);
    table_->give_back(stream);
    if (accepted) acceptor_->on_stream_closed();
}

// ---- Shortages ----

void EventLoop::add_starved(Stream& stream) {
    if (stream.starved_) return;
    stream.starved_ = true;
    const size_t kind = index(stream.armed_buffers_);
    if (starved_[kind].empty()) returned_before_[kind] = group(stream.armed_buffers_).returned();
    starved_[kind].push_back({stream.slot_, stream.generation_});
}

void EventLoop::feed_starved() {
    for (const BufferKind kind : {BufferKind::Small, BufferKind::Large, BufferKind::Bulk}) {
        std::deque<Waiter>& waiting = starved_[index(kind)];
        if (waiting.empty()) continue;
        BufferGroup& buffers = group(kind);
        // As many as can hope for a buffer: a quarter of the group must have come back, so that
        // not each buffer is fought over by all; or there is nothing that we could wait for.
        const uint64_t back = buffers.returned() - returned_before_[index(kind)];
        const bool all_back = !ring_->has_completions();
        if (!all_back && back < (buffers.count() + 3) / 4) continue;
        size_t hopes = all_back ? buffers.count() : std::min<size_t>(back, buffers.count());
        returned_before_[index(kind)] = buffers.returned();
        for (; hopes > 0 && !waiting.empty(); waiting.pop_front()) {
            const Waiter& waiter = waiting.front();
            Stream* stream = table_->find(waiter.slot, waiter.generation);
            if (stream == nullptr || !stream->starved_) continue;
            stream->starved_ = false;
            stream->arm_receive();
            --hopes;
        }
    }
}

void EventLoop::add_retry(Stream& stream) {
    if (stream.retrying_) return;
    stream.retrying_ = true;
    retry_.push_back({stream.slot_, stream.generation_});
    if (!retry_timer_.armed()) timers_.arm(retry_timer_, retry_delay_ms);
}

void EventLoop::retry_waiting() {
    for (const Waiter& waiter : std::exchange(retry_, {})) {
        Stream* stream = table_->find(waiter.slot, waiter.generation);
        if (stream == nullptr) continue;
        stream->retrying_ = false;
        stream->retry();
    }
}

Stream::Outgoing* EventLoop::lend_queue() {
    if (idle_queues_.empty()) return new Stream::Outgoing;
    Stream::Outgoing* queue = idle_queues_.back().release();
    idle_queues_.pop_back();
    return queue;
}

void EventLoop::return_queue(Stream::Outgoing* queue) {
    std::unique_ptr<Stream::Outgoing> owned(queue);
    base::check(owned->count == 0);
    base::check(owned->unsent == 0);
    owned->first = 0;
    owned->sent = 0;
    if (idle_queues_.size() < idle_queues_max) idle_queues_.push_back(std::move(owned));
}

// ---- Listeners and connections ----

base::Status EventLoop::add_listener(int fd, AcceptHandler& handler) {
    return acceptor_->add(fd, handler);
}

void EventLoop::close_listeners() {
    acceptor_->close_all();
}

base::Result<Stream*> EventLoop::connect(const Address& address, uint64_t timeout_ms,
                                         StreamHandler& handler, ReceiveMode mode,
                                         BufferKind buffers) {
    if (counters_.outgoing >= options_.outgoing_max) return base::system_error(EMFILE, "socket");
    const int fd = kernel::open_socket(address.family());
    if (fd < 0) return base::system_error(fd, "socket");
    if (!can_multishot(address.family())) mode = ReceiveMode::OneShot;
    ++counters_.outgoing;
    Stream& stream = table_->take();
    stream.open(fd, Stream::State::Connecting, &handler, mode, buffers);
    stream.start_connect(address, timeout_ms);
    return &stream;
}

Stream& EventLoop::adopt(int fd, StreamHandler& handler, ReceiveMode mode, BufferKind buffers) {
    if (!can_multishot(kernel::family_of(fd))) mode = ReceiveMode::OneShot;
    ++counters_.outgoing;
    Stream& stream = table_->take();
    stream.open(fd, Stream::State::Open, &handler, mode, buffers);
    stream.arm_receive();
    return stream;
}

}  // namespace net
