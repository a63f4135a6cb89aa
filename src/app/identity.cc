#include "app/identity.h"

#include <grp.h>
#include <pwd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

namespace app {

namespace {

/// Changes the calling thread alone: the C library's functions would change all of them.
bool take_rights(const User& user) {
    return ::syscall(SYS_setgroups, user.groups.size(), user.groups.data()) == 0 &&
           ::syscall(SYS_setresgid, user.gid, user.gid, user.gid) == 0 &&
           ::syscall(SYS_setresuid, user.uid, user.uid, user.uid) == 0;
}

}  // namespace

std::optional<User> find_user(const std::string& name) {
    const passwd* entry = ::getpwnam(name.c_str());
    if (entry == nullptr) return std::nullopt;
    User user{name, entry->pw_uid, entry->pw_gid, {}};
    int count = 64;
    user.groups.resize(static_cast<size_t>(count));
    if (::getgrouplist(name.c_str(), user.gid, user.groups.data(), &count) < 0) {
        user.groups.resize(static_cast<size_t>(count));  // it says how many there are
        if (::getgrouplist(name.c_str(), user.gid, user.groups.data(), &count) < 0) count = 0;
    }
    user.groups.resize(static_cast<size_t>(count));
    return user;
}

bool is_root() {
    return ::geteuid() == 0;
}

std::optional<User> user_after_start(const std::string& name) {
    if (name.empty() || !is_root()) return std::nullopt;
    auto user = find_user(name);
    if (user && user->uid == 0) return std::nullopt;  // such a configuration is refused
    return user;
}

bool run_as(const User& user, const std::function<void()>& look) {
    bool taken = false;
    std::thread([&] {
        taken = take_rights(user);
        if (taken) look();
    }).join();
    return taken;
}

}  // namespace app
