#include "md/dns01.h"

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/acme_authorization.h"
#include "md/command_line.h"
#include "md/event.h"
#include "md/jws.h"
#include "md/poll.h"

namespace md {

const std::string& dns01_command(const Domain& domain, const EngineSettings& settings) {
    return domain.challenge_dns01_command.empty() ? settings.challenge_dns01_command
                                                  : domain.challenge_dns01_command;
}

std::string Dns01Record::setup() const {
    return fmt::format("{}:{} {}", dns01, name, value);
}

std::optional<Dns01Record> Dns01Record::parse(std::string_view setup) {
    const std::string prefix = std::string(dns01) + ":";
    const size_t blank = setup.find(' ');
    if (!setup.starts_with(prefix) || blank == std::string_view::npos) return std::nullopt;
    Dns01Record record{std::string(setup.substr(prefix.size(), blank - prefix.size())),
                       std::string(setup.substr(blank + 1))};
    if (base::normalize_dns_name(record.name) != record.name) return std::nullopt;
    if (record.name.starts_with('-')) return std::nullopt;  // it would read it as an option
    if (!is_challenge_token(record.value)) return std::nullopt;
    return record;
}

std::string dns01_value(const std::string& key_authorization) {
    return base::base64url(sha256(key_authorization));
}

Outcome<void> Dns01::run(std::string_view action, const Dns01Record& record, bool with_value,
                         bool& has_run) const {
    has_run = false;
    const std::string& line = dns01_command(domain_, settings_);
    if (line.empty()) {
        return make_problem(ENOENT,
                            "challenge_dns01 is not configured; it names the program that makes "
                            "and removes the TXT records");
    }
    auto words = split_command_line(line);
    if (!words) {
        return make_problem(EINVAL, fmt::format("challenge_dns01: {}", words.error().detail));
    }
    Command command{.argv = std::move(*words),
                    .environment = command_environment(domain_, settings_),
                    .domain = domain_.name,
                    .timeout = settings_.command_timeout,
                    .stop = stop_};
    command.argv.emplace_back(action);
    command.argv.push_back(record.name);
    if (with_value) command.argv.push_back(record.value);
    const CommandResult result = commands_.run(command);
    has_run = result.end != CommandResult::End::NotStarted;
    if (result.succeeded()) return {};
    return command_problem(fmt::format("challenge_dns01 ({})", action), command, result);
}

Outcome<void> Dns01::set_up(const Dns01Record& record, bool& has_run) const {
    return run("setup", record, true, has_run);
}

bool Dns01::tear_down(const Dns01Record& record) const {
    bool has_run = false;
    const auto done = run("teardown", record, settings_.challenge_dns01_version >= 2, has_run);
    if (done) return true;
    if (is_stopping(done.error())) return false;
    base::log_warn("md", domain_.name, "the TXT record _acme-challenge.{} may still be there: {}",
                   record.name, done.error().message());
    return true;
}

}  // namespace md
