// Staples of what is served, and what their CAs say about certificates: declared in engine.h.

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/engine.h"
#include "md/poll.h"
#include "md/renewal.h"

namespace md {

namespace {

/// So many new sets a day because what is served was revoked: a CA that revokes whatever it issues
/// must not be asked without end. Attempts that fail have their own back-off.
constexpr size_t urgent_renewals_max = 3;
constexpr base::Duration urgent_period = std::chrono::hours{24};

const Slot* slot_of(const std::vector<Slot>& slots, const RevokedCertificate& revoked) {
    const auto found = std::find_if(slots.begin(), slots.end(), [&](const Slot& slot) {
        return slot.certificate && base::hex(slot.certificate->sha256) == revoked.sha256;
    });
    return found == slots.end() ? nullptr : &*found;
}

}  // namespace

/// The staples come first: each set that is published brings its own.
void Engine::watch_staples(const Entry& entry) {
    if (stapler_ == nullptr) return;
    auto certificates = usable(entry.served);
    for (const auto& certificate : usable(entry.archived)) certificates.push_back(certificate);
    stapler_->watch(entry.stored.domain, certificates);
}

/// What can be served of the domain. A certificate that was revoked is so only while there is no
/// other one: clients that ask would refuse it. What the stapler knows counts before the next visit
/// takes note of it: after a start that may be all that there is.
std::vector<std::shared_ptr<const tls::Certificate>> Engine::unrevoked(const Entry& entry) const {
    std::vector<std::shared_ptr<const tls::Certificate>> good;
    for (const auto& certificate : usable(entry.served)) {
        if (find_revoked(entry.revoked, *certificate) != nullptr) continue;
        if (!told_revoked(entry.stored.domain, *certificate)) good.push_back(certificate);
    }
    return good.empty() ? usable(entry.served) : good;
}

/// Before a new set is served: its staples. One that has to have a staple waits for it; the others
/// are better with than without.
Outcome<void> Engine::get_staples(Visit& visit, const std::vector<Slot>& staged) {
    if (stapler_ == nullptr) return {};
    const bool is_anything_served = !usable(visit.served).empty();
    for (const Slot& slot : staged) {
        // Nobody waits for a staple behind a 503.
        if (!slot.certificate->must_staple && !is_anything_served) continue;
        auto obtained = stapler_->obtain(visit.stored.domain, slot.certificate);
        if (obtained || is_stopping(obtained.error())) {
            if (!obtained) return obtained;
            continue;
        }
        if (obtained.error().type == "certificate-revoked") return obtained;
        if (slot.certificate->must_staple) {
            Problem problem = std::move(obtained).error();
            problem.detail = fmt::format(
                "the new certificate ({}) must be stapled, and waits for its staple: {}",
                slot.label, problem.detail);
            return problem;
        }
        base::log_info("md", visit.stored.domain.name,
                       "the new certificate ({}) goes live without a staple: {}", slot.label,
                       base::escape_for_log(obtained.error().message()));
    }
    return {};
}

// ---- what the stapler finds out

void Engine::on_revoked(const std::string& domain, const RevokedCertificate& revoked) {
    {
        const std::lock_guard lock(mutex_);
        const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& entry) {
            return entry->stored.domain.name == domain;
        });
        if (found == entries_.end()) return;
        Entry& entry = **found;
        const Slot* slot = slot_of(entry.served, revoked);
        if (slot == nullptr || find_revoked(entry.revoked, *slot->certificate) != nullptr) return;
        if (find_revoked(entry.found_revoked, *slot->certificate) == nullptr) {
            entry.found_revoked.push_back(revoked);
        }
        if (!entry.running) {
            queue_.erase(&entry);
            entry.next_visit = base::Time::min();
            queue_.insert(&entry);
        }
    }
    wake_.notify_one();
}

/// What the stapler knows; nullopt also where that has no consequence.
std::optional<RevokedCertificate> Engine::told_revoked(const Domain& domain,
                                                       const tls::Certificate& certificate) const {
    if (stapler_ == nullptr || domain.revocation_check == RevocationCheck::Off) return std::nullopt;
    const auto report = stapler_->report(certificate);
    if (!report || !report->revoked_at) return std::nullopt;
    return RevokedCertificate{base::hex(certificate.sha256), certificate.serial, report->reason,
                              *report->revoked_at};
}

/// What the stapler has told while the entry was not in the table yet. With the mutex.
void Engine::look_for_revoked(Entry& entry) const {
    for (const Slot& slot : entry.served) {
        if (!slot.certificate || find_revoked(entry.revoked, *slot.certificate) != nullptr)
            continue;
        auto revoked = told_revoked(entry.stored.domain, *slot.certificate);
        if (!revoked) continue;
        entry.found_revoked.push_back(std::move(*revoked));
        entry.next_visit = base::Time::min();
    }
}

/// revoked.json; what the disk does not take is written at the next visit.
Outcome<void> Engine::keep_revoked(Visit& visit) {
    {
        const std::lock_guard lock(mutex_);
        visit.entry.revoked = visit.revoked;
    }
    Outcome<void> saved;
    {
        const auto lock = store_.hold();  // for domains/
        saved = lock.ok() ? save_revoked(store_, visit.stored.domain.name, visit.revoked)
                          : Outcome<void>(lock.error());
    }
    const std::lock_guard lock(mutex_);
    visit.is_revoked_unsaved = visit.entry.is_revoked_unsaved = !saved;
    return saved;
}

void Engine::on_staple_report(const std::string& domain) {
    // Nothing is told of a domain that is gone.
    const std::lock_guard lock(mutex_);
    for (const auto& entry : entries_) {
        if (entry->stored.domain.name != domain || entry->leaving) continue;
        publish_status(*entry);
        return;
    }
    missed_reports_.insert(domain);  // its entry may be in the making
}

/// Takes note of what was revoked by others: for good, since revoked.json outlives a restart. True
/// if a renewal should begin at once.
bool Engine::learn_revoked(Visit& visit, const std::vector<RevokedCertificate>& found) {
    bool is_new = false;
    for (const RevokedCertificate& revoked : found) {
        const Slot* slot = slot_of(visit.served, revoked);
        if (slot == nullptr || find_revoked(visit.revoked, *slot->certificate) != nullptr) continue;
        visit.revoked.push_back(revoked);
        is_new = true;
    }
    const Domain& domain = visit.stored.domain;
    const bool is_served = revoked_due_at(visit, clock_.now()) != base::Time::max();
    if (is_new || (visit.is_revoked_unsaved && is_served)) {
        if (auto saved = keep_revoked(visit); !saved) {
            base::log_warn("md", domain.name, "{}", saved.error().message());
        }
    }
    if (!is_new) return false;
    publish(visit.entry);
    (void)raise(visit, EventKind::Revoked);  // its failure changes nothing here
    if (!may_renew(domain, visit.stored.state)) {
        base::log_error("md", domain.name,
                        "the revoked certificate is not renewed here: replace it by hand");
        return false;
    }
    const bool is_set_waiting = visit.job.finished && !visit.is_announcing;
    return is_set_waiting || revoked_due_at(visit, clock_.now()) <= clock_.now();
}

/// When what is served has to be renewed because some of it was revoked; max(): none was.
base::Time Engine::revoked_due_at(const Visit& visit, base::Time now) const {
    const bool is_revoked =
        std::any_of(visit.served.begin(), visit.served.end(), [&](const Slot& slot) {
            return slot.certificate && find_revoked(visit.revoked, *slot.certificate) != nullptr;
        });
    if (!is_revoked) return base::Time::max();
    const std::lock_guard lock(mutex_);
    const auto& done = visit.entry.urgent_renewals;
    if (done.size() < urgent_renewals_max) return now;
    return std::max(now, done[done.size() - urgent_renewals_max] + urgent_period);
}

/// The CA has issued a new set: is it one of those that are counted?
void Engine::count_urgent_renewal(Visit& visit) {
    const base::Time now = clock_.now();
    if (revoked_due_at(visit, now) == base::Time::max()) return;
    const std::lock_guard lock(mutex_);
    auto& done = visit.entry.urgent_renewals;
    std::erase_if(done, [&](base::Time when) { return when > now || when < now - urgent_period; });
    done.push_back(now);
}

/// A new set waits for nothing while what is served was revoked.
base::Duration Engine::activation_delay(const Visit& visit, base::Time now) const {
    const bool is_revoked = revoked_due_at(visit, now) != base::Time::max();
    return is_revoked ? base::Duration::zero() : settings_.activation_delay;
}

}  // namespace md
