// Immutable shared state between one publisher and many readers (design.md, section 2).
//
// The publisher swaps a shared_ptr<const T> and raises a generation number. A reader, one per
// worker, compares that number with its own and takes the pointer only when it changed: one relaxed
// load in the usual case. A retired snapshot dies when its last user lets go.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "base/result.h"

namespace base {

template <typename T>
class Published {
  public:
    explicit Published(std::shared_ptr<const T> first = std::make_shared<const T>())
        : current_(std::move(first)) {}

    /// Any thread. Readers see it at their next get().
    void publish(std::shared_ptr<const T> next) {
        check(next != nullptr);
        std::lock_guard lock(mutex_);
        current_ = std::move(next);
        generation_.fetch_add(1, std::memory_order_release);
    }

    /// Makes the next snapshot from the current one; concurrent updates do not lose each other.
    template <typename Change>
    void update(Change&& change) {
        std::lock_guard lock(mutex_);
        std::shared_ptr<const T> next = change(*current_);
        check(next != nullptr);
        current_ = std::move(next);
        generation_.fetch_add(1, std::memory_order_release);
    }

    std::shared_ptr<const T> current() const {
        std::lock_guard lock(mutex_);
        return current_;
    }

    uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

  private:
    mutable std::mutex mutex_;
    std::shared_ptr<const T> current_;
    std::atomic<uint64_t> generation_{1};
};

/// One worker's view. Not shared between threads; the Published must outlive it.
template <typename T>
class SnapshotReader {
  public:
    explicit SnapshotReader(const Published<T>& source) : source_(source) {}

    /// The newest snapshot. The reference is good until the next get() on this reader; hold() keeps
    /// it.
    const T& get() {
        const uint64_t generation = source_.generation();
        if (generation != seen_) {
            held_ = source_.current();
            seen_ = generation;
            shared_.reset();
        }
        return *held_;
    }

    /// The newest snapshot, kept alive for as long as the caller holds the pointer. Its count is
    /// this reader's own: readers on other threads do not share the cache line.
    std::shared_ptr<const T> hold() {
        const T& newest = get();
        if (shared_.get() != &newest) {
            auto keeper = std::make_shared<std::shared_ptr<const T>>(held_);
            shared_ = std::shared_ptr<const T>(std::move(keeper), &newest);
        }
        return shared_;
    }

  private:
    const Published<T>& source_;
    std::shared_ptr<const T> held_;
    std::shared_ptr<const T> shared_;  // held_ under a count of our own
    uint64_t seen_ = 0;
};

}  // namespace base
