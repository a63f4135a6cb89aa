// A wall clock that is wrong for a while (faults.md PR-15, CA-40): what it planned does not stand.
#include "catch.h"
#include "md/acme_fixture.h"

using namespace md;
using namespace md::test;

namespace {

using std::chrono::hours;
constexpr hours day{24};
const std::string name = "a.example.org";

bool is_refusing = false;

void refuse_when_told(World& world) {
    is_refusing = false;
    world.ca.before = [](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        if (!is_refusing) return std::nullopt;
        return Outcome<HttpResponse>(make_problem(ECONNREFUSED, "Connection refused"));
    };
}

}  // namespace

TEST_CASE("Clock: set back by a year, a waiting job and a regular check come within two days") {
    World world({acme_domain({name})});
    refuse_when_told(world);
    const bool is_failing = GENERATE(false, true);
    const bool is_restarted = GENERATE(false, true);
    if (!is_failing) world.run();
    world.clock.move(day * 365);
    is_refusing = is_failing;
    world.run();
    CHECK(world.engine->summaries().at(0).errors == (is_failing ? 1 : 0));
    is_refusing = false;

    world.clock.move(-day * 365);
    if (is_restarted) world.restart();
    world.run();
    REQUIRE(world.engine->next_due());
    CHECK(*world.engine->next_due() <= world.clock.now() + day * 2);
    world.live(day * 2);
    const tls::Certificate& served = world.served(name);
    CHECK_FALSE(served.fallback);
    CHECK(world.engine->summaries().at(0).errors == 0);
}
