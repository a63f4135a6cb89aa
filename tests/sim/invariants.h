// What has to hold, whatever happens. Each is checked where it can be seen: at a request, at an
// answer, after a step, after a start. A violation fails the test with the seed that shows it.
//
//   1. Served: a valid certificate that was served once is served until a later one replaces it,
//      across restarts, kills, power cuts and troubles of the store; and what is served is what the
//      store holds.
//   2. Nothing acknowledged is lost: what the store said is safe lies there byte for byte when the
//      next process begins (ack_store.h), accounts are found again, failures are counted on.
//   3. No request inside a Retry-After: of a CA for a domain, of renewal information, of an order
//      that is polled.
//   4. Back-off: after n failures in a row at least min(30 s × 2^(n-1), 24 h) × 1/2 pass (the
//      jitter takes half at most), or half of what is left of the validity of what is served, at
//      least an hour, if that is less; attempts within a day are bounded.
//   5. At most one finalize per order.
//   6. Renewed before the end: no certificate that was served ends without a later one if the
//      weather was good for its last day. Of the waits before that day, none leads to less than
//      half of what was left, so the first attempt comes with 12 h left at the latest; it may find
//      what bad weather left behind (an order that never becomes ready, a closed account) and fail
//      as the next may: 6 h, 3 h, 90 min, 30 min are left at those that follow. What cannot be
//      helped is not good weather: a CA that asked for silence has it, 24 h at most, however soon
//      the end comes; and a clock that was wrong computed with what seemed to be left, and plans of
//      it are not told from what a CA asked for: they stand for 37 h at most (Engine::replan()). A
//      set that waits for its activation is served at the very end: a minute of slack.
//   7. Renewed soon: a domain that is due has its certificate after 74 hours of good weather at the
//      latest, also if its end is far away or past. The arithmetic: the last failure of bad weather
//      waits 24 h × 383/256 = 36 h at most; the next attempt may find what bad weather left behind
//      and fail again: 36 h; a regular check in between comes after 24 h × 383/256 = 36 h at most,
//      but never later than the window opens. Makes 72 h, and two for what programs and orders
//      take.
//   8. Memory and disk are bounded: job logs, archives, temporary files, TXT records.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>

#include "md/domain.h"
#include "md/transport.h"
#include "sim_clock.h"

namespace md::test {

class SimCa;
class SimWorld;

class Invariants {
  public:
    explicit Invariants(SimWorld& world) : world_(world) {}

    void on_request(SimCa& ca, const HttpRequest& request);
    void on_answer(SimCa& ca, const HttpRequest& request, const HttpResponse* response,
                   std::optional<base::Duration> silence);
    /// A process begins. `was_clean`: the last one was not in the middle of something, and its
    /// store was well.
    void on_start(bool was_clean);
    /// The domain is taken out of the configuration: what is not on disk is forgotten.
    void on_taken_out(const std::string& domain);
    void on_jump();
    void on_requested(const std::string& domain);
    /// Time has passed, and nothing else has happened yet.
    void before_step();
    void after_step();

    [[noreturn]] void fail(const std::string& text) const;

  private:
    struct Best {
        base::Time not_before;
        base::Time not_after;
    };
    struct Silence {
        base::Time until;
        bool is_settled = false;  // the step in which it was heard is over
        bool is_durable = false;  // … and the store was well: a new process has to know it
    };
    struct Watch {
        std::map<std::string, Best> best;         // by kind of key
        std::map<std::string, Silence> silences;  // by what must not be asked
        std::deque<base::Time> attempts;          // directories read, less renewal information
        base::Time last_request = base::Time::min();
        base::Time silent_until = base::Time::min();  // as some CA asked for
        int errors = 0;                               // in a row, as of the last look
        bool is_errors_known = false;  // nothing happened since that excuses an early attempt
        bool has_tried = false;        // since the last look
        bool is_requested = false;     // what was asked for and fails is not tried again
    };

    void check_silence(const std::string& key, const HttpRequest& request, Watch& watch);
    void check_served(const std::string& domain, Watch& watch);
    void check_store(const Domain& domain);
    std::optional<base::Time> good_since(const Domain& domain, const Watch& watch) const;
    void check_end(const Domain& domain, const Watch& watch) const;
    void check_in_time(const Domain& domain, const Watch& watch) const;
    std::string last_error_of(const std::string& domain) const;
    void check_bounds();
    void check_attempt(const std::string& domain, Watch& watch);
    void look_at_errors(bool is_well);
    bool is_driving(const std::string& domain) const;

    SimWorld& world_;
    std::map<std::string, Watch> watches_;  // by domain
    std::map<std::string, int> publications_;
    uint64_t store_errors_ = 0;       // of the store's files until the last step
    uint64_t errors_at_start_ = 0;    // … until the process was up
    bool is_served_excused_ = false;  // the process could not read its store when it began
    size_t steps_ = 0;
    std::deque<base::Time> excuses_;  // starts and jumps: what makes attempts begin anew
};

}  // namespace md::test
