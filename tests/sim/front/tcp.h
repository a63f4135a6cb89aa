// A simulated connection: two ends, and a way from each to the other. The rules are Linux's, as
// measured on 6.18; where they surprise:
//
//  - What arrived before RST can still be read at the front's end; then comes ECONNRESET, once, and
//    then 0 (tcp_recvmsg looks into its queue first). What was on its way is lost. Peers may be of
//    any make: they lose what they did not read.
//  - After FIN came, RST is not told to who receives (0 for ever), and EPIPE to who sends.
//  - Data that arrives after shutdown(SHUT_RD) or close() is answered with RST.
//  - Once both FINs have arrived, or RST, there is no peer's name any more.
//  - A Unix socket has neither ways nor RST: bytes are there at once, and what the closed end did
//    not read is told as ECONNRESET.
#pragma once

#include <functional>
#include <memory>

#include "byte_queue.h"
#include "net/address.h"
#include "schedule.h"

namespace sim::front {

class Connection;
class End;
class Machine;
struct File;

/// One direction: what was written at one end and not read at the other.
class Way : public Movable {
  public:
    Way(End& from, End& to) : Movable(Kind::Way), from_(from), to_(to) {}

    Connection& connection() const;
    bool has_news() const { return in_flight() > 0 || fin_is_due() || rst_is_due(); }
    size_t in_flight() const { return bytes_.size() - arrived_; }

  private:
    friend class Connection;
    friend class End;
    bool fin_is_due() const { return fin_sent_ && !fin_arrived_; }
    bool rst_is_due() const { return rst_sent_ && !rst_arrived_; }

    End& from_;
    End& to_;
    ByteQueue bytes_;     // written and not read
    size_t arrived_ = 0;  // of these
    size_t window_ = 0;   // most bytes_
    int64_t acknowledged_ = 0;
    bool fin_sent_ = false;
    bool fin_arrived_ = false;
    bool rst_sent_ = false;
    bool rst_arrived_ = false;
};

/// One end of a connection. Results are as those of system calls: a count or a negative errno.
class End {
  public:
    explicit End(Connection& connection) : connection_(connection) {}
    End(const End&) = delete;
    End& operator=(const End&) = delete;

    /// What receive() would give, if not bytes: 0 at the end, -EAGAIN if there is nothing yet.
    /// Takes the error, which is told once.
    int take_receive_state();
    /// Bytes that can be received now.
    size_t readable() const;
    /// Something to receive: bytes, an end, an error.
    bool can_receive() const;
    /// The receive after this one finds something, as SO_INQ tells it.
    bool has_more() const;
    size_t receive(std::span<uint8_t> out);

    /// 0, or why nothing can be sent: -EPIPE, or the error, which is told once.
    int take_send_error();
    bool has_send_error() const;
    size_t room() const;
    void send(std::span<const uint8_t> bytes);
    /// All that was sent has arrived.
    bool is_flushed() const;
    /// How much of it has arrived; -1 for Unix sockets.
    int64_t acknowledged() const;
    /// TCP_CLOSE.
    bool is_broken() const;

    /// 0 or -ENOTCONN.
    int shut_write();
    void shut_read();
    /// Nobody holds this end any more.
    void release(bool with_reset);
    void reset();
    /// The connection is dead at this end, for this reason.
    void die(int error);

    bool is_alive() const { return !dead_; }
    bool is_peer() const { return is_peer_; }
    bool is_released() const { return released_; }
    bool is_established() const;
    bool at_end() const;
    /// For traces.
    std::string name() const;
    /// No connection any more: what getpeername() knows.
    bool is_gone() const;
    End& other() const;
    Connection& connection() const { return connection_; }
    /// What its operations wait for may have come.
    void on_change();

  private:
    friend class Connection;
    friend class Peer;
    Way& in() const;
    Way& out() const;
    void send_reset();
    void purge();

    Connection& connection_;
    File* file_ = nullptr;  // of the front, once it has a descriptor
    bool is_peer_ = false;  // of a client or server
    bool established_ = false;
    bool released_ = false;
    bool write_shut_ = false;
    bool read_shut_ = false;
    bool dead_ = false;
    bool was_reset_ = false;  // RST came or was sent, or nobody answers
    bool broken_ = false;     // Unix: the other end is closed
    int error_ = 0;           // sk_err
};

/// Kept by the machine until both ends are released and all is quiet, and by its Peer.
class Connection : public std::enable_shared_from_this<Connection> {
  public:
    enum class Stage : uint8_t {
        New,
        Dialling,  // the handshake is under way
        Waiting,   // the backlog is full
        Silent,    // nobody answers
        Established,
        Failed,
    };
    struct Handshake : Movable {
        explicit Handshake(Connection& of) : Movable(Kind::Handshake), connection(of) {}
        Connection& connection;
    };

    Connection(Machine& machine, const net::Address& client, const net::Address& server);
    ~Connection();

    /// Moves something of `way`.
    void move(Way& way);
    void establish();
    void fail(int error);
    /// The machine ends: nothing moves any more.
    void forget_machine();
    bool is_over() const;
    Machine* machine() const { return machine_; }

    End client;  // who dials
    End server;
    net::Address client_address;
    net::Address server_address;
    Handshake handshake;
    Stage stage = Stage::New;
    int connect_error = 0;
    uint64_t gives_up_ms = 0;  // when it is Silent
    uint32_t place = 0;        // in the machine's list
    void attach(End& end, File* file) { end.file_ = file; }
    void mark_peer(End& end) { end.is_peer_ = true; }

  private:
    friend class End;
    void deliver(Way& way);
    void deliver_reset(Way& way);

    Machine* machine_;
    const bool is_unix_;
    Way to_server_;
    Way to_client_;
};

}  // namespace sim::front
