#include "md/activation.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "md/acme_account.h"
#include "md/csr.h"
#include "md/json.h"
#include "tls/trial_handshake.h"

namespace md {

namespace {

constexpr base::Duration lifetime_odd = std::chrono::hours{24 * 365 * 10};

Problem refused(const std::string& why) {
    return make_problem(EINVAL, "the certificate is refused: " + why);
}

/// They come from the CA.
std::string listed(const std::set<std::string>& names) {
    std::vector<std::string> texts;
    for (const std::string& name : names) texts.push_back(base::escape_for_log(name, 100));
    return base::join(texts, ", ");
}

}  // namespace

Outcome<std::shared_ptr<const tls::Certificate>> read_chain(std::string_view chain_pem,
                                                            std::string_view key_pem) {
    auto certificate = tls::read_certificate(chain_pem, key_pem);
    if (!certificate) return refused(certificate.error().message());
    return std::move(certificate).value();
}

Outcome<void> check_certificate(const Domain& domain, const tls::Certificate& certificate,
                                base::Time now) {
    const std::vector<std::string> in_it = subject_alt_names(certificate.leaf);
    const std::vector<std::string> asked_for = domain.minimal_names();
    const std::set<std::string> found(in_it.begin(), in_it.end());
    const std::set<std::string> wanted(asked_for.begin(), asked_for.end());
    if (found != wanted) {
        return refused(fmt::format("it is for {}, asked for was {}",
                                   found.empty() ? "no names" : listed(found), listed(wanted)));
    }
    if (certificate.chain.empty()) {
        return refused("the certificate of its issuer did not come with it");
    }
    if (certificate.not_before > now + clock_skew_max) {
        return refused(fmt::format("it is not valid before {}; is the clock of this machine right?",
                                   base::format_rfc3339(certificate.not_before)));
    }
    if (certificate.not_after <= now) {
        return refused(fmt::format("it expired at {}; is the clock of this machine right?",
                                   base::format_rfc3339(certificate.not_after)));
    }
    if (certificate.not_after - certificate.not_before > lifetime_odd) {
        base::log_warn("md", domain.name, "the CA made a certificate that is valid until {}",
                       base::format_rfc3339(certificate.not_after));
    }
    if (certificate.must_staple != domain.must_staple) {
        base::log_warn("md", domain.name, "must_staple is {}, and the CA's certificate has it {}",
                       domain.must_staple ? "on" : "off", certificate.must_staple ? "on" : "off");
    }
    return {};
}

Outcome<std::vector<Slot>> check_staged(Store& store, const Domain& domain, base::Time now) {
    std::vector<Slot> staged =
        load_credentials(store, Group::Staging, domain.name, domain.key_specs());
    for (const Slot& slot : staged) {
        if (slot.fault != Slot::Fault::None) return make_problem(ENOENT, slot.why);
        if (auto good = check_certificate(domain, *slot.certificate, now); !good) {
            return good.error();
        }
    }
    return staged;
}

Outcome<void> try_staged(const Domain& domain, const std::vector<Slot>& staged) {
    // The name that a client would ask for; below a wildcard any will do.
    std::string name = domain.names.front();
    if (name.starts_with("*.")) name = "mdfront-trial" + name.substr(1);
    for (const Slot& slot : staged) {
        const std::string why = tls::why_no_handshake(*slot.certificate, name);
        if (!why.empty()) {
            return refused(fmt::format("a handshake with it ({}) fails: {}", slot.label, why));
        }
    }
    return {};
}

void keep_rejected(Store& store, const std::string& domain, const KeySpec& spec,
                   std::string_view chain_pem, std::string_view key_pem, const Problem& why,
                   base::Time now) {
    const std::string place = domain + ".rejected";
    Json json;
    json["when"] = base::format_http_date(now);
    json["certificate"] = chain_file(spec);
    json["why"] = why.message();
    auto kept = store.save(Group::Archive, place, chain_file(spec), chain_pem);
    if (kept && !key_pem.empty()) {
        kept = store.save_key(Group::Archive, place, key_file(spec), key_pem);
    }
    if (kept) kept = store.save(Group::Archive, place, "rejected.json", json_text(json));
    if (kept) {
        base::log_warn("md", domain, "what was refused is kept in archive/{}", place);
    } else {  // a courtesy
        base::log_warn("md", domain, "what was refused is not kept: {}", kept.error().message());
    }
}

Outcome<void> transfer_staged(Store& store, AccountRegistry& accounts, const Domain& domain,
                              const std::vector<Slot>& staged, const Job& job, base::Time now) {
    auto settings = load_domain(store, Group::Staging, domain.name, now);
    if (!settings) return settings.error();
    if (!*settings) return make_problem(ENOENT, "staging has no md.json");
    auto adopted = accounts.adopt_staged(domain.name);
    if (!adopted) return adopted.error();

    StoredDomain stored;
    stored.domain = domain;
    stored.ca_url = (*settings)->ca_url;
    stored.ca_account = adopted->empty() ? (*settings)->ca_account : *adopted;
    // mod_md stages a new account with the first of the domains that share it.
    if (stored.ca_account.empty() && !domain.is_from_tailscale())
        stored.ca_account = accounts.known_for(stored.ca_url, domain);
    const StateReport report = evaluate_state(domain, staged);
    stored.state = report.state;
    stored.state_description = report.description;

    if (auto done = store.purge(Group::Tmp, domain.name); !done) return done;
    if (auto done = save_domain(store, Group::Tmp, stored); !done) return done;
    for (const Slot& slot : staged) {
        auto saved = save_credential(store, Group::Tmp, domain.name, slot.spec, slot.chain_pem,
                                     slot.key_pem.text());
        if (!saved) return saved;
    }
    if (auto done = save_job(store, Group::Tmp, job); !done) return done;
    if (auto done = store.activate_tmp(domain.name); !done) return done;

    // Done: what is left is tidying.
    auto purged = store.purge(Group::Staging, domain.name);
    if (!purged) base::log_warn("md", domain.name, "{}", purged.error().message());
    for (const std::string& name : domain.names) {
        purged = store.purge(Group::Challenges, name);
        if (!purged) base::log_warn("md", domain.name, "{}", purged.error().message());
    }
    return {};
}

Outcome<void> reset_staging(Store& store, const std::string& name) {
    // md.json makes a set of what is there: it goes first.
    if (auto removed = store.remove(Group::Staging, name, "md.json"); !removed) return removed;
    auto aspects = store.aspects(Group::Staging, name);
    if (!aspects) return aspects.error();
    for (const std::string& aspect : *aspects) {
        if (aspect.starts_with("job.json")) continue;
        if (auto removed = store.remove(Group::Staging, name, aspect); !removed) return removed;
    }
    return {};
}

}  // namespace md
