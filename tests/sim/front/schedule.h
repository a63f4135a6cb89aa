// What could move next in the simulated kernel. Each thing is in it once at most and knows where,
// so that it leaves in no time when it ends.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"
#include "dice.h"

namespace sim::front {

/// Something that moves when its turn comes.
class Movable {
  public:
    enum class Kind : uint8_t { Way, Handshake, Operation };

    explicit Movable(Kind kind) : kind_(kind) {}
    Movable(const Movable&) = delete;
    Movable& operator=(const Movable&) = delete;

    Kind kind() const { return kind_; }
    bool is_scheduled() const { return place_ != nowhere; }

  private:
    friend class Schedule;
    static constexpr uint32_t nowhere = UINT32_MAX;

    const Kind kind_;
    bool stalled_ = false;
    uint32_t place_ = nowhere;
};

class Schedule {
  public:
    void add(Movable& movable) {
        if (!movable.is_scheduled()) put(ready_, movable, false);
    }
    void remove(Movable& movable) {
        if (!movable.is_scheduled()) return;
        if (movable.stalled_) {
            take_from(stalled_, movable);
        } else {
            take_from(ready_, movable);
        }
    }
    /// Waits for `steps` others, unless nothing else is left.
    void stall(Movable& movable, uint64_t steps) {
        base::check(!movable.is_scheduled());
        until_ = stalled_.empty() ? now_ + steps : std::min(until_, now_ + steps);
        put(stalled_, movable, true);
    }

    /// One of those that are ready, not in the schedule any more; null if there is none.
    Movable* take(Dice& dice) {
        ++now_;
        if (!stalled_.empty() && (ready_.empty() || now_ >= until_)) end_stall();
        if (ready_.empty()) return nullptr;
        Movable& movable = *ready_[dice.below(ready_.size())];
        take_from(ready_, movable);
        return &movable;
    }
    void end_stall() {
        while (!stalled_.empty()) {
            Movable& movable = *stalled_.back();
            take_from(stalled_, movable);
            put(ready_, movable, false);
        }
    }

    size_t ready() const { return ready_.size(); }
    bool empty() const { return ready_.empty() && stalled_.empty(); }

  private:
    static void put(std::vector<Movable*>& list, Movable& movable, bool stalled) {
        movable.place_ = static_cast<uint32_t>(list.size());
        movable.stalled_ = stalled;
        list.push_back(&movable);
    }
    static void take_from(std::vector<Movable*>& list, Movable& movable) {
        Movable* last = list.back();
        list[movable.place_] = last;
        last->place_ = movable.place_;
        list.pop_back();
        movable.place_ = Movable::nowhere;
    }

    std::vector<Movable*> ready_;
    std::vector<Movable*> stalled_;
    uint64_t now_ = 0;    // in steps
    uint64_t until_ = 0;  // when the stalled ones are let go
};

}  // namespace sim::front
