#include "machine.h"

#include <netinet/in.h>

#include <cerrno>

#include "sim_ring.h"

namespace sim::front {

namespace {

/// Where a connect goes through, and a server that serves everything of its port.
bool covers(const net::Address& listening, const net::Address& asked) {
    if (listening == asked) return true;
    if (listening.is_unix() || asked.is_unix() || listening.port() != asked.port()) return false;
    const auto ip = listening.ip();
    if (!ip) return false;
    const std::string host = listening.host_text();
    return host == "0.0.0.0" || host == "::";
}

/// How long Linux tries with tcp_syn_retries = 6.
constexpr uint64_t connect_timeout_ms = 127'000;

}  // namespace

File::~File() {
    if (kind == Kind::Listener) machine.on_listener_closed(*this);
    if (end != nullptr) end->release(reset_at_close);
}

Machine::Machine(Dice dice, const KernelFaults& faults_of) : faults(faults_of), dice_(dice) {}

Machine::~Machine() {
    base::check(rings.empty());
    ending_ = true;
    for (const auto& connection : connections_) connection->forget_machine();
    files_.clear();
}

// ---- Moving

bool Machine::step() {
    ++counts_.steps;
    if (fair_) {
        // Everything that could move now; what becomes able to by that moves in the next step.
        schedule_.end_stall();
        const size_t count = schedule_.ready();
        for (size_t i = 0; i < count; ++i) {
            if (Movable* movable = schedule_.take(dice_)) run(*movable);
        }
        return count > 0;
    }
    if (chance(faults.spurious_wakes)) spurious_wake = true;
    Movable* movable = schedule_.take(dice_);
    if (movable == nullptr) return false;
    if (chance(faults.late)) {
        schedule_.stall(*movable, 1 + dice_.below(faults.late_steps_max));
    } else {
        run(*movable);
    }
    return true;
}

void Machine::run(Movable& movable) {
    switch (movable.kind()) {
        case Movable::Kind::Way:
            return move(static_cast<Way&>(movable));
        case Movable::Kind::Handshake:
            return shake_hands(static_cast<Connection::Handshake&>(movable).connection);
        case Movable::Kind::Operation:
            return SimRing::run(static_cast<Operation&>(movable));
    }
}

void Machine::move(Way& way) {
    Connection& connection = way.connection();
    const auto held = connection.shared_from_this();  // it may end in this
    if (chance(faults.resets)) {
        ++counts_.resets;
        connection.client.die(ECONNRESET);
        connection.server.die(ECONNRESET);
    } else if (chance(faults.timeouts)) {
        connection.client.die(ETIMEDOUT);
        connection.server.die(ETIMEDOUT);
    }
    connection.move(way);
}

size_t Machine::cut(size_t most) {
    return chance(faults.cuts) ? dice_.some_of(most) : most;
}

size_t Machine::draw_window() {
    const size_t range = faults.window_max - faults.window_min;
    return range == 0 ? faults.window_min : faults.window_min + dice_.some_of(range);
}

void Machine::advance(uint64_t ms) {
    now_ms_ += ms;
    for (const auto& connection : connections_) {
        if (connection->stage == Connection::Stage::Silent && now_ms_ >= connection->gives_up_ms) {
            connection->fail(ETIMEDOUT);
        }
    }
}

void Machine::fair() {
    fair_ = true;
    schedule_.end_stall();
}

void Machine::on_change(File& file) {
    for (Operation* operation : file.operations) SimRing::consider(*operation);
}

// ---- Descriptors

int Machine::add(FilePtr file) {
    if (!can_open()) return -EMFILE;
    if (free_.empty()) {
        free_.push_back(static_cast<int>(files_.size()));
        files_.emplace_back();
    }
    const int slot = free_.back();
    free_.pop_back();
    files_[static_cast<size_t>(slot)] = std::move(file);
    ++open_;
    return first_descriptor + slot;
}

const FilePtr& Machine::file(int fd, const char* what) {
    const auto slot = static_cast<size_t>(fd - first_descriptor);
    if (fd < first_descriptor || slot >= files_.size() || !files_[slot]) {
        fail(fmt::format("{} on descriptor {}, which is not open", what, fd));
    }
    return files_[slot];
}

void Machine::close(int fd, const char* what) {
    (void)file(fd, what);
    const auto slot = static_cast<size_t>(fd - first_descriptor);
    --open_;
    free_.push_back(static_cast<int>(slot));
    const FilePtr last = std::move(files_[slot]);  // what its end does comes after
}

// ---- Listening and connecting

int Machine::listen(const net::Address& address) {
    auto file = std::make_shared<File>(*this, File::Kind::Listener, address.family());
    file->address = address;
    listeners_.push_back(file.get());
    return add(std::move(file));
}

void Machine::on_listener_closed(File& listener) {
    if (ending_) return;
    std::erase(listeners_, &listener);
    for (const auto& connection : std::exchange(listener.backlog, {})) connection->server.reset();
    for (const auto& connection : std::exchange(listener.waiting, {})) {
        connection->stage = Connection::Stage::Dialling;
        schedule_.add(connection->handshake);
    }
}

void Machine::serve(const net::Address& address, std::function<void(PeerPtr)> on_accept) {
    if (Server* server = server_at(address)) {
        server->on_accept = std::move(on_accept);
    } else {
        servers_.push_back({address, std::move(on_accept)});
    }
}

Machine::Server* Machine::server_at(const net::Address& address) {
    for (Server& server : servers_) {
        if (server.address == address) return &server;
    }
    return nullptr;
}

void Machine::set_reach(const net::Address& address, Kernel::Reach reach) {
    for (Reachability& one : reach_) {
        if (one.address == address) {
            one.reach = reach;
            return;
        }
    }
    reach_.push_back({address, reach});
}

Kernel::Reach Machine::reach_of(const net::Address& address) const {
    for (const Reachability& one : reach_) {
        if (one.address == address) return one.reach;
    }
    return Kernel::Reach::Accepts;
}

std::shared_ptr<Connection> Machine::connection_between(const net::Address& from,
                                                        const net::Address& to) {
    auto connection = std::make_shared<Connection>(*this, from, to);
    connection->place = static_cast<uint32_t>(connections_.size());
    connections_.push_back(connection);
    return connection;
}

net::Address Machine::own_address(const net::Address& towards) {
    if (towards.is_unix()) {
        sockaddr_un unnamed{};
        unnamed.sun_family = AF_UNIX;
        return net::Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&unnamed),
                                           sizeof unnamed.sun_family);
    }
    const char* host = towards.family() == AF_INET6 ? "[::1]:1" : "127.0.0.1:1";
    net::Address own = net::Address::parse(host).value();
    own.set_port(next_port_);
    next_port_ = next_port_ == 60999 ? uint16_t{32768} : static_cast<uint16_t>(next_port_ + 1);
    return own;
}

PeerPtr Machine::dial(const net::Address& from, const net::Address& to) {
    auto connection = connection_between(from, to);
    connection->mark_peer(connection->client);
    connection->stage = Connection::Stage::Dialling;
    schedule_.add(connection->handshake);
    return std::make_shared<Peer>(connection, connection->client);
}

std::pair<int, PeerPtr> Machine::pair(const net::Address& front, const net::Address& peer) {
    auto connection = connection_between(peer, front);
    connection->mark_peer(connection->client);
    connection->establish();
    auto file = std::make_shared<File>(*this, File::Kind::Socket, front.family());
    file->connection = connection;
    file->end = &connection->server;
    connection->attach(connection->server, file.get());
    return {add(std::move(file)), std::make_shared<Peer>(connection, connection->client)};
}

int Machine::start_connect(const FilePtr& file, const net::Address& to) {
    if (file->kind != File::Kind::Socket) return -EOPNOTSUPP;
    if (file->connection) {
        return file->connection->stage == Connection::Stage::Established ? -EISCONN : -EALREADY;
    }
    if (to.is_unix() && server_at(to) == nullptr) return -ENOENT;
    auto connection = connection_between(own_address(to), to);
    file->connection = connection;
    file->end = &connection->client;
    connection->attach(connection->client, file.get());
    connection->stage = Connection::Stage::Dialling;
    schedule_.add(connection->handshake);
    return 0;
}

void Machine::shake_hands(Connection& connection) {
    const auto held = connection.shared_from_this();
    switch (reach_of(connection.server_address)) {
        case Kernel::Reach::Refuses:
            return connection.fail(ECONNREFUSED);
        case Kernel::Reach::Unreachable:
            return connection.fail(EHOSTUNREACH);
        case Kernel::Reach::BlackHole:
            connection.stage = Connection::Stage::Silent;
            connection.gives_up_ms = now_ms_ + connect_timeout_ms;
            return;
        case Kernel::Reach::Accepts:
            break;
    }
    Server* server = server_at(connection.server_address);
    if (server == nullptr) {
        if (!knock(connection)) connection.fail(ECONNREFUSED);
        return;
    }
    connection.mark_peer(connection.server);
    connection.establish();
    connection.client.on_change();
    const auto peer = std::make_shared<Peer>(held, connection.server);
    const auto on_accept = server->on_accept;  // it may set another one
    if (on_accept) on_accept(peer);
}

bool Machine::knock(Connection& connection) {
    std::vector<File*> there;
    for (File* listener : listeners_) {
        if (covers(listener->address, connection.server_address)) there.push_back(listener);
    }
    if (there.empty()) return false;
    File& listener = *there[there.size() == 1 ? 0 : dice_.below(there.size())];
    connection.stage = Connection::Stage::Waiting;
    listener.waiting.push_back(connection.shared_from_this());
    fill_backlog(listener);
    return true;
}

void Machine::fill_backlog(File& listener) {
    while (!listener.waiting.empty() && listener.backlog.size() < faults.backlog_max) {
        std::shared_ptr<Connection> connection = std::move(listener.waiting.front());
        listener.waiting.pop_front();
        if (connection->client.is_released()) continue;  // gave up
        connection->establish();
        connection->client.on_change();
        listener.backlog.push_back(std::move(connection));
    }
    if (!listener.backlog.empty()) on_change(listener);
}

int Machine::accept(File& listener) {
    if (!can_open()) return -EMFILE;
    if (listener.backlog.empty()) return -EAGAIN;
    std::shared_ptr<Connection> connection = std::move(listener.backlog.front());
    listener.backlog.pop_front();
    auto file = std::make_shared<File>(*this, File::Kind::Socket, listener.family);
    file->end = &connection->server;
    connection->attach(connection->server, file.get());
    file->connection = std::move(connection);
    fill_backlog(listener);
    return add(std::move(file));
}

void Machine::on_released(Connection& connection) {
    if (connection.stage != Connection::Stage::Established) {
        // There is no other end yet, and there will be none.
        schedule_.remove(connection.handshake);
        connection.stage = Connection::Stage::Failed;
        connection.server.release(false);
    }
    forget_if_over(connection);
}

void Machine::forget_if_over(Connection& connection) {
    if (ending_ || !connection.is_over()) return;
    const uint32_t place = connection.place;
    if (place >= connections_.size() || connections_[place].get() != &connection) return;
    const std::shared_ptr<Connection> gone = std::move(connections_[place]);
    if (place + 1 < connections_.size()) {
        connections_[place] = std::move(connections_.back());
        connections_[place]->place = place;
    }
    connections_.pop_back();
    gone->forget_machine();
}

// ---- Events and sockets without a connection

int Machine::open_socket(int family) {
    if (chance(faults.open_errors)) {
        constexpr int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
        return -errors[dice_.below(std::size(errors))];
    }
    return add(std::make_shared<File>(*this, File::Kind::Socket, family));
}

int Machine::open_event() {
    return add(std::make_shared<File>(*this, File::Kind::Event, AF_UNSPEC));
}

void Machine::signal_event(int fd) {
    File& event = *file(fd, "write");
    if (event.kind != File::Kind::Event) fail("an event was signalled on a socket");
    ++event.count;
    for (Operation* operation : event.operations) SimRing::wake(*operation);
}

void Machine::clear_event(int fd) {
    File& event = *file(fd, "read");
    if (event.kind != File::Kind::Event) fail("an event was read from a socket");
    event.count = 0;
}

}  // namespace sim::front
