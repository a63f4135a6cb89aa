// A job: the record of a domain's current renewal, kept as job.json (mod_md.md 3.6).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "md/problem.h"
#include "md/store.h"

namespace md {

struct LogEntry {
    base::Time when{};
    std::string type;    // "starting", "progress", "finished", "renewal-error", "message-…", …
    std::string status;  // the problem's type, or ""
    std::string detail;
};

struct Job {
    /// Until when one of several questions of the same job waits (the stapler's), or the renewal.
    struct Pause {
        base::Time until{};
        bool is_asked_for = false;  // by a Retry-After
    };
    std::string name;
    bool finished = false;
    bool notified = false;
    bool notified_renewed = false;
    std::optional<base::Time> next_run;
    std::optional<base::Time> last_run;
    std::optional<base::Time> valid_from;
    int errors = 0;                       // consecutive failures
    Problem last{0, {}, {}, {}, {}};      // status 0: no error
    std::string activity;                 // what the drive is doing now, for people
    std::vector<LogEntry> log;            // newest first
    std::map<std::string, Pause> pauses;  // by question; mod_md knows none

    static constexpr size_t log_max = 128;
    static constexpr size_t pauses_max = 256;
    /// The question in `pauses` of a renewal: what its CA, or the responder of its set, has asked
    /// for.
    static inline const std::string renewal = "renewal";
    void note(base::Time when, std::string type, std::string status, std::string detail);
    /// Takes note of a pause, or of its end. Those that are over go; of too many, the shortest.
    void pause(const std::string& question, const std::optional<Pause>& pause, base::Time now);
    /// Whether the renewal has to wait until then, whatever makes it urgent.
    bool is_silent(base::Time now) const;
};

/// nullopt: no file, or one that cannot be read (it is then set aside as job.json.bad-<time>,
/// logged).
Outcome<std::optional<Job>> load_job(Store& store, Group group, const std::string& name,
                                     base::Time now);
/// Reads job.json. The Problem says which member is wrong.
Outcome<Job> job_from_json(std::string_view json, const std::string& name);
/// mod_md.md 3.6: a staged job may say that all is done only if what it made is there (faults.md
/// ST-13).
Outcome<bool> is_believable(Store& store, const Job& job);
Outcome<void> save_job(Store& store, Group group, const Job& job);
std::string job_to_json(const Job& job, bool with_log);

/// min(retry_delay × 2^(errors−1), 24 h), saturating; 24 h at once for input-related problems; then
/// a jitter of r/256 with r uniform in −128..127 (mod_md.md 4.4). Unlike mod_md's, at most half of
/// what is `left` of the validity of what is served (wait_before_end()). Never below what the CA
/// asked for.
base::Duration retry_after(int errors, const Problem& problem, base::Duration retry_delay,
                           base::Duration left, base::Random& random);

}  // namespace md
