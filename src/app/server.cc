#include "app/server.h"

#include <cerrno>
#include <csignal>

#include "app/ownership.h"
#include "app/process.h"
#include "base/log.h"
#include "base/text.h"

namespace app {

namespace {

/// Of an OCSP responder, which is a small answer away, or for a CRL of a few MB.
constexpr std::chrono::seconds staple_timeout{60};
constexpr std::chrono::seconds staple_connect_timeout{10};
constexpr int admin_backlog = 128;
/// Threads of the engine and the stapler.
constexpr uint64_t store_threads = 12;

size_t workers_wanted(const Configuration& configuration) {
    if (configuration.server.workers > 0) return static_cast<size_t>(configuration.server.workers);
    return std::max(1u, std::thread::hardware_concurrency());
}

/// The admin worker serves a few people.
net::LoopOptions admin_loop() {
    net::LoopOptions loop;
    loop.sq_entries = 64;
    loop.cq_entries = 1024;
    loop.small_buffers = 64;
    loop.large_buffers = 16;
    loop.bulk_buffers = 4;
    loop.accept_burst_max = admin_backlog;
    loop.chunks_idle_max = 16;
    return loop;
}

/// Engine and stapler count even if a reload is still to bring the first domain.
DescriptorNeeds needs_of(const Configuration& configuration, size_t workers) {
    DescriptorNeeds needs;
    needs.workers = workers;
    needs.sockets = configuration.listens.size() * workers + configuration.admin.listen.size();
    needs.has_admin = !configuration.admin.listen.empty();
    needs.has_access_log = !configuration.server.access_log.path.empty();
    needs.store_threads = store_threads;
    needs.connections_max = configuration.limits.connections_max;
    return needs;
}

void log_descriptors(const DescriptorBudget& budget, const DescriptorNeeds& needs,
                     std::string_view when) {
    const auto level = budget.connections_max < needs.connections_max ? base::LogLevel::Warn
                                                                      : base::LogLevel::Info;
    base::Log::write(level, "app", "", fmt::format("{}{}", when, describe(budget, needs)));
}

}  // namespace

Server::~Server() {
    stop();
}

int Server::run() {
    harden_process();
    block_signals();
    started_ = clock_.now();
    // The store is opened as the user who owns it: root has no business in its directories.
    const bool started = read_configuration() && divide_resources() && open_sockets() &&
                         give_up_root() && open_store();
    if (started) base::Log::start();
    if (!started || !start_workers() || !start_admin()) {
        stop();
        return 1;
    }
    if (engine_) engine_->start();
    if (stapler_) stapler_->start();
    base::log_info("app", "", "mdfront {} serves {}, {} worker(s)", MDFRONT_VERSION,
                   setup_->summary(), workers_count_);
    serve();
    drain();
    stop();
    return 0;
}

// ---- start

bool Server::read_configuration() {
    Mistakes mistakes;
    auto setup = load_setup(path_, mistakes, clock_.now());
    for (const std::string& line : mistakes.warning_lines()) base::log_warn("app", "", "{}", line);
    for (const std::string& line : mistakes.lines()) base::log_error("app", "", "{}", line);
    if (!setup) {
        base::log_error("app", "", "{}: the configuration is refused; nothing was started", path_);
        return false;
    }
    setup_ = std::make_unique<Setup>(std::move(*setup));
    base::Log::set_level(setup_->configuration.server.log_level);
    return true;
}

bool Server::divide_resources() {
    const Configuration& configuration = setup_->configuration;
    const size_t wanted = workers_wanted(configuration);
    worker_loop_.accept_burst_max = 0;
    for (const ListenSettings& listen : configuration.listens) {
        worker_loop_.accept_burst_max += static_cast<uint32_t>(listen.backlog);
    }
    const net::LoopOptions admin = admin_loop();
    const bool gives_up_root = !configuration.server.user.empty() && is_root();
    const std::optional<uint64_t> lockable = locked_memory_max(gives_up_root);
    const RingBudget rings = divide_locked_memory(
        lockable, wanted, worker_loop_, configuration.admin.listen.empty() ? nullptr : &admin);
    worker_loop_ = rings.loop;
    workers_count_ = rings.workers;
    if (rings.workers < wanted) {
        base::log_warn("app", "",
                       "{} bytes of locked memory hold the io_uring queues of {} worker(s), not of "
                       "{}: raise the limit to {} (LimitMEMLOCK=, ulimit -l in KiB), or lower "
                       "server.workers",
                       lockable.value_or(0), rings.workers, wanted, rings.needed);
    } else if (rings.is_smaller) {
        base::log_info("app", "",
                       "{} worker(s) have smaller io_uring queues ({} and {} entries), to stay "
                       "below {} bytes of locked memory; full size needs {} (LimitMEMLOCK=, "
                       "ulimit -l in KiB)",
                       rings.workers, worker_loop_.sq_entries, worker_loop_.cq_entries,
                       lockable.value_or(0), rings.needed);
    }

    const DescriptorNeeds needs = needs_of(configuration, workers_count_);
    const uint64_t limit = descriptors_max();
    const auto budget = divide_descriptors(limit, needs);
    if (!budget) {
        base::log_error("app", "", "{}", explain_too_few(limit, needs));
        return false;
    }
    descriptors_ = *budget;
    worker_loop_.connections_max = budget->connections_max;
    worker_loop_.outgoing_max = budget->outgoing_max;
    log_descriptors(*budget, needs, "");
    return true;
}

bool Server::open_store() {
    snapshots_.routes.publish(setup_->routes);
    rotate_ticket_keys();
    if (setup_->needs_stapler() && !make_stapler(*setup_)) return false;
    watch_statics(*setup_);
    bridge_.configure(*setup_);
    if (setup_->domains.empty()) return true;
    engine_ = make_engine(*setup_, setup_->domains);
    if (const auto loaded = engine_->load(); !loaded) {
        base::log_error("app", setup_->engine.store_dir, "{}", loaded.error().message());
        return false;
    }
    return true;
}

bool Server::make_stapler(const Setup& setup) {
    const std::string& directory = setup.engine.store_dir;
    if (const base::Status made = make_parents(directory); !made) {
        base::log_error("app", directory, "{}", made.error().message());
        return false;
    }
    std::optional<md::StoreLocks> locks;
    const base::Duration lock_wait = setup.configuration.md.store_lock_wait;
    if (lock_wait > base::Duration::zero()) locks.emplace(md::StoreLocks{lock_wait, clock_});
    auto store = md::FileStore::open(directory, files_, random_, locks);
    if (!store) {
        base::log_error("app", directory, "{}", store.error().message());
        return false;
    }
    store_ = std::move(store).value();
    store_->claim(clock_);
    md::TransportOptions transport;
    transport.user_agent = setup.engine.user_agent;
    transport.total_timeout = staple_timeout;
    transport.connect_timeout = staple_connect_timeout;
    transport.stall_timeout = staple_connect_timeout;
    auto stapler = std::make_unique<md::Stapler>(
        setup.engine, *store_, clock_, random_,
        [transport] { return md::make_curl_transport(transport); }, bridge_, commands_);
    bridge_.set_staples(stapler.get());
    const std::lock_guard lock(status_mutex_);
    stapler_ = std::move(stapler);
    return true;
}

std::unique_ptr<md::Engine> Server::make_engine(const Setup& setup,
                                                std::vector<md::Domain> domains) {
    md::TransportOptions transport;
    transport.user_agent = setup.engine.user_agent;
    auto engine = std::make_unique<md::Engine>(
        setup.engine, std::move(domains), *store_, files_, clock_, random_,
        [transport] { return md::make_curl_transport(transport); }, bridge_, bridge_, commands_,
        keys_, stapler_.get());
    stapler_->set_listener(engine.get());
    return engine;
}

bool Server::open_sockets() {
    std::vector<std::string> problems;
    listeners_ = open_listeners(setup_->configuration, workers_count_, problems);
    for (const PlacedAddress& listen : setup_->configuration.admin.listen) {
        auto listener = open_listener(listen.address, 1, admin_backlog);
        if (!listener) {
            problems.push_back(fmt::format("{}: {}", listen.place.text(), listener.error()));
            continue;
        }
        listener->protocol = proxy::Protocol::Http;
        admin_listeners_.push_back(std::move(listener).value());
    }
    for (const std::string& problem : problems) base::log_error("app", "", "{}", problem);
    return problems.empty();
}

bool Server::give_up_root() {
    const std::string& name = setup_->configuration.server.user;
    if (name.empty()) return true;
    if (!is_root()) {
        base::log_warn("app", "",
                       "server.user is set, but we were not started as root; going on "
                       "as the present user");
        return true;
    }
    const auto user = find_user(name);
    if (!user) {
        base::log_error("app", name, "cannot become server.user: there is no such user any more");
        return false;
    }
    if (!give_files(*user)) return false;
    if (const base::Status changed = become_user(*user); !changed) {
        base::log_error("app", name, "cannot become server.user: {}", changed.error().message());
        return false;
    }
    base::log_info("app", "", "running as {}", name);
    return true;
}

bool Server::give_files(const User& user) {
    const auto is_given = [&](const std::string& path, const base::Status& given) {
        if (given) return true;
        base::log_error("app", path, "cannot be made server.user's ({}): {}", user.name,
                        given.error().message());
        return false;
    };
    if (setup_->needs_stapler()) {
        const std::string& store = setup_->engine.store_dir;
        auto given = give_tree(store, user);
        if (!given) return is_given(store, given.error());
        for (const std::string& line : given->skipped) {
            base::log_warn("app", store, "not given to {}: {}", user.name, line);
        }
        if (given->skipped_more > 0) {
            base::log_warn("app", store, "not given to {}: {} more", user.name,
                           given->skipped_more);
        }
        if (given->entries > 0) {
            base::log_info("app", store, "{} files and directories are {}'s now", given->entries,
                           user.name);
        }
    }
    const std::string& log = setup_->configuration.server.access_log.path;
    if (!log.empty() && log != "-" && !is_given(log, make_log(log, user))) return false;
    // Whoever shares the user's group may then use `mdfront certs` and so on.
    for (const OpenListener& listener : admin_listeners_) {
        if (!listener.address.is_unix()) continue;
        const std::string socket = listener.address.text().substr(5);
        if (!is_given(socket, give_socket(socket, user))) return false;
    }
    return true;
}

std::vector<WorkerPlan> Server::make_plans() {
    const Configuration& configuration = setup_->configuration;
    std::vector<WorkerPlan> plans(workers_count_);
    for (size_t i = 0; i < plans.size(); ++i) {
        proxy::WorkerOptions& options = plans[i].options;
        options.number = static_cast<int>(i);
        options.loop = worker_loop_;
        options.tls.policy = configuration.tls.policy;
        options.tls.groups = configuration.tls.groups;
        options.tls.handshake_pool = handshake_pool_.get();
        options.tls.certificates_decoded_max =
            static_cast<size_t>(configuration.tls.certificates_decoded_max);
        const std::string& path = configuration.server.access_log.path;
        if (!path.empty()) options.access_log = base::Log::open_file(path);
        for (OpenListener& listener : listeners_) {
            plans[i].sockets.push_back(
                {std::move(listener.fds[i]), listener.protocol, listener.public_port});
        }
    }
    listeners_.clear();
    return plans;
}

bool Server::start_workers() {
    handshake_pool_ = std::make_unique<tls::HandshakePool>();
    std::string why;
    if (!workers_.start(make_plans(), why)) {
        base::log_error("app", "", "a worker cannot start: {}", why);
        return false;
    }
    bridge_.set_workers(workers_.posts());
    return true;
}

bool Server::start_admin() {
    if (admin_listeners_.empty()) return true;
    const AdminSettings& settings = setup_->configuration.admin;
    admin_handler_ = std::make_unique<AdminHandler>(*this, *this,
                                                    AdminOptions{settings.hosts, settings.actions});
    std::vector<WorkerPlan> plans(1);
    proxy::WorkerOptions& options = plans[0].options;
    options.number = static_cast<int>(workers_count_);
    options.local = admin_handler_.get();
    options.loop = admin_loop();
    options.loop.connections_max = descriptors_.admin_connections_max;
    options.loop.chunks_max = 1024;
    for (OpenListener& listener : admin_listeners_) {
        plans[0].sockets.push_back(
            {std::move(listener.fds[0]), listener.protocol, listener.address.port()});
    }
    admin_listeners_.clear();
    std::string why;
    if (!admin_.start(std::move(plans), why)) {
        base::log_error("app", "", "the admin worker cannot start: {}", why);
        return false;
    }
    return true;
}

// ---- while it runs

void Server::rotate_ticket_keys() {
    const base::Time now = clock_.now();
    tickets_rotated_ = now;
    snapshots_.tls.ticket_keys.update(
        [&](const tls::TicketKeys& keys) { return keys.rotated(random_, now); });
}

void Server::serve() {
    for (;;) {
        const base::Duration age = clock_.now() - tickets_rotated_;
        // A clock that was set back makes an age below zero.
        if (age >= tls::TicketKeys::lifetime || age < base::Duration::zero()) {
            rotate_ticket_keys();
            continue;
        }
        // Looked at every minute: the wall clock may jump while we wait.
        const base::Duration next = tls::TicketKeys::lifetime - age;
        const auto signal = wait_signal(std::min<base::Duration>(next, std::chrono::minutes{1}));
        if (!signal) continue;
        switch (*signal) {
            case SIGHUP:
                reload();
                break;
            case SIGUSR1:
                base::Log::reopen();
                base::log_info("app", "", "SIGUSR1: log files are opened anew");
                break;
            default:
                base::log_info("app", "", "{}: finishing what is under way, at most {}",
                               *signal == SIGTERM ? "SIGTERM" : "SIGINT",
                               base::format_duration(setup_->configuration.server.drain_timeout));
                return;
        }
    }
}

void Server::reload() {
    Mistakes mistakes;
    auto loaded = load_setup(path_, mistakes, clock_.now());
    for (const std::string& line : mistakes.warning_lines()) base::log_warn("app", "", "{}", line);
    for (const std::string& line : mistakes.lines()) base::log_error("app", "", "{}", line);
    if (!loaded) {
        base::log_error("app", "", "SIGHUP: {} is refused; the configuration before it stays",
                        path_);
        return;
    }
    for (const std::string& change :
         changes_for_next_start(*setup_, *loaded, stapler_ != nullptr)) {
        base::log_warn("app", "", "SIGHUP: {} takes effect at the next start", change);
    }
    if (loaded->configuration.limits.connections_max !=
        setup_->configuration.limits.connections_max) {
        const DescriptorNeeds needs =
            needs_of(loaded->configuration, workers_wanted(loaded->configuration));
        const auto budget = divide_descriptors(descriptors_.limit, needs);
        if (budget) log_descriptors(*budget, needs, "at the next start: ");
    }
    keep_listeners(*loaded, setup_->configuration);
    if (!start_late(*loaded)) {
        base::log_error("app", "",
                        "SIGHUP: {} is refused, since the store that it needs now cannot be "
                        "used; the configuration before it stays. Make {} for the user that "
                        "mdfront runs as, and send SIGHUP again",
                        path_, loaded->engine.store_dir);
        return;
    }
    base::Log::set_level(loaded->configuration.server.log_level);
    watch_statics(*loaded);
    // Which name has whose certificate, then the certificates of new domains, then the sites that
    // need them.
    bridge_.configure(*loaded);
    if (engine_) engine_->change_domains(loaded->domains);
    if (stapler_) stapler_->start();  // if it is new
    snapshots_.routes.publish(loaded->routes);
    const std::string summary = loaded->summary();
    {
        const std::lock_guard lock(status_mutex_);
        // What cannot change stays known as it is, so that the next reload tells of it again.
        setup_->routes = loaded->routes;
        const uint32_t connections_max = setup_->configuration.limits.connections_max;
        setup_->configuration.limits = loaded->configuration.limits;
        setup_->configuration.limits.connections_max = connections_max;
        setup_->configuration.sites = loaded->configuration.sites;
        setup_->configuration.md.certificate_check = loaded->configuration.md.certificate_check;
        setup_->configuration.md.server_status = loaded->configuration.md.server_status;
        setup_->configuration.server.drain_timeout = loaded->configuration.server.drain_timeout;
        setup_->configuration.server.log_level = loaded->configuration.server.log_level;
        setup_->domains = std::move(loaded->domains);
    }
    base::log_info("app", "", "SIGHUP: {} is in effect ({})", path_, summary);
}

bool Server::start_late(const Setup& setup) {
    const bool needs_engine = !engine_ && !setup.domains.empty();
    if (!stapler_ && setup.needs_stapler()) {
        if (!make_stapler(setup)) return false;
        const std::lock_guard lock(status_mutex_);
        setup_->engine = setup.engine;
        setup_->configuration.md = setup.configuration.md;
    }
    if (!needs_engine) return true;
    auto engine = make_engine(setup, {});
    if (const auto loaded = engine->load(); !loaded) {
        base::log_error("app", setup.engine.store_dir, "{}", loaded.error().message());
        stapler_->set_listener(nullptr);
        return false;
    }
    engine->start();
    const std::lock_guard lock(status_mutex_);
    setup_->engine = setup.engine;
    setup_->configuration.md = setup.configuration.md;
    engine_ = std::move(engine);
    return true;
}

md::Engine* Server::engine() {
    const std::lock_guard lock(status_mutex_);
    return engine_.get();
}

// ---- end

void Server::drain() {
    using Steady = std::chrono::steady_clock;
    const auto end = Steady::now() + setup_->configuration.server.drain_timeout;
    // Nobody waits for workers from here on: they end one by one.
    bridge_.set_workers({});
    workers_.drain();
    // It must not ask a CA to look at listeners that are closed. What it was doing goes on after
    // the next start.
    stop_engine();
    for (;;) {
        if (workers_.wait_ended(std::chrono::milliseconds{50})) return;
        if (Steady::now() >= end) {
            base::log_warn("app", "", "server.drain_timeout is over: what is under way is cut");
            return;
        }
        const auto signal = wait_signal(base::Duration{0});
        if (signal == SIGTERM || signal == SIGINT) {
            base::log_warn("app", "", "second signal: what is under way is cut");
            return;
        }
    }
}

void Server::stop_engine() {
    clock_.stop();
    if (stapler_) stapler_->stop();  // it tells the engine
    if (engine_) engine_->stop();
}

void Server::watch_statics(const Setup& setup) {
    if (!stapler_) return;
    std::vector<std::shared_ptr<const tls::Certificate>> certificates;
    for (const StaticCertificates& site : setup.statics) {
        for (const auto& one : site.set->certificates) certificates.push_back(one);
    }
    stapler_->watch(setup.others, certificates);
}

void Server::stop() {
    bridge_.set_workers({});
    // The admin worker asks engine and workers: it goes first.
    admin_.stop();
    admin_.join();
    stop_engine();
    // What it has in hand goes back to a worker that is there.
    if (handshake_pool_) handshake_pool_->stop();
    workers_.stop();
    workers_.join();
    listeners_.clear();
    admin_listeners_.clear();
    base::Log::stop();
}

}  // namespace app
