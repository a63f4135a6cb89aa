#include "md/file_store.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/log.h"
#include "base/text.h"
#include "md/json.h"
#include "md/store_crypto.h"
#include "md/store_upgrade.h"

namespace md {

namespace {

constexpr char store_file[] = "md_store.json";

bool keeps_keys_encrypted(Group group) {
    return group == Group::Accounts || group == Group::Staging;
}

bool is_key(std::string_view bytes) {
    const size_t label_end = bytes.substr(0, 64).find("PRIVATE KEY-----");
    return bytes.starts_with("-----BEGIN ") && label_end != std::string_view::npos;
}

}  // namespace

bool is_store_id(std::string_view text) {
    return !text.empty() && text.size() <= 255 && text.front() != '.' &&
           std::none_of(text.begin(), text.end(), [](char c) {
               return c == '/' || static_cast<uint8_t>(c) < 0x20 || c == 0x7f;
           });
}

Problem FileStore::refused_id(std::string_view kind, std::string_view text) {
    return make_problem(EINVAL, fmt::format("\"{}\" cannot be the name of a {} in the store: it is "
                                            "empty, too long, starts with '.', or has '/' or a "
                                            "control byte in it",
                                            base::escape_for_log(text, 300), kind));
}

std::string FileStore::where(Group group, std::string_view name, std::string_view aspect) const {
    std::string text = fmt::format("{}/{}", path_, group_name(group));
    if (!name.empty()) text += fmt::format("/{}", name);
    if (!aspect.empty()) text += fmt::format("/{}", aspect);
    return text;
}

Outcome<std::unique_ptr<FileStore>> FileStore::open(const std::string& path, Files& files,
                                                    base::Random& random,
                                                    std::optional<StoreLocks> locks) {
    int fd = retrying([&] { return files.open_root(path); });
    if (fd == -ENOENT) {
        const int made = retrying([&] { return files.make_root(path); });
        if (made < 0 && made != -EEXIST) {
            return file_problem(base::system_error(made, "create directory"), path);
        }
        const std::string parent = std::filesystem::path(path).parent_path().string();
        if (const int up = files.open_root(parent.empty() ? "." : parent); up >= 0) {
            const FileHandle handle(files, up);
            if (files.sync(up) < 0) {  // the directory would only be made again
                base::log_warn("md", path, "{} cannot be synced", parent);
            }
        }
        fd = retrying([&] { return files.open_root(path); });
    }
    if (fd < 0) return file_problem(base::system_error(fd, "open directory"), path);
    std::unique_ptr<FileStore> store(new FileStore(path, files, FileHandle(files, fd)));

    // mod_md makes it 0755 and lets files with secrets in them be readable (mod_md.md 3.2): close
    // the door above all of them.
    FileFacts facts;
    if (retrying([&] { return files.stat(fd, facts); }) == 0 && (facts.mode & 077) != 0) {
        const int r = retrying([&] { return files.set_mode(fd, 0700); });
        if (r < 0) {
            base::log_warn("md", path, "the store can be read by others (mode {:o}): {}",
                           facts.mode, status_description(-r));
        } else {
            base::log_info("md", path, "the store was readable by others (mode {:o}), now 700",
                           facts.mode);
        }
    }
    auto opened = store->open_secret(random);
    if (!opened.ok()) return opened.error();
    if (locks) store->locks_.emplace(*locks);
    const auto lock = store->hold();
    if (!lock.ok()) {
        store->has_waited_ = true;
        base::log_error("md", path, "{}; what a crash may have left is not cleared up now",
                        lock.error().message());
        return store;
    }
    remove_leftovers(files, fd, 2);
    store->recover();
    return store;
}

Outcome<std::shared_ptr<StoreLock>> FileStore::hold() {
    if (!locks_) return std::shared_ptr<StoreLock>();
    const std::lock_guard guard(lock_mutex_);
    if (auto held = lock_.lock()) return held;
    // A start asks twice in a row: it is late enough after the first wait.
    const auto wait = std::exchange(has_waited_, false) ? base::Duration::zero() : locks_->wait;
    auto lock = StoreLock::acquire(files_, root_.fd(), path_, store_lock_file, wait, locks_->clock);
    if (!lock.ok()) return lock.error();
    auto held = std::make_shared<StoreLock>(std::move(lock).value());
    lock_ = held;
    return held;
}

void FileStore::claim(base::Clock& clock) {
    claim_ = claim_store(files_, root_.fd(), path_, clock);
}

Outcome<std::unique_ptr<FileStore>> FileStore::open_to_check(const std::string& path, Files& files,
                                                             std::optional<Problem>& no_secret) {
    const int fd = retrying([&] { return files.open_root(path); });
    if (fd < 0) return file_problem(base::system_error(fd, "open directory"), path);
    std::unique_ptr<FileStore> store(new FileStore(path, files, FileHandle(files, fd)));
    auto version = store->read_secret();
    if (!version.ok()) {
        no_secret = version.error();
    } else if (!*version) {
        no_secret = make_problem(ENOENT, fmt::format("{}/{} is missing", path, store_file));
    }
    return store;
}

Outcome<void> FileStore::open_secret(base::Random& random) {
    auto read = read_secret();
    if (!read.ok()) return read.error();
    if (!*read) {
        auto accounts = names(Group::Accounts);
        if (accounts.ok() && !accounts->empty()) {
            base::log_warn("md", path_,
                           "{} is missing and made anew: existing accounts and staged keys cannot "
                           "be decrypted any more; restore it from a backup if there is one",
                           store_file);
        }
        secret_.resize(secret_bytes);
        random.fill(secret_.writable());
        return save_secret();
    }
    const double version = **read;
    if (version < store_version) {
        base::log_info("md", path_, "store version {:.1f} is brought to {:.1f}", version,
                       store_version);
        if (version < 2.0) {
            auto upgraded = upgrade_store_from_1(files_, root_.fd(), path_);
            if (!upgraded.ok()) return upgraded.error();
        }
        return save_secret();
    }
    return {};
}

/// nullopt: there is no file.
Outcome<std::optional<double>> FileStore::read_secret() {
    const std::string path = fmt::format("{}/{}", path_, store_file);
    const auto bytes = read_secret_file(files_, root_.fd(), store_file, file_bytes_max);
    if (!bytes.ok()) {
        if (bytes.error().code != ENOENT) return file_problem(bytes.error(), path);
        return std::optional<double>{};
    }
    const auto damaged = [&](std::string_view why) {
        return make_problem(
            EINVAL,
            fmt::format("{}: {}; it holds the secret that encrypts accounts and staged keys. "
                        "Restore it from a backup; if there is none, move it away: a new secret is "
                        "made, accounts are registered anew, and the certificates in domains/ stay "
                        "in use",
                        path, why));
    };
    std::string error;
    Json json = parse_json(bytes.value().text(), error);
    if (json.is_discarded()) return damaged("it is not JSON: " + error);
    if (!json.is_object()) return damaged("it is not a JSON object");

    double version = 1.0;  // before 2.0 the member did not exist
    if (const Json* at = find(json, {"store", "version"})) {
        if (!at->is_number()) return damaged("store.version is not a number");
        version = at->get<double>();
    }
    if (version > store_version) {
        return make_problem(
            EINVAL, fmt::format("{}: the store has version {:.1f}, and this mdfront knows versions "
                                "up to {:.1f}: use a newer mdfront or another store_dir",
                                path, version, store_version));
    }
    const base::Secret key = take_secret(json, {"key"});
    auto secret = base::secret_from_base64url(key.text());
    if (!secret) return damaged("\"key\" is not base64url");
    if (secret->size() != secret_bytes) {
        return damaged(
            fmt::format("\"key\" has {} bytes instead of {}", secret->size(), secret_bytes));
    }
    secret_ = std::move(*secret);
    return std::optional<double>(version);
}

Outcome<void> FileStore::save_secret() {
    Json json;
    json["store"]["version"] = store_version;
    json["key"] = base::base64url(secret_.bytes());
    std::string text = json_text(json);
    const base::Status saved = replace_file(files_, root_.fd(), store_file, text);
    base::wipe(text);
    (void)take_secret(json, {"key"});  // and wipes it
    if (!saved.ok()) return file_problem(saved.error(), fmt::format("{}/{}", path_, store_file));
    return {};
}

Outcome<std::optional<FileHandle>> FileStore::open_directory(int parent, const std::string& name,
                                                             const std::string& path,
                                                             Create create) {
    const auto open = [&] {
        return retrying([&] { return files_.open(parent, name, O_RDONLY | O_DIRECTORY); });
    };
    int fd = open();
    if (fd == -ENOENT) {
        if (create == Create::No) return std::optional<FileHandle>{};
        const int made = retrying([&] { return files_.make_directory(parent, name); });
        if (made == -ENOENT) {  // only in a directory that is gone (faults.md ST-24)
            return make_problem(
                ENOENT,
                fmt::format("{} cannot be made, since the directory above was deleted: what "
                            "is served is in memory; put {} back from a backup if there is "
                            "one, and restart mdfront",
                            path, path_));
        }
        if (made < 0 && made != -EEXIST) {
            return file_problem(base::system_error(made, "create directory"), path);
        }
        if (const int r = retrying([&] { return files_.sync(parent); }); r < 0) {
            return file_problem(base::system_error(r, "fsync the directory above"), path);
        }
        fd = open();
    }
    if (fd < 0) return file_problem(base::system_error(fd, "open directory"), path);
    return std::optional<FileHandle>(FileHandle(files_, fd));
}

Outcome<std::optional<FileHandle>> FileStore::open_group(Group group, Create create) {
    return open_directory(root_.fd(), std::string(group_name(group)), where(group), create);
}

Outcome<std::optional<FileHandle>> FileStore::open_name(Group group, const std::string& name,
                                                        Create create) {
    if (!is_store_id(name)) return refused_id("directory", name);
    auto parent = open_group(group, create);
    if (!parent.ok() || !parent->has_value()) return parent;
    return open_directory(parent->value().fd(), name, where(group, name), create);
}

Outcome<bool> FileStore::exists(Group group, const std::string& name) {
    auto directory = open_name(group, name, Create::No);
    if (!directory.ok()) return directory.error();
    return directory->has_value();
}

Outcome<std::optional<base::Secret>> FileStore::read(Group group, const std::string& name,
                                                     const std::string& aspect) {
    if (!is_store_id(aspect)) return refused_id("file", aspect);
    auto directory = open_name(group, name, Create::No);
    if (!directory.ok()) return directory.error();
    if (!directory->has_value()) return std::optional<base::Secret>{};
    const std::string path = where(group, name, aspect);
    FileFacts facts;
    auto bytes = read_secret_file(files_, directory->value().fd(), aspect, file_bytes_max, &facts);
    if (!bytes.ok()) {
        if (bytes.error().code == ENOENT) return std::optional<base::Secret>{};
        return file_problem(bytes.error(), path);
    }
    if (is_key(bytes->text()) && facts.links > 1) {
        return make_problem(EMLINK, fmt::format("{}: this private key has another name (hard link) "
                                                "somewhere, and may be somebody else's to change; "
                                                "remove that one",
                                                path));
    }
    return std::optional<base::Secret>(std::move(bytes).value());
}

Outcome<std::optional<std::string>> FileStore::load(Group group, const std::string& name,
                                                    const std::string& aspect) {
    auto bytes = read(group, name, aspect);
    if (!bytes.ok()) return bytes.error();
    if (!*bytes) return std::optional<std::string>{};
    if (is_key((*bytes)->text())) {
        return make_problem(EINVAL, fmt::format("{}: this is a private key, and not something that "
                                                "may be read here",
                                                where(group, name, aspect)));
    }
    return std::optional<std::string>((*bytes)->text());
}

Outcome<std::optional<base::Secret>> FileStore::load_key(Group group, const std::string& name,
                                                         const std::string& aspect) {
    auto bytes = read(group, name, aspect);
    if (!bytes.ok() || !*bytes || !is_encrypted_key((*bytes)->text())) return bytes;
    const std::string_view encrypted = (*bytes)->text();
    if (auto known = keys_.find(encrypted)) return known;
    auto plain = decrypt_key(encrypted, secret_.bytes());
    if (!plain.ok()) {
        return make_problem(
            plain.error().status,
            fmt::format("{}: {}; does {} belong to another store?", where(group, name, aspect),
                        plain.error().detail, store_file));
    }
    keys_.add(encrypted, plain->text());
    return std::optional<base::Secret>(std::move(plain).value());
}

Outcome<void> FileStore::save_bytes(Group group, const std::string& name, const std::string& aspect,
                                    std::string_view bytes) {
    if (!is_store_id(aspect)) return refused_id("file", aspect);
    const std::string path = where(group, name, aspect);
    if (bytes.size() > file_bytes_max) {
        return file_problem(base::system_error(EFBIG, "write"), path);
    }
    auto directory = open_name(group, name, Create::Yes);
    if (!directory.ok()) return directory.error();
    const base::Status saved = replace_file(files_, directory->value().fd(), aspect, bytes);
    if (!saved.ok()) return file_problem(saved.error(), path);
    return {};
}

Outcome<void> FileStore::save(Group group, const std::string& name, const std::string& aspect,
                              std::string_view bytes) {
    // A private key must not lie in the clear only because somebody called the wrong function.
    if (is_key(bytes)) {
        return make_problem(EINVAL, fmt::format("{}: this is a private key, and not saved as "
                                                "something that may be read",
                                                where(group, name, aspect)));
    }
    return save_bytes(group, name, aspect, bytes);
}

Outcome<void> FileStore::save_key(Group group, const std::string& name, const std::string& aspect,
                                  std::string_view pem) {
    if (!keeps_keys_encrypted(group)) return save_bytes(group, name, aspect, pem);
    auto encrypted = encrypt_key(pem, secret_.bytes());
    if (!encrypted.ok()) {
        return make_problem(
            encrypted.error().status,
            fmt::format("{}: {}", where(group, name, aspect), encrypted.error().detail));
    }
    auto saved = save_bytes(group, name, aspect, *encrypted);
    // Who makes a key needs it next. In the form in which it is read, whatever is in the cache.
    if (saved && pem.starts_with("-----BEGIN PRIVATE KEY-----")) keys_.add(*encrypted, pem);
    return saved;
}

Outcome<void> FileStore::remove(Group group, const std::string& name, const std::string& aspect) {
    if (!is_store_id(aspect)) return refused_id("file", aspect);
    auto directory = open_name(group, name, Create::No);
    if (!directory.ok()) return directory.error();
    if (!directory->has_value()) return {};
    const int fd = directory->value().fd();
    const int r = retrying([&] { return files_.unlink(fd, aspect); });
    if (r == -ENOENT) return {};
    if (r < 0) return file_problem(base::system_error(r, "remove"), where(group, name, aspect));
    if (const int s = retrying([&] { return files_.sync(fd); }); s < 0) {
        return file_problem(base::system_error(s, "fsync directory"), where(group, name));
    }
    return {};
}

Outcome<void> FileStore::purge(Group group, const std::string& name) {
    if (!is_store_id(name)) return refused_id("directory", name);
    auto directory = open_group(group, Create::No);
    if (!directory.ok()) return directory.error();
    if (!directory->has_value()) return {};
    const base::Status removed = remove_tree(files_, directory->value().fd(), name);
    if (!removed.ok()) return file_problem(removed.error(), where(group, name));
    return {};
}

Outcome<std::vector<std::string>> FileStore::names(Group group) {
    auto directory = open_group(group, Create::No);
    if (!directory.ok()) return directory.error();
    std::vector<std::string> result;
    if (!directory->has_value()) return result;
    std::vector<Files::Entry> entries;
    const int fd = directory->value().fd();
    if (const int r = retrying([&] { return files_.list(fd, entries); }); r < 0) {
        return file_problem(base::system_error(r, "read directory"), where(group));
    }
    for (Files::Entry& entry : entries) {
        if (entry.directory && is_store_id(entry.name)) result.push_back(std::move(entry.name));
    }
    std::sort(result.begin(), result.end());
    return result;
}

Outcome<std::vector<std::string>> FileStore::aspects(Group group, const std::string& name) {
    auto directory = open_name(group, name, Create::No);
    if (!directory.ok()) return directory.error();
    std::vector<std::string> result;
    if (!directory->has_value()) return result;
    std::vector<Files::Entry> entries;
    const int fd = directory->value().fd();
    if (const int r = retrying([&] { return files_.list(fd, entries); }); r < 0) {
        return file_problem(base::system_error(r, "read directory"), where(group, name));
    }
    for (Files::Entry& entry : entries) {
        if (!entry.directory && is_store_id(entry.name)) result.push_back(std::move(entry.name));
    }
    std::sort(result.begin(), result.end());
    return result;
}

std::optional<base::Time> FileStore::modified(Group group, const std::string& name,
                                              const std::string& aspect) {
    if (!is_store_id(aspect)) return std::nullopt;
    auto directory = open_name(group, name, Create::No);
    if (!directory.ok() || !directory->has_value()) return std::nullopt;
    const int fd = retrying(
        [&] { return files_.open(directory->value().fd(), aspect, O_RDONLY | O_NONBLOCK); });
    if (fd < 0) return std::nullopt;
    const FileHandle handle(files_, fd);
    FileFacts facts;
    if (retrying([&] { return files_.stat(fd, facts); }) < 0 || !facts.regular) return std::nullopt;
    return facts.modified;
}

Outcome<void> FileStore::set_aside(Group group, const std::string& name, const std::string& aspect,
                                   base::Time now) {
    if (!is_store_id(aspect)) return refused_id("file", aspect);
    auto directory = open_name(group, name, Create::No);
    if (!directory.ok()) return directory.error();
    if (!directory->has_value()) return {};
    const int fd = directory->value().fd();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
    const std::string aside = fmt::format("{}.bad-{}", aspect, seconds);
    const int r = retrying([&] { return files_.rename(fd, aspect, fd, aside); });
    if (r == -ENOENT) return {};
    if (r < 0) return file_problem(base::system_error(r, "rename"), where(group, name, aspect));
    if (const int s = retrying([&] { return files_.sync(fd); }); s < 0) {
        return file_problem(base::system_error(s, "fsync directory"), where(group, name));
    }
    return {};
}

}  // namespace md
