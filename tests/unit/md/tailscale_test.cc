#include "md/tailscale.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <condition_variable>
#include <thread>

#include "acme_fixture.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "catch.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

const std::string name = "box.tail1234.ts.net";
constexpr hours day{24};

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

/// What a CA made for `names` so long after noon, as the daemon keeps it: the key, then the chain.
std::string pair_for(std::vector<std::string> names, base::Duration later = {},
                     base::Duration lifetime = day * 90) {
    const std::string first = names.front();
    World world({acme_domain(std::move(names))});
    world.ca.lifetime = lifetime;
    world.clock.move(later);
    world.run();
    return *take(world.store.load(Group::Domains, first, "privkey.p-256.pem")) +
           *take(world.store.load(Group::Domains, first, "pubcert.p-256.pem"));
}

std::string key_of(const std::string& pair) {
    return pair.substr(0, pair.find("-----BEGIN CERTIFICATE"));
}
std::string chain_of(const std::string& pair) {
    return pair.substr(key_of(pair).size());
}

/// Stands in for the daemon behind a World's transport.
struct Daemon {
    HttpResponse answer;
    std::optional<Problem> problem;  // instead of an answer
    std::vector<HttpRequest> requests;

    explicit Daemon(World& world, std::string body, int status = 200) {
        give(std::move(body), status);
        world.ca.before = [this](const HttpRequest& request) {
            requests.push_back(request);
            return problem ? Outcome<HttpResponse>(*problem) : Outcome<HttpResponse>(answer);
        };
    }
    void give(std::string body, int status = 200) {
        answer.body = std::move(body);
        answer.status = status;
    }
};

/// Keys of [md] are for domains that order: the daemon's pair is one, whatever they say.
Domain tailscale_domain() {
    Domain domain = acme_domain({name});
    domain.contacts.clear();
    domain.agreement.clear();
    domain.ca_protocol = "tailscale";
    domain.ca_urls = {std::string(tailscale_default_url)};
    domain.private_keys.push_back({KeySpec::Type::Rsa, 2048, ""});
    return domain;
}

}  // namespace

TEST_CASE("The socket of the daemon is the path of a file URL of this host") {
    const std::string path = "/var/run/tailscale/tailscaled.sock";
    CHECK(take(tailscale_socket(tailscale_default_url)) == path);
    CHECK(take(tailscale_socket("file://" + path)) == path);
    CHECK(take(tailscale_socket("FILE://LocalHost/a")) == "/a");
    CHECK(take(tailscale_socket("file:///" + std::string(106, 'x'))) ==
          "/" + std::string(106, 'x'));
    const std::pair<std::string, std::string> refused[] = {
        {"https://ca.example/dir", "does not begin with file://"},
        {"file:/var/run/x", "does not begin with file://"},
        {"file://box/run/x", "is on another host"},
        {"file://localhost", "names no socket"},
        {"file:///", "names no socket"},
        {"file:///run/", "names no socket"},
        {"file:///run/a%20b", "has one of ? # %"},
        {"file:///run/a?b", "has one of ? # %"},
        {"file:///" + std::string(107, 'x'), "is too long"}};
    for (const auto& [url, why] : refused) {
        INFO(url);
        const auto socket = tailscale_socket(url);
        REQUIRE_FALSE(socket.ok());
        CHECK(contains(socket.error().detail, why));
    }
}

TEST_CASE("The daemon's certificate is taken, stored and served; nobody else is asked") {
    World world({tailscale_domain()});
    REQUIRE(world.served(name).fallback);
    Daemon daemon(world, pair_for({name}));
    world.run();
    REQUIRE(daemon.requests.size() == 1);
    const HttpRequest& request = daemon.requests.front();
    CHECK(request.method == "GET");
    CHECK(request.url == "http://local-tailscaled.sock/localapi/v0/cert/" + name + "?type=pair");
    CHECK(request.unix_socket == "/var/run/tailscale/tailscaled.sock");
    CHECK(request.stall_timeout == minutes{5});

    REQUIRE(world.ports.served.at(name).size() == 1);
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.served(name).key_type == tls::KeyType::Ecdsa);
    CHECK(world.served(name).chain.size() == 1);
    CHECK(world.engine->summaries().at(0).state == "good");
    // mod_md's name for a pair of any type.
    CHECK(take(world.store.load(Group::Domains, name, "pubcert.pem")) ==
          chain_of(daemon.answer.body));
    CHECK(world.store.has(Group::Domains, name, "privkey.pem"));
    CHECK(world.store.names(Group::Accounts)->empty());
    CHECK(world.store.names(Group::Staging)->empty());
    const std::string json = *take(world.store.load(Group::Domains, name, "md.json"));
    CHECK(contains(json, "\"proto\": \"tailscale\""));
    CHECK(contains(json, fmt::format("\"url\": \"{}\"", tailscale_default_url)));

    // Until the window opens: no renewal information, no looking.
    world.live(day * 59);
    CHECK(daemon.requests.size() == 1);
    world.restart();
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.run() <= 1);
    CHECK(daemon.requests.size() == 1);
}

TEST_CASE("While the daemon has not renewed, what is served stays, and it is asked once a day") {
    World world({tailscale_domain()});
    Daemon daemon(world, pair_for({name}));
    world.run();
    const auto first = world.served(name).sha256;
    world.live(day * 60 + hours{13});  // the window opens after 60 days
    REQUIRE(daemon.requests.size() == 2);
    const Job job = *world.job(name);
    CHECK(job.errors == 1);
    CHECK(contains(job.last.detail, "tailscale has not renewed the certificate yet"));
    CHECK(*job.next_run - *job.last_run >= day);
    CHECK_FALSE(world.store.has(Group::Staging, name, "pubcert.pem"));
    world.live(day * 4);
    CHECK(daemon.requests.size() >= 4);
    CHECK(daemon.requests.size() <= 6);
    CHECK(world.served(name).sha256 == first);
    CHECK(world.engine->summaries().at(0).state == "good");

    daemon.give(pair_for({name}, day * 64));
    world.live(day + hours{1});
    CHECK(world.served(name).sha256 != first);
    CHECK(world.engine->summaries().at(0).errors == 0);
    CHECK(world.store.names(Group::Archive)->size() == 2);  // the fallback, and the first
}

TEST_CASE("Near the end it is looked more often") {
    tls::Certificate served;
    const auto pause = [&](base::Duration left) {
        served.not_after = noon + left;
        return *not_renewed_yet(served, noon).retry_after;
    };
    CHECK(pause(day * 30) == day);
    CHECK(pause(hours{20}) == hours{5});
    CHECK(pause(minutes{20}) == hours{1});
    CHECK(pause(-day) == hours{1});
}

TEST_CASE("What the daemon refuses is told with its words and what to do, and tried again") {
    struct Refused {
        int status;
        std::string body;
        int kept;
        std::string says;
    };
    const Refused cases[] = {
        {403, "cert access denied\n", EACCES, "status 403, cert access denied; allow it to the"},
        {401, "", EACCES, "status 401; allow it to the user"},
        {404, "404 page not found\n", ENOENT, "status 404, 404 page not found; names has to be"},
        {400, "invalid domain", EINVAL, "names has to be this machine's own name"},
        {500, "invalid domain \"x\"; must be one of [\"y.ts.net\"]", 20014,
         "must be one of ['y.ts.net']; names has to be this machine's own name"},
        {500, "your Tailscale account does not support getting TLS certs", 20014,
         "switch HTTPS certificates on for the tailnet"},
        {500, "no netmap available", 20014, "is this machine logged in (tailscale up)?"},
        {500, "a\x1b[31m" + std::string(4000, 'x'), 20014, "status 500, a\\x1b[31mxxx"},
        {302, "", 20014, "status 302"}};
    for (const Refused& refused : cases) {
        INFO(refused.status << " " << refused.body);
        World world({tailscale_domain()});
        Daemon daemon(world, refused.body, refused.status);
        world.run();
        const Job job = *world.job(name);
        CHECK(job.errors == 1);
        CHECK(job.last.status == refused.kept);
        CHECK(contains(job.last.detail, refused.says));
        CHECK(contains(job.last.detail, "tailscale gives no certificate for " + name));
        CHECK(job.last.detail.size() < 600);
        CHECK(world.served(name).fallback);

        daemon.give(pair_for({name}));
        world.live(minutes{2});
        CHECK_FALSE(world.served(name).fallback);
        CHECK_FALSE(world.job(name));
    }
}

TEST_CASE("When the daemon's CA limits it, Retry-After is kept") {
    World world({tailscale_domain()});
    Daemon daemon(world, "rate limited", 429);
    daemon.answer.fields = {{"retry-after", "7200"}};
    world.run();
    const Job job = *world.job(name);
    CHECK(*job.next_run - *job.last_run >= hours{2});
}

TEST_CASE("A daemon that cannot be reached is told by its socket") {
    const std::tuple<int, std::string> cases[] = {
        {ENOENT,
         "tailscale socket not available, may not be up: /var/run/tailscale/tailscaled.sock; start "
         "tailscaled"},
        {ECONNREFUSED,
         "tailscale socket not available, may not be up: /var/run/tailscale/tailscaled.sock"},
        {EACCES, "may not connect to /var/run/tailscale/tailscaled.sock"},
        {ETIMEDOUT, "tailscale: no answer in time"}};
    for (const auto& [status, says] : cases) {
        World world({tailscale_domain()});
        Daemon daemon(world, "");
        daemon.problem = make_problem(status, "no answer in time");
        world.run();
        const Job job = *world.job(name);
        CHECK(job.last.status == status);
        CHECK(contains(job.last.detail, says));
    }
}

TEST_CASE("What cannot be served is refused, and never replaces what is") {
    const std::string good = pair_for({name});
    const std::pair<std::string, std::string> cases[] = {
        {"", "no certificate"},
        {"<html>garbage</html>", "no certificate"},
        {key_of(good), "no certificate"},
        {chain_of(good), "cannot be used"},
        {chain_of(good) + key_of(good), "a private key stands among the certificates"},
        {key_of(pair_for({name})) + chain_of(good), "do not belong together"},
        {good.substr(0, good.size() - 40), "cannot be used"},
        {pair_for({"other.tail1234.ts.net"}), "it is for other.tail1234.ts.net"},
        {pair_for({name, "more.ts.net"}), "asked for was " + name},
        {pair_for({name}, {}, day * 50), "it expired"},
        {pair_for({name}, day * 200), "it is not valid before"}};
    for (const auto& [body, says] : cases) {
        INFO(says);
        World world({tailscale_domain()});
        Daemon daemon(world, good);
        world.run();
        const auto first = world.served(name).sha256;
        daemon.give(body);
        world.live(day * 60 + hours{13});
        REQUIRE(world.job(name));
        CHECK(contains(world.job(name)->last.detail, says));
        CHECK_FALSE(world.store.has(Group::Staging, name, "pubcert.pem"));
        CHECK(world.served(name).sha256 == first);
    }
}

TEST_CASE("What the daemon gives and cannot be served is kept with the reason") {
    const std::string good = pair_for({name});
    const std::string place = name + ".rejected";
    struct Refused {
        std::string body;
        std::string says;
        bool is_kept;
    };
    const Refused cases[] = {{pair_for({"other.ts.net"}), "it is for other.ts.net", true},
                             {key_of(good) + chain_of(pair_for({name})), "belong together", true},
                             {"<html>garbage</html>", "", false}};
    for (const Refused& refused : cases) {
        INFO(refused.says);
        World world({tailscale_domain()});
        Daemon daemon(world, refused.body);
        world.run();
        CHECK(world.served(name).fallback);
        const auto why = take(world.store.load(Group::Archive, place, "rejected.json"));
        REQUIRE(why.has_value() == refused.is_kept);
        if (!refused.is_kept) continue;
        CHECK(contains(*why, refused.says));
        CHECK(take(world.store.load(Group::Archive, place, "pubcert.pem")) ==
              chain_of(refused.body));
        CHECK(take(world.store.load(Group::Archive, place, "privkey.pem")) == key_of(refused.body));
    }
}

TEST_CASE("A damaged live pair is healed with the certificate that the daemon still has") {
    World world({tailscale_domain()});
    Daemon daemon(world, pair_for({name}));
    world.run();
    const auto first = world.served(name).sha256;
    REQUIRE(world.store.remove(Group::Domains, name, "privkey.pem").ok());
    world.restart();
    world.run();
    CHECK(world.served(name).sha256 == first);
    CHECK(world.store.has(Group::Domains, name, "privkey.pem"));
    CHECK(world.engine->summaries().at(0).state == "good");
}

TEST_CASE("The daemon's certificate cannot be revoked, which is said, and nobody else is asked") {
    World world({tailscale_domain()});
    Daemon daemon(world, pair_for({name}));
    world.run();
    REQUIRE(world.engine->revoke_now(name, RevocationReason::KeyCompromise).ok());
    world.run();
    for (const HttpRequest& request : daemon.requests) CHECK_FALSE(request.unix_socket.empty());
    CHECK_FALSE(world.store.has(Group::Domains, name, "revoked.json"));
    CHECK_FALSE(world.served(name).fallback);
}

namespace {

/// HTTP on a Unix socket: each connection gets the same bytes, `pause` after its request.
class SocketServer {
  public:
    SocketServer(const std::string& path, std::string answer, milliseconds pause = {})
        : answer_(std::move(answer)),
          pause_(pause),
          listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        REQUIRE(path.size() < sizeof address.sun_path);
        path.copy(address.sun_path, path.size());
        REQUIRE(::bind(listener_.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        REQUIRE(::listen(listener_.fd(), 8) == 0);
        thread_ = std::thread([this] { serve(); });
    }
    ~SocketServer() {
        {
            const std::lock_guard lock(mutex_);
            is_ending_ = true;
        }
        ending_.notify_all();
        ::shutdown(listener_.fd(), SHUT_RDWR);
        thread_.join();
    }
    std::string seen() {
        const std::lock_guard lock(mutex_);
        return seen_;
    }

  private:
    void serve() {
        while (true) {
            const base::UniqueFd client(::accept(listener_.fd(), nullptr, nullptr));
            if (!client) return;
            std::string request;
            char buffer[4096];
            while (request.find("\r\n\r\n") == std::string::npos) {
                const ssize_t got = ::recv(client.fd(), buffer, sizeof buffer, 0);
                if (got <= 0) break;
                request.append(buffer, static_cast<size_t>(got));
            }
            std::unique_lock lock(mutex_);
            seen_ = request;
            ending_.wait_for(lock, pause_, [this] { return is_ending_; });
            (void)::send(client.fd(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
        }
    }
    const std::string answer_;
    const milliseconds pause_;
    base::UniqueFd listener_;
    std::mutex mutex_;
    std::condition_variable ending_;
    bool is_ending_ = false;
    std::string seen_;
    std::thread thread_;
};

std::string http_answer(const std::string& body) {
    return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}

auto fetch(const std::string& path, TransportOptions options = {}) {
    options.user_agent = "mdfront/test";
    const auto transport = make_curl_transport(options);
    return fetch_from_tailscale(*transport, "file://" + path, name, noon);
}

}  // namespace

TEST_CASE("Over a real socket: HTTP/1.1 with the one Host that the daemon takes") {
    const TempDir directory;
    const std::string pair = pair_for({name});
    SocketServer server(directory / "ts.sock", http_answer(pair));
    auto fetched = fetch(directory / "ts.sock");
    REQUIRE(fetched.ok());
    CHECK(fetched->key_pem.text() == key_of(pair));
    CHECK(fetched->chain_pem == chain_of(pair));
    const std::string seen = server.seen();
    CHECK(seen.starts_with("GET /localapi/v0/cert/" + name + "?type=pair HTTP/1.1\r\n"));
    CHECK(contains(seen, "\r\nHost: local-tailscaled.sock\r\n"));
    CHECK(contains(seen, "\r\nUser-Agent: mdfront/test\r\n"));
    // Either makes the daemon think of a browser and refuse.
    CHECK_FALSE(contains(seen, "Origin:"));
    CHECK_FALSE(contains(seen, "Referer:"));
}

TEST_CASE("Over a real socket: neither a missing one nor a plain file is up") {
    const TempDir directory;
    const auto missing = fetch(directory / "ts.sock");
    REQUIRE_FALSE(missing.ok());
    CHECK(missing.error().status == ENOENT);
    CHECK(missing.error().detail.starts_with(
        "tailscale socket not available, may not be up: " + directory.path() + "/ts.sock; start"));
    write_text(directory / "file", "x");
    const auto file = fetch(directory / "file");
    REQUIRE_FALSE(file.ok());
    CHECK(file.error().status == ECONNREFUSED);
    CHECK(contains(file.error().detail, "may not be up"));
}

TEST_CASE("Over a real socket: an answer that is too large, and a daemon that hangs up") {
    const TempDir directory;
    {
        SocketServer server(directory / "large.sock", http_answer(std::string(200'000, 'x')));
        const auto large = fetch(directory / "large.sock");
        REQUIRE_FALSE(large.ok());
        CHECK(large.error().status == EFBIG);
        CHECK(contains(large.error().detail, directory / "large.sock"));
    }
    SocketServer server(directory / "mute.sock", "");
    CHECK_FALSE(fetch(directory / "mute.sock").ok());
}

TEST_CASE("Over a real socket: the daemon may order meanwhile, but not for ever") {
    const TempDir directory;
    SocketServer server(directory / "ts.sock", http_answer(pair_for({name})), milliseconds{2500});
    TransportOptions options;
    options.stall_timeout = seconds{1};
    CHECK(fetch(directory / "ts.sock", options).ok());
    options.total_timeout = milliseconds{200};
    const auto late = fetch(directory / "ts.sock", options);
    REQUIRE_FALSE(late.ok());
    CHECK(late.error().status == ETIMEDOUT);
    CHECK(late.error().detail.starts_with("tailscale: " + directory.path()));
}

TEST_CASE("Over a real socket: a daemon that is silent does not keep the server from stopping") {
    const TempDir directory;
    SocketServer server(directory / "ts.sock", "", seconds{60});
    TransportOptions options;
    options.user_agent = "mdfront/test";
    const auto transport = make_curl_transport(options);
    std::thread stopper([&] {
        while (server.seen().empty()) std::this_thread::sleep_for(milliseconds{5});
        transport->cancel();
    });
    const auto certificate =
        fetch_from_tailscale(*transport, "file://" + (directory / "ts.sock"), name, noon);
    stopper.join();
    REQUIRE_FALSE(certificate.ok());
    CHECK(certificate.error().status == ECANCELED);
}
