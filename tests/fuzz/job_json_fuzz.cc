// Any bytes as job.json. What must hold: what is read is written and read again as the same; all
// that grows is bounded; and no count or time in it makes the next attempt come at once, or never.
#include "base/random.h"
#include "base/result.h"
#include "md/job.h"

namespace md {

namespace {

using base::check;

void check_job(const Job& job) {
    check(job.errors >= 0);
    check(job.log.size() <= Job::log_max);
    check(job.pauses.size() <= Job::pauses_max);
    base::SeededRandom random(1);
    const base::Duration delay = retry_after(job.errors, job.last, std::chrono::seconds{5},
                                             std::chrono::hours{24 * 30}, random);
    check(delay >= std::chrono::seconds{1} && delay <= std::chrono::hours{48});
    check(!job.last.message().empty() || job.last.status == 0);
}

}  // namespace

}  // namespace md

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    auto job = md::job_from_json(text, "a.example.org");
    if (!job) {
        base::check(!job.error().detail.empty());
        return 0;
    }
    md::check_job(*job);
    const std::string written = md::job_to_json(*job, true);
    auto again = md::job_from_json(written, "a.example.org");
    base::check(again.ok());
    base::check(md::job_to_json(*again, true) == written);
    job->note(base::Time{}, "renewed", "", "");
    base::check(job->log.size() <= md::Job::log_max);
    return 0;
}
