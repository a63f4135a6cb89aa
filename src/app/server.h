// The life of the process: start, serve, reload, drain, stop (design.md, sections 2, 8 and 10).
// Main thread; the admin worker asks it for the status and for what people want done.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "app/admin/admin_handler.h"
#include "app/bridge.h"
#include "app/budget.h"
#include "app/identity.h"
#include "app/listeners.h"
#include "app/setup.h"
#include "app/worker_threads.h"
#include "base/clock.h"
#include "base/random.h"
#include "md/engine.h"
#include "md/file_store.h"
#include "md/files.h"
#include "md/spawned_commands.h"
#include "md/stapler.h"
#include "tls/handshake_pool.h"

namespace app {

class Server final : public StatusSource, public Actions {
  public:
    /// `path` names the configuration, also for reloads.
    explicit Server(std::string path) : path_(std::move(path)) {}
    ~Server() override;
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// Serves until a signal ends it; the process' exit code. Called once.
    int run();

    // For the admin pages; any thread, between start and stop.
    Status status() override;
    std::string server_status(bool as_lines) override;
    std::string md_status(const std::string& name) override;
    base::Time now() override { return clock_.now(); }
    std::vector<md::DomainSummary> domains() override;
    std::vector<md::CertificateSummary> file_certificates() override;
    std::optional<md::DomainSummary> domain(const std::string& name) override;
    std::vector<md::AccountSummary> accounts() override;
    md::Outcome<void> renew(const std::string& name) override;
    md::Outcome<void> revoke(const std::string& name, md::RevocationReason reason) override;
    md::Outcome<std::string> roll_account_key(const std::string& id) override;

  private:
    // The steps of a start, in order. Each logs what is wrong.
    bool read_configuration();
    /// How many workers, connections and descriptors the system's limits allow.
    bool divide_resources();
    bool open_store();
    /// Opens the store, and makes stapler_ with the settings of `setup`.
    bool make_stapler(const Setup& setup);
    /// For these domains, on that store.
    std::unique_ptr<md::Engine> make_engine(const Setup& setup, std::vector<md::Domain> domains);
    bool open_sockets();
    bool give_up_root();
    /// What root made, or an earlier start as root, and the user will use.
    bool give_files(const User& user);
    bool start_workers();
    bool start_admin();

    void serve();
    void reload();
    /// The first domains that are managed, or certificates that are stapled, came with a reload: no
    /// restart for them. False: it cannot be.
    bool start_late(const Setup& setup);
    /// Null as long as there has been no managed domain. For the admin worker.
    md::Engine* engine();
    void rotate_ticket_keys();
    /// Lets requests finish, at most drain_timeout; a second signal cuts that short.
    void drain();
    void stop_engine();
    /// Has the stapler look after the certificates from files that no domain has.
    void watch_statics(const Setup& setup);
    void stop();

    std::vector<WorkerPlan> make_plans();

    const std::string path_;
    base::SystemClock clock_;
    base::SystemRandom random_;
    md::SystemFiles files_;
    md::SpawnedCommands commands_;
    md::FreshKeys keys_;
    base::Time started_{};
    base::Time tickets_rotated_{};

    std::unique_ptr<Setup> setup_;  // as started; what a reload may change is replaced
    size_t workers_count_ = 0;
    net::LoopOptions worker_loop_;
    DescriptorBudget descriptors_;
    proxy::Snapshots snapshots_;
    Bridge bridge_{snapshots_};
    std::unique_ptr<md::FileStore> store_;
    std::unique_ptr<md::Stapler> stapler_;  // this and the next: set under status_mutex_, stay
    std::unique_ptr<md::Engine> engine_;    // until the end
    std::unique_ptr<tls::HandshakePool> handshake_pool_;  // before the workers that lend to it
    std::vector<OpenListener> listeners_;
    std::vector<OpenListener> admin_listeners_;
    WorkerThreads workers_{snapshots_};
    std::unique_ptr<AdminHandler> admin_handler_;
    WorkerThreads admin_{snapshots_};

    // Guards what admin's thread and main share: the two below, setup_ and engine_.
    std::mutex status_mutex_;
    Status cached_;
    std::chrono::steady_clock::time_point cached_at_{};
};

/// What of `now` differs from `before` and cannot change in a running process: key names.
/// `has_engine`: the engine's settings are in use.
std::vector<std::string> changes_for_next_start(const Setup& before, const Setup& now,
                                                bool has_engine);

}  // namespace app
