#include "md/engine.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/acme_client.h"
#include "md/acme_order.h"
#include "md/activation.h"
#include "md/renewal.h"
#include "md/server_status.h"

namespace md {

namespace {

constexpr base::Duration sleep_slice = std::chrono::milliseconds{200};
/// A thread without work looks at the clock so often: wall time may have jumped (faults.md PR-15).
constexpr base::Duration idle_max = std::chrono::seconds{60};
constexpr base::Duration failure_wait_max = std::chrono::hours{36};  // a day and its jitter (job.h)
constexpr base::Duration pause_max = std::chrono::hours{24};         // of a CA's Retry-After
constexpr base::Duration replan_slack = std::chrono::hours{1};

const std::string& ca_of(const StoredDomain& stored) {
    static const std::string none;
    return stored.domain.ca_urls.empty() ? none : stored.domain.ca_urls.front();
}

}  // namespace

bool StoppableClock::sleep(base::Duration duration) {
    while (duration > base::Duration::zero()) {
        if (stopped()) return false;
        const base::Duration slice = std::min(duration, sleep_slice);
        if (!clock_.sleep(slice)) return false;
        duration -= slice;
    }
    return !stopped();
}

std::vector<Slot> Engine::without_texts(const std::vector<Slot>& slots) {
    std::vector<Slot> kept;
    kept.reserve(slots.size());
    for (const Slot& slot : slots) kept.push_back(slot.without_texts());
    return kept;
}

Engine::Engine(EngineSettings settings, std::vector<Domain> domains, Store& store, Files& files,
               base::Clock& clock, base::Random& random, TransportFactory transports,
               ChallengePort& challenges, CertificatePort& certificates, Commands& commands,
               KeyFactory& keys, Stapler* stapler)
    : settings_(std::move(settings)),
      store_(store),
      files_(files),
      clock_(clock),
      random_(random),
      transport_factory_(std::move(transports)),
      challenge_port_(challenges),
      certificate_port_(certificates),
      accounts_(store),
      commands_(commands),
      keys_(keys),
      stapler_(stapler),
      wanted_(std::move(domains)) {}

Engine::~Engine() {
    stop();
}

/// The job in staging, else that of what is served if not all of its events were raised.
void Engine::load_job_of(Entry& entry) {
    const std::string& name = entry.stored.domain.name;
    for (const Group group : {Group::Staging, Group::Domains}) {
        auto job = load_job(store_, group, name, clock_.now());
        if (!job) {
            base::log_warn("md", name, "{}", job.error().message());
            continue;
        }
        if (!*job) continue;
        if (group == Group::Domains) {
            const bool is_told = (*job)->notified && (*job)->notified_renewed;
            if (!(*job)->finished || is_told) return;
            entry.is_announcing = true;
        }
        entry.job = std::move(*job);
        return;
    }
}

void Engine::start() {
    base::check(threads_.empty());
    const int count = std::clamp(settings_.domains_in_parallel, 1, 64);
    for (int i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
}

void Engine::stop() {
    clock_.stop();
    stop_.request_stop();
    {
        const std::lock_guard lock(mutex_);
        for (Transport* transport : transports_) transport->cancel();
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
}

void Engine::work() {
    const std::unique_ptr<Transport> transport = transport_factory_();
    std::unique_lock lock(mutex_);
    transports_.insert(transport.get());
    while (!clock_.stopped()) {
        const base::Time now = clock_.now();
        Entry* entry = take_due(now);
        if (entry == nullptr) {
            const base::Duration pause = std::min(until_next(now).value_or(idle_max), idle_max);
            wake_.wait_for(lock, pause);
            continue;
        }
        lock.unlock();
        run(*entry, *transport);
        lock.lock();
    }
    transports_.erase(transport.get());
}

/// The longest wait of any plan: of a failure, a regular check, a set that is not valid yet.
base::Duration Engine::wait_max() const {
    return std::max({failure_wait_max, settings_.check_interval * 2, settings_.initial_delay,
                     settings_.activation_delay + clock_skew_max}) +
           replan_slack;
}

/// What lies further ahead than anything is ever planned was planned by a clock that was wrong, and
/// has been set back since (faults.md PR-15): it must not wait until that time comes. The CA may
/// have asked for a pause, which is a day at most.
bool Engine::correct_times(Job& job, base::Time now) const {
    bool is_changed = false;
    if (job.last_run && *job.last_run > now) {
        job.last_run = now;
        is_changed = true;
    }
    if (job.next_run && *job.next_run > now + wait_max()) {
        job.next_run = now + pause_max;
        is_changed = true;
    }
    return is_changed;
}

/// Brings forward the visits that correct_times() is about.
void Engine::replan(base::Time now) {
    while (!queue_.empty() && (*queue_.rbegin())->next_visit > now + wait_max()) {
        Entry* entry = *queue_.rbegin();
        queue_.erase(entry);
        entry->next_visit = now;
        if (entry->job) {
            (void)correct_times(*entry->job, now);  // goes to disk with the next change
            if (entry->job->next_run) entry->next_visit = *entry->job->next_run;
        }
        queue_.insert(entry);
    }
}

/// The domain that is due first and whose CA has a thread left for it.
Engine::Entry* Engine::take_due(base::Time now) {
    replan(now);
    const int per_ca_max = std::max(settings_.domains_in_parallel / 2, 1);
    for (auto at = queue_.begin(); at != queue_.end() && (*at)->next_visit <= now; ++at) {
        Entry* entry = *at;
        int& running = running_per_ca_[ca_of(entry->stored)];
        if (running >= per_ca_max) continue;
        ++running;
        entry->running = true;
        queue_.erase(at);
        return entry;
    }
    return nullptr;
}

/// How long nothing becomes due. What is due and waits for its CA's turn is woken by give_back().
std::optional<base::Duration> Engine::until_next(base::Time now) const {
    const auto next = std::find_if(queue_.begin(), queue_.end(),
                                   [&](const Entry* entry) { return entry->next_visit > now; });
    if (next == queue_.end()) return std::nullopt;
    return (*next)->next_visit - now;
}

void Engine::give_back(Entry& entry, base::Time next_visit) {
    bool is_awaited = false;
    {
        const std::lock_guard lock(mutex_);
        entry.running = false;
        entry.driving = false;
        const bool is_asked = entry.requests.any() || !entry.found_revoked.empty();
        entry.next_visit = is_asked ? base::Time::min() : next_visit;
        --running_per_ca_[ca_of(entry.stored)];  // as take_due() counted: a domain keeps its CAs
        // A change may be waiting for this one: no thread takes it before that.
        is_awaited = is_change_waiting_ && !clock_.stopped();
        if (!is_awaited) queue_.insert(&entry);
    }
    if (is_awaited) settle_domains({});
    wake_.notify_one();
}

void Engine::run(Entry& entry, Transport& transport) {
    const base::Time next = visit(entry, transport);
    give_back(entry, next);
}

size_t Engine::run_due() {
    if (!own_transport_) own_transport_ = transport_factory_();
    size_t visits = 0;
    while (!clock_.stopped()) {
        Entry* entry = nullptr;
        {
            const std::lock_guard lock(mutex_);
            entry = take_due(clock_.now());
        }
        if (entry == nullptr) break;
        run(*entry, *own_transport_);
        ++visits;
    }
    return visits;
}

std::optional<base::Time> Engine::next_due() const {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) return std::nullopt;
    return (*queue_.begin())->next_visit;
}

/// Hands over what the domain has. Called without the mutex by whoever works on the entry.
void Engine::publish(const Entry& entry) {
    const Domain& domain = entry.stored.domain;
    watch_staples(entry);
    std::vector<std::shared_ptr<const tls::Certificate>> certificates = unrevoked(entry);
    for (const auto& certificate : usable(entry.archived)) certificates.push_back(certificate);
    if (certificates.empty()) {
        auto fallback = fallback_certificate(store_, domain, clock_.now());
        if (fallback) {
            certificates.push_back(*fallback);
        } else {
            base::log_error("md", domain.name, "{}", fallback.error().message());
        }
    }
    certificate_port_.publish(domain.name, domain.names, std::move(certificates));
    const std::lock_guard lock(mutex_);
    publish_status(entry);
}

/// With the mutex: nothing older overtakes what another thread tells.
void Engine::publish_status(const Entry& entry) {
    const Domain& domain = entry.stored.domain;
    certificate_port_.publish_status(
        domain.name, domain.names,
        domain.certificate_status ? certificate_status(status_of(entry)) : "");
}

/// A set that was ready when the process ended, or that mod_md staged and waited for a restart with
/// (mod_md.md 3.7). True if it is what is served now.
bool Engine::install_at_start(Entry& entry) {
    const Domain& domain = entry.stored.domain;
    const base::Time now = clock_.now();
    // A set whose job is finished is as good as it was: reconcile() may just have written md.json,
    // which makes the one in staging look out of date.
    const bool is_finished = entry.job && !entry.is_announcing && entry.job->finished;
    if (domain.is_static() ||
        (!is_finished && !staging_reset_reason(store_, domain, false, now).empty())) {
        return false;
    }
    auto staged = check_staged(store_, domain, now);
    if (!staged) return false;
    if (auto guarded = guard(domain, *staged, now); !guarded) {
        base::log_error("md", domain.name, "the staged set is not used: {}",
                        guarded.error().message());
        return false;
    }
    entry.staged = without_texts(*staged);
    // What it has set up is taken down first, which may take a program's time.
    if (auto order = load_order(store_, domain.name); !order || *order) return false;
    Job job = entry.job && !entry.is_announcing ? *entry.job : Job{};
    job.name = domain.name;
    const base::Time ready = job.valid_from.value_or(
        ready_at(entry.served, entry.stored.state, *staged, settings_.activation_delay, now));
    if (ready > now) return false;
    // A staple takes time, and the listeners wait for us: the first visit sees to it.
    const auto needs_staple = [](const Slot& slot) { return slot.certificate->must_staple; };
    if (stapler_ != nullptr && std::any_of(staged->begin(), staged->end(), needs_staple)) {
        return false;
    }
    Visit visit{
        .entry = entry, .stored = entry.stored, .served = without_texts(entry.served), .job = job};
    if (auto installed = install(visit, *staged); !installed) {
        entry.next_visit = count_failure(visit, installed.error());
        return false;
    }
    return true;  // its events are raised at the first visit
}

}  // namespace md
