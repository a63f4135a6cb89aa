#include "md/stapler.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/poll.h"

namespace md {

namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

/// A thread without work looks at the clock so often: wall time may have jumped (faults.md PR-15).
constexpr base::Duration idle_max = seconds{60};
/// Answers may hold for years; who revokes wants to be heard before (faults.md OC-12).
constexpr base::Duration refresh_max = hours{7 * 24};
/// CAs issue lists several times a day, long before the old one ends.
constexpr base::Duration list_refresh_max = hours{6};
constexpr base::Duration urgent_max = minutes{5};
/// Before a good answer's end it is tried more often than the back-off says.
constexpr base::Duration near_end_min = minutes{10};
/// Nothing is ever planned further ahead: a day of back-off and its jitter, or refresh_max.
constexpr base::Duration plan_max = refresh_max + hours{36};

}  // namespace

Stapler::Plan Stapler::plan_for(const Domain& domain, const tls::Certificate& certificate) {
    Plan plan;
    if (certificate.fallback || certificate.chain.empty()) return plan;
    const RevocationCheck check = domain.revocation_check;
    const bool has_responder = !certificate.ocsp_url.empty();
    // A certificate that promises staples is of little use without (RFC 7633).
    plan.is_stapled = has_responder && (domain.stapling || certificate.must_staple);
    plan.asks_responder =
        plan.is_stapled ||
        (has_responder && (check == RevocationCheck::Auto || check == RevocationCheck::Ocsp));
    plan.reads_list =
        check == RevocationCheck::Crl || (check == RevocationCheck::Auto && !has_responder);
    return plan;
}

size_t Stapler::DigestHash::operator()(const Digest& digest) const {
    size_t hash = 0;
    std::memcpy(&hash, digest.data(), sizeof hash);
    return hash;
}

Stapler::Stapler(EngineSettings settings, Store& store, base::Clock& clock, base::Random& random,
                 TransportFactory transports, StaplePort& port, Commands& commands)
    : settings_(std::move(settings)),
      store_(store),
      clock_(clock),
      random_(random),
      transport_factory_(std::move(transports)),
      port_(port),
      events_(commands, clock, settings_, stop_.get_token()) {}

Stapler::~Stapler() {
    stop();
}

void Stapler::set_listener(StaplerListener* listener) {
    const std::lock_guard lock(mutex_);
    listener_ = listener;
}

// ---- what is watched

void Stapler::watch(const Domain& domain, const Certificates& certificates) {
    std::vector<Digest> watched;
    bool is_change = false;
    {
        const std::lock_guard lock(mutex_);
        if (const auto owner = owners_.find(domain.name); owner != owners_.end()) {
            is_change = !(owner->second->domain == domain);
            // Under other settings everything about it is looked at anew.
            if (!is_change) watched = watched_.at(domain.name);
        }
    }
    std::vector<Known> known;
    std::optional<Pauses> pauses;
    for (const auto& certificate : certificates) {
        if (std::find(watched.begin(), watched.end(), certificate->sha256) != watched.end()) {
            known.push_back({.certificate = certificate});
            continue;
        }
        if (!pauses) pauses = load_pauses(domain.name, is_change);
        known.push_back(look_up(domain, certificate, *pauses));
    }

    const std::lock_guard lock(mutex_);
    std::shared_ptr<Owner>& owner = owners_[domain.name];
    std::vector<Digest>& list = watched_[domain.name];
    std::vector<Digest> former = std::exchange(list, {});
    if (!owner || is_change) {
        for (Known& one : known) {
            const auto at = items_.find(one.certificate->sha256);
            if (at != items_.end()) one.former_list = at->second.list;
        }
        for (const Digest& digest : former) drop(owner, digest);
        former.clear();
        owner = std::make_shared<Owner>();
        owner->domain = domain;
    }
    for (Known& one : known) {
        const Digest digest = one.certificate->sha256;
        if (std::find(list.begin(), list.end(), digest) != list.end()) continue;
        list.push_back(digest);
        const auto at = std::find(former.begin(), former.end(), digest);
        if (at != former.end()) {
            former.erase(at);
        } else {
            add(owner, std::move(one));
        }
        obtained_.erase(digest);
    }
    for (const Digest& digest : former) drop(owner, digest);
    if (list.empty()) {
        watched_.erase(domain.name);
        owners_.erase(domain.name);
    }
    wake_.notify_all();  // there may be work for each of them
}

/// What responders have asked for, or the back-off had come to, before a restart. A change of
/// settings may have mended what failed: then just the former counts.
Stapler::Pauses Stapler::load_pauses(const std::string& owner, bool is_change) const {
    Pauses pauses;
    const base::Time now = clock_.now();
    auto job = load_job(store_, Group::Ocsp, owner, now);
    if (!job || !*job) return pauses;
    for (const auto& [question, pause] : (*job)->pauses) {
        // Further ahead than a back-off ever leads: by a clock that was wrong.
        const bool is_possible = pause.until > now && pause.until <= now + hours{36};
        if (is_possible && (pause.is_asked_for || !is_change)) pauses[question] = pause.until;
    }
    return pauses;
}

/// What is stapled now, and what the disk did not take.
std::optional<Stapler::Obtained> Stapler::answer_in_memory(
    const tls::Certificate& certificate) const {
    const std::lock_guard lock(mutex_);
    if (const auto at = obtained_.find(certificate.sha256); at != obtained_.end()) {
        return at->second;
    }
    const auto at = items_.find(certificate.sha256);
    if (at == items_.end()) return std::nullopt;
    const Item& item = at->second;
    if (item.unsaved) return Obtained{*item.unsaved, false};
    if (!item.staple) return std::nullopt;
    return Obtained{{.response = item.staple->response,
                     .status = item.status,
                     .from = item.from,
                     .until = item.until,
                     .revoked_at = {},
                     .reason = {}}};
}

std::optional<OcspAnswer> Stapler::stored_answer(const std::string& owner,
                                                 const tls::Certificate& certificate) const {
    auto question = OcspQuestion::about(certificate);
    if (!question) return std::nullopt;
    auto stored = load_staple(store_, owner, certificate, *question, clock_.now());
    if (stored) return std::move(stored).value();
    base::log_info("md", owner, "{}; the responder is asked",
                   base::escape_for_log(stored.error().message()));
    return std::nullopt;
}

Stapler::Known Stapler::look_up(const Domain& domain,
                                const std::shared_ptr<const tls::Certificate>& certificate,
                                const Pauses& pauses) {
    Known known{.certificate = certificate};
    const Plan plan = plan_for(domain, *certificate);
    const auto pause_of = [&](const std::string& question) {
        const auto at = pauses.find(question);
        return at == pauses.end() ? std::nullopt : std::optional(at->second);
    };
    if (plan.asks_responder) {
        known.answer = answer_in_memory(*certificate);
        // It may have been a site's file until now.
        for (const std::string& owner : {domain.name, std::string(other_owner)}) {
            if (known.answer) break;
            if (auto stored = stored_answer(owner, *certificate)) {
                known.answer = Obtained{std::move(*stored)};
            }
        }
        known.responder_pause = pause_of(staple_file(*certificate));
    }
    if (plan.reads_list) known.crl_url = crl_url(*certificate);
    if (!known.crl_url.empty()) {
        const std::string file = crl_file(known.crl_url, *certificate->chain.front());
        bool is_known = false;
        {
            const std::lock_guard lock(mutex_);
            is_known = lists_.contains(file);
        }
        if (!is_known) known.findings = load_crl_findings(store_, file);
        known.list_pause = pause_of(file);
    }
    return known;
}

void Stapler::add(const std::shared_ptr<Owner>& owner, Known known) {
    const Plan plan = plan_for(owner->domain, *known.certificate);
    Item& item = items_[known.certificate->sha256];
    item.certificate = known.certificate;
    item.owners.push_back(owner);
    item.is_stapled |= plan.is_stapled;
    if (plan.asks_responder) add_responder(item, plan, known);
    if (!known.crl_url.empty() && !item.list) add_list(item, std::move(known));
}

void Stapler::add_responder(Item& item, const Plan& plan, const Known& known) {
    const base::Time now = clock_.now();
    if (item.responder) {
        // Another domain has it, too; until now nobody may have kept the answer itself.
        const bool is_older = known.answer && known.answer->answer.from < item.responder->from;
        if (known.answer && !item.staple && !is_older) take_known(item, *known.answer);
        if (!plan.is_stapled || item.staple || item.responder->errors > 0) return;
        if (queue_.erase(item.responder) == 0) return;  // it is being asked
        item.responder->next_run = now;
        queue_.insert(item.responder);
        return;
    }
    item.responder = make_question(item.certificate->ocsp_url, item.owners.back(), now);
    item.responder->certificates.push_back(item.certificate);
    if (known.answer) {
        take_known(item, *known.answer);
        // What was revoked is asked about again: nobody may have been told before the restart.
        if (known.answer->answer.status == CertificateStatus::Good) {
            item.responder->due = refresh_at(*item.responder, now);
            item.responder->next_run = next_run_of(*item.responder, now);
        }
    }
    if (known.responder_pause) {
        item.responder->next_run = std::max(item.responder->next_run, *known.responder_pause);
    }
    if (const auto at = pauses_.find(item.certificate->sha256); at != pauses_.end()) {
        item.responder->next_run = std::max(item.responder->next_run, at->second);
    }
    queue_.insert(item.responder);
}

void Stapler::take_known(Item& item, const Obtained& known) {
    take_answer(item, known.answer);
    if (item.list) take_finding(item, *item.list);
    item.responder->from = known.answer.from;
    item.responder->until = known.answer.until;
    item.responder->is_saved = known.is_saved;
    if (!known.is_saved) item.unsaved = known.answer;
}

/// Other settings change nothing about what a CRL has said.
void Stapler::take_former(Question& list, const Question& former) {
    list.validators = former.validators;
    list.from = former.from;
    list.until = former.until;
    list.by_serial = former.by_serial;
    list.is_saved = former.is_saved;
}

void Stapler::add_list(Item& item, Known known) {
    const base::Time now = clock_.now();
    const std::string file = crl_file(known.crl_url, *item.certificate->chain.front());
    std::shared_ptr<Question>& list = lists_[file];
    const bool is_new = list == nullptr;
    if (is_new) {
        list = make_question(known.crl_url, item.owners.back(), now);
        list->crl = file;
        if (known.former_list && known.former_list->crl == file) {
            take_former(*list, *known.former_list);
        } else if (known.findings) {
            list->validators = known.findings->validators;
            list->from = known.findings->from;
            list->until = known.findings->until;
            list->by_serial = std::move(known.findings->by_serial);
        }
        if (list->until > now && !is_of_the_future(list->from, now)) {
            list->due = refresh_at(*list, now);
            list->next_run = next_run_of(*list, now);
        } else {
            list->validators = {};
            list->from = list->until = {};
            list->by_serial.clear();
            list->is_saved = true;
        }
    }
    item.list = list;
    list->certificates.push_back(item.certificate);
    take_finding(item, *list);
    if (!is_new && !list->is_running) queue_.erase(list);
    // Of a new serial, nothing is known without the list itself; a revoked one is looked at again.
    const bool is_known = item.status == CertificateStatus::Good &&
                          list->by_serial.contains(item.certificate->serial);
    if (!is_known && list->errors == 0) list->next_run = now;
    if (is_new && known.list_pause) list->next_run = std::max(list->next_run, *known.list_pause);
    if (!list->is_running) queue_.insert(list);
}

/// `owner` has it no longer. For those who still have it all goes on as they want it.
void Stapler::drop(const std::shared_ptr<Owner>& owner, const Digest& digest) {
    const auto at = items_.find(digest);
    if (at == items_.end()) return;
    Item& item = at->second;
    std::erase(item.owners, owner);
    Plan left;
    for (const auto& other : item.owners) {
        const Plan plan = plan_for(other->domain, *item.certificate);
        left.asks_responder |= plan.asks_responder;
        left.is_stapled |= plan.is_stapled;
        left.reads_list |= plan.reads_list;
    }
    item.is_stapled = left.is_stapled;
    if (!left.is_stapled) item.staple = nullptr;
    if (item.responder && !left.asks_responder) forget_responder(item);
    if (item.responder && item.responder->owner == owner) {
        item.responder->owner = item.owners.front();
    }
    const std::shared_ptr<Question> list = item.list;
    if (list && !left.reads_list) forget_list(item);
    if (list && list->owner == owner && !list->certificates.empty()) {
        list->owner = item_of(*list->certificates.front())->owners.front();
    }
    if (item.owners.empty()) items_.erase(at);
}

void Stapler::forget_responder(Item& item) {
    queue_.erase(item.responder);
    item.responder = nullptr;
    item.unsaved.reset();
}

void Stapler::forget_list(Item& item) {
    auto& certificates = item.list->certificates;
    std::erase_if(certificates,
                  [&](const auto& one) { return one->sha256 == item.certificate->sha256; });
    if (certificates.empty()) {
        queue_.erase(item.list);
        lists_.erase(item.list->crl);
    }
    item.list = nullptr;
}

std::shared_ptr<Stapler::Question> Stapler::make_question(std::string url,
                                                          const std::shared_ptr<Owner>& owner,
                                                          base::Time when) {
    auto question = std::make_shared<Question>();
    question->url = std::move(url);
    question->owner = owner;
    question->next_run = when;
    question->number = questions_made_++;
    return question;
}

Stapler::Item* Stapler::item_of(const tls::Certificate& certificate) {
    const auto at = items_.find(certificate.sha256);
    return at == items_.end() ? nullptr : &at->second;
}

void Stapler::take_answer(Item& item, const OcspAnswer& answer) {
    item.status = answer.status;
    item.from = answer.from;
    item.until = answer.until;
    item.revoked_at = answer.revoked_at;
    item.reason = answer.reason;
    item.staple = nullptr;
    // One that says "revoked" is not stapled (faults.md OC-09): it can only do harm.
    if (item.is_stapled && answer.status == CertificateStatus::Good) {
        item.staple =
            std::make_shared<const tls::Staple>(tls::Staple{answer.response, answer.until});
    }
}

void Stapler::take_finding(Item& item, const Question& list) {
    const auto at = list.by_serial.find(item.certificate->serial);
    if (at == list.by_serial.end()) return;
    const bool is_revoked = at->second.has_value();
    // Of two sources the one that warns is believed.
    if (item.responder && !is_revoked) return;
    item.status = is_revoked ? CertificateStatus::Revoked : CertificateStatus::Good;
    item.from = list.from;
    item.until = list.until;
    item.revoked_at.reset();
    item.reason.clear();
    if (!is_revoked) return;
    item.revoked_at = at->second->revoked_at;
    item.reason = at->second->reason;
    item.staple = nullptr;
}

std::shared_ptr<const tls::Staple> Stapler::staple_of(const tls::Certificate& certificate) {
    const std::lock_guard lock(mutex_);
    const Item* item = item_of(certificate);
    if (item == nullptr || !item->staple || item->staple->until <= clock_.now()) return nullptr;
    return item->staple;
}

// ---- when

/// The renew window, with a jitter, so that answers of the same age are not all asked for at once.
base::Time Stapler::refresh_at(const Question& question, base::Time now) {
    const base::Duration life = question.until - question.from;
    const base::Duration wait_max = question.crl.empty() ? refresh_max : list_refresh_max;
    // Without a look in this process, its age tells when the last one may have been.
    const base::Time last_look =
        std::clamp<base::Time>(question.last_success.value_or(question.from), now - wait_max, now);
    const base::Time due =
        std::min(question.until - settings_.stapling_renew_window.of(life), last_look + wait_max);
    // Of the wait and of what is left after it the smaller gives the measure, within what is
    // planned at all (plan_max).
    const base::Duration measure = std::min({question.until - due, due - question.from, wait_max});
    const int64_t spread = std::max<int64_t>(1, measure.count() / 8);
    return due + base::Duration(static_cast<int64_t>(random_.below(static_cast<uint64_t>(spread))));
}

/// The back-off of renewals; sooner where clients would notice.
base::Time Stapler::after_failure(const Question& question, base::Time now) {
    const Problem& problem = question.last;
    base::Duration wait = retry_after(question.errors, problem, settings_.retry_delay,
                                      base::Duration::zero(), random_);
    if (!problem.retry_after && question.crl.empty()) {
        const tls::Certificate& certificate = *question.certificates.front();
        if (question.until > now) {
            wait =
                std::min(wait, std::max<base::Duration>(near_end_min, (question.until - now) / 2));
        } else if (certificate.must_staple) {
            wait = std::min<base::Duration>(wait, urgent_max);
        }
    }
    return now + wait;
}

/// What lies further ahead than anything is ever planned was planned by a clock that was wrong.
void Stapler::replan(base::Time now) {
    while (!queue_.empty() && (*queue_.rbegin())->next_run > now + plan_max) {
        const std::shared_ptr<Question> question = *queue_.rbegin();
        queue_.erase(question);
        question->next_run = now;
        queue_.insert(question);
    }
}

std::shared_ptr<Stapler::Question> Stapler::take_due(base::Time now) {
    replan(now);
    if (queue_.empty() || (*queue_.begin())->next_run > now) return nullptr;
    std::shared_ptr<Question> question = *queue_.begin();
    queue_.erase(queue_.begin());
    question->is_running = true;
    return question;
}

void Stapler::give_back(const std::shared_ptr<Question>& question, base::Time when) {
    question->is_running = false;
    question->next_run = when;
    const bool is_complete = std::all_of(
        question->certificates.begin(), question->certificates.end(), [&](const auto& one) {
            return question->crl.empty() || question->by_serial.contains(one->serial);
        });
    // A certificate came while the list was read.
    if (!is_complete && question->errors == 0) question->next_run = base::Time::min();
    // Its certificates may be gone meanwhile (faults.md OC-17).
    const bool is_list = !question->crl.empty();
    const Item* item = is_list ? nullptr : item_of(*question->certificates.front());
    const auto list = lists_.find(question->crl);
    const bool is_used = is_list ? list != lists_.end() && list->second == question
                                 : item != nullptr && item->responder == question;
    if (is_used) queue_.insert(question);
}

std::optional<base::Time> Stapler::next_due() const {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) return std::nullopt;
    return (*queue_.begin())->next_run;
}

// ---- threads

void Stapler::start() {
    if (!threads_.empty()) return;
    for (int i = 0; i < parallel_max; ++i) {
        threads_.emplace_back([this, i] {
            if (i == 0) remove_old();
            work();
        });
    }
}

void Stapler::stop() {
    {
        const std::lock_guard lock(mutex_);
        stop_.request_stop();
        for (Transport* transport : transports_) transport->cancel();
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
}

void Stapler::remove_old() {
    std::set<std::string> used;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [digest, item] : items_) used.insert(staple_file(*item.certificate));
        for (const auto& [file, list] : lists_) used.insert(file);
    }
    const base::Duration keep = settings_.stapling_keep_response.of(hours{7 * 24});
    const size_t removed = remove_old_staples(store_, used, keep, clock_.now());
    if (removed > 0) base::log_info("md", "", "{} old OCSP answers are removed", removed);
}

void Stapler::work() {
    const std::unique_ptr<Transport> transport = transport_factory_();
    std::unique_lock lock(mutex_);
    transports_.insert(transport.get());
    while (!stop_.stop_requested()) {
        const base::Time now = clock_.now();
        const std::shared_ptr<Question> question = take_due(now);
        if (!question) {
            const base::Duration next =
                queue_.empty() ? idle_max : (*queue_.begin())->next_run - now;
            wake_.wait_for(lock, std::min(next, idle_max));
            continue;
        }
        lock.unlock();
        ask(question, *transport);
        lock.lock();
    }
    transports_.erase(transport.get());
}

size_t Stapler::run_due() {
    if (!own_transport_) own_transport_ = transport_factory_();
    size_t asked = 0;
    while (!stop_.stop_requested()) {
        std::shared_ptr<Question> question;
        {
            const std::lock_guard lock(mutex_);
            question = take_due(clock_.now());
        }
        if (!question) break;
        ask(question, *own_transport_);
        ++asked;
    }
    return asked;
}

}  // namespace md
