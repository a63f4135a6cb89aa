// The administrator's programs: message_cmd, notify_cmd, and the one for TXT records. In bad times
// they fail, are killed, hang until their limit, cannot be started, or do what they should and
// report failure.
#pragma once

#include <functional>
#include <set>

#include "base/random.h"
#include "md/acme_fixture.h"
#include "trace.h"

namespace md::test {

class SimCommands final : public Commands {
  public:
    SimCommands(SimClock& clock, base::Random& random, FakePorts& ports, Trace& trace)
        : clock_(clock), random_(random), ports_(ports), trace_(trace) {}

    CommandResult run(const Command& command) override;

    void set_bad(bool is_bad) { is_bad_ = is_bad; }
    /// Before and after a program does what it does; may throw Killed.
    std::function<void()> around;
    /// TXT records that were to be taken away by a program that did not.
    const std::set<std::string>& given_up() const { return given_up_; }

  private:
    CommandResult fate(const Command& command, bool& is_done);
    void change_records(const std::vector<std::string>& words, bool is_done);

    SimClock& clock_;
    base::Random& random_;
    FakePorts& ports_;
    Trace& trace_;
    bool is_bad_ = false;
    std::set<std::string> given_up_;
};

}  // namespace md::test
