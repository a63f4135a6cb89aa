#include "md/store.h"

namespace md {

std::string_view group_name(Group group) {
    switch (group) {
        case Group::Accounts:
            return "accounts";
        case Group::Archive:
            return "archive";
        case Group::Challenges:
            return "challenges";
        case Group::Domains:
            return "domains";
        case Group::Staging:
            return "staging";
        case Group::Tmp:
            return "tmp";
        case Group::Ocsp:
            return "ocsp";
    }
    base::check(false);
    return {};
}

Outcome<void> Store::set_aside(Group group, const std::string& name, const std::string& aspect,
                               base::Time now) {
    auto bytes = load(group, name, aspect);
    if (!bytes.ok()) return bytes.error();
    if (!*bytes) return {};
    const auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
    const auto saved = save(group, name, fmt::format("{}.bad-{}", aspect, seconds), **bytes);
    if (!saved.ok()) return saved.error();
    return remove(group, name, aspect);
}

}  // namespace md
