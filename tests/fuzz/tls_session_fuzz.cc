// A connection after a real handshake: the input says what a client and we do, one step after the
// other, in what pieces bytes come and how much room there is. What must hold: data arrives as it
// was sent, both ways, until somebody closes; and once a stranger put a byte in between, what
// arrives is a beginning of what was sent, and nothing more.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "fuzz/tls_world.h"

namespace tls {

namespace {

using base::check;

/// OpenSSL's client over memory.
class Client {
  public:
    explicit Client(int version) {
        static SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
        ssl_ = SSL_new(context);
        check(ssl_ != nullptr);
        SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        BIO_set_mem_eof_return(SSL_get_rbio(ssl_), -1);
        SSL_set_min_proto_version(ssl_, version);
        SSL_set_max_proto_version(ssl_, version);
        check(SSL_set_tlsext_host_name(ssl_, "a.test") == 1);
        SSL_set_connect_state(ssl_);
    }
    ~Client() {
        SSL_free(ssl_);
        ERR_clear_error();
    }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    SSL* ssl() { return ssl_; }
    bool shake_hands() {
        ERR_clear_error();
        return SSL_do_handshake(ssl_) == 1;
    }
    std::vector<uint8_t> take_output() {
        char* data = nullptr;
        const long size = BIO_get_mem_data(SSL_get_wbio(ssl_), &data);
        std::vector<uint8_t> bytes(data, data + size);
        (void)BIO_reset(SSL_get_wbio(ssl_));
        return bytes;
    }
    void put(const std::vector<uint8_t>& bytes) {
        if (!bytes.empty())
            BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
    }
    bool write(std::string_view text) {
        ERR_clear_error();
        size_t size = 0;
        return SSL_write_ex(ssl_, text.data(), text.size(), &size) == 1;
    }
    void read(std::string& into) {
        char buffer[17000];
        size_t size = 0;
        ERR_clear_error();
        while (SSL_read_ex(ssl_, buffer, sizeof buffer, &size) == 1) into.append(buffer, size);
    }

  private:
    SSL* ssl_;
};

/// The input, from the front; zeros when it is used up.
class Script {
  public:
    explicit Script(std::span<const uint8_t> bytes) : bytes_(bytes) {}
    bool empty() const { return bytes_.empty(); }
    uint8_t next() {
        if (bytes_.empty()) return 0;
        const uint8_t byte = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return byte;
    }
    std::span<const uint8_t> next(size_t size) {
        const auto taken = bytes_.first(std::min(size, bytes_.size()));
        bytes_ = bytes_.subspan(taken.size());
        return taken;
    }

  private:
    std::span<const uint8_t> bytes_;
};

class Connection {
  public:
    Connection(fuzz::World& world, Script& script)
        : script_(script),
          client_(script.next() % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION),
          server_(world.accept(), pieces(script.next()), size_t{1} + script.next() * size_t{64}) {
        bool is_done = false;
        for (int flights = 0; flights < 4; ++flights) {
            is_done = client_.shake_hands();
            exchange();
        }
        check(is_done && server_.session().handshake_done());
        check(!server_.is_over() && server_.received.empty());
    }

    void run() {
        constexpr size_t bytes_max = 16 * 1024;  // more only takes longer
        for (int steps = 0; steps < 64 && !script_.empty(); ++steps) {
            if (sent_.size() + answered_.size() > bytes_max) break;
            take_step();
            exchange();
            check_server();
            check_client();
        }
        server_.check_end();
    }

  private:
    /// 0: all at once.
    static size_t pieces(uint8_t byte) { return byte == 0 ? SIZE_MAX : byte; }

    void take_step() {
        const uint8_t step = script_.next();
        const size_t amount = script_.next();
        switch (step % 8) {
            case 0:
                say_to_server(amount + 1);
                break;
            case 1:
                say_to_server((amount + 1) * 64);
                break;
            case 2:
                say_to_client(amount + 1);
                break;
            case 3:
                say_to_client((amount + 1) * 64);
                break;
            case 4:  // RFC 8446 4.6.3; TLS 1.2 has none
                SSL_key_update(client_.ssl(), amount % 2 == 0 ? SSL_KEY_UPDATE_NOT_REQUESTED
                                                              : SSL_KEY_UPDATE_REQUESTED);
                client_.shake_hands();
                break;
            case 5:
                client_closed_ = true;
                SSL_shutdown(client_.ssl());
                break;
            case 6:
                close_server();
                break;
            case 7:
                disturb(amount);
                break;
            default:
                break;
        }
        ERR_clear_error();
    }

    void say_to_server(size_t size) {
        const std::string text(size, static_cast<char>('a' + sent_.size() % 26));
        if (client_.write(text)) sent_ += text;
    }

    void say_to_client(size_t size) {
        const std::string text(size, static_cast<char>('A' + answered_.size() % 26));
        std::vector<uint8_t> room(size + Session::overhead_max);
        const size_t written = server_.session().write(
            {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, room);
        const bool may_write = !server_closed_ && server_.state() != Session::State::Failed;
        check((written > 0) == may_write);
        if (written == 0) return;
        answered_ += text;
        client_.put({room.begin(), room.begin() + static_cast<ptrdiff_t>(written)});
    }

    void close_server() {
        std::vector<uint8_t> room(Session::overhead_max);
        const size_t written = server_.session().close(room);
        check(written == 0 || !server_closed_);
        server_closed_ = true;
        client_.put({room.begin(), room.begin() + static_cast<ptrdiff_t>(written)});
    }

    /// A byte of what is under way changes, or bytes come in between.
    void disturb(size_t amount) {
        is_disturbed_ = true;
        if (amount % 2 == 0) {
            server_.put(script_.next(amount / 2 + 1));
            return;
        }
        say_to_server(amount);
        std::vector<uint8_t> flight = client_.take_output();
        if (!flight.empty()) flight[script_.next() % flight.size()] ^= 1 + script_.next() % 255;
        server_.put(flight);
    }

    void exchange() {
        server_.put(client_.take_output());
        client_.put(std::exchange(server_.output, {}));
        client_.read(heard_);
    }

    void check_server() {
        check(std::string_view(sent_).starts_with(server_.received));
        if (is_disturbed_) return;
        check(server_.received == sent_);
        check(server_.state() ==
              (client_closed_ ? Session::State::Closed : Session::State::NeedInput));
    }

    void check_client() {
        check(std::string_view(answered_).starts_with(heard_));
        if (!is_disturbed_ && !client_closed_) check(heard_ == answered_);
    }

    Script& script_;
    Client client_;
    fuzz::Server server_;
    std::string sent_;      // by the client
    std::string answered_;  // by us
    std::string heard_;     // by the client
    bool client_closed_ = false;
    bool server_closed_ = false;
    bool is_disturbed_ = false;
};

}  // namespace

}  // namespace tls

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static tls::fuzz::World world;
    tls::Script script({data, size});
    tls::Connection(world, script).run();
    return 0;
}
