#include "md/store_upgrade.h"

#include <fcntl.h>

#include <optional>

#include "base/log.h"
#include "md/file_store.h"
#include "md/store.h"

namespace md {

namespace {

constexpr Group all_groups[] = {Group::Accounts, Group::Archive, Group::Challenges, Group::Domains,
                                Group::Staging,  Group::Tmp,     Group::Ocsp};

bool has(const std::vector<Files::Entry>& entries, std::string_view name) {
    return std::any_of(entries.begin(), entries.end(), [&](const Files::Entry& entry) {
        return !entry.directory && entry.name == name;
    });
}

/// pubcert.pem out of cert.pem and chain.pem.
Outcome<void> join_chain(Files& files, int directory, const std::string& path, bool has_chain) {
    auto leaf = read_file(files, directory, "cert.pem", FileStore::file_bytes_max);
    if (!leaf.ok()) return file_problem(leaf.error(), path + "/cert.pem");
    std::string joined = *leaf;
    if (has_chain) {
        auto chain = read_file(files, directory, "chain.pem", FileStore::file_bytes_max);
        if (!chain.ok()) return file_problem(chain.error(), path + "/chain.pem");
        if (!joined.empty() && joined.back() != '\n') joined += '\n';
        joined += *chain;
    }
    const base::Status saved = replace_file(files, directory, "pubcert.pem", joined);
    if (!saved.ok()) return file_problem(saved.error(), path + "/pubcert.pem");
    return {};
}

Outcome<void> upgrade_directory(Files& files, int directory, const std::string& path,
                                bool with_chain) {
    std::vector<Files::Entry> entries;
    if (const int r = retrying([&] { return files.list(directory, entries); }); r < 0) {
        return file_problem(base::system_error(r, "read directory"), path);
    }
    if (has(entries, "pkey.pem") && !has(entries, "privkey.pem")) {
        const int r =
            retrying([&] { return files.rename(directory, "pkey.pem", directory, "privkey.pem"); });
        if (r < 0) return file_problem(base::system_error(r, "rename"), path + "/pkey.pem");
        const int s = retrying([&] { return files.sync(directory); });
        if (s < 0) return file_problem(base::system_error(s, "fsync directory"), path);
    }
    if (with_chain && has(entries, "cert.pem") && !has(entries, "pubcert.pem")) {
        return join_chain(files, directory, path, has(entries, "chain.pem"));
    }
    return {};
}

/// A directory beneath another; nullopt if it is not there.
Outcome<std::optional<FileHandle>> open_below(Files& files, int directory, const std::string& name,
                                              const std::string& path) {
    const int fd = retrying([&] { return files.open(directory, name, O_RDONLY | O_DIRECTORY); });
    if (fd == -ENOENT) return std::optional<FileHandle>{};
    if (fd < 0) return file_problem(base::system_error(fd, "open directory"), path);
    return std::optional<FileHandle>(FileHandle(files, fd));
}

}  // namespace

Outcome<void> upgrade_store_from_1(Files& files, int root, const std::string& path) {
    for (const Group group : all_groups) {
        const std::string group_path = fmt::format("{}/{}", path, group_name(group));
        auto opened = open_below(files, root, std::string(group_name(group)), group_path);
        if (!opened.ok()) return opened.error();
        if (!opened->has_value()) continue;
        const int group_fd = opened->value().fd();
        std::vector<Files::Entry> entries;
        if (const int r = retrying([&] { return files.list(group_fd, entries); }); r < 0) {
            return file_problem(base::system_error(r, "read directory"), group_path);
        }
        for (const Files::Entry& entry : entries) {
            if (!entry.directory || !is_store_id(entry.name)) continue;
            const std::string name_path = fmt::format("{}/{}", group_path, entry.name);
            auto below = open_below(files, group_fd, entry.name, name_path);
            if (!below.ok()) return below.error();
            if (!below->has_value()) continue;
            const auto done = upgrade_directory(files, below->value().fd(), name_path,
                                                group == Group::Domains || group == Group::Archive);
            if (!done.ok()) return done.error();
        }
    }
    return {};
}

}  // namespace md
