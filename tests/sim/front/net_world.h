// A world for net alone: a real EventLoop on the simulated kernel, whose streams do at random what
// handlers may do, against peers that do at random what peers may do. Each conversation has a
// sequence of bytes per direction, so that every byte tells whose it is and where it belongs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dice.h"
#include "kernel.h"
#include "net/event_loop.h"

namespace sim::front {

/// Byte `offset` of a sequence. The first 8 name the conversation.
void fill_sequence(uint64_t id, bool of_front, uint64_t offset, std::span<uint8_t> out);

/// What both sides of a connection have done so far.
struct Conversation {
    uint64_t id = 0;
    bool dialled_by_front = false;
    PeerPtr peer;
    bool peer_ends = false;  // it closed or reset: what it did not read, it does not miss
    bool peer_shut = false;  // its FIN is sent
    uint64_t peer_sent = 0;
    uint64_t peer_received = 0;
    uint64_t peer_wants = 0;  // to send
    bool seen_by_front = false;
    bool front_ends_well = false;  // finish() or shutdown_write(), and no other end
    bool front_cut = false;        // close(), abort() or an error
    bool front_aborted = false;    // abort() of an open stream, before its FIN
    uint64_t front_sent = 0;
    uint64_t front_received = 0;
    uint64_t front_wants = 0;
};

class NetWorld;

/// The handler of one stream.
class FrontActor final : public net::StreamHandler {
  public:
    FrontActor(NetWorld& world, Conversation* conversation);
    void start(net::Stream& stream, bool connected);
    /// Does something that a handler may do at any time.
    void act();
    /// Comes to an end from here on.
    void end_soon();
    bool is_closed() const { return closed_; }

    void on_connected() noexcept override;
    void on_data(std::span<uint8_t> bytes) noexcept override;
    void on_end() noexcept override;
    void on_writable() noexcept override;
    void on_closed(base::Error error) noexcept override;

  private:
    class Entered;
    void send_some();
    void act_inside();
    void end();
    void recognise(std::span<const uint8_t> head);

    NetWorld& world_;
    Conversation* conversation_;  // null until it is known whose it is
    net::Stream* stream_ = nullptr;
    std::array<uint8_t, 8> head_{};
    size_t head_bytes_ = 0;
    bool inside_ = false;
    bool connected_ = false;
    bool ended_ = false;  // on_end() came
    bool shut_ = false;
    bool finishing_ = false;
    bool left_ = false;  // close() or abort() was called
    bool hurries_ = false;
    bool closed_ = false;
};

class NetWorld final : public net::AcceptHandler {
  public:
    struct Totals {
        uint64_t streams = 0;
        uint64_t bytes = 0;
        uint64_t turns = 0;
        uint64_t letters = 0;
        KernelCounts kernel;
        net::LoopCounters loop;
    };

    explicit NetWorld(uint64_t seed);
    ~NetWorld() override;
    /// Lives for a while, then lets everything end and looks whether anything is left.
    void live();
    /// Ends the loop in the middle of all.
    void live_and_stop();
    const Totals& totals() const { return totals_; }
    /// Everything that happened, as one number.
    uint64_t trace() const { return trace_; }

    void on_accept(net::Stream& stream) noexcept override;

    // For actors.
    Dice& dice() { return dice_; }
    net::EventLoop& loop() { return *loop_; }
    Conversation* find(uint64_t id);
    void note(uint64_t what) { trace_ = (trace_ ^ what) * 0x100000001b3; }

  private:
    /// Whom a server has accepted: the first bytes tell whose conversation it is.
    struct Stranger {
        PeerPtr peer;
        std::array<uint8_t, 8> head;
        size_t size;
    };

    Conversation& start_conversation(bool dialled_by_front);
    void run_for_a_while();
    void do_something();
    void let_peer_act(Conversation& conversation);
    void peer_receives(Conversation& conversation, size_t most);
    void peer_sends(Conversation& conversation, size_t most);
    void let_stranger_act(size_t index);
    void dial_front();
    void dial_server();
    void post_letter();
    void turn();
    bool is_over() const;
    void come_to_rest();
    void check_ends();
    void end_loop();
    std::string still_open() const;

    Dice dice_;
    Kernel kernel_;
    std::unique_ptr<net::EventLoop> loop_;
    std::vector<net::Address> doors_;  // where the front listens
    std::vector<net::Address> servers_;
    size_t conversations_max_ = 0;
    std::vector<Stranger> strangers_;
    std::vector<std::unique_ptr<Conversation>> conversations_;
    std::vector<std::unique_ptr<FrontActor>> actors_;
    std::vector<uint8_t> scratch_;
    std::vector<uint8_t> expected_;
    uint64_t letters_sent_ = 0;
    uint64_t letters_read_ = 0;
    uint16_t next_port_ = 1024;
    bool listening_ = true;
    Totals totals_;
    uint64_t trace_ = 0xcbf29ce484222325;
};

}  // namespace sim::front
