// How the stapler asks, what it makes of an answer, and whom it tells: declared in stapler.h.

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/poll.h"
#include "md/stapler.h"

namespace md {

namespace {

using std::chrono::hours;
using std::chrono::seconds;

/// When the renew window is open already after an answer (mod_md.md 6.4).
constexpr base::Duration again_max = hours{1};
constexpr base::Duration again_min = seconds{10};
/// What the disk did not take would be gone with this process.
constexpr base::Duration unsaved_again = hours{1};

}  // namespace

Outcome<void> Stapler::obtain(const Domain& domain,
                              const std::shared_ptr<const tls::Certificate>& certificate) {
    if (!plan_for(domain, *certificate).is_stapled) {
        if (!certificate->must_staple) return {};
        return make_problem(
            EINVAL,
            "the certificate must be stapled, and names no OCSP responder to get the "
            "staple from: this CA has none any more; write must_staple = false");
    }
    auto question = OcspQuestion::about(*certificate);
    if (!question) return question.error();
    const base::Time now = clock_.now();
    {
        const std::lock_guard lock(mutex_);
        const Item* item = item_of(*certificate);
        if (item != nullptr && item->staple && item->until > now) return {};
        const auto at = obtained_.find(certificate->sha256);
        if (at != obtained_.end() && at->second.answer.until > now) return {};
    }
    auto stored = load_staple(store_, domain.name, *certificate, *question, now);
    std::optional<Obtained> answer;
    if (stored && *stored && (*stored)->status == CertificateStatus::Good) {
        answer = Obtained{std::move(**stored)};
    } else {
        const std::unique_ptr<Transport> transport = transport_factory_();
        {
            const std::lock_guard lock(mutex_);
            if (stop_.stop_requested()) return stopping_problem();
            transports_.insert(transport.get());
        }
        const auto take_out = [this](Transport* one) {
            const std::lock_guard lock(mutex_);
            transports_.erase(one);
        };
        const std::unique_ptr<Transport, decltype(take_out)> listed(transport.get(), take_out);
        Outcome<OcspAnswer> given = stopping_problem();
        try {
            given = ask_ocsp(*transport, domain, certificate->ocsp_url, *question, clock_, random_);
        } catch (const std::exception& error) {  // the libraries': none of ours throws
            given = make_problem(EINVAL, fmt::format("internal error: {}", error.what()));
        }
        if (stop_.stop_requested()) return stopping_problem();
        if (!given) {
            if (const auto pause = given.error().retry_after) {
                note_pause(domain, *certificate, clock_.now() + *pause);
            }
            return given.error();
        }
        if (given->status == CertificateStatus::Revoked) {
            Problem problem = make_problem(
                EPROTO, fmt::format("its OCSP responder says that the new certificate {} is "
                                    "revoked ({})",
                                    certificate->serial, given->reason));
            problem.type = "certificate-revoked";
            return problem;
        }
        auto saved = save_staple(store_, domain.name, *certificate, *given);
        if (!saved) base::log_warn("md", domain.name, "{}", saved.error().message());
        answer = Obtained{std::move(*given), saved.ok()};
    }
    const std::lock_guard lock(mutex_);
    // Of sets that were never served.
    std::erase_if(obtained_, [&](const auto& one) { return one.second.answer.until <= now; });
    obtained_.insert_or_assign(certificate->sha256, std::move(*answer));
    return {};
}

/// For the question that begins when the certificate is served, in this process or the next.
void Stapler::note_pause(const Domain& domain, const tls::Certificate& certificate,
                         base::Time until) {
    const base::Time now = clock_.now();
    std::shared_ptr<Owner> owner;
    {
        const std::lock_guard lock(mutex_);
        std::erase_if(pauses_, [&](const auto& one) { return one.second <= now; });
        pauses_.insert_or_assign(certificate.sha256, until);
        if (const auto at = owners_.find(domain.name); at != owners_.end()) owner = at->second;
    }
    std::unique_lock<std::mutex> reporting;
    if (owner) reporting = std::unique_lock(owner->reporting);
    auto loaded = load_job(store_, Group::Ocsp, domain.name, now);
    Job job;
    if (loaded && *loaded) job = std::move(**loaded);
    job.name = domain.name;
    job.pause(staple_file(certificate), Job::Pause{std::chrono::ceil<seconds>(until), true}, now);
    if (auto saved = save_job(store_, Group::Ocsp, job); !saved) {
        base::log_warn("md", domain.name, "{}", saved.error().message());
    }
}

void Stapler::ask(const std::shared_ptr<Question>& question, Transport& transport) {
    Asked asked{.question = question,
                .key = {},
                .owner = {},
                .domain = {},
                .certificates = {},
                .validators = {},
                .from = {},
                .by_serial = {}};
    {
        const std::lock_guard lock(mutex_);
        asked.key = question->key();
        asked.owner = question->owner;
        asked.domain = question->owner->domain;
        asked.certificates = question->certificates;
        asked.validators = question->validators;
        // One of the future was taken by a clock that was wrong: nothing real would be newer.
        if (!is_of_the_future(question->from, clock_.now())) asked.from = question->from;
        asked.by_serial = question->by_serial;
    }
    if (save_again(asked)) return;
    Outcome<void> outcome;
    try {
        outcome =
            question->crl.empty() ? ask_responder(asked, transport) : read_list(asked, transport);
    } catch (const std::exception& error) {  // the libraries': none of ours throws
        outcome = make_problem(EINVAL, fmt::format("internal error: {}", error.what()));
    }
    finish(asked, outcome);
}

Outcome<void> Stapler::ask_responder(const Asked& asked, Transport& transport) {
    const auto& certificate = asked.certificates.front();
    auto about = OcspQuestion::about(*certificate);
    if (!about) return about.error();
    auto answer = ask_ocsp(transport, asked.domain, asked.question->url, *about, clock_, random_);
    if (!answer) return answer.error();
    if (answer->from < asked.from) {  // faults.md OC-13
        return make_problem(EPROTO, fmt::format("the OCSP answer is ignored: it is of {}, and we "
                                                "have one of {}",
                                                base::format_rfc3339(answer->from),
                                                base::format_rfc3339(asked.from)));
    }
    {
        const std::lock_guard lock(mutex_);
        Item* item = item_of(*certificate);
        if (item == nullptr || item->responder != asked.question) return {};  // OC-17
        take_answer(*item, *answer);
        if (item->list) take_finding(*item, *item->list);
        asked.question->from = answer->from;
        asked.question->until = answer->until;
    }
    note_saved(asked, &*answer, save_staple(store_, asked.domain.name, *certificate, *answer));
    return {};
}

Outcome<void> Stapler::read_list(const Asked& asked, Transport& transport) {
    const bool is_complete =
        std::all_of(asked.certificates.begin(), asked.certificates.end(),
                    [&](const auto& one) { return asked.by_serial.contains(one->serial); });
    auto download = download_crl(transport, asked.domain, asked.question->url,
                                 is_complete ? asked.validators : Validators{}, clock_);
    if (!download) return download.error();
    CrlFindings findings;
    if (download->is_unchanged) {
        const std::lock_guard lock(mutex_);
        if (asked.question->until > clock_.now()) return {};
        asked.question->validators = {};  // the whole list next time
        return make_problem(EPROTO, fmt::format("the CRL {} is out of date since {}",
                                                base::escape_for_log(asked.question->url, 200),
                                                base::format_rfc3339(asked.question->until)));
    }
    const base::Time now = clock_.now();
    auto list = Crl::read(download->der, *asked.certificates.front()->chain.front(),
                          asked.question->url, now);
    if (!list) {
        Problem problem = std::move(list).error();
        problem.detail =
            fmt::format("{}: {}", base::escape_for_log(asked.question->url, 200), problem.detail);
        return problem;
    }
    if (list->from() < asked.from) {
        return make_problem(EPROTO, fmt::format("the CRL is ignored: it is of {}, and we have seen "
                                                "one of {}",
                                                base::format_rfc3339(list->from()),
                                                base::format_rfc3339(asked.from)));
    }
    findings.validators = download->validators;
    findings.from = list->from();
    findings.until = list->until();
    for (const auto& certificate : asked.certificates) {
        findings.by_serial[certificate->serial] = list->find(certificate->serial);
    }
    {
        const std::lock_guard lock(mutex_);
        Question& question = *asked.question;
        question.validators = findings.validators;
        question.from = findings.from;
        question.until = findings.until;
        question.by_serial = findings.by_serial;
        for (const auto& certificate : question.certificates) {
            Item* item = item_of(*certificate);
            if (item != nullptr && item->list == asked.question) take_finding(*item, question);
        }
    }
    note_saved(asked, nullptr,
               save_crl_findings(store_, asked.question->crl, asked.question->url, findings));
    return {};
}

/// Nobody is asked for what the disk did not take: it is saved from memory as soon as that is
/// possible, until another answer is due anyway. False: that is the case.
bool Stapler::save_again(const Asked& asked) {
    Question& question = *asked.question;
    const base::Time now = clock_.now();
    std::optional<OcspAnswer> answer;
    CrlFindings findings;
    {
        const std::lock_guard lock(mutex_);
        if (question.is_saved || question.errors > 0 || question.due <= now) return false;
        if (question.crl.empty()) {
            const Item* item = item_of(*asked.certificates.front());
            if (item == nullptr || !item->unsaved) return false;
            answer = item->unsaved;
        } else {
            findings = {question.validators, question.from, question.until, question.by_serial};
        }
    }
    if (answer) {
        note_saved(asked, &*answer,
                   save_staple(store_, asked.domain.name, *asked.certificates.front(), *answer));
    } else {
        note_saved(asked, nullptr, save_crl_findings(store_, question.crl, question.url, findings));
    }
    const std::lock_guard lock(mutex_);
    give_back(asked.question, next_run_of(question, now));
    return true;
}

void Stapler::note_saved(const Asked& asked, const OcspAnswer* answer, const Outcome<void>& saved) {
    if (!saved) {
        base::log_warn("md", asked.domain.name, "{} is not saved: {}; tried again in {}",
                       answer != nullptr ? "the OCSP answer" : "what the CRL says",
                       saved.error().message(), base::format_duration(unsaved_again));
    }
    const std::lock_guard lock(mutex_);
    asked.question->is_saved = saved.ok();
    Item* item = answer != nullptr ? item_of(*asked.certificates.front()) : nullptr;
    if (item == nullptr || item->responder != asked.question) return;
    item->unsaved.reset();
    if (!saved) item->unsaved = *answer;
}

/// Of one that has just been answered.
base::Time Stapler::next_run_of(const Question& question, base::Time now) {
    return question.is_saved ? question.due
                             : std::min<base::Time>(question.due, now + unsaved_again);
}

void Stapler::finish(const Asked& asked, const Outcome<void>& outcome) {
    if (stop_.stop_requested()) return;  // nothing was learnt, and nobody waits
    Question& question = *asked.question;
    const base::Time now = clock_.now();
    base::Time next = now;
    {
        const std::lock_guard lock(mutex_);
        if (outcome) {
            question.errors = 0;
            question.last = Problem{0, {}, {}, {}, {}};
            question.last_success = now;
            next = refresh_at(question, now);
            if (next <= now) {
                next = now +
                       std::clamp<base::Duration>((question.until - now) / 2, again_min, again_max);
            }
            question.due = next;
            next = next_run_of(question, now);
        } else {
            question.errors = std::min(question.errors + 1, 1'000'000);
            question.last = outcome.error();
            next = after_failure(question, now);
        }
        question.next_run = next;  // for the job; not in the queue yet
    }
    tell_listeners(asked);  // first: programs may take their time
    tell_job(asked, outcome);
    {
        const std::lock_guard lock(mutex_);
        give_back(asked.question, next);
    }
    wake_.notify_one();
}

/// job.json of ocsp/<domain>, the log, and the events. mod_md writes that all went well whatever
/// came of it (mod_md.md 6.4).
void Stapler::tell_job(const Asked& asked, const Outcome<void>& outcome) {
    const std::string& name = asked.domain.name;
    const Question& question = *asked.question;
    const std::lock_guard reporting(asked.owner->reporting);
    auto loaded = load_job(store_, Group::Ocsp, name, clock_.now());
    Job job;
    if (loaded && *loaded) job = std::move(**loaded);
    job.name = name;
    const base::Time now = clock_.now();
    bool is_stapled = false;
    std::optional<Job::Pause> pause;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& certificate : asked.certificates) {
            const Item* item = item_of(*certificate);
            is_stapled |= item != nullptr && item->is_stapled;
        }
        job.errors = question.errors;
        job.last = question.last;
        job.next_run = std::chrono::ceil<seconds>(question.next_run);
        if (!outcome) pause = {*job.next_run, question.last.retry_after.has_value()};
    }
    job.pause(asked.key, pause, now);
    job.last_run = now;
    job.finished = outcome.ok();
    if (!outcome) {
        const std::string detail = base::escape_for_log(outcome.error().message());
        job.note(now, "ocsp-error", outcome.error().type, outcome.error().message());
        base::log_warn("md", name, "certificate {}: {}; asked again at {}",
                       asked.certificates.front()->serial, detail,
                       base::format_rfc3339(*job.next_run));
    }
    if (is_stapled) {
        const EventKind kind = outcome ? EventKind::OcspRenewed : EventKind::OcspErrored;
        (void)events_.raise({kind}, asked.domain, job);  // its failure changes nothing
    }
    if (auto saved = save_job(store_, Group::Ocsp, job); !saved) {
        base::log_warn("md", name, "{}", saved.error().message());
    }
}

void Stapler::tell_listeners(const Asked& asked) {
    struct Found {
        std::string domain;
        RevokedCertificate revoked;
        bool is_news = false;
    };
    std::vector<Found> found;
    std::map<std::string, Certificates> changed;
    StaplerListener* listener = nullptr;
    {
        const std::lock_guard lock(mutex_);
        listener = listener_;
        for (const auto& certificate : asked.certificates) {
            Item* item = item_of(*certificate);
            if (item == nullptr) continue;
            const bool is_revoked = item->status == CertificateStatus::Revoked;
            const bool is_news = !std::exchange(item->is_revocation_told, is_revoked);
            for (const auto& owner : item->owners) {
                const Domain& domain = owner->domain;
                changed[domain.name].push_back(certificate);
                if (!is_revoked || domain.revocation_check == RevocationCheck::Off) continue;
                found.push_back({domain.name,
                                 {base::hex(certificate->sha256), certificate->serial, item->reason,
                                  item->revoked_at.value_or(item->from)},
                                 is_news});
            }
        }
    }
    for (const auto& [domain, certificates] : changed) port_.staples_changed(domain, certificates);
    for (const Found& one : found) {
        if (one.is_news) {
            base::log_error("md", one.domain, "certificate {} was revoked at {} ({}), as {} says",
                            one.revoked.serial, base::format_rfc3339(one.revoked.when),
                            one.revoked.reason, base::escape_for_log(asked.question->url, 200));
        }
        if (listener != nullptr) listener->on_revoked(one.domain, one.revoked);
    }
    if (listener == nullptr) return;
    for (const auto& entry : changed) listener->on_staple_report(entry.first);
}

}  // namespace md
