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
//
// Of staples, and of certificates that were revoked (staple_invariants.h):
//
//   9. No question inside a Retry-After of a responder, about the certificate that it was asked
//      about, before and after the certificate goes live.
//  10. What is stapled is byte for byte a good answer that was given about that very certificate,
//      not past its end by the machine's clock; nothing is after the responder has said `revoked`.
//      Workers know of it.
//  11. A certificate that has a staple has one until that answer's end: under other settings what
//      was in memory or on disk, after a start what the store took. A clock that is wrong takes
//      answers for those of tomorrow, or takes those of tomorrow: whatever was known is excused.
//  12. A certificate that must be stapled goes live with its staple (RFC 7633), unless the process
//      that put it in place was killed then. One that is to be stapled has a staple after 37 h of
//      good weather: the last failure of bad weather waits 24 h × 383/256 = 36 h at most, or as
//      long as the responder asked for, and nothing is left behind that makes the next question
//      fail. Plans of a clock that was wrong stand for 7 days and 36 h (Stapler::replan()).
//  13. Questions a day: two series of failures (15 × 2, as in 4); near an answer's end half of what
//      is left, ten minutes at least, from ten days on (14); an answer that is old already when it
//      is given is asked for anew after half of what is left, an hour at most and ten seconds at
//      least: 24 in a day, and log2(3600 / 10) + 10 in the last hour. Makes 86. Without a staple
//      that it must have, one in five minutes more. Starts and the like make a series begin anew.
//  14. A certificate that was revoked is replaced within the 74 hours of rule 7, by one that has
//      another key, and is not served beside one that was not revoked (revocation_check not off).
//  15. Files in ocsp/: one for each certificate that was served at the last start or made since,
//      one for each domain, and those that were there then. A start removes what was written more
//      than a week ago and is about nothing that is served.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "md/domain.h"
#include "md/transport.h"
#include "sim_clock.h"
#include "tls/certificate.h"

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
    /// A responder asks for silence about a certificate of the domain.
    void on_silence(const std::string& domain, base::Time until);
    /// A responder says that a certificate of the domain was revoked: that is urgent.
    void on_revoked(const std::string& domain);
    /// A responder is asked about a certificate of the domain, which is not served yet.
    void on_obtain(const std::string& domain);
    /// Time has passed, and nothing else has happened yet.
    void before_step();
    void after_step();

    /// Since when nothing is in the way of a renewal; nullopt: something is.
    std::optional<base::Time> good_since(const Domain& domain) const;
    /// The store could not be read when the process began: what is served may be anything.
    bool is_served_excused() const { return is_served_excused_; }
    [[noreturn]] void fail(const std::string& text) const;

  private:
    struct Best {
        base::Time not_before;
        base::Time not_after;
        std::shared_ptr<const tls::Certificate> certificate;
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
