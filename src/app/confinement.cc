#include "app/confinement.h"

#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "base/log.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace app {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_sanitized = true;
#else
constexpr bool is_sanitized = false;
#endif

void warn(int error, const char* what, std::string_view meaning) {
    base::log_warn("app", "", "{}; {}", base::system_error(error, what).message(), meaning);
}

// ---- Landlock: no file

constexpr std::string_view only_others =
    "workers are kept from files by seccomp and by their rings' restrictions only";

/// All rights to files that a kernel of this ABI knows, at most those of ABI 5. Later ones are left
/// out on purpose: to connect to a socket by its path is a candidate for them, and backends may
/// have such sockets. Numbers, since Debian 12's header ends with ABI 2.
uint64_t file_rights(long abi) {
    constexpr int known_bits[] = {0, 13, 14, 15, 15, 16};  // 2: refer, 3: truncate, 5: ioctl
    return (uint64_t{1} << known_bits[std::min(abi, 5L)]) - 1;
}

void give_up_files() {
    const long abi =
        ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) {
        static std::atomic_flag is_told;
        if (abi < 0 && errno != ENOSYS && errno != EOPNOTSUPP) {
            warn(errno, "Landlock", only_others);
        } else if (!is_told.test_and_set()) {
            base::log_info("app", "",
                           "this kernel has no Landlock, or it is switched off (lsm=); {}",
                           only_others);
        }
        return;
    }
    // The first version of the structure: all that handles files.
    landlock_ruleset_attr handled{};
    handled.handled_access_fs = file_rights(abi);
    const base::UniqueFd rules(static_cast<int>(
        ::syscall(SYS_landlock_create_ruleset, &handled, sizeof handled.handled_access_fs, 0)));
    // A rule would allow something: there is none.
    if (!rules || ::syscall(SYS_landlock_restrict_self, rules.fd(), 0) != 0) {
        warn(errno, "Landlock", only_others);
    }
}

// ---- seccomp: no other system calls

/// Allowed with any arguments.
constexpr int allowed_calls[] = {
    // the ring, the mailbox's eventfd, and what is asked of sockets outside of the ring
    SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(read), SCMP_SYS(write),
    SCMP_SYS(close), SCMP_SYS(shutdown), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
    SCMP_SYS(getpeername), SCMP_SYS(getsockname),
    // memory; sched_getaffinity: malloc counts processors for its arenas
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
    SCMP_SYS(sched_getaffinity),
    // locks, time, randomness; getpid: OpenSSL looks whether it was forked
    SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
    SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid),
    // signals, also those of abort(), and the end
    SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction),
    SCMP_SYS(restart_syscall), SCMP_SYS(rseq), SCMP_SYS(exit), SCMP_SYS(exit_group)};

/// Allowed if one argument has a value under a mask.
struct Condition {
    int call;
    unsigned argument;
    uint64_t mask;
    uint64_t value;
};

constexpr uint64_t whole = UINT32_MAX;  // an int: its upper half is not looked at by the kernel

std::vector<Condition> conditions() {
    return {{SCMP_SYS(socket), 0, whole, AF_INET},
            {SCMP_SYS(socket), 0, whole, AF_INET6},
            {SCMP_SYS(socket), 0, whole, AF_UNIX},
            // Memory never becomes code.
            {SCMP_SYS(mmap), 2, PROT_EXEC, 0},
            {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
            // abort(): what malloc found, and a signal to ourselves
            {SCMP_SYS(writev), 0, whole, STDERR_FILENO},
            {SCMP_SYS(tgkill), 0, whole, static_cast<uint64_t>(::getpid())}};
}

/// 0, or a negative errno.
int load_filter() {
    const std::unique_ptr<void, void (*)(void*)> filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                        &seccomp_release);
    if (!filter) return -ENOMEM;
    const std::pair<scmp_filter_attr, uint32_t> attributes[] = {
        {SCMP_FLTATR_API_SYSRAWRC, 1},  // seccomp_load() gives the kernel's errno
        {SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM)},  // 32-bit calls, x32
        {SCMP_FLTATR_CTL_OPTIMIZE, 2}};                    // a tree instead of a list
    for (const auto& [attribute, value] : attributes) {
        if (const int r = seccomp_attr_set(filter.get(), attribute, value); r < 0) return r;
    }
    for (const int call : allowed_calls) {
        const int r = seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, call, 0, nullptr);
        if (r < 0) return r;
    }
    for (const Condition& one : conditions()) {
        const scmp_arg_cmp compared{one.argument, SCMP_CMP_MASKED_EQ, one.mask, one.value};
        const int r = seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, one.call, 1, &compared);
        if (r < 0) return r;
    }
    return seccomp_load(filter.get());  // without TSYNC: this thread only
}

void give_up_calls() {
    // libseccomp keeps what it learns of the kernel in plain globals, and workers start together.
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    if (const int r = load_filter(); r < 0) warn(r, "seccomp", "workers may make any system call");
}

}  // namespace

void confine_thread() {
    if (is_sanitized) {
        // For a report also programs: it would come without lines, or not at all.
        base::log_debug("app", "", "workers are not confined: the sanitizer's runtime opens files");
        return;
    }
    ::tzset();  // reads a file; the access log's times need it later
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        warn(errno, "PR_SET_NO_NEW_PRIVS", "workers are not confined");
        return;
    }
    give_up_files();
    give_up_calls();
}

}  // namespace app
