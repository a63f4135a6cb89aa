#include "proxy/backend_pool.h"

#include <cerrno>

#include "base/log.h"

namespace proxy {

bool is_shortage(const base::Error& error) {
    return error.domain == base::ErrorDomain::System &&
           (error.code == EMFILE || error.code == ENFILE || error.code == EADDRNOTAVAIL ||
            error.code == ENOBUFS || error.code == ENOMEM);
}

ServerPool::~ServerPool() {
    // The loop is being destroyed with its streams: no on_closed comes any more.
    while (first_ != nullptr) delete first_;
}

BackendConnection* ServerPool::reuse(BackendUser& user) {
    while (!idle_.empty()) {
        BackendConnection* connection = idle_.back();
        idle_.pop_back();
        if (connection->idle_until_ms_ > loop_.now_ms()) {
            connection->lease_to(user);
            return connection;
        }
        connection->close();
    }
    return nullptr;
}

base::Result<BackendConnection*> ServerPool::connect(BackendUser& user, uint32_t timeout_ms) {
    auto connection = std::make_unique<BackendConnection>(*this);
    connection->next_ = first_;
    if (first_ != nullptr) first_->previous_ = connection.get();
    first_ = connection.get();
    if (const base::Status status = connection->connect(address_, timeout_ms); !status) {
        return status.error();
    }
    connection->lease_to(user);
    return connection.release();  // deletes itself in on_closed
}

bool ServerPool::put_idle(BackendConnection& connection) {
    if (idle_.size() >= idle_max_ || leased_ + idle_.size() >= wanted()) return false;
    idle_.push_back(&connection);
    return true;
}

void ServerPool::take_idle(BackendConnection& connection) {
    std::erase(idle_, &connection);
}

void ServerPool::count_lease() {
    if (++leased_ > window_peak_) window_peak_ = leased_;
}

void ServerPool::count_end() {
    base::check(leased_ > 0);
    --leased_;
}

void ServerPool::move_window() {
    if (loop_.now_ms() - window_from_ms_ < window_ms) return;
    window_from_ms_ = loop_.now_ms();
    peak_ = std::max(window_peak_, peak_ - (peak_ + 3) / 4);
    window_peak_ = leased_;
}

void ServerPool::trim() {
    move_window();
    const uint64_t now_ms = loop_.now_ms();
    std::erase_if(idle_, [now_ms](BackendConnection* connection) {
        if (connection->idle_until_ms_ > now_ms) return false;
        connection->close();
        return true;
    });
    const size_t total = leased_ + idle_.size();
    const size_t surplus = std::min(idle_.size(), total - std::min(total, wanted()));
    for (size_t i = 0; i < surplus; ++i) idle_[i]->close();
    idle_.erase(idle_.begin(), idle_.begin() + static_cast<ptrdiff_t>(surplus));
}

void ServerPool::close_idle() {
    for (BackendConnection* connection : std::exchange(idle_, {})) connection->close();
}

void ServerPool::begin_attempt(uint64_t now_ms) {
    if (suspect_) down_until_ms_ = now_ms + down_ms;
}

void ServerPool::note_answer() {
    if (suspect_) base::log_info("proxy", address_.text(), "the server answers again");
    suspect_ = false;
    down_until_ms_ = 0;
}

void ServerPool::note_failure(const base::Error& error) {
    // Neither our own decision nor a lack of ours: the server does not answer.
    if (error.domain == base::ErrorDomain::None || is_shortage(error)) return;
    if (!suspect_) {
        base::log_warn("proxy", address_.text(),
                       "the server does not answer ({}); other servers of its backends come first, "
                       "it is tried again every {} s",
                       error.message(), down_ms / 1000);
    }
    suspect_ = true;
    down_until_ms_ = loop_.now_ms() + down_ms;
}

void ServerPool::forget(BackendConnection& connection) {
    if (connection.previous_ != nullptr) connection.previous_->next_ = connection.next_;
    if (connection.next_ != nullptr) connection.next_->previous_ = connection.previous_;
    if (first_ == &connection) first_ = connection.next_;
}

}  // namespace proxy
