// One certificate for one key: an order from its creation to the chain in staging (mod_md.md 5.5).
// Goes on with the order that order.json names, at whatever step a former process ended (faults.md
// CA-31, CA-32, CA-47). One engine thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "md/acme_order.h"
#include "md/challenge.h"
#include "md/domain.h"
#include "md/key_factory.h"
#include "md/ports.h"
#include "md/store.h"

namespace md {

class Issuance {
  public:
    /// What the drive does now, for job.json and people.
    using Report = std::function<void(std::string_view activity)>;
    struct Parts {
        AcmeClient& client;
        Store& store;
        ChallengePort& port;
        const Domain& domain;
        const std::vector<std::string>& challenge_types;
        const Dns01& dns01;
        KeyFactory& keys;
        std::string profile;   // as the CA spells it, or ""
        std::string replaces;  // RFC 9773 5: id of the certificate that is renewed, or ""
        Report report;
        /// The event "challenge-setup:<type>:<name>".
        std::function<Outcome<void>(const std::string& type, const std::string& name)> announce;
    };

    explicit Issuance(Parts parts);

    /// Leaves key and chain for `spec` in staging.
    Outcome<void> run(const KeySpec& spec);

  private:
    Outcome<void> attempt(const KeySpec& spec);
    Outcome<void> complete(const KeySpec& spec, ChallengeAnswers& answers);
    Outcome<void> remember(const std::vector<std::string>& setups);
    Outcome<void> resume_or_create(const KeySpec& spec);
    bool can_go_on(const KeySpec& spec);
    Outcome<void> authorize(ChallengeAnswers& answers);
    Outcome<void> begin_authorizations(ChallengeAnswers& answers, std::vector<Authorization>& open);
    Outcome<void> begin_authorization(ChallengeAnswers& answers, const Authorization& one);
    Outcome<void> await_authorizations(std::vector<Authorization> open);
    Problem refused_authorizations(const std::vector<Authorization>& refused);
    Outcome<void> await_order(std::string_view what, bool (*done)(OrderStatus));
    Outcome<void> finalize(const KeySpec& spec);
    Outcome<base::Secret> key_for(const KeySpec& spec);
    Outcome<void> download(const KeySpec& spec);
    Problem reject(const KeySpec& spec, const std::string& chain, const Problem& why);
    Outcome<void> save_chain(const KeySpec& spec, const tls::Certificate& certificate);
    Outcome<void> drop_order();
    Problem order_is_invalid();

    Parts parts_;
    const std::vector<std::string> names_;
    Order order_;
    bool resumed_ = false;     // the order is one that a former attempt created
    bool order_dead_ = false;  // nothing comes of this order any more
};

/// Takes down what the order in staging has set up, and forgets the order. Before staging is
/// cleared: TXT records are nowhere else written down. stopping_problem() if something is left.
Outcome<void> drop_stored_order(Store& store, const Dns01& dns, const std::string& domain);

}  // namespace md
