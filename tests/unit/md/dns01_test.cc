#include "md/dns01.h"

#include "acme_fixture.h"
#include "catch.h"
#include "md/acme_order.h"
#include "md/challenge.h"
#include "store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using Lines = std::vector<std::string>;

namespace {

const std::string name = "example.org";

/// A world whose DNS is edited by the command "/dns", as a script of an administrator's does.
struct DnsWorld : World {
    explicit DnsWorld(std::vector<Domain> configured) : World(std::move(configured)) {
        settings.challenge_dns01_command = "/dns";
        settings.challenge_dns01_version = 2;
        restart();
        commands.on_run = [this](const Command& command) { return edit(command); };
    }
    CommandResult edit(const Command& command) {
        const auto& argv = command.argv;
        const size_t at = static_cast<size_t>(
            std::find_if(argv.begin(), argv.end(),
                         [](const auto& word) { return word == "setup" || word == "teardown"; }) -
            argv.begin());
        REQUIRE(at + 1 < argv.size());
        std::set<std::string>& values = ports.txt_records[argv[at + 1]];
        if (argv[at] == "setup") {
            values.insert(argv.at(at + 2));
            most = std::max(most, values.size());
        } else if (argv.size() > at + 2) {
            values.erase(argv[at + 2]);
        } else {
            values.clear();
        }
        if (values.empty()) ports.txt_records.erase(argv[at + 1]);
        return {};
    }
    /// Actions and names, without values.
    Lines actions() const {
        Lines lines;
        for (const Command& command : commands.calls) {
            lines.push_back(command.argv.at(1) + " " + command.argv.at(2));
        }
        return lines;
    }
    size_t most = 0;  // values at a time under one name
};

Domain wildcard_domain() {
    return acme_domain({name, "*.example.org"});
}

}  // namespace

TEST_CASE("A record is read only as we would have written it") {
    const Dns01Record record{"a.example", "abc_-9"};
    CHECK(record.setup() == "dns-01:a.example abc_-9");
    const auto read = Dns01Record::parse(record.setup());
    REQUIRE(read);
    CHECK(read->name == record.name);
    CHECK(read->value == record.value);
    for (const char* bad : {"", "dns-01:", "dns-01:a.example", "dns-01:a.example ", "dns-01: x",
                            "dns-01:A.example x", "dns-01:a.example x y", "dns-01:a.example x/y",
                            "dns-01:../x y", "http-01:a.example x", "dns-01:a.example\n x"}) {
        CHECK_FALSE(Dns01Record::parse(bad));
    }
}

TEST_CASE("A name and its wildcard have two values under one name; both are taken down") {
    const int version = GENERATE(1, 2);
    DnsWorld world({wildcard_domain()});
    world.settings.challenge_dns01_version = version;
    world.domains.at(0).challenges = {"dns-01"};
    world.restart();
    bool seen = false;
    world.ca.before = [&](const HttpRequest& request) -> std::optional<Outcome<HttpResponse>> {
        if (request.url.find("/challenge/") == std::string::npos) return std::nullopt;
        // What is to be taken down stands in order.json before the CA is told.
        const auto order = take(load_order(world.store, name));
        REQUIRE(order);
        for (const std::string& setup : order->challenge_setups) {
            seen = true;
            const auto record = Dns01Record::parse(setup);
            REQUIRE(record);
            CHECK(world.ports.txt_records[name].contains(record->value));
        }
        return std::nullopt;
    };
    world.run();
    CHECK(seen);
    CHECK(world.served(name).names == Lines{name, "*.example.org"});
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.most == 2);
    CHECK(world.ports.txt_records.empty());
    const Lines lines = world.commands.lines();
    REQUIRE(lines.size() == 4);
    for (const size_t i : {0u, 1u}) {
        const Lines& argv = world.commands.calls[i].argv;
        CHECK(argv.size() == 4);
        CHECK(argv[3].size() == 43);
        const Lines& down = world.commands.calls[i + 2].argv;
        CHECK(down == (version == 1 ? Lines{"/dns", "teardown", name}
                                    : Lines{"/dns", "teardown", name, argv[3]}));
    }
    CHECK(world.store.names(Group::Staging)->empty());
}

TEST_CASE("dns-01 is offered last, and taken for what nothing else can prove") {
    DnsWorld world({wildcard_domain()});
    world.run();
    CHECK_FALSE(world.served(name).fallback);
    CHECK(world.actions() == Lines{"setup example.org", "teardown example.org"});
    CHECK(world.ports.challenges_set_up == 1);
    EngineSettings settings;
    settings.challenge_dns01_command = "/x";
    CHECK(choose_challenges(acme_domain({name}), settings).types == Lines{"http-01", "dns-01"});
}

TEST_CASE("A domain's own command wins; its words come first") {
    Domain domain = acme_domain({"*.example.org"});
    domain.challenge_dns01_command = "/own -z 'a zone'";
    DnsWorld world({domain});
    world.run();
    CHECK_FALSE(world.served("*.example.org").fallback);
    const Lines& argv = world.commands.calls.at(0).argv;
    CHECK(Lines(argv.begin(), argv.begin() + 5) ==
          Lines{"/own", "-z", "a zone", "setup", "example.org"});
    CHECK(world.commands.calls.at(0).environment.at(0) == "MDFRONT_DOMAIN=*.example.org");
}

TEST_CASE("A wildcard without dns-01 fails before the CA is asked, and says what to do") {
    World world({wildcard_domain()});
    world.run();
    CHECK(world.ca.requests == 0);
    CHECK(world.job(name)->last.type == "challenge-mismatch");
    CHECK(world.job(name)->last.detail ==
          "*.example.org is a wildcard, which CAs prove by dns-01 alone: name a program that makes "
          "the TXT records in challenge_dns01");
    Domain domain = wildcard_domain();
    domain.challenges = {"http-01"};
    DnsWorld other({domain});
    other.run();
    CHECK(other.job(name)->last.detail.find("add \"dns-01\" to ca_challenges") !=
          std::string::npos);
}

TEST_CASE("A command that fails is a set-up failure, tidied up after if it ran") {
    using End = CommandResult::End;
    struct Case {
        CommandResult result;
        std::string detail;
        bool is_tidied;
    };
    const std::vector<Case> cases = {
        {{End::Exited, 1, "no such zone\n"}, "exit code 1; its last lines: no such zone", true},
        {{End::TimedOut, 0, ""}, "did not end within 5mi", true},
        {{End::NotStarted, ENOENT, ""}, "could not be started: No such file", false},
    };
    for (const Case& one : cases) {
        DnsWorld world({wildcard_domain()});
        world.domains.at(0).challenges = {"dns-01"};
        world.restart();
        world.commands.on_run = [&](const Command& command) {
            return command.argv.at(1) == "setup" ? one.result : CommandResult{};
        };
        world.run();
        const Job job = *world.job(name);
        CHECK(job.errors == 1);
        CHECK(job.last.type == "challenge-setup-failure");
        CHECK(job.last.detail.find(one.detail) != std::string::npos);
        CHECK(world.actions() == (one.is_tidied ? Lines{"setup example.org", "teardown example.org"}
                                                : Lines{"setup example.org"}));
        const auto order = take(load_order(world.store, name));
        REQUIRE(order);
        CHECK(order->challenge_setups.empty());
    }
}

TEST_CASE("A failing teardown is logged and does not cost the certificate") {
    DnsWorld world({wildcard_domain()});
    world.commands.on_run = [&](const Command& command) {
        if (command.argv.at(1) == "setup") return world.edit(command);
        return CommandResult{CommandResult::End::Exited, 1, ""};
    };
    world.run();
    CHECK_FALSE(world.served(name).fallback);
}

TEST_CASE("Records outlive no process: killed anywhere, the next one takes them down") {
    const bool before = GENERATE(true, false);
    const bool is_resumed = GENERATE(true, false);  // else the CA has new tokens
    for (int killed_at = 1; killed_at <= 4; ++killed_at) {
        CAPTURE(killed_at, before);
        DnsWorld world({wildcard_domain()});
        world.domains.at(0).challenges = {"dns-01"};
        world.restart();
        int count = 0;
        world.commands.on_run = [&](const Command& command) -> CommandResult {
            if (world.store.frozen) return {CommandResult::End::Stopped, 0, ""};
            const bool now = ++count == killed_at;
            if (now && before) world.store.frozen = true;
            CommandResult result = now && before ? CommandResult{} : world.edit(command);
            if (!now) return result;
            world.store.frozen = true;
            throw Killed{};
        };
        CHECK_THROWS_AS(world.run(), Killed);
        if (!is_resumed) {
            world.ca.forget_orders();
            world.ca.reuse_authorizations = false;
        }
        world.restart();
        world.run();
        CHECK_FALSE(world.served(name).fallback);
        CHECK(world.ports.txt_records.empty());
        CHECK(world.store.names(Group::Staging)->empty());
    }
}

TEST_CASE("What is not taken down because of a stop is taken down after the restart") {
    for (int stopped_at = 1; stopped_at <= 4; ++stopped_at) {
        CAPTURE(stopped_at);
        DnsWorld world({wildcard_domain()});
        world.domains.at(0).challenges = {"dns-01"};
        world.restart();
        int count = 0;
        world.commands.on_run = [&](const Command& command) -> CommandResult {
            if (++count != stopped_at) return world.edit(command);
            world.engine->stop();
            return {CommandResult::End::Stopped, 0, ""};
        };
        world.run();
        CHECK(world.store.has(Group::Staging, name, "order.json"));
        world.restart();
        world.run();
        CHECK_FALSE(world.served(name).fallback);
        CHECK(world.ports.txt_records.empty());
        CHECK(world.ca.certificates_made == 1);
    }
}

TEST_CASE("Staging that is begun anew or given up takes its records down first") {
    const bool is_given_up = GENERATE(true, false);
    DnsWorld world({wildcard_domain()});
    world.domains.at(0).challenges = {"dns-01"};
    world.restart();
    world.run();
    world.commands.calls.clear();
    const std::string value(43, 'a');
    world.ports.txt_records[name] = {value};
    Order order;
    order.url = MiniCa::root + "/order/none";
    order.challenge_setups = {"dns-01:example.org " + value};
    REQUIRE(save_order(world.store, name, order));
    Job job;
    job.name = name;
    job.last_run = world.clock.now();
    REQUIRE(save_job(world.store, Group::Staging, job));
    world.restart();
    if (!is_given_up) REQUIRE(world.engine->renew_now(name));
    world.run();
    REQUIRE_FALSE(world.commands.calls.empty());
    CHECK(world.commands.lines().at(0) == "/dns teardown example.org " + value);
    CHECK(world.ports.txt_records.empty());
    CHECK(world.store.names(Group::Staging)->empty());
}
