#include "app/command/store_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "app/admin/json_values.h"
#include "app/cli.h"
#include "app/config/configuration_reader.h"
#include "app/config/toml_reader.h"
#include "app/identity.h"
#include "app/process.h"
#include "base/log.h"

namespace app {

namespace {

std::string counted(size_t number, std::string_view what) {
    return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

Paint paint_of(const md::Finding& finding) {
    if (finding.is_fixed) return Paint::Good;
    switch (finding.severity) {
        case md::Finding::Severity::Error:
            return Paint::Bad;
        case md::Finding::Severity::Warning:
            return Paint::Warn;
        case md::Finding::Severity::Note:
            break;
    }
    return Paint::Quiet;
}

/// --store, else the store_dir of the configuration; "" after a line on standard error.
std::string store_path(const CommandLine& line) {
    if (!line.store.empty()) return line.store;
    Mistakes unreadable;
    const Node document = read_documents(line.config, unreadable);
    if (unreadable.any()) {
        fmt::print(stderr, "mdfront: {}; or name the store with --store DIR\n",
                   unreadable.lines().front());
        return "";
    }
    Mistakes ignored;  // `mdfront check` tells them
    return read_configuration(document, line.config, ignored).md.store_dir;
}

/// Nothing: we are not root, or the store is root's, or there is none.
std::optional<User> other_owner_of(const std::string& path) {
    struct stat facts {};
    if (!is_root() || ::lstat(path.c_str(), &facts) != 0 || facts.st_uid == 0) return std::nullopt;
    return User{"", facts.st_uid, facts.st_gid, {facts.st_gid}};
}

}  // namespace

std::string render_store_report(const md::StoreReport& report, bool fix, const Look& look) {
    std::string out = fmt::format(
        "{}: {}, {}, {}\n", printable(report.path), counted(report.domains, "domain"),
        counted(report.certificates, "certificate"), counted(report.accounts, "account"));
    std::vector<const md::Finding*> findings;
    for (const md::Finding& finding : report.findings) findings.push_back(&finding);
    std::stable_sort(findings.begin(), findings.end(),
                     [](const auto* a, const auto* b) { return a->severity < b->severity; });
    for (const md::Finding* finding : findings) {
        std::string word(finding->is_fixed ? "repaired" : severity_name(finding->severity));
        const std::string path = finding->path.empty() ? "the store" : printable(finding->path);
        out += fmt::format("\n{}{}{}\n", look.paint(paint_of(*finding), word),
                           std::string(10 - word.size(), ' '), look.paint(Paint::Strong, path));
        const std::string indent(10, ' ');
        out += paragraph(indent, printable(finding->what), look);
        if (!finding->is_fixed) {
            out += paragraph(indent + "> ", printable(finding->advice), look, Paint::Quiet);
        }
    }
    const size_t problems = report.problems();
    const bool can_repair =
        std::any_of(report.findings.begin(), report.findings.end(),
                    [](const md::Finding& f) { return f.is_fixable && !f.is_fixed; });
    out += problems == 0 ? "\nNo problem" : "\n" + counted(problems, "problem");
    if (problems > 0 && fix) out += " left";
    if (can_repair && !fix) out += "; some of it can be repaired with --fix";
    return out + "\n";
}

std::string store_report_json(const md::StoreReport& report) {
    Json json{{"store", report.path},
              {"domains", report.domains},
              {"certificates", report.certificates},
              {"accounts", report.accounts},
              {"problems", report.problems()},
              {"findings", Json::array()}};
    for (const md::Finding& finding : report.findings) {
        json["findings"].push_back(Json{{"severity", severity_name(finding.severity)},
                                        {"path", finding.path},
                                        {"what", finding.what},
                                        {"advice", finding.advice},
                                        {"fixable", finding.is_fixable},
                                        {"fixed", finding.is_fixed}});
    }
    return json_text(json);
}

int run_store_check(const CommandLine& line) {
    const std::string path = store_path(line);
    if (path.empty()) return exit_refused;
    // Root has no business in directories of a user's: what that user cannot read is not shown, and
    // what is repaired stays its own.
    if (const auto owner = other_owner_of(path)) {
        if (const base::Status changed = become_user(*owner); !changed) {
            fmt::print(stderr, "mdfront: the owner of {} (user {}) cannot be become: {}\n", path,
                       owner->uid, changed.error().message());
            return exit_refused;
        }
    }
    md::SystemFiles files;
    base::SystemClock clock;
    const auto report = md::check_store(path, files, clock, {.now = clock.now(), .fix = line.fix});
    if (!report.ok()) {
        fmt::print(stderr, "mdfront: {}\n", printable(report.error().message()));
        return exit_refused;
    }
    const std::string text =
        line.json ? store_report_json(report.value())
                  : render_store_report(report.value(), line.fix, Look::of(STDOUT_FILENO));
    (void)std::fwrite(text.data(), 1, text.size(), stdout);  // a closed pipe is the reader's wish
    return report.value().problems() == 0 ? exit_ok : exit_refused;
}

}  // namespace app
