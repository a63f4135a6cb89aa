// One attempt to get a domain new certificates: a complete, checked set in staging, or the reason
// why there is none (mod_md.md 4.5, 5.5). One engine thread; blocks on the network.
#pragma once

#include <functional>
#include <string>

#include "base/clock.h"
#include "md/acme_account.h"
#include "md/acme_client.h"
#include "md/dns01.h"
#include "md/domain.h"
#include "md/domain_json.h"
#include "md/event.h"
#include "md/job.h"
#include "md/key_factory.h"
#include "md/ports.h"
#include "md/store.h"
#include "md/transport.h"

namespace md {

class Drive {
  public:
    /// All of them outlive the drive.
    struct Parts {
        Store& store;
        base::Clock& clock;
        Transport& transport;
        ChallengePort& port;
        AccountRegistry& accounts;
        const EngineSettings& settings;
        const Dns01& dns01;
        KeyFactory& keys;
        const Events& events;
    };
    /// Told of each change of the job.
    using OnChange = std::function<void(const Job&)>;

    /// `live` is what domains/<name> holds now, `job` is kept up to date.
    Drive(Parts parts, const StoredDomain& live, Job& job, OnChange on_change)
        : parts_(parts),
          live_(live),
          domain_(live.domain),
          job_(job),
          on_change_(std::move(on_change)) {}

    /// `from_scratch`: what is staged is not used.
    Outcome<void> run(bool from_scratch);

  private:
    Outcome<void> prepare_staging(bool from_scratch);
    Outcome<void> take_from_tailscale();
    Outcome<std::string> choose_profile(const Directory& directory);
    Outcome<void> issue(AcmeClient& client, const KeySpec& spec,
                        const std::vector<std::string>& challenge_types,
                        const std::string& profile);
    std::string replaced_by(const Directory& directory, const KeySpec& spec);
    bool is_staged(const KeySpec& spec);
    void report(std::string_view activity);
    Outcome<void> announce(const std::string& type, const std::string& name);

    Parts parts_;
    const StoredDomain& live_;
    const Domain& domain_;
    Job& job_;
    OnChange on_change_;
    StoredDomain staged_;  // md.json of staging: the CA and account of this attempt
};

}  // namespace md
