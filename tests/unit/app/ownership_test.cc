// Giving files to a user who tries to be given somebody else's: whatever it plants in its own
// directories, what is not there is untouched.
#include "app/ownership.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "app/config_support.h"
#include "base/unique_fd.h"
#include "catch.h"

namespace {

const app::User user{"somebody", 54321, 54321, {54321}};

struct stat facts_of(const std::string& path) {
    struct stat facts {};
    REQUIRE(::lstat(path.c_str(), &facts) == 0);
    return facts;
}

bool is_given(const std::string& path) {
    const struct stat facts = facts_of(path);
    return facts.st_uid == user.uid && facts.st_gid == user.gid;
}

bool is_roots(const std::string& path) {
    const struct stat facts = facts_of(path);
    return facts.st_uid == 0 && facts.st_gid == 0;
}

/// A store as root leaves it, and a file of root's outside.
struct World {
    World() {
        directory.write("outside/secret", "root's");
        directory.write("outside/inner/secret", "root's");
        directory.write("store/md_store.json", "{}");
        directory.write("store/domains/a.example.org/privkey.pem", "key");
        for (const char* path : {"store", "store/domains", "store/domains/a.example.org"}) {
            REQUIRE(::chmod(at(path).c_str(), 0700) == 0);
        }
    }

    std::string at(const std::string& path) const { return directory.path() + "/" + path; }

    app::Given give(const std::string& path = "store") const {
        auto given = app::give_tree(at(path), user);
        REQUIRE(given);
        return std::move(given).value();
    }

    bool is_outside_untouched() const {
        for (const char* path :
             {"outside", "outside/secret", "outside/inner", "outside/inner/secret"}) {
            if (!is_roots(at(path))) return false;
        }
        return true;
    }

    TemporaryDirectory directory;
};

bool told(const app::Given& given, const std::string& path, const std::string& why) {
    for (const std::string& line : given.skipped) {
        if (line.starts_with(path + ": ") && line.find(why) != std::string::npos) return true;
    }
    return false;
}

/// Only root can give files away.
bool is_root() {
    if (::geteuid() == 0) return true;
    WARN("not root: skipped");
    return false;
}

}  // namespace

TEST_CASE("a store that root made is the user's afterwards, with all in it") {
    if (!is_root()) return;
    const World world;
    const app::Given given = world.give();
    for (const char* path :
         {"store", "store/md_store.json", "store/domains", "store/domains/a.example.org",
          "store/domains/a.example.org/privkey.pem"}) {
        CHECK(is_given(world.at(path)));
    }
    CHECK(given.entries == 5);
    CHECK(given.skipped.empty());
    CHECK(world.give().entries == 0);
}

TEST_CASE("a store that is missing is made for the user alone, and the way to it for all") {
    if (!is_root()) return;
    const World world;
    const mode_t mask = ::umask(077);
    world.give("new/way/md");
    ::umask(mask);
    CHECK(is_given(world.at("new/way/md")));
    CHECK((facts_of(world.at("new/way/md")).st_mode & 07777) == 0700);
    CHECK(is_roots(world.at("new/way")));
    CHECK((facts_of(world.at("new/way")).st_mode & 07777) == 0755);
}

TEST_CASE("what is planted in the store is neither followed nor given") {
    if (!is_root()) return;
    const World world;
    const auto link = [&](const std::string& to, const std::string& path) {
        REQUIRE(::symlink(world.at(to).c_str(), world.at(path).c_str()) == 0);
    };
    link("outside/secret", "store/domains/file-link");
    link("outside", "store/domains/directory-link");
    REQUIRE(::link(world.at("outside/secret").c_str(),
                   world.at("store/domains/hard-link").c_str()) == 0);
    REQUIRE(::mkfifo(world.at("store/domains/fifo").c_str(), 0600) == 0);
    REQUIRE(::mknod(world.at("store/domains/device").c_str(), S_IFCHR | 0600, 0x0103) == 0);

    const app::Given given = world.give();  // and does not hang on the FIFO
    CHECK(world.is_outside_untouched());
    for (const char* name : {"file-link", "directory-link", "fifo", "device"}) {
        const std::string path = world.at("store/domains/") + name;
        CHECK(is_roots(path));
        CHECK(told(given, path, "cannot be ours"));
    }
    CHECK(is_roots(world.at("store/domains/hard-link")));
    CHECK(told(given, world.at("store/domains/hard-link"), "put a copy in its place"));
    CHECK(is_given(world.at("store/domains/a.example.org/privkey.pem")));
}

TEST_CASE("no symbolic link is followed on a way that others can change") {
    if (!is_root()) return;
    const World world;  // in /tmp, where everybody makes links
    REQUIRE(::symlink(world.at("outside").c_str(), world.at("link").c_str()) == 0);
    for (const char* path : {"link/inner", "link", "store/../link/inner", "store/.."}) {
        const auto given = app::give_tree(world.at(path), user);
        REQUIRE_FALSE(given);
        CHECK(given.error().message().find("root does not follow") != std::string::npos);
    }
    CHECK(world.is_outside_untouched());
    CHECK_FALSE(app::is_roots_alone(world.at("outside")));
}

TEST_CASE("a symbolic link that root made is followed") {
    if (!is_root()) return;
    // The way has to be root's: / and one directory there.
    std::string base = "/mdfront-test-XXXXXX";
    if (::mkdtemp(base.data()) == nullptr) {
        WARN("nothing can be made in /: skipped");
        return;
    }
    std::filesystem::create_directories(base + "/real/md");
    REQUIRE(::symlink("real", (base + "/link").c_str()) == 0);
    REQUIRE(::symlink((base + "/loop").c_str(), (base + "/loop").c_str()) == 0);
    CHECK(app::is_roots_alone(base + "/link"));
    CHECK(app::give_tree(base + "/link/md", user));
    CHECK(is_given(base + "/real/md"));
    CHECK_FALSE(app::give_tree(base + "/loop/md", user));
    // Once the way is the user's, it is not.
    REQUIRE(::chown((base + "/real").c_str(), user.uid, user.gid) == 0);
    REQUIRE(::symlink("/", (base + "/real/to-root").c_str()) == 0);
    CHECK_FALSE(app::give_tree(base + "/real/to-root" + base, user));
    CHECK(is_roots(base));
    std::filesystem::remove_all(base);
}

TEST_CASE("what a third user owns, or may have been moved there, is not given") {
    if (!is_root()) return;
    const World world;
    world.directory.write("store/theirs/file", "x");
    world.directory.write("store/moved/file", "x");
    REQUIRE(::chown(world.at("store/theirs").c_str(), 777, 777) == 0);
    REQUIRE(::chown(world.at("store/theirs/file").c_str(), 777, 777) == 0);
    REQUIRE(::chmod(world.at("store/moved").c_str(), 0775) == 0);
    const app::Given given = world.give();
    CHECK(facts_of(world.at("store/theirs/file")).st_uid == 777);
    CHECK(told(given, world.at("store/theirs"), "somebody else's"));
    CHECK(is_roots(world.at("store/moved/file")));
    CHECK(told(given, world.at("store/moved"), "somebody else's"));
    // The same one level higher.
    CHECK_FALSE(app::give_tree(world.at("store/moved"), user));
    // A store of another user's before is handed on.
    world.directory.write("old/file", "x");
    REQUIRE(::chmod(world.at("old").c_str(), 0755) == 0);
    REQUIRE(::chown(world.at("old").c_str(), 777, 777) == 0);
    REQUIRE(::chown(world.at("old/file").c_str(), 777, 777) == 0);
    world.give("old");
    CHECK(is_given(world.at("old/file")));
}

TEST_CASE("a file system that is mounted in the store is left alone") {
    if (!is_root()) return;
    const World world;
    std::filesystem::create_directories(world.at("store/mounted"));
    // In a mount namespace of the thread's own.
    bool mounted = false;
    std::thread([&] {
        if (::unshare(CLONE_NEWNS | CLONE_FS) != 0) return;
        if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return;
        // Of the same device as the store.
        mounted = ::mount(world.at("outside").c_str(), world.at("store/mounted").c_str(), nullptr,
                          MS_BIND, nullptr) == 0;
        if (!mounted) return;
        const app::Given given = world.give();
        CHECK(told(given, world.at("store/mounted"), "mounted"));
    }).join();
    if (!mounted) {
        WARN("nothing can be mounted: skipped");
        return;
    }
    CHECK(world.is_outside_untouched());
}

TEST_CASE("a directory that is swapped for a link while it is given leads nowhere") {
    if (!is_root()) return;
    const World world;
    world.directory.write("store/d/inner/secret", "x");
    REQUIRE(::symlink(world.at("outside").c_str(), world.at("store/l").c_str()) == 0);
    const base::UniqueFd store(::open(world.at("store").c_str(), O_RDONLY | O_DIRECTORY));
    std::vector<base::UniqueFd> real;
    for (const char* path : {"store/d", "store/d/inner", "store/d/inner/secret"}) {
        real.emplace_back(::open(world.at(path).c_str(), O_RDONLY));
    }
    std::atomic<bool> ends{false};
    std::thread swapper([&] {
        while (!ends) {
            (void)::syscall(SYS_renameat2, store.fd(), "d", store.fd(), "l", RENAME_EXCHANGE);
        }
    });
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{700};
    size_t rounds = 0;
    bool untouched = true;
    while (untouched && std::chrono::steady_clock::now() < end) {
        // Nothing is left to do for files that are given: take them back.
        for (const base::UniqueFd& fd : real) REQUIRE(::fchown(fd.fd(), 0, 0) == 0);
        (void)app::give_tree(world.at("store"), user);  // what is swapped may be missed
        untouched = world.is_outside_untouched();
        ++rounds;
    }
    ends = true;
    swapper.join();
    CHECK(untouched);
    CHECK(rounds > 20);
}

TEST_CASE("a socket is given if it is the one that root made, and nothing in its place") {
    if (!is_root()) return;
    const World world;
    const std::string path = world.at("admin.sock");
    const base::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    std::copy(path.begin(), path.end(), address.sun_path);
    REQUIRE(::bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::link(path.c_str(), world.at("other-name").c_str()) == 0);
    CHECK_FALSE(app::give_socket(path, user));
    REQUIRE(::unlink(world.at("other-name").c_str()) == 0);
    CHECK(app::give_socket(path, user));
    CHECK(is_given(path));
    CHECK_FALSE(app::give_socket(path, user));  // somebody's by now

    REQUIRE(::symlink(world.at("outside/secret").c_str(), world.at("link").c_str()) == 0);
    CHECK_FALSE(app::give_socket(world.at("link"), user));
    CHECK_FALSE(app::give_socket(world.at("outside/secret"), user));
    CHECK_FALSE(app::give_socket(world.at("none"), user));
    CHECK(world.is_outside_untouched());
}

TEST_CASE("root makes a log for the user in a directory of its own, and nowhere else") {
    if (!is_root()) return;
    std::string base = "/mdfront-test-XXXXXX";
    if (::mkdtemp(base.data()) == nullptr) {
        WARN("nothing can be made in /: skipped");
        return;
    }
    const std::string log = base + "/access.log";
    CHECK(app::make_log(log, user));
    CHECK(is_given(log));
    CHECK((facts_of(log).st_mode & 07777) == 0640);
    // One that is there stays as it is.
    REQUIRE(::chown(log.c_str(), 0, 0) == 0);
    CHECK(app::make_log(log, user));
    CHECK(is_roots(log));
    REQUIRE(::symlink("/no/such/file", (base + "/link").c_str()) == 0);
    CHECK(app::make_log(base + "/link", user));
    CHECK(is_roots(base + "/link"));
    std::filesystem::remove_all(base);

    const World world;
    CHECK(app::make_log(world.at("access.log"), user));
    CHECK_FALSE(std::filesystem::exists(world.at("access.log")));
}
