#include "tcp.h"

#include <cerrno>

#include "machine.h"
#include "trace.h"

namespace sim::front {

Connection& Way::connection() const {
    return from_.connection();
}

// ---- One end: receiving

Way& End::in() const {
    return this == &connection_.client ? connection_.to_client_ : connection_.to_server_;
}

Way& End::out() const {
    return this == &connection_.client ? connection_.to_server_ : connection_.to_client_;
}

End& End::other() const {
    return this == &connection_.client ? connection_.server : connection_.client;
}

bool End::is_established() const {
    return established_;
}

size_t End::readable() const {
    return in().arrived_;
}

bool End::can_receive() const {
    return readable() > 0 || in().fin_arrived_ || error_ != 0 || read_shut_ || dead_;
}

bool End::has_more() const {
    return readable() > 0 || in().fin_arrived_;
}

bool End::at_end() const {
    return in().fin_arrived_ && readable() == 0;
}

int End::take_receive_state() {
    // A Unix socket tells its error first, TCP the FIN that came before it.
    if (in().fin_arrived_ && !broken_) return 0;
    if (error_ != 0) return -std::exchange(error_, 0);
    if (in().fin_arrived_ || read_shut_ || dead_) return 0;
    return established_ ? -EAGAIN : -ENOTCONN;
}

size_t End::receive(std::span<uint8_t> out) {
    const size_t size = std::min(out.size(), in().arrived_);
    if (size == 0) return 0;
    in().bytes_.read(out.first(size));
    in().arrived_ -= size;
    other().on_change();  // there is room again
    return size;
}

// ---- Sending

bool End::has_send_error() const {
    return error_ != 0 || write_shut_ || dead_ || broken_;
}

int End::take_send_error() {
    if (error_ != 0) return -std::exchange(error_, 0);
    return write_shut_ || dead_ || broken_ || !established_ ? -EPIPE : 0;
}

size_t End::room() const {
    const Way& way = out();
    return way.bytes_.size() < way.window_ ? way.window_ - way.bytes_.size() : 0;
}

void End::send(std::span<const uint8_t> bytes) {
    Way& way = out();
    base::check(established_ && !has_send_error() && bytes.size() <= room());
    way.bytes_.write(bytes);
    connection_.deliver(way);
}

bool End::is_flushed() const {
    return out().in_flight() == 0;
}

int64_t End::acknowledged() const {
    return connection_.is_unix_ ? -1 : out().acknowledged_;
}

bool End::is_broken() const {
    return !connection_.is_unix_ && established_ && is_gone();
}

int End::shut_write() {
    if (!established_ || is_gone()) return -ENOTCONN;
    if (write_shut_) return 0;
    write_shut_ = true;
    out().fin_sent_ = true;
    connection_.deliver(out());
    on_change();
    return 0;
}

void End::shut_read() {
    read_shut_ = true;
    on_change();
}

// ---- Ending

bool End::is_gone() const {
    if (connection_.is_unix_) return !established_;
    return !established_ || dead_ || (in().fin_arrived_ && out().fin_arrived_);
}

void End::release(bool with_reset) {
    if (released_) return;
    released_ = true;
    file_ = nullptr;
    if (connection_.is_unix_ && established_) {
        End& far = other();
        if (readable() > 0) far.error_ = ECONNRESET;
        far.broken_ = true;
        in().bytes_.truncate(0);
        in().arrived_ = 0;
        out().fin_sent_ = out().fin_arrived_ = true;
        dead_ = true;
        far.on_change();
    } else if (established_ && !dead_) {
        if (with_reset || (readable() > 0 && !is_gone())) {
            send_reset();
        } else {
            (void)shut_write();  // it may be shut already
        }
    }
    if (connection_.machine() != nullptr) connection_.machine()->on_released(connection_);
}

void End::reset() {
    if (!established_ || dead_ || connection_.is_unix_) return release(false);
    send_reset();
    release(false);
}

void End::send_reset() {
    Way& way = out();
    if (way.rst_sent_) return;
    if (is_traced()) trace("{} sends RST", name());
    // What was not sent yet never will be; of what is on its way some may come first.
    Machine* machine = connection_.machine();
    const size_t rest = machine == nullptr ? 0 : machine->dice().below(way.in_flight() + 1);
    const bool all = rest == way.in_flight();
    way.bytes_.truncate(way.arrived_ + rest);
    if (!way.fin_arrived_ && !all) way.fin_sent_ = false;
    way.rst_sent_ = true;
    dead_ = true;
    was_reset_ = true;
    if (machine != nullptr) ++machine->counts().resets;
    connection_.deliver(way);
    if (is_peer_ || released_) purge();
}

void End::purge() {
    in().bytes_.truncate(0);
    in().arrived_ = 0;
}

std::string End::name() const {
    const net::Address& own =
        this == &connection_.client ? connection_.client_address : connection_.server_address;
    return fmt::format("{}{} of {}", is_peer_ ? "peer " : "front ", own.text(),
                       connection_.client_address.text());
}

void End::die(int error) {
    if (dead_) return;
    if (is_traced()) trace("{} dies: {}", name(), error);
    // After the peer's FIN there is nobody to receive the error from (tcp_reset(), CLOSE_WAIT).
    error_ = error == ECONNRESET && in().fin_arrived_ && !write_shut_ ? EPIPE : error;
    dead_ = true;
    was_reset_ = true;
    out().bytes_.truncate(out().arrived_);
    out().fin_sent_ = out().fin_arrived_;
    if (is_peer_ || released_) purge();
    on_change();
}

void End::on_change() {
    if (file_ != nullptr && connection_.machine() != nullptr) {
        connection_.machine()->on_change(*file_);
    }
}

// ---- The connection

Connection::Connection(Machine& machine, const net::Address& from, const net::Address& to)
    : client(*this),
      server(*this),
      client_address(from),
      server_address(to),
      handshake(*this),
      machine_(&machine),
      is_unix_(to.is_unix()),
      to_server_(client, server),
      to_client_(server, client) {
    to_server_.window_ = machine.draw_window();
    to_client_.window_ = machine.draw_window();
}

Connection::~Connection() {
    forget_machine();
}

void Connection::forget_machine() {
    if (machine_ == nullptr) return;
    machine_->schedule().remove(to_server_);
    machine_->schedule().remove(to_client_);
    machine_->schedule().remove(handshake);
    machine_ = nullptr;
    client.file_ = server.file_ = nullptr;
    client.dead_ = server.dead_ = true;
}

void Connection::establish() {
    stage = Stage::Established;
    client.established_ = server.established_ = true;
}

void Connection::fail(int error) {
    stage = Stage::Failed;
    connect_error = error;
    client.dead_ = true;
    client.on_change();
}

bool Connection::is_over() const {
    if (!client.released_ || !server.released_) return false;
    return !to_server_.has_news() && !to_client_.has_news();
}

void Connection::deliver(Way& way) {
    if (machine_ == nullptr) return;
    if (!is_unix_) {
        if (way.has_news()) machine_->schedule().add(way);
        return;
    }
    const bool news = way.has_news();
    way.arrived_ = way.bytes_.size();
    way.fin_arrived_ = way.fin_sent_;
    if (news) way.to_.on_change();
}

void Connection::move(Way& way) {
    End& to = way.to_;
    if (way.in_flight() > 0) {
        if (to.dead_ || to.released_ || to.read_shut_) {
            // Nobody will read it. To itself, that end is reset as well (tcp_rcv_state_process()).
            way.bytes_.truncate(way.arrived_);
            way.fin_sent_ = false;
            const bool was_alive = !to.dead_;
            to.send_reset();
            if (was_alive && !to.released_) {
                to.dead_ = false;
                to.die(ECONNRESET);
            }
        } else {
            const size_t size = machine_->cut(way.in_flight());
            way.arrived_ += size;
            way.acknowledged_ += static_cast<int64_t>(size);
            machine_->counts().bytes += size;
            to.on_change();
        }
    } else if (way.fin_is_due()) {
        way.fin_arrived_ = true;
        if (is_traced()) trace("FIN arrives at {}", to.name());
        to.on_change();
    } else if (way.rst_is_due()) {
        deliver_reset(way);
    }
    if (way.has_news()) machine_->schedule().add(way);
    machine_->forget_if_over(*this);
}

void Connection::deliver_reset(Way& way) {
    way.rst_arrived_ = true;
    End& to = way.to_;
    to.die(ECONNRESET);
}

}  // namespace sim::front
