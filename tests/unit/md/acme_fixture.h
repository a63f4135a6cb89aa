// What the tests of the protocol share: a store in memory, a clock that tests move, ports that
// remember, and a world that can be killed and started again.
#pragma once

#include <cerrno>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "md/engine.h"
#include "md/ports.h"
#include "md/store.h"
#include "mini_ca.h"

namespace md::test {

/// Time stands still but for those who sleep.
class FakeClock final : public base::Clock {
  public:
    explicit FakeClock(base::Time now) : now_(now) {}
    base::Time now() override { return now_ += tick; }
    bool sleep(base::Duration duration) override {
        now_ += duration;
        slept_ += duration;
        return !stopping;
    }
    void move(base::Duration duration) { now_ += duration; }
    base::Duration slept() const { return slept_; }
    bool stopping = false;
    base::Duration tick{0};  // passes with each look

  private:
    base::Time now_;
    base::Duration slept_{0};
};

/// Moves `clock` from due time to due time, and runs what is due, until `duration` is over.
/// next_due() gives nullopt if nothing ever is.
template <typename Run, typename NextDue>
void live_through(FakeClock& clock, base::Duration duration, Run run, NextDue next_due) {
    const base::Time end = clock.now() + duration;
    while (true) {
        run();
        const std::optional<base::Time> next = next_due();
        if (!next || *next > end) break;
        if (*next > clock.now()) clock.move(*next - clock.now());
    }
    if (end > clock.now()) clock.move(end - clock.now());
}

/// Nobody is there: for MiniCa::before and MiniResponder::before.
inline std::optional<Outcome<HttpResponse>> refuse_connection(const HttpRequest&) {
    return Outcome<HttpResponse>(make_problem(ECONNREFUSED, "Connection refused"));
}

/// Thrown through the code under test where a process is killed. Nobody catches it on the way.
struct Killed {};

/// mod_md's layout in a map. Frozen, it ignores writes: what a killed process does no more.
class MemoryStore final : public Store {
  public:
    using Key = std::pair<Group, std::string>;

    explicit MemoryStore(FakeClock& clock) : clock_(clock) {}
    bool frozen = false;
    bool read_only = false;
    bool is_locked = false;  // by another process
    /// Files that were written to domains/ by somebody who did not hold the lock.
    std::vector<std::string> unlocked_writes;

    Outcome<std::optional<std::string>> load(Group group, const std::string& name,
                                             const std::string& aspect) override;
    Outcome<std::optional<base::Secret>> load_key(Group group, const std::string& name,
                                                  const std::string& aspect) override;
    Outcome<void> save(Group group, const std::string& name, const std::string& aspect,
                       std::string_view bytes) override;
    Outcome<void> save_key(Group group, const std::string& name, const std::string& aspect,
                           std::string_view pem) override {
        return save(group, name, aspect, pem);
    }
    Outcome<void> remove(Group group, const std::string& name, const std::string& aspect) override;
    Outcome<void> purge(Group group, const std::string& name) override;
    Outcome<std::vector<std::string>> names(Group group) override;
    Outcome<std::vector<std::string>> aspects(Group group, const std::string& name) override;
    std::optional<base::Time> modified(Group group, const std::string& name,
                                       const std::string& aspect) override;
    Outcome<void> rename_domain(const std::string& from, const std::string& to) override;
    Outcome<void> activate_tmp(const std::string& name) override;
    Outcome<std::shared_ptr<StoreLock>> hold() override;

    bool has(Group group, const std::string& name, const std::string& aspect) {
        return load(group, name, aspect)->has_value();
    }

  private:
    struct File {
        std::string bytes;
        base::Time modified;
    };
    FakeClock& clock_;
    std::map<Key, std::map<std::string, File>> directories_;
    std::weak_ptr<int> held_;
};

/// Remembers what is published.
class FakePorts final : public ChallengePort, public CertificatePort, public Answers {
  public:
    void publish_http01(const std::string& name, const std::string& token,
                        const std::string& key_authorization) override {
        http01_answers[name][token] = key_authorization;
        ++challenges_set_up;
    }
    void withdraw_http01(const std::string& name, const std::string& token) override {
        http01_answers[name].erase(token);
        if (http01_answers[name].empty()) http01_answers.erase(name);
    }
    void publish_alpn(const std::string& name,
                      std::shared_ptr<const tls::Certificate> certificate) override {
        alpn_answers[name] = std::move(certificate);
        ++challenges_set_up;
    }
    void withdraw_alpn(const std::string& name) override { alpn_answers.erase(name); }
    void publish(const std::string& domain, const std::vector<std::string>&,
                 std::vector<std::shared_ptr<const tls::Certificate>> certificates) override {
        served[domain] = std::move(certificates);
        ++publications[domain];
    }
    void publish_status(const std::string& domain, const std::vector<std::string>&,
                        std::string json) override {
        status[domain] = std::move(json);
    }
    std::string http01_answer(const std::string& name, const std::string& token) override {
        return http01_answers.contains(name) ? http01_answers[name][token] : "";
    }
    std::shared_ptr<const tls::Certificate> alpn_answer(const std::string& name) override {
        return alpn_answers.contains(name) ? alpn_answers[name] : nullptr;
    }

    std::set<std::string> dns01_answer(const std::string& name) override {
        return txt_records.contains(name) ? txt_records[name] : std::set<std::string>{};
    }

    std::map<std::string, std::map<std::string, std::string>> http01_answers;
    std::map<std::string, std::set<std::string>> txt_records;  // made by a test's command
    std::map<std::string, std::shared_ptr<const tls::Certificate>> alpn_answers;
    std::map<std::string, std::vector<std::shared_ptr<const tls::Certificate>>> served;
    std::map<std::string, int> publications;
    std::map<std::string, std::string> status;
    int challenges_set_up = 0;
};

/// Remembers what would be run; on_run says how it ends.
class FakeCommands final : public Commands {
  public:
    CommandResult run(const Command& command) override;
    /// argv with blanks between, from that call on.
    std::vector<std::string> lines(size_t from = 0) const;
    int count(const std::string& line) const;

    std::function<CommandResult(const Command&)> on_run;
    std::vector<Command> calls;
};

/// A server with its store and a CA. restart() is the next process.
struct World {
    explicit World(std::vector<Domain> configured);

    /// Engine::load() of a new process.
    void restart();
    /// All that is due; time does not move but for sleeps.
    size_t run() { return engine->run_due(); }
    /// Moves to the next due time and runs, until nothing is due before `duration` is over.
    void live(base::Duration duration);

    std::optional<Job> job(const std::string& name) {
        return take(load_job(store, Group::Staging, name, clock.now()));
    }
    const tls::Certificate& served(const std::string& name, size_t index = 0) {
        return *ports.served.at(name).at(index);
    }

    FakeClock clock;
    MemoryStore store;
    MiniCa ca;
    FakePorts ports;
    FakeCommands commands;
    FreshKeys keys;
    base::SeededRandom random{7};
    SystemFiles files;
    EngineSettings settings;
    std::vector<Domain> domains;
    std::unique_ptr<Engine> engine;
};

/// A domain that renews at the MiniCa, P-256, http-01.
Domain acme_domain(std::vector<std::string> names);

}  // namespace md::test
