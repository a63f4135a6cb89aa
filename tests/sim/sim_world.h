// One machine with mdfront's engine on it, its CAs, its programs and its bad luck, from a seed. The
// engine, its drives, its stapler and its store are the real ones, on one thread; everything around
// them is simulated. World makes things happen and says what happened; Invariants says what must
// not.
#pragma once

#include "ack_store.h"
#include "invariants.h"
#include "md/file_store.h"
#include "sim_ca.h"
#include "sim_commands.h"
#include "sim_files.h"
#include "sim_keys.h"
#include "sim_workers.h"
#include "staple_invariants.h"

namespace md::test {

class SimWorld {
  public:
    /// Stormy: something is wrong most of the time. Calm: sixteen times less of it, as it is where
    /// most servers live, so that years go by quickly.
    enum class Climate : uint8_t { Stormy, Calm };

    SimWorld(uint64_t seed, Climate climate);
    ~SimWorld();

    void live(base::Duration duration);

    struct Counts {
        size_t certificates = 0;
        int kills = 0;
        int power_cuts = 0;
        int restarts = 0;
        int jumps = 0;
        int changes = 0;    // of the configuration, while it runs
        int questions = 0;  // to OCSP responders
        int revocations = 0;
    };
    Counts counts() const;
    size_t domains() const { return domains_.size(); }
    const Domain& domain(const std::string& name) const;
    /// Certificates that this world keeps: a domain has one for each key type.
    size_t certificates() const;
    uint64_t trace_hash() const { return trace_.hash(); }
    size_t trace_lines() const { return trace_.lines(); }

  private:
    friend class Invariants;
    friend class StapleInvariants;
    enum class Ending : uint8_t { Stop, Kill, PowerCut };

    void choose_domains();
    void choose_staples(Domain& domain);
    void choose_settings();

    // Time and bad luck.
    void step(base::Time end);
    base::Time next_event(base::Time end) const;
    base::Time first_end() const;
    void change_weather();
    void change_store_trouble();
    void change_clock();
    void change_programs();
    void change_configuration();
    void change_settings(Domain& domain);
    void revoke_one();
    bool is_in_use(std::string_view pem) const;

    // The process.
    void run_process();
    void restart(Ending ending);
    void begin_process();
    void start_process(bool was_clean);
    void die();
    void arm_kill();
    void maybe_kill(uint64_t& countdown);

    const uint64_t seed_;
    const uint64_t calm_;               // by how much good weather is longer
    base::SeededRandom chance_;         // of the world
    base::SeededRandom engine_random_;  // the engine's own
    SimClock clock_;
    Trace trace_;
    SimFiles files_;
    FakePorts ports_;
    std::map<std::string, std::vector<std::shared_ptr<const tls::Certificate>>> former_served_;
    SimCommands commands_;
    SimKeys keys_;
    std::vector<std::unique_ptr<SimCa>> cas_;
    EngineSettings settings_;
    std::vector<Domain> domains_;
    std::unique_ptr<FileStore> store_;
    AckStore ack_store_{files_};
    SimWorkers workers_;
    // Null: the server could not be started. The stapler tells the engine, which asks it.
    std::unique_ptr<Stapler> stapler_;
    std::unique_ptr<Engine> engine_;
    // Of certificates of each domain that were revoked, the last ones.
    std::map<std::string, std::deque<std::string>> lost_keys_;
    Invariants invariants_;
    StapleInvariants staple_invariants_;

    base::Time store_good_since_;
    base::Time programs_good_since_;
    base::Time clock_good_since_;
    base::Time up_since_;
    base::Time next_store_change_;
    base::Time next_clock_change_;
    base::Time next_programs_change_;
    bool programs_bad_ = false;
    bool is_up_ = true;
    // Calls until the process is killed; 0: not by that.
    uint64_t kill_in_files_ = 0;
    uint64_t kill_in_requests_ = 0;
    uint64_t kill_in_programs_ = 0;
    Counts counts_;
};

}  // namespace md::test
