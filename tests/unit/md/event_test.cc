#include "md/event.h"

#include "acme_fixture.h"
#include "catch.h"
#include "md/poll.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using Lines = std::vector<std::string>;

namespace {

const std::string name = "example.org";
constexpr hours day{24};
constexpr const char* message_id = "urn:org:apache:httpd:log:AH10109:";
constexpr const char* notify_id = "urn:org:apache:httpd:log:AH10108:";
const CommandResult failure{CommandResult::End::Exited, 1, "some words\n"};

/// A world whose events are told to "/m x" and "/n".
struct EventWorld : World {
    explicit EventWorld(std::vector<Domain> configured = {acme_domain({name})})
        : World(std::move(configured)) {
        settings.message_command = "/m x";
        settings.notify_command = "/n";
        restart();
    }
    /// These lines fail from now on.
    void fail(std::set<std::string> lines) {
        commands.on_run = [lines = std::move(lines)](const Command& command) {
            const std::string line = fmt::format("{}", fmt::join(command.argv, " "));
            return lines.contains(line) ? failure : CommandResult{};
        };
    }
    int count(const std::string& line) const { return commands.count(line); }
    Job live_job() { return *take(load_job(store, Group::Domains, name, clock.now())); }
    bool is_served() { return !served(name).fallback; }
};

int count_log(const Job& job, const std::string& type) {
    return static_cast<int>(std::count_if(
        job.log.begin(), job.log.end(), [&](const LogEntry& entry) { return entry.type == type; }));
}

const std::string renewing = "/m x renewing example.org";
const std::string set_up = "/m x challenge-setup:http-01:example.org example.org";
const std::string notify = "/n example.org";
const std::string renewed = "/m x renewed example.org";
const std::string installed = "/m x installed example.org";
const std::string errored = "/m x errored example.org";
const std::string expiring = "/m x expiring example.org";

}  // namespace

TEST_CASE("Reasons and intervals of all events (mod_md.md 4.9, 5.12)") {
    CHECK(Event{EventKind::Renewing}.reason() == "renewing");
    CHECK(Event{EventKind::ChallengeSetup, "dns-01:a.example"}.reason() ==
          "challenge-setup:dns-01:a.example");
    CHECK(Event{EventKind::OcspErrored}.reason() == "ocsp-errored");
    for (const EventKind kind : {EventKind::Renewing, EventKind::Errored, EventKind::OcspErrored}) {
        CHECK(event_interval(kind) == hours{1});
    }
    for (const EventKind kind :
         {EventKind::Renewed, EventKind::Installed, EventKind::Expiring, EventKind::OcspRenewed}) {
        CHECK(event_interval(kind) == day);
    }
    CHECK(event_interval(EventKind::ChallengeSetup) == base::Duration::zero());
}

TEST_CASE("A renewal is told of in order, and with what it is about in the environment") {
    EventWorld world;
    std::vector<bool> served;
    world.commands.on_run = [&](const Command&) {
        served.push_back(world.is_served());
        if (world.commands.lines().back() == set_up) {
            CHECK(world.ports.http01_answers.contains(name));  // before the CA is told
        }
        return CommandResult{};
    };
    world.run();
    CHECK(world.commands.lines() == Lines{renewing, set_up, notify, renewed, installed});
    CHECK(served == std::vector<bool>{false, false, false, false, true});
    const Command& last = world.commands.calls.back();
    CHECK(last.environment == Lines{"MDFRONT_DOMAIN=example.org", "MDFRONT_NAMES=example.org",
                                    "MDFRONT_STORE_DIR=", "MDFRONT_EVENT=installed"});
    CHECK(last.timeout == minutes{5});
    const Job job = world.live_job();  // mod_md leaves the last in tmp/
    CHECK(job.log.at(0).type == "message-installed");
    CHECK(job.log.at(1).type == "message-renewed");
    CHECK(count_log(job, "message-challenge-setup:http-01:example.org") == 1);
    CHECK(job.notified);
    CHECK(job.notified_renewed);
    CHECK(world.store.names(Group::Tmp)->empty());
    CHECK_FALSE(world.job(name));
    world.restart();
    CHECK(world.run() == 1);  // the check after a start
    CHECK(world.commands.calls.size() == 5);
}

TEST_CASE("Without commands nothing is run; a wildcard is passed as it is") {
    World world({acme_domain({name})});
    world.run();
    CHECK(world.commands.calls.empty());
    CHECK(world.served(name).not_after > world.clock.now());

    FakeClock clock(noon);
    FakeCommands commands;
    EngineSettings settings;
    settings.message_command = "/m '* x'";
    const Events events(commands, clock, settings, {});
    Job job;
    CHECK(events.raise({EventKind::Errored}, acme_domain({"*.example.org"}), job));
    CHECK(commands.calls.at(0).argv == Lines{"/m", "* x", "errored", "*.example.org"});
}

TEST_CASE("renewing: a failure keeps the attempt from being made, and counts no error") {
    EventWorld world;
    world.fail({renewing});
    world.live(day * 3);
    CHECK(world.ca.requests == 0);
    CHECK(world.count(renewing) >= 4);  // asked again at every check
    CHECK(world.count(renewing) <= 12);
    CHECK(world.count(errored) == 0);
    const Job job = *world.job(name);
    CHECK(job.errors == 0);
    CHECK(job.last.type == message_id);
    CHECK(job.last.detail ==
          "message_cmd /m failed with exit code 1; its last lines: some words (renewing)");
    CHECK(job.log.at(0).type == "message-error");
    CHECK(job.log.at(0).status == "renewing");
    CHECK(count_log(job, "starting") == 0);
    world.fail({});
    world.live(day);
    CHECK(world.is_served());
}

TEST_CASE("renewing: what was approved is not asked again within the hour") {
    EventWorld world;
    world.ca.before = [](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        return Outcome<HttpResponse>(make_problem(ECONNREFUSED, "no"));
    };
    world.live(minutes{50});
    CHECK(world.job(name)->errors >= 4);
    CHECK(world.count(renewing) == 1);
    CHECK(world.count(errored) == 1);
    world.restart();  // the limit is in the job's log
    world.live(minutes{5});
    CHECK(world.count(renewing) == 1);
    world.live(hours{6});
    CHECK(world.count(renewing) >= 2);
    CHECK(world.count(renewing) <= 6);
    CHECK(world.count(errored) <= 6);
}

TEST_CASE("challenge-setup: a failure makes this type fail, and the next one is taken") {
    Domain domain = acme_domain({name});
    domain.acme_tls_names = {name};
    EventWorld world({domain});
    world.fail({"/m x challenge-setup:tls-alpn-01:example.org example.org"});
    world.run();
    CHECK(world.is_served());
    CHECK(world.count(set_up) == 1);
    CHECK(world.ports.alpn_answers.empty());
}

TEST_CASE("challenge-setup: a failure of all types is one error, not two") {
    EventWorld world;
    world.fail({set_up});
    world.run();
    const Job job = *world.job(name);
    CHECK(job.errors == 1);
    CHECK(job.last.type == "challenge-setup-failure");
    CHECK(job.last.detail.find("message_cmd /m failed with exit code 1") != std::string::npos);
    CHECK(count_log(job, "message-error") == 1);
    CHECK(world.count(set_up) == 1);
    CHECK(world.ports.http01_answers.empty());
}

TEST_CASE("renewed: a failure is retried with a back-off that grows; what is served is new") {
    const bool by_notify = GENERATE(true, false);
    EventWorld world;
    world.fail({by_notify ? notify : renewed});
    world.run();
    CHECK(world.is_served());
    CHECK(world.count(by_notify ? notify : renewed) == 1);
    CHECK(world.count(renewed) == (by_notify ? 0 : 1));  // not after a notify_cmd that failed
    CHECK(world.count(installed) == 1);
    CHECK(world.count(errored) == 0);
    Job job = world.live_job();
    CHECK(job.errors == 1);
    CHECK(job.last.type == (by_notify ? notify_id : message_id));
    CHECK(count_log(job, by_notify ? "notify-error" : "message-error") == 1);
    const Json status = Json::parse(world.engine->status_json(name));
    CHECK(status["renewal"]["last"]["problem"] == (by_notify ? notify_id : message_id));
    CHECK(status["renewal"]["errors"] == 1);

    world.live(day);
    job = world.live_job();
    CHECK(job.errors >= 8);  // 30 s, 1, 2, 4 … minutes: about a dozen in a day
    CHECK(job.errors <= 16);
    CHECK(world.count(installed) == 1);
    const int errors = job.errors;
    world.restart();
    CHECK(world.run() == 1);
    CHECK(world.live_job().errors == errors);  // waits for its time
    CHECK(world.engine->summaries().at(0).errors == errors);

    world.fail({});
    world.live(day * 2);
    CHECK(world.live_job().errors == 0);
    CHECK(world.live_job().notified_renewed);
    CHECK(world.engine->summaries().at(0).errors == 0);
    CHECK(world.count(installed) == 1);
    CHECK(world.ca.certificates_made == 1);
}

TEST_CASE("A program that never learns of a certificate does not keep the next one away") {
    EventWorld world;
    world.ca.lifetime = hours{6};
    world.fail({notify});
    for (int i = 0; i < 40; ++i) {
        world.live(hours{1});
        REQUIRE(world.served(name).not_after > world.clock.now());
    }
    CHECK(world.ca.certificates_made <= 15);

    Domain greedy = acme_domain({name});
    greedy.renew_window = {0, day * 100};
    EventWorld always({greedy});
    always.fail({notify});
    always.live(day * 10);
    CHECK(always.ca.certificates_made <= 11);
}

TEST_CASE("installed and errored: a failure is noted and changes nothing") {
    EventWorld world;
    world.fail({installed, errored});
    world.run();
    CHECK(world.is_served());
    CHECK(world.count(installed) == 1);
    CHECK(world.live_job().errors == 0);
    CHECK(count_log(world.live_job(), "message-error") == 1);
    CHECK_FALSE(world.job(name));
    world.live(day);
    CHECK(world.count(installed) == 1);

    world.ca.before = [](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        return Outcome<HttpResponse>(make_problem(ECONNREFUSED, "no"));
    };
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(world.count(errored) == 1);
    CHECK(world.job(name)->errors == 1);
    CHECK(world.job(name)->last.detail == "no");
}

TEST_CASE("renewed and installed: once for each set, however soon the next one comes") {
    EventWorld world;
    world.run();
    for (int set = 2; set <= 4; ++set) {
        world.clock.move(minutes{set == 4 ? 5 : 120});
        REQUIRE(world.engine->renew_now(name));
        world.run();
        CHECK(world.ca.certificates_made == set);
        CHECK(world.count(renewing) == std::min(set, 3));  // hourly, whatever comes of it
        CHECK(world.count(notify) == set);
        CHECK(world.count(renewed) == set);
        CHECK(world.count(installed) == set);
        world.restart();
        world.run();
        CHECK(world.count(installed) == set);
    }
    world.clock.move(-day * 400);  // a clock that went back keeps nothing away
    REQUIRE(world.engine->renew_now(name));
    world.run();
    CHECK(world.count(renewing) == 4);
}

TEST_CASE("renewed and installed: certificates of hours are all told of, for a month") {
    EventWorld world;
    world.ca.lifetime = hours{6};
    world.live(day * 30);
    CHECK(world.ca.certificates_made > 150);
    CHECK(world.count(renewed) == world.ca.certificates_made);
    CHECK(world.count(installed) == world.ca.certificates_made);
}

TEST_CASE("renewed and installed: not again within a day for the same set") {
    FakeClock clock(noon);
    FakeCommands commands;
    EngineSettings settings;
    settings.message_command = "/m x";
    const Domain domain = acme_domain({name});
    const Events events(commands, clock, settings, {});
    Job job;
    job.note(noon, "finished", "", "");
    for (const EventKind kind : {EventKind::Renewed, EventKind::Installed}) {
        CHECK(events.raise({kind}, domain, job));
        CHECK(events.raise({kind}, domain, job));
    }
    CHECK(commands.lines() == Lines{renewed, installed});
    job.note(clock.now(), "starting", "", "");  // an attempt that has made no set yet
    CHECK(events.is_too_soon({EventKind::Renewed}, job));
    job.note(clock.now(), "finished", "", "");
    CHECK_FALSE(events.is_too_soon({EventKind::Renewed}, job));
    CHECK_FALSE(events.is_too_soon({EventKind::Installed}, job));
}

TEST_CASE("expiring: once a day for who is not renewed here, over restarts, until the end") {
    EventWorld world;
    world.run();
    world.domains.at(0).renew_mode = RenewMode::Manual;
    world.restart();
    world.live(day * 79);
    CHECK(world.count(expiring) == 0);
    world.live(day * 8);
    CHECK(world.count(expiring) >= 4);
    CHECK(world.count(expiring) <= 7);
    const int count = world.count(expiring);
    for (int i = 0; i < 5; ++i) {
        world.restart();
        world.run();
    }
    CHECK(world.count(expiring) <= count + 1);
    CHECK(world.job(name)->errors == 0);
    CHECK_FALSE(world.job(name)->finished);
    world.live(day * 10);  // expired by now
    CHECK(world.count(expiring) >= count + 6);
}

TEST_CASE("expiring: a failure counts and is retried with back-off; success clears it") {
    EventWorld world;
    world.run();
    world.domains.at(0).renew_mode = RenewMode::Manual;
    world.restart();
    world.fail({expiring});
    world.live(day * 83);
    CHECK(world.count(expiring) >= 6);
    CHECK(world.job(name)->errors == world.count(expiring));
    CHECK(world.job(name)->last.type == message_id);
    world.fail({});
    world.live(day * 2);
    CHECK(world.job(name)->errors == 0);
    CHECK(world.job(name)->last.status == 0);
}

TEST_CASE("expiring: also when renewals fail") {
    EventWorld world;
    world.run();
    world.ca.before = [](const HttpRequest&) -> std::optional<Outcome<HttpResponse>> {
        return Outcome<HttpResponse>(make_problem(ECONNREFUSED, "no"));
    };
    world.live(day * 80);
    CHECK(world.count(expiring) == 0);
    world.live(day * 7);
    CHECK(world.count(expiring) >= 2);
    CHECK(world.count(expiring) <= 7);
}

TEST_CASE("Killed in any command, the next process tells the rest, and serves the certificate") {
    for (size_t killed_at = 0; killed_at < 5; ++killed_at) {
        CAPTURE(killed_at);
        EventWorld world;
        size_t count = 0;
        world.commands.on_run = [&](const Command&) -> CommandResult {
            if (count++ != killed_at) return {};
            world.store.frozen = true;
            throw Killed{};
        };
        CHECK_THROWS_AS(world.run(), Killed);
        world.restart();
        world.run();
        CHECK(world.is_served());
        for (const std::string& line : {notify, renewed, installed}) CHECK(world.count(line) >= 1);
        CHECK(world.ca.certificates_made == 1);
        CHECK(world.live_job().notified);
    }
}

TEST_CASE("Stopping during a command counts no error, and the event is raised again") {
    for (size_t stopped_at = 0; stopped_at < 5; ++stopped_at) {
        CAPTURE(stopped_at);
        EventWorld world;
        size_t count = 0;
        world.commands.on_run = [&](const Command&) -> CommandResult {
            if (count++ != stopped_at) return {};
            world.engine->stop();
            return {CommandResult::End::Stopped, 0, ""};
        };
        world.run();
        const auto job = world.job(name);
        if (job) CHECK(job->errors == 0);
        world.restart();
        world.run();
        CHECK(world.is_served());
        CHECK(world.live_job().errors == 0);
        CHECK(world.count(notify) == (stopped_at == 2 || stopped_at == 3 ? 2 : 1));
        CHECK(world.count(renewed) == (stopped_at == 3 ? 2 : 1));
        CHECK(world.count(installed) == (stopped_at == 4 ? 2 : 1));
    }
}

TEST_CASE("A job's log keeps what limits events") {
    Job job;
    job.note(noon, "message-expiring", "", "");
    job.note(noon, "message-challenge-setup:http-01:a.example", "", "");
    for (int i = 0; i < 500; ++i) job.note(noon, "progress", "", std::to_string(i));
    CHECK(job.log.size() == Job::log_max);
    CHECK(job.log.back().type == "message-expiring");
    CHECK(job.log.front().detail == "499");
    // The newest of each kind does, older ones give way.
    for (int i = 0; i < 500; ++i) job.note(noon, "message-renewed", "", "");
    job.note(noon, "finished", "", "");
    for (int i = 0; i < 500; ++i) job.note(noon, "notify-error", "", "");
    for (const char* type : {"message-renewed", "finished", "message-expiring"}) {
        CHECK(count_log(job, type) == 1);
    }
    CHECK(count_log(job, "notify-error") == static_cast<int>(Job::log_max) - 3);
}
