// The engine: looks after all domains. Publishes what the store has, renews what is due (mod_md.md,
// section 4), installs what came of it at once, and tells about it.
//
// Threads: `domains_in_parallel` of its own, each driving one domain at a time; domains of one CA
// get half of them at most, so that a CA that hangs delays nobody else's domains (faults.md CA-09).
// What is public may be called from any thread. One mutex guards the table of domains; nobody holds
// it while waiting for a disk, a CA or a worker.
//
// The configured domains may change at any time: change_domains() gives the whole new list, and the
// difference to the table is settled at once, but for what threads work on just now and what shares
// names with it. That is settled when the last of them gives its domain back (table_change.h). An
// entry never changes under a thread's hands: a new one takes its place.
//
// Unlike mod_md, a failure and what the CA asked for with it (Retry-After) outlive a restart: they
// stand in job.json and are respected. What is served never depends on a job, nor on a command: a
// set whose event "renewed" fails is installed all the same, and the event raised again later.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "md/acme_account.h"
#include "md/commands.h"
#include "md/credentials.h"
#include "md/domain.h"
#include "md/domain_json.h"
#include "md/domain_summary.h"
#include "md/event.h"
#include "md/files.h"
#include "md/job.h"
#include "md/key_factory.h"
#include "md/match.h"
#include "md/ports.h"
#include "md/renewal_info.h"
#include "md/revocation.h"
#include "md/stapler.h"
#include "md/status_json.h"
#include "md/store.h"
#include "md/transport.h"

namespace md {

/// A clock whose sleepers the engine can wake: it looks up several times a second.
class StoppableClock final : public base::Clock {
  public:
    explicit StoppableClock(base::Clock& clock) : clock_(clock) {}
    base::Time now() override { return clock_.now(); }
    bool sleep(base::Duration duration) override;
    void stop() { stopped_.store(true, std::memory_order_relaxed); }
    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

  private:
    base::Clock& clock_;
    std::atomic<bool> stopped_{false};
};

class Engine final : public StaplerListener {
  public:
    using TransportFactory = std::function<std::unique_ptr<Transport>()>;

    /// All references must outlive the engine. `domains` are those of the configuration, matched
    /// (match.h). `stapler`: null, nothing is stapled; it must tell nobody any more when the engine
    /// ends.
    Engine(EngineSettings settings, std::vector<Domain> domains, Store& store, Files& files,
           base::Clock& clock, base::Random& random, TransportFactory transports,
           ChallengePort& challenges, CertificatePort& certificates, Commands& commands,
           KeyFactory& keys, Stapler* stapler = nullptr);
    ~Engine() override;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// Brings the store in line with the configuration, installs sets that wait in staging, and
    /// publishes what each domain has: its certificates, or a fallback. Called once, before the
    /// listeners open. What fails for one domain is logged and does not keep the others.
    Outcome<void> load();

    /// These are the configured domains from now on, matched (match.h). For those that are new or
    /// changed the store is brought in line, and what there is for them is published, as at the
    /// start; then they are visited. Those that are gone are withdrawn and looked after no more;
    /// what the store has of them stays there (mod_md.md 2.4). Returns when all that can be done at
    /// once is done; the rest follows by itself. What fails for one domain is logged and does not
    /// keep the others.
    void change_domains(std::vector<Domain> domains);

    /// Starts the threads. Call stop() before the end.
    void start();
    /// Ends them: what is under way gives up within a second, and is continued after a restart.
    void stop();

    /// Instead of start(), for tests: works on everything that is due now, on the calling thread,
    /// until nothing is. Returns how many visits that were.
    size_t run_due();
    /// When the next domain is due; nullopt without domains.
    std::optional<base::Time> next_due() const;

    // What people ask for is done as soon as a thread is free; DomainSummary tells what came of it.
    // The Problem: it cannot be done at all.

    /// Renews this domain from scratch, whatever its window and back-off say.
    Outcome<void> renew_now(const std::string& name);
    /// Revokes what the domain serves at its CA (RFC 8555 7.6), then renews it with new keys. They
    /// are due for renewal from then on, also after a restart.
    Outcome<void> revoke_now(const std::string& name, RevocationReason reason);
    /// Gives the account with that id a new key (RFC 8555 7.3.5). The result is the domain whose
    /// visit does it.
    Outcome<std::string> roll_account_key(const std::string& account_id);
    /// The accounts in the store, and who uses them.
    std::vector<AccountSummary> accounts() const;

    /// md-status (mod_md.md 7.1): of the domain with that name or containing that DNS name, else
    /// the list.
    std::string status_json(const std::string& name_or_empty) const;
    std::vector<DomainSummary> summaries() const;
    /// The one with that name, else the one that contains it.
    std::optional<DomainSummary> summary(const std::string& name) const;
    /// mod_md's part of server-status, as lines or as a table (server_status.h).
    std::string server_status(bool as_lines, const CertificateCheck& check) const;

    // From the stapler.
    void on_revoked(const std::string& domain, const RevokedCertificate& revoked) override;
    void on_staple_report(const std::string& domain) override;

  private:
    /// What somebody asked for, for the next visit.
    struct Requests {
        bool renew = false;
        std::optional<RevocationReason> revoke;
        bool roll_account_key = false;
        bool any() const { return renew || revoke || roll_account_key; }
    };
    /// A domain in the table. All but the constant part is guarded by mutex_.
    struct Entry {
        Domain configured;  // constant
        StoredDomain stored;
        std::vector<Slot> served;  // without PEM texts
        std::vector<Slot> archived;
        std::vector<Slot> staged;
        std::optional<Job> job;      // the one in staging, or of an installed set (is_announcing)
        bool is_announcing = false;  // the set is served, and events of it are still to be raised
        std::vector<RenewalInfo> renewal_infos;         // of what is served, if the CA advises
        std::vector<RevokedCertificate> revoked;        // among what is served
        bool is_revoked_unsaved = false;                // the disk has not taken it
        std::vector<RevokedCertificate> found_revoked;  // by the stapler, for the next visit
        std::vector<base::Time> urgent_renewals;        // done because of that, within a day
        base::Time next_visit{};
        base::Time job_saved{};  // when the job last went to disk
        size_t number = 0;       // in the order of the configuration
        bool running = false;    // a thread works on it, or it is leaving: not in the queue
        bool leaving = false;    // its successor or its end is being prepared
        Requests requests;
        bool is_answering = false;  // a visit that sees to requests is under way
        uint64_t requests_done = 0;
        std::string request_error;
        base::Time contacts_due{};  // when the CA is told a changed contact; max(): it knows
        bool driving = false;
    };
    /// By next_visit, which does not change while an entry is queued; then as configured.
    struct Sooner {
        bool operator()(const Entry* a, const Entry* b) const {
            return std::pair(a->next_visit, a->number) < std::pair(b->next_visit, b->number);
        }
    };
    /// What a visit works on: a copy, written back step by step.
    struct Visit {
        Entry& entry;
        StoredDomain stored;
        std::vector<Slot> served;
        Job job;
        bool is_announcing = false;  // job is that of domains/, not of staging/
        std::vector<RenewalInfo> renewal_infos = {};
        std::vector<RevokedCertificate> revoked = {};
        bool is_revoked_unsaved = false;
        std::string failure = {};  // of this visit, for those who asked for it
    };

    // Which domains there are: engine_domains.cc.
    /// What is being done to the table: from plan to finish nobody else takes what is leaving.
    struct Settlement {
        std::vector<Domain> wanted;
        std::vector<Entry*> leaving;
        std::vector<Domain> coming;
        std::vector<Domain> others;  // that stay, or wait
        std::vector<std::unique_ptr<Entry>> made;
    };
    void settle_domains(base::Duration first_visit_after);
    Settlement begin_settlement();
    void make_entries(Settlement& settlement, base::Duration first_visit_after);
    std::unique_ptr<Entry> make_entry(ReconciledDomain known, const Entry* former, bool may_write,
                                      base::Time first_visit);
    void withdraw_gone(const Settlement& settlement);
    void remember_contacts(const Settlement& settlement);
    void finish_settlement(Settlement& settlement);

    // Scheduling.
    void work();
    Entry* take_due(base::Time now);
    base::Duration wait_max() const;
    bool correct_times(Job& job, base::Time now) const;
    void replan(base::Time now);
    void give_back(Entry& entry, base::Time next_visit);
    std::optional<base::Duration> until_next(base::Time now) const;
    void run(Entry& entry, Transport& transport);

    // One visit; each returns when to come again. engine_visit.cc.
    base::Time visit(Entry& entry, Transport& transport);
    /// `is_urgent`: what is served was just revoked; a set that waits is taken at once, else one is
    /// ordered.
    base::Time visit(Visit& visit, Transport& transport, bool requested, bool is_urgent);
    void look_again(Visit& visit);
    base::Time renew(Visit& visit, Transport& transport, bool requested);
    Outcome<void> guard(const Domain& domain, const std::vector<Slot>& staged, base::Time now);
    base::Time failed(Visit& visit, const Problem& problem);
    base::Time install_when_ready(Visit& visit);
    base::Time next_check(Visit& visit, bool is_fresh);
    base::Time due_at(const Visit& visit, base::Time now);
    /// domains/<name> gets the staged set, and everybody is served it. Runs no command.
    Outcome<void> install(Visit& visit, const std::vector<Slot>& staged);
    base::Duration served_left(const Visit& visit);
    /// Counts a failure and sets next_run; returns it.
    base::Time count_failure(Visit& visit, const Problem& problem);

    // What people ask for, and what the CA is told besides orders: engine_requests.cc.
    Outcome<void> request(const std::string& name, const std::function<void(Requests&)>& ask);
    void answer(Visit& visit, Transport& transport, const Requests& requests);
    Outcome<void> revoke(Visit& visit, Transport& transport, RevocationReason reason);
    Outcome<void> change_account_key(Visit& visit, Transport& transport);
    void tell_contacts(Visit& visit, Transport& transport);

    // ARI: engine_renewal_info.cc.
    void ask_for_renewal_info(Visit& visit, Transport& transport);
    static void tell_renewal_info(const std::string& domain, const std::string& label,
                                  const RenewalInfo* former, const RenewalInfo& info);
    void keep_renewal_infos(const Visit& visit);
    static base::Time advised_at(const std::vector<RenewalInfo>& infos);
    static base::Time next_look_at(const std::vector<RenewalInfo>& infos);

    // Events and the jobs that wait for them: engine_events.cc.
    Outcome<void> raise(Visit& visit, EventKind kind);
    bool may_begin(Visit& visit);
    void carry_log_over(Visit& visit);
    std::optional<base::Time> announce(Visit& visit);
    base::Time renewal_beside_announcement(const Visit& visit, base::Time now);
    base::Time look_after_expiry(Visit& visit);
    Outcome<void> warn_of_expiry(Visit& visit);
    void tell_status(const Visit& visit);

    // Staples, and certificates that were revoked: engine_staples.cc.
    void watch_staples(const Entry& entry);
    std::vector<std::shared_ptr<const tls::Certificate>> unrevoked(const Entry& entry) const;
    std::optional<RevokedCertificate> told_revoked(const Domain& domain,
                                                   const tls::Certificate& certificate) const;
    Outcome<void> get_staples(Visit& visit, const std::vector<Slot>& staged);
    void look_for_revoked(Entry& entry) const;
    Outcome<void> keep_revoked(Visit& visit);
    bool learn_revoked(Visit& visit, const std::vector<RevokedCertificate>& found);
    base::Time revoked_due_at(const Visit& visit, base::Time now) const;
    void count_urgent_renewal(Visit& visit);
    base::Duration activation_delay(const Visit& visit, base::Time now) const;

    // The table; what is told of it: engine_status.cc.
    /// Certificates stay, texts with private keys in them do not.
    static std::vector<Slot> without_texts(const std::vector<Slot>& slots);
    void save(Visit& visit, bool force);
    void load_job_of(Entry& entry);
    void forget_job(Visit& visit, bool keep_log);
    void publish(const Entry& entry);
    void publish_status(const Entry& entry);
    bool install_at_start(Entry& entry);
    DomainStatus status_of(const Entry& entry) const;
    DomainSummary summary_of(const Entry& entry) const;
    const Entry* find_entry(const std::string& name) const;

    const EngineSettings settings_;
    Store& store_;
    Files& files_;
    mutable StoppableClock clock_;  // asking for the time changes nothing
    base::Random& random_;
    const TransportFactory transport_factory_;
    ChallengePort& challenge_port_;
    CertificatePort& certificate_port_;
    AccountRegistry accounts_;
    Commands& commands_;
    KeyFactory& keys_;
    Stapler* const stapler_;
    std::stop_source stop_;  // ends commands
    const Events events_{commands_, clock_, settings_, stop_.get_token()};

    std::mutex settling_;  // held by who settles; before mutex_
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<Domain> wanted_;
    bool is_change_waiting_ = false;               // for a thread to give an entry back
    std::set<std::string> missed_reports_;         // of domains that were not in the table, since
                                                   // a settlement began
    std::vector<std::unique_ptr<Entry>> entries_;  // as configured
    std::set<Entry*, Sooner> queue_;               // those that no thread works on
    std::map<std::string, int> running_per_ca_;
    std::set<Transport*> transports_;  // of the threads, to cancel
    std::vector<std::thread> threads_;
    std::unique_ptr<Transport> own_transport_;  // of run_due()
};

}  // namespace md
