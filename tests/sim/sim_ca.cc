#include "sim_ca.h"

#include <cerrno>

namespace md::test {

namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
constexpr hours day{24};

constexpr std::string_view fault_names[] = {
    "none",        "refused",     "hanging",   "failing",       "busy",        "limited",
    "redirects",   "garbage",     "cut off",   "lost answers",  "flaky",       "bad nonces",
    "no accounts", "closed",      "no orders", "refuses names", "wrong names", "wrong key",
    "no chain",    "never ready", "not now"};
static_assert(std::size(fault_names) == static_cast<size_t>(CaFault::Count));

bool is_renewal_info(const HttpRequest& request) {
    return request.url.find("/renewal-info/") != std::string::npos;
}

}  // namespace

std::string_view name_of(CaFault fault) {
    return fault_names[static_cast<size_t>(fault)];
}

SimCa::SimCa(int number, SimClock& clock, Answers& answers, base::Random& random, Trace& trace,
             uint64_t calm)
    : clock_(clock),
      true_clock_(clock),
      random_(random),
      trace_(trace),
      calm_(calm),
      base_url_(fmt::format("https://ca{}.example.net", number)),
      ca_(true_clock_, answers, base_url_),
      responder_(number, clock, ca_.issuer(), random, trace, calm),
      good_since_(clock.true_now()),
      next_change_(clock.true_now() + hours{1 + random.below(24 * 20)}) {
    const uint64_t kind = random.below(16);
    // Where the weather is calm, certificates are the usual ones.
    ca_.lifetime = calm_ > 1 ? day * 90 : kind == 0 ? day * 7 : kind < 3 ? day * 47 : day * 90;
    ca_.reuse_authorizations = random.below(2) == 0;
    ca_.verify_every = 32;  // whether signatures are right is for the unit tests to say
    ca_.profiles = {"classic", "shortlived"};
    ca_.ocsp_url = responder_.url();
    change_advice();
    if (advice_ == Advice::Soon || advice_ == Advice::Past) advice_ = Advice::Usual;
    ca_.before = [this](const HttpRequest& request) { return before(request); };
    ca_.after = [this](const HttpRequest& request, HttpResponse& response) {
        after(request, response);
    };
}

/// Mostly sensible: advice to renew at once means a renewal each day.
void SimCa::change_advice() {
    const uint64_t kind = random_.below(16);
    advice_ = kind < 4 ? Advice::None : kind < 12 ? Advice::Usual : static_cast<Advice>(kind - 10);
    ca_.renewal_info = nullptr;
    if (advice_ == Advice::None) return;
    ca_.renewal_info = [this](const std::string& id) { return renewal_info(id); };
}

// ---- faults come and go

void SimCa::change_weather(const std::vector<std::string>& names, base::Time end) {
    if (fault_ != CaFault::None) return end_fault();
    begin(static_cast<CaFault>(1 + random_.below(static_cast<uint64_t>(CaFault::Count) - 1)),
          names);
    next_change_ = fault_end(end);
}

/// Within days, mostly. Now and then only when little more than a day is left of what is served.
base::Time SimCa::fault_end(base::Time end) {
    const base::Time soon = clock_.true_now() + hours{1 + random_.below(24 * 4)};
    const bool is_long = random_.below(4) == 0;
    const hours before{24 + random_.below(6)};
    return is_long && end < base::Time::max() ? std::max(soon, end - before) : soon;
}

void SimCa::end_fault() {
    fault_ = CaFault::None;
    ca_.bad_nonces = 0;
    ca_.refuse_names.clear();
    ca_.wrong_key = false;
    ca_.without_chain = false;
    ca_.change_names = nullptr;
    ca_.processing_polls = 1;
    ca_.expire(day * 60);
    change_advice();
    good_since_ = clock_.true_now();
    // Advice that makes a renewal of each day does not last.
    const bool is_short = advice_ == Advice::Soon || advice_ == Advice::Past;
    next_change_ = good_since_ + hours{1 + random_.below(24 * (is_short ? 3 : 100 * calm_))};
    trace_.add("{} is well", base_url_);
}

void SimCa::begin(CaFault fault, const std::vector<std::string>& names) {
    fault_ = fault;
    trace_.add("{}: {}", base_url_, name_of(fault));
    switch (fault) {
        case CaFault::NoAccounts:
            ca_.forget_accounts();
            ++accounts_max_;
            break;
        case CaFault::Closed:
            ca_.deactivate_accounts();
            ++accounts_max_;
            break;
        case CaFault::NoOrders:
            ca_.forget_orders();
            break;
        case CaFault::RefusesNames: {
            const std::string reasons[] = {"unauthorized", "connection", "dns", "caa"};
            const std::string& reason = reasons[random_.below(std::size(reasons))];
            for (const std::string& name : names) ca_.refuse_names[name] = reason;
            break;
        }
        case CaFault::WrongNames:
            ca_.change_names = [](const std::vector<std::string>&) {
                return std::vector<std::string>{"evil.example"};
            };
            break;
        case CaFault::WrongKey:
            ca_.wrong_key = true;
            break;
        case CaFault::NoChain:
            ca_.without_chain = true;
            break;
        case CaFault::NeverReady:
            ca_.processing_polls = 1'000'000;
            break;
        case CaFault::NotNow:
            ca_.processing_polls = 8;
            break;
        default:
            break;
    }
}

// ---- requests

base::Duration SimCa::ask_for_silence(HttpResponse& response, base::Duration silence) {
    const auto whole = std::chrono::ceil<seconds>(silence);
    // A date means nothing to somebody whose clock is wrong.
    const bool as_date = clock_.error() == base::Duration::zero() && random_.below(2) == 0;
    const base::Time until = std::chrono::ceil<seconds>(clock_.true_now()) + whole;
    response.fields.emplace_back(
        "retry-after", as_date ? base::format_http_date(until) : std::to_string(whole.count()));
    return whole;
}

std::optional<Outcome<HttpResponse>> SimCa::failure(const HttpRequest& request,
                                                    std::optional<base::Duration>& silence) {
    const auto answer = [](HttpResponse response) {
        return std::optional(Outcome<HttpResponse>(std::move(response)));
    };
    const auto problem = [](int status, std::string text) {
        return std::optional(Outcome<HttpResponse>(make_problem(status, std::move(text))));
    };
    switch (fault_) {
        case CaFault::Refused:
            return problem(ECONNREFUSED, "Connection refused");
        case CaFault::Hanging:
            (void)clock_.sleep(seconds{30});
            return problem(70007, "no answer within 30 s");
        case CaFault::Failing:
            return answer(MiniCa::problem(500, "serverInternal", "sorry"));
        case CaFault::Busy: {
            HttpResponse response = MiniCa::problem(503, "serverInternal", "down for repair");
            silence = ask_for_silence(response, seconds{60 + random_.below(80'000)});
            return answer(response);
        }
        case CaFault::Limited: {
            if (!request.url.ends_with("/new-order")) return std::nullopt;
            HttpResponse response = MiniCa::problem(429, "rateLimited", "too many");
            silence = ask_for_silence(response, seconds{60 + random_.below(80'000)});
            return answer(response);
        }
        case CaFault::Redirects:
            return answer(
                {.status = 301, .fields = {{"location", "https://x.example/"}}, .body = {}});
        case CaFault::Garbage:
            return answer(
                {.status = 200, .fields = {}, .body = "<html>welcome to the hotel</html>"});
        case CaFault::Flaky:
            if (random_.below(3) == 0) return problem(70007, "timed out");
            return std::nullopt;
        case CaFault::LostAnswers:
            is_lost_ = random_.below(3) == 0;
            return std::nullopt;
        case CaFault::BadNonces:
            ca_.bad_nonces = 100;
            return std::nullopt;
        default:
            return std::nullopt;
    }
}

std::optional<Outcome<HttpResponse>> SimCa::before(const HttpRequest& request) {
    (void)clock_.sleep(std::chrono::milliseconds{50});
    // The id of a certificate is another one in each run.
    const std::string path = path_of(request.url);
    trace_.add("{} {}{}", request.method, base_url_,
               is_renewal_info(request) ? path.substr(0, path.find('/', 1)) : path);
    if (on_request) on_request(*this, request);
    is_lost_ = false;
    std::optional<base::Duration> silence;
    auto instead = failure(request, silence);
    if (instead && on_answer) {
        on_answer(*this, request, instead->ok() ? &instead->value() : nullptr, silence);
    }
    return instead;
}

void SimCa::after(const HttpRequest& request, HttpResponse& response) {
    std::optional<base::Duration> silence;
    if (is_renewal_info(request)) {
        // Where the weather is calm less often, so that years go by quickly.
        const minutes least{calm_ > 1 ? 60 * 12 : 10};
        silence = ask_for_silence(response, least + minutes{random_.below(60 * 12)});
    }
    // An order that is not done: the pause before the next look.
    if (response.body.find("\"processing\"") != std::string::npos &&
        (request.url.find("/order/") != std::string::npos ||
         request.url.find("/finalize/") != std::string::npos)) {
        const bool is_long = fault_ == CaFault::NotNow;
        if (is_long || random_.below(2) == 0) {
            silence = ask_for_silence(response, is_long ? seconds{600 + random_.below(3000)}
                                                        : seconds{1 + random_.below(20)});
        }
    }
    if (fault_ == CaFault::CutOff) response.body.resize(response.body.size() / 2);
    if (is_lost_) {
        response = MiniCa::problem(504, "serverInternal", "the gateway heard nothing");
        silence.reset();
    }
    if (on_answer) on_answer(*this, request, &response, silence);
}

// ---- RFC 9773

HttpResponse SimCa::renewal_info(const std::string& id) {
    const base::Time now = clock_.true_now();
    auto at = windows_.find(id);
    if (at == windows_.end()) {
        if (windows_.size() > 50) windows_.clear();
        Window window{now, now};
        const auto lifetime = std::chrono::duration_cast<seconds>(ca_.lifetime);
        switch (advice_) {
            case Advice::Soon:
                window = {now + hours{1}, now + hours{30}};
                break;
            case Advice::Past:
                window = {now - day * 9, now - day * 8};
                break;
            case Advice::Late:
                window = {now + lifetime * 2, now + lifetime * 3};
                break;
            default:
                window = {now + lifetime * 5 / 10, now + lifetime * 6 / 10};
                break;
        }
        at = windows_.emplace(id, window).first;
    }
    HttpResponse response;
    response.status = 200;
    response.fields = {{"content-type", "application/json"}};
    Json json;
    json["suggestedWindow"]["start"] = base::format_rfc3339(at->second.start);
    json["suggestedWindow"]["end"] = base::format_rfc3339(at->second.end);
    response.body = json.dump();
    if (advice_ == Advice::Garbage) response.body = "{\"suggestedWindow\": {\"start\": \"soon\"}}";
    return response;
}

}  // namespace md::test
