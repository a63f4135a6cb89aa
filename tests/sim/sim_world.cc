#include "sim_world.h"

#include "base/text.h"
#include "md/jws.h"
#include "md/store_fixture.h"

namespace md::test {

namespace {

using std::chrono::hours;
using std::chrono::seconds;
constexpr hours day{24};

/// Finds the CA, or its responder, that a URL belongs to.
class SimTransport final : public Transport {
  public:
    explicit SimTransport(std::vector<std::unique_ptr<SimCa>>& cas) : cas_(cas) {}
    Outcome<HttpResponse> exchange(const HttpRequest& request) override {
        for (auto& ca : cas_) {
            if (ca->owns(request.url)) return ca->exchange(request);
            if (ca->responder().owns(request.url)) return ca->responder().exchange(request);
        }
        return make_problem(EHOSTUNREACH, "there is no " + request.url);
    }

  private:
    std::vector<std::unique_ptr<SimCa>>& cas_;
};

}  // namespace

SimWorld::SimWorld(uint64_t seed, Climate climate)
    : seed_(seed),
      calm_(climate == Climate::Calm ? 16 : 1),
      chance_(seed),
      engine_random_(seed * 7919 + 1),
      clock_(noon),
      trace_(clock_),
      files_(clock_, chance_),
      commands_(clock_, chance_, ports_, trace_),
      invariants_(*this),
      staple_invariants_(*this),
      store_good_since_(noon),
      programs_good_since_(noon),
      clock_good_since_(noon),
      up_since_(noon),
      next_store_change_(noon + day * 3),
      next_clock_change_(noon + day * 10),
      next_programs_change_(noon + day * 5) {
    const uint64_t cas = 1 + chance_.below(2);
    for (uint64_t i = 0; i < cas; ++i) {
        auto ca =
            std::make_unique<SimCa>(static_cast<int>(i), clock_, ports_, chance_, trace_, calm_);
        ca->on_request = [this](SimCa& one, const HttpRequest& request) {
            invariants_.on_request(one, request);
            maybe_kill(kill_in_requests_);
        };
        ca->on_answer = [this](SimCa& one, const HttpRequest& request, const HttpResponse* response,
                               std::optional<base::Duration> silence) {
            invariants_.on_answer(one, request, response, silence);
            maybe_kill(kill_in_requests_);
        };
        SimResponder& responder = ca->responder();
        responder.on_request = [this](SimResponder& one, const HttpRequest& request,
                                      const std::string& serial) {
            staple_invariants_.on_question(one, request, serial);
            maybe_kill(kill_in_requests_);
        };
        responder.on_answer = [this](SimResponder& one, const HttpRequest& request,
                                     const SimResponder::Given& given) {
            staple_invariants_.on_answer(one, request, given);
            maybe_kill(kill_in_requests_);
        };
        cas_.push_back(std::move(ca));
    }
    keys_.is_in_use = [this](std::string_view pem) { return is_in_use(pem); };
    choose_settings();
    choose_domains();
    files_.before_call = [this] { maybe_kill(kill_in_files_); };
    commands_.around = [this] { maybe_kill(kill_in_programs_); };
    start_process(true);
}

SimWorld::~SimWorld() {
    files_.end_process();
}

void SimWorld::choose_settings() {
    settings_.store_dir = "/store";
    settings_.user_agent = "simulated";
    settings_.domains_in_parallel = 1;
    settings_.check_interval = hours{24};
    settings_.activation_delay = chance_.below(3) == 0 ? hours{24} : hours{0};
    settings_.retry_failover = chance_.below(2) == 0 ? 13 : 3;
    if (chance_.below(2) == 0) settings_.message_command = "message";
    if (chance_.below(3) == 0) settings_.notify_command = "notify";
    settings_.challenge_dns01_command = "dns";
    settings_.challenge_dns01_version = chance_.below(2) == 0 ? 1 : 2;
    for (auto& ca : cas_) {
        if (chance_.below(4) != 0) continue;
        ca->ca().external_account_required = true;
        ca->ca().external_account_key = "a secret of the customer";
    }
}

void SimWorld::choose_domains() {
    const KeySpec p256{KeySpec::Type::Ec, 0, "P-256"};
    const KeySpec p384{KeySpec::Type::Ec, 0, "P-384"};
    const KeySpec rsa{KeySpec::Type::Rsa, 2048, ""};
    const std::vector<KeySpec> keys[] = {{p256}, {p256},      {p256}, {p256},
                                         {rsa},  {p256, rsa}, {p384}};
    const uint64_t count = 1 + chance_.below(3);
    for (uint64_t i = 0; i < count; ++i) {
        const std::string name = fmt::format("d{}.example", i);
        Domain domain = acme_domain({name});
        for (uint64_t j = chance_.below(3); j > 0; --j) {
            domain.names.push_back(fmt::format("n{}.{}", j, name));
        }
        if (chance_.below(4) == 0) {
            domain.names.push_back("*." + name);
            domain.challenges = {"http-01", "dns-01"};
        } else if (chance_.below(2) == 0) {
            domain.challenges = {"tls-alpn-01", "http-01"};
        }
        domain.private_keys = keys[chance_.below(std::size(keys))];
        const bool is_early = chance_.below(calm_ > 1 ? 8 : 2) == 0;
        domain.renew_window = Window{is_early ? 50 : 33, {}};
        domain.renew_via_ari = chance_.below(3) != 0;
        if (chance_.below(3) == 0)
            domain.profile = chance_.below(2) == 0 ? "classic" : "unheard of";
        domain.ca_urls.clear();
        const uint64_t first = chance_.below(cas_.size());
        for (uint64_t j = 0; j < cas_.size(); ++j) {
            domain.ca_urls.push_back(cas_[(first + j) % cas_.size()]->directory());
        }
        const bool is_customer = std::any_of(cas_.begin(), cas_.end(), [](const auto& ca) {
            return ca->ca().external_account_required;
        });
        if (is_customer) {
            const std::string secret = "a secret of the customer";
            const auto* bytes = reinterpret_cast<const uint8_t*>(secret.data());
            domain.external_account = {"customer-7", base::base64url({bytes, secret.size()})};
        }
        // Of no use to anybody but Invariants: it says whose request one is.
        domain.ca_certificate_file = fmt::format("/trust/{}.pem", name);
        choose_staples(domain);
        domains_.push_back(std::move(domain));
    }
}

void SimWorld::choose_staples(Domain& domain) {
    domain.stapling = chance_.below(2) == 0;
    domain.must_staple = chance_.below(6) == 0;
    if (chance_.below(8) == 0) domain.revocation_check = RevocationCheck::Off;
    // As ca_certificate_file, of questions to responders.
    domain.http_proxy = fmt::format("http://{}", domain.name);
}

/// Of a certificate that is served, or was revoked not long ago.
bool SimWorld::is_in_use(std::string_view pem) const {
    for (const auto& [domain, lost] : lost_keys_) {
        if (std::find(lost.begin(), lost.end(), pem) != lost.end()) return true;
    }
    for (const auto& [domain, served] : ports_.served) {
        for (const auto& one : served) {
            if (key_text(*one) == pem) return true;
        }
    }
    return false;
}

const Domain& SimWorld::domain(const std::string& name) const {
    return *std::find_if(domains_.begin(), domains_.end(),
                         [&](const Domain& one) { return one.name == name; });
}

size_t SimWorld::certificates() const {
    size_t count = 0;
    for (const Domain& domain : domains_) count += domain.key_specs().size();
    return count;
}

SimWorld::Counts SimWorld::counts() const {
    Counts counts = counts_;
    for (const auto& ca : cas_) {
        counts.certificates += static_cast<size_t>(ca->ca().certificates_made);
        counts.questions += ca->responder().questions();
    }
    return counts;
}

// ---- time and bad luck

void SimWorld::live(base::Duration duration) {
    const base::Time end = clock_.true_now() + duration;
    while (clock_.true_now() < end) step(end);
}

base::Time SimWorld::next_event(base::Time end) const {
    // A server looks at the clock at least once a minute; here it does once a day, and after each
    // event.
    base::Time next = std::min(end, clock_.true_now() + day);
    next = std::min({next, next_store_change_, next_clock_change_, next_programs_change_});
    for (const auto& ca : cas_) {
        next = std::min({next, ca->next_change(), ca->responder().next_change()});
    }
    if (!engine_) return std::min(next, clock_.true_now() + hours{1});
    for (const auto& due : {engine_->next_due(), stapler_->next_due()}) {
        if (!due || *due >= clock_.true_now() + day * 400) continue;
        // What is due at once may be so since the beginning of time.
        const base::Time shown = clock_.true_now() + clock_.error();
        next = std::min(next, std::max(*due, shown) - clock_.error());
    }
    return next;
}

void SimWorld::step(base::Time end) {
    clock_.move_to(next_event(end));
    files_.write_back();
    invariants_.before_step();
    change_weather();
    if (!engine_) {
        start_process(true);
    } else if (const uint64_t fate = chance_.below(400 * calm_); fate < 4) {
        restart(Ending::Stop);
    } else if (fate == 4) {
        restart(Ending::PowerCut);
    }
    if (engine_ && chance_.below(400 * calm_) == 0) {
        const std::string& name = domains_[chance_.below(domains_.size())].name;
        invariants_.on_requested(name);
        trace_.add("asked to renew {}", name);
        (void)engine_->renew_now(name);
    }
    // A CA that revokes whatever it has issued is busy.
    const bool is_busy = std::any_of(cas_.begin(), cas_.end(), [](const auto& ca) {
        return ca->fault() == CaFault::Busy || ca->fault() == CaFault::Limited;
    });
    if (chance_.below((is_busy ? 50 : 400) * calm_) == 0) revoke_one();
    // Who sees errors tries other settings. What cannot be read is served from the bridge's books,
    // which are not part of this world.
    const bool is_readable = files_.trouble() == SimFiles::Trouble::None;
    const bool has_errors = std::any_of(cas_.begin(), cas_.end(), [](const auto& ca) {
        return ca->responder().fault() != ResponderFault::None;
    });
    const uint64_t steps = (has_errors ? 50 : 200) * calm_;
    if (engine_ && is_readable && chance_.below(steps) == 0) change_configuration();
    if (engine_) run_process();
    invariants_.after_step();
}

/// Other settings, or a domain that is taken out and put back.
void SimWorld::change_configuration() {
    Domain& domain = domains_[chance_.below(domains_.size())];
    const bool goes = chance_.below(2) == 0;
    trace_.add("{} {}", domain.name, goes ? "goes and comes back" : "changes");
    ++counts_.changes;
    try {
        if (goes) {
            std::vector<Domain> others;
            for (const Domain& one : domains_) {
                if (one.name != domain.name) others.push_back(one);
            }
            invariants_.on_taken_out(domain.name);
            staple_invariants_.on_taken_out(domain.name);
            engine_->change_domains(others);
        } else {
            change_settings(domain);
        }
        engine_->change_domains(domains_);
    } catch (const Killed&) {
        restart(chance_.below(2) == 0 ? Ending::Kill : Ending::PowerCut);
    }
}

void SimWorld::change_settings(Domain& domain) {
    domain.warn_window.percent = domain.warn_window.percent == 10 ? 12 : 10;
    if (chance_.below(4) == 0) domain.stapling = !domain.stapling;
    staple_invariants_.on_settings(domain.name);
}

/// Its CA finds out that somebody else has the key, say.
void SimWorld::revoke_one() {
    const auto served = ports_.served.find(domains_[chance_.below(domains_.size())].name);
    if (served == ports_.served.end() || served->second.empty()) return;
    const tls::Certificate& one = *served->second[chance_.below(served->second.size())];
    for (auto& ca : cas_) {
        SimResponder& responder = ca->responder();
        if (one.fallback || one.ocsp_url != responder.url() || responder.has_revoked(one.serial)) {
            continue;
        }
        responder.revoke(one.serial);
        auto& lost = lost_keys_[served->first];
        lost.push_back(key_text(one));
        if (lost.size() > 2) lost.pop_front();
        ++counts_.revocations;
        trace_.add("{} revokes {} of {}", responder.url(), one.serial, served->first);
    }
}

/// When the first of the certificates that are served ends; Time::max() if none does.
base::Time SimWorld::first_end() const {
    base::Time end = base::Time::max();
    for (const auto& [domain, served] : ports_.served) {
        for (const auto& one : served) {
            if (!one->fallback && one->not_after > clock_.true_now()) {
                end = std::min(end, one->not_after);
            }
        }
    }
    return end;
}

void SimWorld::change_weather() {
    const base::Time now = clock_.true_now();
    for (auto& ca : cas_) {
        if (now >= ca->responder().next_change()) ca->responder().change_weather();
        if (now < ca->next_change()) continue;
        std::vector<std::string> names;
        for (const Domain& domain : domains_) {
            const std::string& last = domain.names.back();
            names.push_back(last.starts_with("*.") ? last.substr(2) : last);
        }
        ca->change_weather(names, first_end());
    }
    if (now >= next_store_change_) change_store_trouble();
    if (now >= next_clock_change_) change_clock();
    if (now >= next_programs_change_) change_programs();
}

void SimWorld::change_store_trouble() {
    const base::Time now = clock_.true_now();
    if (files_.trouble() == SimFiles::Trouble::None) {
        files_.set_trouble(static_cast<SimFiles::Trouble>(1 + chance_.below(3)));
        next_store_change_ = now + hours{1 + chance_.below(24 * 3)};
    } else {
        files_.set_trouble(SimFiles::Trouble::None);
        store_good_since_ = now;
        next_store_change_ = now + hours{1 + chance_.below(24 * 60 * calm_)};
        // Some who mend a disk start the server again.
        if (chance_.below(2) == 0) restart(Ending::Stop);
    }
    trace_.add("store trouble {}", static_cast<int>(files_.trouble()));
}

void SimWorld::change_clock() {
    const base::Time now = clock_.true_now();
    if (clock_.error() == base::Duration::zero()) {
        const base::Duration sizes[] = {hours{1}, hours{8}, day, day * 30, day * 365};
        const base::Duration size = sizes[chance_.below(std::size(sizes))];
        clock_.set_error(chance_.below(2) == 0 ? size : -size);
        next_clock_change_ = now + hours{1 + chance_.below(24 * 4)};
    } else {
        clock_.set_error({});
        clock_good_since_ = now;
        next_clock_change_ = now + hours{1 + chance_.below(24 * 100 * calm_)};
    }
    ++counts_.jumps;
    trace_.add("clock is wrong by {} s", clock_.error().count() / 1000);
    invariants_.on_jump();
    staple_invariants_.on_jump();
}

void SimWorld::change_programs() {
    const base::Time now = clock_.true_now();
    programs_bad_ = !programs_bad_;
    commands_.set_bad(programs_bad_);
    if (!programs_bad_) programs_good_since_ = now;
    next_programs_change_ =
        now + hours{1 + chance_.below(programs_bad_ ? 24 * 4 : 24 * 60 * calm_)};
    trace_.add("programs are {}", programs_bad_ ? "bad" : "good");
}

// ---- the process

void SimWorld::maybe_kill(uint64_t& countdown) {
    if (countdown == 0 || --countdown > 0) return;
    files_.end_process();
    throw Killed{};
}

/// The next one comes soon or late, at whatever kind of call.
void SimWorld::arm_kill() {
    kill_in_files_ = kill_in_requests_ = kill_in_programs_ = 0;
    const uint64_t calls = (uint64_t{16} << chance_.below(12)) * calm_;
    const uint64_t kind = chance_.below(8);
    if (kind < 5) {
        kill_in_files_ = 1 + chance_.below(calls);
    } else if (kind < 7) {
        kill_in_requests_ = 1 + chance_.below(1 + calls / 8);
    } else {
        kill_in_programs_ = 1 + chance_.below(1 + calls / 64);
    }
}

void SimWorld::run_process() {
    try {
        // The stapler first: what it tells the engine is for the same step.
        (void)stapler_->run_due();
        const size_t visits = engine_->run_due();
        if (visits > 0) trace_.add("{} visits, {} calls", visits, files_.calls());
    } catch (const Killed&) {
        restart(chance_.below(2) == 0 ? Ending::Kill : Ending::PowerCut);
    }
}

void SimWorld::die() {
    files_.end_process();
    if (stapler_) stapler_->set_listener(nullptr);
    engine_.reset();
    workers_.use(nullptr);
    stapler_.reset();
    ack_store_.use(nullptr);
    store_.reset();
    ports_.http01_answers.clear();
    ports_.alpn_answers.clear();
    // Kept until the next process has them, which then need not decode them again.
    former_served_ = std::exchange(ports_.served, {});
}

void SimWorld::restart(Ending ending) {
    const bool was_clean = engine_ != nullptr && ending == Ending::Stop;
    die();
    ++(ending == Ending::Stop   ? counts_.restarts
       : ending == Ending::Kill ? counts_.kills
                                : counts_.power_cuts);
    trace_.add("ending {}", static_cast<int>(ending));
    files_.begin_process(ending == Ending::PowerCut);
    if (const std::string lost = ack_store_.lost(); !lost.empty()) invariants_.fail(lost);
    start_process(was_clean);
}

void SimWorld::begin_process() {
    auto opened = FileStore::open("/store", files_, engine_random_, StoreLocks{seconds{5}, clock_});
    if (!opened) {
        if (files_.trouble() == SimFiles::Trouble::None) invariants_.fail(opened.error().message());
        trace_.add("the server does not start");
        die();
        files_.begin_process(false);
        return;
    }
    store_ = std::move(opened).value();
    ack_store_.use(store_.get());
    const auto transports = [this] { return std::make_unique<SimTransport>(cas_); };
    stapler_ = std::make_unique<Stapler>(settings_, ack_store_, clock_, engine_random_, transports,
                                         workers_, commands_);
    engine_ =
        std::make_unique<Engine>(settings_, domains_, ack_store_, files_, clock_, engine_random_,
                                 transports, ports_, ports_, commands_, keys_, stapler_.get());
    stapler_->set_listener(engine_.get());
    workers_.use(stapler_.get());
    if (const auto loaded = engine_->load(); !loaded) invariants_.fail(loaded.error().message());
    stapler_->remove_old();  // as its first thread would
}

void SimWorld::start_process(bool was_clean) {
    for (;;) {
        arm_kill();
        try {
            begin_process();
            break;
        } catch (const Killed&) {
            was_clean = false;
            die();
            ++counts_.kills;
            trace_.add("killed while it started");
            files_.begin_process(chance_.below(2) == 0);
            if (const std::string lost = ack_store_.lost(); !lost.empty()) invariants_.fail(lost);
        }
    }
    if (engine_ && !is_up_) up_since_ = clock_.true_now();
    is_up_ = engine_ != nullptr;
    invariants_.on_start(was_clean);
}

}  // namespace md::test
