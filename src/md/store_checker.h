// How check_store() goes about it: store_check.cc walks over all files, store_check_sets.cc knows
// what belongs together in a directory of each group. Private to these two.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "md/credentials.h"
#include "md/domain_json.h"
#include "md/file_store.h"
#include "md/job.h"
#include "md/store_check.h"

namespace md {

class StoreChecker {
  public:
    /// `root` is the store's directory; all must outlive the checker.
    StoreChecker(FileStore& store, Files& files, int root, const StoreCheckOptions& options,
                 StoreReport& report)
        : store_(store), files_(files), root_(root), options_(options), report_(report) {}

    /// Called once. `no_secret`: why encrypted keys cannot be read, if so.
    void run(const std::optional<Problem>& no_secret);

  private:
    using Severity = Finding::Severity;
    enum class Kind : uint8_t { Gone, File, Directory, Link, Other };
    using FileNames = std::set<std::string>;

    /// The result may be changed until the next is added.
    Finding& add(Severity severity, std::string path, std::string what, std::string advice);
    void tell_unknown(const std::string& path);
    /// A file whose path begins so has an error already.
    bool is_told(const std::string& prefix) const;
    /// A store's message with the file's place taken off: the finding names it.
    std::string without_place(const Problem& problem) const;

    // Files one by one: store_check.cc.
    std::vector<Files::Entry> list(int directory, const std::string& path);
    /// What the entry is; its mode is checked, too.
    Kind look_at(int directory, const std::string& name, const std::string& path);
    void check_mode(int fd, const FileFacts& facts, const std::string& path);
    void tell_modes();
    /// True if it is one.
    bool tell_temporary(const std::string& name, const std::string& path);
    void remove_temporaries();
    void check_top();
    void check_group(Group group);
    FileNames check_files(Group group, int parent, const std::string& name,
                          const std::string& path);
    void check_content(Group group, const std::string& name, const std::string& aspect,
                       const std::string& path);
    /// Repairs what the last finding is about.
    void set_aside(Group group, const std::string& name, const std::string& aspect);

    // What belongs together: store_check_sets.cc.
    void check_directory(Group group, const std::string& name, const std::string& path,
                         const FileNames& files);
    void check_account(const std::string& id, const std::string& path, const FileNames& files);
    void tell_missing_accounts();
    std::optional<StoredDomain> read_domain(Group group, const std::string& name);
    void check_domain(const std::string& name, const std::string& path, const FileNames& files);
    void check_slot(const Domain& domain, const Slot& slot, const std::string& path);
    void check_expiry(const Domain& domain, const std::vector<Slot>& slots,
                      const std::string& path);
    void check_staged_set(const std::string& name, const std::string& path, const FileNames& files);
    void check_staged_job(const std::string& name, const std::string& path);
    void check_tmp(const std::string& name, const std::string& path, const FileNames& files);
    void note_archive(const std::string& name, const std::string& path);
    void tell_archives();

    FileStore& store_;
    Files& files_;
    const int root_;
    const StoreCheckOptions options_;
    StoreReport& report_;
    bool has_secret_ = true;
    bool root_was_open_ = false;
    std::vector<std::string> modes_;        // "path (mode)" of what is not 700 or 600
    std::vector<std::string> modes_fixed_;  // and is now
    std::vector<std::string> temporaries_;
    std::map<std::string, int> archives_;  // by domain
    std::set<std::string> accounts_;
    std::map<std::string, std::string> accounts_used_;  // and a domain that does
};

/// What to do about an account or key of that group that cannot be read, or "".
std::string key_advice(Group group);

}  // namespace md
