#include "app/bridge.h"

#include "base/ip_address.h"
#include "base/log.h"
#include "base/text.h"

namespace app {

Bridge::Bridge(proxy::Snapshots& snapshots, base::Duration limit)
    : snapshots_(snapshots), limit_(limit) {}

void Bridge::configure(const Setup& setup) {
    {
        const std::lock_guard lock(mutex_);
        statics_ = setup.statics;
        for (StaticCertificates& site : statics_) site.set = with_staples(site.set);
        static_names_.clear();
        for (const StaticCertificates& site : statics_) {
            static_names_.insert(site.names.begin(), site.names.end());
        }
        domain_hosts_ = setup.domain_hosts;
        host_domains_.clear();
        for (const auto& [domain, hosts] : setup.domain_hosts) {
            for (const std::string& host : hosts) host_domains_.emplace(host, domain);
        }
        wanted_ = host_domains_;
        for (const md::Domain& domain : setup.domains) {
            for (const std::string& name : domain.names) wanted_.emplace(name, domain.name);
        }
        default_hosts_ = setup.default_hosts;
        publish_index();
        publish_status_pages();
    }
    settle("the certificates of the configuration");
}

void Bridge::set_staples(md::StapleSource* staples) {
    const std::lock_guard lock(mutex_);
    staples_ = staples;
}

void Bridge::set_workers(std::vector<Post> workers) {
    const std::lock_guard lock(mutex_);
    workers_ = std::move(workers);
}

void Bridge::settle(std::string_view what) {
    std::vector<Post> workers;
    {
        const std::lock_guard lock(mutex_);
        workers = workers_;
    }
    // A worker looks at the generation at each handshake and request: once it has run a message
    // posted after publishing, it cannot use the old snapshot for a new one.
    const size_t late = run_on_all(
        workers, [](size_t) {}, limit_);
    if (late > 0) {
        base::log_warn("app", "", "{} of {} workers did not take {} within {}", late,
                       workers.size(), what, base::format_duration(limit_));
    }
}

// ---- challenges

void Bridge::publish_http01(const std::string& name, const std::string& token,
                            const std::string& key_authorization) {
    snapshots_.http01.update([&](const proxy::Http01Answers& old) {
        auto next = std::make_shared<proxy::Http01Answers>(old);
        next->by_token[token] = {name, key_authorization};
        return next;
    });
    settle("an http-01 answer");
}

void Bridge::withdraw_http01(const std::string& name, const std::string& token) {
    snapshots_.http01.update([&](const proxy::Http01Answers& old) {
        auto next = std::make_shared<proxy::Http01Answers>(old);
        const auto answer = next->by_token.find(token);
        if (answer != next->by_token.end() && answer->second.name == name) {
            next->by_token.erase(answer);
        }
        return next;
    });
    settle("the end of an http-01 answer");
}

namespace {

using Challenges = tls::ChallengeCertificates;

auto place_of(Challenges& challenges, const std::string& name) {
    return std::lower_bound(challenges.entries.begin(), challenges.entries.end(), name,
                            [](const Challenges::Entry& entry, const std::string& wanted) {
                                return entry.name < wanted;
                            });
}

}  // namespace

void Bridge::publish_alpn(const std::string& name,
                          std::shared_ptr<const tls::Certificate> certificate) {
    snapshots_.tls.challenges.update([&](const Challenges& old) {
        auto next = std::make_shared<Challenges>(old);
        const auto at = place_of(*next, name);
        if (at != next->entries.end() && at->name == name) {
            at->certificate = certificate;
        } else {
            next->entries.insert(at, {name, certificate});
        }
        return next;
    });
    settle("a tls-alpn-01 answer");
}

void Bridge::withdraw_alpn(const std::string& name) {
    snapshots_.tls.challenges.update([&](const Challenges& old) {
        auto next = std::make_shared<Challenges>(old);
        const auto at = place_of(*next, name);
        if (at != next->entries.end() && at->name == name) next->entries.erase(at);
        return next;
    });
    settle("the end of a tls-alpn-01 answer");
}

// ---- certificates

std::set<std::string> Bridge::names_of(const std::string& domain,
                                       const std::vector<std::string>& names) const {
    std::set<std::string> all;
    const auto take = [&](const std::string& name) {
        const auto owner = host_domains_.find(name);
        if (owner != host_domains_.end() && owner->second != domain) return;
        if (!static_names_.contains(name)) all.insert(name);
    };
    for (const std::string& name : names) take(name);
    if (const auto hosts = domain_hosts_.find(domain); hosts != domain_hosts_.end()) {
        for (const std::string& host : hosts->second) take(host);
    }
    return all;
}

std::shared_ptr<const tls::CertificateIndex> Bridge::with_default(
    std::shared_ptr<const tls::CertificateIndex> index) const {
    tls::CertificateSetPtr set;
    if (!default_hosts_.empty()) {
        const auto address = base::IpAddress::parse(default_hosts_.front());
        const tls::CertificateSetPtr* found =
            address ? index->find(*address) : index->find(default_hosts_.front());
        if (found != nullptr) set = *found;
    }
    if (set == index->fallback()) return index;
    return index->with_default(std::move(set));
}

namespace {

/// What that name is served now; null: nothing.
tls::CertificateSetPtr found(const tls::CertificateIndex& index, const std::string& name) {
    const tls::CertificateSetPtr* set = index.at(name);
    if (set == nullptr) set = index.find(name);
    return set == nullptr ? nullptr : *set;
}

bool is_for(const tls::CertificateSet& set, const std::string& name) {
    return std::any_of(set.certificates.begin(), set.certificates.end(),
                       [&](const auto& certificate) {
                           return !certificate->fallback && certificate->covers(name);
                       });
}

}  // namespace

tls::CertificateSetPtr Bridge::better(const tls::CertificateIndex& index, const std::string& name,
                                      const tls::CertificateSetPtr& set) {
    const tls::CertificateSetPtr former = found(index, name);
    return former && is_for(*former, name) && !is_for(*set, name) ? former : set;
}

void Bridge::publish_index() {
    const auto former = snapshots_.tls.certificates.current();
    std::vector<tls::CertificateIndex::Change> changes;
    owners_.clear();
    for (const auto& [domain, served] : served_) {
        for (const std::string& name : names_of(domain, served.names)) {
            changes.push_back({name, better(*former, name, served.set)});
            owners_[name] = domain;
        }
    }
    for (const auto& [name, domain] : wanted_) {
        const tls::CertificateSetPtr set = found(*former, name);
        if (set && owners_.emplace(name, domain).second) changes.push_back({name, set});
    }
    for (const StaticCertificates& site : statics_) {
        for (const std::string& name : site.names) {
            changes.push_back({name, site.set});
            owners_.erase(name);
        }
    }
    const tls::CertificateIndex empty;
    snapshots_.tls.certificates.publish(with_default(empty.with_all(changes)));
}

void Bridge::publish(const std::string& domain, const std::vector<std::string>& names,
                     std::vector<std::shared_ptr<const tls::Certificate>> certificates) {
    {
        const std::lock_guard lock(mutex_);
        const auto old = served_.find(domain);
        std::set<std::string> gone;
        if (old != served_.end()) gone = names_of(domain, old->second.names);
        std::vector<tls::CertificateIndex::Change> changes;
        if (certificates.empty()) {
            served_.erase(domain);
        } else {
            const tls::CertificateSetPtr set = with_staples(make_set(std::move(certificates)));
            const auto index = snapshots_.tls.certificates.current();
            for (const std::string& name : names_of(domain, names)) {
                changes.push_back({name, better(*index, name, set)});
                owners_[name] = domain;
                gone.erase(name);
            }
            served_[domain] = {names, set};
        }
        for (const std::string& name : gone) {
            const auto owner = owners_.find(name);
            if (owner == owners_.end() || owner->second != domain) continue;  // has passed on
            owners_.erase(owner);
            changes.push_back({name, nullptr});
        }
        snapshots_.tls.certificates.update([&](const tls::CertificateIndex& index) {
            return with_default(index.with_all(changes));
        });
    }
    settle("new certificates of " + domain);
}

tls::CertificateSetPtr Bridge::with_staples(const tls::CertificateSetPtr& set) const {
    std::vector<std::shared_ptr<const tls::Staple>> staples;
    for (const auto& certificate : set->certificates) {
        staples.push_back(staples_ != nullptr ? staples_->staple_of(*certificate) : nullptr);
    }
    if (staples == set->staples) return set;
    return std::make_shared<const tls::CertificateSet>(
        tls::CertificateSet{set->certificates, std::move(staples)});
}

void Bridge::staples_changed(
    const std::string& domain,
    const std::vector<std::shared_ptr<const tls::Certificate>>& certificates) {
    const auto is_changed = [&](const tls::CertificateSet& set) {
        return std::any_of(certificates.begin(), certificates.end(), [&](const auto& one) {
            return std::any_of(set.certificates.begin(), set.certificates.end(),
                               [&](const auto& served) { return served->sha256 == one->sha256; });
        });
    };
    const std::lock_guard lock(mutex_);
    std::vector<tls::CertificateIndex::Change> changes;
    const auto served = served_.find(domain);
    if (served != served_.end() && is_changed(*served->second.set)) {
        const tls::CertificateSetPtr former = served->second.set;
        served->second.set = with_staples(former);
        const auto index = snapshots_.tls.certificates.current();
        for (const std::string& name : names_of(domain, served->second.names)) {
            // Others have kept what they had before: see better().
            if (found(*index, name) == former) changes.push_back({name, served->second.set});
        }
    }
    // A certificate may stand in a file and belong to a domain as well.
    for (StaticCertificates& site : statics_) {
        if (!is_changed(*site.set)) continue;
        site.set = with_staples(site.set);
        for (const std::string& name : site.names) changes.push_back({name, site.set});
    }
    if (changes.empty()) return;
    snapshots_.tls.certificates.update(
        [&](const tls::CertificateIndex& index) { return with_default(index.with_all(changes)); });
}

std::set<std::string> Bridge::status_hosts(const std::string& domain,
                                           const std::vector<std::string>& names) const {
    std::set<std::string> hosts(names.begin(), names.end());
    if (const auto more = domain_hosts_.find(domain); more != domain_hosts_.end()) {
        hosts.insert(more->second.begin(), more->second.end());
    }
    return hosts;
}

void Bridge::publish_status_pages() {
    std::vector<base::NameMap<std::string>::Change> changes;
    for (const auto& [domain, page] : status_) {
        for (const std::string& host : status_hosts(domain, page.names)) {
            changes.push_back({host, page.body});
        }
    }
    auto next = std::make_shared<proxy::CertificateStatusAnswers>();
    next->by_host = next->by_host.with_all(changes);
    snapshots_.certificate_status.publish(std::move(next));
}

void Bridge::publish_status(const std::string& domain, const std::vector<std::string>& names,
                            std::string json) {
    const std::lock_guard lock(mutex_);
    const auto former = status_.find(domain);
    if (former == status_.end() && json.empty()) return;
    const auto body = std::make_shared<const std::string>(std::move(json));
    snapshots_.certificate_status.update([&](const proxy::CertificateStatusAnswers& old) {
        std::vector<base::NameMap<std::string>::Change> changes;
        if (former != status_.end()) {
            for (const std::string& host : status_hosts(domain, former->second.names)) {
                const auto* now = old.by_host.find(host);
                const bool is_ours = now != nullptr && *now == former->second.body;
                if (is_ours) changes.push_back({host, nullptr});  // else another domain has it now
            }
        }
        if (!body->empty()) {
            for (const std::string& host : status_hosts(domain, names)) {
                changes.push_back({host, body});
            }
        }
        auto next = std::make_shared<proxy::CertificateStatusAnswers>();
        next->by_host = old.by_host.with_all(changes);
        return next;
    });
    if (body->empty()) {
        status_.erase(former);
    } else {
        status_[domain] = {names, body};
    }
    // Nobody outside waits for this one: workers see it with their next request.
}

}  // namespace app
