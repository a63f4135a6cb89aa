// What CAs say about certificates that are served: asks OCSP responders and reads CRLs, keeps what
// was verified in the store, hands staples to whoever serves, and tells when a certificate was
// revoked (mod_md.md, section 6; RFC 6960, 6066 8, 5280 5).
//
// It asks on a schedule, never because of a handshake. An answer that is unknown, unverifiable or
// out of date never replaces a good one. A responder that fails is asked again with the engine's
// back-off; until the good answer's nextUpdate nobody outside notices.
//
// Threads: `parallel_max` of its own, each with one answer under way. What is public may be called
// from any thread. One mutex guards the table; nobody holds it while waiting for a disk, a
// responder, a program or whoever listens.
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
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "md/commands.h"
#include "md/domain.h"
#include "md/event.h"
#include "md/ports.h"
#include "md/staple_file.h"
#include "md/status_json.h"
#include "md/store.h"
#include "md/transport.h"

namespace md {

/// Told what the stapler finds out. Called on its threads, without its mutex.
class StaplerListener {
  public:
    virtual ~StaplerListener() = default;
    /// A verified answer or list says so of a certificate of that domain.
    virtual void on_revoked(const std::string& domain, const RevokedCertificate& revoked) = 0;
    /// What report() says about a certificate of that domain is another now.
    virtual void on_staple_report(const std::string& domain) = 0;
};

class Stapler final : public StapleSource {
  public:
    using TransportFactory = std::function<std::unique_ptr<Transport>()>;
    static constexpr int parallel_max = 4;  // faults.md OC-16

    /// All references must outlive the stapler.
    Stapler(EngineSettings settings, Store& store, base::Clock& clock, base::Random& random,
            TransportFactory transports, StaplePort& port, Commands& commands);
    ~Stapler() override;
    Stapler(const Stapler&) = delete;
    Stapler& operator=(const Stapler&) = delete;

    /// Who is told from now on; null: nobody. Not to be ended before stop().
    void set_listener(StaplerListener* listener);

    /// Looks after these certificates of `domain` from now on, and no longer after others of it.
    /// Its settings say how: stapling, revocation_check, the proxy. Certificates whose answers are
    /// in the store, or were obtained, have their staples when this returns.
    void watch(const Domain& domain,
               const std::vector<std::shared_ptr<const tls::Certificate>>& certificates);

    /// Gets the staple of a certificate that is to be served soon, so that it has one from its
    /// first handshake on; nothing to do if it has a good answer, or is not stapled. The Problem:
    /// there is no good answer.
    Outcome<void> obtain(const Domain& domain,
                         const std::shared_ptr<const tls::Certificate>& certificate);

    std::shared_ptr<const tls::Staple> staple_of(const tls::Certificate& certificate) override;

    /// Starts the threads if they do not run; the first removes old answers from the store: call it
    /// when all that is in use is watched. Call stop() before the end.
    void start();
    /// Ends them: what is under way gives up within a second.
    void stop();
    /// Instead of start(), for tests: asks all that is due now, on the calling thread. Returns how
    /// many questions that were.
    size_t run_due();
    /// When the next question is due; nullopt: none ever.
    std::optional<base::Time> next_due() const;
    /// What the first thread begins with: removes old answers that nobody uses from the store.
    void remove_old();

    /// What is known of a certificate; nullopt: nobody asks about it.
    std::optional<StapleReport> report(const tls::Certificate& certificate) const;
    /// All of them, by domain.
    std::vector<StapleRow> rows() const;

  private:
    using Digest = std::array<uint8_t, 32>;
    struct DigestHash {
        size_t operator()(const Digest& digest) const;
    };
    /// A domain, or all certificates of none.
    struct Owner {
        Domain domain;         // guarded by the table's mutex
        std::mutex reporting;  // job.json and programs: one at a time
    };
    /// Something to ask: a responder about one certificate, or a CRL about several.
    struct Question {
        std::string url;
        std::shared_ptr<Owner> owner;  // the first of those that it is asked for
        std::string crl;               // crl_file(); "": OCSP
        std::vector<std::shared_ptr<const tls::Certificate>> certificates;
        base::Time next_run{};
        size_t number = 0;
        bool is_running = false;
        base::Time due{};      // when it is asked again, unless it fails
        bool is_saved = true;  // what came last is in the store; if not, next_run is to try again
        int errors = 0;
        Problem last{0, {}, {}, {}, {}};
        std::optional<base::Time> last_success;
        Validators validators;  // of a CRL
        base::Time from{};      // of the last good answer or list
        base::Time until{};
        std::map<std::string, std::optional<CrlEntry>> by_serial;  // of a CRL

        /// Its name in job.json.
        std::string key() const { return crl.empty() ? staple_file(*certificates.front()) : crl; }
    };
    /// What is known of one certificate.
    struct Item {
        std::shared_ptr<const tls::Certificate> certificate;
        std::vector<std::shared_ptr<Owner>> owners;  // all domains that have it
        std::shared_ptr<Question> responder;         // null: it is not asked
        std::shared_ptr<Question> list;              // null: none is looked at
        bool is_stapled = false;                     // one of the owners wants it
        CertificateStatus status = CertificateStatus::Unknown;
        base::Time from{};
        base::Time until{};
        std::optional<base::Time> revoked_at;
        std::string reason;
        bool is_revocation_told = false;
        std::shared_ptr<const tls::Staple> staple;
        std::optional<OcspAnswer> unsaved;  // what the disk did not take
    };
    /// An answer that is in memory.
    struct Obtained {
        OcspAnswer answer;
        bool is_saved = true;
    };
    struct Sooner {
        bool operator()(const std::shared_ptr<Question>& a,
                        const std::shared_ptr<Question>& b) const {
            return std::pair(a->next_run, a->number) < std::pair(b->next_run, b->number);
        }
    };

    /// What the store has of a certificate before it is watched.
    struct Known {
        std::shared_ptr<const tls::Certificate> certificate;
        std::optional<Obtained> answer = {};
        std::string crl_url = {};
        std::optional<CrlFindings> findings = {};
        // Of the process before, or of other settings.
        std::optional<base::Time> responder_pause = {};
        std::optional<base::Time> list_pause = {};
        // As it is in memory, under the settings before.
        std::shared_ptr<Question> former_list = {};
    };
    /// Who is asked about a certificate, and whether the answer is stapled.
    struct Plan {
        bool asks_responder = false;
        bool is_stapled = false;
        bool reads_list = false;
    };
    static Plan plan_for(const Domain& domain, const tls::Certificate& certificate);
    /// Questions, and until when they wait.
    using Pauses = std::map<std::string, base::Time>;
    Pauses load_pauses(const std::string& owner, bool is_change) const;
    Known look_up(const Domain& domain, const std::shared_ptr<const tls::Certificate>& certificate,
                  const Pauses& pauses);
    std::optional<Obtained> answer_in_memory(const tls::Certificate& certificate) const;
    std::optional<OcspAnswer> stored_answer(const std::string& owner,
                                            const tls::Certificate& certificate) const;

    // The table, all with the mutex.
    void add(const std::shared_ptr<Owner>& owner, Known known);
    void add_responder(Item& item, const Plan& plan, const Known& known);
    void take_known(Item& item, const Obtained& known);
    void add_list(Item& item, Known known);
    void drop(const std::shared_ptr<Owner>& owner, const Digest& digest);
    void forget_responder(Item& item);
    void forget_list(Item& item);
    static void take_answer(Item& item, const OcspAnswer& answer);
    static void take_former(Question& list, const Question& former);
    static void take_finding(Item& item, const Question& list);
    std::shared_ptr<Question> make_question(std::string url, const std::shared_ptr<Owner>& owner,
                                            base::Time when);
    void give_back(const std::shared_ptr<Question>& question, base::Time when);
    static base::Time next_run_of(const Question& question, base::Time now);
    std::shared_ptr<Question> take_due(base::Time now);
    base::Time refresh_at(const Question& question, base::Time now);
    base::Time after_failure(const Question& question, base::Time now);
    void replan(base::Time now);
    Item* item_of(const tls::Certificate& certificate);
    StapleReport report_of(const Item& item) const;

    // Asking; without the mutex: stapler_asking.cc.
    void work();
    using Certificates = std::vector<std::shared_ptr<const tls::Certificate>>;
    /// What a thread works with: a question's own state may change meanwhile.
    struct Asked {
        std::shared_ptr<Question> question;
        std::string key;
        std::shared_ptr<Owner> owner;
        Domain domain;
        Certificates certificates;
        Validators validators;
        base::Time from{};
        std::map<std::string, std::optional<CrlEntry>> by_serial;
    };
    void ask(const std::shared_ptr<Question>& question, Transport& transport);
    Outcome<void> ask_responder(const Asked& asked, Transport& transport);
    Outcome<void> read_list(const Asked& asked, Transport& transport);
    void finish(const Asked& asked, const Outcome<void>& outcome);
    bool save_again(const Asked& asked);
    void note_saved(const Asked& asked, const OcspAnswer* answer, const Outcome<void>& saved);
    void tell_job(const Asked& asked, const Outcome<void>& outcome);
    void note_pause(const Domain& domain, const tls::Certificate& certificate, base::Time until);
    void tell_listeners(const Asked& asked);

    const EngineSettings settings_;
    Store& store_;
    base::Clock& clock_;
    base::Random& random_;
    const TransportFactory transport_factory_;
    StaplePort& port_;
    StaplerListener* listener_ = nullptr;
    std::stop_source stop_;  // ends commands
    const Events events_;

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::map<std::string, std::shared_ptr<Owner>> owners_;
    std::map<std::string, std::vector<Digest>> watched_;  // by owner
    std::unordered_map<Digest, Item, DigestHash> items_;
    std::map<std::string, std::shared_ptr<Question>> lists_;     // CRLs, by their file's name
    std::set<std::shared_ptr<Question>, Sooner> queue_;          // those that no thread works on
    std::unordered_map<Digest, Obtained, DigestHash> obtained_;  // for watch()
    std::unordered_map<Digest, base::Time, DigestHash> pauses_;  // that obtain() was asked for
    size_t questions_made_ = 0;
    std::set<Transport*> transports_;  // to cancel
    std::vector<std::thread> threads_;
    std::unique_ptr<Transport> own_transport_;  // of run_due()
};

}  // namespace md
