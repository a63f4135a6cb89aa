// Locks between processes on one store (mod_md.md 3.8): "store.lock" is MDStoreLocks', held while
// sets are changed, by mod_md as by us; "mdfront.lock" is held as long as a process works on the
// store, so that a second one can be told.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "md/files.h"
#include "md/problem.h"

namespace md {

inline constexpr char store_lock_file[] = "store.lock";
inline constexpr char process_lock_file[] = "mdfront.lock";

/// A locked file; unlocked at the end of its life, however the process ends.
class StoreLock {
  public:
    /// Creates the file if it is not there and tries every 100 ms for `wait`. EAGAIN: another
    /// process has it. `directory` is the store's, `path` its name for messages.
    static Outcome<StoreLock> acquire(Files& files, int directory, const std::string& path,
                                      const std::string& name, base::Duration wait,
                                      base::Clock& clock);
    int fd() const { return file_.fd(); }

  private:
    explicit StoreLock(FileHandle file) : file_(std::move(file)) {}
    FileHandle file_;
};

/// MDStoreLocks: how long to wait for "store.lock".
struct StoreLocks {
    base::Duration wait;
    base::Clock& clock;
};

/// Says in "mdfront.lock" that this process works on the store. Null after a warning if another
/// one does: it is named, and both go on (at most, work is done twice).
std::shared_ptr<StoreLock> claim_store(Files& files, int directory, const std::string& path,
                                       base::Clock& clock);

/// Who works on the store: "process 123", or "" if nobody does. Changes nothing, and does not wait.
std::string store_claimant(Files& files, int directory);

}  // namespace md
