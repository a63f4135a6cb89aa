// The simulated machine below the rings: descriptors, listeners, handshakes, events, the clock, and
// the schedule of what could move. Private to the simulated kernel.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "kernel.h"
#include "schedule.h"
#include "tcp.h"

namespace sim::front {

class SimRing;
struct Operation;

/// What a descriptor names. Held by the descriptor and by each operation in flight on it, so that
/// close() takes effect when the last of them is gone, as in Linux.
struct File {
    enum class Kind : uint8_t { Socket, Listener, Event };

    File(Machine& machine_of, Kind kind_of, int family_of)
        : machine(machine_of), kind(kind_of), family(family_of) {}
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    Machine& machine;
    const Kind kind;
    const int family;
    std::vector<Operation*> operations;  // in flight
    // A socket, once it is connected or connects.
    std::shared_ptr<Connection> connection;
    End* end = nullptr;
    bool reset_at_close = false;
    // A listener.
    net::Address address;
    std::deque<std::shared_ptr<Connection>> backlog;
    std::deque<std::shared_ptr<Connection>> waiting;  // for room in it
    // An event.
    uint64_t count = 0;
};
using FilePtr = std::shared_ptr<File>;

class Machine {
  public:
    Machine(Dice dice, const KernelFaults& faults);
    ~Machine();

    bool step();
    void advance(uint64_t ms);
    uint64_t now_ms() const { return now_ms_; }
    void fair();
    bool is_fair() const { return fair_; }

    // Descriptors. Asking for one that is not open ends the process.
    static constexpr int first_descriptor = 1'000'000;
    /// The new descriptor, or -EMFILE.
    int add(FilePtr file);
    /// `what` is being done with it.
    const FilePtr& file(int fd, const char* what);
    bool can_open() const { return open_ < faults.descriptors_max; }
    void close(int fd, const char* what);
    size_t open_descriptors() const { return open_; }

    // Sockets.
    int open_socket(int family);
    int listen(const net::Address& address);
    void serve(const net::Address& address, std::function<void(PeerPtr)> on_accept);
    void set_reach(const net::Address& address, Kernel::Reach reach);
    PeerPtr dial(const net::Address& from, const net::Address& to);
    std::pair<int, PeerPtr> pair(const net::Address& front, const net::Address& peer);
    /// What connect() does at once: a negative errno, or the handshake is under way.
    int start_connect(const FilePtr& file, const net::Address& to);
    /// The oldest connection of the backlog, on a new descriptor; -EAGAIN, -EMFILE.
    int accept(File& listener);
    int open_event();
    void signal_event(int fd);
    void clear_event(int fd);

    // For connections and operations.
    Schedule& schedule() { return schedule_; }
    Dice& dice() { return dice_; }
    KernelCounts& counts() { return counts_; }
    bool chance(uint32_t per_mille) { return !fair_ && dice_.chance(per_mille); }
    size_t draw_window();
    /// How many of `most` move this time.
    size_t cut(size_t most);
    /// What the file's operations wait for may have come.
    void on_change(File& file);
    void on_released(Connection& connection);
    void forget_if_over(Connection& connection);
    void on_listener_closed(File& listener);

    std::vector<SimRing*> rings;
    KernelFaults faults;
    size_t descriptors_lost = 0;
    bool spurious_wake = false;

  private:
    struct Server {
        net::Address address;
        std::function<void(PeerPtr)> on_accept;
    };
    struct Reachability {
        net::Address address;
        Kernel::Reach reach;
    };

    void run(Movable& movable);
    void move(Way& way);
    void shake_hands(Connection& connection);
    /// Into the backlog of one of the listeners there; false if nobody listens.
    bool knock(Connection& connection);
    void fill_backlog(File& listener);
    std::shared_ptr<Connection> connection_between(const net::Address& from,
                                                   const net::Address& to);
    net::Address own_address(const net::Address& towards);
    Server* server_at(const net::Address& address);
    Kernel::Reach reach_of(const net::Address& address) const;

    Dice dice_;
    KernelCounts counts_;
    bool fair_ = false;
    uint64_t now_ms_ = 1'000'000;
    Schedule schedule_;
    std::vector<FilePtr> files_;  // by descriptor
    std::vector<int> free_;       // the last one is given out next
    size_t open_ = 0;
    std::vector<File*> listeners_;
    std::vector<Server> servers_;
    std::vector<Reachability> reach_;
    std::vector<std::shared_ptr<Connection>> connections_;
    uint16_t next_port_ = 32768;
    bool ending_ = false;
};

}  // namespace sim::front
