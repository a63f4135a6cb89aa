// The store follows the configuration: declared in match.h.

#include <algorithm>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "md/match.h"

namespace md {

namespace {

/// The stored domain that a new one takes over: the first that has all of its names, else the one
/// with the most (mod_md.md 2.4, rename search).
std::optional<size_t> find_predecessor(const std::vector<StoredDomain>& candidates,
                                       const Domain& domain) {
    std::optional<size_t> best;
    ptrdiff_t most = 0;
    for (size_t i = 0; i < candidates.size(); ++i) {
        const auto common = std::count_if(
            domain.names.begin(), domain.names.end(),
            [&](const std::string& name) { return candidates[i].domain.contains(name); });
        if (common == std::ssize(domain.names)) return i;
        if (common > most) {
            most = common;
            best = i;
        }
    }
    return best;
}

class Reconciliation {
  public:
    Reconciliation(Store& store, Files& files, std::vector<Domain>& domains,
                   const std::vector<Domain>& others, base::Time now, Reconcile mode)
        : store_(store),
          files_(files),
          domains_(domains),
          others_(others),
          now_(now),
          mode_(mode) {}

    std::vector<ReconciledDomain> run() {
        list_stored();
        std::vector<ReconciledDomain> result;
        for (Domain& domain : domains_) {
            ReconciledDomain entry;
            entry.stored.domain = domain;
            auto done = bring_in_line(domain, entry);
            if (!done.ok()) entry.problem = done.error();
            result.push_back(std::move(entry));
        }
        if (mode_ == Reconcile::Write) remove_old_challenges();
        return result;
    }

  private:
    void list_stored() {
        auto names = store_.names(Group::Domains);
        if (!names.ok()) {
            base::log_error("md", "", "{}", names.error().message());
            return;
        }
        stored_.insert(names->begin(), names->end());
    }

    /// Former domains, read when the first one is asked for: usually none is.
    std::vector<StoredDomain>& former() {
        if (former_read_) return former_;
        former_read_ = true;
        std::set<std::string> configured;
        for (const Domain& domain : domains_) configured.insert(domain.name);
        for (const Domain& domain : others_) configured.insert(domain.name);
        for (const std::string& name : stored_) {
            if (configured.contains(name)) continue;
            auto stored = load_domain(store_, Group::Domains, name, now_);
            if (!stored.ok()) {
                base::log_warn("md", name, "{}", stored.error().message());
            } else if (*stored) {
                former_.push_back(std::move(**stored));
            }
        }
        return former_;
    }

    /// Read once, for the first domain with a damaged slot.
    const std::vector<std::string>& archives() {
        if (!archives_) {
            auto names = store_.names(Group::Archive);
            archives_ = names.ok() ? std::move(names).value() : std::vector<std::string>{};
        }
        return *archives_;
    }

    Outcome<void> take_over(const Domain& domain, ReconciledDomain& entry) {
        std::vector<StoredDomain>& candidates = former();
        const std::optional<size_t> found = find_predecessor(candidates, domain);
        if (!found) return {};
        const std::string from = candidates[*found].domain.name;
        candidates.erase(candidates.begin() + static_cast<ptrdiff_t>(*found));
        auto renamed = store_.rename_domain(from, domain.name);
        if (!renamed.ok()) return renamed.error();
        entry.notes.push_back(fmt::format("takes over what is stored of {}", from));
        return {};
    }

    Outcome<void> bring_in_line(Domain& domain, ReconciledDomain& entry) {
        if (!stored_.contains(domain.name) && mode_ == Reconcile::Write) {
            auto taken = take_over(domain, entry);
            if (!taken.ok()) return taken.error();
        }
        // Certificates first: what cannot be written can still be served (faults.md ST-03).
        entry.slots = load_live_credentials(store_, files_, domain);
        for (const Slot& slot : entry.slots) {
            if (domain.is_static() || slot.fault == Slot::Fault::None) continue;
            auto good = archived_credential(store_, archives(), domain.name, slot.spec);
            if (good) {
                entry.archived.push_back(std::move(*good));
            }
        }
        const StateReport report = evaluate_state(domain, entry.slots);
        entry.stored.state = report.state;
        entry.stored.state_description = report.description;

        auto previous = load_domain(store_, Group::Domains, domain.name, now_);
        if (!previous.ok()) return previous.error();
        if (*previous) {
            entry.stored.ca_account = (*previous)->ca_account;
            entry.stored.ca_url = (*previous)->ca_url;
            // Dropping the address from the configuration does not mean that the CA shall not know
            // it (test 310_205).
            if (domain.contacts.empty()) domain.contacts = (*previous)->domain.contacts;
        }
        entry.stored.domain = domain;
        // mod_md compares some properties only, and keeps others stale (mod_md.md 2.4).
        if (*previous && domain_to_json(**previous) == domain_to_json(entry.stored)) return {};
        if (*previous) {
            (*previous)->state = entry.stored.state;
            (*previous)->state_description = entry.stored.state_description;
            entry.settings_changed = domain_to_json(**previous) != domain_to_json(entry.stored);
        }
        if (mode_ == Reconcile::ReadOnly) return {};
        entry.notes.push_back(*previous ? "settings changed" : "is new");
        return save_domain(store_, Group::Domains, entry.stored);
    }

    /// mod_md deletes those of every name that is not the first of its domain, too, and spoils
    /// validations that are under way.
    void remove_old_challenges() {
        auto names = store_.names(Group::Challenges);
        if (!names.ok()) {
            base::log_warn("md", "", "{}", names.error().message());
            return;
        }
        if (names->empty()) return;
        std::set<std::string, std::less<>> known;
        std::vector<std::string> wildcards;
        const auto add = [&](const Domain& domain) {
            known.insert(domain.name);
            known.insert(domain.names.begin(), domain.names.end());
            for (const std::string& name : domain.names) {
                // Validated, and kept here, as the name below the star (RFC 8555 7.1.3).
                if (name.starts_with("*.")) {
                    known.insert(name.substr(2));
                    wildcards.push_back(name);
                }
            }
        };
        for (const Domain& domain : domains_) add(domain);
        for (const Domain& domain : others_) add(domain);
        for (const std::string& name : *names) {
            const bool wanted =
                known.contains(name) ||
                std::any_of(wildcards.begin(), wildcards.end(), [&](const std::string& pattern) {
                    return base::dns_name_matches(pattern, name);
                });
            if (wanted) continue;
            auto purged = store_.purge(Group::Challenges, name);
            if (!purged.ok()) base::log_warn("md", name, "{}", purged.error().message());
        }
    }

    Store& store_;
    Files& files_;
    std::vector<Domain>& domains_;
    const std::vector<Domain>& others_;
    const base::Time now_;
    const Reconcile mode_;
    std::set<std::string> stored_;      // directories in domains/
    std::vector<StoredDomain> former_;  // those that no configured domain has
    bool former_read_ = false;
    std::optional<std::vector<std::string>> archives_;
};

}  // namespace

std::vector<ReconciledDomain> reconcile(Store& store, Files& files, std::vector<Domain>& domains,
                                        base::Time now, Reconcile mode,
                                        const std::vector<Domain>& others) {
    return Reconciliation(store, files, domains, others, now, mode).run();
}

}  // namespace md
