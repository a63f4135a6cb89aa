// Threads here, and not workers: what a confined one can do does not depend on what it is for.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

#include "app/confinement.h"
#include "base/unique_fd.h"
#include "catch.h"

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool can_confine = false;  // the runtime opens files
#else
constexpr bool can_confine = true;
#endif

/// Runs `work` on a confined thread.
template <typename Work>
void on_confined_thread(Work work) {
    std::thread([&] {
        app::confine_thread();
        work();
    }).join();
}

/// The errno of a call that gives below zero if it fails; else 0.
template <typename Call>
int error_of(Call call) {
    errno = 0;
    return call() < 0 ? errno : 0;
}

int make_ring() {
    io_uring_params params{};
    const base::UniqueFd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params)));
    return ring ? 0 : -1;
}

int open_file(const char* path, int flags) {
    return base::UniqueFd(::open(path, flags | O_CLOEXEC, 0600)) ? 0 : -1;
}

/// A ring of four entries that does one operation at a time.
class SmallRing {
  public:
    SmallRing() : fd_(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params_))) {
        REQUIRE(fd_);
        rings_ = map(params_.cq_off.cqes + params_.cq_entries * sizeof(io_uring_cqe),
                     IORING_OFF_SQ_RING);
        entries_ = reinterpret_cast<io_uring_sqe*>(
            map(params_.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    }

    /// Its result: below zero an errno.
    int run(const io_uring_sqe& entry) {
        const uint32_t at = done_ % params_.sq_entries;
        entries_[at] = entry;
        reinterpret_cast<uint32_t*>(rings_ + params_.sq_off.array)[at] = at;
        // The call itself orders these for the kernel: there is no thread of its own.
        *reinterpret_cast<uint32_t*>(rings_ + params_.sq_off.tail) = done_ + 1;
        if (::syscall(SYS_io_uring_enter, fd_.fd(), 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) != 1)
            return -errno;
        const int result = reinterpret_cast<io_uring_cqe*>(
                               rings_ + params_.cq_off.cqes)[done_ % params_.cq_entries]
                               .res;
        *reinterpret_cast<uint32_t*>(rings_ + params_.cq_off.head) = ++done_;
        return result;
    }

  private:
    uint8_t* map(size_t bytes, uint64_t offset) {
        void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                                fd_.fd(), static_cast<off_t>(offset));
        REQUIRE(at != MAP_FAILED);
        return static_cast<uint8_t*>(at);
    }

    io_uring_params params_{};
    base::UniqueFd fd_;
    uint8_t* rings_ = nullptr;
    io_uring_sqe* entries_ = nullptr;
    uint32_t done_ = 0;
};

std::string unused_path(const char* name) {
    return fmt::format("/tmp/mdfront-confinement-{}-{}", name, ::getpid());
}

}  // namespace

TEST_CASE("a confined thread opens, creates and removes no file") {
    if (!can_confine) return;
    const std::string path = unused_path("file");
    REQUIRE(error_of([&] { return open_file(path.c_str(), O_CREAT | O_RDWR); }) == 0);
    int read = 0, write = 0, create = 0, remove = 0, list = 0;
    on_confined_thread([&] {
        read = error_of([&] { return open_file(path.c_str(), O_RDONLY); });
        write = error_of([&] { return open_file(path.c_str(), O_WRONLY | O_TRUNC); });
        create = error_of([&] { return open_file((path + "2").c_str(), O_CREAT | O_RDWR); });
        remove = error_of([&] { return ::unlink(path.c_str()); });
        list = error_of([&] { return open_file("/", O_RDONLY | O_DIRECTORY); });
    });
    for (const int error : {read, write, create, remove, list}) {
        CHECK((error == EPERM || error == EACCES));  // seccomp, or Landlock alone
    }
    CHECK(::unlink(path.c_str()) == 0);  // it is still there, and this thread may
}

TEST_CASE("a confined thread starts no program, makes no ring and watches no process") {
    if (!can_confine) return;
    int program = 0, ring = 0, trace = 0, process = 0, signal = 0, bind_it = 0, packet = 0;
    int code = 0;
    on_confined_thread([&] {
        char* const arguments[] = {nullptr};
        program = error_of([&] { return ::execve("/bin/true", arguments, arguments); });
        ring = error_of(make_ring);
        trace = error_of([] { return static_cast<int>(::ptrace(PTRACE_TRACEME, 0, 0, 0)); });
        process = error_of([] { return ::fork(); });
        signal = error_of([] { return ::kill(::getppid(), 0); });
        bind_it = error_of([] {
            const sockaddr_in any{AF_INET, 0, {INADDR_ANY}, {}};
            return ::bind(0, reinterpret_cast<const sockaddr*>(&any), sizeof any);
        });
        packet = error_of([] { return ::socket(AF_NETLINK, SOCK_RAW, 0); });
        code = error_of([] {
            void* const page =
                ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            return page == MAP_FAILED ? -1 : 0;
        });
    });
    for (const int error : {program, ring, trace, process, signal, bind_it, packet, code}) {
        CHECK(error == EPERM);
    }
    CHECK(error_of(make_ring) == 0);
}

TEST_CASE("a ring made before confinement opens no file either, but reaches a socket by its path") {
    const std::string path = unused_path("socket");
    sockaddr_un address{AF_UNIX, {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const base::UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(listener.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener.fd(), 1) == 0);

    SmallRing ring;
    io_uring_sqe open{};
    open.opcode = IORING_OP_OPENAT;
    open.fd = AT_FDCWD;
    open.addr = reinterpret_cast<uintptr_t>("/etc/passwd");
    open.open_flags = O_RDONLY | O_CLOEXEC;
    const base::UniqueFd opened(ring.run(open));
    CHECK(opened);
    int opened_confined = 0, connected = -1;
    on_confined_thread([&] {
        opened_confined = ring.run(open);
        const base::UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        io_uring_sqe connect{};
        connect.opcode = IORING_OP_CONNECT;
        connect.fd = client.fd();
        connect.addr = reinterpret_cast<uintptr_t>(&address);
        connect.off = sizeof address;
        connected = ring.run(connect);
    });
    ::unlink(path.c_str());
    CHECK(connected == 0);
    if (!can_confine || ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1) < 1) return;
    CHECK(opened_confined == -EACCES);
}

TEST_CASE("a confined thread has what a worker needs") {
    std::vector<int> errors;
    bool has_memory = false, waited = false;
    on_confined_thread([&] {
        for (const int family : {AF_INET, AF_INET6, AF_UNIX}) {
            errors.push_back(error_of([&] {
                const base::UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
                return fd || errno == EAFNOSUPPORT ? 0 : -1;
            }));
        }
        timespec time{};
        errors.push_back(error_of([&] {
            return static_cast<int>(::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time));
        }));
        std::vector<std::vector<char>> blocks;
        for (size_t size = 100; size < 64 << 20; size *= 2) blocks.emplace_back(size, 'x');
        while (blocks.size() > 1) blocks.pop_back();  // given back: madvise, munmap
        has_memory = blocks.front().back() == 'x';
        std::mutex mutex;
        const std::lock_guard lock(mutex);
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        waited = true;
    });
    for (const int error : errors) CHECK(error == 0);
    CHECK(has_memory);
    CHECK(waited);
}

TEST_CASE("a confined thread knows the local time zone") {
    if (!can_confine) return;
    ::setenv("TZ", "Asia/Tokyo", 1);
    char offset[8] = {};
    on_confined_thread([&] {
        const std::time_t now = std::time(nullptr);
        std::tm local{};
        localtime_r(&now, &local);
        (void)std::strftime(offset, sizeof offset, "%z", &local);
    });
    ::unsetenv("TZ");
    if (::access("/usr/share/zoneinfo/Asia/Tokyo", R_OK) != 0) return;
    CHECK(std::string(offset) == "+0900");
}

TEST_CASE("abort() on a confined thread ends the process") {
    if (!can_confine) return;
    const pid_t child = ::fork();
    if (child == 0) {
        (void)std::signal(SIGABRT, SIG_DFL);  // Catch's would report a failure
        std::thread([] {
            app::confine_thread();
            std::abort();
        }).join();
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
}

TEST_CASE("threads that run beside a confined one keep what they have") {
    std::atomic<bool> is_confined{false};
    int opened = -1, privileges = -1;
    const int before = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    std::thread other([&] {
        is_confined.wait(false);
        opened = error_of([] { return open_file("/etc/passwd", O_RDONLY); });
        privileges = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    });
    on_confined_thread([&] {
        is_confined = true;
        is_confined.notify_all();
        other.join();
    });
    CHECK(opened == 0);
    CHECK(privileges == before);
}
