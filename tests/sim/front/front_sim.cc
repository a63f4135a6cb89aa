// The whole front on a simulated machine: real net (but for its system calls), tls and proxy, one
// worker on one thread, among simulated clients and servers. Everything comes from a seed.
//
//   kernel              the machine, see kernel.h for its parts
//   client              a connection to the front, good or bad; over TLS by tls_client
//   request_maker, bad_requests
//                       what clients send: acceptable, and of every kind that is not
//   server              what the front connects to; fails in the ways in which servers fail
//   message             bodies that need not be stored to be checked, and the strict reader
//   oracle              the ledger of all requests, and what must hold
//   world               puts them together; reloads and the like; what must be left: nothing
//
// A failure names its seed. MDFRONT_SIM_SEED=<n> lives that world again, exactly, and prints what
// happens; MDFRONT_SIM_SEEDS=<n> makes the run longer or shorter, MDFRONT_SIM_SECONDS=<n> goes on
// until so much time has passed, MDFRONT_SIM_BASE=<n> begins with another seed than 1. An abort of
// the process is a finding as well and prints its seed.
//
// To extend it: a new kind of misfortune of a client goes to client.cc (choose_character), one of a
// server to ServerConnection::Fault, a request that must be refused to the table in
// bad_requests.cc, a change from above to World::befall(). A new rule goes to Oracle, which hears
// of each head, byte and end on both sides, or to World::end(). What goes wrong on purpose has to
// tell the oracle, or it takes the front for guilty (Attempt::is_broken, Excuses). Draw only from
// the dice of the world or the actor, never from contents that OpenSSL makes.
//
// tests/sim/front/plant plants mistakes in src and tells how many requests it takes to find them.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/log.h"
#include "catch.h"
#include "world.h"

namespace sim::front {

namespace {

/// More than a million requests, in some three minutes.
constexpr uint64_t seeds_of_ci = 6'000;

uint64_t number_of(const char* variable, uint64_t otherwise) {
    const char* text = std::getenv(variable);
    uint64_t number = 0;
    return text != nullptr && read_number(text, number) ? number : otherwise;
}

// What a signal handler can print: the seed in hand, and how much was done before.
char note[256];

void tell_seed(int signal) {
    const ssize_t written = ::write(STDERR_FILENO, note, std::strlen(note));
    (void)written;  // there is nobody to tell
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

void take_note(uint64_t seed, const Counts& before) {
    std::snprintf(note, sizeof note,
                  "the front's simulation failed in world %llu, after %llu requests in worlds "
                  "before; MDFRONT_SIM_SEED=%llu lives it again\n",
                  static_cast<unsigned long long>(seed),
                  static_cast<unsigned long long>(before.requests),
                  static_cast<unsigned long long>(seed));
    set_failure_note(note);
}

/// The front's log, with the machine's time in it, belongs to a world that somebody looks at.
void watch_signals(bool is_printed) {
    base::Log::set_level(is_printed ? base::LogLevel::Debug : base::LogLevel::Error);
    for (const int signal : {SIGABRT, SIGSEGV, SIGBUS}) std::signal(signal, tell_seed);
}

void print_counts(const Counts& all, uint64_t worlds, double cpu_s) {
    fmt::print(
        "front simulation: {} worlds, {} requests ({} bad), {} answered ({} by the front), {} "
        "refused, {} attempts ({} replays), {} interim responses, {} tunnels\n"
        "  {} connections, {} handshakes ({} resumed), {} faults of clients and servers, {} of "
        "the machine, {} publications; {:.1f} s of CPU, {:.0f} us per request\n",
        worlds, all.requests, all.bad, all.answered, all.local, all.refused, all.attempts,
        all.replays, all.interims, all.tunnels, all.connections, all.handshakes, all.resumed,
        all.faults, all.kernel_faults, all.reloads, cpu_s,
        cpu_s * 1e6 / static_cast<double>(std::max<uint64_t>(all.requests, 1)));
}

/// False: something did not hold.
bool live(uint64_t seed, bool is_printed, Counts& all, uint64_t& hash) {
    take_note(seed, all);
    World world(seed, is_printed);
    bool holds = true;
    try {
        world.live();
    } catch (const Violation& violation) {
        fmt::print(stderr, "{}\n{}", violation.what(), note);
        holds = false;
    }
    all.add(world.counts());
    hash = world.trace_hash();
    return holds;
}

}  // namespace

TEST_CASE("whatever clients, servers and the machine do, the front does what it must") {
    const uint64_t one_seed = number_of("MDFRONT_SIM_SEED", 0);
    watch_signals(one_seed > 0);
    const uint64_t seconds = number_of("MDFRONT_SIM_SECONDS", 0);
    const uint64_t first = one_seed > 0 ? one_seed : number_of("MDFRONT_SIM_BASE", 1);
    const uint64_t count = one_seed > 0 ? 1 : number_of("MDFRONT_SIM_SEEDS", seeds_of_ci);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    const std::clock_t begun = std::clock();
    Counts all;
    uint64_t worlds = 0;
    bool holds = true;
    for (uint64_t seed = first; holds; ++seed) {
        const bool is_over =
            seconds > 0 ? std::chrono::steady_clock::now() >= until : seed - first >= count;
        if (is_over && worlds > 0) break;
        uint64_t hash = 0;
        holds = live(seed, one_seed > 0, all, hash);
        ++worlds;
        if (one_seed > 0) fmt::print("trace {:016x}\n", hash);
    }
    print_counts(all, worlds, static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC);
    CHECK(holds);
}

TEST_CASE("a world that is lived again is the same") {
    watch_signals(false);
    for (const uint64_t seed : {11, 12, 13, 14, 15, 16}) {
        Counts counts;
        uint64_t first = 0;
        uint64_t second = 0;
        CHECK(live(seed, false, counts, first));
        CHECK(live(seed, false, counts, second));
        CHECK(first == second);
    }
}

}  // namespace sim::front
