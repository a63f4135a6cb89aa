#include "md/table_change.h"

#include <map>
#include <set>
#include <string>

namespace md {

namespace {

std::string wildcard_above(const std::string& name) {
    const size_t dot = name.find('.');
    return dot == std::string::npos ? std::string() : "*" + name.substr(dot);
}

/// Names, wildcards among them, that others may share.
class NameSet {
  public:
    void add(const std::vector<std::string>& names) {
        for (const std::string& name : names) {
            names_.insert(name);
            above_.insert(wildcard_above(name));
        }
    }
    bool shares(const std::vector<std::string>& names) const {
        return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
            if (names_.contains(name)) return true;
            return name.starts_with("*.") ? above_.contains(name)
                                          : names_.contains(wildcard_above(name));
        });
    }

  private:
    std::set<std::string> names_;
    std::set<std::string> above_;  // wildcards that would cover one of them
};

/// One that changes: a row that is to go, or a domain that is to come.
struct Party {
    const Domain* domain;
    size_t index;
    bool is_row;
    bool waits;
};

/// Spreads the waiting to all that share names with those that wait.
void spread_waiting(std::vector<Party>& parties) {
    NameSet blocked;
    for (const Party& party : parties) {
        if (party.waits) blocked.add(party.domain->names);
    }
    for (bool is_spreading = true; is_spreading;) {
        is_spreading = false;
        for (Party& party : parties) {
            if (party.waits || !blocked.shares(party.domain->names)) continue;
            party.waits = is_spreading = true;
            blocked.add(party.domain->names);
        }
    }
}

}  // namespace

TableChange plan_change(std::span<const TableRow> rows, std::span<const Domain> wanted) {
    std::map<std::string_view, const Domain*> by_name;
    for (const Domain& domain : wanted) by_name.emplace(domain.name, &domain);

    std::vector<Party> parties;
    std::set<const Domain*> staying;
    for (size_t i = 0; i < rows.size(); ++i) {
        const auto found = by_name.find(rows[i].configured->name);
        if (found != by_name.end() && *found->second == *rows[i].configured) {
            staying.insert(found->second);
        } else {
            parties.push_back({rows[i].configured, i, true, rows[i].is_busy});
        }
    }
    for (size_t i = 0; i < wanted.size(); ++i) {
        const bool counts = by_name.at(wanted[i].name) == &wanted[i];
        if (counts && !staying.contains(&wanted[i])) {
            parties.push_back({&wanted[i], i, false, false});
        }
    }
    spread_waiting(parties);

    TableChange change;
    for (const Party& party : parties) {
        change.is_waiting = change.is_waiting || party.waits;
        if (party.is_row) {
            if (!party.waits) change.leaving.push_back(party.index);
        } else {
            (party.waits ? change.waiting : change.coming).push_back(party.index);
        }
    }
    return change;
}

}  // namespace md
