// The whole engine on simulated time: years of renewals, restarts and kills under a CA that fails
// in every way, from a seed. After each step it has to hold that
//   - a certificate that was good stays served while it is valid, and none is replaced by an older
//   one,
//   - domains/ and what is served say the same after each restart,
//   - nothing is asked of a CA before its Retry-After is over,
//   - attempts never come in storms, however long failures go on,
//   - no order is finalized twice,
//   - what is served is valid whenever the CA has been all right for some days.
//
// MDFRONT_SIM_SEED=<n> replays one run; MDFRONT_SIM_YEARS=<n> makes all of them longer.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <deque>

#include "base/log.h"
#include "md/acme_fixture.h"

namespace md::test {

namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
constexpr hours day{24};
constexpr hours year{24 * 365};

/// What is wrong with the CA for a while.
enum class Fault : uint8_t {
    None,
    Refused,       // no connection
    Failing,       // 500
    Limited,       // 429 with Retry-After
    Garbage,       // a page of something in between
    CutOff,        // half of each answer
    Flaky,         // every third request fails
    BadNonces,     // for longer than they are retried
    NoAccounts,    // forgets all accounts
    NoOrders,      // forgets all orders
    RefusesNames,  // cannot validate
    WrongNames,    // issues for other names
    WrongKey,      // issues for another key
    NeverReady,    // orders stay processing
    Count,
};

int number_of(const char* variable, int otherwise) {
    const char* text = std::getenv(variable);
    return text == nullptr ? otherwise : std::atoi(text);
}

class Simulation {
  public:
    explicit Simulation(uint64_t seed)
        : chance_(seed), world_(domains(chance_)), seed_(seed), started_(world_.clock.now()) {
        world_.random = base::SeededRandom(seed * 7919 + 1);
        world_.ca.lifetime =
            chance_.below(12) == 0 ? day * 7 : pick<base::Duration>({day * 90, day * 90, day * 47});
        world_.ca.reuse_authorizations = chance_.below(2) == 0;
        world_.settings.activation_delay = pick<base::Duration>({hours{0}, hours{0}, hours{24}});
        world_.ca.before = [this](const HttpRequest& request) { return before(request); };
        world_.ca.after = [this](const HttpRequest& request, HttpResponse& response) {
            after(request, response);
        };
        restart();
        switch_fault();
    }

    void live(base::Duration duration) {
        const base::Time end = world_.clock.now() + duration;
        while (world_.clock.now() < end) step(end);
    }

    size_t certificates() const { return static_cast<size_t>(world_.ca.certificates_made); }
    size_t domains() const { return world_.domains.size(); }
    int kills() const { return kills_; }

  private:
    template <typename T>
    T pick(std::initializer_list<T> choices) {
        return *(choices.begin() + chance_.below(choices.size()));
    }

    static std::vector<Domain> domains(base::SeededRandom& chance) {
        std::vector<Domain> result;
        const uint64_t count = 1 + chance.below(3);
        for (uint64_t i = 0; i < count; ++i) {
            std::vector<std::string> names{fmt::format("d{}.example", i)};
            for (uint64_t j = chance.below(3); j > 0; --j) {
                names.push_back(fmt::format("n{}.d{}.example", j, i));
            }
            Domain domain = acme_domain(names);
            domain.renew_window = chance.below(2) == 0 ? Window{33, {}} : Window{50, {}};
            domain.renew_via_ari = chance.below(2) == 0;
            if (chance.below(2) == 0) domain.challenges = {"tls-alpn-01", "http-01"};
            result.push_back(std::move(domain));
        }
        return result;
    }

    // ---- the world's side

    void switch_fault() {
        MiniCa& ca = world_.ca;
        ca.bad_nonces = 0;
        ca.refuse_names.clear();
        ca.wrong_key = false;
        ca.change_names = nullptr;
        ca.processing_polls = 1;
        const base::Time now = world_.clock.now();
        if (fault_ != Fault::None) {
            fault_ = Fault::None;
            good_since_ = now;
            next_switch_ = now + hours{1 + chance_.below(24 * 40)};
            return;
        }
        fault_ = static_cast<Fault>(1 + chance_.below(static_cast<uint64_t>(Fault::Count) - 1));
        next_switch_ = now + hours{1 + chance_.below(24 * 6)};
        switch (fault_) {
            case Fault::NoAccounts:
                ca.forget_accounts();
                break;
            case Fault::NoOrders:
                ca.forget_orders();
                break;
            case Fault::RefusesNames:
                for (const Domain& domain : world_.domains) {
                    ca.refuse_names[domain.names.back()] =
                        pick<std::string>({"unauthorized", "connection", "dns", "caa"});
                }
                break;
            case Fault::WrongNames:
                ca.change_names = [](std::vector<std::string>) {
                    return std::vector<std::string>{"evil.example"};
                };
                break;
            case Fault::WrongKey:
                ca.wrong_key = true;
                break;
            case Fault::NeverReady:
                ca.processing_polls = 1'000'000;
                break;
            default:
                break;
        }
    }

    std::optional<Outcome<HttpResponse>> before(const HttpRequest& request) {
        const base::Time now = world_.clock.now();
        maybe_kill();
        if (now < not_before_) {
            FAIL("seed " << seed_ << ": " << request.url << " at " << base::format_rfc3339(now)
                         << ", though the CA asked for silence until "
                         << base::format_rfc3339(not_before_));
        }
        if (request.url == MiniCa::directory_url) count_attempt(now);
        switch (fault_) {
            case Fault::Refused:
                return Outcome<HttpResponse>(make_problem(ECONNREFUSED, "Connection refused"));
            case Fault::Failing:
                return Outcome<HttpResponse>(MiniCa::problem(500, "serverInternal", "sorry"));
            case Fault::Limited:
                if (request.method == "POST") {
                    HttpResponse response = MiniCa::problem(429, "rateLimited", "too many");
                    const auto wait = seconds{60 + chance_.below(80'000)};
                    response.fields.emplace_back("retry-after", std::to_string(wait.count()));
                    // One domain alone: of several, the others may go on.
                    if (world_.domains.size() == 1) not_before_ = now + wait;
                    return Outcome<HttpResponse>(response);
                }
                break;
            case Fault::Garbage: {
                HttpResponse response;
                response.status = 200;
                response.body = "<html>welcome to the hotel</html>";
                return Outcome<HttpResponse>(response);
            }
            case Fault::Flaky:
                if (chance_.below(3) == 0) {
                    return Outcome<HttpResponse>(make_problem(70007, "timed out"));
                }
                break;
            case Fault::BadNonces:
                world_.ca.bad_nonces = 100;
                break;
            default:
                break;
        }
        return std::nullopt;
    }

    void after(const HttpRequest&, HttpResponse& response) {
        if (fault_ == Fault::CutOff) response.body.resize(response.body.size() / 2);
        maybe_kill();
    }

    void maybe_kill() {
        if (kill_in_ == 0 || --kill_in_ > 0) return;
        ++kills_;
        world_.store.frozen = true;
        throw Killed{};
    }

    // ---- time

    void step(base::Time end) {
        const base::Time now = world_.clock.now();
        const base::Time due = world_.engine->next_due().value_or(end);
        const base::Time next = std::min({due, next_switch_, end});
        if (next > now) world_.clock.move(next - now);
        if (world_.clock.now() >= next_switch_) switch_fault();
        if (chance_.below(50) == 0) restart();
        kill_in_ = chance_.below(40) == 0 ? 1 + chance_.below(60) : 0;
        try {
            world_.run();
        } catch (const Killed&) {
            restart();
        }
        kill_in_ = 0;
        check();
    }

    void restart() {
        kill_in_ = 0;
        world_.restart();
        ++restarts_;
    }

    // ---- what has to hold

    void count_attempt(base::Time now) {
        attempts_.push_back(now);
        while (attempts_.front() < now - day) attempts_.pop_front();
        // A drive or a look for advice begins with the directory. Kills make a drive begin anew.
        const size_t allowed = 60 * world_.domains.size() + 2 * static_cast<size_t>(kills_);
        if (attempts_.size() > allowed) {
            FAIL("seed " << seed_ << ": " << attempts_.size() << " attempts within a day");
        }
    }

    void check() {
        const base::Time now = world_.clock.now();
        for (const auto& [order, times] : world_.ca.finalized) {
            if (times > 1) FAIL("seed " << seed_ << ": " << order << " finalized " << times << "x");
        }
        const bool is_recovered = fault_ == Fault::None && now - good_since_ > day * 4;
        for (const Domain& domain : world_.domains) {
            const auto& served = world_.ports.served.at(domain.name);
            if (served.empty()) FAIL("seed " << seed_ << ": nothing is served");
            const tls::Certificate& certificate = *served.front();
            base::Time& best = best_[domain.name];
            if (!certificate.fallback && certificate.not_after >= best) {
                best = certificate.not_after;
            } else if (best > now) {
                FAIL("seed " << seed_ << " at " << base::format_rfc3339(now) << ": " << domain.name
                             << " had a certificate until " << base::format_rfc3339(best)
                             << " and is served with "
                             << (certificate.fallback ? "a fallback" : "an older one"));
            }
            if (is_recovered && best <= now) {
                FAIL("seed " << seed_ << " at " << base::format_rfc3339(now) << ": " << domain.name
                             << " is served expired, and the CA is good since "
                             << base::format_rfc3339(good_since_)
                             << "; last error: " << world_.engine->summaries().at(0).last_error);
            }
        }
    }

    base::SeededRandom chance_;
    World world_;
    const uint64_t seed_;
    const base::Time started_;
    Fault fault_ = Fault::None;
    base::Time good_since_{};
    base::Time next_switch_{};
    base::Time not_before_ = base::Time::min();
    uint64_t kill_in_ = 0;  // requests; 0: never
    int kills_ = 0;
    int restarts_ = 0;
    std::deque<base::Time> attempts_;
    std::map<std::string, base::Time> best_;
};

}  // namespace

TEST_CASE("years of renewals under faults, restarts and kills", "[.sim]") {
    const int one_seed = number_of("MDFRONT_SIM_SEED", -1);
    const int years = number_of("MDFRONT_SIM_YEARS", 2);
    const int first = one_seed >= 0 ? one_seed : 1;
    const int last = one_seed >= 0 ? one_seed : 100;
    size_t certificate_years = 0;
    size_t certificates = 0;
    int kills = 0;
    base::Log::set_level(base::LogLevel::Error);
    for (int seed = first; seed <= last; ++seed) {
        Simulation simulation(static_cast<uint64_t>(seed));
        simulation.live(year * years);
        certificate_years += simulation.domains() * static_cast<size_t>(years);
        certificates += simulation.certificates();
        kills += simulation.kills();
    }
    fmt::print("{} certificate-years, {} certificates, {} kills\n", certificate_years, certificates,
               kills);
    CHECK(certificates > certificate_years);
}

}  // namespace md::test
