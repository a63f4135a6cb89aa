#include "md/match.h"

#include <algorithm>
#include <cerrno>
#include <set>
#include <unordered_map>

#include "base/ip_address.h"
#include "base/log.h"
#include "base/text.h"

namespace md {

namespace {

using Level = MatchMessage::Level;
using Rule = MatchMessage::Rule;

bool is_wildcard(std::string_view name) {
    return name.starts_with("*.");
}

/// How a domain came to a site: by a name of its own, or by a wildcard.
enum class Hit : uint8_t { None, Wildcard, Name };

/// Whether the site answers for that name of a domain (mod_md.md 2.2).
Hit hit(const SiteNames& site, const std::string& name, MatchNames mode) {
    if (site.hosts.empty()) return Hit::None;
    const std::string& server_name = site.hosts.front();
    if (mode == MatchNames::ServerNames) {
        if (base::iequals(name, server_name)) return Hit::Name;
        return base::dns_name_matches(name, server_name) ? Hit::Wildcard : Hit::None;
    }
    for (const std::string& host : site.hosts) {
        if (base::dns_name_matches(host, name)) return Hit::Name;
    }
    // A wildcard of the domain is compared with the first host only, as mod_md does.
    return is_wildcard(name) && base::dns_name_matches(name, server_name) ? Hit::Wildcard
                                                                          : Hit::None;
}

/// First hit in the order of the domain's names.
Hit hit(const SiteNames& site, const Domain& domain, MatchNames mode) {
    for (const std::string& name : domain.names) {
        if (const Hit found = hit(site, name, mode); found != Hit::None) return found;
    }
    return Hit::None;
}

/// Which domains have a name, also by a wildcard: found by look-ups, since comparing all with all
/// takes minutes where there are 100,000.
class NameIndex {
  public:
    void add(const std::string& name, size_t domain) {
        const std::string key = base::to_lower(name);
        by_name_[key].insert(domain);
        by_parent_[parent(key)].insert(domain);
    }
    /// Those that contain `name`.
    std::set<size_t> owners(const std::string& name) const {
        const std::string key = base::to_lower(name);
        std::set<size_t> found;
        take(by_name_, key, found);
        if (const std::string wildcard = wildcard_of(key); !wildcard.empty()) {
            take(by_name_, wildcard, found);
        }
        return found;
    }
    /// The first that has that very name.
    std::optional<size_t> first(const std::string& name) const {
        const auto at = by_name_.find(base::to_lower(name));
        return at == by_name_.end() ? std::nullopt : std::optional(*at->second.begin());
    }
    /// The first that has a wildcard for `name`.
    std::optional<size_t> first_wildcard(const std::string& name) const {
        const std::string wildcard = wildcard_of(base::to_lower(name));
        return wildcard.empty() ? std::nullopt : first(wildcard);
    }
    /// All that the site may belong to, and maybe more: hit() decides.
    std::set<size_t> candidates(const SiteNames& site) const {
        std::set<size_t> found;
        for (const std::string& host : site.hosts) {
            found.merge(owners(host));
            if (is_wildcard(host)) take(by_parent_, base::to_lower(host.substr(1)), found);
        }
        return found;
    }

  private:
    using Domains = std::unordered_map<std::string, std::set<size_t>>;

    /// The wildcard that matches `name`; "" if none does.
    static std::string wildcard_of(const std::string& name) {
        std::string wildcard = fmt::format("*{}", parent(name));
        return base::dns_name_matches(wildcard, name) ? wildcard : std::string();
    }
    /// From the first dot on; "" without one.
    static std::string parent(const std::string& name) {
        const size_t dot = name.find('.');
        return dot == std::string::npos ? std::string() : name.substr(dot);
    }
    static void take(const Domains& from, const std::string& key, std::set<size_t>& found) {
        if (const auto at = from.find(key); at != from.end()) {
            found.insert(at->second.begin(), at->second.end());
        }
    }

    Domains by_name_;
    Domains by_parent_;
};

/// Collects the links between domains and sites, and what there is to say.
class Matching {
  public:
    Matching(const std::vector<ConfiguredDomain>& configured, const std::vector<SiteNames>& sites,
             const MatchOptions& options)
        : configured_(configured), sites_(sites), options_(options), links_(sites.size()) {
        for (const ConfiguredDomain& entry : configured) {
            for (const std::string& name : entry.domain.names) {
                index_.add(name, result_.domains.size());
            }
            result_.domains.push_back(entry.domain);
        }
        result_.site_domains.resize(sites.size());
    }

    MatchResult run() && {
        check_static_files();
        if (options_.names == MatchNames::All) check_overlaps();
        link();
        for (size_t s = 0; s < sites_.size(); ++s) settle(s);
        for (size_t d = 0; d < result_.domains.size(); ++d) check_use(d);
        return std::move(result_);
    }

  private:
    void tell(Level level, Rule rule, size_t domain, std::string text) {
        result_.messages.push_back(
            {level, rule, result_.domains[domain].name, domain, std::move(text)});
    }

    std::string described(size_t domain) const {
        return fmt::format("managed domain {}", result_.domains[domain].name);
    }
    std::string described_with_place(size_t domain) const {
        return fmt::format("{} ({})", described(domain), configured_[domain].place);
    }

    void check_static_files() {
        for (size_t d = 0; d < result_.domains.size(); ++d) {
            const Domain& domain = result_.domains[d];
            if (domain.certificate_files.size() == domain.certificate_key_files.size()) continue;
            tell(Level::Error, Rule::StaticCount, d,
                 fmt::format("{} has {} certificate_file and {} certificate_key_file: each "
                             "certificate needs its key, in the same order",
                             described(d), domain.certificate_files.size(),
                             domain.certificate_key_files.size()));
        }
    }

    void check_overlaps() {
        std::set<std::pair<size_t, size_t>> told;
        const auto clash = [&](size_t first, size_t second, const std::string& name) {
            if (first == second || !told.insert(std::minmax(first, second)).second) return;
            const auto [a, b] = std::minmax(first, second);
            tell(
                Level::Error, Rule::Overlap, b,
                fmt::format("{} and {} overlap in {}: a name can belong to one domain only; remove "
                            "it from one of them, or set match_names = \"servernames\"",
                            described(b), described_with_place(a), name));
        };
        for (size_t d = 0; d < result_.domains.size(); ++d) {
            for (const std::string& name : result_.domains[d].names) {
                // One of the others is enough: of a name that thousands have, not every pair.
                clash(*index_.first(name), d, name);
                if (const auto other = index_.first_wildcard(name)) clash(*other, d, name);
            }
        }
    }

    void link() {
        for (size_t s = 0; s < sites_.size(); ++s) {
            if (sites_[s].is_default && !options_.base_server) continue;
            std::vector<Link>& links = links_[s];
            for (const size_t d : index_.candidates(sites_[s])) {
                const Hit found = hit(sites_[s], result_.domains[d], options_.names);
                if (found == Hit::None) continue;
                if (options_.names == MatchNames::ServerNames && links.size() == 1) {
                    // A name beats a wildcard, whichever comes first.
                    if (found == Hit::Wildcard && links[0].how == Hit::Name) continue;
                    if (found == Hit::Name && links[0].how == Hit::Wildcard) links.clear();
                }
                links.push_back({d, found});
            }
        }
    }

    /// Decides which one domain the site belongs to; its hosts may become members.
    void settle(size_t s) {
        const SiteNames& site = sites_[s];
        const std::vector<Link>& links = links_[s];
        for (const Link& l : links) used_.insert(l.domain);
        if (links.empty()) return;
        if (links.size() > 1) {
            if (site.https) {
                tell(Level::Error, Rule::SeveralDomains, links[1].domain,
                     fmt::format("site {} ({}) belongs to {} and to {}: a site with TLS needs "
                                 "exactly one; split the site, or set match_names = "
                                 "\"servernames\"",
                                 site.hosts.front(), site.place, described(links[1].domain),
                                 described_with_place(links[0].domain)));
                return;
            }
            // Without TLS it only matters for redirects: that which has the first host.
            const auto at = std::find_if(links.begin(), links.end(), [&](const Link& l) {
                return result_.domains[l.domain].contains(site.hosts.front());
            });
            result_.site_domains[s] = at == links.end() ? links[0].domain : at->domain;
            return;
        }
        const size_t d = links[0].domain;
        result_.site_domains[s] = d;
        if (!site.https) return;
        with_https_.insert(d);
        for (const std::string& host : site.hosts) add_member(d, site, host);
    }

    void add_member(size_t d, const SiteNames& site, const std::string& host) {
        Domain& domain = result_.domains[d];
        if (domain.contains(host)) return;
        const std::optional<std::string> name = base::normalize_name(host);
        if (!name) return;  // what only routing understands
        if (!domain.auto_members) {
            tell(Level::Warning, Rule::NotMember, d,
                 fmt::format("site {} ({}) has the host {}, which is not a name of {}, whose "
                             "members are manual: no certificate covers it",
                             site.hosts.front(), site.place, host, described(d)));
            return;
        }
        domain.names.push_back(*name);
        const std::set<size_t> owners = index_.owners(*name);
        index_.add(*name, d);
        if (options_.names != MatchNames::All) return;
        for (const size_t other : owners) {
            if (other == d) continue;
            tell(Level::Warning, Rule::Overlap, d,
                 fmt::format("the host {} of site {} ({}) becomes a name of {}, and is one of {} "
                             "already",
                             host, site.hosts.front(), site.place, described(d),
                             described_with_place(other)));
        }
    }

    void check_use(size_t d) {
        Domain& domain = result_.domains[d];
        domain.used = used_.contains(d);
        if (!domain.used && domain.renew_mode != RenewMode::Always) {
            tell(Level::Warning, Rule::Unused, d,
                 fmt::format("{} has no site with one of its names: it gets no certificates; add a "
                             "site, or set renew_mode = \"always\"",
                             described(d)));
        }
        if (domain.used && domain.require_https != RequireHttps::Off && !with_https_.contains(d)) {
            tell(Level::Warning, Rule::NoHttps, d,
                 fmt::format("{} requires https, but none of its sites has TLS", described(d)));
        }
    }

    struct Link {
        size_t domain;
        Hit how;
    };
    const std::vector<ConfiguredDomain>& configured_;
    const std::vector<SiteNames>& sites_;
    const MatchOptions& options_;
    NameIndex index_;                       // of all domains' names
    std::vector<std::vector<Link>> links_;  // per site
    std::set<size_t> used_;                 // domains
    std::set<size_t> with_https_;
    MatchResult result_;
};

}  // namespace

bool MatchResult::ok() const {
    return std::none_of(messages.begin(), messages.end(),
                        [](const MatchMessage& message) { return message.level == Level::Error; });
}

MatchResult match_domains(const std::vector<ConfiguredDomain>& configured,
                          const std::vector<SiteNames>& sites, const MatchOptions& options) {
    return Matching(configured, sites, options).run();
}

std::optional<std::string> overlap(const Domain& a, const Domain& b) {
    for (const std::string& name : a.names) {
        if (b.contains(name)) return name;
    }
    for (const std::string& name : b.names) {
        if (a.contains(name)) return name;
    }
    return std::nullopt;
}

}  // namespace md
