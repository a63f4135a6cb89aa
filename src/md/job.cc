#include "md/job.h"

#include <algorithm>
#include <cerrno>

#include "base/ip_address.h"
#include "base/log.h"
#include "md/credentials.h"
#include "md/domain_json.h"
#include "md/json.h"
#include "md/renewal.h"

namespace md {

namespace {

constexpr base::Duration delay_max = std::chrono::hours{24};

Json subproblems_to_json(const std::vector<Subproblem>& subproblems) {
    Json array = Json::array();
    for (const Subproblem& sub : subproblems) {
        Json json;
        json["type"] = sub.type;
        json["detail"] = sub.detail;
        if (!sub.identifier.empty()) {
            json["identifier"]["type"] = base::is_ip_address(sub.identifier) ? "ip" : "dns";
            json["identifier"]["value"] = sub.identifier;
        }
        array.push_back(std::move(json));
    }
    return array;
}

Json last_to_json(const Job& job) {
    Json json;
    json["status"] = job.last.status;
    if (job.last.status != 0) json["status-description"] = status_description(job.last.status);
    if (!job.last.type.empty()) json["problem"] = job.last.type;
    if (!job.last.detail.empty()) json["detail"] = job.last.detail;
    if (!job.activity.empty()) json["activity"] = job.activity;
    if (job.valid_from) json["valid-from"] = base::format_http_date(*job.valid_from);
    if (!job.last.subproblems.empty()) {
        json["subproblems"] = subproblems_to_json(job.last.subproblems);
    }
    return json;
}

Job read_job(const Json& json, const std::string& name) {
    Job job;
    job.name = name;
    job.finished = bool_at(json, {"finished"}, false);
    job.notified = bool_at(json, {"notified"}, false);
    job.notified_renewed = bool_at(json, {"notified-renewed"}, false);
    job.next_run = time_at(json, {"next-run"});
    job.last_run = time_at(json, {"last-run"});
    job.valid_from = time_at(json, {"valid-from"});
    job.errors = static_cast<int>(std::clamp<int64_t>(int_at(json, {"errors"}, 0), 0, 1'000'000));
    job.last.status = static_cast<int>(
        std::clamp<int64_t>(int_at(json, {"last", "status"}, 0), INT_MIN, INT_MAX));
    job.last.type = string_at(json, {"last", "problem"});
    job.last.detail = string_at(json, {"last", "detail"});
    job.activity = string_at(json, {"last", "activity"});
    if (const Json* subs = find(json, {"last", "subproblems"}); subs && subs->is_array()) {
        for (const Json& sub : *subs) {
            job.last.subproblems.push_back({string_at(sub, {"type"}), string_at(sub, {"detail"}),
                                            string_at(sub, {"identifier", "value"})});
        }
    }
    if (const Json* entries = find(json, {"log", "entries"}); entries && entries->is_array()) {
        for (const Json& entry : *entries) {
            if (job.log.size() == Job::log_max) break;
            const auto when = time_at(entry, {"when"});
            const std::string type = string_at(entry, {"type"});
            if (!when || type.empty()) continue;
            job.log.push_back(
                {*when, type, string_at(entry, {"status"}), string_at(entry, {"detail"})});
        }
    }
    if (const Json* pauses = find(json, {"pauses"}); pauses && pauses->is_object()) {
        for (const auto& [question, pause] : pauses->items()) {
            const auto until = time_at(pause, {"until"});
            if (!until || job.pauses.size() == Job::pauses_max) continue;
            job.pauses[question] = {*until, bool_at(pause, {"asked-for"}, false)};
        }
    }
    return job;
}

/// Why job.json is none; "" if it is.
std::string what_is_wrong(const Json& json, const std::string& error) {
    if (json.is_discarded()) return "it is not JSON: " + error;
    if (!json.is_object()) return "it is not a JSON object";
    for (const char* key : {"finished", "notified", "notified-renewed"}) {
        if (const Json* at = find(json, {key}); at && !at->is_boolean()) {
            return fmt::format("\"{}\" is neither true nor false", key);
        }
    }
    if (const Json* at = find(json, {"errors"}); at && !at->is_number_integer()) {
        return "\"errors\" is no number";
    }
    for (const char* key : {"next-run", "last-run", "valid-from"}) {
        if (find(json, {key}) && !time_at(json, {key})) {
            return fmt::format("\"{}\" is no time", key);
        }
    }
    return "";
}

}  // namespace

Outcome<bool> is_believable(Store& store, const Job& job) {
    if (!job.finished || !job.notified_renewed) return true;
    auto staged = store.load(Group::Staging, job.name, "md.json");
    if (!staged.ok()) return staged.error();
    if (!*staged) return false;
    auto live = store.load(Group::Domains, job.name, "md.json");
    if (!live.ok()) return live.error();
    if (!*live) return true;
    const auto stored = domain_from_json(**live);
    if (!stored.ok()) return true;
    for (const KeySpec& spec : stored.value().domain.key_specs()) {
        auto chain = store.load(Group::Staging, job.name, chain_file(spec));
        if (!chain.ok()) return chain.error();
        if (!*chain || (*chain)->empty()) return false;
    }
    return true;
}

Outcome<Job> job_from_json(std::string_view text, const std::string& name) {
    std::string error;
    const Json json = parse_json(text, error);
    const std::string wrong = what_is_wrong(json, error);
    if (!wrong.empty()) return make_problem(EINVAL, wrong);
    return read_job(json, name);
}

void Job::note(base::Time when, std::string type, std::string status, std::string detail) {
    log.insert(log.begin(), {when, std::move(type), std::move(status), std::move(detail)});
    if (log.size() <= log_max) return;
    // The oldest goes, but not what limits events: when each was raised last, and whether a set was
    // finished since.
    const auto is_limiting = [this](const LogEntry& entry) {
        const bool is_of_kind =
            entry.type == "finished" ||
            (entry.type.starts_with("message-") && entry.type != "message-error" &&
             !entry.type.starts_with("message-challenge-setup"));
        return is_of_kind &&
               &entry == &*std::find_if(log.begin(), log.end(), [&](const LogEntry& newer) {
                   return newer.type == entry.type;
               });
    };
    const auto oldest = std::find_if_not(log.rbegin(), log.rend(), is_limiting);
    log.erase(oldest == log.rend() ? log.end() - 1 : oldest.base() - 1);
}

void Job::pause(const std::string& question, const std::optional<Pause>& pause, base::Time now) {
    std::erase_if(pauses, [&](const auto& one) { return one.second.until <= now; });
    pauses.erase(question);
    if (!pause) return;
    if (pauses.size() >= pauses_max) {
        pauses.erase(std::min_element(
            pauses.begin(), pauses.end(),
            [](const auto& a, const auto& b) { return a.second.until < b.second.until; }));
    }
    pauses[question] = *pause;
}

bool Job::is_silent(base::Time now) const {
    const auto pause = pauses.find(renewal);
    return pause != pauses.end() && pause->second.until > now;
}

Json job_to_json_value(const Job& job, bool with_log) {
    Json json;
    json["name"] = job.name;
    json["finished"] = job.finished;
    json["notified"] = job.notified;
    json["notified-renewed"] = job.notified_renewed;
    if (job.next_run) json["next-run"] = base::format_http_date(*job.next_run);
    if (job.last_run) json["last-run"] = base::format_http_date(*job.last_run);
    if (job.valid_from) json["valid-from"] = base::format_http_date(*job.valid_from);
    json["errors"] = job.errors;
    if (job.last_run || job.last.status != 0 || !job.last.detail.empty() || !job.activity.empty()) {
        json["last"] = last_to_json(job);
    }
    if (with_log) {
        json["log"]["entries"] = Json::array();
        for (const LogEntry& entry : job.log) {
            Json line;
            line["when"] = base::format_http_date(entry.when);
            line["type"] = entry.type;
            if (!entry.status.empty()) line["status"] = entry.status;
            if (!entry.detail.empty()) line["detail"] = entry.detail;
            json["log"]["entries"].push_back(std::move(line));
        }
        for (const auto& [question, pause] : job.pauses) {
            Json& entry = json["pauses"][question];
            entry["until"] = base::format_http_date(pause.until);
            if (pause.is_asked_for) entry["asked-for"] = true;
        }
    }
    return json;
}

std::string job_to_json(const Job& job, bool with_log) {
    return json_text(job_to_json_value(job, with_log));
}

Outcome<std::optional<Job>> load_job(Store& store, Group group, const std::string& name,
                                     base::Time now) {
    auto bytes = store.load(group, name, "job.json");
    if (!bytes.ok() && bytes.error().status != EFBIG) return bytes.error();
    if (bytes.ok() && !*bytes) return std::optional<Job>{};
    auto read = bytes.ok() ? job_from_json(**bytes, name)
                           : Outcome<Job>(make_problem(EFBIG, "it is too large"));
    if (!read.ok()) {
        base::log_warn("md", name, "{}/{}/job.json is set aside as job.json.bad-…: {}",
                       group_name(group), name, read.error().message());
        auto aside = store.set_aside(group, name, "job.json", now);
        if (!aside.ok()) return aside.error();
        return std::optional<Job>{};
    }
    Job job = std::move(read).value();
    if (group == Group::Staging) {
        auto believable = is_believable(store, job);
        if (!believable.ok()) return believable.error();
        if (!*believable) {
            base::log_info("md", name, "job.json says finished, but what it made is missing");
            return std::optional<Job>{};
        }
    }
    return std::optional<Job>(std::move(job));
}

Outcome<void> save_job(Store& store, Group group, const Job& job) {
    return store.save(group, job.name, "job.json", job_to_json(job, true));
}

base::Duration retry_after(int errors, const Problem& problem, base::Duration retry_delay,
                           base::Duration left, base::Random& random) {
    using std::chrono::seconds;
    base::Duration delay = retry_delay > base::Duration::zero() ? retry_delay : seconds{1};
    delay = std::min(delay, delay_max);
    if (problem.is_input_related()) {
        delay = delay_max;
    } else {
        // Doubling stops at the limit, so that no count of failures can overflow
        // (CVE-2025-55753).
        for (int i = 1; i < errors && delay < delay_max; ++i)
            delay = std::min(delay * 2, delay_max);
    }
    // Sub-second delays, which only tests use, have no jitter.
    if (delay >= seconds{1}) {
        const auto r = static_cast<int64_t>(random.below(256)) - 128;
        delay = std::max<base::Duration>(delay + delay * r / 256, seconds{1});
    }
    delay = wait_before_end(std::max(delay, problem.pause), left);
    return std::max(delay, problem.retry_after.value_or(base::Duration::zero()));
}

}  // namespace md
