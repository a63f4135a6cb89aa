#include "ack_store.h"

#include <algorithm>

namespace md::test {

std::string AckStore::path(Group group, const std::string& name, const std::string& aspect) {
    return fmt::format("{}/{}/{}", group_name(group), name, aspect);
}

void AckStore::forget(const std::string& prefix) {
    const auto begin = safe_.lower_bound(prefix);
    auto end = begin;
    while (end != safe_.end() && end->first.starts_with(prefix)) ++end;
    safe_.erase(begin, end);
}

Outcome<void> AckStore::remember(const std::string& path, Outcome<void> done) {
    if (!done) return done;
    if (const std::string* bytes = files_.bytes(path)) safe_[path] = *bytes;
    return done;
}

std::string AckStore::lost() const {
    for (const auto& [path, expected] : safe_) {
        if (path.starts_with("tmp/")) continue;  // a start clears up there
        const std::string* bytes = files_.bytes(path);
        if (bytes == nullptr) return path + " is gone";
        if (*bytes != expected) {
            return fmt::format("{} has {} bytes, and they are not the {} that were saved", path,
                               bytes->size(), expected.size());
        }
    }
    return "";
}

Outcome<std::vector<std::string>> AckStore::aspects(Group group, const std::string& name) {
    auto found = store_->aspects(group, name);
    if (!found.ok()) return found;
    std::ranges::sort(*found, {}, [&](const std::string& aspect) {
        return files_.order(path(group, name, aspect));
    });
    return found;
}

Outcome<void> AckStore::save(Group group, const std::string& name, const std::string& aspect,
                             std::string_view bytes) {
    const std::string at = path(group, name, aspect);
    safe_.erase(at);
    return remember(at, store_->save(group, name, aspect, bytes));
}

Outcome<void> AckStore::save_key(Group group, const std::string& name, const std::string& aspect,
                                 std::string_view pem) {
    const std::string at = path(group, name, aspect);
    safe_.erase(at);
    return remember(at, store_->save_key(group, name, aspect, pem));
}

Outcome<void> AckStore::remove(Group group, const std::string& name, const std::string& aspect) {
    safe_.erase(path(group, name, aspect));
    return store_->remove(group, name, aspect);
}

Outcome<void> AckStore::purge(Group group, const std::string& name) {
    forget(path(group, name));
    return store_->purge(group, name);
}

Outcome<void> AckStore::rename_domain(const std::string& from, const std::string& to) {
    for (const Group group : {Group::Domains, Group::Staging}) {
        forget(path(group, from));
        forget(path(group, to));
    }
    return store_->rename_domain(from, to);
}

Outcome<void> AckStore::activate_tmp(const std::string& name) {
    // What tmp/ was told to keep is what domains/ has to have afterwards.
    std::map<std::string, std::string> fresh;
    const std::string from = path(Group::Tmp, name);
    for (auto at = safe_.lower_bound(from); at != safe_.end() && at->first.starts_with(from);
         ++at) {
        fresh[path(Group::Domains, name, at->first.substr(from.size()))] = at->second;
    }
    forget(from);
    forget(path(Group::Domains, name));
    auto done = store_->activate_tmp(name);
    if (done) safe_.merge(fresh);
    return done;
}

Outcome<void> AckStore::set_aside(Group group, const std::string& name, const std::string& aspect,
                                  base::Time now) {
    safe_.erase(path(group, name, aspect));
    return store_->set_aside(group, name, aspect, now);
}

}  // namespace md::test
