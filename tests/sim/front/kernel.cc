#include "kernel.h"

#include <cstdio>
#include <cstdlib>

#include "machine.h"
#include "sim_ring.h"

namespace sim::front {

namespace {

thread_local Kernel* current_kernel = nullptr;

std::string& failure_note() {
    static std::string note;
    return note;
}

}  // namespace

void fail(const std::string& sentence) {
    std::fprintf(stderr, "simulated kernel: %s%s%s\n", sentence.c_str(),
                 failure_note().empty() ? "" : "; ", failure_note().c_str());
    std::abort();
}

void set_failure_note(const std::string& note) {
    failure_note() = note;
}

// ---- Peers

Peer::Peer(std::shared_ptr<Connection> connection, End& end)
    : connection_(std::move(connection)), end_(end) {}

Peer::~Peer() {
    close();
}

size_t Peer::send(std::span<const uint8_t> bytes) {
    if (!can_send() || bytes.empty()) return 0;
    const size_t size = std::min(bytes.size(), end_.room());
    end_.send(bytes.first(size));
    return size;
}

size_t Peer::receive(std::span<uint8_t> out) {
    return end_.released_ ? 0 : end_.receive(out);
}

bool Peer::has_data() const {
    return !end_.released_ && end_.readable() > 0;
}

bool Peer::at_end() const {
    return end_.at_end();
}

bool Peer::is_reset() const {
    return end_.was_reset_;
}

bool Peer::is_connected() const {
    return end_.established_;
}

bool Peer::is_refused() const {
    return connection_->stage == Connection::Stage::Failed && !end_.released_;
}

bool Peer::can_send() const {
    return end_.established_ && !end_.released_ && !end_.has_send_error() && end_.room() > 0;
}

size_t Peer::send_room() const {
    return end_.room();
}

bool Peer::is_flushed() const {
    return end_.is_flushed();
}

void Peer::shut_write() {
    (void)end_.shut_write();  // it may be reset
}

void Peer::close() {
    end_.release(false);
}

void Peer::reset() {
    end_.reset();
}

net::Address Peer::front_end() const {
    return &end_ == &connection_->client ? connection_->server_address
                                         : connection_->client_address;
}

net::Address Peer::own() const {
    return &end_ == &connection_->client ? connection_->client_address
                                         : connection_->server_address;
}

// ---- Faults

KernelFaults KernelFaults::stormy() {
    KernelFaults faults;
    faults.cuts = 300;
    faults.short_sends = 300;
    faults.late = 30;
    faults.spurious_wakes = 20;
    faults.short_submits = 50;
    faults.multishot_ends = 50;
    faults.cq_overflows = 20;
    faults.cancels_late = 300;
    faults.stray_cancels = 5;
    faults.interrupted_sends = 50;
    faults.zero_with_buffer = 50;
    faults.receive_enobufs = 10;
    faults.receive_enomem = 5;
    faults.send_enomem = 10;
    faults.accept_errors = 20;
    faults.accept_aborts = 10;
    faults.open_errors = 20;
    faults.connect_errors = 20;
    faults.window_min = 1;
    return faults;
}

KernelFaults KernelFaults::some(Dice& dice) {
    KernelFaults faults = stormy();
    for (uint32_t* one : {&faults.cuts, &faults.short_sends, &faults.late, &faults.spurious_wakes,
                          &faults.short_submits, &faults.multishot_ends, &faults.cq_overflows,
                          &faults.cancels_late, &faults.stray_cancels, &faults.interrupted_sends,
                          &faults.zero_with_buffer, &faults.receive_enobufs, &faults.receive_enomem,
                          &faults.send_enomem, &faults.accept_errors, &faults.accept_aborts,
                          &faults.open_errors, &faults.connect_errors}) {
        *one = dice.chance(500) ? 0 : static_cast<uint32_t>(dice.below(2 * *one + 1));
    }
    faults.inline_runs = static_cast<uint32_t>(dice.below(1001));
    if (dice.chance(200)) faults.resets = 1;
    if (dice.chance(100)) faults.timeouts = 1;
    // A path of one byte takes as many steps as there are bytes.
    faults.window_min = dice.chance(100) ? 1 : dice.chance(500) ? 1024 : 32 * 1024;
    faults.backlog_max = dice.some_of(128);
    return faults;
}

// ---- The kernel

Kernel::Kernel(Dice dice, const KernelFaults& faults)
    : machine_(std::make_unique<Machine>(dice, faults)) {
    base::check(current_kernel == nullptr);
    current_kernel = this;
}

Kernel::~Kernel() {
    machine_.reset();
    current_kernel = nullptr;
}

Kernel& Kernel::current() {
    if (current_kernel == nullptr) fail("this thread has no simulated kernel");
    return *current_kernel;
}

int Kernel::listen(const net::Address& address) {
    return machine_->listen(address);
}

PeerPtr Kernel::connect(const net::Address& from, const net::Address& to) {
    return machine_->dial(from, to);
}

std::pair<int, PeerPtr> Kernel::pair(const net::Address& front, const net::Address& peer) {
    return machine_->pair(front, peer);
}

void Kernel::serve(const net::Address& address, std::function<void(PeerPtr)> on_accept) {
    machine_->serve(address, std::move(on_accept));
}

void Kernel::set_reach(const net::Address& address, Reach reach) {
    machine_->set_reach(address, reach);
}

bool Kernel::step() {
    return machine_->step();
}

bool Kernel::is_quiet() const {
    return machine_->schedule().empty();
}

uint64_t Kernel::now_ms() const {
    return machine_->now_ms();
}

void Kernel::advance(uint64_t ms) {
    machine_->advance(ms);
}

uint64_t Kernel::wake_at_ms() const {
    uint64_t earliest = UINT64_MAX;
    for (const SimRing* ring : machine_->rings) earliest = std::min(earliest, ring->wake_at_ms());
    return earliest;
}

bool Kernel::front_is_runnable() const {
    if (machine_->spurious_wake) return true;
    return std::any_of(machine_->rings.begin(), machine_->rings.end(),
                       [](const SimRing* ring) { return ring->is_runnable(); });
}

size_t Kernel::open_descriptors() const {
    return machine_->open_descriptors();
}

size_t Kernel::operations_in_flight() const {
    size_t count = 0;
    for (const SimRing* ring : machine_->rings) count += ring->in_flight();
    return count;
}

size_t Kernel::accepts_in_flight() const {
    size_t count = 0;
    for (const SimRing* ring : machine_->rings) count += ring->accepts_in_flight();
    return count;
}

size_t Kernel::buffers_held() const {
    size_t count = 0;
    for (const SimRing* ring : machine_->rings) count += ring->buffers_held();
    return count;
}

size_t Kernel::descriptors_lost() const {
    return machine_->descriptors_lost;
}

void Kernel::set_faults(const KernelFaults& faults) {
    machine_->faults = faults;
}

void Kernel::fair() {
    machine_->fair();
}

const KernelCounts& Kernel::counts() const {
    return machine_->counts();
}

}  // namespace sim::front
