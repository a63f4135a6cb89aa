#include "app/process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/unique_fd.h"
#include "net/ring_size.h"

namespace app {

namespace {

sigset_t our_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, number);
    return set;
}

/// As far as we may; what cannot be raised is planned with (budget.h).
void raise_limit(__rlimit_resource resource) {
    rlimit limit{};
    if (::getrlimit(resource, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(resource, &limit);
}

bool has_ipc_lock() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
    return ::syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

}  // namespace

void harden_process() {
    // A socket that got number 2 would be written to by a library one day (faults.md PR-23).
    for (int fd = 0; fd <= 2; ++fd) {
        if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
            (void)::open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY);  // takes the lowest number
        }
    }
    // None of these can be waited for or retried; what fails leaves us as safe as we were.
    (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    const rlimit none{0, 0};
    (void)::setrlimit(RLIMIT_CORE, &none);
    raise_limit(RLIMIT_NOFILE);
    raise_limit(RLIMIT_MEMLOCK);
    (void)::signal(SIGPIPE, SIG_IGN);
    (void)::signal(SIGUSR2, SIG_IGN);  // reserved; its default would end us (faults.md PR-12)
}

uint64_t descriptors_max() {
    rlimit limit{};
    return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

std::optional<uint64_t> locked_memory_max(bool is_giving_up_root) {
    utsname kernel{};
    if (::uname(&kernel) == 0 && !net::counts_locked_memory(kernel.release)) return std::nullopt;
    if (has_ipc_lock() && !is_giving_up_root) return std::nullopt;
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return std::nullopt;
    }
    return limit.rlim_cur;
}

void block_signals() {
    const sigset_t set = our_signals();
    (void)::pthread_sigmask(SIG_BLOCK, &set, nullptr);  // fails for wrong arguments only
}

std::optional<int> wait_signal(base::Duration limit) {
    const sigset_t set = our_signals();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(limit);
    timespec wait{};
    wait.tv_sec = seconds.count();
    wait.tv_nsec = std::chrono::nanoseconds(limit - seconds).count();
    const int number = ::sigtimedwait(&set, nullptr, &wait);
    if (number > 0) return number;
    return std::nullopt;
}

base::Status make_parents(const std::string& path) {
    for (size_t slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
        const std::string parent = path.substr(0, slash);
        if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
            return base::system_error(errno, "creating the directories above md.store_dir");
        }
    }
    return {};
}

base::Status become_user(const User& user) {
    const uid_t uid = user.uid;
    const gid_t gid = user.gid;
    if (::setgroups(user.groups.size(), user.groups.data()) != 0)
        return base::system_error(errno, "setgroups");
    if (::setresgid(gid, gid, gid) != 0) return base::system_error(errno, "setresgid");
    if (::setresuid(uid, uid, uid) != 0) return base::system_error(errno, "setresuid");
    if (::setuid(0) == 0 || ::geteuid() == 0) {
        return base::system_error(EPERM, "giving up root: it could be regained");
    }
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return base::system_error(errno, "PR_SET_NO_NEW_PRIVS");
    }
    // A change of user sets this back to what fs.suid_dumpable says.
    (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return {};
}

}  // namespace app
