#include "net/timer_wheel.h"

#include <bit>

namespace net {

namespace {

/// The first tick at which `deadline_ms` has passed.
constexpr uint64_t tick_after(uint64_t deadline_ms, uint64_t tick_ms) {
    return (deadline_ms + tick_ms - 1) / tick_ms;
}

}  // namespace

void Timer::cancel() {
    if (wheel_ == nullptr) return;
    wheel_->unlink(*this);
}

TimerWheel::TimerWheel(uint64_t now_ms)
    : slots_(slots, nullptr), now_ms_(now_ms), tick_(now_ms / tick_ms) {}

TimerWheel::~TimerWheel() {
    // Owners may outlive the wheel: their timers must not reach for it.
    for (Timer* first : slots_) {
        for (Timer* timer = first; timer != nullptr; timer = timer->next_) timer->wheel_ = nullptr;
    }
}

void TimerWheel::link(Timer& timer) {
    const size_t slot = timer.tick_ % slots;
    Timer*& first = slots_[slot];
    occupied_[slot / 64] |= uint64_t{1} << (slot % 64);
    timer.next_ = first;
    timer.link_ = &first;
    if (first != nullptr) first->link_ = &timer.next_;
    first = &timer;
    timer.wheel_ = this;
    ++armed_;
}

void TimerWheel::unlink(Timer& timer) {
    *timer.link_ = timer.next_;
    if (timer.next_ != nullptr) timer.next_->link_ = timer.link_;
    timer.wheel_ = nullptr;
    --armed_;
}

void TimerWheel::arm(Timer& timer, uint64_t delay_ms) {
    // A tick that was run is not looked at again for 65 s: at the earliest, the next one.
    const uint64_t tick = std::max(tick_after(now_ms_ + delay_ms, tick_ms), tick_ + 1);
    if (timer.wheel_ != nullptr) {
        if (timer.tick_ == tick) return;
        timer.wheel_->unlink(timer);
    }
    timer.tick_ = tick;
    link(timer);
}

void TimerWheel::advance(uint64_t now_ms) {
    base::check(now_ms >= now_ms_);
    const uint64_t first = tick_ + 1;
    now_ms_ = now_ms;
    tick_ = now_ms / tick_ms;
    if (armed_ == 0 || first > tick_) return;

    // All that is due goes on a list of its own first, so that callbacks may do what they like to
    // any timer: those on the list can still be cancelled or moved.
    Timer* due = nullptr;
    Timer** end = &due;
    const uint64_t last = std::min(tick_, first + slots - 1);
    for (uint64_t tick = first; tick <= last; ++tick) {
        const size_t slot = tick % slots;
        if ((occupied_[slot / 64] >> (slot % 64) & 1) == 0) continue;
        for (Timer* timer = slots_[slot]; timer != nullptr;) {
            Timer* next = timer->next_;
            if (timer->tick_ <= tick_) {
                *timer->link_ = next;
                if (next != nullptr) next->link_ = timer->link_;
                timer->next_ = nullptr;
                timer->link_ = end;
                *end = timer;
                end = &timer->next_;
            }
            timer = next;
        }
        if (slots_[slot] == nullptr) occupied_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
    }
    while (due != nullptr) {
        Timer& timer = *due;
        unlink(timer);
        timer.callback_(timer.owner_);  // may destroy its owner and the timer with it
    }
}

uint64_t TimerWheel::next_in(uint64_t limit_ms) const {
    if (armed_ == 0) return limit_ms;
    // The occupied slots in the order in which they come up, 64 at a time. A cancelled timer's bit
    // stays until its slot is run, and a slot may hold only timers of later rounds: then we look
    // once too often.
    const uint64_t first = tick_ + 1;
    for (uint64_t offset = 0; offset < slots;) {
        const size_t slot = (first + offset) % slots;
        const uint64_t bits = occupied_[slot / 64] >> (slot % 64);
        if (bits != 0) {
            const uint64_t tick = first + offset + static_cast<uint64_t>(std::countr_zero(bits));
            return std::min(limit_ms, tick * tick_ms - now_ms_);
        }
        offset += 64 - slot % 64;
        if ((first + offset) * tick_ms - now_ms_ >= limit_ms) break;
    }
    return limit_ms;
}

}  // namespace net
