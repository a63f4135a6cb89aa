// What the TLS targets share: a context that serves a.test, and a way to read a Session that holds
// it to its contract. One thread; lives until the process ends.
#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "tls/server_context.h"

namespace tls::fuzz {

class World {
  public:
    World() {
        auto certificate =
            make_fallback_certificate({"a.test"}, base::Time{std::chrono::hours{24 * 20'000}});
        base::check(certificate.ok());
        auto set = std::make_shared<CertificateSet>();
        set->certificates = {*certificate};
        snapshots_.certificates.update(
            [&](const CertificateIndex& index) { return index.with({"a.test"}, set); });
        base::SystemRandom random;
        snapshots_.ticket_keys.update(
            [&](const TicketKeys& keys) { return keys.rotated(random, base::Time{}); });
        auto context = ServerContext::create({}, snapshots_);
        base::check(context.ok());
        context_ = std::move(*context);
    }

    std::unique_ptr<Session> accept() {
        auto session = context_->accept();
        base::check(session != nullptr);
        return session;
    }

  private:
    Snapshots snapshots_;
    std::unique_ptr<ServerContext> context_;
};

/// The server's end of a wire: feeds a Session in pieces and keeps what comes out.
class Server {
  public:
    /// Pieces of `step` bytes, and `room` bytes for each output.
    Server(std::unique_ptr<Session> session, size_t step, size_t room)
        : session_(std::move(session)), step_(step), room_(room) {}

    Session& session() { return *session_; }
    Session::State state() const { return state_; }
    std::string received;
    std::vector<uint8_t> output;

    bool is_over() const {
        return state_ == Session::State::Failed || state_ == Session::State::Closed;
    }

    /// All of it, but for what comes after the end: that has to be left alone.
    void put(std::span<const uint8_t> bytes) {
        while (!bytes.empty()) {
            const size_t size = std::min(step_, bytes.size());
            // A copy of that size, so that a byte read beyond it is seen; gone once it was kept.
            auto piece = std::make_unique<std::vector<uint8_t>>(
                bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
            session_->feed(*piece);
            read(&piece);
            base::check(!session_->has_input());
            bytes = bytes.subspan(size);
        }
    }

    void check_end() {
        if (!is_over()) return;
        const Session::State before = state_;
        const size_t had = received.size();
        read(nullptr);
        base::check(state_ == before && received.size() == had);
        if (state_ != Session::State::Failed) return;
        base::check(!session_->error().empty());
        std::vector<uint8_t> room(1 + Session::overhead_max);
        base::check(session_->close(room) == 0);
        if (session_->handshake_done()) base::check(session_->write({room.data(), 1}, room) == 0);
    }

  private:
    void read(std::unique_ptr<std::vector<uint8_t>>* piece) {
        for (int reads = 0;; ++reads) {
            base::check(reads < 200'000);
            size_t produced = 0;
            const Session::Read result = session_->read(plaintext_, room_, produced);
            base::check(produced <= room_.size() && result.size <= plaintext_.size());
            base::check(result.size == 0 || result.state == Session::State::Ok);
            output.insert(output.end(), room_.begin(),
                          room_.begin() + static_cast<ptrdiff_t>(produced));
            received.append(reinterpret_cast<const char*>(plaintext_.data()), result.size);
            state_ = result.state;
            if (state_ == Session::State::NeedOutput) {
                base::check(produced > 0);  // or its owner would turn in circles
                if (piece != nullptr && *piece) {
                    session_->keep_input();
                    piece->reset();
                }
            } else if (state_ != Session::State::Ok) {
                return;
            }
        }
    }

    std::unique_ptr<Session> session_;
    const size_t step_;
    std::vector<uint8_t> room_;
    std::vector<uint8_t> plaintext_ = std::vector<uint8_t>(Session::plaintext_max);
    Session::State state_ = Session::State::NeedInput;
};

}  // namespace tls::fuzz
