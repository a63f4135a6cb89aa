#include "staple_invariants.h"

#include <algorithm>

#include "md/staple_file.h"
#include "sim_world.h"

namespace md::test {

namespace {

using std::chrono::hours;
using std::chrono::seconds;
constexpr hours day{24};

constexpr base::Duration tolerance = seconds{1};  // job.json knows whole seconds
constexpr base::Duration back_off_max = hours{36};
constexpr base::Duration plan_max = day * 7 + hours{36};
constexpr base::Duration slack = hours{1};
constexpr base::Duration replaced_max = day * 3 + hours{2};
constexpr size_t questions_max = 86;
constexpr size_t questions_of_an_excuse = 4;
constexpr size_t urgent_questions_max = 24 * 60 / 5;

bool is_stapled(const Domain& domain, const tls::Certificate& certificate) {
    return !certificate.ocsp_url.empty() && (domain.stapling || certificate.must_staple);
}

std::string text_of(const tls::Der& der) {
    return {der.begin(), der.end()};
}

}  // namespace

std::string StapleInvariants::key_of(const tls::Certificate& certificate) {
    return certificate.ocsp_url + " " + certificate.serial;
}

const StapleInvariants::Watch* StapleInvariants::find(const tls::Certificate& certificate) const {
    const auto at = watches_.find(key_of(certificate));
    return at == watches_.end() ? nullptr : &at->second;
}

SimResponder* StapleInvariants::responder_of(const tls::Certificate& certificate) const {
    for (const auto& ca : world_.cas_) {
        if (ca->responder().url() == certificate.ocsp_url) return &ca->responder();
    }
    return nullptr;
}

bool StapleInvariants::was_revoked(const tls::Certificate& certificate) const {
    const Watch* watch = find(certificate);
    return watch != nullptr && watch->was_revoked;
}

// ---- questions and answers

void StapleInvariants::on_question(const SimResponder& responder, const HttpRequest& request,
                                   const std::string& serial) {
    const base::Time now = world_.clock_.true_now();
    Watch& watch = watches_[responder.url() + " " + serial];
    watch.domain = request.proxy.substr(std::string("http://").size());
    if (!watch.was_served) world_.invariants_.on_obtain(watch.domain);
    if (watch.silence && now + tolerance < watch.silence->until) {
        world_.invariants_.fail(fmt::format(
            "{} {} about {} of {}, though the responder asked for silence until {}", request.method,
            responder.url(), serial, watch.domain, base::format_rfc3339(watch.silence->until)));
    }
    watch.silence.reset();
    if (request.method != "GET") return;
    watch.questions.push_back(now);
    while (watch.questions.front() < now - day) watch.questions.pop_front();
    while (!excuses_.empty() && excuses_.front() < now - day) excuses_.pop_front();
    const Domain& domain = world_.domain(watch.domain);
    const size_t allowed = questions_max + questions_of_an_excuse * excuses_.size() +
                           (domain.must_staple ? urgent_questions_max : 0);
    if (watch.questions.size() > allowed) {
        world_.invariants_.fail(
            fmt::format("{} questions about {} of {} within a day, {} are allowed",
                        watch.questions.size(), serial, watch.domain, allowed));
    }
}

void StapleInvariants::on_answer(const SimResponder& responder, const HttpRequest&,
                                 const SimResponder::Given& given) {
    const std::string key = responder.url() + " " + given.serial;
    Watch& watch = watches_[key];
    const base::Time machine = world_.clock_.now();
    News news{.key = key};
    if (given.silence) {
        watch.silence = {.until = world_.clock_.true_now() + *given.silence};
        watch.silent_until = std::max(watch.silent_until, watch.silence->until);
        news.is_silence = true;
        world_.invariants_.on_silence(watch.domain, watch.silence->until);
    }
    // What a machine cannot know to be out of date, or of tomorrow, is as good as any.
    const bool is_believable = given.from <= machine + ocsp_skew_max && given.until > machine;
    if (is_believable && given.status == CertificateStatus::Good) {
        (void)watch.good.emplace(given.body, false);
        news.good = given.body;
    }
    if (is_believable && given.status == CertificateStatus::Revoked) {
        // Each process learns it, unless the one before wrote it down.
        if (!std::exchange(watch.is_known, true)) world_.invariants_.on_revoked(watch.domain);
        watch.was_revoked = true;
        news.is_revoked = true;
    }
    news_.push_back(std::move(news));
}

/// The step in which it was heard is over, and the process is still there.
void StapleInvariants::settle_news(bool is_well) {
    const bool is_clock_right = world_.clock_.error() == base::Duration::zero();
    for (const News& news : news_) {
        Watch& watch = watches_[news.key];
        if (news.is_silence && watch.silence) watch.silence->is_durable = is_well;
        if (!news.good.empty() && is_well && is_clock_right) watch.good[news.good] = true;
        if (news.is_revoked && is_well && !watch.told) watch.told = world_.clock_.true_now();
    }
    news_.clear();
}

// ---- the process

bool StapleInvariants::is_durable(const std::optional<Silence>& silence) {
    return silence && silence->is_durable;
}

void StapleInvariants::on_start(bool is_well) {
    excuses_.push_back(world_.clock_.true_now());
    news_.clear();
    publications_.clear();
    for (auto& [key, watch] : watches_) {
        if (!is_well || !is_durable(watch.silence)) watch.silence.reset();
        if (!is_well) {
            watch.stored_until = base::Time::min();
            watch.told.reset();
        }
        watch.kept_until = watch.stored_until;
        watch.is_known = false;
    }
    has_started_ = true;
    certificates_at_start_ = world_.counts().certificates;
    files_at_start_ = files();
    if (is_well && world_.engine_ != nullptr) check_removed();
}

void StapleInvariants::on_settings(const std::string& domain) {
    excuses_.push_back(world_.clock_.true_now());
    for (auto& [key, watch] : watches_) {
        if (watch.domain != domain) continue;
        watch.stapled_since.reset();
        if (!is_durable(watch.silence)) watch.silence.reset();
    }
}

void StapleInvariants::on_taken_out(const std::string& domain) {
    on_settings(domain);
    for (auto& [key, watch] : watches_) {
        if (watch.domain == domain) watch.kept_until = watch.stored_until;
    }
}

void StapleInvariants::on_jump() {
    excuses_.push_back(world_.clock_.true_now());
    // A clock that is set back makes an answer good again that had ended. Workers, who were told of
    // its end, would learn it with the next one.
    if (world_.engine_ != nullptr) {
        for (const auto& [domain, served] : world_.ports_.served) world_.workers_.take(served);
    }
    for (auto& [key, watch] : watches_) {
        watch.silence.reset();
        watch.kept_until = watch.stored_until = base::Time::min();
        for (auto& [answer, is_stored] : watch.good) is_stored = false;
    }
}

// ---- after each step

void StapleInvariants::after_step(bool is_well) {
    settle_news(is_well);
    if (world_.engine_ == nullptr) return;
    for (const Domain& domain : world_.domains_) {
        const auto& served = world_.ports_.served[domain.name];
        const bool is_published =
            world_.ports_.publications[domain.name] != publications_[domain.name];
        publications_[domain.name] = world_.ports_.publications[domain.name];
        if (is_published) world_.workers_.take(served);
        for (const auto& one : served) {
            if (!one->fallback) check_staple(domain, *one);
        }
        check_revoked(domain, served);
        if (is_published) check_keys(domain, served);
    }
    has_started_ = false;
    if (++steps_ % 32 == 0) check_bounds();
}

void StapleInvariants::check_staple(const Domain& domain, const tls::Certificate& certificate) {
    const base::Time machine = world_.clock_.now();
    Watch& watch = watches_[key_of(certificate)];
    watch.domain = domain.name;
    const bool is_new = !std::exchange(watch.was_served, true);
    const auto staple = world_.stapler_->staple_of(certificate);
    const auto fail = [&](const std::string& text) {
        world_.invariants_.fail(
            fmt::format("certificate {} of {}: {}", certificate.serial, domain.name, text));
    };
    if (staple && staple->until <= machine) fail("its staple is out of date");
    if (world_.workers_.staple_of(certificate, machine) != staple) {
        fail("workers were not told of its staple");
    }
    if (!is_stapled(domain, certificate)) {
        if (staple) fail("is stapled, though nobody wants it");
        watch.stapled_since.reset();
        watch.kept_until = watch.stored_until;
        return;
    }
    if (!watch.stapled_since) watch.stapled_since = world_.clock_.true_now();
    if (!staple) {
        if (is_new && certificate.must_staple && !has_started_) {
            fail("must be stapled, and goes live without a staple");
        }
        if (watch.kept_until > machine && !watch.was_revoked) {
            fail(fmt::format("had a staple until {}, and has none",
                             base::format_rfc3339(watch.kept_until)));
        }
        // What a start finds out of date is asked for in the next step.
        if (!has_started_) check_missing(domain, certificate, watch);
        return;
    }
    if (watch.told || watch.is_known) fail("is stapled, though it was revoked");
    if (watch.staple != staple) {
        const auto given = watch.good.find(text_of(staple->response));
        if (given == watch.good.end()) fail("its staple is no good answer about it");
        const bool is_other = !watch.staple || watch.staple->response != staple->response;
        if (given->second && is_other) watch.stored_until = staple->until;
    }
    watch.staple = staple;
    watch.kept_until = staple->until;
}

void StapleInvariants::check_missing(const Domain& domain, const tls::Certificate& certificate,
                                     const Watch& watch) const {
    const SimResponder& responder = *responder_of(certificate);
    if (responder.has_revoked(certificate.serial) || responder.fault() != ResponderFault::None ||
        world_.files_.trouble() != SimFiles::Trouble::None ||
        world_.clock_.error() != base::Duration::zero()) {
        return;
    }
    const base::Time good = std::max({responder.good_since(), world_.store_good_since_,
                                      world_.up_since_, watch.silent_until, *watch.stapled_since});
    const base::Time asked_by = std::max(good + back_off_max, world_.clock_good_since_ + plan_max);
    if (world_.clock_.true_now() <= asked_by + slack) return;
    world_.invariants_.fail(
        fmt::format("certificate {} of {} has no staple, although the weather is good since {}",
                    certificate.serial, domain.name, base::format_rfc3339(good)));
}

void StapleInvariants::check_revoked(const Domain& domain,
                                     const std::vector<CertificatePtr>& served) const {
    if (domain.revocation_check == RevocationCheck::Off) return;
    for (const auto& one : served) {
        const Watch* watch = one->fallback ? nullptr : find(*one);
        if (watch == nullptr || !watch->told) continue;
        const bool is_alone = std::none_of(served.begin(), served.end(), [&](const auto& other) {
            return !other->fallback && !was_revoked(*other);
        });
        if (!is_alone && !world_.invariants_.is_served_excused()) {
            world_.invariants_.fail(
                fmt::format("certificate {} of {} was revoked, and is served beside another",
                            one->serial, domain.name));
        }
        const auto good = world_.invariants_.good_since(domain);
        if (good && world_.clock_.true_now() - replaced_max > std::max(*good, *watch->told)) {
            world_.invariants_.fail(fmt::format(
                "certificate {} of {} was revoked, and is not replaced, although the weather is "
                "good since {}",
                one->serial, domain.name, base::format_rfc3339(*good)));
        }
    }
}

void StapleInvariants::check_keys(const Domain& domain,
                                  const std::vector<CertificatePtr>& served) const {
    const auto at = world_.lost_keys_.find(domain.name);
    if (at == world_.lost_keys_.end()) return;
    for (const auto& one : served) {
        if (one->fallback || responder_of(*one)->has_revoked(one->serial)) continue;
        if (std::find(at->second.begin(), at->second.end(), key_text(*one)) == at->second.end()) {
            continue;
        }
        world_.invariants_.fail(fmt::format(
            "certificate {} of {} has the key of one that was revoked", one->serial, domain.name));
    }
}

/// Without those that a start clears up.
size_t StapleInvariants::files() const {
    const auto paths = world_.files_.paths();
    return static_cast<size_t>(std::count_if(paths.begin(), paths.end(), [](const auto& path) {
        return path.starts_with("ocsp/") && path.find(".tmp.") == std::string::npos;
    }));
}

void StapleInvariants::check_bounds() {
    const size_t made = world_.counts().certificates - certificates_at_start_;
    const size_t allowed = files_at_start_ + world_.certificates() + made + world_.domains_.size();
    if (files() > allowed) {
        world_.invariants_.fail(fmt::format("{} files in ocsp/, {} are allowed", files(), allowed));
    }
}

/// A start has removed what is old, and of no use to anybody.
void StapleInvariants::check_removed() const {
    const base::Duration keep = world_.settings_.stapling_keep_response.of(day * 7);
    // Also what is withdrawn because it was revoked, and what nobody asks about just now.
    std::set<std::string> used;
    for (const StapleRow& row : world_.stapler_->rows()) used.insert(staple_file(*row.certificate));
    for (const auto& [domain, served] : world_.ports_.served) {
        for (const auto& one : served) used.insert(staple_file(*one));
    }
    for (const std::string& path : world_.files_.paths()) {
        if (!path.starts_with("ocsp/") || path.ends_with("/job.json")) continue;
        const bool is_old = *world_.files_.modified(path) < world_.clock_.now() - keep;
        if (is_old && !used.contains(path.substr(path.rfind('/') + 1))) {
            world_.invariants_.fail(path + " is kept for nothing");
        }
    }
}

}  // namespace md::test
