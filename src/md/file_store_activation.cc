// Directories of the file store on the move: renames, activation, archives, and what a crash leaves
// of them.
//
// Activation is two renames (mod_md.md 3.7): domains/x → archive/x.<n>, then tmp/x → domains/x.
// Between them domains/x is missing: exactly then, and never else with a directory tmp/x beside it,
// recover() finishes the second. tmp/x is checked to be whole before the first.

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <set>

#include "base/log.h"
#include "md/credentials.h"
#include "md/domain_json.h"
#include "md/file_store.h"

namespace md {

namespace {

/// The highest number for which <name>.<number> is still a file name.
int number_limit(const std::string& name) {
    constexpr size_t name_max = 255;
    if (name.size() + 4 <= name_max) return FileStore::archive_number_max;
    if (name.size() + 3 <= name_max) return 99;
    return 9;
}

std::string archive_name(const std::string& name, int number) {
    return fmt::format("{}.{}", name, number);
}

}  // namespace

Outcome<void> FileStore::move(Group from_group, const std::string& from, Group to_group,
                              const std::string& to) {
    if (!is_store_id(from)) return refused_id("directory", from);
    if (!is_store_id(to)) return refused_id("directory", to);
    auto source = open_group(from_group, Create::Yes);
    if (!source.ok()) return source.error();
    auto target = open_group(to_group, Create::Yes);
    if (!target.ok()) return target.error();
    const int source_fd = source->value().fd();
    const int target_fd = target->value().fd();
    const int r = retrying([&] { return files_.rename(source_fd, from, target_fd, to); });
    if (r < 0) {
        return file_problem(base::system_error(r, "rename"),
                            fmt::format("{} to {}", where(from_group, from), where(to_group, to)));
    }
    // The new place first: seen twice after a power cut is better than not at all.
    for (const int fd : {target_fd, source_fd}) {
        if (const int s = retrying([&] { return files_.sync(fd); }); s < 0) {
            return file_problem(base::system_error(s, "fsync directory"),
                                where(fd == target_fd ? to_group : from_group));
        }
    }
    return {};
}

Outcome<void> FileStore::rename_domain(const std::string& from, const std::string& to) {
    auto taken = exists(Group::Domains, to);
    if (!taken.ok()) return taken.error();
    if (*taken) {
        return make_problem(
            EEXIST, fmt::format("{} cannot become {}: that exists", where(Group::Domains, from),
                                where(Group::Domains, to)));
    }
    // staging first: after a crash in between, domains/<from> is still found by the rename search,
    // and this function does the rest.
    auto staged = exists(Group::Staging, from);
    if (!staged.ok()) return staged.error();
    if (*staged) {
        auto purged = purge(Group::Staging, to);
        if (!purged.ok()) return purged.error();
        auto moved = move(Group::Staging, from, Group::Staging, to);
        if (!moved.ok()) return moved.error();
    }
    return move(Group::Domains, from, Group::Domains, to);
}

Outcome<void> FileStore::activate_tmp(const std::string& name) {
    if (!is_whole(Group::Tmp, name)) {
        return make_problem(EINVAL, fmt::format("{} is not a whole set of md.json, keys and "
                                                "certificates, and is not activated",
                                                where(Group::Tmp, name)));
    }
    auto replaces = exists(Group::Domains, name);
    if (!replaces.ok()) return replaces.error();
    if (!*replaces) return move(Group::Tmp, name, Group::Domains, name);

    auto number = next_archive_number(name);
    if (!number.ok()) return number.error();
    const std::string archived = archive_name(name, *number);
    auto away = move(Group::Domains, name, Group::Archive, archived);
    Outcome<void> done = away.ok() ? move(Group::Tmp, name, Group::Domains, name) : away;
    if (!done.ok()) {
        // Either rename may have happened, with only its fsync failing: if nothing lies in domains,
        // put back what was there.
        auto there = exists(Group::Domains, name);
        if (there.ok() && !*there) {
            auto back = move(Group::Archive, archived, Group::Domains, name);
            if (!back.ok()) {
                base::log_error("md", name, "the former set is in {} and could not be put back: {}",
                                where(Group::Archive, archived), back.error().message());
            }
        }
        return done;
    }
    if (auto pruned = prune_archive(name); !pruned.ok()) {
        base::log_warn("md", name, "old archives stay: {}", pruned.error().message());
    }
    return {};
}

Outcome<std::vector<int>> FileStore::archive_numbers(const std::string& name) {
    auto all = names(Group::Archive);
    if (!all.ok()) return all.error();
    std::vector<int> numbers;
    for (const std::string& entry : *all) {
        if (entry.size() <= name.size() + 1 || !entry.starts_with(name) ||
            entry[name.size()] != '.') {
            continue;
        }
        const char* first = entry.data() + name.size() + 1;
        const char* last = entry.data() + entry.size();
        int number = 0;
        const auto [end, error] = std::from_chars(first, last, number);
        // Only names that we would give: a domain "a" must not see the archives of "a.1".
        if (error == std::errc{} && end == last && number > 0 &&
            archive_name(name, number) == entry) {
            numbers.push_back(number);
        }
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

Outcome<int> FileStore::next_archive_number(const std::string& name) {
    // Above all others, so that numbers follow age, whatever the clock says (faults.md ST-20).
    auto numbers = archive_numbers(name);
    if (!numbers.ok()) return numbers.error();
    const int limit = number_limit(name);
    if (numbers->empty()) return 1;
    if (numbers->back() < limit) return numbers->back() + 1;

    // At the end mod_md fails. Drop the oldest, and close ranks: each single rename keeps the
    // order.
    auto pruned = prune_archive(name);
    if (!pruned.ok()) return pruned.error();
    numbers = archive_numbers(name);
    if (!numbers.ok()) return numbers.error();
    const auto kept = static_cast<size_t>(std::min(archives_kept, limit) - 1);
    while (numbers->size() > kept) {
        auto gone = purge(Group::Archive, archive_name(name, numbers->front()));
        if (!gone.ok()) return gone.error();
        numbers->erase(numbers->begin());
    }
    int next = 1;
    for (const int number : *numbers) {
        if (number != next) {
            auto moved = move(Group::Archive, archive_name(name, number), Group::Archive,
                              archive_name(name, next));
            if (!moved.ok()) return moved.error();
        }
        ++next;
    }
    return next;
}

Outcome<void> FileStore::prune_archive(const std::string& name) {
    auto numbers = archive_numbers(name);
    if (!numbers.ok()) return numbers.error();
    const size_t surplus = numbers->size() - std::min<size_t>(numbers->size(), archives_kept);
    for (size_t i = 0; i < surplus; ++i) {
        auto gone = purge(Group::Archive, archive_name(name, (*numbers)[i]));
        if (!gone.ok()) return gone.error();
    }
    return {};
}

bool FileStore::is_whole(Group group, const std::string& name) {
    auto json = load(group, name, "md.json");
    if (!json.ok() || !*json) return false;
    auto stored = domain_from_json(**json);
    if (!stored.ok()) return false;
    const std::vector<Slot> slots =
        load_credentials(*this, group, name, stored->domain.key_specs());
    return std::all_of(slots.begin(), slots.end(),
                       [](const Slot& slot) { return slot.certificate != nullptr; });
}

void FileStore::recover() {
    auto unfinished = names(Group::Tmp);
    if (!unfinished.ok()) {
        base::log_warn("md", path_, "{}", unfinished.error().message());
        return;
    }
    for (const std::string& name : *unfinished) {
        if (auto done = recover(name); !done.ok()) {
            base::log_error("md", name, "an interrupted activation is not cleared up: {}",
                            done.error().message());
        }
    }
}

Outcome<bool> FileStore::finish_activation(const std::string& name) {
    auto live = exists(Group::Domains, name);
    if (!live.ok()) return live.error();
    if (*live || !is_whole(Group::Tmp, name)) return false;
    auto moved = move(Group::Tmp, name, Group::Domains, name);
    if (!moved.ok()) return moved.error();
    return true;
}

Outcome<void> FileStore::recover(const std::string& name) {
    auto live = exists(Group::Domains, name);
    if (!live.ok()) return live.error();
    if (!*live) {
        auto finished = finish_activation(name);
        if (!finished.ok()) return finished.error();
        if (*finished) {
            base::log_info("md", name, "an interrupted activation is finished");
            return {};
        }
        auto numbers = archive_numbers(name);
        if (!numbers.ok()) return numbers.error();
        if (!numbers->empty()) {
            base::log_warn("md", name, "the new set is damaged, the former one comes back");
            auto back =
                move(Group::Archive, archive_name(name, numbers->back()), Group::Domains, name);
            if (!back.ok()) return back.error();
        }
    }
    // What was being filled is filled anew from staging.
    return purge(Group::Tmp, name);
}

}  // namespace md
