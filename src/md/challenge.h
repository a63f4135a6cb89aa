// Answering the CA's challenges: http-01 (RFC 8555 8.3) and tls-alpn-01 (RFC 8737), from the
// workers' memory and from challenges/ in the store (mod_md.md 3.6, 5.6, 5.7). A further type is a
// row in the table of challenge.cc with what sets it up.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "md/acme_authorization.h"
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

/// What is set up for one order. Everything is withdrawn at the end of its life, at the latest.
class ChallengeAnswers {
  public:
    /// All of them must outlive this.
    ChallengeAnswers(ChallengePort& port, Store& store, base::Clock& clock, const Domain& domain,
                     const AccountKey& key)
        : port_(port), store_(store), clock_(clock), domain_(domain), key_(key) {}
    ~ChallengeAnswers() { withdraw(); }
    ChallengeAnswers(const ChallengeAnswers&) = delete;
    ChallengeAnswers& operator=(const ChallengeAnswers&) = delete;

    /// Makes the answer for the first type of `types` that the CA offers and that can be set up:
    /// when this returns, all workers give it. The result is the challenge to tell the CA of.
    Outcome<const Challenge*> set_up(const std::vector<std::string>& types,
                                     const Authorization& authorization);
    /// order.json's "http-01:<name>".
    const std::vector<std::string>& setups() const { return setups_; }
    void withdraw();

  private:
    struct Answer {
        std::string type;
        std::string name;
        std::string token;
    };
    using SetUp = Outcome<void> (ChallengeAnswers::*)(const Authorization&, const Challenge&);
    struct Method {
        std::string_view type;
        SetUp set_up;
    };
    static const Method methods[];

    Outcome<void> set_up_http01(const Authorization& authorization, const Challenge& challenge);
    Outcome<void> set_up_alpn(const Authorization& authorization, const Challenge& challenge);

    ChallengePort& port_;
    Store& store_;
    base::Clock& clock_;
    const Domain& domain_;
    const AccountKey& key_;
    std::vector<Answer> answers_;
    std::vector<std::string> setups_;
};

/// Removes what an earlier run of the process left in the store for an order.
void remove_stored_answers(Store& store, const std::vector<std::string>& challenge_setups);

}  // namespace md
