#include "md/store_check.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "md/json.h"
#include "md/store_checker.h"

namespace md {

namespace {

constexpr Group groups[] = {Group::Accounts, Group::Archive, Group::Challenges, Group::Domains,
                            Group::Staging,  Group::Tmp,     Group::Ocsp};
constexpr unsigned directory_mode = 0700;
constexpr unsigned file_mode = 0600;
constexpr size_t examples_max = 3;

/// job.json.bad-1790000000: what was put aside before.
bool is_set_aside(std::string_view name) {
    return name.find(".bad-") != std::string_view::npos;
}

/// Whether a file of that name belongs into a directory of that group.
bool is_known_file(Group group, std::string_view name) {
    const auto is_pair = [&](std::string_view prefix) {
        if (!name.starts_with(prefix) || !name.ends_with(".pem")) return false;
        name.remove_prefix(prefix.size());
        return name.starts_with("privkey") || name.starts_with("pubcert");
    };
    switch (group) {
        case Group::Accounts:
            return name.starts_with("account") || name == "pending.json";
        case Group::Challenges:
            return name == "acme-http-01.txt" || is_pair("acme-tls-alpn-01-");
        case Group::Ocsp:
            return name.ends_with(".json") || name.ends_with(".der");
        case Group::Archive:
        case Group::Domains:
        case Group::Staging:
        case Group::Tmp:
            break;
    }
    // The last ones are of the layout before 2.0.
    return name.ends_with(".json") || is_pair("") || is_pair("fallback-") ||
           name == "account.pem" || name == "cert.pem" || name == "chain.pem" || name == "pkey.pem";
}

}  // namespace

void StoreChecker::run(const std::optional<Problem>& no_secret) {
    has_secret_ = !no_secret;
    if (no_secret) {
        add(Severity::Error, "md_store.json", no_secret->message(),
            "restore it from a backup; without it accounts and staged keys cannot be read, "
            "while the certificates in domains stay in use");
    }
    check_top();
    for (const Group group : groups) check_group(group);
    tell_missing_accounts();
    tell_modes();
    remove_temporaries();
}

Finding& StoreChecker::add(Severity severity, std::string path, std::string what,
                           std::string advice) {
    report_.findings.push_back(
        {severity, std::move(path), std::move(what), std::move(advice), false, false});
    return report_.findings.back();
}

StoreChecker::Kind StoreChecker::look_at(int directory, const std::string& name,
                                         const std::string& path) {
    const int fd = retrying([&] { return files_.open(directory, name, O_RDONLY | O_NONBLOCK); });
    if (fd == -ENOENT) return Kind::Gone;  // a running process was faster
    if (fd == -ELOOP) {
        add(Severity::Error, path, "is a symbolic link, which is not followed",
            "put the real file or directory there");
        return Kind::Link;
    }
    if (fd < 0) {
        add(Severity::Error, path, file_problem(base::system_error(fd, "open"), "it").detail, "");
        return Kind::Other;
    }
    const FileHandle handle(files_, fd);
    FileFacts facts;
    if (files_.stat(fd, facts) < 0 || (!facts.regular && !facts.directory)) {
        add(Severity::Error, path, "is neither a file nor a directory", "remove it");
        return Kind::Other;
    }
    if (name != store_lock_file) check_mode(fd, facts, path);  // mod_md's, empty, mode 640
    return facts.directory ? Kind::Directory : Kind::File;
}

void StoreChecker::check_mode(int fd, const FileFacts& facts, const std::string& path) {
    const unsigned wanted = facts.directory ? directory_mode : file_mode;
    if ((facts.mode & 077) == 0 && (facts.mode & wanted) == wanted) return;
    const bool is_fixed =
        options_.fix && retrying([&] { return files_.set_mode(fd, wanted); }) == 0;
    (is_fixed ? modes_fixed_ : modes_).push_back(fmt::format("{} ({:o})", path, facts.mode));
    if (path.empty()) root_was_open_ = (facts.mode & 077) != 0;
}

/// One finding for all: a store of mod_md has many of these.
void StoreChecker::tell_modes() {
    for (const auto* paths : {&modes_, &modes_fixed_}) {
        if (paths->empty()) continue;
        std::string examples;
        for (size_t i = 0; i < std::min(paths->size(), examples_max); ++i) {
            const std::string& path = (*paths)[i];
            examples += (i > 0 ? ", " : "") + (path.starts_with(' ') ? "." + path : path);
        }
        if (paths->size() > examples_max) examples += ", …";
        // Behind a closed door nobody reads them.
        Finding& finding = add(
            root_was_open_ ? Severity::Warning : Severity::Note, "",
            fmt::format("{} with a mode that is not 700 or 600: {}",
                        paths->size() == 1 ? "a file or directory"
                                           : fmt::format("{} files and directories", paths->size()),
                        examples),
            paths == &modes_ ? "--fix sets 700 for directories and 600 for files" : "");
        finding.is_fixable = true;
        finding.is_fixed = paths == &modes_fixed_;
    }
}

std::vector<Files::Entry> StoreChecker::list(int directory, const std::string& path) {
    std::vector<Files::Entry> entries;
    if (const int r = retrying([&] { return files_.list(directory, entries); }); r < 0) {
        add(Severity::Error, path,
            file_problem(base::system_error(r, "read directory"), "it").detail, "");
    }
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return entries;
}

bool StoreChecker::tell_temporary(const std::string& name, const std::string& path) {
    if (!is_temporary_name(name)) return false;
    temporaries_.push_back(path);
    Finding& finding = add(Severity::Warning, path, "was being written when a process ended",
                           "--fix removes it, unless that process still runs");
    finding.is_fixable = true;
    return true;
}

void StoreChecker::check_top() {
    FileFacts facts;
    if (files_.stat(root_, facts) == 0) check_mode(root_, facts, "");
    static const std::set<std::string_view> known{"md_store.json", "httpd.json", store_lock_file,
                                                  process_lock_file};
    for (const Files::Entry& entry : list(root_, "")) {
        if (tell_temporary(entry.name, entry.name)) continue;
        const bool is_group = std::any_of(std::begin(groups), std::end(groups), [&](Group group) {
            return group_name(group) == entry.name;
        });
        const Kind kind = look_at(root_, entry.name, entry.name);
        if (is_group && kind == Kind::File) {
            add(Severity::Error, entry.name, "is a file where a directory belongs", "move it away");
        } else if (!is_group && known.count(entry.name) == 0 && !is_set_aside(entry.name)) {
            tell_unknown(entry.name);
        }
    }
}

void StoreChecker::tell_unknown(const std::string& path) {
    add(Severity::Note, path, "is nothing that mdfront knows", "it is left alone");
}

void StoreChecker::check_group(Group group) {
    const std::string group_path(group_name(group));
    const int fd = retrying([&] { return files_.open(root_, group_path, O_RDONLY | O_DIRECTORY); });
    if (fd < 0) return;  // not there yet, or told by check_top()
    const FileHandle handle(files_, fd);
    for (const Files::Entry& entry : list(fd, group_path)) {
        const std::string path = fmt::format("{}/{}", group_path, entry.name);
        if (tell_temporary(entry.name, path)) continue;
        const Kind kind = look_at(fd, entry.name, path);
        if (kind == Kind::File) tell_unknown(path);
        if (kind != Kind::Directory) continue;
        if (!is_store_id(entry.name)) {
            tell_unknown(path);
            continue;
        }
        const FileNames files = check_files(group, fd, entry.name, path);
        check_directory(group, entry.name, path, files);
    }
    if (group == Group::Archive) tell_archives();
}

StoreChecker::FileNames StoreChecker::check_files(Group group, int parent, const std::string& name,
                                                  const std::string& path) {
    FileNames names;
    const int fd = retrying([&] { return files_.open(parent, name, O_RDONLY | O_DIRECTORY); });
    if (fd < 0) return names;
    const FileHandle handle(files_, fd);
    for (const Files::Entry& entry : list(fd, path)) {
        const std::string file_path = fmt::format("{}/{}", path, entry.name);
        if (tell_temporary(entry.name, file_path)) continue;
        const Kind kind = look_at(fd, entry.name, file_path);
        if (kind == Kind::Directory) tell_unknown(file_path);
        if (kind != Kind::File) continue;
        if (is_set_aside(entry.name)) {
            add(Severity::Note, file_path, "was put aside because it could not be read",
                "look at it, and remove it when it is of no use");
        } else if (!is_known_file(group, entry.name)) {
            tell_unknown(file_path);
        } else {
            names.insert(entry.name);
            check_content(group, name, entry.name, file_path);
        }
    }
    return names;
}

void StoreChecker::check_content(Group group, const std::string& name, const std::string& aspect,
                                 const std::string& path) {
    Outcome<std::optional<std::string>> bytes = std::optional<std::string>();
    if (aspect.ends_with(".pem")) {  // keys among them
        const auto pem = store_.load_key(group, name, aspect);
        if (!pem.ok()) bytes = pem.error();
    } else {
        bytes = store_.load(group, name, aspect);
    }
    if (!bytes.ok()) {
        // What the secret is missing for was told once.
        if (!has_secret_ && aspect.ends_with(".pem") && bytes.error().status == EINVAL) return;
        add(Severity::Error, path, without_place(bytes.error()), key_advice(group));
        if (aspect == "md.json" || aspect == "job.json") set_aside(group, name, aspect);
        return;
    }
    if (!*bytes || !aspect.ends_with(".json")) return;
    std::string wrong;
    if (aspect == "md.json") {
        const auto read = domain_from_json(**bytes);
        if (!read.ok()) wrong = read.error().detail;
    } else if (aspect == "job.json") {
        const auto read = job_from_json(**bytes, name);
        if (!read.ok()) wrong = read.error().detail;
    } else if (std::string error; parse_json(**bytes, error).is_discarded()) {
        wrong = "it is not JSON: " + error;
    }
    if (wrong.empty()) return;
    const bool is_renewable = aspect == "md.json" || aspect == "job.json";
    add(Severity::Error, path, std::move(wrong),
        is_renewable ? "--fix puts it aside as mdfront does when it starts; it is made anew"
                     : "remove it; it is made anew");
    if (is_renewable) set_aside(group, name, aspect);
}

void StoreChecker::set_aside(Group group, const std::string& name, const std::string& aspect) {
    Finding& finding = report_.findings.back();
    finding.is_fixable = true;
    finding.is_fixed = options_.fix && store_.set_aside(group, name, aspect, options_.now).ok();
}

std::string StoreChecker::without_place(const Problem& problem) const {
    std::string text = problem.message();
    const std::string place = store_.path() + "/";
    if (text.starts_with(place)) {
        const size_t colon = text.find(": ");
        if (colon != std::string::npos) text.erase(0, colon + 2);
    }
    return text;
}

bool StoreChecker::is_told(const std::string& prefix) const {
    return std::any_of(report_.findings.begin(), report_.findings.end(), [&](const Finding& f) {
        return f.severity == Severity::Error && f.path.starts_with(prefix);
    });
}

void StoreChecker::remove_temporaries() {
    if (temporaries_.empty() || !options_.fix) return;
    remove_leftovers(files_, root_, 2);
    for (Finding& finding : report_.findings) {
        const bool is_one =
            std::find(temporaries_.begin(), temporaries_.end(), finding.path) != temporaries_.end();
        if (!is_one) continue;
        const int fd = files_.open(root_, finding.path, O_RDONLY | O_NONBLOCK);
        finding.is_fixed = fd == -ENOENT;
        if (fd >= 0) (void)files_.close(fd);  // only looked at
    }
}

std::string_view severity_name(Finding::Severity severity) {
    switch (severity) {
        case Finding::Severity::Error:
            return "error";
        case Finding::Severity::Warning:
            return "warning";
        case Finding::Severity::Note:
            break;
    }
    return "note";
}

size_t StoreReport::problems() const {
    return static_cast<size_t>(std::count_if(
        findings.begin(), findings.end(),
        [](const Finding& f) { return !f.is_fixed && f.severity != Finding::Severity::Note; }));
}

Outcome<StoreReport> check_store(const std::string& path, Files& files, base::Clock& clock,
                                 const StoreCheckOptions& options) {
    const int fd = retrying([&] { return files.open_root(path); });
    if (fd < 0) return file_problem(base::system_error(fd, "open directory"), path);
    const FileHandle root(files, fd);
    StoreReport report;
    report.path = path;
    const std::string claimant = store_claimant(files, fd);
    std::vector<StoreLock> locks;  // until the end
    if (options.fix) {
        if (!claimant.empty()) {
            return make_problem(EBUSY, fmt::format("mdfront ({}) works on {}: nothing is repaired "
                                                   "while it runs; stop it first",
                                                   claimant, path));
        }
        for (const char* name : {process_lock_file, store_lock_file}) {
            auto lock = StoreLock::acquire(files, fd, path, name, {}, clock);
            if (!lock.ok()) return lock.error();
            locks.push_back(std::move(lock).value());
        }
    } else if (!claimant.empty()) {
        report.findings.push_back({Finding::Severity::Note, "",
                                   fmt::format("mdfront ({}) works on it", claimant),
                                   "what is under way may look unfinished", false, false});
    }
    std::optional<Problem> no_secret;
    auto store = FileStore::open_to_check(path, files, no_secret);
    if (!store.ok()) return store.error();
    StoreChecker(**store, files, fd, options, report).run(no_secret);
    return report;
}

}  // namespace md
