#include "invariants.h"

#include "catch.h"
#include "sim_world.h"

namespace md::test {

namespace {

using std::chrono::hours;
using std::chrono::seconds;
constexpr hours day{24};

constexpr base::Duration last_day = day;
constexpr base::Duration at_the_end_max = seconds{60};  // a set that waits for its activation
constexpr base::Duration in_time_max = day * 3 + hours{2};
constexpr base::Duration plan_max = hours{37};  // a back-off at the most, and replan()'s slack
constexpr base::Duration read_again_max = plan_max;
constexpr base::Duration tolerance = seconds{1};  // ari.json knows whole seconds
constexpr size_t attempts_of_a_series = 15;       // 15 s × 2^n reaches a day with n = 13
constexpr size_t job_bytes_max = 256 * 1024;
constexpr size_t files_max = 3000;

/// Requests name the domain that they are made for in the CA file that they trust.
std::string domain_of(const HttpRequest& request) {
    const size_t slash = request.ca_file.rfind('/') + 1;
    return request.ca_file.substr(slash, request.ca_file.rfind('.') - slash);
}

bool is_renewal_info(const std::string& path) {
    return path.starts_with("/renewal-info/");
}

std::string kind_of(const tls::Certificate& certificate) {
    return certificate.curve.empty() ? "rsa" : certificate.curve;
}

/// The least that passes between a failure and the next attempt, if what is served ends at `end`.
base::Duration back_off_min(int errors, base::Time failed_at, base::Time end) {
    base::Duration delay = seconds{30};
    for (int i = 1; i < errors && delay < day; ++i) delay *= 2;
    delay = std::min<base::Duration>(delay, day) / 2;
    const base::Duration left = end - failed_at;
    return left > base::Duration::zero()
               ? std::min(delay, std::max<base::Duration>(left / 2, hours{1}))
               : delay;
}

}  // namespace

void Invariants::fail(const std::string& text) const {
    std::string calendar;
    for (const auto& ca : world_.cas_) {
        calendar += fmt::format("; {}: {}; {}: {}", ca->directory(), name_of(ca->fault()),
                                ca->responder().url(), name_of(ca->responder().fault()));
    }
    if (const char* path = std::getenv("MDFRONT_SIM_DUMP"); path && world_.files_.bytes(path)) {
        fmt::print("{}\n", *world_.files_.bytes(path));
    }
    FAIL("seed " << world_.seed_ << " at " << base::format_rfc3339(world_.clock_.true_now()) << ": "
                 << text << calendar << "; replay: MDFRONT_SIM_SEED=" << world_.seed_);
    throw std::logic_error("FAIL does not return");
}

// ---- requests and answers

bool Invariants::is_driving(const std::string& domain) const {
    for (const DomainSummary& summary : world_.engine_->summaries()) {
        if (summary.name == domain) return !summary.activity.empty();
    }
    return false;
}

void Invariants::on_request(SimCa& ca, const HttpRequest& request) {
    const std::string domain = domain_of(request);
    Watch& watch = watches_[domain];
    const base::Time now = world_.clock_.true_now();
    const std::string path = ca.path_of(request.url);
    const bool is_directory = path == "/dir";
    const bool is_advice = is_renewal_info(path) || (is_directory && !is_driving(domain));

    check_silence(fmt::format("poll {}", request.url), request, watch);
    check_silence(fmt::format("{}{}", is_advice ? "advice of " : "", ca.directory()), request,
                  watch);
    if (is_renewal_info(path)) check_silence(request.url, request, watch);
    if (path.starts_with("/finalize/")) {
        const std::string order = path.substr(std::string("/finalize").size());
        const auto& finalized = ca.ca().finalized;
        if (const auto at = finalized.find(order); at != finalized.end() && at->second > 0) {
            fail(fmt::format("{} of {} is finalized again", order, domain));
        }
    }
    if (is_directory && !is_advice) check_attempt(domain, watch);
    watch.last_request = now;
}

void Invariants::check_silence(const std::string& key, const HttpRequest& request, Watch& watch) {
    const auto silence = watch.silences.find(key);
    if (silence == watch.silences.end()) return;
    if (world_.clock_.true_now() + tolerance < silence->second.until) {
        fail(fmt::format("{} {} for {}, though the CA asked for silence until {}", request.method,
                         request.url, domain_of(request),
                         base::format_rfc3339(silence->second.until)));
    }
    watch.silences.erase(silence);
}

void Invariants::check_attempt(const std::string& domain, Watch& watch) {
    const base::Time now = world_.clock_.true_now();
    if (watch.is_errors_known && watch.errors > 0) {
        const base::Duration passed = now - watch.last_request;
        // As the machine saw it, whose clock has not changed since.
        const base::Time failed_at = watch.last_request + world_.clock_.error();
        base::Time end = base::Time::max();
        for (const auto& one : world_.ports_.served[domain]) {
            if (!one->fallback && one->not_after > failed_at) end = std::min(end, one->not_after);
        }
        if (passed + tolerance < back_off_min(watch.errors, failed_at, end)) {
            fail(fmt::format("{} is tried {} s after failure {} in a row", domain,
                             passed.count() / 1000, watch.errors));
        }
    }
    watch.is_errors_known = false;
    watch.has_tried = true;
    watch.attempts.push_back(now);
    while (watch.attempts.front() < now - day) watch.attempts.pop_front();
    while (!excuses_.empty() && excuses_.front() < now - day) excuses_.pop_front();
    // Two series of failures with a success between them; kills and the like make one begin anew.
    const size_t allowed = attempts_of_a_series * 2 + 4 * excuses_.size();
    if (watch.attempts.size() > allowed) {
        fail(fmt::format("{} attempts for {} within a day, {} are allowed", watch.attempts.size(),
                         domain, allowed));
    }
}

void Invariants::on_answer(SimCa& ca, const HttpRequest& request, const HttpResponse* response,
                           std::optional<base::Duration> silence) {
    if (!silence) return;
    const std::string domain = domain_of(request);
    const std::string path = ca.path_of(request.url);
    std::string key = ca.directory();
    const bool is_advice = is_renewal_info(path) || (path == "/dir" && !is_driving(domain));
    if (is_renewal_info(path)) {
        key = request.url;
    } else if (is_advice) {
        key = fmt::format("advice of {}", key);
    } else if (response != nullptr && response->status < 300) {
        const size_t at = request.url.find("/finalize/");
        key = "poll " +
              (at == std::string::npos ? request.url : ca.url_of(request.url.substr(at + 9)));
    }
    Watch& watch = watches_[domain];
    const base::Time until = world_.clock_.true_now() + *silence;
    watch.silences[key] = {until};
    if (!is_advice) watch.silent_until = std::max(watch.silent_until, until);
}

// ---- the process

void Invariants::on_start(bool was_clean) {
    excuses_.push_back(world_.clock_.true_now());
    const bool is_well = world_.files_.errors() == store_errors_;
    is_served_excused_ = !is_well;
    errors_at_start_ = world_.files_.errors();
    for (auto& [domain, watch] : watches_) {
        std::erase_if(watch.silences, [&](const auto& entry) {
            return !is_well || !entry.second.is_durable || entry.first.starts_with("poll ");
        });
        if (!was_clean || !is_well) watch.is_errors_known = watch.has_tried = false;
    }
    publications_.clear();
    world_.staple_invariants_.on_start(is_well);
    if (!is_well || world_.engine_ == nullptr) return;
    for (const DomainSummary& summary : world_.engine_->summaries()) {
        const Watch& watch = watches_[summary.name];
        if (watch.is_errors_known && watch.errors > 0 && summary.errors != watch.errors) {
            fail(fmt::format("{} had {} failures in a row before the restart, and has {} now",
                             summary.name, watch.errors, summary.errors));
        }
    }
    for (const std::string& path : world_.files_.paths()) {
        if (path.find(".tmp.") != std::string::npos) fail(path + " was left behind");
    }
}

void Invariants::on_taken_out(const std::string& domain) {
    Watch& watch = watches_[domain];
    std::erase_if(watch.silences, [](const auto& entry) {
        return !entry.second.is_durable || entry.first.starts_with("poll ");
    });
    watch.is_errors_known = watch.has_tried = false;
}

void Invariants::on_jump() {
    excuses_.push_back(world_.clock_.true_now());
    for (auto& [domain, watch] : watches_) {
        watch.silences.clear();
        watch.is_errors_known = false;
    }
}

void Invariants::on_requested(const std::string& domain) {
    excuses_.push_back(world_.clock_.true_now());
    watches_[domain].silences.clear();
    watches_[domain].is_errors_known = false;
    watches_[domain].is_requested = true;
}

/// That matters where a set waits for its staple.
void Invariants::on_silence(const std::string& domain, base::Time until) {
    if (!world_.domain(domain).must_staple) return;
    base::Time& silent_until = watches_[domain].silent_until;
    silent_until = std::max(silent_until, until);
}

void Invariants::on_revoked(const std::string& domain) {
    excuses_.push_back(world_.clock_.true_now());
    watches_[domain].is_errors_known = false;
}

/// A failure of that is one of the renewal.
void Invariants::on_obtain(const std::string& domain) {
    if (!world_.domain(domain).must_staple) return;
    Watch& watch = watches_[domain];
    watch.last_request = world_.clock_.true_now();
    watch.is_errors_known = false;
    watch.has_tried = true;
}

// ---- after each step

void Invariants::before_step() {
    if (world_.engine_ == nullptr) return;
    for (const Domain& domain : world_.domains_) check_end(domain, watches_[domain.name]);
}

void Invariants::after_step() {
    const bool is_well = world_.files_.errors() == store_errors_;
    store_errors_ = world_.files_.errors();
    world_.staple_invariants_.after_step(is_well);
    if (world_.engine_ == nullptr) return;
    // What could not be read is read again with the next regular check.
    if (world_.files_.trouble() == SimFiles::Trouble::None &&
        world_.clock_.error() == base::Duration::zero() &&
        world_.clock_.true_now() >
            std::max({world_.store_good_since_, world_.clock_good_since_, world_.up_since_}) +
                read_again_max) {
        is_served_excused_ = false;
    }
    bool have_tried = false;
    for (auto& [domain, watch] : watches_) {
        for (auto& [key, silence] : watch.silences) {
            if (!std::exchange(silence.is_settled, true)) silence.is_durable = is_well;
        }
        // An attempt may have failed before its first request.
        if (!is_well) watch.is_errors_known = false;
        have_tried |= watch.has_tried;
    }
    if (have_tried) look_at_errors(is_well);
    for (size_t i = 0; i < world_.domains_.size(); ++i) {
        const std::string& name = world_.domains_[i].name;
        Watch& watch = watches_[name];
        const bool is_new = world_.ports_.publications[name] != publications_[name];
        publications_[name] = world_.ports_.publications[name];
        check_served(name, watch);
        const bool is_readable = !is_served_excused_ && world_.files_.errors() == errors_at_start_;
        if (is_new && is_readable) check_store(world_.domains_[i]);
        check_in_time(world_.domains_[i], watch);
    }
    if (++steps_ % 32 == 0) check_bounds();
}

void Invariants::look_at_errors(bool is_well) {
    for (const DomainSummary& summary : world_.engine_->summaries()) {
        Watch& watch = watches_[summary.name];
        if (!std::exchange(watch.has_tried, false)) continue;
        // After a success failures are those of programs that are told of it.
        const bool has_failed =
            world_.ports_.publications[summary.name] == publications_[summary.name];
        if (!has_failed) watch.is_requested = false;
        watch.errors = summary.errors;
        watch.is_errors_known = is_well && has_failed && !watch.is_requested;
    }
}

void Invariants::check_served(const std::string& domain, Watch& watch) {
    const base::Time now = world_.clock_.true_now();
    const auto& served = world_.ports_.served[domain];
    if (served.empty()) fail("nothing is served for " + domain);
    for (const auto& [kind, best] : watch.best) {
        if (best.not_after <= now || is_served_excused_) continue;
        if (world_.staple_invariants_.was_revoked(*best.certificate)) continue;
        const bool is_there = std::any_of(served.begin(), served.end(), [&](const auto& one) {
            return !one->fallback && kind_of(*one) == kind && one->not_before >= best.not_before;
        });
        if (is_there) continue;
        std::string found;
        for (const auto& one : served) {
            found += fmt::format(" {}{} from {}", one->fallback ? "fallback " : "", kind_of(*one),
                                 base::format_rfc3339(one->not_before));
        }
        fail(fmt::format("{} had a certificate ({}) from {} to {}, and is served with{}", domain,
                         kind, base::format_rfc3339(best.not_before),
                         base::format_rfc3339(best.not_after), found));
    }
    for (const auto& one : served) {
        if (one->fallback) continue;
        Best& best = watch.best[kind_of(*one)];
        const bool is_older = best.certificate && one->not_before < best.not_before;
        if (!is_older || !is_served_excused_) best = {one->not_before, one->not_after, one};
    }
}

void Invariants::check_store(const Domain& domain) {
    for (const KeySpec& spec : domain.key_specs()) {
        const std::string directory = "domains/" + domain.name + "/";
        const std::string* chain = world_.files_.bytes(directory + chain_file(spec));
        const std::string* key = world_.files_.bytes(directory + key_file(spec));
        if (chain == nullptr || key == nullptr) continue;
        const auto& served = world_.ports_.served[domain.name];
        const bool is_served = std::any_of(served.begin(), served.end(), [&](const auto& one) {
            return chain_to_pem(*one) == *chain && key_text(*one) == *key;
        });
        const auto& best = watches_[domain.name].best;
        const bool is_withdrawn = std::any_of(best.begin(), best.end(), [&](const auto& entry) {
            const tls::Certificate& one = *entry.second.certificate;
            return world_.staple_invariants_.was_revoked(one) && chain_to_pem(one) == *chain;
        });
        if (!is_served && !is_withdrawn) {
            fail(fmt::format("what is served for {} is not what {} holds", domain.name, directory));
        }
    }
}

std::string Invariants::last_error_of(const std::string& domain) const {
    for (const DomainSummary& summary : world_.engine_->summaries()) {
        if (summary.name != domain) continue;
        return fmt::format("last error: {}, {} in a row; state {}", summary.last_error,
                           summary.errors, summary.state);
    }
    return "it is not known";
}

std::optional<base::Time> Invariants::good_since(const Domain& domain) const {
    if (world_.programs_bad_ || world_.clock_.error() != base::Duration::zero() ||
        world_.files_.trouble() != SimFiles::Trouble::None) {
        return std::nullopt;
    }
    const auto watch = watches_.find(domain.name);
    base::Time good = std::max({world_.store_good_since_, world_.programs_good_since_,
                                world_.clock_good_since_, world_.up_since_});
    if (watch != watches_.end()) good = std::max(good, watch->second.silent_until);
    for (const auto& ca : world_.cas_) {
        const bool is_used = std::find(domain.ca_urls.begin(), domain.ca_urls.end(),
                                       ca->directory()) != domain.ca_urls.end();
        if (!is_used) continue;
        if (ca->fault() != CaFault::None) return std::nullopt;
        good = std::max(good, ca->good_since());
        if (!domain.must_staple) continue;
        if (ca->responder().fault() != ResponderFault::None) return std::nullopt;
        good = std::max(good, ca->responder().good_since());
    }
    return good;
}

void Invariants::check_end(const Domain& domain, const Watch& watch) const {
    const base::Time now = world_.clock_.true_now();
    const auto first = std::min_element(
        watch.best.begin(), watch.best.end(),
        [](const auto& a, const auto& b) { return a.second.not_after < b.second.not_after; });
    if (first == watch.best.end() || first->second.not_after + at_the_end_max >= now) return;
    const auto good = good_since(domain);
    if (!good) return;
    const base::Time planned = world_.clock_good_since_ + plan_max;
    if (first->second.not_after - last_day < std::max(*good, planned)) return;
    fail(
        fmt::format("{} had a certificate ({}) until {}, and no other since, although the weather "
                    "is good since {}; {}",
                    domain.name, first->first, base::format_rfc3339(first->second.not_after),
                    base::format_rfc3339(*good), last_error_of(domain.name)));
}

void Invariants::check_in_time(const Domain& domain, const Watch& watch) const {
    const auto good = good_since(domain);
    if (!good) return;
    base::Time due = base::Time::max();
    if (watch.best.size() < domain.key_specs().size()) due = base::Time::min();
    for (const auto& [kind, best] : watch.best) {
        due = std::min(due,
                       best.not_after - domain.renew_window.of(best.not_after - best.not_before));
    }
    const base::Duration allowed = in_time_max + world_.settings_.activation_delay;
    if (world_.clock_.true_now() - allowed < std::max(due, *good)) return;
    fail(
        fmt::format("{} is due since {} and not renewed, although the weather is good since {}; "
                    "{}",
                    domain.name, base::format_rfc3339(due), base::format_rfc3339(*good),
                    last_error_of(domain.name)));
}

void Invariants::check_bounds() {
    const std::vector<std::string> paths = world_.files_.paths();
    if (paths.size() > files_max) fail(fmt::format("{} files in the store", paths.size()));
    std::map<std::string, std::set<std::string>> archives;
    for (const std::string& path : paths) {
        if (path.ends_with("/job.json") && world_.files_.bytes(path)->size() > job_bytes_max) {
            fail(path + " grows");
        }
        if (!path.starts_with("archive/")) continue;
        const std::string archive = path.substr(8, path.find('/', 8) - 8);
        archives[archive.substr(0, archive.rfind('.'))].insert(archive);
    }
    for (const auto& [domain, all] : archives) {
        // One more while its removal failed.
        if (all.size() > FileStore::archives_kept + 5) {
            fail(fmt::format("{} archives of {}", all.size(), domain));
        }
    }
    for (const auto& ca : world_.cas_) {
        if (ca->ca().accounts_made > ca->accounts_max()) {
            fail(fmt::format("{} accounts at {}, though it knew the former ones",
                             ca->ca().accounts_made, ca->directory()));
        }
    }
    for (const Domain& domain : world_.domains_) {
        if (world_.files_.bytes("staging/" + domain.name + "/order.json") != nullptr) continue;
        for (const auto& [name, values] : world_.ports_.txt_records) {
            const bool is_ours = name == domain.name || name.ends_with("." + domain.name);
            if (is_ours && !values.empty() && !world_.commands_.given_up().contains(name)) {
                fail(fmt::format("the TXT record of {} is forgotten", name));
            }
        }
    }
}

}  // namespace md::test
