#include "md/job.h"

#include <cerrno>

#include "catch.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

constexpr base::Duration unserved{0};

Problem of_type(const char* type) {
    Problem problem = make_problem(EINVAL, "x");
    problem.type = std::string("urn:ietf:params:acme:error:") + type;
    return problem;
}

/// Gives one r of the jitter: below(256) is r + 128.
class Fixed final : public base::Random {
  public:
    explicit Fixed(uint8_t byte) : byte_(byte) {}
    void fill(std::span<uint8_t> bytes) override {
        // Little-endian: below() takes 64 bits modulo the bound.
        std::fill(bytes.begin(), bytes.end(), uint8_t{0});
        bytes[0] = byte_;
    }

  private:
    uint8_t byte_;
};

}  // namespace

TEST_CASE("job.json: byte for byte, and back (mod_md.md 3.6)") {
    Job job;
    job.name = "blocked.example.com";
    job.next_run = at("2026-11-22T18:10:45Z");
    job.last_run = at("2026-11-22T03:55:46Z");
    job.errors = 1;
    job.last = of_type("rejectedIdentifier");
    job.last.status = 70013;
    job.last.detail = "not for you";
    job.last.subproblems = {{"urn:x", "because", "blocked.example.com"}};
    job.activity = "Creating new order";
    job.note(at("2026-11-22T03:55:45Z"), "starting", "", "");
    job.note(at("2026-11-22T03:55:46Z"), "renewal-error", "urn:x", "not for you");
    const std::string text = R"({
  "name": "blocked.example.com",
  "finished": false,
  "notified": false,
  "notified-renewed": false,
  "next-run": "Sun, 22 Nov 2026 18:10:45 GMT",
  "last-run": "Sun, 22 Nov 2026 03:55:46 GMT",
  "errors": 1,
  "last": {
    "status": 70013,
    "status-description": "Missing parameter for the specified command line option",
    "problem": "urn:ietf:params:acme:error:rejectedIdentifier",
    "detail": "not for you",
    "activity": "Creating new order",
    "subproblems": [
      {
        "type": "urn:x",
        "detail": "because",
        "identifier": {
          "type": "dns",
          "value": "blocked.example.com"
        }
      }
    ]
  },
  "log": {
    "entries": [
      {
        "when": "Sun, 22 Nov 2026 03:55:46 GMT",
        "type": "renewal-error",
        "status": "urn:x",
        "detail": "not for you"
      },
      {
        "when": "Sun, 22 Nov 2026 03:55:45 GMT",
        "type": "starting"
      }
    ]
  }
})";
    CHECK(job_to_json(job, true) == text);
    CHECK(job_to_json(job, false).find("log") == std::string::npos);

    const TempDir dir;
    auto store = open_store(dir / "md");
    REQUIRE(save_job(*store, Group::Staging, job).ok());
    CHECK(read_text(dir / "md/staging/blocked.example.com/job.json") == text);
    auto loaded = load_job(*store, Group::Staging, "blocked.example.com", noon);
    REQUIRE(loaded.ok());
    REQUIRE(loaded->has_value());
    CHECK(job_to_json(loaded->value(), true) == text);
}

TEST_CASE("job.json: the identifier of a subproblem has its type (RFC 8738)") {
    Job job;
    job.name = "2001:db8::1";
    job.last = of_type("rejectedIdentifier");
    job.last.subproblems = {{"urn:x", "because", "2001:db8::1"}};
    const std::string text = job_to_json(job, false);
    CHECK(text.find("\"type\": \"ip\"") != std::string::npos);
    CHECK(text.find("\"dns\"") == std::string::npos);
}

TEST_CASE("job.json: a new job says no more than it knows") {
    Job job;
    job.name = "a.org";
    CHECK(job_to_json(job, true) == R"({
  "name": "a.org",
  "finished": false,
  "notified": false,
  "notified-renewed": false,
  "errors": 0,
  "log": {
    "entries": []
  }
})");
}

TEST_CASE("job.json: the log keeps the newest 128 entries, also when read") {
    Job job;
    job.name = "a.org";
    for (int i = 0; i < 200; ++i) job.note(noon + seconds{i}, "progress", "", std::to_string(i));
    REQUIRE(job.log.size() == 128);
    CHECK(job.log.front().detail == "199");
    CHECK(job.log.back().detail == "72");
}

TEST_CASE("job.json: pauses of several questions, each until its end, 256 at most") {
    Job job;
    job.name = "a.org";
    job.pause("x", Job::Pause{noon + hours{2}, true}, noon);
    job.pause("y", Job::Pause{noon + hours{1}}, noon);
    auto read = job_from_json(job_to_json(job, true), "a.org");
    REQUIRE(read);
    const Job again = *read;
    REQUIRE(again.pauses.size() == 2);
    CHECK(again.pauses.at("x").until == noon + hours{2});
    CHECK(again.pauses.at("x").is_asked_for);
    CHECK_FALSE(again.pauses.at("y").is_asked_for);
    CHECK(job_to_json(again, true) == job_to_json(job, true));

    job.pause("z", std::nullopt, noon + hours{1});
    CHECK(job.pauses.size() == 1);  // y's is over
    job.pause("x", std::nullopt, noon);
    CHECK(job.pauses.empty());
    CHECK(job_to_json(job, true).find("pauses") == std::string::npos);
    for (int i = 0; i < 1000; ++i) {
        job.pause(std::to_string(i), Job::Pause{noon + hours{1 + i}}, noon);
    }
    CHECK(job.pauses.size() == Job::pauses_max);
    CHECK(job.pauses.contains("999"));
    CHECK_FALSE(job.pauses.contains("0"));
}

TEST_CASE("job.json: what cannot be read is set aside, and the job starts anew (ST-08)") {
    const std::string bad[] = {"",
                               "{",
                               "[]",
                               "null",
                               "garbage",
                               std::string(1000, '\0'),
                               R"({"finished": "yes"})",
                               R"({"errors": "many"})",
                               R"({"errors": 1.5})",
                               R"({"next-run": "tomorrow"})",
                               R"({"next-run": 1795348800})",
                               std::string(100'000, '{'),
                               std::string(2 * 1024 * 1024, 'x')};
    for (const std::string& text : bad) {
        INFO(text.substr(0, 60));
        const TempDir dir;
        auto store = open_store(dir / "md");
        write_text(dir / "md/staging/a.org/job.json", text);
        auto loaded = load_job(*store, Group::Staging, "a.org", noon);
        REQUIRE(loaded.ok());
        CHECK_FALSE(loaded->has_value());
        CHECK(read_text(dir / "md/staging/a.org/job.json.bad-1795348800") == text);
        CHECK_FALSE(load_job(*store, Group::Staging, "a.org", noon).value().has_value());
    }
    const TempDir dir;
    auto store = open_store(dir / "md");
    write_text(dir / "md/staging/a.org/job.json", R"({"errors": 999999999999, "log": 3})");
    auto loaded = load_job(*store, Group::Staging, "a.org", noon);
    REQUIRE(loaded->has_value());
    CHECK(loaded->value().errors == 1'000'000);
    CHECK(loaded->value().name == "a.org");
}

TEST_CASE("job.json: finished is believed only if what it made is there (ST-13, 702_080)") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    Job job;
    job.name = "a.org";
    job.finished = true;
    const auto believed = [&] {
        auto loaded = load_job(*store, Group::Staging, "a.org", noon);
        REQUIRE(loaded.ok());
        return loaded->has_value();
    };
    REQUIRE(save_job(*store, Group::Staging, job).ok());
    CHECK(believed());  // not yet notified: looked at again anyway
    job.notified_renewed = true;
    REQUIRE(save_job(*store, Group::Staging, job).ok());
    CHECK_FALSE(believed());
    StoredDomain stored = stored_domain({"a.org"});
    stored.domain.private_keys = {{}, {KeySpec::Type::Ec, 0, "P-256"}};
    REQUIRE(save_domain(*store, Group::Staging, stored).ok());
    CHECK(believed());  // no live domain to compare with
    REQUIRE(save_domain(*store, Group::Domains, stored).ok());
    CHECK_FALSE(believed());
    REQUIRE(store->save(Group::Staging, "a.org", "pubcert.pem", "x").ok());
    CHECK_FALSE(believed());
    REQUIRE(store->save(Group::Staging, "a.org", "pubcert.p-256.pem", "x").ok());
    CHECK(believed());
    // Elsewhere it is only a record.
    REQUIRE(save_job(*store, Group::Domains, job).ok());
    CHECK(load_job(*store, Group::Domains, "a.org", noon).value().has_value());
}

TEST_CASE("retry_after: doubles up to a day (mod_md.md 4.4)") {
    Fixed none(128);  // r = 0
    const Problem problem = of_type("serverInternal");
    struct Case {
        int errors;
        base::Duration delay;
    };
    const Case cases[] = {{-1, seconds{30}}, {0, seconds{30}},    {1, seconds{30}},
                          {2, minutes{1}},   {3, minutes{2}},     {4, minutes{4}},
                          {5, minutes{8}},   {12, minutes{1024}}, {13, hours{24}},
                          {64, hours{24}},   {65, hours{24}},     {2'000'000'000, hours{24}}};
    for (const Case& c : cases) {
        INFO(c.errors);
        CHECK(retry_after(c.errors, problem, seconds{30}, unserved, none) == c.delay);
    }
    CHECK(retry_after(1, problem, hours{24 * 400}, unserved, none) == hours{24});
    CHECK(retry_after(3, problem, milliseconds{10}, unserved, none) == milliseconds{40});
    CHECK(retry_after(1, problem, seconds{0}, unserved, none) == seconds{1});
    CHECK(retry_after(1, problem, seconds{-5}, unserved, none) == seconds{1});
}

TEST_CASE("retry_after: jitter is between 50% and 149.6%") {
    const Problem problem = of_type("serverInternal");
    Fixed lowest(0);
    Fixed highest(255);
    CHECK(retry_after(13, problem, seconds{30}, unserved, lowest) == hours{12});
    CHECK(retry_after(13, problem, seconds{30}, unserved, highest) ==
          base::Duration(hours{24}) + base::Duration(hours{24}) * 127 / 256);
    CHECK(retry_after(1, problem, seconds{1}, unserved, lowest) == seconds{1});
}

TEST_CASE("retry_after: input-related problems wait a day at once, the CA's wish is a minimum") {
    Fixed none(128);
    CHECK(retry_after(1, of_type("rejectedIdentifier"), seconds{30}, unserved, none) == hours{24});
    CHECK(retry_after(1, of_type("rateLimited"), seconds{30}, unserved, none) == seconds{30});
    Problem limited = of_type("rateLimited");
    limited.retry_after = hours{3};
    CHECK(retry_after(1, limited, seconds{30}, unserved, none) == hours{3});
    limited.retry_after = seconds{1};
    CHECK(retry_after(1, limited, seconds{30}, unserved, none) == seconds{30});
}

TEST_CASE("retry_after: half of what is left of the validity of what is served at most") {
    Fixed none(128);
    Fixed highest(255);
    const Problem problem = of_type("serverInternal");
    struct Case {
        base::Duration left;
        base::Duration delay;
    };
    const Case cases[] = {
        {hours{24 * 30}, hours{24}}, {hours{48}, hours{24}},       {hours{47}, minutes{47 * 30}},
        {hours{24}, hours{12}},      {hours{2}, hours{1}},         {minutes{90}, hours{1}},
        {seconds{1}, hours{1}},      {unserved, hours{24}},        {-hours{24}, hours{24}},
        {hours{72}, hours{24}},      {minutes{121}, seconds{3630}}};
    for (const Case& c : cases) {
        INFO(c.left.count());
        CHECK(retry_after(13, problem, seconds{30}, c.left, none) == c.delay);
    }
    // After the jitter, which takes it up to a day and a half.
    CHECK(retry_after(13, problem, seconds{30}, hours{48}, highest) == hours{24});
    // Nothing is made longer by it.
    CHECK(retry_after(1, problem, seconds{30}, hours{48}, none) == seconds{30});
    // Of a failure that somebody has to mend, too; never below what the CA asked for.
    CHECK(retry_after(1, of_type("rejectedIdentifier"), seconds{30}, hours{8}, none) == hours{4});
    Problem paused = of_type("unauthorized");
    paused.pause = hours{24};
    CHECK(retry_after(1, paused, seconds{30}, unserved, none) == hours{24});
    CHECK(retry_after(1, paused, seconds{30}, hours{24 * 30}, none) == hours{24});
    CHECK(retry_after(1, paused, seconds{30}, hours{8}, none) == hours{4});
    paused.retry_after = hours{6};
    CHECK(retry_after(1, paused, seconds{30}, hours{8}, none) == hours{6});
}

TEST_CASE("retry_after: ten years of failures never give zero, nor more than a day and a half") {
    // CVE-2025-55753: mod_md's delay overflowed to 0 after about 30 days.
    base::SeededRandom random(20260101);
    for (const base::Duration retry_delay :
         {base::Duration(seconds{1}), base::Duration(seconds{5}), base::Duration(seconds{30}),
          base::Duration(hours{24}), base::Duration::max()}) {
        base::Time now = noon;
        const base::Time end = noon + hours{24 * 3653};
        int errors = 0;
        while (now < end) {
            ++errors;
            const auto delay =
                retry_after(errors, of_type("serverInternal"), retry_delay, unserved, random);
            if (delay < seconds{1} || delay > hours{36}) {
                INFO("errors " << errors << " delay " << delay.count());
                FAIL();
            }
            now += delay;
        }
        CHECK(errors < 7500);  // no storm either: at most two a day in the long run
    }
}
