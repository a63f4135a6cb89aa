#include "app/command/certs_command.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "app/admin/json_values.h"
#include "app/admin/summary_json.h"
#include "app/cli.h"
#include "app/command/admin_client.h"
#include "app/command/certs_view.h"
#include "app/times.h"
#include "base/text.h"

namespace app {

namespace {

constexpr std::chrono::milliseconds poll_interval{150};

template <typename T>
using Answer = AdminClient::Answer<T>;

int complain(std::string_view text) {
    fmt::print(stderr, "mdfront: {}\n", printable(text));
    return exit_refused;
}

/// The "error" of an answer that is none of success.
std::string error_of(const AdminAnswer& answer) {
    const Json json = Json::parse(answer.body, nullptr, false);
    if (json.is_object() && json.contains("error") && json["error"].is_string()) {
        return json["error"].get<std::string>();
    }
    return fmt::format(
        "the admin listener answered with {}: is it an mdfront of another version, or "
        "something else?",
        answer.status);
}

/// A good answer, or why there is none.
Answer<AdminAnswer> fetch(AdminClient& client, const std::string& path) {
    auto answer = client.get(path);
    if (answer && answer->status != 200) return error_of(*answer);
    return answer;
}

Answer<DomainsRead> read_domains(const std::string& body) {
    auto read = domains_from_json(body);
    if (!read) return std::string("what the admin listener says is not what mdfront says");
    return std::move(*read);
}

std::string domain_path(const std::string& name) {
    return fmt::format("/domains/{}.json", path_segment(name));
}

/// One domain, with the time there.
struct Shown {
    std::string body;
    base::Time now{};
    md::DomainSummary domain;
};

Answer<Shown> fetch_domain(AdminClient& client, const std::string& name) {
    auto answer = fetch(client, domain_path(name));
    if (!answer) return answer.error();
    auto read = read_domains(answer->body);
    if (!read) return read.error();
    if (read->domains.size() != 1) return fmt::format("the answer about {} is empty", name);
    return Shown{std::move(answer->body), read->now, std::move(read->domains.front())};
}

/// What a POST was answered with.
struct Queued {
    std::string name;
    uint64_t done = 0;
};

Answer<Queued> ask(AdminClient& client, const std::string& action, const Json& body) {
    auto answer = client.post("/actions/" + action, body.dump());
    if (!answer) return answer.error();
    if (answer->status != 202) return error_of(*answer);
    const Json json = Json::parse(answer->body, nullptr, false);
    if (!json.is_object() || !json.contains("name") || !json["name"].is_string() ||
        !json.contains("done") || !json["done"].is_number_unsigned()) {
        return std::string("what the admin listener says is not what mdfront says");
    }
    return Queued{json["name"].get<std::string>(), json["done"].get<uint64_t>()};
}

/// Watches a domain until what was asked for is done, and tells what it is doing meanwhile.
Answer<Shown> wait_for(AdminClient& client, const Queued& queued, bool is_quiet) {
    std::string told;
    for (;;) {
        auto shown = fetch_domain(client, queued.name);
        if (!shown) return shown;
        const std::string& activity = shown->domain.activity;
        if (!is_quiet && !activity.empty() && activity != told) {
            fmt::print("  {}  {}\n", base::format_rfc3339(shown->now).substr(11, 8),
                       printable(activity));
            std::fflush(stdout);
            told = activity;
        }
        const bool is_done =
            shown->domain.requests_done > queued.done && !shown->domain.is_request_pending;
        if (is_done) return shown;
        std::this_thread::sleep_for(poll_interval);
    }
}

void print(std::string_view text) {
    (void)std::fwrite(text.data(), 1, text.size(), stdout);  // a closed pipe is the reader's wish
}

/// None of what is served was served before.
bool has_new_certificates(const md::DomainSummary& before, const md::DomainSummary& after) {
    if (after.certificates.empty()) return false;
    for (const md::CertificateSummary& now : after.certificates) {
        for (const md::CertificateSummary& then : before.certificates) {
            if (now.sha256 == then.sha256) return false;
        }
    }
    return true;
}

/// How it ended, for people; gives the exit code.
int tell_renewal(const md::DomainSummary& before, const Shown& after, bool is_revocation,
                 const Look& look) {
    const md::DomainSummary& domain = after.domain;
    const bool is_renewed = has_new_certificates(before, domain);
    if (is_renewed) {
        const bool is_one = domain.certificates.size() == 1;
        const std::string text =
            is_revocation && domain.request_error.empty()
                ? (is_one ? "the certificate is revoked, and a new one is in use"
                          : "the certificates are revoked, and new ones are in use")
                : (is_one ? "the new certificate is in use" : "the new certificates are in use");
        print(fmt::format("{}: {}\n", domain.name, look.paint(Paint::Good, text)));
        print(render_certificates(domain, after.now, look));
    } else if (domain.ready_at && domain.request_error.empty()) {
        print(fmt::format("{}: the new certificate is ready, and installed at {} ({})\n",
                          domain.name, minute(*domain.ready_at),
                          relative_time(*domain.ready_at, after.now)));
    }
    const bool is_ready = is_renewed || domain.ready_at;
    if (domain.request_error.empty() && is_ready) return exit_ok;
    const std::string error = !domain.request_error.empty() ? domain.request_error
                              : !domain.last_error.empty()  ? domain.last_error
                                                            : "no new certificate came of it";
    print(fmt::format("{}: {}\n", domain.name, look.paint(Paint::Bad, "failed")));
    print(render_failure(domain, error, after.now, look));
    return exit_refused;
}

int end_with_json(const md::DomainSummary& before, const Shown& after) {
    print(after.body);
    const md::DomainSummary& domain = after.domain;
    const bool is_ready = has_new_certificates(before, domain) || domain.ready_at;
    return domain.request_error.empty() && is_ready ? exit_ok : exit_refused;
}

/// Asks for `action`, and sees it through.
int renew_or_revoke(const CommandLine& line, const std::string& action, Json body,
                    const std::string& told) {
    const Look look = Look::of(STDOUT_FILENO);
    auto client = AdminClient::open(line.admin, line.config);
    if (!client) return complain(client.error());
    auto before = fetch_domain(*client, line.name);
    if (!before) return complain(before.error());
    body["name"] = before->domain.name;
    auto queued = ask(*client, action, body);
    if (!queued) return complain(queued.error());
    if (!line.json) print(fmt::format("{}: {}\n", queued->name, told));
    if (!line.wait) {
        if (line.json) print(before->body);
        return exit_ok;
    }
    std::fflush(stdout);
    auto after = wait_for(*client, *queued, line.json);
    if (!after) return complain(after.error());
    return line.json ? end_with_json(before->domain, *after)
                     : tell_renewal(before->domain, *after, action == "revoke", look);
}

}  // namespace

int run_certs_list(const CommandLine& line) {
    auto client = AdminClient::open(line.admin, line.config);
    if (!client) return complain(client.error());
    auto answer = fetch(*client, "/domains.json");
    if (!answer) return complain(answer.error());
    if (line.json) {
        print(answer->body);
        return exit_ok;
    }
    auto read = read_domains(answer->body);
    if (!read) return complain(read.error());
    print(render_list(read->domains, read->now, Look::of(STDOUT_FILENO)));
    return exit_ok;
}

int run_certs_show(const CommandLine& line) {
    auto client = AdminClient::open(line.admin, line.config);
    if (!client) return complain(client.error());
    auto shown = fetch_domain(*client, line.name);
    if (!shown) return complain(shown.error());
    print(line.json ? shown->body
                    : render_domain(shown->domain, shown->now, Look::of(STDOUT_FILENO)));
    return exit_ok;
}

int run_certs_renew(const CommandLine& line) {
    return renew_or_revoke(line, "renew", Json::object(),
                           line.wait ? "is being renewed" : "will be renewed");
}

int run_certs_revoke(const CommandLine& line) {
    return renew_or_revoke(line, "revoke", Json{{"reason", line.reason}},
                           fmt::format("{} revoked ({}) and renewed with new keys",
                                       line.wait ? "is being" : "will be", line.reason));
}

int run_accounts_list(const CommandLine& line) {
    auto client = AdminClient::open(line.admin, line.config);
    if (!client) return complain(client.error());
    auto answer = fetch(*client, "/accounts.json");
    if (!answer) return complain(answer.error());
    if (line.json) {
        print(answer->body);
        return exit_ok;
    }
    const auto accounts = accounts_from_json(answer->body);
    if (!accounts) return complain("what the admin listener says is not what mdfront says");
    print(render_accounts(*accounts, Look::of(STDOUT_FILENO)));
    return exit_ok;
}

int run_accounts_rollover(const CommandLine& line) {
    const Look look = Look::of(STDOUT_FILENO);
    auto client = AdminClient::open(line.admin, line.config);
    if (!client) return complain(client.error());
    auto queued = ask(*client, "account-rollover", Json{{"account", line.name}});
    if (!queued) return complain(queued.error());
    if (!line.json) print(fmt::format("{}: gets a new key\n", line.name));
    if (!line.wait) return exit_ok;
    std::fflush(stdout);
    auto after = wait_for(*client, *queued, line.json);
    if (!after) return complain(after.error());
    const std::string& error = after->domain.request_error;
    if (!error.empty()) {
        if (line.json) print(error_to_json(error));
        return complain(fmt::format("{}: {}", line.name, error));
    }
    auto answer = fetch(*client, "/accounts.json");
    if (!answer) return complain(answer.error());
    if (line.json) {
        print(answer->body);
        return exit_ok;
    }
    const auto accounts = accounts_from_json(answer->body);
    for (const md::AccountSummary& account : accounts ? *accounts : decltype(*accounts){}) {
        if (account.id != line.name) continue;
        print(fmt::format("{}: {} ({})\n", line.name,
                          look.paint(Paint::Good, "has a new key, and the CA knows it"),
                          printable(account.key_type)));
    }
    return exit_ok;
}

}  // namespace app
