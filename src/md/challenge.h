// Answering the CA's challenges: http-01 (RFC 8555 8.3) and tls-alpn-01 (RFC 8737), from the
// workers' memory and from challenges/ in the store (mod_md.md 3.6, 5.6, 5.7), and dns-01 by a
// program (dns01.h). A further type is a row in the table of challenge.cc with what sets it up.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "md/acme_authorization.h"
#include "md/dns01.h"
#include "md/domain.h"
#include "md/jws.h"
#include "md/ports.h"
#include "md/store.h"

namespace md {

inline constexpr std::string_view http01 = "http-01";
inline constexpr std::string_view tls_alpn01 = "tls-alpn-01";

/// The types to try, in order (mod_md.md 5.6), and why the others are not among them.
struct ChallengeChoice {
    std::vector<std::string> types;
    std::vector<std::string> reasons;
};
ChallengeChoice choose_challenges(const Domain& domain, const EngineSettings& settings);

/// Why a wildcard or an IP address among the domain's names cannot be proved by any of these types;
/// "" if all can.
std::string why_no_proof(const Domain& domain, const EngineSettings& settings,
                         const std::vector<std::string>& types);

/// What is set up for one order. Everything is withdrawn at the end of its life, at the latest.
class ChallengeAnswers {
  public:
    /// All references must outlive the answers.
    struct Parts {
        ChallengePort& port;
        Store& store;
        base::Clock& clock;
        const Domain& domain;
        const AccountKey& key;
        const Dns01& dns01;
        /// Keeps setups() where the next process finds them: before a program makes something that
        /// outlives us.
        std::function<Outcome<void>(const std::vector<std::string>& setups)> remember;
        /// The event "challenge-setup:<type>:<name>": its failure makes the type fail.
        std::function<Outcome<void>(const std::string& type, const std::string& name)> announce;
    };

    explicit ChallengeAnswers(Parts parts) : parts_(std::move(parts)) {}
    ~ChallengeAnswers() { (void)withdraw(); }  // what is left of it stands in order.json
    ChallengeAnswers(const ChallengeAnswers&) = delete;
    ChallengeAnswers& operator=(const ChallengeAnswers&) = delete;

    /// Makes the answer for the first type of `types` that the CA offers and that can be set up:
    /// when this returns, all workers give it. The result is the challenge to tell the CA of.
    Outcome<const Challenge*> set_up(const std::vector<std::string>& types,
                                     const Authorization& authorization);
    /// order.json's "http-01:<name>".
    const std::vector<std::string>& setups() const { return setups_; }
    /// Returns the setups that are still to be taken down, because the engine stops.
    std::vector<std::string> withdraw();

  private:
    struct Answer {
        std::string type;
        std::string name;
        std::string token;
        std::string value;  // dns-01
    };
    using SetUp = Outcome<void> (ChallengeAnswers::*)(const Authorization&, const Challenge&);
    struct Method {
        std::string_view type;
        SetUp set_up;
    };
    static const Method methods[];

    Outcome<void> set_up_http01(const Authorization& authorization, const Challenge& challenge);
    Outcome<void> set_up_alpn(const Authorization& authorization, const Challenge& challenge);
    Outcome<void> set_up_dns01(const Authorization& authorization, const Challenge& challenge);

    const Parts parts_;
    std::vector<Answer> answers_;
    std::vector<std::string> setups_;
};

/// Removes what an earlier run of the process left for an order: data in the store, TXT records.
/// Returns the setups that are still to be taken down, because the engine stops.
std::vector<std::string> remove_stored_answers(Store& store, const Dns01& dns,
                                               const std::vector<std::string>& challenge_setups);

}  // namespace md
