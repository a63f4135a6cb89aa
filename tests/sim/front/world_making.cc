// How a world is made: its machine, its servers and sites, what they publish.
#include "base/random.h"
#include "tls/certificates.h"
#include "world.h"

namespace sim::front {

namespace {

constexpr size_t sites = 3;
constexpr size_t servers = 6;

/// Certificates cost more to make than a world to live: these serve all of them. Their issuer
/// signs with Ed25519, so that they are equally long in each run.
const std::shared_ptr<const tls::Certificate>& certificate_of(int which, size_t edition) {
    static const auto made = [] {
        seed_openssl(1);
        const test::Issued ca =
            test::issue({.common_name = "CA", .names = {}, .key = "Ed25519", .is_ca = true});
        const std::vector<std::string> names[] = {{"a.test", "s.test"}, {"b.test", "*.w.test"}};
        std::vector<std::shared_ptr<const tls::Certificate>> all;
        for (int at = 0; at < 4; ++at) {
            const test::Issued leaf = test::issue(
                {.common_name = "leaf", .names = names[at / 2], .key = "P-256", .key_number = at},
                &ca);
            auto read = tls::read_certificate(leaf.pem(), leaf.key_pem());
            base::check(read.ok());
            all.push_back(*read);
        }
        return all;
    }();
    return made[2 * static_cast<size_t>(which) + edition];
}

Climate climate_of(Dice& dice) {
    const uint64_t at = dice.below(100);
    return at < 45 ? Climate::Calm : at < 75 ? Climate::Rough : Climate::Storm;
}

/// Order, cuts and delays: what must not change any outcome.
KernelFaults harmless(KernelFaults faults) {
    faults.accept_errors = faults.accept_aborts = faults.open_errors = faults.connect_errors = 0;
    faults.resets = faults.timeouts = 0;
    faults.backlog_max = 128;
    return faults;
}

Manners manners_of(Dice& dice, Climate climate) {
    Manners manners;
    if (dice.chance(300)) manners.slow = static_cast<uint32_t>(dice.below(200));
    if (climate == Climate::Calm || dice.chance(250)) return manners;
    if (dice.chance(700)) manners.faults = static_cast<uint32_t>(dice.below(200));
    if (dice.chance(500)) manners.drops_idle = static_cast<uint32_t>(dice.below(15));
    if (dice.chance(300)) manners.resets = static_cast<uint32_t>(dice.below(4));
    if (dice.chance(400)) manners.early = static_cast<uint32_t>(dice.below(400));
    return manners;
}

uint32_t between(Dice& dice, uint32_t least, uint32_t most) {
    return least + static_cast<uint32_t>(dice.below(most - least + 1));
}

}  // namespace

World::World(uint64_t seed, bool is_printed)
    : dice_(seed), trace_(now_ms_, is_printed), oracle_(trace_, now_ms_) {
    (void)certificate_of(0, 0);  // made before OpenSSL draws for this world
    seed_openssl(seed);
    const Climate climate = climate_of(dice_);
    trace_.note("world", seed, "begins", static_cast<uint64_t>(climate));
    clients_left_ = between(dice_, 10, 50);
    clients_at_once_ = between(dice_, 1, 14);
    turn_weight_ = static_cast<uint32_t>(dice_.some_of(256));  // few: much is found at once
    befalls_ = dice_.chance(300) ? 0 : static_cast<uint32_t>(dice_.some_of(300));

    faults_ = KernelFaults::some(dice_);
    if (climate != Climate::Storm) faults_ = harmless(faults_);
    kernel_ = std::make_unique<Kernel>(dice_.fork(), faults_);
    advance(1);
    scene_ =
        std::make_unique<Scene>(Scene{*kernel_, oracle_, climate, {}, {}, {}, 0, 0, {}, {}, false});
    oracle_.excuses.bad_servers = climate != Climate::Calm;
    oracle_.excuses.kernel = climate == Climate::Storm;
    choose_limits();
    make_servers();
    make_sites();
    start_worker();
}

World::~World() = default;

void World::choose_limits() {
    if (scene_->climate == Climate::Calm) {
        limits_.tunnel_idle_ms = 60'000;
    } else {
        limits_.handshake_ms = between(dice_, 2'000, 10'000);
        limits_.head_ms = between(dice_, 2'000, 10'000);
        limits_.idle_ms = between(dice_, 2'000, 60'000);
        limits_.body_ms = between(dice_, 3'000, 20'000);
        limits_.backend_connect_ms = between(dice_, 1'000, 5'000);
        limits_.backend_response_ms = between(dice_, 2'000, 30'000);
        limits_.backend_idle_ms = between(dice_, 500, 10'000);
        limits_.tunnel_idle_ms = between(dice_, 3'000, 30'000);
        if (dice_.chance(200)) limits_.request_body_max = 20'000 + dice_.below(100'000);
    }
    limits_.backend_idle_max = dice_.chance(300) ? between(dice_, 0, 4) : 64;
    scene_->request_body_max = limits_.request_body_max;
    scene_->idle_ms = limits_.idle_ms;
    oracle_.excuses.times_out_ms =
        std::min({limits_.head_ms, limits_.body_ms, limits_.handshake_ms,
                  limits_.backend_connect_ms, limits_.backend_response_ms});
}

void World::make_servers() {
    for (uint32_t number = 0; number < servers; ++number) {
        const net::Address address =
            address_of(fmt::format("10.0.{}.{}:8000", number / 2, number % 2 + 1));
        const Manners manners = manners_of(dice_, scene_->climate);
        servers_.push_back(
            std::make_unique<Server>(*scene_, number, address, dice_.fork(), manners));
    }
}

void World::make_sites() {
    scene_->plain = address_of("192.0.2.1:80");
    scene_->secure = address_of("192.0.2.1:443");
    scene_->sites = {{{"a.test"}, 0, false},
                     {{"b.test", "x.w.test", "y.w.test"}, 1, false},
                     {{"s.test"}, 0, true}};
    backends_.resize(sites);
    publish_routes();
    publish_certificates();
    rotate_tickets();
}

void World::publish_routes() {
    std::vector<std::shared_ptr<const proxy::Site>> made;
    std::vector<std::set<uint32_t>> servers_of_site;
    for (size_t at = 0; at < sites; ++at) {
        if (!backends_[at] || dice_.chance(400)) {
            // Two of the servers are this site's for ever, the others serve whom they are given to.
            auto backend = std::make_shared<proxy::Backend>();
            backend->name = fmt::format("backend-{}", at);
            const auto first = static_cast<uint32_t>(2 * at);
            backend->servers.push_back(servers_[first + dice_.below(2)]->address());
            if (dice_.chance(500)) {
                backend->servers.push_back(servers_[dice_.below(servers)]->address());
            }
            backends_[at] = backend;
        }
        auto site = std::make_shared<proxy::Site>();
        site->name = scene_->sites[at].hosts.front();
        site->hosts = at == 1 ? std::vector<std::string>{"b.test", "*.w.test"}
                              : std::vector<std::string>{site->name};
        site->backend = backends_[at];
        site->hsts = dice_.chance(500);
        if (scene_->sites[at].requires_https) site->require_https = proxy::RequireHttps::Permanent;
        made.push_back(std::move(site));
        std::set<uint32_t> numbers;
        for (const net::Address& address : backends_[at]->servers) {
            for (const auto& server : servers_) {
                if (server->address() == address) numbers.insert(server->number());
            }
        }
        servers_of_site.push_back(std::move(numbers));
    }
    oracle_.publish(std::move(servers_of_site));
    oracle_.counts.reloads++;
    trace_.note("world", oracle_.publication(), "publishes routes");
    snapshots_.routes.publish(std::make_shared<proxy::Routes>(std::move(made), -1, limits_));
}

void World::publish_certificates() {
    const std::vector<std::string> names[] = {{"a.test", "s.test"}, {"b.test", "*.w.test"}};
    for (int which = 0; which < 2; ++which) {
        auto set = std::make_shared<tls::CertificateSet>();
        set->certificates.push_back(certificate_of(which, dice_.below(2)));
        set->staples.push_back(nullptr);
        snapshots_.tls.certificates.update(
            [&](const tls::CertificateIndex& index) { return index.with(names[which], set); });
    }
    trace_.note("world", 0, "publishes certificates");
}

void World::rotate_tickets() {
    base::SeededRandom random(dice_.next());
    const auto now = std::chrono::floor<base::Duration>(std::chrono::system_clock::now());
    snapshots_.tls.ticket_keys.update(
        [&](const tls::TicketKeys& keys) { return keys.rotated(random, now); });
    trace_.note("world", 0, "rotates the ticket keys");
}

void World::change_challenge() {
    std::vector<std::string>& tokens = scene_->tokens;
    const bool withdraws = !tokens.empty() && dice_.chance(500);
    if (!withdraws) tokens.push_back(fmt::format("token-{}", tokens.size()));
    const std::string token = withdraws ? tokens[dice_.below(tokens.size())] : tokens.back();
    trace_.note("world", tokens.size(), withdraws ? "withdraws an answer" : "publishes an answer");
    snapshots_.http01.update([&](const proxy::Http01Answers& old) {
        auto next = std::make_shared<proxy::Http01Answers>(old);
        if (withdraws) {
            next->by_token.erase(token);
        } else {
            next->by_token[token] = {"a.test", Scene::key_authorization(token)};
        }
        return next;
    });
}

void World::start_worker() {
    const bool is_tight = scene_->climate == Climate::Storm && dice_.chance(300);
    loop_.sq_entries = 4u << dice_.below(7);
    loop_.cq_entries = loop_.sq_entries << (1 + dice_.below(3));
    loop_.small_buffers = 4u << dice_.below(6);
    loop_.large_buffers = 4u << dice_.below(4);
    loop_.bulk_buffers = 4;
    loop_.connections_max = is_tight ? between(dice_, 1, 12) : 256;
    loop_.chunks_max = is_tight ? 8 + dice_.below(60) : 4096;
    loop_.chunks_idle_max = dice_.below(64);
    proxy::WorkerOptions options;
    options.loop = loop_;
    options.tls.certificates_decoded_max = 1 + dice_.below(8);
    std::string why;
    auto made = proxy::Worker::create(options, snapshots_, why);
    if (!made) oracle_.violate("the worker does not start: {}", why);
    worker_ = std::move(*made);
    const auto listen = [this](const net::Address& address, proxy::Protocol protocol) {
        return worker_->add_listener(
            {.fd = kernel_->listen(address), .protocol = protocol, .public_port = address.port()});
    };
    base::check(listen(scene_->plain, proxy::Protocol::Http).ok());
    base::check(listen(scene_->secure, proxy::Protocol::Https).ok());
    turn();
    while (kernel_->step()) {
    }
    descriptors_at_first_ = kernel_->open_descriptors();
}

}  // namespace sim::front
