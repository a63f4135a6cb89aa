// Whose rights count. A process that root starts and that goes on as `server.user` reads some files
// with root's rights and the others with that user's: whether a path can be used is asked with the
// rights with which it will be used, before anything depends on it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace app {

/// A user as the machine knows it.
struct User {
    std::string name;
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;  // with `gid`
};

/// Nothing if there is no such user.
std::optional<User> find_user(const std::string& name);

/// Whether the process is root.
bool is_root();

/// The user that a start goes on as: `name`, if we are root and it is another user. Nothing:
/// whoever we are.
std::optional<User> user_after_start(const std::string& name);

/// Runs `look` with the rights of `user`, on a thread that has them and ends with it; the caller
/// waits. For looking at files: other threads of the process keep their rights. False if the rights
/// cannot be taken; nothing was run then. Needs root.
bool run_as(const User& user, const std::function<void()>& look);

}  // namespace app
