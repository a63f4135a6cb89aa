// The whole engine on simulated time: scheduler, drives, stapler and the file store, years of
// renewals, one thread. Everything around it is simulated from a seed: clock, randomness, CAs and
// their OCSP responders, files, programs.
//
//   sim_files          a file system that forgets what was not fsynced, fills up, fails
//   sim_ca             CAs that follow RFC 8555 and 9773 and have bad days
//   sim_responder      their OCSP responders, which have other bad days, and revoke
//   sim_commands       the administrator's programs
//   sim_workers        what clients are given as staples
//   sim_clock          the machine's clock, which may be wrong by hours or a year
//   sim_world          puts them together; time, restarts, kills at any call, power cuts
//   invariants         what has to hold, with the arithmetic of each bound
//   staple_invariants  … of staples and revoked certificates
//   ack_store          what the store said is safe
//
// A failure names its seed. MDFRONT_SIM_SEED=<n> replays it exactly, MDFRONT_SIM_TRACE=1 prints
// what happens, MDFRONT_SIM_DUMP=<path> a file of the store as it was then, MDFRONT_SIM_SEEDS=<n>
// makes the run longer or shorter, and so does MDFRONT_SIM_YEARS=<n>, which is for the worlds of
// calm climate; stormy ones live a tenth of it.
//
// To extend it: a new kind of bad luck goes where its thing is (a CaFault, a ResponderFault, a
// SimFiles::Trouble), and has to be good weather again at a time that check_in_time() knows. A new
// rule goes to Invariants, which hears of each request, answer, start and step. Draw only from the
// world's randomness, and never depending on contents: keys and signatures are others in each run.
#include <cstdlib>

#include "base/log.h"
#include "catch.h"
#include "sim_world.h"

namespace md::test {

namespace {

constexpr std::chrono::hours year{24 * 365};
constexpr int seeds_of_ci = 90;
constexpr int years_of_ci = 10;

SimWorld::Climate climate_of(uint64_t seed) {
    return seed % 2 == 0 ? SimWorld::Climate::Calm : SimWorld::Climate::Stormy;
}

int number_of(const char* variable, int otherwise) {
    const char* text = std::getenv(variable);
    return text == nullptr ? otherwise : std::atoi(text);
}

/// The engine's log, with the machine's time in it, belongs to a run that somebody looks at.
void be_quiet() {
    if (std::getenv("MDFRONT_SIM_TRACE") == nullptr) base::Log::set_level(base::LogLevel::Error);
}

}  // namespace

TEST_CASE("years of renewals under faults, restarts, kills and power cuts") {
    const int one_seed = number_of("MDFRONT_SIM_SEED", -1);
    const int years = number_of("MDFRONT_SIM_YEARS", years_of_ci);
    const int first = one_seed >= 0 ? one_seed : 1;
    const int last = one_seed >= 0 ? one_seed : number_of("MDFRONT_SIM_SEEDS", seeds_of_ci);
    be_quiet();
    std::chrono::hours certificate_time{0};
    SimWorld::Counts all;
    for (int one = first; one <= last; ++one) {
        const auto seed = static_cast<uint64_t>(one);
        const bool is_calm = climate_of(seed) == SimWorld::Climate::Calm;
        const auto time = year * years / (is_calm ? 1 : 10);
        SimWorld world(seed, climate_of(seed));
        world.live(time);
        certificate_time += time * static_cast<int>(world.certificates());
        const SimWorld::Counts counts = world.counts();
        all.certificates += counts.certificates;
        all.kills += counts.kills;
        all.power_cuts += counts.power_cuts;
        all.restarts += counts.restarts;
        all.jumps += counts.jumps;
        all.changes += counts.changes;
        all.questions += counts.questions;
        all.revocations += counts.revocations;
        if (one_seed >= 0) fmt::print("trace {:016x}\n", world.trace_hash());
    }
    const auto certificate_years = static_cast<size_t>(certificate_time / year);
    fmt::print(
        "{} certificate-years, {} certificates, {} kills, {} power cuts, {} restarts, {} reloads, "
        "{} jumps of the clock, {} questions to responders, {} revocations\n",
        certificate_years, all.certificates, all.kills, all.power_cuts, all.restarts, all.changes,
        all.jumps, all.questions, all.revocations);
    CHECK(all.certificates > certificate_years);
}

TEST_CASE("a run can be repeated exactly") {
    be_quiet();
    for (const uint64_t seed : {3, 4}) {
        SimWorld once(seed, climate_of(seed));
        once.live(year / 2);
        SimWorld again(seed, climate_of(seed));
        again.live(year / 2);
        CHECK(once.trace_lines() > 100);
        CHECK(once.trace_lines() == again.trace_lines());
        CHECK(once.trace_hash() == again.trace_hash());
        SimWorld other(seed + 10, climate_of(seed));
        other.live(year / 2);
        CHECK(other.trace_hash() != once.trace_hash());
    }
}

}  // namespace md::test
