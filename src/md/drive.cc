#include "md/drive.h"

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/activation.h"
#include "md/challenge.h"
#include "md/issuance.h"
#include "md/renewal.h"
#include "md/status_json.h"
#include "md/tailscale.h"

namespace md {

namespace {

constexpr int not_possible = 70023;  // APR_ENOTIMPL, as mod_md stores it

}  // namespace

Outcome<void> Drive::run(bool from_scratch) {
    if (auto prepared = prepare_staging(from_scratch); !prepared) return prepared;
    // A former process may have ended with everything there (mod_md.md 4.5) but the tidying.
    if (check_staged(parts_.store, domain_, parts_.clock.now())) {
        return drop_stored_order(parts_.store, parts_.dns01, domain_.name);
    }
    if (domain_.is_from_tailscale()) return take_from_tailscale();

    const ChallengeChoice challenges = choose_challenges(domain_, parts_.settings);
    if (challenges.types.empty()) {
        return make_problem(
            not_possible, "no challenge can be answered: " + base::join(challenges.reasons, "; "));
    }
    if (const std::string why = why_no_proof(domain_, parts_.settings, challenges.types);
        !why.empty()) {
        Problem problem = make_problem(not_possible, why);
        problem.type = "challenge-mismatch";
        return problem;
    }
    report(fmt::format("Contacting ACME server for {} at {}", domain_.name, staged_.ca_url));
    AcmeClient client(parts_.transport, parts_.clock, domain_);
    if (auto opened = client.open(staged_.ca_url); !opened) return opened;
    auto profile = choose_profile(client.directory());
    if (!profile) return profile.error();

    report("Looking for an account");
    const std::string& preferred =
        staged_.ca_account.empty() ? live_.ca_account : staged_.ca_account;
    auto account = parts_.accounts.obtain(client, domain_, preferred);
    if (!account) return account.error();
    client.use_account(account->key, account->url);
    if (staged_.ca_account != account->id) {
        staged_.ca_account = account->id;
        auto saved = save_domain(parts_.store, Group::Staging, staged_);
        if (!saved) return saved;
    }
    for (const KeySpec& spec : domain_.key_specs()) {
        if (auto issued = issue(client, spec, challenges.types, *profile); !issued) return issued;
    }
    return {};
}

/// Clears what cannot be continued, settles which CA it is, and writes md.json.
Outcome<void> Drive::prepare_staging(bool from_scratch) {
    if (domain_.ca_urls.empty()) {
        return make_problem(EINVAL, "no certificate_authority is configured");
    }
    const base::Time now = parts_.clock.now();
    std::string reason = staging_reset_reason(parts_.store, domain_, from_scratch, now);
    auto staged = load_domain(parts_.store, Group::Staging, domain_.name, now);
    if (!staged) return staged.error();
    const std::string current = *staged ? (*staged)->ca_url : std::string();
    const std::string chosen =
        choose_ca(domain_.ca_urls, current, job_.errors, parts_.settings.retry_failover);
    if (reason.empty() && current != chosen) {
        reason = fmt::format("the CA is now {}", chosen);
        base::log_warn("md", domain_.name, "after {} failures the CA is now {}", job_.errors,
                       chosen);
    }
    const bool goes_on = reason.empty();
    if (!goes_on) {
        base::log_debug("md", domain_.name, "staging starts from nothing: {}", reason);
        auto dropped = drop_stored_order(parts_.store, parts_.dns01, domain_.name);
        if (!dropped) return dropped;
        if (auto reset = reset_staging(parts_.store, domain_.name); !reset) return reset;
    }
    staged_ = {};
    staged_.domain = domain_;
    staged_.ca_url = chosen;
    staged_.state = live_.state;
    staged_.state_description = live_.state_description;
    if (goes_on) {
        staged_.ca_account = (*staged)->ca_account;
        return {};
    }
    return save_domain(parts_.store, Group::Staging, staged_);
}

/// The daemon's certificate, if it is another than what is served.
Outcome<void> Drive::take_from_tailscale() {
    report(fmt::format("Asking tailscale for {} at {}", domain_.name, staged_.ca_url));
    const base::Time now = parts_.clock.now();
    auto fetched =
        fetch_from_tailscale(parts_.transport, staged_.ca_url, domain_.names.front(), now);
    if (!fetched) return fetched.error();
    const KeySpec spec = domain_.key_specs().front();
    const auto refuse = [&](Problem why) {
        if (!fetched->chain_pem.empty()) {
            keep_rejected(parts_.store, domain_.name, spec, fetched->chain_pem,
                          fetched->key_pem.text(), why, now);
        }
        return why;
    };
    auto read = read_chain(fetched->chain_pem, fetched->key_pem.text());
    if (!read) {
        return refuse(
            make_problem(EINVAL, fmt::format("what tailscale gives for {} cannot be used: {}",
                                             domain_.names.front(), read.error().detail)));
    }
    const tls::Certificate& certificate = **read;
    if (auto good = check_certificate(domain_, certificate, now); !good) {
        return refuse(good.error());
    }
    const auto slots = load_credentials(parts_.store, Group::Domains, domain_.name, {spec});
    const Slot& served = slots.front();
    if (served.certificate && served.certificate->leaf == certificate.leaf) {
        return not_renewed_yet(certificate, now);
    }
    const base::Secret key = key_to_pem(certificate);
    return save_credential(parts_.store, Group::Staging, domain_.name, spec,
                           chain_to_pem(certificate), key.text());
}

Outcome<std::string> Drive::choose_profile(const Directory& directory) {
    if (domain_.profile.empty()) return std::string();
    if (const auto offered = directory.profile(domain_.profile)) return *offered;
    const std::string text =
        fmt::format("the CA does not offer the profile {}; it offers {}", domain_.profile,
                    directory.profiles.empty() ? "none" : base::join(directory.profiles, ", "));
    if (domain_.profile_mandatory) {
        Problem problem =
            make_problem(ENOENT, text + "; change profile, or switch profile_mandatory off");
        problem.type = "urn:ietf:params:acme:error:invalidProfile";
        return problem;
    }
    base::log_warn("md", domain_.name, "{}; going on without", text);
    return std::string();
}

Outcome<void> Drive::issue(AcmeClient& client, const KeySpec& spec,
                           const std::vector<std::string>& challenge_types,
                           const std::string& profile) {
    if (is_staged(spec)) return {};
    Issuance issuance(
        {.client = client,
         .store = parts_.store,
         .port = parts_.port,
         .domain = domain_,
         .challenge_types = challenge_types,
         .dns01 = parts_.dns01,
         .keys = parts_.keys,
         .profile = profile,
         .replaces = replaced_by(client.directory(), spec),
         .report = [this](std::string_view activity) { report(activity); },
         .announce = [this](const std::string& type,
                            const std::string& name) { return announce(type, name); }});
    return issuance.run(spec);
}

/// The certificate that a new one for `spec` replaces, if its CA is this one and wants to know.
std::string Drive::replaced_by(const Directory& directory, const KeySpec& spec) {
    if (!domain_.renew_via_ari || directory.renewal_info.empty() ||
        live_.ca_url != staged_.ca_url) {
        return "";
    }
    const std::vector<Slot> slots =
        load_credentials(parts_.store, Group::Domains, domain_.name, {spec});
    const Slot& slot = slots.front();
    return slot.certificate ? ari_certificate_id(*slot.certificate) : "";
}

/// Whether an earlier attempt got as far as this. A chain that cannot be used is in the way.
bool Drive::is_staged(const KeySpec& spec) {
    const std::vector<Slot> slots =
        load_credentials(parts_.store, Group::Staging, domain_.name, {spec});
    const Slot& slot = slots.front();
    return slot.certificate &&
           check_certificate(domain_, *slot.certificate, parts_.clock.now()).ok();
}

Outcome<void> Drive::announce(const std::string& type, const std::string& name) {
    auto raised =
        parts_.events.raise({EventKind::ChallengeSetup, type + ":" + name}, domain_, job_);
    on_change_(job_);
    return raised;
}

void Drive::report(std::string_view activity) {
    if (job_.activity == activity) return;
    job_.activity = std::string(activity);
    job_.note(parts_.clock.now(), "progress", "", job_.activity);
    on_change_(job_);
}

}  // namespace md
