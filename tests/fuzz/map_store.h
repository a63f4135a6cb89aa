// A Store in a map: what a target's answers are kept in. One thread; nothing fails.
#pragma once

#include <map>
#include <tuple>

#include "md/store.h"

namespace md::fuzz {

class MapStore final : public Store {
  public:
    Outcome<std::optional<std::string>> load(Group group, const std::string& name,
                                             const std::string& aspect) override {
        const auto file = files_.find({group, name, aspect});
        if (file == files_.end()) return std::optional<std::string>();
        return std::optional<std::string>(file->second);
    }
    Outcome<std::optional<base::Secret>> load_key(Group group, const std::string& name,
                                                  const std::string& aspect) override {
        const auto file = files_.find({group, name, aspect});
        if (file == files_.end()) return std::optional<base::Secret>();
        return std::optional<base::Secret>(base::Secret(file->second));
    }
    Outcome<void> save(Group group, const std::string& name, const std::string& aspect,
                       std::string_view bytes) override {
        files_[{group, name, aspect}] = bytes;
        return {};
    }
    Outcome<void> save_key(Group group, const std::string& name, const std::string& aspect,
                           std::string_view pem) override {
        return save(group, name, aspect, pem);
    }
    Outcome<void> remove(Group group, const std::string& name, const std::string& aspect) override {
        files_.erase({group, name, aspect});
        return {};
    }
    Outcome<void> purge(Group group, const std::string& name) override {
        std::erase_if(files_, [&](const auto& file) {
            return std::get<0>(file.first) == group && std::get<1>(file.first) == name;
        });
        return {};
    }
    Outcome<std::vector<std::string>> names(Group group) override {
        std::vector<std::string> found;
        for (const auto& [place, bytes] : files_) {
            if (std::get<0>(place) != group) continue;
            if (found.empty() || found.back() != std::get<1>(place)) {
                found.push_back(std::get<1>(place));
            }
        }
        return found;
    }
    Outcome<std::vector<std::string>> aspects(Group group, const std::string& name) override {
        std::vector<std::string> found;
        for (const auto& [place, bytes] : files_) {
            if (std::get<0>(place) == group && std::get<1>(place) == name) {
                found.push_back(std::get<2>(place));
            }
        }
        return found;
    }
    std::optional<base::Time> modified(Group group, const std::string& name,
                                       const std::string& aspect) override {
        if (!files_.contains({group, name, aspect})) return std::nullopt;
        return base::Time{};
    }
    // Nothing that is tried here moves whole directories.
    Outcome<void> rename_domain(const std::string&, const std::string&) override {
        return make_problem(20014, "directories of a map are not renamed");
    }
    Outcome<void> activate_tmp(const std::string&) override {
        return make_problem(20014, "directories of a map are not renamed");
    }

  private:
    std::map<std::tuple<Group, std::string, std::string>, std::string> files_;
};

}  // namespace md::fuzz
