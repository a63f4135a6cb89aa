// The OCSP responder of a SimCa: MiniResponder with bad days, one fault at a time. As real ones do,
// it signs an answer ahead of time and gives the same one to whoever asks until half of its life is
// over; from a revocation on it says `revoked`. It tells what it gave, so that whoever watches can
// tell what may be stapled.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/random.h"
#include "md/mini_responder.h"
#include "trace.h"

namespace md::test {

enum class ResponderFault : uint8_t {
    None,
    Refused,      // no connection
    Hanging,      // none within the time limit
    Failing,      // 500
    Busy,         // 503 with Retry-After
    NotFound,     // 404, with an answer that would be right
    Garbage,      // a page of something in between, said to be an answer
    CutOff,       // half of each answer
    Huge,         // more than anybody reads
    TryLater,     // signed by nobody, now and then with a Retry-After
    Unknown,      // does not know the certificate
    OtherSerial,  // answers about another one
    Foreign,      // signed by a CA that calls itself as the issuer does
    Expired,      // old answers
    NotYet,       // those of tomorrow
    Stale,        // the same one until its end
    Flaky,        // every third request fails
    Count,
};
std::string_view name_of(ResponderFault fault);

class SimResponder {
  public:
    /// What it gave for a question. Status Unknown: nothing that says anything of the certificate.
    struct Given {
        std::string serial;
        CertificateStatus status = CertificateStatus::Unknown;
        std::string body = {};
        base::Time from{};
        base::Time until{};
        std::optional<base::Duration> silence = {};  // that its Retry-After asks for
    };

    SimResponder(int number, SimClock& clock, const Issuer& issuer, base::Random& random,
                 Trace& trace, uint64_t calm);

    /// Called with each request before it is answered, and with each answer before it is sent: may
    /// throw what ends the process.
    std::function<void(SimResponder&, const HttpRequest&, const std::string& serial)> on_request;
    std::function<void(SimResponder&, const HttpRequest&, const Given&)> on_answer;

    Outcome<HttpResponse> exchange(const HttpRequest& request);
    const std::string& url() const { return url_; }
    bool owns(const std::string& url) const { return url == url_ || url.starts_with(url_ + "/"); }

    /// Begins or ends a fault: when next_change() is there.
    void change_weather();
    base::Time next_change() const { return next_change_; }
    ResponderFault fault() const { return fault_; }
    base::Time good_since() const { return good_since_; }

    /// How often it was asked: a POST after a GET is the same question.
    int questions() const { return questions_; }

    /// From now on it says so of the certificate with that serial.
    void revoke(const std::string& serial);
    bool has_revoked(const std::string& serial) const { return revoked_.contains(serial); }

  private:
    struct Signed {
        std::string body;
        CertificateStatus status = CertificateStatus::Unknown;
        base::Time made{};
        base::Time from{};
        base::Time until{};
    };

    const Signed& signed_answer(const HttpRequest& request, const std::string& serial);
    Outcome<HttpResponse> answer(const HttpRequest& request, Given& given);
    std::optional<Outcome<HttpResponse>> failure(const HttpRequest& request, Given& given);
    void ask_for_silence(HttpResponse& response, Given& given);

    SimClock& clock_;
    TrueClock true_clock_;
    base::Random& random_;
    Trace& trace_;
    const uint64_t calm_;  // by how much good weather is longer
    const std::string url_;
    const base::Duration life_;  // of its answers
    MiniResponder mini_;
    std::map<std::string, Verdict> revoked_;                           // by serial
    std::map<std::pair<std::string, ResponderFault>, Signed> signed_;  // by serial and form
    int questions_ = 0;
    ResponderFault fault_ = ResponderFault::None;
    base::Time good_since_;
    base::Time next_change_;
};

}  // namespace md::test
