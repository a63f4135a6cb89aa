#include "md/event.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/command_line.h"
#include "md/poll.h"

namespace md {

namespace {

// The log ids that mod_md has in `last.problem`.
constexpr std::string_view message_problem = "urn:org:apache:httpd:log:AH10109:";
constexpr std::string_view notify_problem = "urn:org:apache:httpd:log:AH10108:";

struct Row {
    EventKind kind;
    std::string_view name;
    base::Duration interval;
};
constexpr std::chrono::hours hour{1};
constexpr std::chrono::hours day{24};
/// mod_md.md 4.9.
constexpr Row rows[] = {
    {EventKind::Renewing, "renewing", hour},
    {EventKind::ChallengeSetup, "challenge-setup", base::Duration::zero()},
    {EventKind::Renewed, "renewed", day},
    {EventKind::Installed, "installed", day},
    {EventKind::Expiring, "expiring", day},
    {EventKind::Errored, "errored", hour},
    {EventKind::OcspRenewed, "ocsp-renewed", day},
    {EventKind::OcspErrored, "ocsp-errored", hour},
    {EventKind::Revoked, "revoked", base::Duration::zero()},
};

const Row& row_of(EventKind kind) {
    return *std::find_if(std::begin(rows), std::end(rows),
                         [&](const Row& row) { return row.kind == kind; });
}

}  // namespace

std::string Event::reason() const {
    std::string text(row_of(kind).name);
    if (!subject.empty()) text += ":" + subject;
    return text;
}

base::Duration event_interval(EventKind kind) {
    return row_of(kind).interval;
}

std::vector<std::string> command_environment(const Domain& domain, const EngineSettings& settings) {
    std::string names;
    for (const std::string& name : domain.names) names += (names.empty() ? "" : " ") + name;
    return {"MDFRONT_DOMAIN=" + domain.name, "MDFRONT_NAMES=" + names,
            "MDFRONT_STORE_DIR=" + settings.store_dir};
}

bool Events::is_too_soon(const Event& event, const Job& job) const {
    const base::Duration interval = event_interval(event.kind);
    if (interval == base::Duration::zero()) return false;
    const std::string type = "message-" + event.reason();
    const bool is_of_set = event.kind == EventKind::Renewed || event.kind == EventKind::Installed;
    for (const LogEntry& entry : job.log) {
        // What came before the set was finished was of another one.
        if (is_of_set && entry.type == "finished") return false;
        if (entry.type != type) continue;
        const base::Duration since = clock_.now() - entry.when;
        // A clock that went back must not keep an event away for good.
        return since >= base::Duration::zero() && since < interval;
    }
    return false;
}

Outcome<void> Events::run(std::string_view key, const std::string& line, const Event& event,
                          const Domain& domain, std::vector<std::string> arguments) const {
    auto words = split_command_line(line);
    if (!words) return make_problem(EINVAL, fmt::format("{}: {}", key, words.error().detail));
    Command command{.argv = std::move(*words),
                    .environment = command_environment(domain, settings_),
                    .domain = domain.name,
                    .timeout = settings_.command_timeout,
                    .stop = stop_};
    command.environment.push_back("MDFRONT_EVENT=" + event.reason());
    for (std::string& argument : arguments) command.argv.push_back(std::move(argument));
    const CommandResult result = commands_.run(command);
    if (result.succeeded()) return {};
    return command_problem(key, command, result);
}

Outcome<void> Events::raise(const Event& event, const Domain& domain, Job& job) const {
    if (is_too_soon(event, job)) return {};
    const std::string reason = event.reason();
    if (event.kind == EventKind::Renewed && !settings_.notify_command.empty()) {
        auto done = run("notify_cmd", settings_.notify_command, event, domain, {domain.name});
        if (!done) {
            Problem problem = std::move(done).error();
            if (is_stopping(problem)) return problem;
            problem.type = notify_problem;
            base::log_warn("md", domain.name, "{}", problem.detail);
            job.note(clock_.now(), "notify-error", problem.type, problem.detail);
            return problem;
        }
    }
    if (!settings_.message_command.empty()) {
        auto done =
            run("message_cmd", settings_.message_command, event, domain, {reason, domain.name});
        if (!done) {
            Problem problem = std::move(done).error();
            if (is_stopping(problem)) return problem;
            problem.type = message_problem;
            problem.detail = fmt::format("{} ({})", problem.detail, reason);
            base::log_warn("md", domain.name, "{}", problem.detail);
            job.note(clock_.now(), "message-error", reason, problem.detail);
            return problem;
        }
    }
    job.note(clock_.now(), "message-" + reason, "", "");
    return {};
}

}  // namespace md
