#include "md/store_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

namespace md {

namespace {

constexpr base::Duration pause = std::chrono::milliseconds{100};  // mod_md's
constexpr size_t claim_bytes_max = 64;

/// "process 123", as mdfront.lock says.
std::string holder_of(Files& files, int directory) {
    auto holder = read_file(files, directory, process_lock_file, claim_bytes_max);
    if (!holder) return "an unknown process";
    const std::string_view pid = std::string_view(*holder).substr(0, holder->find('\n'));
    return "process " + base::escape_for_log(pid);
}

}  // namespace

Outcome<StoreLock> StoreLock::acquire(Files& files, int directory, const std::string& path,
                                      const std::string& name, base::Duration wait,
                                      base::Clock& clock) {
    const std::string where = fmt::format("{}/{}", path, name);
    const int fd = retrying([&] { return files.open(directory, name, O_RDWR | O_CREAT); });
    if (fd < 0) return file_problem(base::system_error(fd, "open"), where);
    FileHandle file(files, fd);
    const base::Time until = clock.now() + wait;
    for (;;) {
        int locked = files.lock(fd);
        while (locked == -EINTR) locked = files.lock(fd);
        if (locked == 0) return StoreLock(std::move(file));
        if (locked != -EAGAIN) return file_problem(base::system_error(locked, "lock"), where);
        if (clock.now() >= until || !clock.sleep(pause)) break;
    }
    const bool has_waited = wait > base::Duration::zero();
    return make_problem(
        EAGAIN,
        fmt::format("{} is locked by another process, httpd's mod_md or mdfront{}", where,
                    has_waited ? ", and was not free within " + base::format_duration(wait) : ""));
}

std::shared_ptr<StoreLock> claim_store(Files& files, int directory, const std::string& path,
                                       base::Clock& clock) {
    auto lock = StoreLock::acquire(files, directory, path, process_lock_file, {}, clock);
    if (lock) {
        const int fd = lock->fd();
        const std::string pid = fmt::format("{}\n", ::getpid());
        if (files.truncate(fd) < 0 || files.write(fd, pid) < 0) {
            base::log_warn("md", path, "{} cannot be written; it is only for people",
                           process_lock_file);
        }
        return std::make_shared<StoreLock>(std::move(lock).value());
    }
    if (lock.error().status != EAGAIN) {
        // A read-only store, say, which is told of elsewhere.
        base::log_info("md", path, "{}", lock.error().message());
        return nullptr;
    }
    base::log_warn("md", path,
                   "another mdfront ({}) works on this store; certificates may be ordered twice: "
                   "give each a store_dir of its own, or stop one",
                   holder_of(files, directory));
    return nullptr;
}

std::string store_claimant(Files& files, int directory) {
    const int fd = retrying([&] { return files.open(directory, process_lock_file, O_RDWR); });
    if (fd < 0) return "";  // never claimed, or not ours to see
    const FileHandle file(files, fd);
    return files.lock(fd) == -EAGAIN ? holder_of(files, directory) : "";
}

}  // namespace md
