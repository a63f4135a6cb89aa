// What the engine keeps, behind an interface that hides the layout: a file store in mod_md's format
// (file_store.h), later a shared one. Values are mod_md's files; groups are its directories
// (mod_md.md, section 3). Every write is atomic and durable when it returns. Thread-safe for
// different domains.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"
#include "md/problem.h"

namespace md {

class StoreLock;

/// mod_md.md 3.1.
enum class Group : uint8_t { Accounts, Archive, Challenges, Domains, Staging, Tmp, Ocsp };

/// The directory's name: "accounts", "archive", …
std::string_view group_name(Group group);

class Store {
  public:
    virtual ~Store() = default;

    /// The value's bytes; nullopt if there is none. Refuses a private key, as save() does.
    virtual Outcome<std::optional<std::string>> load(Group group, const std::string& name,
                                                     const std::string& aspect) = 0;
    /// A private key as plain PKCS#8 PEM, whatever the group keeps (accounts and staging are
    /// encrypted, mod_md.md 3.4).
    virtual Outcome<std::optional<base::Secret>> load_key(Group group, const std::string& name,
                                                          const std::string& aspect) = 0;
    /// Creates or replaces. `aspect` is the file's name: "md.json", "privkey.p-256.pem", …
    virtual Outcome<void> save(Group group, const std::string& name, const std::string& aspect,
                               std::string_view bytes) = 0;
    /// A private key in plain PKCS#8 PEM; encrypted on disk where the group wants it.
    virtual Outcome<void> save_key(Group group, const std::string& name, const std::string& aspect,
                                   std::string_view pem) = 0;
    virtual Outcome<void> remove(Group group, const std::string& name,
                                 const std::string& aspect) = 0;
    /// The whole directory.
    virtual Outcome<void> purge(Group group, const std::string& name) = 0;
    /// Directories of a group; files of a directory. Sorted.
    virtual Outcome<std::vector<std::string>> names(Group group) = 0;
    virtual Outcome<std::vector<std::string>> aspects(Group group, const std::string& name) = 0;
    /// nullopt if there is no such file.
    virtual std::optional<base::Time> modified(Group group, const std::string& name,
                                               const std::string& aspect) = 0;
    /// domains/<from> and staging/<from> become <to> (mod_md.md 2.4).
    virtual Outcome<void> rename_domain(const std::string& from, const std::string& to) = 0;
    /// mod_md.md 3.7 step 6: domains/<name> → archive/<name>.<n>, tmp/<name> → domains/<name>, so
    /// that a kill at any point leaves the old or the new set to be found at the next start.
    virtual Outcome<void> activate_tmp(const std::string& name) = 0;
    /// A file that cannot be understood: kept beside as <aspect>.bad-<seconds of now> for people to
    /// look at, gone for us (faults.md ST-08). The default copies; a file store renames.
    virtual Outcome<void> set_aside(Group group, const std::string& name, const std::string& aspect,
                                    base::Time now);
    /// MDStoreLocks: while the result lives no other process that locks changes domains. Waits as
    /// long as is configured; EAGAIN if another one has the lock. Null where locks are off.
    virtual Outcome<std::shared_ptr<StoreLock>> hold() { return std::shared_ptr<StoreLock>(); }
};

}  // namespace md
