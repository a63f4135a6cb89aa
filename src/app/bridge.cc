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
        for (StaticCertificates& site : statics_) site.set = with_staples(*site.set);
        static_names_.clear();
        for (const StaticCertificates& site : statics_) {
            static_names_.insert(site.names.begin(), site.names.end());
        }
        domain_hosts_ = setup.domain_hosts;
        host_domains_.clear();
        for (const auto& [domain, hosts] : setup.domain_hosts) {
            for (const std::string& host : hosts) host_domains_.emplace(host, domain);
        }
        default_hosts_ = setup.default_hosts;
        publish_index();
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

void Bridge::publish_index() {
    std::shared_ptr<const tls::CertificateIndex> index =
        std::make_shared<const tls::CertificateIndex>();
    std::vector<tls::CertificateIndex::Change> changes;
    for (const auto& [domain, served] : served_) {
        for (const std::string& name : names_of(domain, served.names)) {
            changes.push_back({name, served.set});
        }
    }
    for (const StaticCertificates& site : statics_) {
        for (const std::string& name : site.names) changes.push_back({name, site.set});
    }
    snapshots_.tls.certificates.publish(with_default(index->with_all(changes)));
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
            const tls::CertificateSetPtr set = with_staples(*make_set(std::move(certificates)));
            for (const std::string& name : names_of(domain, names)) {
                changes.push_back({name, set});
                gone.erase(name);
            }
            served_[domain] = {names, set};
        }
        for (const std::string& name : gone) changes.push_back({name, nullptr});
        snapshots_.tls.certificates.update([&](const tls::CertificateIndex& index) {
            return with_default(index.with_all(changes));
        });
    }
    settle("new certificates of " + domain);
}

tls::CertificateSetPtr Bridge::with_staples(const tls::CertificateSet& set) const {
    auto stapled = std::make_shared<tls::CertificateSet>(set);
    for (size_t i = 0; i < set.certificates.size(); ++i) {
        const tls::Certificate& certificate = *set.certificates[i];
        stapled->staples[i] = staples_ != nullptr ? staples_->staple_of(certificate) : nullptr;
    }
    return stapled;
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
        served->second.set = with_staples(*served->second.set);
        for (const std::string& name : names_of(domain, served->second.names)) {
            changes.push_back({name, served->second.set});
        }
    }
    // A certificate may stand in a file and belong to a domain as well.
    for (StaticCertificates& site : statics_) {
        if (!is_changed(*site.set)) continue;
        site.set = with_staples(*site.set);
        for (const std::string& name : site.names) changes.push_back({name, site.set});
    }
    if (changes.empty()) return;
    snapshots_.tls.certificates.update(
        [&](const tls::CertificateIndex& index) { return with_default(index.with_all(changes)); });
}

void Bridge::publish_status(const std::string& domain, const std::vector<std::string>& names,
                            std::string json) {
    {
        const std::lock_guard lock(mutex_);
        std::set<std::string> now;
        if (!json.empty()) {
            now.insert(names.begin(), names.end());
            const auto hosts = domain_hosts_.find(domain);
            if (hosts != domain_hosts_.end()) {
                now.insert(hosts->second.begin(), hosts->second.end());
            }
        }
        const auto body = std::make_shared<const std::string>(std::move(json));
        snapshots_.certificate_status.update([&](const proxy::CertificateStatusAnswers& old) {
            auto next = std::make_shared<proxy::CertificateStatusAnswers>(old);
            for (const std::string& name : status_names_[domain]) next->by_host.erase(name);
            for (const std::string& name : now) next->by_host[name] = body;
            return next;
        });
        status_names_[domain] = std::move(now);
    }
    // Nobody outside waits for this one: workers see it with their next request.
}

}  // namespace app
