// The engine's events, and the jobs that live for them alone: declared in engine.h (mod_md.md 4.8,
// 4.9, 5.12).
//
// Once a set is served, its job lives in domains/<name>/job.json. As long as an event of it is not
// raised ("notified" for installed, "notified-renewed" for renewed), the domain is announcing: also
// after a restart, and with a back-off that grows if a program fails. A due renewal does not wait
// for that.

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/engine.h"
#include "md/poll.h"
#include "md/renewal.h"

namespace md {

Outcome<void> Engine::raise(Visit& visit, EventKind kind) {
    return events_.raise({kind}, visit.stored.domain, visit.job);
}

void Engine::tell_status(const Visit& visit) {
    const std::lock_guard lock(mutex_);
    publish_status(visit.entry);
}

/// A new attempt goes on with the log of what is served: events are limited by it.
void Engine::carry_log_over(Visit& visit) {
    if (visit.is_announcing) {
        Job fresh;
        fresh.name = visit.job.name;
        fresh.log = std::move(visit.job.log);
        visit.job = std::move(fresh);
        visit.is_announcing = false;
    } else if (visit.job.log.empty()) {
        auto former = load_job(store_, Group::Domains, visit.job.name, clock_.now());
        if (former && *former) visit.job.log = (*former)->log;
    }
}

/// The event "renewing": a program that fails keeps the attempt from being made. No error is
/// counted; the next regular check asks again.
bool Engine::may_begin(Visit& visit) {
    const auto raised = raise(visit, EventKind::Renewing);
    if (raised) return true;
    if (is_stopping(raised.error())) return false;
    base::log_warn("md", visit.job.name,
                   "not renewed now, since the command for \"renewing\" failed");
    visit.job.last = raised.error();
    (void)warn_of_expiry(visit);  // its failure changes nothing here
    save(visit, true);
    tell_status(visit);
    return false;
}

/// Raises what is still to be told of the set that is served. Returns when to go on with it;
/// nullopt: all is told.
std::optional<base::Time> Engine::announce(Visit& visit) {
    Job& job = visit.job;
    if (!job.notified_renewed && !job.next_run) {
        const auto raised = raise(visit, EventKind::Renewed);
        if (!raised && is_stopping(raised.error())) return clock_.now();
        job.notified_renewed = raised.ok();
        if (!raised) (void)count_failure(visit, raised.error());
    }
    if (!job.notified) {
        const auto raised = raise(visit, EventKind::Installed);
        if (!raised && is_stopping(raised.error())) return clock_.now();
        job.notified = true;  // whatever came of it
    }
    if (!job.notified_renewed) {
        save(visit, true);
        return std::min(*job.next_run, renewal_beside_announcement(visit, clock_.now()));
    }
    job.errors = 0;
    job.last = Problem{0, {}, {}, {}, {}};
    save(visit, true);
    {
        const std::lock_guard lock(mutex_);
        visit.entry.job.reset();
        visit.entry.is_announcing = false;
    }
    visit.is_announcing = false;
    visit.job = {};
    visit.job.name = visit.stored.domain.name;
    tell_status(visit);
    return std::nullopt;
}

/// When a renewal begins although events of what is served are still to be raised. A certificate
/// that was due as soon as it was made waits its day all the same.
base::Time Engine::renewal_beside_announcement(const Visit& visit, base::Time now) {
    if (!may_renew(visit.stored.domain, visit.stored.state)) return base::Time::max();
    const base::Time due = due_at(visit, now);
    const auto& made = visit.job.last_run;
    return made && due <= *made ? *made + always_due_interval : due;
}

/// A domain that nobody renews now: clears up after former attempts, and warns once a day when its
/// end comes near.
base::Time Engine::look_after_expiry(Visit& visit) {
    const bool near_end = is_watched(visit.stored.domain, visit.stored.state) &&
                          in_warn_window(visit.stored.domain, visit.served, clock_.now());
    const bool of_attempt = visit.job.last_run || visit.job.finished;
    if (visit.entry.job && (of_attempt || !near_end)) forget_job(visit, near_end);
    if (!near_end) return next_check(visit, false);

    const size_t noted = visit.job.log.size();
    const int errors = visit.job.errors;
    const auto warned = warn_of_expiry(visit);
    if (!warned) {
        return is_stopping(warned.error()) ? clock_.now() : count_failure(visit, warned.error());
    }
    visit.job.errors = 0;
    visit.job.last = Problem{0, {}, {}, {}, {}};
    if (visit.job.log.size() != noted || errors != 0) save(visit, true);
    const base::Time again = clock_.now() + event_interval(EventKind::Expiring);
    return std::min(next_check(visit, false), again);
}

/// The event "expiring", and a line in the log with it. Nothing if it is too early or too soon.
Outcome<void> Engine::warn_of_expiry(Visit& visit) {
    const Domain& domain = visit.stored.domain;
    const base::Time now = clock_.now();
    if (!is_watched(domain, visit.stored.state) || !in_warn_window(domain, visit.served, now) ||
        visit.stored.state == DomainState::Incomplete ||
        events_.is_too_soon({EventKind::Expiring}, visit.job)) {
        return {};
    }
    for (const Slot& slot : visit.served) {
        if (!slot.certificate) continue;
        base::log_warn(
            "md", domain.name, "certificate ({}) {} at {} and {}", slot.label,
            slot.certificate->not_after <= now ? "expired" : "expires",
            base::format_rfc3339(slot.certificate->not_after),
            may_renew(domain, visit.stored.state) ? "is not renewed yet" : "is not renewed here");
    }
    return raise(visit, EventKind::Expiring);
}

}  // namespace md
