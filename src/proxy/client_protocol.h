// Between a client's connection, which moves bytes and knows TLS, and the protocol that is spoken
// on it, which ALPN chose: HTTP/1 now; HTTP/2 adds a class and changes none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/address.h"
#include "proxy/flow.h"
#include "tls/session.h"

namespace proxy {

/// What a protocol asks of its connection. None of these calls the protocol: what follows from them
/// comes from the loop. After Gone, or once is_open() is false, all of them do nothing.
class ClientTransport {
  public:
    /// Adds to what flush() sends; `bytes` are used up when it returns.
    virtual Flow append(std::span<const uint8_t> bytes) = 0;
    Flow append(std::string_view text) {
        return append(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
    }
    virtual Flow flush() = 0;
    /// Bytes that should be given now; 0: wait for ClientProtocol::on_writable(). What one read
    /// from a backend brings on top is taken all the same.
    virtual size_t room() const = 0;

    /// Input can be used again: what waits is given to the protocol at the end of this turn. Also
    /// without input ClientProtocol::on_turn() is called then.
    virtual void resume() = 0;
    /// A large body is coming, or has ended: larger receive buffers.
    virtual void set_bulk(bool bulk) = 0;
    /// ClientProtocol::on_deadline() is called then, unless moved. 0: never.
    virtual void set_deadline(uint32_t delay_ms) = 0;

    /// Everything that was given is sent, then close_notify and FIN; input is discarded.
    virtual void finish() = 0;
    /// The client has ended its side and is owed nothing: finish() at the end of this turn, unless
    /// its FIN is there by then. Nobody would read our close_notify, and a closed socket answers it
    /// with a reset.
    virtual void leave() = 0;
    /// Cuts the connection such that the client cannot take what it got for complete.
    virtual void abort() = 0;
    virtual bool is_open() const = 0;

    /// Null on a plain connection.
    virtual const tls::SessionInfo* tls_info() const = 0;
    /// The client's address without port, as text; "unix:" over a Unix socket.
    virtual const std::string& address() const = 0;
    virtual bool is_unix() const = 0;
    /// That the client connected to, as it is known outside.
    virtual uint16_t public_port() const = 0;

  protected:
    ~ClientTransport() = default;
};

/// A connection on which nothing is asked for.
struct Idle {
    uint64_t since_ms = 0;  ///< loop time; 0: it is not idle
    bool is_new = false;    ///< it never asked for anything
};

/// What a connection tells its protocol, always from the loop and never nested.
class ClientProtocol {
  public:
    virtual ~ClientProtocol() = default;

    /// Uses a prefix of `input` and says how long it was; the rest is given again, with more behind
    /// it, when the protocol has called resume() or more has arrived.
    virtual size_t on_bytes(std::string_view input) = 0;
    /// `waiting` unused bytes cannot be used before something else happens: receive no more.
    virtual bool is_full(size_t waiting) const = 0;
    /// The end of a turn for which resume() was called.
    virtual void on_turn() = 0;
    /// The client sends no more. Called again when input was used that waited then; `waiting`: how
    /// much still does, 0: none.
    virtual void on_end(size_t waiting) = 0;
    /// There is room for output again.
    virtual void on_writable() = 0;
    virtual void on_deadline() = 0;
    /// The process stops: no new requests.
    virtual void on_drain() = 0;
    /// The connection is over, ours or the client's doing: what is under way is given up. Nothing
    /// is called afterwards.
    virtual void on_gone() = 0;
    /// Whether nothing is under way and nothing has begun. Such a connection can be closed when
    /// others need its place: as by on_deadline().
    virtual Idle idle() const = 0;
    /// What of its requests waits for servers to take it.
    virtual Waiting waiting_for_servers() const = 0;
    /// A response is due: what the session has to say can go with it. Not within a tunnel, where
    /// nothing is due.
    virtual bool is_waiting_for_response() const = 0;
};

}  // namespace proxy
