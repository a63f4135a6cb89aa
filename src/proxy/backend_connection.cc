#include "proxy/backend_connection.h"

#include "proxy/backend_pool.h"

namespace proxy {

BackendConnection::~BackendConnection() {
    pool_.forget(*this);
}

base::Status BackendConnection::connect(const net::Address& address, uint32_t timeout_ms) {
    auto stream = pool_.loop().connect(address, timeout_ms, *this, net::ReceiveMode::OneShot,
                                       net::BufferKind::Large);
    if (!stream) return stream.error();
    stream_ = *stream;
    return {};
}

void BackendConnection::lease_to(BackendUser& user) {
    base::check(user_ == nullptr);
    user_ = &user;
    if (state_ == State::Idle) {
        state_ = State::Leased;
        reused_ = true;
    }
}

void BackendConnection::give_back(bool reusable, uint64_t idle_until_ms) {
    base::check(user_ != nullptr);
    user_ = nullptr;
    if (state_ == State::Closing) return;
    if (reusable && state_ == State::Leased && idle_until_ms > pool_.loop().now_ms()) {
        state_ = State::Idle;
        idle_until_ms_ = idle_until_ms;
        if (stream_->paused()) stream_->resume();
        if (pool_.put_idle(*this)) return;
    }
    state_ = State::Closing;
    stream_->close();
}

void BackendConnection::on_connected() noexcept {
    if (state_ != State::Connecting) return;
    state_ = State::Leased;
    connected_ = true;
    if (user_ != nullptr) user_->on_backend_connected();
}

void BackendConnection::on_data(std::span<uint8_t> bytes) noexcept {
    // A server that fills a buffer has more to say.
    const bool bulk = bytes.size() >= net::large_buffer_bytes && !pool_.loop().chunks().scarce();
    stream_->set_buffers(bulk ? net::BufferKind::Bulk : net::BufferKind::Large);
    if (user_ != nullptr) {
        user_->on_backend_data(bytes);
        return;
    }
    // Bytes that no request asked for: the next response would be theirs (faults.md BE-12, BE-16).
    if (state_ == State::Idle) {
        pool_.take_idle(*this);
        state_ = State::Closing;
        stream_->close();
    }
}

void BackendConnection::on_end() noexcept {
    if (user_ != nullptr) {
        user_->on_backend_end();
        return;
    }
    if (state_ == State::Idle) {
        pool_.take_idle(*this);
        state_ = State::Closing;
        stream_->close();
    }
}

void BackendConnection::on_writable() noexcept {
    if (user_ != nullptr) user_->on_backend_writable();
}

void BackendConnection::on_closed(base::Error error) noexcept {
    if (state_ == State::Idle) pool_.take_idle(*this);
    state_ = State::Closing;
    BackendUser* user = std::exchange(user_, nullptr);
    if (user != nullptr) user->on_backend_closed(error);
    delete this;
}

}  // namespace proxy
