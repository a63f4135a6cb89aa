#include "world.h"

#include <algorithm>

namespace sim::front {

namespace {

constexpr uint64_t never = ~uint64_t{0};
constexpr uint64_t wait_limit_ms = 60'000;
/// To get rid of what is queued, at the slowest that a client may take it, and to read on after a
/// FIN.
constexpr uint64_t flush_and_linger_ms = 300'000;
constexpr uint64_t steps_max = 4'000'000;
/// How often nothing may happen before somebody looks whether nothing can.
constexpr int idle_steps_max = 12;

}  // namespace

// ---- The first part: anything goes

void World::live() {
    live_wild();
    if (worker_->load().is_stopping || dice_.chance(80)) return stop();
    live_fair();
    if (worker_->load().is_stopping) return stop();
    for (const auto& client : clients_) client->check_at_end();
    check_nothing_is_left();
    check_counters();
    end();
}

void World::live_wild() {
    int idle = 0;
    for (uint64_t step_number = 0; step_number < steps_max; ++step_number) {
        if (is_draining_ && worker_->load().is_stopping) return;
        spawn();
        if (clients_left_ == 0 && clients_.size() <= 2 && dice_.chance(1)) return;
        if (clients_left_ == 0 && clients_.empty()) return;
        if (dice_.below(100'000) < befalls_) befall();
        if (step()) {
            idle = 0;
            continue;
        }
        if (++idle < idle_steps_max) continue;
        idle = 0;
        forget_the_dead();
        if (act_all()) continue;
        if (kernel_->front_is_runnable()) {
            turn();
        } else if (!kernel_->step() && kernel_->is_quiet()) {
            if (clients_left_ == 0 && are_all_idle()) return;
            advance_to_next();
        }
    }
}

/// One thing happens; false: nothing did.
bool World::step() {
    const uint64_t at = dice_.below(1024);
    if (at < 384) return kernel_->step();
    if (at < 384 + turn_weight_) {
        const bool was_runnable = kernel_->front_is_runnable();
        turn();
        return was_runnable;
    }
    if (dice_.below(2'000) == 0) {
        advance(dice_.some_of(scene_->climate == Climate::Calm ? 20 : 400));
        return true;
    }
    if (at % 2 == 0) {
        if (clients_.empty()) return false;
        const size_t chosen = dice_.below(clients_.size());
        const bool moved = clients_[chosen]->act(false);
        if (clients_[chosen]->is_done()) {
            std::swap(clients_[chosen], clients_.back());
            clients_.pop_back();
        }
        return moved;
    }
    Server& server = *servers_[dice_.below(servers_.size())];
    auto& connections = server.connections();
    if (connections.empty()) return false;
    const size_t chosen = dice_.below(connections.size());
    const bool moved = connections[chosen]->act(false);
    if (connections[chosen]->is_done()) {
        std::swap(connections[chosen], connections.back());
        connections.pop_back();
    }
    return moved;
}

void World::turn() {
    worker_->turn(wait_limit_ms);
    check_bounds();
}

bool World::act_all() {
    bool moved = false;
    for (size_t i = 0; i < clients_.size(); ++i) moved |= clients_[i]->act(true);
    for (auto& server : servers_) {
        auto& connections = server->connections();
        for (size_t i = 0; i < connections.size(); ++i) moved |= connections[i]->act(true);
    }
    return moved;
}

void World::forget_the_dead() {
    std::erase_if(clients_, [](const auto& client) { return client->is_done(); });
    for (auto& server : servers_) {
        std::erase_if(server->connections(), [](const auto& one) { return one->is_done(); });
    }
}

void World::spawn() {
    if (clients_left_ == 0 || clients_.size() >= clients_at_once_) return;
    if (!clients_.empty() && !dice_.chance(20)) return;
    --clients_left_;
    clients_.push_back(std::make_unique<Client>(*scene_, ++clients_made_, dice_.fork()));
}

void World::advance(uint64_t ms) {
    kernel_->advance(ms);
    now_ms_ = kernel_->now_ms();
}

/// Nothing can happen before somebody's time has come.
void World::advance_to_next() {
    uint64_t next = kernel_->wake_at_ms();
    for (const auto& client : clients_) next = std::min(next, client->wake_at_ms());
    for (const auto& server : servers_) {
        for (const auto& one : server->connections()) next = std::min(next, one->wake_at_ms());
    }
    if (next == never) {
        turn();  // it has never waited
        return;
    }
    advance(next > now_ms_ ? next - now_ms_ : 1);
}

bool World::are_all_idle() const {
    return std::all_of(clients_.begin(), clients_.end(),
                       [](const auto& client) { return client->is_idle(); });
}

bool World::are_good_done() const {
    return std::all_of(clients_.begin(), clients_.end(),
                       [](const auto& client) { return !client->is_good() || client->is_idle(); });
}

// ---- What comes in between

void World::befall() {
    switch (dice_.below(scene_->climate == Climate::Calm ? 6 : 8)) {
        case 0:
        case 1:
            publish_routes();
            return;
        case 2:
            publish_certificates();
            return;
        case 3:
            rotate_tickets();
            return;
        case 4:
            change_challenge();
            return;
        case 5:
            worker_->post([this] { trace_.note("world", 0, "has mail"); });
            return;
        case 6:
            change_reach();
            return;
        case 7:
            if (is_draining_ || !dice_.chance(100)) return;
            drain();
            return;
    }
}

void World::drain() {
    trace_.note("world", 0, "drains");
    is_draining_ = oracle_.excuses.draining = true;
    clients_left_ = 0;
    worker_->post([this] { worker_->drain(); });
}

void World::change_reach() {
    Server& server = *servers_[dice_.below(servers_.size())];
    static constexpr Kernel::Reach all[] = {Kernel::Reach::Accepts, Kernel::Reach::Accepts,
                                            Kernel::Reach::Refuses, Kernel::Reach::BlackHole,
                                            Kernel::Reach::Unreachable};
    const Kernel::Reach reach = all[dice_.below(std::size(all))];
    trace_.note("server", server.number(), "can be reached", static_cast<uint64_t>(reach));
    kernel_->set_reach(server.address(), reach);
}

// ---- The second part: everybody does his best

void World::live_fair() {
    trace_.note("world", 0, "becomes fair");
    if (!is_draining_ && dice_.chance(250)) drain();
    kernel_->fair();
    scene_->is_fair = true;
    for (auto& server : servers_) kernel_->set_reach(server->address(), Kernel::Reach::Accepts);
    const uint64_t begun_ms = now_ms_;
    // Whoever waits for a server that is silent, waits for its deadline; a few times, if it asks
    // again.
    const uint64_t one_ms = uint64_t{limits_.backend_connect_ms} * 2 + limits_.backend_response_ms +
                            limits_.head_ms + limits_.body_ms;
    const bool is_calm = scene_->climate == Climate::Calm;
    const uint64_t good_ms = begun_ms + (is_calm ? limits_.head_ms + 5'000 : 6 * one_ms);
    const uint64_t all_ms = begun_ms + 6 * one_ms + limits_.handshake_ms + limits_.idle_ms +
                            limits_.tunnel_idle_ms + limits_.backend_idle_ms + flush_and_linger_ms;
    for (uint64_t round = 0; round < steps_max; ++round) {
        bool moved = false;
        while (kernel_->step()) moved = true;
        moved |= act_all();
        forget_the_dead();
        if (kernel_->front_is_runnable()) {
            turn();
            moved = true;
        }
        const proxy::Worker::Load load = worker_->load();
        if (load.is_stopping) return;
        if (moved || !kernel_->is_quiet()) continue;
        if (now_ms_ > good_ms && !are_good_done()) {
            for (const auto& client : clients_) {
                if (client->is_good() && !client->is_idle()) {
                    oracle_.violate("{} ms after all became fair, {}", now_ms_ - begun_ms,
                                    client->describe());
                }
            }
        }
        if (clients_.empty() && load.streams == 0 && load.timers == 0) return;
        if (now_ms_ > all_ms) return;
        advance_to_next();
    }
    oracle_.violate("the worker does not come to rest");
}

// ---- The end

/// The worker ends with all that it has: after draining, or at once.
void World::stop() {
    trace_.note("world", 0, "stops");
    oracle_.excuses.draining = true;
    if (is_draining_ && worker_->load().is_stopping && worker_->counters().connections != 0) {
        oracle_.violate("the worker stops with {} connections that it was to finish",
                        worker_->counters().connections);
    }
    end();
}

void World::end() {
    trace_.note("world", 0, "ends", oracle_.counts.requests, oracle_.counts.answered);
    const KernelCounts& machine = kernel_->counts();
    oracle_.counts.kernel_faults = machine.overflown + machine.multishots_ended +
                                   machine.cancels_late + machine.no_buffers + machine.short_sends +
                                   machine.resets;
    // The last entries of a ring are submitted once: what is not taken then ends with the process.
    faults_.short_submits = 0;
    kernel_->set_faults(faults_);
    worker_.reset();
    // What was accepted when the ring ended stood in a completion that nobody took: it goes with
    // the process.
    const size_t descriptors = kernel_->open_descriptors() - kernel_->descriptors_lost();
    if (descriptors != 0 || kernel_->operations_in_flight() != 0) {
        oracle_.violate("the worker is gone, and {} descriptors and {} operations are left",
                        descriptors, kernel_->operations_in_flight());
    }
    // What it sent before its end still arrives, and must not look like more than it is.
    kernel_->fair();
    scene_->is_fair = true;
    for (bool moved = true; moved;) {
        moved = false;
        while (kernel_->step()) moved = true;
        moved |= act_all();
        forget_the_dead();
    }
    if (kernel_->descriptors_lost() > 0) return;  // whose they are, nobody answers
    for (const auto& client : clients_) client->check_at_end();
}

/// After each turn.
void World::check_bounds() const {
    const proxy::Worker::Load load = worker_->load();
    if (load.chunks > loop_.chunks_max) {
        oracle_.violate("{} chunks of {} are in use", load.chunks, loop_.chunks_max);
    }
    // What is kept elsewhere from turn to turn nobody can shed.
    if (load.chunks != load.chunks_queued) {
        oracle_.violate("{} chunks are in use, and {} of them wait in a stream{}", load.chunks,
                        load.chunks_queued, describe_actors());
    }
}

/// Whose connections may be meant.
std::string World::describe_actors() const {
    std::string text;
    for (const auto& client : clients_) text += "\n  " + client->describe();
    for (const auto& server : servers_) {
        for (const auto& one : server->connections()) text += "\n  " + one->describe();
    }
    return text;
}

void World::check_nothing_is_left() const {
    const proxy::Worker::Load load = worker_->load();
    if (load.streams != 0 || load.chunks != 0 || load.timers != 0) {
        oracle_.violate("after all is over, {} streams, {} chunks and {} timers are left{}",
                        load.streams, load.chunks, load.timers, describe_actors());
    }
    const size_t descriptors = kernel_->open_descriptors();
    const size_t listeners = is_draining_ ? 2 : 0;  // closed by then
    if (descriptors + listeners != descriptors_at_first_) {
        oracle_.violate("after all is over, {} descriptors are open, and at first {} were",
                        descriptors, descriptors_at_first_);
    }
    // Accepting, and listening to the mailbox.
    const size_t accepts = kernel_->accepts_in_flight();
    const size_t operations = kernel_->operations_in_flight() - accepts;
    if (operations > 1 || (is_draining_ && accepts > 0)) {
        oracle_.violate("after all is over, {} accepts and {} other operations are in flight",
                        accepts, operations);
    }
    if (kernel_->buffers_held() != 0) {
        oracle_.violate("after all is over, the front holds {} buffers", kernel_->buffers_held());
    }
}

void World::check_counters() const {
    const proxy::Counters counters = worker_->counters();
    const Counts& seen = oracle_.counts;
    uint64_t responses = 0;
    for (const uint64_t of_class : counters.responses) responses += of_class;
    if (counters.connections != 0) {
        oracle_.violate("{} connections are counted when none is left", counters.connections);
    }
    if (seen.finals > responses) {
        oracle_.violate("clients got {} responses, and the front counts {}", seen.finals,
                        responses);
    }
    if (counters.requests > seen.requests + seen.bad) {
        oracle_.violate("the front counts {} requests, of which {} were sent", counters.requests,
                        seen.requests + seen.bad);
    }
    if (scene_->climate != Climate::Calm || is_draining_) return;
    if (seen.finals != responses) {
        oracle_.violate("the front counts {} responses, and clients got {}{}", responses,
                        seen.finals, oracle_.describe_unanswered());
    }
    const uint64_t handshakes = counters.handshakes_full + counters.handshakes_resumed;
    if (seen.handshakes != handshakes || seen.resumed != counters.handshakes_resumed) {
        oracle_.violate("the front counts {} handshakes, {} of them resumed; clients {} and {}",
                        handshakes, counters.handshakes_resumed, seen.handshakes, seen.resumed);
    }
}

}  // namespace sim::front
