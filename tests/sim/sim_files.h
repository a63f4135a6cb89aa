// A file system in memory that forgets what a real one may forget. A process that is killed leaves
// it as it is; a power cut takes back what was not fsynced:
//   - of a file's bytes: all, the second half, or nothing of what was written since its last fsync;
//   - of changes in directories: any subset of those since the fsync of a directory that the change
//     touches. One change is atomic, a rename from one directory to another too, as journals have
//     it; that an earlier one is kept does not follow from a later one being kept.
// And it can be in trouble for a while: full, read-only, or failing now and then.
//
// What is drawn does not depend on contents, so that a run can be repeated exactly although keys
// and signatures are others each time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "md/acme_fixture.h"
#include "md/files.h"

namespace md::test {

class SimFiles final : public Files {
  public:
    enum class Trouble : uint8_t { None, Full, ReadOnly, Failing };

    SimFiles(base::Clock& clock, base::Random& random);

    /// From now on; None ends it.
    void set_trouble(Trouble trouble) { trouble_ = trouble; }
    Trouble trouble() const { return trouble_; }
    /// Errors that calls were given since the beginning.
    uint64_t errors() const { return errors_; }
    uint64_t calls() const { return calls_; }
    /// Called before each call but close(), which destructors make: may throw Killed.
    std::function<void()> before_call;

    /// The process is gone: whoever unwinds or is destroyed from now on changes nothing.
    void end_process();
    /// The next process finds what the last one left, after a power cut less of it.
    void begin_process(bool after_power_cut);

    /// The kernel has written everything by itself, as it does within half a minute.
    void write_back();

    /// Paths of all files below the root, for checks: no call, no trouble.
    std::vector<std::string> paths() const;
    /// nullptr if there is no such file.
    const std::string* bytes(const std::string& path) const;
    /// When it was written last, by the machine's clock.
    std::optional<base::Time> modified(const std::string& path) const;
    /// Files of one directory, as they were made: names may be others in each run.
    uint64_t order(const std::string& path) const;

    int open_root(const std::string& path) override;
    int make_root(const std::string& path) override;
    int open(int directory, const std::string& path, int flags) override;
    int close(int fd) override;
    ssize_t read(int fd, std::span<char> into) override;
    ssize_t write(int fd, std::string_view bytes) override;
    int stat(int fd, FileFacts& facts) override;
    int set_mode(int fd, unsigned mode) override;
    int sync(int fd) override;
    int list(int directory, std::vector<Entry>& entries) override;
    int rename(int from_directory, const std::string& from, int to_directory,
               const std::string& to) override;
    int unlink(int directory, const std::string& name) override;
    int make_directory(int directory, const std::string& name) override;
    int remove_directory(int directory, const std::string& name) override;
    int lock(int fd) override;
    int truncate(int fd) override;

  private:
    struct Node;
    using NodePtr = std::shared_ptr<Node>;
    /// `order`: entries are listed as they were made, whatever the process calls its temporary
    /// files.
    struct Place {
        NodePtr node;
        uint64_t order = 0;
    };
    struct Node {
        bool directory = false;
        unsigned mode = 0;
        base::Time modified{};
        std::string bytes;
        std::string durable;   // as of the last fsync
        bool is_lost = false;  // an fsync failed: what it should have written never gets there
        std::map<std::string, Place> entries;
        std::map<std::string, Place> durable_entries;
    };
    /// One name of one directory; `node` null: it is gone.
    struct Assignment {
        NodePtr directory;
        std::string name;
        Place place;
    };
    /// What a power cut takes back whole or not at all.
    using Change = std::vector<Assignment>;
    struct Open {
        NodePtr node;
        size_t offset = 0;
        bool locked = false;
    };

    /// Counts; 0, or the error that the call gives instead of being done.
    int begin_call(bool changes, bool grows);
    int add(NodePtr node);
    Open* find(int fd);
    NodePtr directory_at(int fd);
    void apply(Change change);
    static void assign(std::map<std::string, Place>& entries, const Assignment& one);
    void cut_power(const NodePtr& node);
    const Node* walk(const std::string& path) const;
    static void collect(const Node& node, const std::string& path, std::vector<std::string>& into);

    base::Clock& clock_;
    base::Random& random_;
    Trouble trouble_ = Trouble::None;
    uint64_t errors_ = 0;
    uint64_t calls_ = 0;
    uint64_t order_ = 0;
    bool is_over_ = false;
    NodePtr root_;  // the store's directory; null: not made yet
    std::vector<Change> pending_;
    std::vector<NodePtr> dirty_;  // files written to
    std::map<int, Open> open_;
    int next_fd_ = 3;
};

}  // namespace md::test
