#include "md/store_lock.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;

namespace {

/// Another process that locks a file as mod_md does, with fcntl's F_SETLK, until it is told to end.
class OtherProcess {
  public:
    explicit OtherProcess(const std::string& path) {
        int ready[2];
        REQUIRE(::pipe(ready) == 0);
        REQUIRE(::pipe(end_) == 0);
        child_ = ::fork();
        REQUIRE(child_ >= 0);
        if (child_ == 0) {
            ::close(end_[1]);
            const int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0640);
            struct flock whole {};
            whole.l_type = F_WRLCK;
            whole.l_whence = SEEK_SET;
            const char answer = ::fcntl(fd, F_SETLK, &whole) == 0 ? 'y' : 'n';
            (void)!::write(ready[1], &answer, 1);
            char byte = 0;
            (void)!::read(end_[0], &byte, 1);
            ::_exit(0);
        }
        ::close(end_[0]);
        char answer = 0;
        REQUIRE(::read(ready[0], &answer, 1) == 1);
        locked_ = answer == 'y';
        ::close(ready[0]);
        ::close(ready[1]);
    }
    ~OtherProcess() { finish(); }
    bool locked() const { return locked_; }
    void finish() {
        if (child_ < 0) return;
        ::close(end_[1]);
        ::waitpid(std::exchange(child_, -1), nullptr, 0);
    }

  private:
    int end_[2];
    pid_t child_ = -1;
    bool locked_ = false;
};

/// A clock whose sleeps pass at once, and end a process at some time.
struct SteppedClock final : base::Clock {
    base::Time time{};
    OtherProcess* ends = nullptr;
    base::Time ends_at = base::Time::max();
    base::Time now() override { return time; }
    bool sleep(base::Duration duration) override {
        time += duration;
        if (ends != nullptr && time >= ends_at) ends->finish();
        return true;
    }
};

std::unique_ptr<FileStore> open_locking(const std::string& path, Files& files, base::Clock& clock) {
    base::SystemRandom random;
    auto store = FileStore::open(path, files, random, StoreLocks{std::chrono::seconds{5}, clock});
    REQUIRE(store.ok());
    return std::move(store).value();
}

}  // namespace

TEST_CASE("StoreLocks: mod_md's lock keeps ours away, and is waited for") {
    const TempDir dir;
    SystemFiles files;
    SteppedClock clock;
    auto store = open_locking(dir / "md", files, clock);
    OtherProcess httpd(dir / "md/store.lock");
    REQUIRE(httpd.locked());
    const base::Time start = clock.time;
    const auto refused = store->hold();
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().status == EAGAIN);
    CHECK(refused.error().detail.find("store.lock is locked by another process") !=
          std::string::npos);
    CHECK(clock.time - start >= std::chrono::seconds{5});
    // It ends while we wait.
    clock.ends = &httpd;
    clock.ends_at = clock.time + std::chrono::seconds{2};
    auto held = store->hold();
    REQUIRE(held.ok());
    CHECK(*held != nullptr);
}

TEST_CASE("StoreLocks: our lock keeps mod_md's away until it is let go") {
    const TempDir dir;
    SystemFiles files;
    SteppedClock clock;
    auto store = open_locking(dir / "md", files, clock);
    {
        auto first = store->hold();
        REQUIRE(first.ok());
        auto second = store->hold();  // our threads share it
        REQUIRE(second.ok());
        CHECK(*first == *second);
        first = std::shared_ptr<StoreLock>();
        CHECK_FALSE(OtherProcess(dir / "md/store.lock").locked());
    }
    CHECK(OtherProcess(dir / "md/store.lock").locked());
}

TEST_CASE("StoreLocks: off, nothing is locked and no file is made") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    OtherProcess httpd(dir / "md/store.lock");
    auto held = store->hold();
    REQUIRE(held.ok());
    CHECK(*held == nullptr);
}

TEST_CASE("A store that another process has locked opens, and is not cleared up") {
    const TempDir dir;
    SystemFiles files;
    SteppedClock clock;
    (void)open_store(dir / "md");
    const std::string leftover = dir / "md/domains/a.org/.tmp.999999999.1";
    std::filesystem::create_directories(dir / "md/domains/a.org");
    write_text(leftover, "x");
    {
        OtherProcess httpd(dir / "md/store.lock");
        auto store = open_locking(dir / "md", files, clock);
        CHECK(std::filesystem::exists(leftover));
        // A start asks again at once, and has waited enough; later on it is waited for.
        for (const int wait : {0, 5}) {
            const base::Time start = clock.time;
            const auto refused = store->hold();
            REQUIRE_FALSE(refused.ok());
            CHECK((refused.error().detail.find("not free within") != std::string::npos) ==
                  (wait > 0));
            CHECK(clock.time - start >= std::chrono::seconds{wait});
            CHECK(clock.time - start < std::chrono::seconds{wait + 1});
        }
    }
    (void)open_locking(dir / "md", files, clock);
    CHECK_FALSE(std::filesystem::exists(leftover));
}

TEST_CASE("A second process on a store is told which one the first is") {
    const TempDir dir;
    SystemFiles files;
    base::SystemClock clock;
    (void)open_store(dir / "md");
    const int directory = files.open_root(dir / "md");
    const FileHandle handle(files, directory);
    auto first = claim_store(files, directory, dir / "md", clock);
    REQUIRE(first != nullptr);
    auto pid = read_file(files, directory, process_lock_file, 64);
    REQUIRE(pid.ok());
    CHECK(*pid == std::to_string(::getpid()) + "\n");
    CHECK(claim_store(files, directory, dir / "md", clock) == nullptr);
    first.reset();
    CHECK(claim_store(files, directory, dir / "md", clock) != nullptr);
}
