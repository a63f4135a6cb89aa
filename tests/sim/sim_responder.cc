#include "sim_responder.h"

#include <cerrno>

namespace md::test {

namespace {

using std::chrono::hours;
using std::chrono::seconds;
constexpr hours day{24};

constexpr size_t huge_bytes = size_t{10} << 20;
constexpr base::Duration answer_age = hours{1};  // of thisUpdate when it is signed

constexpr std::string_view fault_names[] = {
    "none",    "refused", "hanging", "failing",   "busy",    "not found",
    "garbage", "cut off", "huge",    "try later", "unknown", "other serial",
    "foreign", "expired", "not yet", "stale",     "flaky"};
static_assert(std::size(fault_names) == static_cast<size_t>(ResponderFault::Count));

/// Those whose answers look different; all others give, or spoil, the right one.
bool is_form(ResponderFault fault) {
    return fault == ResponderFault::TryLater || fault == ResponderFault::Unknown ||
           fault == ResponderFault::OtherSerial || fault == ResponderFault::Foreign ||
           fault == ResponderFault::Expired || fault == ResponderFault::NotYet;
}

OcspForm form_of(ResponderFault fault, base::Duration life) {
    OcspForm form{.nonce = NonceReply::Absent, .age = answer_age, .lifetime = life};
    if (fault == ResponderFault::TryLater) form.error = 3;
    if (fault == ResponderFault::OtherSerial) form.other_serial = true;
    if (fault == ResponderFault::Foreign) form.signer = Signer::Foreign;
    if (fault == ResponderFault::Expired) form.age = life + day;
    if (fault == ResponderFault::NotYet) form.age = -day;
    return form;
}

HttpResponse page(int status, std::string body) {
    return {.status = status, .fields = {{"content-type", "text/html"}}, .body = std::move(body)};
}

}  // namespace

std::string_view name_of(ResponderFault fault) {
    return fault_names[static_cast<size_t>(fault)];
}

SimResponder::SimResponder(int number, SimClock& clock, const Issuer& issuer, base::Random& random,
                           Trace& trace, uint64_t calm)
    : clock_(clock),
      true_clock_(clock),
      random_(random),
      trace_(trace),
      calm_(calm),
      url_(fmt::format("http://ocsp{}.example.net", number)),
      life_(calm > 1 ? day * 20 + day * random.below(11) : day * 4 + day * random.below(7)),
      mini_(true_clock_, issuer, url_),
      good_since_(clock.true_now()),
      next_change_(clock.true_now() + hours{1 + random.below(24 * 20)}) {}

// ---- faults come and go

void SimResponder::change_weather() {
    const base::Time now = clock_.true_now();
    if (fault_ != ResponderFault::None) {
        fault_ = ResponderFault::None;
        good_since_ = now;
        next_change_ = now + hours{1 + random_.below(24 * 60 * calm_)};
        trace_.add("{} is well", url_);
        // What was signed long ago is of no use to anybody.
        std::erase_if(signed_, [&](const auto& entry) { return entry.second.until <= now - day; });
        return;
    }
    fault_ = static_cast<ResponderFault>(
        1 + random_.below(static_cast<uint64_t>(ResponderFault::Count) - 1));
    // Within days, mostly. Now and then its last good answers end before.
    const auto life = static_cast<uint64_t>(life_ / hours{1});
    const bool is_long = random_.below(4) == 0;
    next_change_ = now + hours{1 + random_.below(is_long ? life * 3 / 2 : 24 * 4)};
    trace_.add("{}: {}", url_, name_of(fault_));
}

void SimResponder::revoke(const std::string& serial) {
    static const std::string reasons[] = {"", "keyCompromise", "superseded"};
    revoked_[serial] = {.status = CertificateStatus::Revoked,
                        .revoked_at = clock_.true_now(),
                        .reason = reasons[random_.below(std::size(reasons))]};
    std::erase_if(signed_, [&](const auto& entry) { return entry.first.first == serial; });
}

// ---- requests

/// From the stock, or signed now.
const SimResponder::Signed& SimResponder::signed_answer(const HttpRequest& request,
                                                        const std::string& serial) {
    const ResponderFault kind = is_form(fault_) ? fault_ : ResponderFault::None;
    const base::Time now = clock_.true_now();
    Signed& one = signed_[{serial, kind}];
    const base::Duration half = kind == ResponderFault::NotYet ? day / 2 : life_ / 2;
    const base::Time best_before =
        fault_ == ResponderFault::Stale ? one.until - seconds{1} : one.made + half;
    if (!one.body.empty() && now < best_before) return one;
    mini_.form = form_of(kind, life_);
    mini_.verdicts = revoked_;
    if (kind == ResponderFault::Unknown) {
        mini_.verdicts[serial].status = CertificateStatus::Unknown;
    }
    const tls::Der der = mini_.answer(*mini_.question_of(request));
    one.body.assign(der.begin(), der.end());
    one.made = now;
    one.from = std::chrono::floor<seconds>(now - mini_.form.age);
    one.until = one.from + life_;
    const bool says_something = kind == ResponderFault::None || kind == ResponderFault::Expired ||
                                kind == ResponderFault::NotYet;
    one.status = !says_something       ? CertificateStatus::Unknown
                 : has_revoked(serial) ? CertificateStatus::Revoked
                                       : CertificateStatus::Good;
    return one;
}

void SimResponder::ask_for_silence(HttpResponse& response, Given& given) {
    const seconds silence{60 + random_.below(80'000)};
    // A date means nothing to somebody whose clock is wrong.
    const bool as_date = clock_.error() == base::Duration::zero() && random_.below(2) == 0;
    const base::Time until = std::chrono::ceil<seconds>(clock_.true_now()) + silence;
    response.fields.emplace_back(
        "retry-after", as_date ? base::format_http_date(until) : std::to_string(silence.count()));
    given.silence = silence;
}

/// What comes instead of an answer.
std::optional<Outcome<HttpResponse>> SimResponder::failure(const HttpRequest& request,
                                                           Given& given) {
    const auto problem = [](int status, std::string text) {
        return std::optional(Outcome<HttpResponse>(make_problem(status, std::move(text))));
    };
    switch (fault_) {
        case ResponderFault::Refused:
            return problem(ECONNREFUSED, "Connection refused");
        case ResponderFault::Hanging:
            (void)clock_.sleep(seconds{10});
            return problem(70007, "no answer within 10 s");
        case ResponderFault::Failing:
            return std::optional(Outcome<HttpResponse>(page(500, "sorry")));
        case ResponderFault::Busy: {
            HttpResponse response = page(503, "down for repair");
            ask_for_silence(response, given);
            return std::optional(Outcome<HttpResponse>(std::move(response)));
        }
        case ResponderFault::Huge:
            // As the real transport has it.
            if (request.response_max >= huge_bytes) return std::nullopt;
            return problem(EFBIG, "the answer is longer than it may be");
        case ResponderFault::Flaky:
            if (random_.below(3) == 0) return problem(70007, "timed out");
            return std::nullopt;
        default:
            return std::nullopt;
    }
}

Outcome<HttpResponse> SimResponder::answer(const HttpRequest& request, Given& given) {
    if (auto instead = failure(request, given)) return *std::move(instead);
    const Signed& one = signed_answer(request, given.serial);
    HttpResponse response{
        .status = 200, .fields = {{"content-type", "application/ocsp-response"}}, .body = one.body};
    switch (fault_) {
        case ResponderFault::NotFound:
            response.status = 404;
            return response;
        case ResponderFault::Garbage:
            response.body = "<html>welcome to the hotel</html>";
            return response;
        case ResponderFault::CutOff:
            response.body.resize(response.body.size() / 2);
            return response;
        case ResponderFault::TryLater:
            if (random_.below(2) == 0) ask_for_silence(response, given);
            return response;
        default:
            given.status = one.status;
            given.body = one.body;
            given.from = one.from;
            given.until = one.until;
            return response;
    }
}

Outcome<HttpResponse> SimResponder::exchange(const HttpRequest& request) {
    (void)clock_.sleep(std::chrono::milliseconds{50});
    const auto question = mini_.question_of(request);
    Given given;
    if (question) given.serial = MiniResponder::serial_of(*question);
    base::check(!given.serial.empty());
    trace_.add("{} {} about {}", request.method, url_, given.serial);
    if (request.method == "GET") ++questions_;
    if (on_request) on_request(*this, request, given.serial);
    auto answered = answer(request, given);
    if (on_answer) on_answer(*this, request, given);
    return answered;
}

}  // namespace md::test
