// What the CA advises about the certificates that are served (ARI, RFC 9773): declared in engine.h.

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "md/engine.h"
#include "md/poll.h"
#include "md/renewal.h"
#include "md/status_json.h"

namespace md {

namespace {

/// A CA without renewal information is not asked for its directory more often.
constexpr base::Duration no_service_interval = std::chrono::hours{24};
constexpr base::Duration look_wait_max =
    std::chrono::hours{25};  // a day (renewal_info.h) and slack

const RenewalInfo* info_of(const std::vector<RenewalInfo>& infos, const std::string& id) {
    const auto found = std::find_if(infos.begin(), infos.end(), [&](const RenewalInfo& info) {
        return info.certificate_id == id;
    });
    return found == infos.end() ? nullptr : &*found;
}

}  // namespace

/// Asks for those certificates that the CA wants to be asked about by now. Failing changes nothing
/// but when it is tried again.
void Engine::ask_for_renewal_info(Visit& visit, Transport& transport) {
    const Domain& domain = visit.stored.domain;
    const std::string& ca = visit.stored.ca_url;  // the one that issued, not the first configured
    if (!domain.renew_via_ari || domain.is_static() || domain.is_from_tailscale() || ca.empty() ||
        !may_renew(domain, visit.stored.state)) {
        visit.renewal_infos.clear();
        return keep_renewal_infos(visit);
    }
    AcmeClient client(transport, clock_, domain);
    std::optional<Outcome<void>> opened;
    std::vector<RenewalInfo> infos;
    bool has_asked = false;
    for (const Slot& slot : visit.served) {
        if (!slot.certificate || slot.certificate->fallback) continue;
        const std::string id = ari_certificate_id(*slot.certificate);
        if (id.empty()) continue;
        const RenewalInfo* former = info_of(visit.renewal_infos, id);
        const base::Time now = clock_.now();
        // Further ahead than any CA can ask for: planned by a clock that was wrong.
        const bool is_planned = former != nullptr && former->next_look <= now + look_wait_max;
        if (is_planned && former->next_look > now) {
            infos.push_back(*former);
            continue;
        }
        has_asked = true;
        RenewalInfo info;
        if (former != nullptr) info = *former;
        info.certificate_id = id;
        if (!opened) opened = client.open(ca);
        Outcome<RenewalInfo> fetched = info;
        if (!opened->ok()) {
            fetched = opened->error();
        } else if (client.directory().renewal_info.empty()) {
            info = {};
            info.certificate_id = id;
            info.next_look = now + no_service_interval;
            fetched = info;
        } else {
            fetched = fetch_renewal_info(client, id, former, random_);
        }
        if (fetched) {
            info = std::move(fetched).value();
            tell_renewal_info(domain.name, slot.label, former, info);
        } else {
            if (is_stopping(fetched.error())) return;
            info.next_look = next_look_after(fetched.error(), now);
            base::log_debug("md", domain.name, "no renewal information: {}",
                            base::escape_for_log(fetched.error().message()));
        }
        infos.push_back(std::move(info));
    }
    if (opened && !opened->ok()) {  // nor does the CA want to be asked for the others
        const base::Time again = next_look_after(opened->error(), clock_.now());
        for (RenewalInfo& info : infos) info.next_look = std::max(info.next_look, again);
    }
    const bool is_same = !has_asked && infos.size() == visit.renewal_infos.size();
    visit.renewal_infos = std::move(infos);
    keep_renewal_infos(visit);
    if (is_same) return;
    // Without the lock the directory might be another process's just now. What is not on disk is
    // asked for again after a restart.
    const auto lock = store_.hold();
    auto saved = lock.ok() ? save_renewal_info(store_, domain.name, visit.renewal_infos)
                           : Outcome<void>(lock.error());
    if (!saved) base::log_warn("md", domain.name, "{}", saved.error().message());
}

void Engine::tell_renewal_info(const std::string& domain, const std::string& label,
                               const RenewalInfo* former, const RenewalInfo& info) {
    if (!has_window(info)) return;
    if (former != nullptr && former->window_start == info.window_start &&
        former->window_end == info.window_end) {
        return;
    }
    base::log_info("md", domain,
                   "the CA advises to renew the certificate ({}) between {} and {}, which is done "
                   "at {} unless the renew window opens before{}",
                   label, base::format_rfc3339(info.window_start),
                   base::format_rfc3339(info.window_end), base::format_rfc3339(info.renew_at),
                   info.explanation_url.empty() ? "" : "; it explains at " + info.explanation_url);
}

void Engine::keep_renewal_infos(const Visit& visit) {
    const std::lock_guard lock(mutex_);
    visit.entry.renewal_infos = visit.renewal_infos;
}

/// The earliest of the points drawn; Time::max() without advice.
base::Time Engine::advised_at(const std::vector<RenewalInfo>& infos) {
    base::Time earliest = base::Time::max();
    for (const RenewalInfo& info : infos) {
        if (has_window(info)) earliest = std::min(earliest, info.renew_at);
    }
    return earliest;
}

/// When some certificate has to be asked about again; Time::max(): none.
base::Time Engine::next_look_at(const std::vector<RenewalInfo>& infos) {
    base::Time earliest = base::Time::max();
    for (const RenewalInfo& info : infos) earliest = std::min(earliest, info.next_look);
    return earliest;
}

}  // namespace md
