// The store in files, in mod_md's layout (mod_md.md, section 3), so that a store of httpd is read
// as it is and can be given back. Differences, all stricter: directories are 0700 and files 0600 in
// every group; every write, certificates included, is temporary file + fsync + rename + fsync of
// the directory; symbolic links are not followed; archives are pruned.
//
// Consistency (faults.md ST-05): each single file is old or new. A set of files changes in
// activate_tmp() by renaming directories; what a crash leaves between its two renames, open()
// finishes.
//
// Engine threads and main. Thread-safe for different domains; two processes on one store keep each
// other's files whole, and are kept from changing sets at the same time by hold(), if both lock.
#pragma once

#include <array>
#include <memory>

#include "base/random.h"
#include "md/files.h"
#include "md/key_cache.h"
#include "md/store.h"
#include "md/store_lock.h"

namespace md {

class FileStore final : public Store {
  public:
    static constexpr size_t file_bytes_max = 1024 * 1024;
    static constexpr int archives_kept = 50;        // the newest of each domain
    static constexpr int archive_number_max = 999;  // mod_md searches no further
    static constexpr size_t secret_bytes = 48;

    /// Opens the store in `path`, creates it if there is none, brings an older layout to version 3,
    /// and clears up after a crash. Refuses a newer version, and a md_store.json that cannot be
    /// read: without its secret accounts and staged keys are lost. On a read-only file system an
    /// existing store opens for reading. `files` and `random` must outlive the store.
    /// With `locks`, nothing is cleared up while another process has the lock; having waited for
    /// it in vain, the first hold() after does not wait again.
    static Outcome<std::unique_ptr<FileStore>> open(const std::string& path, Files& files,
                                                    base::Random& random,
                                                    std::optional<StoreLocks> locks = {});
    /// To look at an existing store that may be damaged: changes nothing. `no_secret` is set if
    /// md_store.json cannot be used: encrypted keys cannot be read then.
    static Outcome<std::unique_ptr<FileStore>> open_to_check(const std::string& path, Files& files,
                                                             std::optional<Problem>& no_secret);
    FileStore(const FileStore&) = delete;
    FileStore& operator=(const FileStore&) = delete;

    Outcome<std::optional<std::string>> load(Group group, const std::string& name,
                                             const std::string& aspect) override;
    Outcome<std::optional<base::Secret>> load_key(Group group, const std::string& name,
                                                  const std::string& aspect) override;
    Outcome<void> save(Group group, const std::string& name, const std::string& aspect,
                       std::string_view bytes) override;
    Outcome<void> save_key(Group group, const std::string& name, const std::string& aspect,
                           std::string_view pem) override;
    Outcome<void> remove(Group group, const std::string& name, const std::string& aspect) override;
    Outcome<void> purge(Group group, const std::string& name) override;
    Outcome<std::vector<std::string>> names(Group group) override;
    Outcome<std::vector<std::string>> aspects(Group group, const std::string& name) override;
    std::optional<base::Time> modified(Group group, const std::string& name,
                                       const std::string& aspect) override;
    Outcome<void> rename_domain(const std::string& from, const std::string& to) override;
    Outcome<void> activate_tmp(const std::string& name) override;
    Outcome<void> set_aside(Group group, const std::string& name, const std::string& aspect,
                            base::Time now) override;

    Outcome<std::shared_ptr<StoreLock>> hold() override;
    /// After open_to_check(): moves tmp/<name> to domains/<name> if only that is missing of an
    /// activation. False: it is not.
    Outcome<bool> finish_activation(const std::string& name);
    /// Tells if another mdfront works on this store (store_lock.h); ours from now on.
    void claim(base::Clock& clock);

    const std::string& path() const { return path_; }

  private:
    enum class Create : bool { No, Yes };

    FileStore(std::string path, Files& files, FileHandle root)
        : path_(std::move(path)), files_(files), root_(std::move(root)) {}

    /// md_store.json: reads, makes or upgrades.
    Outcome<void> open_secret(base::Random& random);
    Outcome<std::optional<double>> read_secret();
    Outcome<void> save_secret();

    // Opening directories. nullopt: not there.
    Outcome<std::optional<FileHandle>> open_group(Group group, Create create);
    Outcome<std::optional<FileHandle>> open_name(Group group, const std::string& name,
                                                 Create create);
    Outcome<std::optional<FileHandle>> open_directory(int parent, const std::string& name,
                                                      const std::string& path, Create create);
    Outcome<bool> exists(Group group, const std::string& name);
    /// A file as it lies there.
    Outcome<std::optional<base::Secret>> read(Group group, const std::string& name,
                                              const std::string& aspect);
    Outcome<void> save_bytes(Group group, const std::string& name, const std::string& aspect,
                             std::string_view bytes);

    // Activation and what a crash leaves of it: file_store_activation.cc.
    Outcome<void> move(Group from_group, const std::string& from, Group to_group,
                       const std::string& to);
    Outcome<std::vector<int>> archive_numbers(const std::string& name);
    Outcome<int> next_archive_number(const std::string& name);
    Outcome<void> prune_archive(const std::string& name);
    /// Whether `name` in tmp or staging holds md.json and a matching pair for each of its key
    /// specs.
    bool is_whole(Group group, const std::string& name);
    void recover();
    Outcome<void> recover(const std::string& name);

    static Problem refused_id(std::string_view kind, std::string_view text);
    std::string where(Group group, std::string_view name = {}, std::string_view aspect = {}) const;

    const std::string path_;
    Files& files_;
    FileHandle root_;
    base::Secret secret_;  // what accounts and staged keys are encrypted with
    KeyCache keys_;
    std::optional<StoreLocks> locks_;
    bool has_waited_ = false;  // in open(), in vain: the next hold() only looks
    std::mutex lock_mutex_;
    std::weak_ptr<StoreLock> lock_;  // what hold() gave, shared by our threads
    std::shared_ptr<StoreLock> claim_;
};

/// A name that is safe as one component of a path: not empty, at most 255 bytes, no '/', no NUL, no
/// control byte, no leading '.' (faults.md ST-18).
bool is_store_id(std::string_view text);

}  // namespace md
