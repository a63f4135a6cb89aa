// The rules about staples and revoked certificates: 9 to 15 of invariants.h, which has the
// arithmetic.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "md/domain.h"
#include "sim_responder.h"
#include "tls/certificate_index.h"

namespace md::test {

class SimWorld;

class StapleInvariants {
  public:
    explicit StapleInvariants(SimWorld& world) : world_(world) {}

    void on_question(const SimResponder& responder, const HttpRequest& request,
                     const std::string& serial);
    void on_answer(const SimResponder& responder, const HttpRequest& request,
                   const SimResponder::Given& given);
    /// A process begins. `is_well`: the store was, since the last step.
    void on_start(bool is_well);
    /// The domain gets other settings.
    void on_settings(const std::string& domain);
    /// The domain is taken out of the configuration: what is not on disk is forgotten.
    void on_taken_out(const std::string& domain);
    void on_jump();
    /// `is_well`: the store was, in this step.
    void after_step(bool is_well);

    /// Whether its responder has said so, to this process or another.
    bool was_revoked(const tls::Certificate& certificate) const;

  private:
    using CertificatePtr = std::shared_ptr<const tls::Certificate>;
    struct Silence {
        base::Time until;
        bool is_durable = false;  // the store was well when it was heard: a new process knows it
    };
    /// What is known of one certificate.
    struct Watch {
        std::string domain;
        bool was_served = false;
        std::map<std::string, bool> good;  // answers that may be stapled: do they lie in the store?
        std::optional<Silence> silence;
        base::Time silent_until = base::Time::min();
        std::deque<base::Time> questions;           // of the last day
        std::shared_ptr<const tls::Staple> staple;  // as of the last step
        // Until when there has to be one: in this process, and in the next.
        base::Time kept_until = base::Time::min();
        base::Time stored_until = base::Time::min();
        std::optional<base::Time> stapled_since;  // it is served, and to be stapled
        bool is_known = false;                    // that it was revoked, to this process
        bool was_revoked = false;                 // as the responder has said at some time
        std::optional<base::Time> told;           // … and nobody may forget
    };
    /// What was heard in the step that is under way.
    struct News {
        std::string key;
        std::string good = {};  // the answer
        bool is_revoked = false;
        bool is_silence = false;
    };

    static std::string key_of(const tls::Certificate& certificate);
    const Watch* find(const tls::Certificate& certificate) const;
    SimResponder* responder_of(const tls::Certificate& certificate) const;
    void settle_news(bool is_well);
    static bool is_durable(const std::optional<Silence>& silence);
    void check_staple(const Domain& domain, const tls::Certificate& certificate);
    void check_missing(const Domain& domain, const tls::Certificate& certificate,
                       const Watch& watch) const;
    void check_revoked(const Domain& domain, const std::vector<CertificatePtr>& served) const;
    void check_keys(const Domain& domain, const std::vector<CertificatePtr>& served) const;
    void check_bounds();
    void check_removed() const;
    size_t files() const;

    SimWorld& world_;
    std::map<std::string, Watch> watches_;
    std::vector<News> news_;
    std::map<std::string, int> publications_;
    std::deque<base::Time> excuses_;  // starts, jumps, other settings: what begins anew
    bool has_started_ = false;        // in this step
    size_t files_at_start_ = 0;
    size_t certificates_at_start_ = 0;
    size_t steps_ = 0;
};

}  // namespace md::test
