#include "proxy/backend_connection.h"

#include "proxy/backend_pool.h"

namespace proxy {

namespace {

/// One more piece of a request may be staged while at most one waits behind the one in flight.
constexpr size_t send_bytes_max = 2 * net::chunk_bytes;

}  // namespace

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

void BackendConnection::move_to(State next) {
    switch (next) {
        case State::Connecting:
            base::check(false);  // only a new one
            break;
        case State::Leased:
            base::check(state_ == State::Connecting || state_ == State::Idle);
            break;
        case State::Idle:
            base::check(state_ == State::Leased);
            break;
        case State::Closing:
            break;
    }
    state_ = next;
}

void BackendConnection::lease_to(BackendUser& user) {
    base::check(user_ == nullptr);
    base::check(state_ == State::Connecting || state_ == State::Idle);
    user_ = &user;
    pool_.count_lease();
    if (state_ == State::Idle) {
        move_to(State::Leased);
        reused_ = true;
    }
}

void BackendConnection::end_lease() {
    base::check(user_ != nullptr);
    user_ = nullptr;
    pool_.count_end();
}

void BackendConnection::release() {
    end_lease();
    if (state_ == State::Closing) return;
    move_to(State::Closing);
    stream_->abort();
}

void BackendConnection::finish() {
    end_lease();
    if (state_ == State::Closing) return;
    move_to(State::Closing);
    stream_->finish();
}

void BackendConnection::close() {
    if (state_ == State::Closing) return;
    move_to(State::Closing);
    stream_->close();
}

void BackendConnection::settle(const Lease& lease) {
    switch (lease.kind) {
        case Lease::Kind::Keep:
            return;
        case Lease::Kind::Abort:
            return release();
        case Lease::Kind::Close:
            end_lease();
            return close();
        case Lease::Kind::Pool:
            break;
    }
    end_lease();
    if (state_ != State::Leased || lease.idle_until_ms <= pool_.loop().now_ms()) return close();
    move_to(State::Idle);
    idle_until_ms_ = lease.idle_until_ms;
    fills_buffers_ = false;
    stream_->set_buffers(net::BufferKind::Large);
    stream_->resume();  // so that a FIN is seen
    if (!pool_.put_idle(*this)) close();
}

void BackendConnection::set_room(size_t room) {
    if (room == 0) return stream_->pause();
    const bool bulk = fills_buffers_ && room >= net::bulk_buffer_bytes;
    stream_->set_buffers(bulk ? net::BufferKind::Bulk : net::BufferKind::Large);
    stream_->resume();
}

void BackendConnection::send(net::Chunk chunk) {
    if (stream_->unsent() == 0) waits_since_ms_ = pool_.loop().now_ms();
    stream_->send(std::move(chunk));
}

Waiting BackendConnection::waiting() const {
    return {stream_->unsent(), waits_since_ms_};
}

bool BackendConnection::has_taken(uint64_t bytes_min) {
    const net::Stream::Delivery delivery = stream_->delivery();
    const uint64_t before = std::exchange(taken_, delivery.taken);
    return delivery.taken - std::min(delivery.taken, before) >= (delivery.is_all ? 1 : bytes_min);
}

size_t BackendConnection::send_room() const {
    if (stream_->queued() > 1) return 0;  // however small they are
    return send_bytes_max - stream_->unsent();
}

void BackendConnection::on_connected() noexcept {
    const base::Reentry::Entered entered(reentry_);
    if (state_ != State::Connecting) return;
    move_to(State::Leased);
    connected_ = true;
    pool_.note_answer();
    if (user_ != nullptr) user_->on_backend_connected();
}

void BackendConnection::on_data(std::span<uint8_t> bytes) noexcept {
    const base::Reentry::Entered entered(reentry_);
    fills_buffers_ = bytes.size() >= net::large_buffer_bytes;
    if (user_ != nullptr) return settle(user_->on_backend_data(bytes));
    // Bytes that no request asked for: the next response would be theirs (faults.md BE-12, BE-16).
    if (state_ == State::Idle) pool_.take_idle(*this);
    close();
}

void BackendConnection::on_end() noexcept {
    const base::Reentry::Entered entered(reentry_);
    if (user_ != nullptr) return settle(user_->on_backend_end());
    if (state_ == State::Idle) pool_.take_idle(*this);
    close();
}

void BackendConnection::on_writable() noexcept {
    const base::Reentry::Entered entered(reentry_);
    waits_since_ms_ = pool_.loop().now_ms();
    if (user_ != nullptr) user_->on_backend_writable();
}

void BackendConnection::on_closed(base::Error error) noexcept {
    reentry_.check_outside();
    if (state_ == State::Idle) pool_.take_idle(*this);
    if (state_ == State::Connecting) pool_.note_failure(error);
    move_to(State::Closing);
    if (BackendUser* user = user_) {
        end_lease();
        user->on_backend_closed(error);
    }
    delete this;
}

}  // namespace proxy
