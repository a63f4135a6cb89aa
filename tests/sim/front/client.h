// A simulated client: one connection to the front, over TLS or not, and what it does with it. It
// checks all that comes back with the oracle.
//
// A good client sends acceptable requests, reads, and ends in order; it has to be served. The
// others send junk, cut off, stop reading, reset: of them the front has to get rid.
#pragma once

#include <deque>
#include <optional>

#include "bad_requests.h"
#include "request_maker.h"

namespace sim::front {

class Client {
  public:
    Client(Scene& scene, uint32_t number, Dice dice);

    /// Does something, if there is something that it wants and can do; `eager`: all of it. Whether
    /// anything moved.
    bool act(bool eager);
    /// Will never do anything again.
    bool is_done() const { return state_ == State::Done; }
    /// Does nothing before, unless something arrives; ~0: waits for that alone.
    uint64_t wake_at_ms() const;
    bool is_good() const { return is_good_; }
    /// Holds its connection without a wish: it never acts again, or has nothing more to ask.
    bool is_idle() const;
    /// All is over: nothing may be owed.
    void check_at_end() const;
    std::string describe() const;

  private:
    enum class State : uint8_t { Connecting, Open, Done };
    /// How it goes away when all is answered, or before.
    enum class Ending : uint8_t {
        Close,         // close_notify if it has TLS, FIN, and reads on until the front has closed
        CloseSilent,   // no close_notify
        HalfClose,     // as soon as the last request is sent
        HalfCloseTls,  // … by close_notify alone
        Linger,        // leaves it to the front
        Junk,          // close_notify, then more bytes
    };
    /// What happens to it at a time of its own.
    enum class Misfortune : uint8_t {
        None,
        Reset,
        ResetAtResponse,  // when one begins to arrive, with others on their way
        Close,
        HalfClose,
        Vanish,
        Deaf,
        Garbage
    };
    enum class Mark : uint8_t { HeadSent, Whole };

    void choose_character();
    void start();
    bool suffer();
    bool receive();
    void take_plaintext(std::string_view bytes);
    void read_messages();
    void on_head();
    void on_data();
    void on_end();
    void check_end_of_connection();
    void check_owed(bool is_reset) const;
    bool receive_tls(std::string_view bytes);
    bool produce();
    bool may_begin() const;
    void begin_request();
    void begin_bad_request();
    void produce_body();
    bool produce_tunnel();
    void begin_tunnel_early(Request& request);
    void put_tunnel(Request& request, size_t size);
    bool end_in_order();
    void put(std::string_view plaintext);
    void put_raw(std::string_view bytes);
    void collect();
    void mark(Mark what, Request& request);
    bool send();
    void leave();

    Scene& scene_;
    Oracle& oracle_;
    const uint32_t number_;
    Dice dice_;
    ClientFacts facts_;
    net::Address own_;
    State state_ = State::Connecting;
    PeerPtr peer_;
    std::optional<TlsClient> tls_;

    // Character.
    bool is_good_ = true;
    bool fails_handshake_ = false;  // by a name that nobody has
    bool sends_garbage_ = false;    // in place of its first bytes
    bool sent_garbage_ = false;     // in the middle
    Ending ending_ = Ending::Close;
    Misfortune misfortune_ = Misfortune::None;
    uint64_t misfortune_in_ = 0;  // acts
    uint32_t requests_left_ = 1;
    size_t pipeline_max_ = 1;
    uint32_t bad_at_ = 0;  // how many requests are left when it sends a bad one; 0: never
    size_t send_max_ = 1 << 20;
    size_t receive_max_ = 1 << 20;
    uint32_t stalls_ = 0;  // per mille of its acts that are followed by a pause
    uint32_t key_updates_ = 0;
    uint64_t think_ms_max_ = 0;

    // Sending.
    std::string wire_;  // not yet taken by the network
    size_t wire_at_ = 0;
    uint64_t wire_end_ = 0;  // bytes ever put there
    struct Milestone {
        uint64_t at;
        Mark what;
        Request* request;
    };
    std::deque<Milestone> milestones_;
    BodyWriter body_;
    Request* uploading_ = nullptr;
    bool awaits_continue_ = false;
    uint64_t continue_until_ms_ = 0;
    bool said_last_ = false;  // no more requests: the last one said so, or it was bad
    bool has_shut_ = false;   // our FIN, or close_notify, is sent
    bool has_notified_ = false;
    bool is_deaf_ = false;
    uint64_t busy_until_ms_ = 0;

    // Receiving.
    Reader reader_{Reader::Kind::Responses};
    std::deque<Request*> waiting_;  // requests without their whole final response
    Attempt* attempt_ = nullptr;    // whose response is being read
    bool in_response_ = false;
    uint64_t body_read_ = 0;
    bool is_told_to_end_ = false;
    uint64_t idle_since_ms_ = 0;
    size_t owed_at_shut_ = 0;
    size_t answered_after_shut_ = 0;
    // A tunnel.
    Request* tunnel_ = nullptr;
    uint64_t tunnel_left_ = 0;
    uint64_t tunnel_sent_ = 0;
    bool has_ended_tunnel_ = false;
    std::string plaintext_;
};

}  // namespace sim::front
