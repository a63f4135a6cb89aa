// One world: a worker with its snapshots on a simulated kernel, clients, servers, and what befalls
// them; everything from one seed.
//
// It lives in three parts. First all act in an order that comes from the dice, while routes,
// certificates, ticket keys and challenges change, and in rougher climates servers fail, clients do
// harm and the kernel refuses. Then everybody does his best (fair()): good clients have to be done
// within the deadlines. Last, time passes beyond all deadlines, and the worker must hold nothing.
#pragma once

#include <deque>
#include <memory>

#include "client.h"
#include "proxy/worker.h"
#include "server.h"

namespace sim::front {

class World {
  public:
    World(uint64_t seed, bool is_printed);
    ~World();

    /// Throws Violation.
    void live();
    const Counts& counts() const { return oracle_.counts; }
    uint64_t trace_hash() const { return trace_.hash(); }
    Climate climate() const { return scene_->climate; }

  private:
    // How it is made: world_making.cc.
    void choose_limits();
    void make_servers();
    void make_sites();
    void start_worker();
    void publish_routes();
    void publish_certificates();
    void rotate_tickets();
    void change_challenge();

    // How it goes.
    void live_wild();
    void live_fair();
    void stop();
    void end();
    bool step();
    void turn();
    bool act_all();
    void forget_the_dead();
    void spawn();
    void advance(uint64_t ms);
    void advance_to_next();
    void befall();
    void change_reach();
    void drain();
    bool are_all_idle() const;
    bool are_good_done() const;
    std::string describe_actors() const;
    void check_bounds() const;
    void check_nothing_is_left() const;
    void check_counters() const;

    uint64_t now_ms_ = 0;
    Dice dice_;
    Trace trace_;
    Oracle oracle_;
    proxy::Snapshots snapshots_;
    proxy::Limits limits_;
    net::LoopOptions loop_;
    KernelFaults faults_;
    std::unique_ptr<Kernel> kernel_;
    std::unique_ptr<Scene> scene_;
    std::deque<std::unique_ptr<Server>> servers_;
    std::deque<std::unique_ptr<Client>> clients_;
    std::unique_ptr<proxy::Worker> worker_;
    std::vector<std::shared_ptr<const proxy::Backend>> backends_;  // of each site

    uint32_t clients_left_ = 0;
    uint32_t clients_made_ = 0;
    uint32_t clients_at_once_ = 0;
    uint32_t turn_weight_ = 1;  // of 1,024 steps so many are the worker's turns
    uint32_t befalls_ = 0;      // per 100,000 steps
    bool is_draining_ = false;
    size_t descriptors_at_first_ = 0;
};

}  // namespace sim::front
