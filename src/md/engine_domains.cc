// Which domains the engine looks after, at the start and when the configuration changes: declared
// in engine.h.
//
// A settlement has three parts: under the mutex, what leaves the table is taken out of the queue
// (begin); without it, the store is brought in line and what there is is published (make,
// withdraw); under the mutex, the new entries take their places (finish). Status shows the old
// table until then. One settlement at a time.

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "md/engine.h"
#include "md/renewal.h"
#include "md/table_change.h"

namespace md {

namespace {

/// Other settings may be all that is needed: it is about what was asked for, or about who asks.
bool may_depend_on_settings(const Problem& problem) {
    return problem.is_input_related() || problem.type == "challenge-mismatch" ||
           problem.type.ends_with(":unauthorized");
}

}  // namespace

Outcome<void> Engine::load() {
    base::check(entries_.empty());
    settle_domains(settings_.initial_delay);
    accounts_.load();
    return {};
}

void Engine::change_domains(std::vector<Domain> domains) {
    {
        const std::lock_guard lock(mutex_);
        wanted_ = std::move(domains);
    }
    settle_domains({});
}

void Engine::settle_domains(base::Duration first_visit_after) {
    const std::lock_guard settling(settling_);
    Settlement settlement = begin_settlement();
    make_entries(settlement, first_visit_after);
    withdraw_gone(settlement);
    remember_contacts(settlement);
    finish_settlement(settlement);
    wake_.notify_all();
}

Engine::Settlement Engine::begin_settlement() {
    const std::lock_guard lock(mutex_);
    Settlement settlement;
    settlement.wanted = wanted_;
    missed_reports_.clear();
    std::vector<TableRow> rows;
    for (const auto& entry : entries_) rows.push_back({&entry->configured, entry->running});
    const TableChange change = plan_change(rows, settlement.wanted);
    is_change_waiting_ = change.is_waiting;
    for (const size_t row : change.leaving) {
        Entry* entry = entries_[row].get();
        queue_.erase(entry);
        entry->running = entry->leaving = true;
        settlement.leaving.push_back(entry);
    }
    for (const size_t i : change.coming) settlement.coming.push_back(settlement.wanted[i]);
    for (const auto& entry : entries_) {
        if (!entry->leaving) settlement.others.push_back(entry->stored.domain);
    }
    for (const size_t i : change.waiting) {
        const Domain& domain = settlement.wanted[i];
        base::log_info("md", domain.name,
                       "its new settings take effect when what is under way for its names is done");
        settlement.others.push_back(domain);
    }
    return settlement;
}

/// Brings the store in line, reads what it has, and publishes that: before the former domains are
/// withdrawn, so that a name which has gone from one to another is always served.
void Engine::make_entries(Settlement& settlement, base::Duration first_visit_after) {
    if (settlement.coming.empty()) return;
    const auto lock = store_.hold();
    if (!lock.ok()) {
        // mod_md goes on, too (mod_md.md 1.8).
        base::log_error("md", "",
                        "{}; what is in the store is served, and nothing in it is changed "
                        "before the next renewal",
                        lock.error().message());
    }
    const base::Time now = clock_.now();
    const auto mode = lock.ok() ? Reconcile::Write : Reconcile::ReadOnly;
    const std::vector<Domain> configured = settlement.coming;
    std::map<std::string, const Entry*> former;
    for (const Entry* entry : settlement.leaving) former[entry->configured.name] = entry;
    auto known = reconcile(store_, files_, settlement.coming, now, mode, settlement.others);
    for (size_t i = 0; i < known.size(); ++i) {
        const auto found = former.find(configured[i].name);
        const Entry* before = found == former.end() ? nullptr : found->second;
        settlement.made.push_back(
            make_entry(std::move(known[i]), before, lock.ok(), now + first_visit_after));
        settlement.made.back()->configured = configured[i];
        publish(*settlement.made.back());
    }
}

/// `former`: the domain as it was before, if it is not new; nobody works on it.
std::unique_ptr<Engine::Entry> Engine::make_entry(ReconciledDomain known, const Entry* former,
                                                  bool may_write, base::Time first_visit) {
    const base::Time now = clock_.now();
    const std::string name = known.stored.domain.name;
    for (const std::string& note : known.notes) base::log_info("md", name, "{}", note);
    if (known.problem) base::log_error("md", name, "{}", known.problem->message());
    auto entry = std::make_unique<Entry>();
    entry->stored = std::move(known.stored);
    entry->served = without_texts(known.slots);
    entry->archived = without_texts(known.archived);
    if (former != nullptr) {  // also where the disk would not take them
        entry->job = former->job;
        entry->is_announcing = former->is_announcing;
        entry->renewal_infos = former->renewal_infos;
        entry->revoked = former->revoked;
        entry->is_revoked_unsaved = former->is_revoked_unsaved;
    } else {
        load_job_of(*entry);
        entry->renewal_infos = load_renewal_info(store_, name);
        entry->revoked = load_revoked(store_, name);
    }
    // Somebody may just have done what the failure told them to: it is tried at once.
    if (known.settings_changed && entry->job) {
        Job& job = *entry->job;
        const bool is_set_waiting =
            job.finished && !entry->is_announcing && job.errors > 0 && !job.is_silent(now);
        if (is_set_waiting || (!job.finished && may_depend_on_settings(job.last))) {
            job.next_run.reset();
        }
    }
    if (entry->job && correct_times(*entry->job, now) && may_write) {
        const Group group = entry->is_announcing ? Group::Domains : Group::Staging;
        if (auto saved = save_job(store_, group, *entry->job); !saved) {
            base::log_warn("md", name, "{}", saved.error().message());
        }
    }
    entry->next_visit = first_visit;
    if (!(may_write && install_at_start(*entry)) && !entry->is_announcing && entry->job &&
        entry->job->next_run) {
        entry->next_visit = std::max(entry->next_visit, *entry->job->next_run);
    }
    return entry;
}

void Engine::withdraw_gone(const Settlement& settlement) {
    std::set<std::string> names;
    for (const Domain& domain : settlement.coming) names.insert(domain.name);
    for (const Entry* entry : settlement.leaving) {
        const Domain& domain = entry->configured;
        if (names.contains(domain.name)) continue;
        base::log_info("md", domain.name,
                       "is not configured any more: neither served nor renewed; what is stored of "
                       "it stays");
        certificate_port_.publish(domain.name, domain.names, {});
        certificate_port_.publish_status(domain.name, domain.names, "");
        if (stapler_ != nullptr) stapler_->watch(domain, {});
    }
}

/// Before any of the new entries is visited: it might find that the CA has nothing to be told.
void Engine::remember_contacts(const Settlement& settlement) {
    std::vector<Domain> domains = settlement.others;
    for (const auto& entry : settlement.made) domains.push_back(entry->stored.domain);
    accounts_.remember_contacts(domains);
}

void Engine::finish_settlement(Settlement& settlement) {
    std::map<std::string, size_t> places;
    for (const Domain& domain : settlement.wanted) places.emplace(domain.name, places.size());

    std::vector<std::unique_ptr<Entry>> gone;  // dies without the mutex
    const std::lock_guard lock(mutex_);
    std::map<std::string, Entry*> made;
    for (const auto& entry : settlement.made) {
        made[entry->configured.name] = entry.get();
        look_for_revoked(*entry);
        if (missed_reports_.contains(entry->configured.name)) publish_status(*entry);
    }
    for (const Entry* former : settlement.leaving) {
        const auto found = made.find(former->configured.name);
        if (found == made.end()) continue;
        // Who asked for something waits for its end, and knows it by the count.
        Entry& entry = *found->second;
        entry.requests = former->requests;
        entry.requests_done = former->requests_done;
        entry.request_error = former->request_error;
        for (const RevokedCertificate& one : former->found_revoked) {
            entry.found_revoked.push_back(one);
        }
        entry.urgent_renewals = former->urgent_renewals;
        if (entry.requests.any() || !entry.found_revoked.empty())
            entry.next_visit = base::Time::min();
    }
    std::vector<std::unique_ptr<Entry>> table = std::move(settlement.made);
    for (auto& entry : entries_) {
        auto& destination = entry->leaving ? gone : table;
        destination.push_back(std::move(entry));
    }
    // No two have the same number, also those that wait for their end: the queue tells them apart
    // by it.
    for (const auto& entry : table) {
        const auto place = places.find(entry->configured.name);
        entry->number = place != places.end() ? place->second : places.size() + entry->number;
    }
    std::sort(table.begin(), table.end(),
              [](const auto& a, const auto& b) { return a->number < b->number; });
    entries_ = std::move(table);
    queue_.clear();
    for (const auto& entry : entries_) {
        if (!entry->running) queue_.insert(entry.get());
        entry->contacts_due = {};
    }
}

}  // namespace md
