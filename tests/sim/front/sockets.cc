// net/kernel.h on the simulated kernel.
#include "net/kernel.h"

#include <cerrno>

#include "machine.h"
#include "trace.h"

namespace net::kernel {

namespace {

using sim::front::Connection;
using sim::front::End;
using sim::front::File;
using sim::front::Machine;

Machine& machine() {
    return sim::front::Kernel::current().machine();
}

}  // namespace

uint64_t monotonic_ms() {
    return machine().now_ms();
}

int open_socket(int family) {
    return machine().open_socket(family);
}

int family_of(int fd) {
    return machine().file(fd, "getsockopt")->family;
}

bool is_listening(int fd) {
    return machine().file(fd, "getsockopt")->kind == File::Kind::Listener;
}

Address peer_of(int fd) {
    const End* end = machine().file(fd, "getpeername")->end;
    if (end == nullptr || end->is_gone()) return {};
    const Connection& connection = end->connection();
    return end == &connection.client ? connection.server_address : connection.client_address;
}

Address local_of(int fd) {
    const File& file = *machine().file(fd, "getsockname");
    if (file.end == nullptr) return file.address;
    const Connection& connection = file.end->connection();
    return file.end == &connection.client ? connection.client_address : connection.server_address;
}

int64_t acknowledged(int fd) {
    const End* end = machine().file(fd, "getsockopt")->end;
    return end == nullptr ? -1 : end->acknowledged();
}

bool is_broken(int fd) {
    const End* end = machine().file(fd, "poll")->end;
    return end != nullptr && end->is_broken();
}

void shut_write(int fd) {
    sim::front::trace("shut_write {}", fd);
    End* end = machine().file(fd, "shutdown")->end;
    if (end != nullptr) (void)end->shut_write();  // the receive tells as well
}

void shut_both(int fd) {
    sim::front::trace("shut_both {}", fd);
    End* end = machine().file(fd, "shutdown")->end;
    if (end == nullptr) return;
    if (!end->is_established()) {
        Connection& connection = end->connection();
        if (connection.stage != Connection::Stage::Failed) connection.fail(ECONNRESET);
        return;
    }
    if (end->shut_write() == 0) end->shut_read();
}

void reset_at_close(int fd) {
    sim::front::trace("reset_at_close {}", fd);
    machine().file(fd, "setsockopt")->reset_at_close = true;
}

void close(int fd) {
    machine().close(fd, "close");
}

int open_event() {
    return machine().open_event();
}

void signal_event(int fd) {
    machine().signal_event(fd);
}

void clear_event(int fd) {
    machine().clear_event(fd);
}

}  // namespace net::kernel
