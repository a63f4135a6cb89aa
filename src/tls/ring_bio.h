// The BIO between a session and its owner: OpenSSL reads ciphertext out of the fed span and writes
// ciphertext into the owner's span. The only copies are OpenSSL's own.
//
// Worker's thread. The SSL holds the BIO; this object must outlive the SSL.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tls/library.h"

namespace tls {

class SslSession;

class RingBio {
  public:
    explicit RingBio(SslSession& session) : session_(session) {}
    RingBio(const RingBio&) = delete;
    RingBio& operator=(const RingBio&) = delete;

    /// Makes the BIO that speaks to this object; the caller gives it to an SSL. Null: out of
    /// memory.
    BIO* make_bio();
    /// The object behind a BIO of make_bio().
    static RingBio& from(BIO* bio) { return *static_cast<RingBio*>(BIO_get_data(bio)); }
    /// Whose ciphertext it carries: OpenSSL's callbacks find their session by its BIO.
    SslSession& session() const { return session_; }

    /// Read after what is unread; if there is such, both are copied.
    void feed(std::span<const uint8_t> ciphertext);
    /// Moves the unread bytes into a buffer of our own.
    void keep_input();
    bool has_input() const { return !input_.empty(); }
    size_t input_size() const { return input_.size(); }
    /// The session is over: what is unread will never be read.
    void drop_input();

    /// `output` takes what OpenSSL writes, after what did not fit the last time. False if not even
    /// that fits: nothing else may be done before close_output() and more room.
    bool open_output(std::span<uint8_t> output);
    /// How many bytes were written since open_output().
    size_t close_output();
    /// OpenSSL had something to write and no room for it, or waits until the spill is sent.
    bool wants_output() const { return wants_output_ || !spill_.empty(); }

    /// Until end_flight() nothing is read, and all that is written is kept for open_output(): for a
    /// step of the handshake that has no output at hand.
    void begin_flight() { in_flight_ = true; }
    void end_flight() { in_flight_ = false; }

    /// A peer that breaks our limits: from now on reading fails.
    void refuse_input() { refused_ = true; }
    bool refused() const { return refused_; }

  private:
    static int read(BIO* bio, char* out, size_t size, size_t* done);
    static int write(BIO* bio, const char* data, size_t size, size_t* done);
    static long control(BIO* bio, int command, long number, void* pointer);
    static BIO_METHOD* method();
    bool drain_spill();

    // Records up to this size are taken even if there is no room, so that an alert is never lost.
    static constexpr size_t spill_max = 64;
    // A server's flight: chain of 96 KiB (read_certificate()), staple of 64 KiB, and room for what
    // has a few hundred bytes each.
    static constexpr size_t flight_max = 256 * 1024;

    SslSession& session_;
    std::span<const uint8_t> input_;
    std::span<uint8_t> output_;
    size_t produced_ = 0;
    std::vector<uint8_t> kept_;   // input_ points into it after keep_input()
    std::vector<uint8_t> spill_;  // written when output_ was full
    bool wants_output_ = false;
    bool refused_ = false;
    bool in_flight_ = false;
};

}  // namespace tls
