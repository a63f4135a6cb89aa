// The store under faults (faults.md ST-01, 02, 03, 05, 06, 07): every operation is stopped at each
// of its system calls, in each way, and what is found afterwards must be old or new.

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <set>

#include "catch.h"
#include "md/file_store.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;

namespace {

/// A store with a served set, a staged key, a new set in tmp, and what the operations below need.
struct Scene {
    TempDir dir;
    std::string md = dir / "md";
    Pair old_pair = make_pair({.names = {"a.org"}});
    Pair new_pair = make_pair({.names = {"a.org"}});
    StoredDomain stored = stored_domain({"a.org"});

    Scene() {
        auto store = open_store(md);
        save_set(*store, Group::Domains, stored, {old_pair});
        save_set(*store, Group::Staging, stored, {old_pair});
    }

    /// A fresh copy of the scene's store.
    std::string copy() const {
        static int count = 0;
        const std::string path = dir / fmt::format("copy-{}", count++);
        std::filesystem::copy(md, path, std::filesystem::copy_options::recursive);
        return path;
    }
};

using Operation = std::function<Outcome<void>(Store&)>;

std::unique_ptr<FileStore> open_with(const std::string& path, Files& files) {
    static base::SystemRandom random;
    auto store = FileStore::open(path, files, random);
    return store.ok() ? std::move(store).value() : nullptr;
}

bool has_leftovers(const std::string& path) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
        if (is_temporary_name(entry.path().filename().string())) return true;
    }
    return false;
}

/// Stops the operation in every way at every call; `check` looks at a store opened afterwards.
void torture(const Scene& scene, const Operation& operation,
             const std::function<void(FileStore&)>& check) {
    using Fault = FaultyFiles::Fault;
    int deaths = 0;
    for (int at = 1;; ++at) {
        INFO("dies at call " << at);
        const std::string path = scene.copy();
        const bool died = dies_at(at, [&](Files& files) {
            auto store = open_with(path, files);
            if (store) (void)operation(*store);
        });
        {
            auto store = open_store(path);
            check(*store);
            CHECK_FALSE(has_leftovers(path));
            // The next attempt finds nothing in its way.
            const auto again = operation(*store);
            if (!again.ok()) FAIL(again.error().message());
        }
        std::filesystem::remove_all(path);
        if (!died) break;
        ++deaths;
    }
    CHECK(deaths > 5);

    for (const int error : {ENOSPC, EIO}) {
        for (const Fault fault : {Fault::Error, Fault::ErrorFromThenOn}) {
            for (int at = 1;; ++at) {
                INFO("error " << error << " at call " << at
                              << (fault == Fault::Error ? "" : " and all later ones"));
                const std::string path = scene.copy();
                FaultyFiles files(fault, at, error);
                if (auto store = open_with(path, files)) {
                    const auto done = operation(*store);
                    if (!done.ok()) CHECK_FALSE(done.error().detail.empty());
                }
                const bool finished = files.calls() < at;
                {
                    auto store = open_store(path);
                    check(*store);
                    CHECK_FALSE(has_leftovers(path));
                }
                std::filesystem::remove_all(path);
                if (finished) break;
            }
        }
    }
}

/// Old or new, whole.
void check_pair(FileStore& store, Group group, const Scene& scene) {
    const std::vector<Slot> slots =
        load_credentials(store, group, "a.org", scene.stored.domain.key_specs());
    REQUIRE(slots.size() == 1);
    INFO(slots[0].why);
    REQUIRE(slots[0].certificate != nullptr);
    const Pair& pair = slots[0].chain_pem == scene.old_pair.chain ? scene.old_pair : scene.new_pair;
    CHECK(slots[0].chain_pem == pair.chain);
    CHECK(slots[0].key_pem.text() == pair.key);
    auto json = store.load(group, "a.org", "md.json");
    REQUIRE(json.ok());
    CHECK(*json == domain_to_json(scene.stored));
}

}  // namespace

TEST_CASE("Faults: first start leaves nothing, or a store with a whole secret (ST-05)") {
    const TempDir dir;
    int deaths = 0;
    for (int at = 1;; ++at) {
        INFO("call " << at);
        const std::string path = dir / fmt::format("md-{}", at);
        const bool died = dies_at(at, [&](Files& files) { (void)open_with(path, files); });
        auto store = open_store(path);
        CHECK(tree(path) == std::vector<std::string>{"md_store.json"});
        if (!died) break;
        ++deaths;
    }
    CHECK(deaths > 5);
}

TEST_CASE("Faults: a saved file is old or new (ST-01, ST-02, ST-05)") {
    const Scene scene;
    torture(
        scene, [](Store& store) { return store.save(Group::Domains, "a.org", "job.json", "new"); },
        [](FileStore& store) {
            auto bytes = store.load(Group::Domains, "a.org", "job.json");
            REQUIRE(bytes.ok());
            if (*bytes) CHECK(**bytes == "new");
        });
    torture(
        scene, [](Store& store) { return store.save(Group::Staging, "b.org", "md.json", "new"); },
        [](FileStore& store) {
            auto bytes = store.load(Group::Staging, "b.org", "md.json");
            REQUIRE(bytes.ok());
            if (*bytes) CHECK(**bytes == "new");
        });
}

TEST_CASE("Faults: a staged key is the old or the new one, and can be decrypted (ST-05)") {
    const Scene scene;
    torture(
        scene,
        [&](Store& store) {
            return store.save_key(Group::Staging, "a.org", "privkey.pem", scene.new_pair.key);
        },
        [&](FileStore& store) {
            auto key = store.load_key(Group::Staging, "a.org", "privkey.pem");
            REQUIRE(key.ok());
            const std::string_view text = (*key)->text();
            CHECK((text == scene.old_pair.key || text == scene.new_pair.key));
        });
}

TEST_CASE("Faults: activation serves the old or the new pair, never a mixture, never nothing") {
    const Scene scene;
    const Operation activate = [&](Store& store) -> Outcome<void> {
        if (auto purged = store.purge(Group::Tmp, "a.org"); !purged.ok()) return purged;
        if (auto saved = save_domain(store, Group::Tmp, scene.stored); !saved.ok()) return saved;
        auto saved = save_credential(store, Group::Tmp, "a.org", {}, scene.new_pair.chain,
                                     scene.new_pair.key);
        if (!saved.ok()) return saved;
        return store.activate_tmp("a.org");
    };
    torture(scene, activate, [&](FileStore& store) {
        check_pair(store, Group::Domains, scene);
        CHECK(store.names(Group::Tmp).value().empty());
    });
}

TEST_CASE("Faults: a failed activation leaves a served set at once, not only after a restart") {
    const Scene scene;
    for (int at = 1;; ++at) {
        INFO("call " << at);
        const std::string path = scene.copy();
        FaultyFiles files(FaultyFiles::Fault::Error, at, EIO);
        auto store = open_with(path, files);
        if (store) {
            bool done = save_domain(*store, Group::Tmp, scene.stored).ok();
            done = done && save_credential(*store, Group::Tmp, "a.org", {}, scene.new_pair.chain,
                                           scene.new_pair.key)
                               .ok();
            done = done && store->activate_tmp("a.org").ok();
            if (files.calls() < at) {
                CHECK(done);
                break;
            }
            check_pair(*store, Group::Domains, scene);
        }
    }
}

TEST_CASE("Faults: recovery may be interrupted as well (ST-05)") {
    const Scene scene;
    // The state between the two renames of an activation.
    auto store = open_store(scene.md);
    save_set(*store, Group::Tmp, scene.stored, {scene.new_pair});
    store.reset();
    std::filesystem::create_directories(scene.md + "/archive");
    std::filesystem::rename(scene.md + "/domains/a.org", scene.md + "/archive/a.org.1");
    for (int at = 1;; ++at) {
        INFO("call " << at);
        const std::string path = scene.copy();
        const bool died = dies_at(at, [&](Files& files) { (void)open_with(path, files); });
        auto opened = open_store(path);
        CHECK(opened->load(Group::Domains, "a.org", "pubcert.pem").value() == scene.new_pair.chain);
        CHECK(opened->load(Group::Archive, "a.org.1", "pubcert.pem").value() ==
              scene.old_pair.chain);
        if (!died) break;
    }
}

TEST_CASE("Faults: a damaged new set brings the former one back") {
    const Scene scene;
    std::filesystem::create_directories(scene.md + "/archive");
    std::filesystem::rename(scene.md + "/domains/a.org", scene.md + "/archive/a.org.3");
    write_text(scene.md + "/tmp/a.org/md.json", "{");
    auto store = open_store(scene.md);
    check_pair(*store, Group::Domains, scene);
    CHECK(store->names(Group::Tmp).value().empty());
    CHECK(store->names(Group::Archive).value().empty());
}

TEST_CASE("Faults: a purged directory is whole or gone; a renamed one is at one of its names") {
    const Scene scene;
    torture(
        scene, [](Store& store) { return store.purge(Group::Staging, "a.org"); },
        [&](FileStore& store) {
            if (!store.names(Group::Staging).value().empty()) {
                check_pair(store, Group::Staging, scene);
            }
        });
    // As reconcile() does it: again only if the directory is still missing.
    torture(
        scene,
        [](Store& store) -> Outcome<void> {
            auto names = store.names(Group::Domains);
            if (!names.ok()) return names.error();
            if (*names == std::vector<std::string>{"b.org"}) return {};
            return store.rename_domain("a.org", "b.org");
        },
        [&](FileStore& store) {
            const auto names = store.names(Group::Domains).value();
            REQUIRE(names.size() == 1);
            const auto staged = store.names(Group::Staging).value();
            REQUIRE(staged.size() == 1);
            CHECK(store.aspects(Group::Domains, names[0]).value().size() == 3);
            CHECK(store.aspects(Group::Staging, staged[0]).value().size() == 3);
        });
}

TEST_CASE("Faults: interrupted and short calls are repeated (ST-07)") {
    const Scene scene;
    FaultyFiles files;
    files.make_slow();
    base::SystemRandom random;
    auto store = FileStore::open(scene.md, files, random);
    REQUIRE(store.ok());
    CHECK((*store)->load(Group::Domains, "a.org", "pubcert.pem").value() == scene.old_pair.chain);
    for (const char* aspect : {"x", "y"}) {
        const auto saved = (*store)->save(Group::Ocsp, "a.org", aspect, "short writes");
        if (!saved.ok()) FAIL(saved.error().message());
        CHECK((*store)->load(Group::Ocsp, "a.org", aspect).value() == "short writes");
    }
    CHECK((*store)->names(Group::Ocsp).value().size() == 1);
    CHECK((*store)->set_aside(Group::Ocsp, "a.org", "x", noon).ok());
    CHECK((*store)->rename_domain("a.org", "b.org").ok());
    CHECK((*store)->purge(Group::Ocsp, "a.org").ok());
    CHECK((*store)->remove(Group::Domains, "b.org", "md.json").ok());
}

TEST_CASE("Faults: messages name path, operation, cause and what to do") {
    const Scene scene;
    struct Case {
        int error;
        const char* says;
    };
    const Case cases[] = {{ENOSPC, "free space"},  {EDQUOT, "quota"},
                          {EROFS, "writable"},     {EACCES, "own it"},
                          {EIO, "check the disk"}, {EMFILE, "limit of open files"}};
    for (const Case& c : cases) {
        FaultyFiles probe;
        REQUIRE(open_with(scene.md, probe));
        // Opening, without the close at the end; two directories; then the temporary file.
        const int create = probe.calls() - 1 + 3;
        FaultyFiles files(FaultyFiles::Fault::ErrorFromThenOn, create, c.error);
        auto store = open_with(scene.md, files);
        REQUIRE(store);
        const auto saved = store->save(Group::Domains, "a.org", "md.json", "x");
        REQUIRE_FALSE(saved.ok());
        CHECK(saved.error().status == c.error);
        CHECK_THAT(saved.error().message(),
                   Catch::Matchers::ContainsSubstring(scene.md + "/domains/a.org/md.json") &&
                       Catch::Matchers::ContainsSubstring(": create: ") &&
                       Catch::Matchers::ContainsSubstring(c.says));
    }
}

TEST_CASE("Faults: a store on a read-only file system opens and is read (ST-03)") {
    /// Whatever changes something is refused.
    class ReadOnly final : public Files {
      public:
        int open_root(const std::string& p) override { return system_.open_root(p); }
        int make_root(const std::string&) override { return -EROFS; }
        int open(int d, const std::string& p, int flags) override {
            return (flags & (O_WRONLY | O_CREAT)) != 0 ? -EROFS : system_.open(d, p, flags);
        }
        int close(int fd) override { return system_.close(fd); }
        ssize_t read(int fd, std::span<char> into) override { return system_.read(fd, into); }
        ssize_t write(int, std::string_view) override { return -EROFS; }
        int stat(int fd, FileFacts& facts) override { return system_.stat(fd, facts); }
        int set_mode(int, unsigned) override { return -EROFS; }
        int sync(int) override { return -EROFS; }
        int list(int d, std::vector<Entry>& e) override { return system_.list(d, e); }
        int rename(int, const std::string&, int, const std::string&) override { return -EROFS; }
        int unlink(int, const std::string&) override { return -EROFS; }
        int make_directory(int, const std::string&) override { return -EROFS; }
        int remove_directory(int, const std::string&) override { return -EROFS; }
        int lock(int) override { return -EROFS; }
        int truncate(int) override { return -EROFS; }

      private:
        SystemFiles system_;
    };
    const Scene scene;
    write_text(scene.md + "/tmp/a.org/job.json", "{}");
    write_text(scene.md + "/domains/a.org/.tmp.999999999.1", "x");
    ::chmod(scene.md.c_str(), 0755);
    ReadOnly files;
    auto store = open_with(scene.md, files);
    REQUIRE(store);
    check_pair(*store, Group::Domains, scene);
    const auto saved = store->save(Group::Domains, "a.org", "md.json", "x");
    REQUIRE_FALSE(saved.ok());
    CHECK(saved.error().status == EROFS);
    CHECK_FALSE(open_with(scene.dir / "new", files));
}

TEST_CASE("Faults: a power cut finds every rename synced, and no file renamed before its data") {
    /// Notes what has not reached the disk yet.
    class Ordered final : public Files {
      public:
        int open_root(const std::string& p) override { return system_.open_root(p); }
        int make_root(const std::string& p) override { return system_.make_root(p); }
        int open(int d, const std::string& p, int flags) override {
            const int fd = system_.open(d, p, flags);
            if (fd >= 0 && (flags & O_CREAT) != 0) names_[fd] = p;
            return fd;
        }
        int close(int fd) override {
            names_.erase(fd);
            return system_.close(fd);
        }
        ssize_t read(int fd, std::span<char> into) override { return system_.read(fd, into); }
        ssize_t write(int fd, std::string_view bytes) override {
            dirty_files_.insert(names_.at(fd));
            return system_.write(fd, bytes);
        }
        int stat(int fd, FileFacts& facts) override { return system_.stat(fd, facts); }
        int set_mode(int fd, unsigned mode) override { return system_.set_mode(fd, mode); }
        int sync(int fd) override {
            if (names_.contains(fd)) dirty_files_.erase(names_.at(fd));
            dirty_directories_.erase(inode(fd));
            return system_.sync(fd);
        }
        int list(int d, std::vector<Entry>& e) override { return system_.list(d, e); }
        int rename(int fd, const std::string& from, int td, const std::string& to) override {
            CHECK_FALSE(dirty_files_.contains(from));
            // One step after the other: the first rename is on disk before the second is made.
            CHECK(dirty_directories_.empty());
            const int r = system_.rename(fd, from, td, to);
            if (r == 0) {
                dirty_directories_.insert(inode(fd));
                dirty_directories_.insert(inode(td));
            }
            return r;
        }
        int unlink(int d, const std::string& n) override { return system_.unlink(d, n); }
        int make_directory(int d, const std::string& n) override {
            const int r = system_.make_directory(d, n);
            if (r == 0) dirty_directories_.insert(inode(d));
            return r;
        }
        int lock(int fd) override { return system_.lock(fd); }
        int truncate(int fd) override { return system_.truncate(fd); }
        int remove_directory(int d, const std::string& n) override {
            return system_.remove_directory(d, n);
        }
        void check_clean() const {
            CHECK(dirty_files_.empty());
            CHECK(dirty_directories_.empty());
        }

      private:
        static ino_t inode(int fd) {
            struct stat st {};
            REQUIRE(::fstat(fd, &st) == 0);
            return st.st_ino;
        }
        SystemFiles system_;
        std::map<int, std::string> names_;
        std::set<std::string> dirty_files_;
        std::set<ino_t> dirty_directories_;
    };
    const Scene scene;
    Ordered files;
    const std::string path = scene.dir / "new";
    auto store = open_with(path, files);
    REQUIRE(store);
    files.check_clean();
    for (const Pair& pair : {scene.old_pair, scene.new_pair}) {
        save_set(*store, Group::Tmp, scene.stored, {pair});
        files.check_clean();
        REQUIRE(store->activate_tmp("a.org").ok());
        files.check_clean();
    }
    REQUIRE(store->rename_domain("a.org", "b.org").ok());
    files.check_clean();
    REQUIRE(store->purge(Group::Domains, "b.org").ok());
    files.check_clean();
    REQUIRE(store->set_aside(Group::Archive, "a.org.1", "md.json", noon).ok());
    files.check_clean();
}
