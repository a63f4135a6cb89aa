#include "net/ring_error.h"

#include <sys/utsname.h>

#include <cerrno>
#include <fstream>

#include "base/result.h"
#include "net/event_loop.h"
#include "net/ring.h"

namespace net {

namespace {

constexpr std::string_view kernel_needed = "mdfront needs Linux 6.1 or later";

template <typename Number>
std::optional<Number> read_number(const char* path) {
    std::ifstream file(path);
    Number value{};
    if (!(file >> value)) return std::nullopt;
    return value;
}

std::string explain_refused(const RingEnvironment& environment) {
    if (environment.disabled == 2) {
        return "the kernel forbids io_uring to everyone (kernel.io_uring_disabled=2); set it to 0 "
               "with sysctl";
    }
    if (environment.disabled == 1) {
        const std::string group = environment.group && *environment.group >= 0
                                      ? fmt::format("group {}", *environment.group)
                                      : std::string("the group in kernel.io_uring_group");
        return fmt::format(
            "the kernel allows io_uring only to CAP_SYS_ADMIN or {} "
            "(kernel.io_uring_disabled=1, kernel.io_uring_group={}); add mdfront's user to that "
            "group, or set kernel.io_uring_disabled to 0",
            group, environment.group.value_or(-1));
    }
    return "a seccomp profile forbids io_uring (default in Docker >= 25 and containerd 2); run "
           "with "
           "a profile that allows io_uring_setup, io_uring_enter and io_uring_register";
}

}  // namespace

RingEnvironment read_ring_environment(int errno_value) {
    RingEnvironment environment;
    environment.disabled = read_number<int>("/proc/sys/kernel/io_uring_disabled");
    environment.group = read_number<long>("/proc/sys/kernel/io_uring_group");
    utsname name{};
    if (::uname(&name) == 0) environment.kernel = name.release;
    if (errno_value == EINVAL) environment.unknown_flag = refused_setup_flag();
    return environment;
}

std::string explain_ring_error(int errno_value, const RingEnvironment& environment) {
    switch (errno_value) {
        case EPERM:
        case EACCES:
            return explain_refused(environment);
        case ENOSYS:
            return fmt::format(
                "kernel {} has no io_uring (older than 5.1, or built without CONFIG_IO_URING); {}",
                environment.kernel, kernel_needed);
        case EINVAL:
            if (environment.unknown_flag.empty()) {
                return fmt::format(
                    "kernel {} refuses the sizes of the io_uring; make its queues smaller",
                    environment.kernel);
            }
            return fmt::format("kernel {} does not know the io_uring flag {}; {}",
                               environment.kernel, environment.unknown_flag, kernel_needed);
        case ENOMEM:
            return fmt::format(
                "no memory for io_uring: raise the limit of locked memory (LimitMEMLOCK=, ulimit "
                "-l), which kernels before 5.12 and from 6.14 on count for all processes of a user "
                "together (this is {}), give CAP_IPC_LOCK, lower server.workers, or raise the "
                "cgroup's memory limit",
                environment.kernel);
        case EMFILE:
            return "no descriptor is left for io_uring: raise the process's limit (LimitNOFILE=, "
                   "ulimit -n)";
        case ENFILE:
            return "no descriptor is left for io_uring in the whole system: raise fs.file-max";
    }
    return base::system_error(errno_value, "io_uring_setup").message();
}

std::string explain_ring_error(int errno_value) {
    const int value = errno_value < 0 ? -errno_value : errno_value;
    return explain_ring_error(value, read_ring_environment(value));
}

}  // namespace net
