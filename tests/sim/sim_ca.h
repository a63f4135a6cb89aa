// A CA that follows RFC 8555 and 9773 (MiniCa) and has bad days: one fault at a time, for hours or
// days, then it is well again for days or weeks. It says what it asked for (Retry-After), so that
// whoever watches can tell whether that was respected. Its OCSP responder has bad days of its own.
#pragma once

#include <functional>

#include "base/random.h"
#include "md/mini_ca.h"
#include "sim_responder.h"
#include "trace.h"

namespace md::test {

enum class CaFault : uint8_t {
    None,
    Refused,       // no connection
    Hanging,       // none within the time limit
    Failing,       // 500
    Busy,          // 503 with Retry-After, whatever is asked
    Limited,       // 429 with Retry-After for orders
    Redirects,     // 301 to somewhere
    Garbage,       // a page of something in between
    CutOff,        // half of each answer
    LostAnswers,   // does what it is asked and is not heard, every third time
    Flaky,         // every third request fails
    BadNonces,     // for longer than they are retried
    NoAccounts,    // forgets all accounts
    Closed,        // deactivates all accounts
    NoOrders,      // forgets all orders
    RefusesNames,  // cannot validate
    WrongNames,    // issues for other names
    WrongKey,      // issues for another key
    NoChain,       // issues without the issuer's certificate
    NeverReady,    // orders stay processing, also after the fault
    NotNow,        // orders stay processing, with a Retry-After longer than anybody polls
    Count,
};
std::string_view name_of(CaFault fault);

/// What it advises (RFC 9773).
enum class Advice : uint8_t { None, Usual, Soon, Past, Late, Garbage };

class SimCa {
  public:
    SimCa(int number, SimClock& clock, Answers& answers, base::Random& random, Trace& trace,
          uint64_t calm);

    /// Called with each request before the CA has it, and with each answer before it is sent: may
    /// throw what ends the process. `silence`: what its Retry-After asks for.
    std::function<void(SimCa&, const HttpRequest&)> on_request;
    std::function<void(SimCa&, const HttpRequest&, const HttpResponse*,
                       std::optional<base::Duration> silence)>
        on_answer;

    Outcome<HttpResponse> exchange(const HttpRequest& request) { return ca_.exchange(request); }
    bool owns(const std::string& url) const { return url.starts_with(base_url_ + "/"); }
    std::string path_of(const std::string& url) const { return url.substr(base_url_.size()); }
    std::string url_of(const std::string& path) const { return base_url_ + path; }
    std::string directory() const { return ca_.directory(); }

    /// Begins or ends a fault: when next_change() is there. `end`: of what is served, before which
    /// some outages end just in time.
    void change_weather(const std::vector<std::string>& names, base::Time end);
    base::Time next_change() const { return next_change_; }
    CaFault fault() const { return fault_; }
    base::Time good_since() const { return good_since_; }

    MiniCa& ca() { return ca_; }
    SimResponder& responder() { return responder_; }
    const SimResponder& responder() const { return responder_; }
    /// How many accounts may have been made: one, and one more whenever they were lost.
    int accounts_max() const { return accounts_max_; }

  private:
    struct Window {
        base::Time start;
        base::Time end;
    };

    void change_advice();
    void begin(CaFault fault, const std::vector<std::string>& names);
    base::Time fault_end(base::Time end);
    void end_fault();
    std::optional<Outcome<HttpResponse>> before(const HttpRequest& request);
    void after(const HttpRequest& request, HttpResponse& response);
    std::optional<Outcome<HttpResponse>> failure(const HttpRequest& request,
                                                 std::optional<base::Duration>& silence);
    base::Duration ask_for_silence(HttpResponse& response, base::Duration silence);
    HttpResponse renewal_info(const std::string& id);

    SimClock& clock_;
    TrueClock true_clock_;
    base::Random& random_;
    Trace& trace_;
    const uint64_t calm_;  // by how much good weather is longer
    const std::string base_url_;
    MiniCa ca_;
    SimResponder responder_;
    CaFault fault_ = CaFault::None;
    Advice advice_ = Advice::None;
    std::map<std::string, Window> windows_;
    base::Time good_since_;
    base::Time next_change_;
    int accounts_max_ = 1;
    bool is_lost_ = false;  // the answer that comes next
};

}  // namespace md::test
