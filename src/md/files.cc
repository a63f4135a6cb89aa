#include "md/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace md {

namespace {

constexpr unsigned file_mode = 0600;
constexpr unsigned directory_mode = 0700;

// ".tmp.<pid>.<n>": hidden, unique while the process lives, and short, so that a name of 255 bytes
// has one too.
constexpr std::string_view temporary_prefix = ".tmp.";
// Names tried until one is free; more means that something is wrong with the directory.
constexpr int names_max = 100;
// Directories in a directory that remove_tree follows: the store has two levels.
constexpr int depth_max = 16;

int or_errno(int result) {
    return result < 0 ? -errno : result;
}

std::string temporary_name() {
    static std::atomic<uint64_t> count{0};
    return fmt::format("{}{}.{}", temporary_prefix, ::getpid(), count.fetch_add(1));
}

/// The process of a temporary name; 0 if it is none.
pid_t temporary_owner(std::string_view name) {
    if (!name.starts_with(temporary_prefix)) return 0;
    name.remove_prefix(temporary_prefix.size());
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    return error == std::errc{} && end != name.data() + name.size() && *end == '.' ? pid : 0;
}

base::Status failed(int negative_errno, const char* operation) {
    return base::system_error(negative_errno, operation);
}

base::Status write_all(Files& files, int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = retrying([&] { return files.write(fd, bytes); });
        // A write that takes nothing and says nothing is a full device in disguise.
        if (n <= 0) return failed(n == 0 ? -ENOSPC : static_cast<int>(n), "write");
        bytes.remove_prefix(static_cast<size_t>(n));
    }
    return {};
}

base::Status write_temporary(Files& files, int fd, std::string_view bytes) {
    const base::Status written = write_all(files, fd, bytes);
    if (!written.ok()) return written;
    if (const int r = retrying([&] { return files.set_mode(fd, file_mode); }); r < 0) {
        return failed(r, "chmod");
    }
    // A failed fsync may have dropped the pages and be followed by one that succeeds: never repeat
    // it, the file is written anew (faults.md ST-02).
    if (const int r = retrying([&] { return files.sync(fd); }); r < 0) return failed(r, "fsync");
    return {};
}

/// Removes what is in the directory `fd`.
base::Status remove_contents(Files& files, int fd, int depth) {
    std::vector<Files::Entry> entries;
    if (const int r = retrying([&] { return files.list(fd, entries); }); r < 0) {
        return failed(r, "read directory");
    }
    for (const Files::Entry& entry : entries) {
        int r = 0;
        if (entry.directory) {
            if (depth >= depth_max) return failed(-ELOOP, "remove directory");
            const int sub =
                retrying([&] { return files.open(fd, entry.name, O_RDONLY | O_DIRECTORY); });
            if (sub < 0) return failed(sub, "open directory");
            const FileHandle handle(files, sub);
            const base::Status emptied = remove_contents(files, sub, depth + 1);
            if (!emptied.ok()) return emptied;
            r = retrying([&] { return files.remove_directory(fd, entry.name); });
        } else {
            r = retrying([&] { return files.unlink(fd, entry.name); });
        }
        if (r < 0 && r != -ENOENT) return failed(r, "remove");
    }
    return {};
}

/// Removes an entry that nobody looks at any more.
base::Status remove_entry(Files& files, int directory, const std::string& name) {
    const int fd =
        retrying([&] { return files.open(directory, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK); });
    if (fd < 0) {
        // A file, or a symbolic link, which must go without touching what it points to.
        const int r = retrying([&] { return files.unlink(directory, name); });
        return r < 0 && r != -ENOENT ? failed(r, "remove") : base::Status{};
    }
    {
        const FileHandle handle(files, fd);
        const base::Status emptied = remove_contents(files, fd, 0);
        if (!emptied.ok()) return emptied;
    }
    const int r = retrying([&] { return files.remove_directory(directory, name); });
    return r < 0 && r != -ENOENT ? failed(r, "remove directory") : base::Status{};
}

/// What can be done about an errno, or "".
std::string_view advice(int code) {
    switch (code) {
        case ENOSPC:
            return "free space or inodes on this file system";
        case EDQUOT:
            return "raise the quota of the user that mdfront runs as";
        case EROFS:
            return "make this file system writable, or choose another store_dir";
        case EACCES:
        case EPERM:
            return "let the user that mdfront runs as own it (chown -R)";
        case ELOOP:
            return "it is, or lies behind, a symbolic link, which is not followed: put the real "
                   "file or directory there";
        case EISDIR:
        case ENXIO:
            return "it is no regular file: remove it";
        case ENOTDIR:
            return "something that is no directory is in its place: remove it";
        case EFBIG:
            return "it is larger than 1 MiB and cannot be ours: remove it";
        case EIO:
        case ESTALE:
            return "check the disk or the network file system below it";
        case ENOSYS:
            return "openat2 is missing: the kernel is older than 5.6, or a system call filter "
                   "forbids it";
        case EMFILE:
        case ENFILE:
            return "raise the limit of open files";
        default:
            return "";
    }
}

}  // namespace

int SystemFiles::open_root(const std::string& path) {
    return or_errno(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

int SystemFiles::make_root(const std::string& path) {
    if (::mkdir(path.c_str(), directory_mode) < 0) return -errno;
    // Not by its path, in whose place a link may stand by now.
    const int fd = open_root(path);
    if (fd < 0) return fd;
    const FileHandle handle(*this, fd);
    return set_mode(fd, directory_mode);
}

int SystemFiles::open(int directory, const std::string& path, int flags) {
    open_how how{};
    how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
    if ((flags & O_PATH) == 0) how.flags |= O_NOCTTY;  // nothing is opened with it
    how.mode = (flags & O_CREAT) != 0 ? file_mode : 0;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    // glibc has no wrapper for it.
    const long fd = ::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
    return fd < 0 ? -errno : static_cast<int>(fd);
}

int SystemFiles::close(int fd) {
    return or_errno(::close(fd));
}

ssize_t SystemFiles::read(int fd, std::span<char> into) {
    const ssize_t n = ::read(fd, into.data(), into.size());
    return n < 0 ? -errno : n;
}

ssize_t SystemFiles::write(int fd, std::string_view bytes) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    return n < 0 ? -errno : n;
}

int SystemFiles::stat(int fd, FileFacts& facts) {
    struct stat st {};
    if (::fstat(fd, &st) < 0) return -errno;
    facts.regular = S_ISREG(st.st_mode);
    facts.directory = S_ISDIR(st.st_mode);
    facts.size = static_cast<uint64_t>(st.st_size);
    facts.links = static_cast<uint64_t>(st.st_nlink);
    facts.mode = st.st_mode & 07777;
    facts.modified = base::Time{std::chrono::floor<base::Duration>(
        std::chrono::seconds{st.st_mtim.tv_sec} + std::chrono::nanoseconds{st.st_mtim.tv_nsec})};
    return 0;
}

int SystemFiles::set_mode(int fd, unsigned mode) {
    return or_errno(::fchmod(fd, static_cast<mode_t>(mode)));
}

int SystemFiles::sync(int fd) {
    return or_errno(::fsync(fd));
}

int SystemFiles::lock(int fd) {
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    // Of the open file and not of the process: closing another descriptor of it does not unlock.
    const int r = or_errno(::fcntl(fd, F_OFD_SETLK, &whole));
    return r == -EACCES ? -EAGAIN : r;
}

int SystemFiles::truncate(int fd) {
    return or_errno(::ftruncate(fd, 0));
}

int SystemFiles::list(int directory, std::vector<Entry>& entries) {
    entries.clear();
    // A description of its own: the caller's offset stays where it is.
    const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    DIR* stream = ::fdopendir(fd);
    if (stream == nullptr) {
        const int error = errno;
        (void)::close(fd);  // the error to report is fdopendir's
        return -error;
    }
    int error = 0;
    for (;;) {
        errno = 0;
        const dirent* entry = ::readdir(stream);
        if (entry == nullptr) {
            error = errno;
            break;
        }
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        bool is_directory = entry->d_type == DT_DIR;
        if (entry->d_type == DT_UNKNOWN) {  // some file systems do not tell
            struct stat st {};
            is_directory =
                ::fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
        }
        entries.push_back({std::string(name), is_directory});
    }
    (void)::closedir(stream);  // only read from
    return -error;
}

int SystemFiles::rename(int from_directory, const std::string& from, int to_directory,
                        const std::string& to) {
    return or_errno(::renameat(from_directory, from.c_str(), to_directory, to.c_str()));
}

int SystemFiles::unlink(int directory, const std::string& name) {
    return or_errno(::unlinkat(directory, name.c_str(), 0));
}

int SystemFiles::make_directory(int directory, const std::string& name) {
    if (::mkdirat(directory, name.c_str(), directory_mode) < 0) return -errno;
    const int fd = open(directory, name, O_PATH | O_DIRECTORY);
    if (fd < 0) return fd;
    const FileHandle handle(*this, fd);
    FileFacts facts;
    if (const int r = stat(fd, facts); r < 0) return r;
    if (facts.mode == directory_mode) return 0;
    // What the umask took away. A umask of 0777 makes it impossible to open, and by its name a link
    // could be meant by now: so by the descriptor's path.
    return or_errno(::chmod(fmt::format("/proc/self/fd/{}", fd).c_str(), directory_mode));
}

int SystemFiles::remove_directory(int directory, const std::string& name) {
    return or_errno(::unlinkat(directory, name.c_str(), AT_REMOVEDIR));
}

base::Result<base::Secret> read_secret_file(Files& files, int directory, const std::string& name,
                                            size_t max, FileFacts* facts_out) {
    const int fd = retrying([&] { return files.open(directory, name, O_RDONLY | O_NONBLOCK); });
    if (fd < 0) return base::system_error(fd, "open");
    const FileHandle handle(files, fd);
    FileFacts facts;
    if (const int r = retrying([&] { return files.stat(fd, facts); }); r < 0) {
        return base::system_error(r, "stat");
    }
    if (facts_out != nullptr) *facts_out = facts;
    if (!facts.regular) return base::system_error(facts.directory ? EISDIR : ENXIO, "read");
    if (facts.size > max) return base::system_error(EFBIG, "read");
    base::Secret bytes;
    bytes.resize(facts.size);
    size_t size = 0;
    for (;;) {
        if (size > max) return base::system_error(EFBIG, "read");
        if (size == bytes.size()) bytes.resize(size + 4096);  // room to see the end, or growth
        const ssize_t n = retrying([&] { return files.read(fd, bytes.buffer().subspan(size)); });
        if (n < 0) return base::system_error(static_cast<int>(n), "read");
        if (n == 0) break;
        size += static_cast<size_t>(n);
    }
    bytes.resize(size);
    return bytes;
}

base::Result<std::string> read_file(Files& files, int directory, const std::string& name,
                                    size_t max, FileFacts* facts_out) {
    // By way of what is wiped: which file has a secret in it shows only when it was read.
    const auto bytes = read_secret_file(files, directory, name, max, facts_out);
    if (!bytes.ok()) return bytes.error();
    return std::string(bytes.value().text());
}

base::Status replace_file(Files& files, int directory, const std::string& name,
                          std::string_view bytes) {
    std::string temporary;
    int fd = -EEXIST;
    for (int i = 0; i < names_max && fd == -EEXIST; ++i) {
        temporary = temporary_name();
        fd =
            retrying([&] { return files.open(directory, temporary, O_WRONLY | O_CREAT | O_EXCL); });
    }
    if (fd < 0) return failed(fd, "create");

    base::Status done = [&]() -> base::Status {
        FileHandle handle(files, fd);
        const base::Status written = write_temporary(files, fd, bytes);
        if (!written.ok()) return written;
        // Linux closes an interrupted descriptor all the same, and the data is safe.
        if (const int r = handle.close(); r < 0 && r != -EINTR) return failed(r, "close");
        return {};
    }();
    if (done.ok()) {
        const int r = retrying([&] { return files.rename(directory, temporary, directory, name); });
        if (r < 0) done = failed(r, "rename");
    }
    if (!done.ok()) {
        (void)retrying(
            [&] { return files.unlink(directory, temporary); });  // else the next start removes it
        return done;
    }
    if (const int r = retrying([&] { return files.sync(directory); }); r < 0) {
        return failed(r, "fsync directory");
    }
    return {};
}

base::Status remove_tree(Files& files, int directory, const std::string& name) {
    const std::string temporary = temporary_name();
    const int r = retrying([&] { return files.rename(directory, name, directory, temporary); });
    if (r == -ENOENT) return {};
    if (r < 0) return failed(r, "remove");
    // From here on it is gone for everybody; the sync makes it so after a power cut.
    if (const int s = retrying([&] { return files.sync(directory); }); s < 0)
        return failed(s, "fsync directory");
    return remove_entry(files, directory, temporary);
}

void remove_leftovers(Files& files, int directory, int depth) {
    std::vector<Files::Entry> entries;
    if (retrying([&] { return files.list(directory, entries); }) < 0) return;
    for (const Files::Entry& entry : entries) {
        if (const pid_t owner = temporary_owner(entry.name); owner != 0) {
            // Another process, as during an upgrade of the binary, may be at work with it. A pid of
            // our own can only be that of an earlier incarnation: in containers it is always 1.
            const bool alive = owner != ::getpid() && (::kill(owner, 0) == 0 || errno == EPERM);
            if (!alive) (void)remove_entry(files, directory, entry.name);  // or at the next start
        } else if (entry.directory && depth > 0) {
            const int fd =
                retrying([&] { return files.open(directory, entry.name, O_RDONLY | O_DIRECTORY); });
            if (fd < 0) continue;
            const FileHandle handle(files, fd);
            remove_leftovers(files, fd, depth - 1);
        }
    }
}

Problem file_problem(const base::Error& error, const std::string& path) {
    const std::string_view what_to_do = advice(error.code);
    return make_problem(
        error.code, fmt::format("{}: {}: {}{}{}", path, error.text, status_description(error.code),
                                what_to_do.empty() ? "" : "; ", what_to_do));
}

bool is_temporary_name(std::string_view name) {
    return temporary_owner(name) != 0;
}

}  // namespace md
