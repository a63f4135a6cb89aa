// A simulated server and its connections. It reads requests strictly, holds them against what the
// clients sent, and answers each as the dice say: well, or in one of the ways in which servers
// fail.
#pragma once

#include <deque>
#include <memory>

#include "bad_requests.h"
#include "scene.h"

namespace sim::front {

/// Which of the ways to fail a server has; all zero: none. Per mille of its requests.
struct Manners {
    uint32_t faults = 0;      // any of the faults of a response
    uint32_t drops_idle = 0;  // of its acts while idle: ends a connection that it keeps alive
    uint32_t resets = 0;      // of its acts
    uint32_t slow = 0;        // waits before it answers
    uint32_t early = 0;       // answers before it has the body
};

class ServerConnection {
  public:
    ServerConnection(Scene& scene, uint32_t server, uint32_t number, Dice dice,
                     const Manners& manners, PeerPtr peer);

    bool act(bool eager);
    bool is_done() const { return peer_ == nullptr; }
    uint64_t wake_at_ms() const;
    /// Keeps a connection alive on which nothing is asked, or never does anything again.
    bool is_idle() const;
    std::string describe() const;

  private:
    enum class Fault : uint8_t {
        None,
        Junk,    // no response at all, but bytes
        CutFin,  // ends in the middle
        CutReset,
        Surplus,  // more than the response
        Silent,   // never answers
        Refuse,   // ends without a byte
        RefuseReset,
        EndAfter,  // keeps alive, and does not
        ResetAfter,
    };

    bool receive();
    void read_requests();
    void on_request();
    void on_data();
    Fault choose_fault();
    bool begin_response();
    void write_interims(std::string_view mark);
    void write_head(std::string_view mark);
    void choose_body();
    bool produce();
    bool produce_tunnel();
    void write_body();
    bool send();
    bool end_response();
    void end(bool by_reset);
    bool misbehave();
    bool is_answering() const { return seen_.attempt != nullptr && !is_over_; }

    Scene& scene_;
    Oracle& oracle_;
    const uint32_t server_;
    const uint32_t number_;
    Dice dice_;
    Manners manners_;
    PeerPtr peer_;
    Reader reader_{Reader::Kind::Requests};

    // The request that is being read or answered. There is one: the front does not pipeline.
    Oracle::Seen seen_;
    bool is_read_ = true;  // all of it
    bool is_over_ = true;  // answered, all of it
    bool is_early_ = false;
    uint64_t answer_at_ms_ = 0;

    // Its response.
    bool is_begun_ = false;
    bool is_written_ = false;  // all that will be
    int status_ = 0;
    int minor_ = 1;
    Framing framing_ = Framing::None;
    BodyWriter body_;
    Fault fault_ = Fault::None;
    uint64_t cut_at_ = 0;  // bytes of the body
    bool closes_ = false;
    bool may_not_be_used_ = false;  // sent more than a response: no request may come
    bool is_silent_ = false;
    bool is_tunnel_ = false;
    uint64_t tunnel_left_ = 0;
    uint64_t tunnel_sent_ = 0;
    uint64_t tunnel_read_ = 0;
    std::string wire_;
    size_t wire_at_ = 0;
    uint64_t wire_end_ = 0;             // bytes ever put there
    uint64_t whole_at_ = ~uint64_t{0};  // where of them the response ends
    bool has_shut_ = false;
};

/// A place where a server listens.
class Server {
  public:
    Server(Scene& scene, uint32_t number, const net::Address& address, Dice dice,
           const Manners& manners);

    const net::Address& address() const { return address_; }
    uint32_t number() const { return number_; }
    std::deque<std::unique_ptr<ServerConnection>>& connections() { return connections_; }
    void set_manners(const Manners& manners) { manners_ = manners; }

  private:
    Scene& scene_;
    const uint32_t number_;
    const net::Address address_;
    Dice dice_;
    Manners manners_;
    uint32_t accepted_ = 0;
    std::deque<std::unique_ptr<ServerConnection>> connections_;
};

}  // namespace sim::front
