// What the engine does with one domain at a time: declared in engine.h.

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/activation.h"
#include "md/drive.h"
#include "md/engine.h"
#include "md/poll.h"
#include "md/renewal.h"

namespace md {

namespace {

using std::chrono::hours;

constexpr base::Duration job_save_interval = std::chrono::milliseconds{500};  // mod_md.md 3.6
/// A certificate that is due for renewal as soon as it is installed is asked for once a day.
constexpr base::Duration always_due_interval = hours{24};

/// job.json knows whole seconds.
base::Time whole_seconds(base::Time time) {
    return std::chrono::ceil<std::chrono::seconds>(time);
}

}  // namespace

base::Time Engine::visit(Entry& entry, Transport& transport) {
    bool requested = false;
    Visit visit{.entry = entry, .stored = {}, .served = {}, .job = {}};
    {
        const std::lock_guard lock(mutex_);
        requested = std::exchange(entry.requested, false);
        visit.stored = entry.stored;
        visit.served = entry.served;
        if (entry.job) visit.job = *entry.job;
    }
    const Domain& domain = visit.stored.domain;
    visit.job.name = domain.name;
    const base::Time now = clock_.now();
    if (!requested && visit.job.next_run && *visit.job.next_run > now) return *visit.job.next_run;
    visit.job.next_run.reset();
    try {
        if (visit.job.finished && !requested) return install_when_ready(visit);
        const bool due = may_renew(domain, visit.stored.state) && due_at(visit) <= now;
        if (requested || due) return renew(visit, transport, requested);
        if (entry.job) forget_job(visit);  // of an attempt that is not needed any more
        warn_of_expiry(visit);
        return next_check(visit);
    } catch (const std::exception& error) {  // the libraries': none of ours throws
        return failed(visit, make_problem(EINVAL, fmt::format("internal error: {}", error.what())));
    }
}

/// When the renew window of what is served opens. With static files and renew_mode "always" the
/// set in domains/ is kept ready beside them: it must be due, too.
base::Time Engine::due_at(const Visit& visit) {
    const Domain& domain = visit.stored.domain;
    const base::Time now = clock_.now();
    const base::Time due = renew_at(domain, visit.served, visit.stored.state, now);
    if (!domain.is_static()) return due;
    const std::vector<Slot> beside =
        load_credentials(store_, Group::Domains, domain.name, domain.key_specs());
    return std::max(due, renew_at(domain, beside, DomainState::Complete, now));
}

base::Time Engine::renew(Visit& visit, Transport& transport, bool requested) {
    const Domain& domain = visit.stored.domain;
    Job& job = visit.job;
    {
        const std::lock_guard lock(mutex_);
        visit.entry.driving = true;
        visit.entry.staged.clear();
    }
    base::log_info("md", domain.name, "renewal begins{}", requested ? ", as asked for" : "");
    job.last_run = clock_.now();
    job.finished = false;
    job.valid_from.reset();
    job.note(clock_.now(), "starting", "", "");
    save(visit, true);

    Drive drive({.store = store_,
                 .clock = clock_,
                 .transport = transport,
                 .port = challenge_port_,
                 .accounts = accounts_,
                 .settings = settings_},
                visit.stored, job, [&](const Job&) { save(visit, false); });
    const auto outcome = drive.run(requested);
    const base::Time now = clock_.now();
    job.activity.clear();
    if (!outcome) {
        if (!is_stopping(outcome.error())) return failed(visit, outcome.error());
        save(visit, true);
        return now;
    }
    auto staged = check_staged(store_, domain, now);
    if (!staged) return failed(visit, staged.error());
    job.errors = 0;
    job.last = Problem{0, {}, {}, {}, {}};
    job.finished = true;
    job.valid_from =
        ready_at(visit.served, visit.stored.state, *staged, settings_.activation_delay, now);
    job.note(now, "finished", "", "");
    {
        const std::lock_guard lock(mutex_);
        visit.entry.staged = without_texts(std::move(*staged));
    }
    save(visit, true);
    return install_when_ready(visit);
}

base::Time Engine::failed(Visit& visit, const Problem& problem) {
    Job& job = visit.job;
    const base::Time now = clock_.now();
    job.errors = std::min(job.errors + 1, 1'000'000);
    job.last = problem;
    job.activity.clear();
    job.next_run =
        whole_seconds(now + retry_after(job.errors, problem, settings_.retry_delay, random_));
    job.note(now, "renewal-error", problem.type, problem.message());
    base::log_warn("md", job.name, "renewal failed ({} in a row): {}; next attempt at {}",
                   job.errors, base::escape_for_log(problem.message()),
                   base::format_rfc3339(*job.next_run));
    save(visit, true);
    certificate_port_.publish_status(job.name, visit.stored.domain.names,
                                     certificate_status(status_of(visit.entry)));
    return *job.next_run;
}

base::Time Engine::install_when_ready(Visit& visit) {
    const Domain& domain = visit.stored.domain;
    const base::Time now = clock_.now();
    auto staged = check_staged(store_, domain, now);
    if (!staged) {
        base::log_warn("md", domain.name, "the staged set cannot be used, renewal starts anew: {}",
                       base::escape_for_log(staged.error().message()));
        visit.job.finished = false;
        if (auto reset = reset_staging(store_, domain.name); !reset) {
            return failed(visit, reset.error());
        }
        save(visit, true);
        return now;
    }
    const base::Time ready = visit.job.valid_from.value_or(now);
    if (ready <= now) return install(visit, *staged);
    base::log_info("md", domain.name, "the new certificate is installed at {}",
                   base::format_rfc3339(ready));
    visit.job.next_run = whole_seconds(ready);
    save(visit, true);
    certificate_port_.publish_status(domain.name, domain.names,
                                     certificate_status(status_of(visit.entry)));
    return *visit.job.next_run;
}

base::Time Engine::install(Visit& visit, const std::vector<Slot>& staged) {
    const Domain domain = visit.stored.domain;
    const base::Time now = clock_.now();
    visit.job.next_run.reset();
    auto moved = transfer_staged(store_, accounts_, domain, staged, visit.job, now);
    if (!moved) return failed(visit, moved.error());  // finished stays: it is tried again

    visit.served = without_texts(load_live_credentials(store_, files_, domain));
    const StateReport report = evaluate_state(domain, visit.served);
    if (auto stored = load_domain(store_, Group::Domains, domain.name, now); stored && *stored) {
        visit.stored.ca_account = (*stored)->ca_account;
        visit.stored.ca_url = (*stored)->ca_url;
    }
    visit.stored.state = report.state;
    visit.stored.state_description = report.description;
    visit.job = {};
    visit.job.name = domain.name;
    {
        const std::lock_guard lock(mutex_);
        visit.entry.stored = visit.stored;
        visit.entry.served = visit.served;
        visit.entry.archived.clear();
        visit.entry.staged.clear();
        visit.entry.job.reset();
    }
    publish(visit.entry);
    for (const Slot& slot : staged) {
        base::log_info("md", domain.name,
                       "certificate ({}) installed, issued by {}, valid until {}", slot.label,
                       base::escape_for_log(slot.certificate->issuer),
                       base::format_rfc3339(slot.certificate->not_after));
    }
    return next_check(visit);
}

/// The regular check (mod_md.md 4.3), or soon after the renew window opens if that is earlier: with
/// a jitter, so that certificates of the same age do not all come at once (faults.md CA-46).
base::Time Engine::next_check(Visit& visit) {
    const base::Time now = clock_.now();
    const base::Duration regular = check_delay(settings_.check_interval, random_);
    if (!may_renew(visit.stored.domain, visit.stored.state)) return now + regular;
    const base::Time due = due_at(visit);
    if (due <= now) {  // only after an installation
        base::log_warn("md", visit.stored.domain.name,
                       "the new certificate is due for renewal already{}: is renew_window longer "
                       "than its lifetime?",
                       visit.stored.state_description.empty()
                           ? ""
                           : " (" + visit.stored.state_description + ")");
        visit.job.next_run = whole_seconds(now + std::max(regular, always_due_interval));
        save(visit, true);
        return *visit.job.next_run;
    }
    if (due >= now + regular) return now + regular;
    base::Time end = base::Time::max();
    for (const Slot& slot : visit.served) {
        if (slot.certificate) end = std::min(end, slot.certificate->not_after);
    }
    const base::Duration spread =
        std::max<base::Duration>(std::min(regular, end - due) / 16, base::Duration::zero());
    return due + base::Duration{random_.below(static_cast<uint64_t>(spread.count()) + 1)};
}

void Engine::warn_of_expiry(const Visit& visit) {
    const Domain& domain = visit.stored.domain;
    const base::Time now = clock_.now();
    if (!is_watched(domain, visit.stored.state) || !in_warn_window(domain, visit.served, now)) {
        return;
    }
    for (const Slot& slot : visit.served) {
        if (!slot.certificate) continue;
        base::log_warn("md", domain.name, "certificate ({}) {} at {} and is not renewed here",
                       slot.label, slot.certificate->not_after <= now ? "expired" : "expires",
                       base::format_rfc3339(slot.certificate->not_after));
    }
}

/// The job in the table, and on disk: at most every half second unless forced.
void Engine::save(Visit& visit, bool force) {
    const base::Time now = clock_.now();
    {
        const std::lock_guard lock(mutex_);
        visit.entry.job = visit.job;
        const base::Duration since = now - visit.entry.job_saved;
        // A clock that went back must not keep it from disk.
        if (!force && since >= base::Duration::zero() && since < job_save_interval) return;
        visit.entry.job_saved = now;
    }
    if (auto saved = save_job(store_, Group::Staging, visit.job); !saved) {
        base::log_warn("md", visit.job.name, "{}", saved.error().message());
    }
}

void Engine::forget_job(Visit& visit) {
    visit.job = {};
    visit.job.name = visit.stored.domain.name;
    {
        const std::lock_guard lock(mutex_);
        visit.entry.job.reset();
        visit.entry.staged.clear();
    }
    if (auto purged = store_.purge(Group::Staging, visit.job.name); !purged) {
        base::log_warn("md", visit.job.name, "{}", purged.error().message());
    }
}

}  // namespace md
