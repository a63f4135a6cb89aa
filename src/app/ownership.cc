#include "app/ownership.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <filesystem>
#include <memory>

#include "base/text.h"
#include "base/unique_fd.h"

namespace app {

namespace {

/// Directories in directories; the store has three levels.
constexpr int depth_max = 32;
constexpr int links_max = 40;  // the kernel's
constexpr mode_t log_mode = 0640;
constexpr const char* giving = "giving it to server.user";

/// One component, never through a symbolic link. -1 and errno.
base::UniqueFd open_at(int directory, const std::string& name, int flags, uint64_t resolve = 0,
                       mode_t mode = 0) {
    open_how how{};
    how.flags = static_cast<uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
    how.mode = mode;
    how.resolve = resolve | RESOLVE_NO_MAGICLINKS;
    // glibc has no wrapper for it.
    return base::UniqueFd(
        static_cast<int>(::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how)));
}

/// One component of a tree: nothing beside it, behind a link or on another file system.
base::UniqueFd open_beneath(int directory, const std::string& name, int flags) {
    return open_at(directory, name, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

bool is_roots(const struct stat& facts) {
    return facts.st_uid == 0 && (facts.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

// ---- the way to a path

enum class Missing : bool { Fail, Make };

/// A directory that was reached, open as a mere place (O_PATH).
struct Reached {
    base::UniqueFd fd;
    bool roots_alone = true;  // nobody else can change it or what leads to it
};

void push_front(std::deque<std::string>& parts, const std::string& path) {
    std::deque<std::string> front;
    for (const std::string_view part : base::split(path, '/')) {
        if (!part.empty() && part != ".") front.emplace_back(part);
    }
    parts.insert(parts.begin(), front.begin(), front.end());
}

class Way {
  public:
    Way(Missing missing, mode_t last_mode) : missing_(missing), last_mode_(last_mode) {}

    base::Result<Reached> walk(const std::string& path) {
        std::error_code error;
        const std::filesystem::path whole = std::filesystem::absolute(path, error);
        if (error) return base::system_error(error.value(), "finding the working directory");
        push_front(parts_, whole.string());
        if (const base::Status begun = begin(); !begun) return begun.error();
        while (!parts_.empty()) {
            const std::string part = parts_.front();
            parts_.pop_front();
            if (const base::Status gone = step(part); !gone) return gone.error();
        }
        return std::move(at_);
    }

  private:
    base::Status begin() {
        at_.fd.reset(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
        at_.roots_alone = true;
        struct stat facts {};
        if (!at_.fd || ::fstat(at_.fd.fd(), &facts) != 0) return failed("open");
        at_.roots_alone = is_roots(facts);
        return {};
    }

    base::Status step(const std::string& part) {
        // Whoever may rename the directory that we are in decides what is above it.
        if (part == ".." && !at_.roots_alone) return unsafe();
        base::UniqueFd next = open_at(at_.fd.fd(), part, O_PATH);
        if (!next && errno == ENOENT && missing_ == Missing::Make) {
            const mode_t mask = ::umask(022);  // the user has to get through
            const int made =
                ::mkdirat(at_.fd.fd(), part.c_str(), parts_.empty() ? last_mode_ : 0755);
            (void)::umask(mask);
            if (made != 0 && errno != EEXIST) return failed("creating it");
            next = open_at(at_.fd.fd(), part, O_PATH);
        }
        struct stat facts {};
        if (!next || ::fstat(next.fd(), &facts) != 0) return failed("open");
        if (S_ISLNK(facts.st_mode)) return follow(next.fd());
        if (!S_ISDIR(facts.st_mode)) return base::system_error(ENOTDIR, "open");
        at_.fd = std::move(next);
        at_.roots_alone = at_.roots_alone && is_roots(facts);
        return {};
    }

    base::Status follow(int link) {
        if (!at_.roots_alone) return unsafe();
        if (++links_ > links_max) return base::system_error(ELOOP, "open");
        std::string target(PATH_MAX, '\0');
        const ssize_t size = ::readlinkat(link, "", target.data(), target.size());
        if (size <= 0) return failed("reading a symbolic link");
        target.resize(static_cast<size_t>(size));
        push_front(parts_, target);
        return target.starts_with('/') ? begin() : base::Status{};
    }

    static base::Status failed(const char* what) { return base::system_error(errno, what); }

    static base::Status unsafe() {
        return base::system_error(
            ELOOP,
            "its path has a symbolic link or \"..\" in a directory that others than root can "
            "change, which root does not follow; write the path without it");
    }

    const Missing missing_;
    const mode_t last_mode_;
    std::deque<std::string> parts_;  // still to go
    Reached at_;
    int links_ = 0;
};

/// A path in two: the directory that it stands in, reached, and its name there.
struct Entry {
    Reached parent;
    std::string name;
};

base::Result<Entry> reach_entry(const std::string& path) {
    const std::filesystem::path whole(path);
    const std::string parent = whole.parent_path().string();
    auto reached = Way(Missing::Fail, 0).walk(parent.empty() ? "." : parent);
    if (!reached) return reached.error();
    return Entry{std::move(reached).value(), whole.filename().string()};
}

// ---- a tree

class Giving {
  public:
    explicit Giving(const User& user) : user_(user) {}

    base::Result<Given> tree(int root, const std::string& path) {
        struct stat facts {};
        if (::fstat(root, &facts) != 0) return base::system_error(errno, giving);
        owner_before_ = facts.st_uid;
        if (may_have_been_moved(facts)) {
            return base::system_error(
                EPERM,
                "it is somebody else's directory that others can write; run chmod 700 on it");
        }
        const base::Status given = directory(root, facts, path, 0);
        if (!given) return given.error();
        return std::move(given_);
    }

  private:
    base::Status directory(int place, const struct stat& facts, const std::string& path,
                           int depth) {
        if (const base::Status given = give(place, facts, path); !given) return given;
        if (depth >= depth_max) {
            skip(path, "it is too deep in directories to be ours", "remove it");
            return {};
        }
        base::UniqueFd fd = open_beneath(place, ".", O_RDONLY | O_DIRECTORY);
        if (!fd) return base::system_error(errno, "reading what server.user is to own");
        const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd.fd()), &::closedir);
        if (!stream) return base::system_error(errno, "reading what server.user is to own");
        const int parent = fd.release();  // the stream's now
        while (const dirent* one = ::readdir(stream.get())) {
            const std::string name = one->d_name;
            if (name == "." || name == "..") continue;
            const base::Status given = entry(parent, name, path + "/" + name, depth);
            if (!given) return given;
        }
        return {};
    }

    base::Status entry(int parent, const std::string& name, const std::string& path, int depth) {
        const base::UniqueFd place = open_beneath(parent, name, O_PATH);
        struct stat facts {};
        if (!place) {
            if (errno == ENOENT) return {};
            if (errno == EXDEV) {
                skip(path, "something is mounted there", "chown it by hand, or unmount it");
                return {};
            }
            return base::system_error(errno, giving);
        }
        if (::fstat(place.fd(), &facts) != 0) return base::system_error(errno, giving);
        const bool is_directory = S_ISDIR(facts.st_mode);
        if (!is_directory && !S_ISREG(facts.st_mode)) {
            skip(path, "it is neither file nor directory and cannot be ours", "remove it");
            return {};
        }
        if (!is_owner_known(facts) || (is_directory && may_have_been_moved(facts))) {
            skip(path, "it is somebody else's", "chown it by hand if it belongs to the store");
            return {};
        }
        if (is_directory) return directory(place.fd(), facts, path, depth + 1);
        if (facts.st_nlink > 1) {
            skip(path, "it is a hard link, whose other names may be somebody else's",
                 "put a copy in its place (cp FILE COPY && mv COPY FILE), or remove it");
            return {};
        }
        return give(place.fd(), facts, path);
    }

    /// The store is root's from before `user` was set, or another user's, or the user's own.
    bool is_owner_known(const struct stat& facts) const {
        return facts.st_uid == 0 || facts.st_uid == user_.uid || facts.st_uid == owner_before_;
    }

    /// A directory can be moved to another by whoever can write both and itself: what its owner has
    /// in it would come along.
    bool may_have_been_moved(const struct stat& facts) const {
        return facts.st_uid != user_.uid && (facts.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    }

    base::Status give(int place, const struct stat& facts, const std::string& path) {
        if (facts.st_uid == user_.uid && facts.st_gid == user_.gid) return {};
        if (::fchownat(place, "", user_.uid, user_.gid, AT_EMPTY_PATH) == 0) {
            ++given_.entries;
        } else if (errno == EROFS) {
            // What is in it can be served, if the user may read it (faults.md ST-03).
            skip(path, "its file system is read-only", "chown it where it can be written");
        } else {
            return base::system_error(errno, giving);
        }
        return {};
    }

    void skip(const std::string& path, const char* why, const char* what_to_do) {
        if (given_.skipped.size() >= Given::skipped_max) {
            ++given_.skipped_more;
            return;
        }
        given_.skipped.push_back(
            fmt::format("{}: {}; {}", base::escape_for_log(path, 300), why, what_to_do));
    }

    const User& user_;
    uid_t owner_before_ = 0;  // of the root
    Given given_;
};

}  // namespace

base::Result<Given> give_tree(const std::string& path, const User& user) {
    auto root = Way(Missing::Make, 0700).walk(path);
    if (!root) return root.error();
    return Giving(user).tree(root->fd.fd(), path);
}

base::Status give_socket(const std::string& path, const User& user) {
    auto entry = reach_entry(path);
    if (!entry) return entry.error();
    const base::UniqueFd place = open_at(entry->parent.fd.fd(), entry->name, O_PATH);
    struct stat facts {};
    if (!place || ::fstat(place.fd(), &facts) != 0) return base::system_error(errno, "open");
    if (!S_ISSOCK(facts.st_mode) || facts.st_nlink != 1 || facts.st_uid != ::geteuid()) {
        return base::system_error(EPERM,
                                  "something else is in the place of the socket that was made");
    }
    if (::fchownat(place.fd(), "", user.uid, user.gid, AT_EMPTY_PATH) != 0) {
        return base::system_error(errno, giving);
    }
    return {};
}

base::Status make_log(const std::string& path, const User& user) {
    auto entry = reach_entry(path);
    if (!entry) return entry.error();
    if (!entry->parent.roots_alone) return {};
    const base::UniqueFd file = open_at(entry->parent.fd.fd(), entry->name,
                                        O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY, 0, log_mode);
    if (!file) {
        if (errno == EEXIST) return {};
        return base::system_error(errno, "creating it");
    }
    if (::fchown(file.fd(), user.uid, user.gid) != 0) return base::system_error(errno, giving);
    return {};
}

bool is_roots_alone(const std::string& directory) {
    const auto reached = Way(Missing::Fail, 0).walk(directory);
    return reached && reached.value().roots_alone;
}

}  // namespace app
