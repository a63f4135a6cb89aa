#include "net_world.h"

#include <algorithm>
#include <cstring>

#include "machine.h"
#include "trace.h"

namespace sim::front {

namespace {

constexpr size_t bytes_at_once = 100'000;
constexpr size_t kinds = net::buffer_kinds;

uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

net::Address address(std::string_view text) {
    return net::Address::parse(text).value();
}

void must(bool condition, const std::string& rule, uint64_t id) {
    if (!condition) fail(fmt::format("conversation {}: {}", id, rule));
}

/// Nobody answers there, or a RST says that nobody listens.
const net::Address nowhere = address("10.9.9.9:80");
const net::Address nobody = address("10.8.8.8:80");

net::LoopOptions draw_options(Dice& dice) {
    net::LoopOptions options;
    options.sq_entries = dice.chance(300) ? 4 : 64;
    options.cq_entries = dice.chance(300) ? 16 : 256;
    options.small_buffers = dice.chance(300) ? 4 : 32;
    options.large_buffers = dice.chance(300) ? 4 : 16;
    options.bulk_buffers = 4;
    options.connections_max = dice.chance(300) ? 5 : 1000;
    options.chunks_max = 4096;
    options.chunks_idle_max = dice.below(32);
    return options;
}

}  // namespace

void fill_sequence(uint64_t id, bool of_front, uint64_t offset, std::span<uint8_t> out) {
    for (size_t i = 0; i < out.size();) {
        const uint64_t at = offset + i;
        const uint64_t word = at < 8 ? id : mixed(id * 2 + (of_front ? 1 : 0) + (at / 8 << 32));
        const size_t from = at % 8;
        const size_t size = std::min(8 - from, out.size() - i);
        std::memcpy(out.data() + i, reinterpret_cast<const uint8_t*>(&word) + from, size);
        i += size;
    }
}

// ---- The front's side of a conversation

/// No handler is entered while another one of the stream is on the stack.
class FrontActor::Entered {
  public:
    explicit Entered(FrontActor& actor) : actor_(actor) {
        base::check(!actor.inside_);
        base::check(!actor.closed_);
        actor.inside_ = true;
    }
    ~Entered() { actor_.inside_ = false; }
    Entered(const Entered&) = delete;
    Entered& operator=(const Entered&) = delete;

  private:
    FrontActor& actor_;
};

FrontActor::FrontActor(NetWorld& world, Conversation* conversation)
    : world_(world), conversation_(conversation) {
    if (conversation_ != nullptr) conversation_->seen_by_front = true;
}

void FrontActor::start(net::Stream& stream, bool connected) {
    stream_ = &stream;
    connected_ = connected;
}

void FrontActor::on_connected() noexcept {
    const Entered entered(*this);
    base::check(!connected_);
    connected_ = true;
    act_inside();
}

void FrontActor::on_data(std::span<uint8_t> bytes) noexcept {
    const Entered entered(*this);
    base::check(!bytes.empty());
    base::check(!stream_->paused());
    base::check(!left_ && !finishing_ && !ended_);
    world_.note(bytes.size());
    if (conversation_ == nullptr) {
        recognise(bytes);
        return act_inside();
    }
    Conversation& c = *conversation_;
    std::vector<uint8_t> expected(bytes.size());
    fill_sequence(c.id, false, c.front_received, expected);
    must(std::ranges::equal(expected, bytes), "the front received other bytes than its peer sent",
         c.id);
    std::memset(bytes.data(), 0xee, bytes.size());  // stream.h says that we may
    c.front_received += bytes.size();
    must(c.front_received <= c.peer_sent, "the front received more than its peer sent", c.id);
    act_inside();
}

void FrontActor::recognise(std::span<const uint8_t> bytes) {
    const size_t size = std::min(bytes.size(), head_.size() - head_bytes_);
    std::copy_n(bytes.data(), size, head_.data() + head_bytes_);
    head_bytes_ += size;
    if (head_bytes_ < head_.size()) return;
    uint64_t id = 0;
    std::memcpy(&id, head_.data(), sizeof id);
    conversation_ = world_.find(id);
    if (conversation_ == nullptr) fail("the front received the head of no conversation");
    must(!conversation_->seen_by_front, "two streams have the same peer", id);
    conversation_->seen_by_front = true;
    conversation_->front_ends_well = shut_;
    // Nothing of it was counted while it was unknown.
    const size_t rest = bytes.size() - size;
    std::vector<uint8_t> expected(rest);
    fill_sequence(id, false, head_.size(), expected);
    must(std::ranges::equal(expected, bytes.subspan(size)),
         "the front received other bytes than its peer sent", id);
    conversation_->front_received = head_.size() + rest;
}

void FrontActor::on_end() noexcept {
    const Entered entered(*this);
    base::check(!stream_->paused());
    base::check(!left_ && !finishing_ && !ended_);
    ended_ = true;
    trace("on_end {}", stream_->local().text() + " " + stream_->peer().text());
    world_.note(1);
    if (conversation_ != nullptr) {
        Conversation& c = *conversation_;
        must(c.peer_shut || !c.peer, "the front saw a FIN that was not sent", c.id);
        must(c.front_received == c.peer_sent, "a FIN came before all bytes", c.id);
    }
    act_inside();
    if (world_.dice().chance(300)) end();
}

void FrontActor::on_writable() noexcept {
    const Entered entered(*this);
    base::check(!left_);
    base::check(stream_->can_send());
    act_inside();
}

void FrontActor::on_closed(base::Error error) noexcept {
    const Entered entered(*this);
    world_.note(2 + static_cast<uint64_t>(error.code));
    if (conversation_ != nullptr && (error.domain != base::ErrorDomain::None || left_))
        conversation_->front_cut = true;
    stream_ = nullptr;
    closed_ = true;
}

void FrontActor::act() {
    if (closed_ || left_) return;
    inside_ = true;  // nothing may call us back from inside our calls
    act_inside();
    inside_ = false;
}

void FrontActor::send_some() {
    Conversation* c = conversation_;
    if (c == nullptr || shut_ || finishing_) return;
    Dice& dice = world_.dice();
    for (uint64_t n = 1 + dice.below(4); n > 0 && stream_->can_send(); --n) {
        const uint64_t left = c->front_wants - c->front_sent;
        if (left == 0) return;
        net::Chunk chunk = world_.loop().chunks().take();
        if (!chunk) return;
        const size_t size = dice.some_of(std::min<uint64_t>(left, net::chunk_bytes));
        fill_sequence(c->id, true, c->front_sent, chunk.room().first(size));
        chunk.filled(size);
        stream_->send(std::move(chunk));
        c->front_sent += size;
    }
}

void FrontActor::end() {
    if (left_ || finishing_) return;
    Dice& dice = world_.dice();
    const uint64_t how = dice.below(10);
    trace("end {} by {}", stream_->local().text() + " " + stream_->peer().text(), how);
    if (how < 7) {
        finishing_ = true;
        if (conversation_ != nullptr) conversation_->front_ends_well = true;
        stream_->finish();
        return;
    }
    left_ = true;
    if (conversation_ != nullptr) conversation_->front_cut = true;
    if (how < 9) {
        stream_->close();
        return;
    }
    if (conversation_ != nullptr && !shut_ && connected_) conversation_->front_aborted = true;
    stream_->abort();
}

void FrontActor::act_inside() {
    if (left_) return;
    Dice& dice = world_.dice();
    send_some();
    const Conversation* c = conversation_;
    if (dice.chance(100)) stream_->set_buffers(static_cast<net::BufferKind>(dice.below(kinds)));
    if (dice.chance(100)) stream_->pause();
    if (dice.chance(200) || hurries_) stream_->resume();
    const bool all_sent = c != nullptr && c->front_sent == c->front_wants;
    if (!shut_ && !finishing_ && (all_sent ? dice.chance(100) : dice.chance(2))) {
        shut_ = true;
        trace("shut {}", stream_->local().text());
        if (conversation_ != nullptr) conversation_->front_ends_well = true;
        stream_->shutdown_write();
    }
    if (dice.chance(ended_ && all_sent ? 300 : 4)) end();
    if (left_ && dice.chance(100)) stream_->abort();  // also after close()
}

void FrontActor::end_soon() {
    if (closed_) return;
    hurries_ = true;
    inside_ = true;
    if (!left_) act_inside();
    if (!left_ &&
        (conversation_ == nullptr || conversation_->front_sent == conversation_->front_wants ||
         shut_ || !stream_->can_send())) {
        if (conversation_ == nullptr || stream_->queued() == 0) end();
    }
    inside_ = false;
}

// ---- The world

NetWorld::NetWorld(uint64_t seed)
    : dice_(seed),
      kernel_{dice_.fork(), KernelFaults::some(dice_)},
      scratch_(bytes_at_once),
      expected_(bytes_at_once) {
    set_failure_note(fmt::format("MDFRONT_SIM_SEED={}", seed));
    loop_ = net::EventLoop::create(draw_options(dice_)).value();
    doors_ = {address("127.0.0.1:443"), address("[::1]:443"), address("unix:/run/front")};
    for (const net::Address& door : doors_) {
        base::check(loop_->add_listener(kernel_.listen(door), *this).ok());
    }
    servers_ = {address("10.0.0.1:80"), address("[fd00::1]:80"), address("unix:/run/httpd")};
    for (const net::Address& server : servers_) {
        kernel_.serve(server, [this](PeerPtr peer) {
            strangers_.push_back({std::move(peer), {}, 0});
        });
    }
    kernel_.set_reach(nowhere, Kernel::Reach::BlackHole);
}

NetWorld::~NetWorld() {
    actors_.clear();
    conversations_.clear();
    strangers_.clear();
    loop_.reset();
    set_failure_note({});
}

Conversation& NetWorld::start_conversation(bool dialled_by_front) {
    auto conversation = std::make_unique<Conversation>();
    Conversation& c = *conversation;
    c.id = mixed(dice_.next());
    c.dialled_by_front = dialled_by_front;
    const size_t most = dice_.chance(100) ? 300'000 : dice_.chance(500) ? 20'000 : 200;
    c.peer_wants = 8 + dice_.below(most);
    c.front_wants = 8 + dice_.below(most);
    conversations_.push_back(std::move(conversation));
    return c;
}

Conversation* NetWorld::find(uint64_t id) {
    for (const auto& one : conversations_) {
        if (one->id == id) return one.get();
    }
    return nullptr;
}

void NetWorld::on_accept(net::Stream& stream) noexcept {
    if (dice_.chance(20)) return stream.close();
    Conversation* conversation = nullptr;
    if (const net::Address peer = stream.peer(); peer.port() != 0 && dice_.chance(500)) {
        for (const auto& one : conversations_) {
            if (one->peer && one->peer->own() == peer) conversation = one.get();
        }
        must(conversation != nullptr, "a stranger was accepted", 0);
    }
    actors_.push_back(std::make_unique<FrontActor>(*this, conversation));
    actors_.back()->start(stream, true);
    stream.set_handler(*actors_.back());
    if (dice_.chance(100)) actors_.back()->act();
}

void NetWorld::dial_front() {
    Conversation& c = start_conversation(false);
    const net::Address& door = doors_[dice_.below(doors_.size())];
    net::Address from;
    if (!door.is_unix()) {
        from = address(door.family() == AF_INET6 ? "[fd00::99]:1" : "192.0.2.99:1");
        from.set_port(next_port_++);
    }
    c.peer = kernel_.connect(from, door);
}

void NetWorld::dial_server() {
    const bool reachable = !dice_.chance(100);
    const net::Address to = reachable           ? servers_[dice_.below(servers_.size())]
                            : dice_.chance(500) ? nowhere
                                                : nobody;
    Conversation& c = start_conversation(true);
    auto actor = std::make_unique<FrontActor>(*this, &c);
    const auto mode = dice_.chance(700) ? net::ReceiveMode::OneShot : net::ReceiveMode::Multishot;
    auto stream = loop_->connect(to, 100 + dice_.below(5000), *actor, mode,
                                 static_cast<net::BufferKind>(dice_.below(kinds)));
    if (!stream) return;
    actor->start(**stream, false);
    actors_.push_back(std::move(actor));
    if (dice_.chance(300)) actors_.back()->act();
}

// ---- Peers

void NetWorld::peer_sends(Conversation& c, size_t most) {
    const size_t left = c.peer_wants - c.peer_sent;
    if (c.peer_shut || c.peer_ends || left == 0 || !c.peer->can_send()) return;
    const auto bytes = std::span(scratch_).first(std::min({left, most, c.peer->room()}));
    fill_sequence(c.id, false, c.peer_sent, bytes);
    c.peer_sent += c.peer->send(bytes);
}

void NetWorld::peer_receives(Conversation& c, size_t most) {
    if (c.peer_ends) return;
    const auto bytes = std::span(scratch_).first(c.peer->receive(std::span(scratch_).first(most)));
    const auto expected = std::span(expected_).first(bytes.size());
    fill_sequence(c.id, true, c.peer_received, expected);
    must(std::equal(bytes.begin(), bytes.end(), expected.begin()),
         "the peer received other bytes than the front sent", c.id);
    c.peer_received += bytes.size();
    totals_.bytes += bytes.size();
    must(c.peer_received <= c.front_sent, "the peer received more than the front sent", c.id);
    if (c.peer->at_end() && !c.peer->is_reset()) {
        must(c.front_ends_well || c.front_cut || !c.seen_by_front,
             "the peer saw a FIN that was not sent", c.id);
        // Unix sockets have no RST: there the front can only hope.
        if (c.peer->front_end().is_unix()) return;
        must(!c.front_aborted, "an abort looks like an end", c.id);
        if (c.front_ends_well && !c.front_cut) {
            must(c.peer_received == c.front_sent, "a FIN came before all bytes", c.id);
        }
    }
}

void NetWorld::let_peer_act(Conversation& c) {
    if (!c.peer || c.peer_ends || !c.peer->is_connected()) return;
    switch (dice_.below(20)) {
        default:
            peer_sends(c, dice_.some_of(40'000));
            return;
        case 0:
            if (!dice_.chance(50)) return;
            c.peer_ends = c.peer_shut = true;
            c.peer->close();
            return;
        case 1:
            if (!dice_.chance(50)) return;
            c.peer_ends = true;
            c.peer_shut = c.peer_shut || c.peer->front_end().is_unix();  // which has no RST
            c.peer->reset();
            return;
        case 2:
            if (c.peer_sent < c.peer_wants && !dice_.chance(20)) return;
            c.peer_shut = true;
            c.peer->shut_write();
            return;
        case 3:
        case 4:
        case 5:
        case 6:
        case 7:
        case 8:
            peer_receives(c, dice_.some_of(40'000));
            return;
    }
}

void NetWorld::let_stranger_act(size_t index) {
    Stranger& stranger = strangers_[index];
    const auto room = std::span(stranger.head).subspan(stranger.size);
    stranger.size += stranger.peer->receive(room.first(std::min(room.size(), dice_.some_of(8))));
    const bool known = stranger.size == stranger.head.size();
    if (!known && !stranger.peer->at_end() && !stranger.peer->is_reset()) return;
    if (known) {
        uint64_t id = 0;
        std::memcpy(&id, stranger.head.data(), sizeof id);
        Conversation* c = find(id);
        must(c != nullptr && c->dialled_by_front && !c->peer, "a server met somebody else", id);
        c->peer = stranger.peer;
        c->peer_received = stranger.size;
    }
    strangers_.erase(strangers_.begin() + static_cast<ptrdiff_t>(index));
}

// ---- Time

void NetWorld::turn() {
    ++totals_.turns;
    const auto before = loop_->counters().accepted;
    loop_->turn(1 + dice_.below(1000));
    note(loop_->counters().accepted - before + kernel_.counts().completions);
}

void NetWorld::post_letter() {
    const uint64_t number = letters_sent_++;
    loop_->mailbox().post([this, number] {
        must(letters_read_ == number, "letters came out of order", number);
        ++letters_read_;
    });
}

void NetWorld::do_something() {
    switch (dice_.below(16)) {
        default:
            for (uint64_t n = dice_.below(8); n > 0; --n) (void)kernel_.step();  // or nothing
            return;
        case 0:
        case 1:
        case 2:
            if (kernel_.front_is_runnable()) turn();
            return;
        case 3:
            if (dice_.chance(50)) turn();
            return;
        case 4:
            if (listening_ && conversations_.size() < conversations_max_) dial_front();
            return;
        case 5:
            if (conversations_.size() < conversations_max_) dial_server();
            return;
        case 6:
        case 7:
        case 8:
            if (!conversations_.empty()) {
                let_peer_act(*conversations_[dice_.below(conversations_.size())]);
            }
            return;
        case 9:
            if (!strangers_.empty()) let_stranger_act(dice_.below(strangers_.size()));
            return;
        case 10:
            if (!actors_.empty()) actors_[dice_.below(actors_.size())]->act();
            return;
        case 11:
            kernel_.advance(dice_.below(20));
            return;
        case 12:
            if (dice_.chance(100)) post_letter();
            if (kernel_.is_quiet() && !kernel_.front_is_runnable()) {
                kernel_.advance(kernel_.wake_at_ms() - kernel_.now_ms());
            }
            return;
    }
}

void NetWorld::run_for_a_while() {
    conversations_max_ = 2 + dice_.some_of(60);
    const uint64_t steps = 500 + dice_.below(6000);
    for (uint64_t i = 0; i < steps; ++i) do_something();
}

// ---- The end

bool NetWorld::is_over() const {
    return loop_->streams() == 0 && strangers_.empty() && letters_read_ == letters_sent_ &&
           kernel_.is_quiet() && !kernel_.front_is_runnable();
}

void NetWorld::come_to_rest() {
    kernel_.fair();
    // A minute and a half of simulated time covers the longest wait of a stream, which is 30 s.
    const uint64_t deadline = kernel_.now_ms() + 90'000;
    while (!is_over()) {
        if (kernel_.now_ms() > deadline) fail(still_open());
        (void)kernel_.step();  // or nothing
        if (kernel_.front_is_runnable()) turn();
        while (!strangers_.empty() && strangers_.front().peer->has_data()) let_stranger_act(0);
        for (size_t i = strangers_.size(); i > 0; --i) {
            Stranger& stranger = strangers_[i - 1];
            if (stranger.peer->at_end() || stranger.peer->is_reset()) let_stranger_act(i - 1);
        }
        for (const auto& one : conversations_) {
            Conversation& c = *one;
            if (!c.peer || !c.peer->is_connected() || c.peer_ends) continue;
            peer_receives(c, bytes_at_once);
            peer_sends(c, bytes_at_once);
            if (!c.peer_shut && c.peer_sent == c.peer_wants) {
                c.peer_shut = true;
                c.peer->shut_write();
            }
        }
        for (const auto& actor : actors_) actor->end_soon();
        if (!is_over() && kernel_.is_quiet() && !kernel_.front_is_runnable()) {
            kernel_.advance(std::min<uint64_t>(kernel_.wake_at_ms() - kernel_.now_ms(), 1000));
        }
    }
}

std::string NetWorld::still_open() const {
    return fmt::format("after 90 s there are {} streams, {} strangers, {} of {} letters, {}",
                       loop_->streams(), strangers_.size(), letters_read_, letters_sent_,
                       kernel_.is_quiet() ? "all is quiet" : "something moves");
}

void NetWorld::check_ends() {
    for (const auto& actor : actors_) must(actor->is_closed(), "no on_closed() came", 0);
    for (const auto& one : conversations_) {
        Conversation& c = *one;
        if (!c.peer || c.peer_ends || !c.seen_by_front) continue;
        while (c.peer->has_data()) peer_receives(c, bytes_at_once);
        peer_receives(c, 1);  // what the end is worth
        must(c.peer->is_reset() || c.peer->at_end(), "the peer heard of no end", c.id);
        if (c.front_aborted && !c.peer_shut && !c.peer->front_end().is_unix()) {
            must(c.peer->is_reset(), "an abort sent no RST", c.id);
        }
    }
    const size_t doors = listening_ ? doors_.size() : 0;
    constexpr size_t mailboxes = 1;
    must(loop_->chunks().in_use() == 0, "a chunk is left", loop_->chunks().in_use());
    must(kernel_.buffers_held() == 0, "a buffer is left", kernel_.buffers_held());
    must(kernel_.open_descriptors() == doors + mailboxes, "a descriptor is left",
         kernel_.open_descriptors());
    const size_t accepts = kernel_.accepts_in_flight();
    must(doors == 0 ? accepts == 0 : accepts >= doors, "accepting is not as it should be", accepts);
    must(kernel_.operations_in_flight() == accepts + mailboxes, "an operation is left",
         kernel_.operations_in_flight());
}

void NetWorld::end_loop() {
    totals_.streams = loop_->counters().accepted + loop_->counters().connected;
    totals_.letters = letters_read_;
    totals_.loop = loop_->counters();
    // The last entries of a ring are submitted once: what is not taken then ends with the process.
    kernel_.machine().faults.short_submits = 0;
    loop_.reset();
    totals_.kernel = kernel_.counts();
    must(kernel_.operations_in_flight() == 0, "an operation outlived its loop", 0);
    must(kernel_.descriptors_lost() == 0, "a descriptor was lost with its loop", 0);
    must(kernel_.open_descriptors() == 0, "a descriptor outlived its loop",
         kernel_.open_descriptors());
}

void NetWorld::live() {
    run_for_a_while();
    if (dice_.chance(200)) {
        listening_ = false;
        loop_->close_listeners();
    }
    come_to_rest();
    check_ends();
    end_loop();
}

void NetWorld::live_and_stop() {
    run_for_a_while();
    end_loop();
}

}  // namespace sim::front
