// System calls on files, behind an interface: the file store is written over it, so that tests can
// refuse, shorten or end the process at each single call (faults.md 2f). Every function returns
// what the system call gives, or a negative errno; none retries.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "md/problem.h"

namespace md {

/// What fstat knows and we need.
struct FileFacts {
    bool regular = false;
    bool directory = false;
    uint64_t size = 0;
    uint64_t links = 0;
    unsigned mode = 0;  // the permission bits
    base::Time modified{};
};

class Files {
  public:
    struct Entry {
        std::string name;
        bool directory = false;
    };

    virtual ~Files() = default;

    /// A directory by its path. The last component must not be a symbolic link; those before it may
    /// be.
    virtual int open_root(const std::string& path) = 0;
    /// Creates the directory of that path, mode 0700 whatever the umask; its parent must exist.
    virtual int make_root(const std::string& path) = 0;
    /// Beneath `directory`, no symbolic link anywhere (openat2, faults.md ST-16). O_CLOEXEC is
    /// added, and mode 0600 for O_CREAT. Give O_NONBLOCK for reading, so that a FIFO cannot hang.
    virtual int open(int directory, const std::string& path, int flags) = 0;
    virtual int close(int fd) = 0;
    virtual ssize_t read(int fd, std::span<char> into) = 0;
    virtual ssize_t write(int fd, std::string_view bytes) = 0;
    virtual int stat(int fd, FileFacts& facts) = 0;
    virtual int set_mode(int fd, unsigned mode) = 0;
    virtual int sync(int fd) = 0;
    /// All entries but "." and "..", in no order.
    virtual int list(int directory, std::vector<Entry>& entries) = 0;
    /// The following take one component beneath an open directory and follow no symbolic link.
    virtual int rename(int from_directory, const std::string& from, int to_directory,
                       const std::string& to) = 0;
    virtual int unlink(int directory, const std::string& name) = 0;
    virtual int make_directory(int directory, const std::string& name) = 0;
    virtual int remove_directory(int directory, const std::string& name) = 0;
    /// Locks the whole of an open file for this descriptor alone, until it is closed; EAGAIN if
    /// somebody else has it. Meets fcntl(2)'s locks of other processes, mod_md's among them.
    virtual int lock(int fd) = 0;
    /// To no bytes.
    virtual int truncate(int fd) = 0;
};

/// The real ones. Safe from any thread.
class SystemFiles final : public Files {
  public:
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
};

/// Repeats a call that was interrupted or asked to come again (faults.md ST-07), within reason.
template <typename Call>
auto retrying(Call&& call) {
    auto result = call();
    for (int i = 0; i < 1000 && (result == -EINTR || result == -EAGAIN); ++i) result = call();
    return result;
}

/// An open descriptor of a Files, closed at the end of its scope.
class FileHandle {
  public:
    FileHandle(Files& files, int fd) : files_(&files), fd_(fd) {}
    FileHandle(FileHandle&& other) noexcept : files_(other.files_), fd_(other.fd_) {
        other.fd_ = -1;
    }
    FileHandle& operator=(FileHandle&&) = delete;
    ~FileHandle() {
        if (fd_ >= 0) (void)files_->close(fd_);  // nothing was written, or close() told already
    }

    int fd() const { return fd_; }
    /// For files that were written: a delayed write error can come out here (EDQUOT on NFS).
    int close() {
        const int fd = fd_;
        fd_ = -1;
        return files_->close(fd);
    }

  private:
    Files* files_;
    int fd_;
};

/// The whole of a regular file of at most `max` bytes: EINTR, EAGAIN and short reads retried.
/// Errors: ENOENT if there is none, ELOOP a symbolic link, EISDIR and ENXIO no regular file, EFBIG.
/// `facts` gets what is known of the file.
base::Result<std::string> read_file(Files& files, int directory, const std::string& name,
                                    size_t max, FileFacts* facts = nullptr);

/// The same for what must not stay in memory.
base::Result<base::Secret> read_secret_file(Files& files, int directory, const std::string& name,
                                            size_t max, FileFacts* facts = nullptr);

/// Creates or replaces `name` in one step that survives a crash: a temporary file beside it with
/// O_EXCL, written, mode 0600 whatever the umask, fsync, rename, fsync of the directory. On an
/// error the old file is as it was (after a failing fsync of the directory: old or new).
base::Status replace_file(Files& files, int directory, const std::string& name,
                          std::string_view bytes);

/// Removes a file, a symbolic link (not what it points to), or a directory with all that is in it.
/// The entry gets a temporary name first, so that nobody ever sees half of it. No error if it is
/// not there.
base::Status remove_tree(Files& files, int directory, const std::string& name);

/// Removes what a crash left of replace_file and remove_tree in this directory, and directories
/// below it down to `depth`; files of processes that are alive stay. Best effort: errors are
/// ignored.
void remove_leftovers(Files& files, int directory, int depth);

/// For people: the path, the operation, the system's words, and what to do about it. Status is the
/// errno.
Problem file_problem(const base::Error& error, const std::string& path);

/// Whether the name is one that replace_file or remove_tree gave.
bool is_temporary_name(std::string_view name);

}  // namespace md
