// The server's side of one TLS connection as a codec: ciphertext in, plaintext out and back. It
// never sees a socket; its owner moves the bytes. Two implementations are foreseen (design.md,
// section 5): SslSession on OpenSSL's SSL, and later a record layer of our own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "tls/certificate.h"
#include "tls/failure.h"

namespace tls {

enum class Version : uint8_t { Unknown, Tls12, Tls13 };

/// What the handshake settled. Filled when Session::handshake_done(); views live as long as the
/// session.
struct SessionInfo {
    Version version = Version::Unknown;
    bool resumed = false;
    bool challenge = false;  ///< acme-tls/1 was negotiated: close, no HTTP (RFC 8737)
    /// What the certificate was chosen by: SNI, normalised; without one the address that the client
    /// connected to, if it has a certificate; else "".
    std::string_view server_name;
    std::string_view alpn;    ///< "http/1.1", "http/1.0", "acme-tls/1" or ""
    std::string_view cipher;  ///< OpenSSL's name
    const Certificate* certificate =
        nullptr;  ///< the one presented, or that would have been if resumed
};

class Session {
  public:
    virtual ~Session() = default;

    enum class State : uint8_t {
        Ok,          ///< plaintext was produced, or (0 bytes) go on: call again
        NeedInput,   ///< all that was fed is used up
        NeedOutput,  ///< the output has no room: send it and call again
        /// The next step signs with a slow key: have use_slow_key() called, by a HandshakePool,
        /// then call again. Only from a ServerContext that was told of a pool.
        NeedSlowKey,
        Closed,  ///< the peer sent close_notify after the handshake: see below
        Failed,  ///< fatal: send what stands in the output (an alert), then close. See error()
    };
    // Closed and Failed are for good: read() keeps saying so, has_input() is false, feed() and
    // keep_input() do nothing, whatever the peer still sends. After Closed our own direction stays
    // open (RFC 8446 6.1): write() and close() work as before; a write() that fails makes it
    // Failed. After Failed they give 0. A close_notify before the end of the handshake is Failed,
    // too: there is nobody to answer.
    struct Read {
        State state;
        size_t size;  ///< plaintext bytes written
    };

    /// Ciphertext to be read in place by the following read() calls. The bytes must stay valid
    /// until read() says NeedInput or keep_input() is called. If earlier ones are not used up, all
    /// are copied and nothing need stay valid; together they are at most input_waiting_max, beyond
    /// which the session fails: its owner is to stop receiving long before.
    virtual void feed(std::span<const uint8_t> ciphertext) = 0;
    static constexpr size_t input_waiting_max = 1024 * 1024;
    /// Copies what was fed and not used yet, so that the fed bytes may go. Bounded by the size fed.
    virtual void keep_input() = 0;
    /// True if read() has something to work on without feed(): fed bytes, or an opened record that
    /// did not fit into `plaintext`.
    virtual bool has_input() const = 0;

    /// Drives the handshake and opens records into `plaintext` (at least 16 KiB for full speed).
    /// Handshake bytes, tickets and alerts are appended to `output`'s room; `produced` says how
    /// many.
    virtual Read read(std::span<uint8_t> plaintext, std::span<uint8_t> output,
                      size_t& produced) = 0;

    /// Takes the step for which read() said NeedSlowKey; milliseconds long. Any thread, while no
    /// other one uses the session or destroys it. What it wrote, or why it failed, comes out of the
    /// next read(), on the session's own thread. No input is used: call keep_input() before.
    /// Nothing happens if the session has failed meanwhile.
    virtual void use_slow_key() = 0;

    /// Seals all of `plaintext` (1..16384 bytes) into one or more records in `output`, which has
    /// room for plaintext.size() + overhead_max; gives the bytes written, 0 if the session has
    /// failed. Needs handshake_done().
    virtual size_t write(std::span<const uint8_t> plaintext, std::span<uint8_t> output) = 0;
    static constexpr size_t plaintext_max = 16384;
    /// 32 records of 29 bytes for a client that negotiated fragments of 512 bytes (RFC 6066 4), and
    /// what was left over from read(): a KeyUpdate, an alert.
    static constexpr size_t overhead_max = 1024;

    /// Writes close_notify (RFC 8446 6.1) into `output`; bytes written, 0 if nothing is to be said.
    virtual size_t close(std::span<uint8_t> output) = 0;

    virtual bool handshake_done() const = 0;
    virtual const SessionInfo& info() const = 0;
    /// Why it Failed; for the log, e.g. "no shared cipher", "unrecognized name \"x\"".
    virtual std::string_view error() const = 0;
    /// The kind of that. Of a handshake, it was counted in TlsCounters as well.
    virtual Failure failure() const = 0;
    /// Its owner ends an unfinished handshake and knows why: TimedOut, Overload. Counted; the
    /// session is Failed then. Without it a session that is destroyed in the middle counts as
    /// GivenUp. Not while it is lent to a pool. Does nothing after the handshake.
    virtual void give_up(Failure reason) = 0;
};

}  // namespace tls
