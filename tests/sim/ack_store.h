// A store that remembers what it was told is safe: a value whose save() succeeded has to be there,
// byte for byte, whenever a process starts, until it is replaced or removed. Values that an
// operation was at work with when it failed, or when the process ended, may be old or new.
#pragma once

#include <map>
#include <string>

#include "md/store.h"
#include "sim_files.h"

namespace md::test {

class AckStore final : public Store {
  public:
    explicit AckStore(const SimFiles& files) : files_(files) {}

    /// The store of the process that runs now; none of its calls may be under way.
    void use(Store* store) { store_ = store; }
    /// "" or the first value that is lost or damaged.
    std::string lost() const;

    Outcome<std::optional<std::string>> load(Group group, const std::string& name,
                                             const std::string& aspect) override {
        return store_->load(group, name, aspect);
    }
    Outcome<std::optional<base::Secret>> load_key(Group group, const std::string& name,
                                                  const std::string& aspect) override {
        return store_->load_key(group, name, aspect);
    }
    Outcome<void> save(Group group, const std::string& name, const std::string& aspect,
                       std::string_view bytes) override;
    Outcome<void> save_key(Group group, const std::string& name, const std::string& aspect,
                           std::string_view pem) override;
    Outcome<void> remove(Group group, const std::string& name, const std::string& aspect) override;
    Outcome<void> purge(Group group, const std::string& name) override;
    Outcome<std::vector<std::string>> names(Group group) override { return store_->names(group); }
    /// As they were made: answers of responders are named by digests, which are others in each run.
    Outcome<std::vector<std::string>> aspects(Group group, const std::string& name) override;
    std::optional<base::Time> modified(Group group, const std::string& name,
                                       const std::string& aspect) override {
        return store_->modified(group, name, aspect);
    }
    Outcome<void> rename_domain(const std::string& from, const std::string& to) override;
    Outcome<void> activate_tmp(const std::string& name) override;
    Outcome<void> set_aside(Group group, const std::string& name, const std::string& aspect,
                            base::Time now) override;
    Outcome<std::shared_ptr<StoreLock>> hold() override { return store_->hold(); }

  private:
    static std::string path(Group group, const std::string& name, const std::string& aspect = {});
    void forget(const std::string& prefix);
    Outcome<void> remember(const std::string& path, Outcome<void> done);

    const SimFiles& files_;
    Store* store_ = nullptr;
    std::map<std::string, std::string> safe_;  // path → bytes as they lie there
};

}  // namespace md::test
