// Which domain a site belongs to (mod_md.md, section 2), and what becomes of the store when the
// configuration changes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "md/credentials.h"
#include "md/domain.h"
#include "md/domain_json.h"
#include "md/store.h"

namespace md {

/// What matching needs to know of a [[site]].
struct SiteNames {
    std::vector<std::string> hosts;  // the first is mod_md's ServerName, the others ServerAlias
    bool https = false;              // served with TLS somewhere
    bool is_default = false;         // mod_md's base server
    std::string place;               // where it is configured, for messages
};

/// A domain as configured and where.
struct ConfiguredDomain {
    Domain domain;
    std::string place;  // "mdfront.toml:12", for messages
};

/// MDMatchNames.
enum class MatchNames : uint8_t { All, ServerNames };

struct MatchOptions {
    MatchNames names = MatchNames::All;
    bool base_server = false;  // MDBaseServer
};

/// Something to tell about the configuration. Errors refuse a start or reload.
struct MatchMessage {
    enum class Level : uint8_t { Error, Warning };
    /// What mod_md reports with these numbers.
    enum class Rule : uint16_t {
        Overlap = 10038,         // two domains share or cover a name
        NotMember = 10040,       // a manual domain lacks a host of its site
        Unused = 10045,          // no site uses the domain
        NoHttps = 10105,         // require-https without a site that has TLS
        StaticCount = 10170,     // numbers of certificate and key files differ
        SeveralDomains = 10238,  // a site with TLS belongs to more than one domain
    };
    Level level = Level::Error;
    Rule rule = Rule::Overlap;
    std::string domain;
    size_t index = 0;  // of that domain in what was configured
    std::string text;  // says the other places concerned and what to do
};

struct MatchResult {
    std::vector<Domain> domains;  // in order; names extended by automatic members, `used` set
    std::vector<std::optional<size_t>> site_domains;  // per site: index of its one domain
    std::vector<MatchMessage> messages;
    bool ok() const;
};

/// Links domains to sites and adds the sites' hosts to domains with automatic members.
MatchResult match_domains(const std::vector<ConfiguredDomain>& configured,
                          const std::vector<SiteNames>& sites, const MatchOptions& options);

/// mod_md.md 2.1: some name of `a` is contained in `b`, or the other way round. Returns that name.
std::optional<std::string> overlap(const Domain& a, const Domain& b);

/// A configured domain with what the store has of it.
struct ReconciledDomain {
    StoredDomain stored;
    std::vector<Slot> slots;         // one per key spec, or static file
    std::vector<Slot> archived;      // good pairs of the archive, for slots that are damaged
    std::vector<std::string> notes;  // what was done ("renamed from …"), for the log
    bool settings_changed = false;   // since they were stored
    std::optional<Problem> problem;  // the store failed for this domain; the others go on
};

/// ReadOnly: only tells what there is (somebody else has the store's lock).
enum class Reconcile : uint8_t { ReadOnly, Write };

/// Brings domains/ in line with the configuration (mod_md.md 2.4): a domain without a directory
/// takes over that of a former domain with the same names; md.json is written if anything in it
/// changed; state is evaluated. Contacts, account and effective CA are kept from the store if the
/// configuration has none (`domains` gets them too). Removes challenges/ of names that no domain
/// has any more. Nothing else is deleted. `others` are left alone: nobody takes over from them, and
/// their challenges stay.
std::vector<ReconciledDomain> reconcile(Store& store, Files& files, std::vector<Domain>& domains,
                                        base::Time now, Reconcile mode = Reconcile::Write,
                                        const std::vector<Domain>& others = {});

}  // namespace md
