#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <set>
#include <thread>

#include "base/text.h"
#include "catch.h"
#include "md/poll.h"
#include "md/spawned_commands.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::milliseconds;
using std::chrono::seconds;
using End = CommandResult::End;

namespace {

CommandResult run(std::vector<std::string> argv, base::Duration timeout = seconds{20},
                  std::stop_token stop = {}) {
    Command command{.argv = std::move(argv),
                    .environment = {"MDFRONT_DOMAIN=a.example"},
                    .domain = "a.example",
                    .timeout = timeout,
                    .stop = std::move(stop)};
    return SpawnedCommands(milliseconds{300}).run(command);
}

CommandResult shell(const std::string& script, base::Duration timeout = seconds{20},
                    std::stop_token stop = {}) {
    return run({"/bin/sh", "-c", script}, timeout, std::move(stop));
}

std::string script(const TempDir& directory, const std::string& text, unsigned mode = 0755) {
    const std::string path = directory / "script";
    write_text(path, text);
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    return path;
}

std::vector<std::string> lines(std::string_view output) {
    std::vector<std::string> result;
    for (const std::string_view line : base::split(output, '\n')) {
        if (!line.empty()) result.emplace_back(line);
    }
    return result;
}

size_t open_descriptors() {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        (void)entry;
        ++count;
    }
    return count;
}

bool is_running(const std::string& pid) {
    std::ifstream in("/proc/" + pid + "/stat");
    std::string text;
    return std::getline(in, text) && text.find(") Z") == std::string::npos;
}

/// A process that was killed is gone a moment later.
bool ends_soon(const std::string& pid) {
    for (int i = 0; i < 200 && is_running(pid); ++i) std::this_thread::sleep_for(milliseconds{10});
    return !is_running(pid);
}

}  // namespace

TEST_CASE("A command's end: exit codes, signals, and what it printed last") {
    CHECK(shell("exit 0").succeeded());
    for (const int code : {1, 2, 127, 128, 255}) {
        const CommandResult result = shell(fmt::format("exit {}", code));
        CHECK(result.end == End::Exited);
        CHECK(result.number == code);
        CHECK_FALSE(result.succeeded());
    }
    const CommandResult killed = shell("kill -9 $$");
    CHECK(killed.end == End::Signalled);
    CHECK(killed.number == SIGKILL);
    const CommandResult talking = shell("echo out; echo err >&2; printf last");
    CHECK(talking.output == "out\nerr\nlast");
}

TEST_CASE("Arguments arrive as they are; no shell is between") {
    const CommandResult result =
        run({"/usr/bin/printf", "%s|", "*.example.org", "$HOME", "a b", "", "`id`", "'"});
    CHECK(result.output == "*.example.org|$HOME|a b||`id`|'|");
}

TEST_CASE("What cannot be started says why") {
    const TempDir directory;
    struct Case {
        std::string program;
        int error;
    };
    const std::vector<Case> cases = {
        {"/no/such/program", ENOENT},
        {"no-such-program", ENOENT},
        {script(directory, "#!/bin/sh\n", 0644), EACCES},
        {directory.path(), EISDIR},
    };
    for (const Case& one : cases) {
        CAPTURE(one.program);
        const CommandResult result = run({one.program});
        CHECK(result.end == End::NotStarted);
        CHECK(result.number == one.error);
    }
    CHECK(run({script(directory, "#!/no/such/interpreter\n")}).number == ENOENT);
    CHECK(run({script(directory, "neither script nor program")}).number == ENOEXEC);
}

TEST_CASE("At the time limit the whole group ends, by SIGTERM or else by SIGKILL (PR-17)") {
    const std::string trap = GENERATE("", "trap '' TERM; ");
    const auto begin = std::chrono::steady_clock::now();
    const CommandResult result =
        shell(trap + "sh -c '" + (trap.empty() ? "" : "trap \"\" TERM; ") +
                  "echo $$; while true; do sleep 1; done' & echo $$; wait; wait",
              milliseconds{500});
    CHECK(result.end == End::TimedOut);
    const auto taken = std::chrono::steady_clock::now() - begin;
    CHECK(taken >= milliseconds{trap.empty() ? 500 : 800});
    CHECK(taken < seconds{5});
    const auto pids = lines(result.output);
    REQUIRE(pids.size() == 2);
    for (const std::string& pid : pids) CHECK(ends_soon(pid));
}

TEST_CASE("Stopping ends a command early, and begins none") {
    std::stop_source stop;
    const auto begin = std::chrono::steady_clock::now();
    std::thread stopper([&] {
        std::this_thread::sleep_for(milliseconds{100});
        stop.request_stop();
    });
    CHECK(shell("sleep 100", seconds{60}, stop.get_token()).end == End::Stopped);
    stopper.join();
    CHECK(std::chrono::steady_clock::now() - begin < seconds{5});
    const TempDir directory;
    const CommandResult none = shell("touch " + (directory / "x"), seconds{5}, stop.get_token());
    CHECK(none.end == End::Stopped);
    CHECK(tree(directory.path()).empty());
}

TEST_CASE("A child that keeps the pipe is not waited for (CA-49)") {
    const auto begin = std::chrono::steady_clock::now();
    const CommandResult result = shell("sleep 5 & echo begun");
    CHECK(result.succeeded());
    CHECK(result.output == "begun\n");
    CHECK(std::chrono::steady_clock::now() - begin < seconds{3});
}

TEST_CASE("Any amount of output is read, and its end is kept") {
    const CommandResult result = shell("head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end");
    CHECK(result.succeeded());
    CHECK(result.output.size() == Commands::output_max);
    CHECK(result.output.ends_with("xxx\nend\n"));
    CHECK(shell("yes y", milliseconds{300}).end == End::TimedOut);
}

TEST_CASE("The environment is made from nothing") {
    ::setenv("LD_LIBRARY_PATH", "/tmp", 1);
    ::setenv("OPENSSL_CONF", "/tmp/x", 1);
    ::setenv("https_proxy", "http://proxy", 1);
    const CommandResult result = run({"/usr/bin/env"});
    for (const char* name : {"LD_LIBRARY_PATH", "OPENSSL_CONF", "https_proxy"}) ::unsetenv(name);
    std::set<std::string> names;
    for (const std::string& line : lines(result.output)) {
        names.insert(line.substr(0, line.find('=')));
    }
    CHECK(names == std::set<std::string>{"HOME", "MDFRONT_DOMAIN", "PATH"});
}

TEST_CASE("A command has three descriptors, no signals of ours, and a session of its own") {
    const int leak = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
    const int high = ::fcntl(leak, F_DUPFD, 500);
    REQUIRE(high >= 500);
    // 3 is the directory that ls reads.
    CHECK(run({"/bin/ls", "/proc/self/fd"}).output == "0\n1\n2\n3\n");
    ::close(leak);
    ::close(high);
    CHECK(run({"/bin/readlink", "/proc/self/fd/0"}).output == "/dev/null\n");
    CHECK(run({"/bin/cat"}).output.empty());
    CHECK(run({"/bin/pwd"}).output == "/\n");

    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    REQUIRE(::pthread_sigmask(SIG_BLOCK, &usr1, nullptr) == 0);
    const auto old = ::signal(SIGPIPE, SIG_IGN);
    const CommandResult masks = run({"/bin/grep", "-E", "SigBlk|SigIgn", "/proc/self/status"});
    (void)::signal(SIGPIPE, old);
    REQUIRE(::pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr) == 0);
    // Signals 32 and 33 are glibc's own; before 2.38 its posix_spawn ignores them.
    const std::string none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    const std::string own = "SigBlk:\t0000000000000000\nSigIgn:\t0000000180000000\n";
    CHECK((masks.output == none || masks.output == own));

    const CommandResult session = shell(
        "read -r pid name state parent group session rest < /proc/self/stat; "
        "echo $((group == $$)) $((session == $$))");
    CHECK(session.output == "1 1\n");
}

TEST_CASE("Nothing is left behind: no descriptor, no zombie") {
    (void)shell("true");
    const size_t before = open_descriptors();
    (void)shell("echo x");
    (void)shell("kill -9 $$");
    (void)shell("sleep 10", milliseconds{50});
    (void)run({"/no/such/program"});
    CHECK(open_descriptors() == before);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
    CHECK(errno == ECHILD);
}

TEST_CASE("Several commands at a time do not disturb each other") {
    std::vector<std::thread> threads;
    std::atomic<int> good{0};
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] {
            const CommandResult result = shell(fmt::format("sleep 0.1; echo {}; exit {}", i, i));
            if (result.number == i && result.output == fmt::format("{}\n", i)) ++good;
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(good == 8);
}

TEST_CASE("A command's failure in words: which, why, its last lines, nothing unprintable") {
    const Command command{.argv = {"/bin/x", "secret"},
                          .environment = {},
                          .domain = "a.example",
                          .timeout = seconds{300},
                          .stop = {}};
    struct Case {
        CommandResult result;
        int status;
        std::string detail;
    };
    const std::vector<Case> cases = {
        {{End::Exited, 3, ""}, 20014, "notify_cmd /bin/x failed with exit code 3"},
        {{End::Exited, 128, ""},
         20014,
         "notify_cmd /bin/x failed with exit code 128, which is a failed execution"},
        {{End::Signalled, 9, ""}, 20014, "notify_cmd /bin/x was killed by signal 9 (Killed)"},
        {{End::TimedOut, 0, ""}, 70007, "notify_cmd /bin/x did not end within 5mi and was killed"},
        {{End::NotStarted, ENOENT, ""},
         ENOENT,
         "notify_cmd /bin/x could not be started: No such file or directory"},
        {{End::Exited, 1, "one\ntwo\n\nthree\n\x1b[31mfour\x1b[0m\n"},
         20014,
         "notify_cmd /bin/x failed with exit code 1; its last lines: two / three / "
         "\\x1b[31mfour\\x1b[0m"},
    };
    for (const Case& one : cases) {
        const Problem problem = command_problem("notify_cmd", command, one.result);
        CHECK(problem.status == one.status);
        CHECK(problem.detail == one.detail);
    }
    CHECK(is_stopping(command_problem("x", command, {End::Stopped, 0, ""})));
    const Problem endless =
        command_problem("x", command, {End::Exited, 1, std::string(100'000, 'y')});
    CHECK(endless.detail.size() < 1000);
}
