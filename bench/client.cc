// Load that no common generator makes: TLS 1.3 connections that each carry one request, with full
// or with resumed handshakes, and connections that stay open after their one request.
//
//   bench_client full|resumed COUNT THREADS PORT   prints what happened as one line of JSON
//   bench_client idle COUNT THREADS PORT           prints "ready", keeps them until stdin ends
//
// Blocking sockets and a few threads are enough: the server's CPU time is what is measured.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

template <auto release>
struct Release {
    template <typename T>
    void operator()(T* object) const {
        release(object);
    }
};
using ContextPtr = std::unique_ptr<SSL_CTX, Release<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Release<SSL_free>>;
using SessionPtr = std::unique_ptr<SSL_SESSION, Release<SSL_SESSION_free>>;

constexpr std::string_view request =
    "GET /1k HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\n\r\n";

[[noreturn]] void die(const char* what) {
    std::perror(what);
    ERR_print_errors_fp(stderr);
    std::exit(1);
}

/// The ticket of a thread's last full handshake. It is used again and again: h2o takes back no
/// ticket that it gave in a resumed handshake.
thread_local SessionPtr ticket;

int on_session(SSL* ssl, SSL_SESSION* session) {
    if (SSL_session_reused(ssl) == 1) return 0;
    ticket.reset(session);
    return 1;  // ours now
}

ContextPtr make_context() {
    ContextPtr context(SSL_CTX_new(TLS_client_method()));
    if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_set1_groups_list(context.get(), "X25519") != 1) {
        die("SSL_CTX");
    }
    SSL_CTX_set_session_cache_mode(context.get(),
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context.get(), on_session);
    const unsigned char protocols[] = "\x08http/1.1";
    SSL_CTX_set_alpn_protos(context.get(), protocols, sizeof protocols - 1);
    return context;
}

/// A connection whose descriptor is closed with it.
class Connection {
  public:
    Connection(SSL_CTX& context, uint16_t port, SSL_SESSION* session) : ssl_(SSL_new(&context)) {
        fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (fd_ < 0 || ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
            die("connect");
        }
        const int on = 1;
        ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        SSL_set_fd(ssl_.get(), fd_);
        SSL_set_tlsext_host_name(ssl_.get(), "bench.test");
        if (session != nullptr) {
            // A copy: OpenSSL marks a session as used up when the server sends a new ticket.
            const SessionPtr copy(SSL_SESSION_dup(session));
            SSL_set_session(ssl_.get(), copy.get());
        }
        if (SSL_connect(ssl_.get()) != 1) die("handshake");
    }
    ~Connection() {
        if (fd_ >= 0) ::close(fd_);
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Sends the request and reads the whole answer.
    void exchange() {
        if (SSL_write(ssl_.get(), request.data(), static_cast<int>(request.size())) <= 0) {
            die("write");
        }
        char buffer[8192];
        size_t size = 0;
        size_t whole = 0;
        while (whole == 0 || size < whole) {
            const int got =
                SSL_read(ssl_.get(), buffer + size, static_cast<int>(sizeof buffer - size));
            if (got <= 0) die("read");
            size += static_cast<size_t>(got);
            if (whole == 0) whole = whole_size({buffer, size});
        }
        if (std::memcmp(buffer, "HTTP/1.1 200", 12) != 0) {
            std::fprintf(stderr, "answer: %.40s\n", buffer);
            std::exit(1);
        }
    }
    void close_notify() { SSL_shutdown(ssl_.get()); }
    bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
    std::string settled() const {
        return std::string(SSL_get_version(ssl_.get())) + " " + SSL_get_cipher(ssl_.get());
    }

  private:
    /// Size of head and body; 0 as long as the head is not there.
    static size_t whole_size(std::string_view text) {
        const size_t end = text.find("\r\n\r\n");
        if (end == std::string_view::npos) return 0;
        for (const std::string_view name : {"Content-Length: ", "content-length: "}) {
            const size_t at = text.substr(0, end).find(name);
            if (at != std::string_view::npos) {
                return end + 4 + std::strtoul(text.data() + at + name.size(), nullptr, 10);
            }
        }
        std::fprintf(stderr, "an answer without a length\n");
        std::exit(1);
    }

    SslPtr ssl_;
    int fd_ = -1;
};

struct Counts {
    std::atomic<int> next{0};
    std::atomic<int> full{0};
    std::atomic<int> resumed{0};
};

void handshakes(SSL_CTX& context, uint16_t port, int count, bool resume, Counts& counts,
                std::string* settled) {
    if (resume) {
        Connection first(context, port, nullptr);  // for the first ticket; not counted
        first.exchange();
        first.close_notify();
    }
    while (counts.next++ < count) {
        Connection connection(context, port, resume ? ticket.get() : nullptr);
        connection.exchange();
        (connection.resumed() ? counts.resumed : counts.full)++;
        if (settled != nullptr && settled->empty()) *settled = connection.settled();
        connection.close_notify();
    }
    ticket.reset();
}

void open_idle(SSL_CTX& context, uint16_t port, int count, Counts& counts,
               std::vector<std::unique_ptr<Connection>>& open) {
    while (counts.next++ < count) {
        open.push_back(std::make_unique<Connection>(context, port, nullptr));
        open.back()->exchange();
    }
    ticket.reset();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: bench_client full|resumed|idle COUNT THREADS PORT\n");
        return 2;
    }
    const std::string_view mode = argv[1];
    const int count = std::atoi(argv[2]);
    const size_t threads = static_cast<size_t>(std::atoi(argv[3]));
    const auto port = static_cast<uint16_t>(std::atoi(argv[4]));
    const ContextPtr context = make_context();
    Counts counts;
    std::string settled;
    std::vector<std::vector<std::unique_ptr<Connection>>> open(threads);
    std::vector<std::thread> running;
    for (size_t i = 0; i < threads; ++i) {
        running.emplace_back([&, i] {
            if (mode == "idle") {
                open_idle(*context, port, count, counts, open[i]);
            } else {
                handshakes(*context, port, count, mode == "resumed", counts,
                           i == 0 ? &settled : nullptr);
            }
        });
    }
    for (std::thread& thread : running) thread.join();
    if (mode == "idle") {
        std::puts("ready");
        std::fflush(stdout);
        while (std::getchar() != EOF) {
        }
        return 0;
    }
    std::printf("{\"full\": %d, \"resumed\": %d, \"settled\": \"%s\"}\n", counts.full.load(),
                counts.resumed.load(), settled.c_str());
    return 0;
}
