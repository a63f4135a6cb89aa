// Messages from other threads into a loop: a lock-free list with many producers and one consumer,
// and an eventfd that wakes the loop when the list was empty.
#pragma once

#include <atomic>
#include <functional>

#include "net/kernel.h"

namespace net {

/// Thread-safe for posting. Must outlive its producers' last post().
class Mailbox {
  public:
    Mailbox();
    ~Mailbox();

    /// `work` runs on the loop's thread, in order of posting per producer. It owns what it
    /// captured.
    void post(std::function<void()> work);
    /// Loop's side: runs what has arrived.
    void drain();
    /// Readable while messages may wait. Loop's side.
    int event_fd() const { return event_.fd(); }

  private:
    struct Message;
    std::atomic<Message*> head_{nullptr};
    kernel::Descriptor event_;
};

}  // namespace net
