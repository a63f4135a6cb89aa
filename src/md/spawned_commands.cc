#include "md/spawned_commands.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <optional>

#include "base/log.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "md/command_line.h"

namespace md {

namespace {

using Steady = std::chrono::steady_clock;

constexpr size_t line_max = 1024;    // of one line in the log
constexpr int reads_per_round = 32;  // then the time is looked at again

/// pidfd_open(2); glibc 2.36 declares it in C alone.
int open_process(pid_t pid) {
    return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

std::string home_directory() {
    passwd entry{};
    passwd* found = nullptr;
    std::array<char, 4096> buffer{};
    const int error = ::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found);
    return error == 0 && found != nullptr && found->pw_dir[0] == '/' ? found->pw_dir : "/";
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

/// posix_spawn's two objects with their ends.
class SpawnPlan {
  public:
    explicit SpawnPlan(int output) {
        base::check(posix_spawn_file_actions_init(&actions_) == 0);
        base::check(posix_spawnattr_init(&attributes_) == 0);
        sigset_t all;
        sigset_t none;
        sigfillset(&all);
        sigemptyset(&none);
        // What is added here fails for want of memory alone.
        int error = posix_spawnattr_setsigdefault(&attributes_, &all);
        error |= posix_spawnattr_setsigmask(&attributes_, &none);
        error |= posix_spawnattr_setflags(
            &attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
        error |= posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
        error |= posix_spawn_file_actions_adddup2(&actions_, output, 1);
        error |= posix_spawn_file_actions_adddup2(&actions_, output, 2);
        error |= posix_spawn_file_actions_addclosefrom_np(&actions_, 3);
        error |= posix_spawn_file_actions_addchdir_np(&actions_, "/");
        base::check(error == 0);
    }
    ~SpawnPlan() {
        posix_spawn_file_actions_destroy(&actions_);
        posix_spawnattr_destroy(&attributes_);
    }
    SpawnPlan(const SpawnPlan&) = delete;
    SpawnPlan& operator=(const SpawnPlan&) = delete;

    /// 0 or errno; execve's, too.
    int spawn(const std::string& program, const Command& command, pid_t& pid) {
        std::vector<std::string> words = command.argv;
        std::vector<std::string> environment = command.environment;
        environment.push_back(fmt::format("PATH={}", command_path));
        environment.push_back("HOME=" + home_directory());
        return ::posix_spawn(&pid, program.c_str(), &actions_, &attributes_, pointers(words).data(),
                             pointers(environment).data());
    }

  private:
    posix_spawn_file_actions_t actions_{};
    posix_spawnattr_t attributes_{};
};

/// What a program prints: its lines go to the log, its end is kept.
class Output {
  public:
    Output(std::string domain, std::string program)
        : domain_(std::move(domain)), program_(std::move(program)) {}

    void take(std::string_view bytes) {
        kept_ += bytes;
        if (kept_.size() > 2 * Commands::output_max) cut();
        for (const char c : bytes) {
            if (c == '\n') {
                end_line();
            } else if (line_.size() < line_max) {
                line_ += c;
            }
        }
    }
    std::string finish() {
        end_line();
        cut();
        if (unlogged_ > 0) {
            base::log_info("md", domain_, "{}: {} more lines are not logged", program_, unlogged_);
        }
        return std::move(kept_);
    }

  private:
    void cut() {
        if (kept_.size() > Commands::output_max)
            kept_.erase(0, kept_.size() - Commands::output_max);
    }
    void end_line() {
        const std::string line = std::exchange(line_, {});
        if (base::trim(line).empty()) return;
        if (logged_ > SpawnedCommands::logged_max) {
            ++unlogged_;
            return;
        }
        logged_ += line.size() + 1;
        base::log_info("md", domain_, "{}: {}", program_, base::escape_for_log(base::trim(line)));
    }

    const std::string domain_;
    const std::string program_;
    std::string kept_;
    std::string line_;
    size_t logged_ = 0;
    size_t unlogged_ = 0;
};

/// One process from its start to its end, watched by the calling thread.
class Process {
  public:
    Process(const Command& command, pid_t pid, base::UniqueFd pidfd, base::UniqueFd pipe, int stop,
            base::Duration grace)
        : pid_(pid),
          pidfd_(std::move(pidfd)),
          pipe_(std::move(pipe)),
          stop_(stop),
          grace_(grace),
          deadline_(Steady::now() + command.timeout),
          output_(command.domain, base::escape_for_log(command.argv.front(), 200)) {}

    CommandResult wait_for_end() {
        while (!ended_ || (terminating_ && pipe_)) {
            const auto now = Steady::now();
            if (now >= deadline_) {
                if (terminating_) break;
                terminate(CommandResult::End::TimedOut, grace_);
                continue;
            }
            watch(std::chrono::ceil<std::chrono::milliseconds>(deadline_ - now));
        }
        // The process is not waited for yet: until then its number, and so the group's, is its own.
        if (terminating_) (void)::kill(-pid_, SIGKILL);
        if (pipe_) read_some();  // what is there; nobody is waited for
        siginfo_t info{};
        while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0 && errno == EINTR) {
        }
        CommandResult result{.output = output_.finish()};
        if (terminating_) {
            result.end = *terminating_;
        } else {
            const bool exited = info.si_code == CLD_EXITED;
            result.end = exited ? CommandResult::End::Exited : CommandResult::End::Signalled;
            result.number = info.si_status;
        }
        return result;
    }

  private:
    void watch(std::chrono::milliseconds limit) {
        pollfd polled[] = {{ended_ ? -1 : pidfd_.fd(), POLLIN, 0},
                           {pipe_ ? pipe_.fd() : -1, POLLIN, 0},
                           {terminating_ ? -1 : stop_, POLLIN, 0}};
        const int timeout = static_cast<int>(std::min<int64_t>(limit.count(), 60'000));
        if (::poll(polled, std::size(polled), timeout) <= 0) return;
        if (polled[1].revents != 0) read_some();
        if (polled[0].revents != 0) ended_ = true;
        if (polled[2].revents != 0 && !ended_) {
            terminate(CommandResult::End::Stopped,
                      std::min(grace_, SpawnedCommands::grace_when_stopping));
        }
    }
    void terminate(CommandResult::End why, base::Duration grace) {
        terminating_ = why;
        deadline_ = Steady::now() + grace;
        (void)::kill(-pid_, SIGTERM);
    }
    void read_some() {
        std::array<char, 4096> buffer;
        for (int i = 0; i < reads_per_round; ++i) {
            const ssize_t n = ::read(pipe_.fd(), buffer.data(), buffer.size());
            if (n > 0) {
                output_.take({buffer.data(), static_cast<size_t>(n)});
            } else if (n == 0) {
                pipe_.reset();
                return;
            } else if (errno != EINTR) {
                return;  // EAGAIN: all that is there was read
            }
        }
    }

    const pid_t pid_;
    base::UniqueFd pidfd_;
    base::UniqueFd pipe_;  // closed at its end
    const int stop_;
    const base::Duration grace_;
    Steady::time_point deadline_;
    Output output_;
    bool ended_ = false;
    std::optional<CommandResult::End> terminating_;
};

CommandResult not_started(int error) {
    return {CommandResult::End::NotStarted, error, ""};
}

}  // namespace

SpawnedCommands::SpawnedCommands(base::Duration grace) : grace_(grace) {
    (void)::signal(SIGCHLD, SIG_DFL);  // fails for wrong numbers only
}

CommandResult SpawnedCommands::run(const Command& command) {
    if (command.stop.stop_requested()) return {CommandResult::End::Stopped, 0, ""};
    base::check(!command.argv.empty());
    auto program = find_program(command.argv.front());
    if (!program) return not_started(program.error().status);

    const base::UniqueFd stop_event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    int ends[2] = {-1, -1};
    if (!stop_event || ::pipe2(ends, O_CLOEXEC) != 0) return not_started(errno);
    base::UniqueFd read_end(ends[0]);
    base::UniqueFd write_end(ends[1]);
    if (::fcntl(read_end.fd(), F_SETFL, O_NONBLOCK) != 0) return not_started(errno);

    pid_t pid = 0;
    if (const int error = SpawnPlan(write_end.fd()).spawn(*program, command, pid); error != 0) {
        return not_started(error);
    }
    write_end.reset();
    base::UniqueFd pidfd(open_process(pid));
    if (!pidfd) {  // no descriptors left: it cannot be watched, so it must not run
        const int error = errno;
        (void)::kill(-pid, SIGKILL);
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
        return not_started(error);
    }
    const std::stop_callback on_stop(command.stop, [&stop_event] {
        (void)::eventfd_write(stop_event.fd(), 1);  // EAGAIN: it has been told
    });
    return Process(command, pid, std::move(pidfd), std::move(read_end), stop_event.fd(), grace_)
        .wait_for_end();
}

}  // namespace md
