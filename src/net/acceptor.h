// The listening sockets of one loop: multishot accepts, the limit of connections, and what happens
// when descriptors or memory run out (faults.md PR-01, PR-02).
//
//  - One multishot accept takes all that waits in a backlog before we hear of the first. So with
//    fewer places left than accept_burst_max, a few at a time are accepted: the
//    descriptors beyond connections_max are somebody else's (app/budget.h).
//  - At connections_max accepting is cancelled; what the kernel had accepted by then is parked and
//    becomes streams first when the number has fallen to 90 %.
//  - When accept fails for lack of something, the clients stay in the kernel's backlog. Accepting
//    is tried again after a pause, or when one of our own streams closes: nothing spins.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "net/event_loop.h"
#include "net/kernel.h"

namespace net {

class Acceptor {
  public:
    Acceptor(EventLoop& loop, uint32_t connections_max, uint32_t accept_burst_max);
    ~Acceptor();

    base::Status add(int fd, AcceptHandler& handler);
    void close_all();
    /// Also parks for good what is still to come: handlers may be gone.
    void shut_down() {
        close_all();
        full_ = true;
    }
    void on_completion(uint32_t slot, const Completion& completion);
    /// An accepted stream has given up its descriptor.
    void on_stream_closed();

  private:
    struct Listener {
        kernel::Descriptor fd;  // none: closed
        AcceptHandler* handler = nullptr;
        ReceiveMode mode = ReceiveMode::Multishot;
        uint32_t armed = 0;       // accepts in flight: one if it is a multishot
        bool multishot = false;   // those
        bool cancelling = false;  // those
    };
    struct Parked {
        kernel::Descriptor fd;
        uint32_t slot;
    };

    void arm(uint32_t slot);
    void arm_all();
    void welcome(uint32_t slot, kernel::Descriptor fd);
    /// The limit is reached: nobody is accepted for now.
    void hold_off();
    void cancel(uint32_t slot);
    /// So many accepts of one connection each are worth having at a time.
    uint32_t single_accepts() const;
    /// One backlog may have more than there are places left.
    bool is_nearly_full() const;
    void accept_failed(uint32_t slot, int result);
    void log_once_per_second(int error);

    EventLoop& loop_;
    uint32_t connections_max_;
    uint32_t accept_burst_max_;
    std::vector<Listener> listeners_;
    std::deque<Parked> parked_;
    bool full_ = false;         // waits for streams to close
    bool backing_off_ = false;  // waits for descriptors or memory
    Timer back_off_timer_;
    uint64_t last_log_ms_ = 0;
};

}  // namespace net
