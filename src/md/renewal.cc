#include "md/renewal.h"

#include <algorithm>

#include "md/domain_json.h"

namespace md {

namespace {

/// However soon the end comes: a CA that is down is not asked more often for that.
constexpr base::Duration failure_wait_min = std::chrono::hours{1};

base::Time before_end(const tls::Certificate& certificate, const Window& window) {
    return certificate.not_after - window.of(certificate.not_after - certificate.not_before);
}

}  // namespace

base::Time renew_at(const tls::Certificate& certificate, const Window& window) {
    return before_end(certificate, window);
}

base::Time renew_at(const Domain& domain, const std::vector<Slot>& slots, DomainState state,
                    base::Time now) {
    if (slots.empty() || state == DomainState::Incomplete) return now;
    base::Time earliest = base::Time::max();
    for (const Slot& slot : slots) {
        if (!slot.certificate) return now;
        earliest = std::min(earliest, before_end(*slot.certificate, domain.renew_window));
    }
    return earliest;
}

bool in_warn_window(const Domain& domain, std::span<const Slot> slots, base::Time now) {
    return std::any_of(slots.begin(), slots.end(), [&](const Slot& slot) {
        return slot.certificate && before_end(*slot.certificate, domain.warn_window) <= now;
    });
}

base::Duration check_delay(base::Duration interval, base::Random& random) {
    const auto r = static_cast<int64_t>(random.below(256)) - 128;
    // In seconds: an interval of any length has room for the factor.
    const int64_t seconds =
        std::max<int64_t>(std::chrono::floor<std::chrono::seconds>(interval).count(), 1);
    const base::Duration base_interval = std::chrono::seconds{seconds};
    return std::max<base::Duration>(base_interval + base_interval / 256 * r,
                                    std::chrono::seconds{1});
}

base::Duration validity_left(const std::vector<Slot>& served, base::Time now) {
    base::Duration left = base::Duration::max();
    for (const Slot& slot : served) {
        if (!slot.certificate || slot.certificate->not_after <= now) continue;
        left = std::min(left, slot.certificate->not_after - now);
    }
    return left == base::Duration::max() ? base::Duration::zero() : left;
}

base::Duration wait_before_end(base::Duration wait, base::Duration left) {
    if (left <= base::Duration::zero()) return wait;
    return std::min(wait, std::max(failure_wait_min, left / 2));
}

base::Time ready_at(const std::vector<Slot>& served, DomainState served_state,
                    const std::vector<Slot>& fresh, base::Duration activation_delay,
                    base::Time now) {
    base::Time ready = now;
    for (const Slot& slot : fresh) {
        if (slot.certificate) ready = std::max(ready, slot.certificate->not_before);
    }
    if (served_state != DomainState::Complete || served.empty()) return ready;
    base::Time end = base::Time::max();
    for (const Slot& slot : served) {
        if (!slot.certificate) return ready;
        end = std::min(end, slot.certificate->not_after);
    }
    if (end <= now) return ready;
    return ready + std::clamp<base::Duration>(activation_delay, base::Duration::zero(), end - now);
}

std::string staging_reset_reason(Store& store, const Domain& domain, bool requested,
                                 base::Time now) {
    auto staged = load_domain(store, Group::Staging, domain.name, now);
    if (!staged.ok()) return "staging cannot be read: " + staged.error().message();
    if (!*staged) return "nothing is staged";
    if (requested) return "a renewal from scratch was asked for";
    if ((*staged)->domain.ca_urls != domain.ca_urls) {
        return "the configured certificate authorities changed";
    }
    const auto staged_at = store.modified(Group::Staging, domain.name, "md.json");
    const auto live_at = store.modified(Group::Domains, domain.name, "md.json");
    if (staged_at && live_at && *live_at > *staged_at) {
        return "the domain's settings changed since it was begun";
    }
    return "";
}

bool is_watched(const Domain& domain, DomainState state) {
    if (state == DomainState::Error) return false;
    return domain.renew_mode != RenewMode::Auto || domain.used;
}

bool may_renew(const Domain& domain, DomainState state) {
    if (!is_watched(domain, state)) return false;
    switch (domain.renew_mode) {
        case RenewMode::Manual:
            return false;
        case RenewMode::Auto:
            return !domain.is_static();
        case RenewMode::Always:
            return true;
    }
    return false;
}

std::string choose_ca(const std::vector<std::string>& urls, const std::string& current, int errors,
                      int failover_threshold) {
    if (urls.empty()) return "";
    const auto at = std::find(urls.begin(), urls.end(), current);
    if (at == urls.end()) return urls.front();
    if (errors < failover_threshold) return *at;
    return at + 1 == urls.end() ? urls.front() : *(at + 1);
}

}  // namespace md
