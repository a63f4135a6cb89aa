// What the engine does with one domain at a time: declared in engine.h.

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/activation.h"
#include "md/dns01.h"
#include "md/drive.h"
#include "md/engine.h"
#include "md/issuance.h"
#include "md/poll.h"
#include "md/renewal.h"

namespace md {

namespace {

constexpr base::Duration job_save_interval = std::chrono::milliseconds{500};  // mod_md.md 3.6
/// While the files of a domain cannot be read.
constexpr base::Duration look_again_interval = std::chrono::minutes{1};

/// job.json knows whole seconds.
base::Time whole_seconds(base::Time time) {
    return std::chrono::ceil<std::chrono::seconds>(time);
}

}  // namespace

/// Files that could not be read are looked at again: the disk may be back, or their mode mended.
void Engine::look_again(Visit& visit) {
    const auto is_broken = [](const Slot& slot) { return slot.fault == Slot::Fault::Broken; };
    if (std::none_of(visit.served.begin(), visit.served.end(), is_broken)) return;
    const Domain& domain = visit.stored.domain;
    std::vector<Slot> slots = load_live_credentials(store_, files_, domain);
    if (std::any_of(slots.begin(), slots.end(), is_broken)) return;
    auto stored = load_domain(store_, Group::Domains, domain.name, clock_.now());
    if (!stored) return;
    if (*stored) {
        visit.stored.ca_account = (*stored)->ca_account;
        visit.stored.ca_url = (*stored)->ca_url;
    }
    base::log_info("md", domain.name, "what is stored can be read again");
    const StateReport report = evaluate_state(domain, slots);
    visit.stored.state = report.state;
    visit.stored.state_description = report.description;
    visit.served = without_texts(slots);
    {
        const std::lock_guard lock(mutex_);
        visit.entry.stored = visit.stored;
        visit.entry.served = without_texts(visit.served);
        if (report.state == DomainState::Complete) visit.entry.archived.clear();
    }
    publish(visit.entry);
}

base::Time Engine::visit(Entry& entry, Transport& transport) {
    Requests requests;
    std::vector<RevokedCertificate> found_revoked;
    Visit visit{.entry = entry, .stored = {}, .served = {}, .job = {}};
    {
        const std::lock_guard lock(mutex_);
        requests = std::exchange(entry.requests, {});
        found_revoked = std::exchange(entry.found_revoked, {});
        entry.is_answering = requests.any();
        visit.stored = entry.stored;
        visit.served = without_texts(entry.served);
        if (entry.job) visit.job = *entry.job;
        visit.is_announcing = entry.is_announcing;
        visit.renewal_infos = entry.renewal_infos;
        visit.revoked = entry.revoked;
        visit.is_revoked_unsaved = entry.is_revoked_unsaved;
    }
    visit.job.name = visit.stored.domain.name;
    base::Time next = clock_.now();
    try {
        answer(visit, transport, requests);
        const bool is_urgent = learn_revoked(visit, found_revoked);
        next = this->visit(visit, transport, requests.renew || requests.revoke, is_urgent);
    } catch (const std::exception& error) {  // the libraries': none of ours throws
        next = failed(visit, make_problem(EINVAL, fmt::format("internal error: {}", error.what())));
    }
    if (requests.any()) {
        const std::lock_guard lock(mutex_);
        entry.is_answering = false;
        ++entry.requests_done;
        entry.request_error = std::move(visit.failure);
    }
    return next;
}

base::Time Engine::visit(Visit& visit, Transport& transport, bool requested, bool is_urgent) {
    const Domain& domain = visit.stored.domain;
    const base::Time now = clock_.now();
    look_again(visit);
    const bool waits = visit.job.next_run && *visit.job.next_run > now;
    const base::Time renewal =
        visit.is_announcing ? renewal_beside_announcement(visit, now) : base::Time::max();
    // Whoever failed last may have asked for silence: that holds, also for what is urgent.
    const bool at_once = requested || (is_urgent && !visit.job.is_silent(now));
    if (waits && !at_once && renewal > now) return std::min(*visit.job.next_run, renewal);
    visit.job.next_run.reset();
    if (visit.is_announcing && !at_once && !waits) {
        const auto& made = visit.job.last_run;
        const bool was_due_when_made = made && due_at(visit, now) <= *made;
        const auto next = announce(visit);
        if (renewal > now) return next ? *next : next_check(visit, was_due_when_made);
    }
    if (!visit.is_announcing && visit.job.finished && !requested) {
        return install_when_ready(visit);
    }
    const auto is_due = [&] {
        return may_renew(domain, visit.stored.state) && due_at(visit, now) <= now;
    };
    if (!at_once && !is_due()) {
        tell_contacts(visit, transport);
        ask_for_renewal_info(visit, transport);
    }
    if (at_once || is_due()) return renew(visit, transport, at_once);
    return look_after_expiry(visit);
}

/// When the renew window of what is served opens. With static files and renew_mode "always" the
/// set in domains/ is kept ready beside them: it must be due, too.
base::Time Engine::due_at(const Visit& visit, base::Time now) {
    const Domain& domain = visit.stored.domain;
    const base::Time due = std::min(renew_at(domain, visit.served, visit.stored.state, now),
                                    revoked_due_at(visit, now));
    // The CA's advice makes it earlier only: the window is what was promised.
    if (!domain.is_static()) return std::min(due, advised_at(visit.renewal_infos));
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
    carry_log_over(visit);
    if (!may_begin(visit)) {
        return clock_.now() +
               wait_before_end(check_delay(settings_.check_interval, random_), served_left(visit));
    }
    const bool is_urgent = revoked_due_at(visit, clock_.now()) != base::Time::max();
    base::log_info("md", domain.name, "renewal begins{}",
                   is_urgent   ? ", since a certificate in use was revoked"
                   : requested ? ", as asked for"
                               : "");
    job.last_run = clock_.now();
    job.finished = false;
    job.notified = false;
    job.notified_renewed = false;
    job.valid_from.reset();
    job.note(clock_.now(), "starting", "", "");
    save(visit, true);

    const Dns01 dns(commands_, settings_, domain, stop_.get_token());
    Drive drive({.store = store_,
                 .clock = clock_,
                 .transport = transport,
                 .port = challenge_port_,
                 .accounts = accounts_,
                 .settings = settings_,
                 .dns01 = dns,
                 .keys = keys_,
                 .events = events_},
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
    // Before the failures are forgotten: what the guard refuses comes again with the next attempt.
    if (auto guarded = guard(domain, *staged, now); !guarded) {
        return failed(visit, guarded.error());
    }
    count_urgent_renewal(visit);
    job.errors = 0;
    job.last = Problem{0, {}, {}, {}, {}};
    job.pause(Job::renewal, std::nullopt, now);
    job.finished = true;
    job.valid_from =
        ready_at(visit.served, visit.stored.state, *staged, activation_delay(visit, now), now);
    job.note(now, "finished", "", "");
    {
        const std::lock_guard lock(mutex_);
        visit.entry.staged = without_texts(*staged);
    }
    save(visit, true);
    return install_when_ready(visit);
}

/// The last guard before a set is served: it has to work. One that does not is kept aside.
Outcome<void> Engine::guard(const Domain& domain, const std::vector<Slot>& staged, base::Time now) {
    auto tried = try_staged(domain, staged);
    if (tried) return tried;
    for (const Slot& slot : staged) {
        keep_rejected(store_, domain.name, slot.spec, slot.chain_pem, slot.key_pem.text(),
                      tried.error(), now);
    }
    if (auto reset = reset_staging(store_, domain.name); !reset) {
        base::log_warn("md", domain.name, "{}", reset.error().message());
    }
    return tried;
}

/// How long what is served is still good: of damaged pairs those of the archive stand in.
base::Duration Engine::served_left(const Visit& visit) {
    std::vector<Slot> served = without_texts(visit.served);
    const std::vector<Slot>& archived = visit.entry.archived;
    for (const Slot& slot : archived) served.push_back(slot.without_texts());
    return validity_left(served, clock_.now());
}

base::Time Engine::count_failure(Visit& visit, const Problem& problem) {
    Job& job = visit.job;
    const base::Time now = clock_.now();
    visit.failure += (visit.failure.empty() ? "" : "; ") + problem.message();
    job.errors = std::min(job.errors + 1, 1'000'000);
    job.last = problem;
    job.activity.clear();
    job.next_run = whole_seconds(
        now + retry_after(job.errors, problem, settings_.retry_delay, served_left(visit), random_));
    std::optional<Job::Pause> pause;
    if (problem.retry_after) pause = {whole_seconds(now + *problem.retry_after), true};
    job.pause(Job::renewal, pause, now);
    save(visit, true);
    tell_status(visit);
    return *job.next_run;
}

base::Time Engine::failed(Visit& visit, const Problem& problem) {
    Job& job = visit.job;
    job.note(clock_.now(), "renewal-error", problem.type, problem.message());
    const base::Time next_run = count_failure(visit, problem);
    base::log_warn("md", job.name, "renewal failed ({} in a row): {}; next attempt at {}",
                   job.errors, base::escape_for_log(problem.message()),
                   base::format_rfc3339(next_run));
    // Neither changes anything if it fails (mod_md.md 5.12).
    (void)raise(visit, EventKind::Errored);
    (void)warn_of_expiry(visit);
    save(visit, true);
    return next_run;
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
    // Not later than it would be decided now: the clock may have been ahead when it was.
    const base::Time ready = std::min(
        visit.job.valid_from.value_or(now),
        ready_at(visit.served, visit.stored.state, *staged, activation_delay(visit, now), now));
    visit.job.valid_from = ready;
    if (ready > now) {
        base::log_info("md", domain.name, "the new certificate is installed at {}",
                       base::format_rfc3339(ready));
        visit.job.next_run = whole_seconds(ready);
        save(visit, true);
        tell_status(visit);
        return *visit.job.next_run;
    }
    if (auto stapled = get_staples(visit, *staged); !stapled) {
        Problem problem = std::move(stapled).error();
        if (is_stopping(problem)) return now;
        const bool is_revoked = problem.type == "certificate-revoked";
        if (is_revoked) {
            // No staple will ever come. A CA that does so to each is asked once a day.
            problem.retry_after =
                std::max(problem.retry_after.value_or(always_due_interval), always_due_interval);
        }
        // Otherwise finished stays: it is tried again. That it must be stapled may have been
        // another configuration's wish: then there is a better one to be had, and soon.
        auto asked_for = load_domain(store_, Group::Staging, domain.name, now);
        const bool is_former_wish =
            !domain.must_staple && asked_for && *asked_for && (*asked_for)->domain.must_staple;
        if (is_former_wish) visit.job.errors = 0;
        if (is_revoked || is_former_wish) {
            visit.job.finished = false;
            if (auto reset = reset_staging(store_, domain.name); !reset) {
                base::log_warn("md", domain.name, "{}", reset.error().message());
            }
        }
        return failed(visit, problem);
    }
    std::optional<Problem> unheard;
    if (!visit.job.notified_renewed) {
        const auto raised = raise(visit, EventKind::Renewed);
        if (!raised && is_stopping(raised.error())) return now;
        visit.job.notified_renewed = raised.ok();
        if (!raised) unheard = raised.error();
        save(visit, true);
    }
    auto installed = install(visit, *staged);
    if (!installed) return failed(visit, installed.error());  // finished stays: it is tried again
    if (unheard) (void)count_failure(visit, *unheard);
    const auto next = announce(visit);
    return next ? *next : next_check(visit, true);
}

Outcome<void> Engine::install(Visit& visit, const std::vector<Slot>& staged) {
    const Domain domain = visit.stored.domain;
    const base::Time now = clock_.now();
    visit.job.finished = true;
    visit.job.notified = false;
    visit.job.next_run.reset();
    {
        const auto lock = store_.hold();
        if (!lock.ok()) return lock.error();
        auto moved = transfer_staged(store_, accounts_, domain, staged, visit.job, now);
        if (!moved) return moved;
    }

    visit.served = load_live_credentials(store_, files_, domain);
    // What was just written is served, also if it cannot be read back now.
    for (size_t i = 0; !domain.is_static() && i < staged.size(); ++i) {
        if (!visit.served[i].certificate) visit.served[i] = staged[i].without_texts();
    }
    visit.served = without_texts(visit.served);
    const StateReport report = evaluate_state(domain, visit.served);
    if (auto stored = load_domain(store_, Group::Domains, domain.name, now); stored && *stored) {
        visit.stored.ca_account = (*stored)->ca_account;
        visit.stored.ca_url = (*stored)->ca_url;
    }
    visit.stored.state = report.state;
    visit.stored.state_description = report.description;
    visit.is_announcing = true;
    visit.renewal_infos.clear();
    // What it is about is in the archive, but for files of the administrator's.
    std::erase_if(visit.revoked, [&](const RevokedCertificate& revoked) {
        return std::none_of(visit.served.begin(), visit.served.end(), [&](const Slot& slot) {
            return slot.certificate && base::hex(slot.certificate->sha256) == revoked.sha256;
        });
    });
    visit.is_revoked_unsaved = false;
    if (!visit.revoked.empty()) {
        auto saved = save_revoked(store_, domain.name, visit.revoked);
        if (!saved) base::log_warn("md", domain.name, "{}", saved.error().message());
        visit.is_revoked_unsaved = !saved;
    }
    {
        const std::lock_guard lock(mutex_);
        visit.entry.renewal_infos.clear();
        visit.entry.revoked = visit.revoked;
        visit.entry.is_revoked_unsaved = visit.is_revoked_unsaved;
        visit.entry.stored = visit.stored;
        visit.entry.served = without_texts(visit.served);
        visit.entry.archived.clear();
        visit.entry.staged.clear();
        visit.entry.job = visit.job;
        visit.entry.is_announcing = true;
    }
    publish(visit.entry);
    for (const Slot& slot : staged) {
        base::log_info("md", domain.name,
                       "certificate ({}) installed, issued by {}, valid until {}", slot.label,
                       base::escape_for_log(slot.certificate->issuer),
                       base::format_rfc3339(slot.certificate->not_after));
    }
    return {};
}

/// The regular check (mod_md.md 4.3), or soon after the renew window opens if that is earlier: with
/// a jitter, so that certificates of the same age do not all come at once (faults.md CA-46).
/// `is_fresh`: what is served is new; if it is due already, that is no reason to ask for another.
base::Time Engine::next_check(Visit& visit, bool is_fresh) {
    const base::Time now = clock_.now();
    base::Duration regular = check_delay(settings_.check_interval, random_);
    if (visit.stored.state == DomainState::Error) regular = std::min(regular, look_again_interval);
    if (!may_renew(visit.stored.domain, visit.stored.state)) return now + regular;
    const base::Time due = due_at(visit, now);
    // The CA says when it wants to be asked again.
    const base::Time next_look = next_look_at(visit.renewal_infos);
    if (next_look > now) regular = std::min(regular, next_look - now);
    if (due <= now && !is_fresh) return now;  // it has become so just now
    if (due <= now) {
        base::log_warn("md", visit.stored.domain.name,
                       "the new certificate is due for renewal already{}: is renew_window longer "
                       "than its lifetime?",
                       visit.stored.state_description.empty()
                           ? ""
                           : " (" + visit.stored.state_description + ")");
        visit.job.next_run = whole_seconds(
            now + wait_before_end(std::max(regular, always_due_interval), served_left(visit)));
        save(visit, true);
        return *visit.job.next_run;
    }
    if (due >= now + regular) return now + regular;
    if (due == advised_at(visit.renewal_infos)) return due;  // drawn at random already
    base::Time end = base::Time::max();
    for (const Slot& slot : visit.served) {
        if (slot.certificate) end = std::min(end, slot.certificate->not_after);
    }
    const base::Duration spread =
        std::max<base::Duration>(std::min(regular, end - due) / 16, base::Duration::zero());
    return due + base::Duration{random_.below(static_cast<uint64_t>(spread.count()) + 1)};
}

/// The job in the table, and on disk: at most every half second unless forced.
void Engine::save(Visit& visit, bool force) {
    const base::Time now = clock_.now();
    {
        const std::lock_guard lock(mutex_);
        visit.entry.job = visit.job;
        visit.entry.is_announcing = visit.is_announcing;
        const base::Duration since = now - visit.entry.job_saved;
        // A clock that went back must not keep it from disk.
        if (!force && since >= base::Duration::zero() && since < job_save_interval) return;
        visit.entry.job_saved = now;
    }
    Outcome<void> saved;
    if (visit.is_announcing) {
        const auto lock = store_.hold();  // for domains/
        saved = lock.ok() ? save_job(store_, Group::Domains, visit.job) : lock.error();
    } else {
        saved = save_job(store_, Group::Staging, visit.job);
    }
    if (!saved) base::log_warn("md", visit.job.name, "{}", saved.error().message());
}

/// Nothing of an attempt is left but, if the job has one, its log: events are limited by it.
void Engine::forget_job(Visit& visit, bool keep_log) {
    Job left;
    left.name = visit.stored.domain.name;
    if (keep_log) left.log = std::move(visit.job.log);
    visit.job = std::move(left);
    {
        const std::lock_guard lock(mutex_);
        visit.entry.job.reset();
        visit.entry.staged.clear();
    }
    const Dns01 dns(commands_, settings_, visit.stored.domain, stop_.get_token());
    auto cleared = drop_stored_order(store_, dns, visit.job.name);
    if (cleared) cleared = store_.purge(Group::Staging, visit.job.name);
    if (!cleared) base::log_warn("md", visit.job.name, "{}", cleared.error().message());
    if (!visit.job.log.empty()) save(visit, true);
}

}  // namespace md
