#include "md/renewal_info.h"

#include "catch.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

std::string answer(std::string_view start, std::string_view end, std::string_view more = "") {
    return fmt::format("{{\"suggestedWindow\": {{\"start\": \"{}\", \"end\": \"{}\"}}{}}}", start,
                       end, more);
}

const base::Time now = at("2026-11-01T00:00:00Z");

Outcome<RenewalInfo> parse(std::string_view body, const RenewalInfo* former = nullptr,
                           std::optional<base::Duration> wait = {}) {
    base::SystemRandom random;
    return parse_renewal_info(body, "aki.serial", former, wait, now, random);
}

}  // namespace

TEST_CASE("the point lies in the window, all over it, and stays while the window does") {
    const std::string body = answer("2026-12-01T00:00:00Z", "2026-12-03T00:00:00Z");
    const base::Time start = at("2026-12-01T00:00:00Z");
    base::Time first = base::Time::max();
    base::Time last = base::Time::min();
    for (int i = 0; i < 500; ++i) {
        auto info = parse(body);
        REQUIRE(info.ok());
        CHECK(info->renew_at >= start);
        CHECK(info->renew_at <= start + hours{48});
        first = std::min(first, info->renew_at);
        last = std::max(last, info->renew_at);
        auto again = parse(body, &*info);
        REQUIRE(again.ok());
        CHECK(again->renew_at == info->renew_at);
    }
    CHECK(first < start + hours{3});  // mod_md draws around the start, half of it before
    CHECK(last > start + hours{45});

    auto former = parse(body);
    auto moved = parse(answer("2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z"), &*former);
    REQUIRE(moved.ok());
    CHECK(moved->renew_at <= at("2026-11-01T01:00:00Z"));
}

TEST_CASE("times of a window have offsets and fractions") {
    auto info = parse(answer("2026-12-01T02:00:00.75+02:00", "2026-12-01T00:00:09-01:00"));
    REQUIRE(info.ok());
    CHECK(info->window_start == at("2026-12-01T00:00:00Z"));
    CHECK(info->window_end == at("2026-12-01T01:00:09Z"));
}

TEST_CASE("Retry-After is kept within a minute and a day, and is 6 hours if there is none") {
    const std::string body = answer("2026-12-01T00:00:00Z", "2026-12-03T00:00:00Z");
    CHECK(parse(body)->next_look == now + hours{6});
    CHECK(parse(body, nullptr, seconds{5})->next_look == now + minutes{1});
    CHECK(parse(body, nullptr, hours{3})->next_look == now + hours{3});
    CHECK(parse(body, nullptr, hours{240})->next_look == now + hours{24});
    Problem problem = make_problem(EINVAL, "no");
    CHECK(next_look_after(problem, now) == now + hours{6});
    problem.retry_after = minutes{90};
    CHECK(next_look_after(problem, now) == now + minutes{90});
}

TEST_CASE("answers that are of no use are told and change nothing") {
    for (const std::string& body :
         {std::string(), std::string("[]"), std::string("{}"), std::string("not json"),
          std::string("{\"suggestedWindow\": 7}"), std::string("{\"suggestedWindow\": {}}"),
          answer("2026-12-01", "2026-12-02"), answer("2026-12-03T00:00:00Z", "soon"),
          answer("2026-12-03T00:00:00Z", "2026-12-01T00:00:00Z"),
          answer("2026-12-03T00:00:00Z", "2026-12-03T00:00:00Z")}) {
        INFO(body);
        auto info = parse(body);
        REQUIRE_FALSE(info.ok());
        CHECK(info.error().detail.find("renewal information") != std::string::npos);
    }
}

TEST_CASE("an explanation is a link that a browser may follow, or none") {
    const auto url = [](std::string_view text) {
        return parse(answer("2026-12-01T00:00:00Z", "2026-12-03T00:00:00Z",
                            fmt::format(", \"explanationURL\": \"{}\"", text)))
            ->explanation_url;
    };
    CHECK(url("https://ca.example/why") == "https://ca.example/why");
    CHECK(url("http://ca.example/why").empty());
    CHECK(url("javascript:alert(1)").empty());
    CHECK(url("https://ca.example/ <script>").empty());
    CHECK(url("https://ca.example/" + std::string(600, 'a')).empty());
}

TEST_CASE("what was advised outlives a restart; a damaged ari.json is no advice") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    CHECK(load_renewal_info(*store, "a.org").empty());
    auto info = parse(answer("2026-12-01T00:00:00Z", "2026-12-03T00:00:00Z",
                             ", \"explanationURL\": \"https://ca.example/why\""));
    RenewalInfo silent;
    silent.certificate_id = "other.id";
    silent.next_look = now + hours{6};
    REQUIRE(save_renewal_info(*store, "a.org", {*info, silent}).ok());
    const auto loaded = load_renewal_info(*store, "a.org");
    REQUIRE(loaded.size() == 2);
    CHECK(loaded[0].certificate_id == "aki.serial");
    CHECK(loaded[0].window_start == info->window_start);
    CHECK(loaded[0].window_end == info->window_end);
    CHECK(loaded[0].renew_at == info->renew_at);
    CHECK(loaded[0].explanation_url == "https://ca.example/why");
    CHECK(loaded[0].next_look == info->next_look);
    CHECK(has_window(loaded[0]));
    CHECK_FALSE(has_window(loaded[1]));
    // The point is still the same after the next answer.
    CHECK(parse(answer("2026-12-01T00:00:00Z", "2026-12-03T00:00:00Z"), &loaded[0])->renew_at ==
          info->renew_at);
    REQUIRE(store->save(Group::Domains, "a.org", "ari.json", "{\"certificates\": 3").ok());
    CHECK(load_renewal_info(*store, "a.org").empty());
}
