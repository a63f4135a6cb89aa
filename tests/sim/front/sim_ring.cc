#include "sim_ring.h"

#include <cerrno>

#include "trace.h"

namespace sim::front {

namespace {

const char* name_of(Code code) {
    switch (code) {
        case Code::Receive:
            return "recv";
        case Code::Send:
            return "send";
        case Code::Connect:
            return "connect";
        case Code::Accept:
            return "accept";
        case Code::Poll:
            return "poll";
        case Code::Close:
            return "close";
        case Code::Cancel:
        case Code::CancelEach:
        case Code::CancelDescriptor:
        case Code::CancelAll:
            break;
    }
    return "cancel";
}

}  // namespace

SimRing::SimRing(Machine& machine, uint32_t sq_entries, uint32_t cq_entries)
    : machine_(machine),
      sq_entries_(std::bit_ceil(sq_entries)),
      cq_entries_(std::bit_ceil(cq_entries)),
      ready_(cq_entries_) {
    machine_.rings.push_back(this);
}

SimRing::~SimRing() {
    while (!in_flight_.empty()) finish(*in_flight_.back());
    for (; ready_count_ > 0; --ready_count_) lose(ready_[ready_head_++ % cq_entries_]);
    for (const Posted& posted : overflown_) lose(posted);
    std::erase(machine_.rings, this);
}

void SimRing::lose(const Posted& posted) {
    if (posted.completion.has_buffer()) posted.buffers->hand_over(posted.completion.buffer());
    if (posted.is_descriptor && posted.completion.result >= 0) ++machine_.descriptors_lost;
}

// ---- Provided buffers

void SimRing::register_buffers(uint16_t id, io_uring_buf* entries, uint32_t count) {
    if (id >= groups_.size()) groups_.resize(size_t{id} + 1);
    if (groups_[id]) fail(fmt::format("buffer group {} was registered twice", id));
    groups_[id] = std::make_unique<ProvidedBuffers>(id, entries, count);
}

void SimRing::unregister_buffers(uint16_t id) {
    // Completions that nobody took may still name its buffers.
    for (Operation* operation : in_flight_) {
        if (operation->buffers == group(id)) operation->buffers = nullptr;
    }
    ended_groups_.push_back(std::move(groups_[id]));
}

ProvidedBuffers* SimRing::group(uint16_t id) {
    return id < groups_.size() ? groups_[id].get() : nullptr;
}

void SimRing::observe_buffers() {
    for (const auto& buffers : groups_) {
        if (buffers) buffers->observe();
    }
}

size_t SimRing::buffers_held() const {
    size_t held = 0;
    for (const auto& buffers : groups_) held += buffers ? buffers->held() : 0;
    return held;
}

// ---- Submission

Operation& SimRing::prepare(Code code, net::Tag tag, int fd) {
    while (queue_.size() >= sq_entries_) {
        if (!submit()) submit_some(1);  // memory was short; now it is not
    }
    if (idle_.empty()) {
        all_.push_back(std::make_unique<Operation>(*this));
        idle_.push_back(all_.back().get());
    }
    Operation& operation = *idle_.back();
    idle_.pop_back();
    operation.code = code;
    operation.tag = tag.packed();
    operation.fd = fd;
    operation.cancelled = operation.hurried = operation.woken = false;
    operation.buffers = nullptr;
    operation.message = nullptr;
    operation.sent = 0;
    queue_.push_back(&operation);
    return operation;
}

void SimRing::prepare_send(net::Tag tag, int fd, std::span<const iovec> pieces,
                           const msghdr* message) {
    Operation& operation = prepare(Code::Send, tag, fd);
    operation.message = message;
    operation.pieces.assign(pieces.begin(), pieces.end());
    operation.content.clear();
    for (const iovec& piece : pieces) {
        const auto* bytes = static_cast<const uint8_t*>(piece.iov_base);
        operation.content.insert(operation.content.end(), bytes, bytes + piece.iov_len);
    }
}

bool SimRing::submit() {
    if (!enabled_) fail("something was submitted to a ring that is not enabled");
    observe_buffers();
    size_t count = queue_.size();
    if (count > 0 && machine_.chance(machine_.faults.short_submits)) {
        count = machine_.dice().below(count);
    }
    submit_some(count);
    return queue_.empty();
}

void SimRing::submit_some(size_t count) {
    for (size_t i = 0; i < count; ++i) issue(*queue_[i]);
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(count));
    machine_.counts().submitted += count;
}

void SimRing::issue(Operation& operation) {
    switch (operation.code) {
        case Code::Close:
            trace("close {}", operation.fd);
            machine_.close(operation.fd, "close");
            idle_.push_back(&operation);
            return;
        case Code::Cancel:
        case Code::CancelEach:
        case Code::CancelDescriptor:
        case Code::CancelAll: {
            if (operation.code == Code::CancelAll) winding_up_ = true;
            const int result = cancel(operation);
            // Success is not told (IOSQE_CQE_SKIP_SUCCESS).
            if (result < 0) (void)post(operation, result, 0, true);  // it may overflow
            idle_.push_back(&operation);
            return;
        }
        default:
            return start(operation);
    }
}

void SimRing::start(Operation& operation) {
    operation.file = machine_.file(operation.fd, name_of(operation.code));
    operation.place = static_cast<uint32_t>(in_flight_.size());
    in_flight_.push_back(&operation);
    operation.file->operations.push_back(&operation);
    const File& file = *operation.file;
    const auto expected = operation.code == Code::Accept ? File::Kind::Listener
                          : operation.code == Code::Poll ? File::Kind::Event
                                                         : File::Kind::Socket;
    if (file.kind != expected) {
        fail(fmt::format("{} on descriptor {}, which is something else", name_of(operation.code),
                         operation.fd));
    }
    switch (operation.code) {
        case Code::Receive:
            if (operation.buffers == nullptr) fail("a receive names no buffer group");
            // The buffer is chosen before the first try, whether there are bytes or not.
            if (!operation.poll_first && operation.buffers->is_empty()) {
                ++machine_.counts().no_buffers;
                return complete(operation, -ENOBUFS);
            }
            break;
        case Code::Connect:
            return run_connect(operation);
        case Code::Poll:
            operation.woken = file.count > 0;
            break;
        case Code::Accept:
            if (!machine_.can_open()) return complete(operation, -EMFILE);
            break;
        default:
            break;
    }
    if (could_move(operation) && machine_.chance(machine_.faults.inline_runs)) {
        return run(operation);
    }
    consider(operation);
}

// ---- Waiting

void SimRing::submit_and_wait(uint64_t wait_ms) {
    const bool all = submit();
    machine_.spurious_wake = false;
    if (winding_up_) {
        block(wait_ms);
        wake_at_ms_ = machine_.now_ms();
        return;
    }
    const bool sleeps = all && !has_completions();
    wake_at_ms_ = machine_.now_ms() + (sleeps ? wait_ms : 0);
}

void SimRing::block(uint64_t wait_ms) {
    const uint64_t until = machine_.now_ms() + wait_ms;
    while (!has_completions() && machine_.now_ms() < until) {
        if (!machine_.step()) machine_.advance(until - machine_.now_ms());
    }
}

bool SimRing::is_runnable() const {
    return has_completions() || !queue_.empty() || machine_.now_ms() >= wake_at_ms_;
}

// ---- Completion

bool SimRing::post(const Operation& operation, int result, uint32_t flags, bool may_overflow) {
    ++machine_.counts().completions;
    trace("{} {}: {} flags {:x}", name_of(operation.code), operation.fd, result, flags);
    const Posted posted{
        {operation.tag, result, flags}, operation.buffers, operation.code == Code::Accept};
    // Once something has overflown, all that follows does, so that the order stays.
    const bool fits = ready_count_ < cq_entries_ && overflown_.empty() &&
                      !machine_.chance(machine_.faults.cq_overflows);
    if (fits) {
        ready_[(ready_head_ + ready_count_++) % cq_entries_] = posted;
        return true;
    }
    if (!may_overflow) return false;
    ++machine_.counts().overflown;
    overflown_.push_back(posted);
    return true;
}

bool SimRing::post_more(Operation& operation, int result, uint32_t flags) {
    constexpr uint32_t more = 2;
    if (!machine_.chance(machine_.faults.multishot_ends) &&
        post(operation, result, flags | more, false)) {
        return true;
    }
    ++machine_.counts().multishots_ended;
    return false;
}

size_t SimRing::accepts_in_flight() const {
    return static_cast<size_t>(
        std::count_if(in_flight_.begin(), in_flight_.end(),
                      [](const Operation* one) { return one->code == Code::Accept; }));
}

void SimRing::complete(Operation& operation, int result, uint32_t flags) {
    (void)post(operation, result, flags, true);  // it may overflow
    finish(operation);
}

void SimRing::finish(Operation& operation) {
    machine_.schedule().remove(operation);
    in_flight_[operation.place] = in_flight_.back();
    in_flight_[operation.place]->place = operation.place;
    in_flight_.pop_back();
    idle_.push_back(&operation);
    const FilePtr file = std::exchange(operation.file, nullptr);  // it may end with this
    std::erase(file->operations, &operation);
}

size_t SimRing::reap(std::span<net::Completion> out, uint64_t& overflows) {
    const size_t count = std::min<size_t>(ready_count_, out.size());
    for (size_t i = 0; i < count; ++i) {
        const Posted& posted = ready_[ready_head_];
        out[i] = posted.completion;
        if (posted.completion.has_buffer()) {
            posted.buffers->hand_over(posted.completion.buffer());
        }
        ready_head_ = (ready_head_ + 1) % cq_entries_;
    }
    ready_count_ -= static_cast<uint32_t>(count);
    if (ready_count_ == 0 && !overflown_.empty()) {
        ++overflows;
        while (!overflown_.empty() && ready_count_ < cq_entries_) {
            ready_[(ready_head_ + ready_count_++) % cq_entries_] = overflown_.front();
            overflown_.pop_front();
        }
    }
    return count;
}

}  // namespace sim::front
