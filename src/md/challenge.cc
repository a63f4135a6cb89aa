#include "md/challenge.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/ip_address.h"
#include "base/log.h"
#include "base/text.h"
#include "md/credentials.h"
#include "md/poll.h"

namespace md {

namespace {

const std::string http01_file = "acme-http-01.txt";
constexpr std::string_view alpn_prefix = "acme-tls-alpn-01-";
constexpr int not_possible = 70023;  // APR_ENOTIMPL, as mod_md stores it

/// The key of challenge certificates: what make_challenge_certificate makes.
KeySpec alpn_key() {
    return {KeySpec::Type::Ec, 0, "P-256"};
}

/// What the CA sends as SNI: no address can stand there (RFC 8738 section 6).
std::string alpn_server_name(const std::string& name) {
    const std::optional<base::IpAddress> address = base::IpAddress::parse(name);
    return address ? address->reverse_name() : name;
}

void remove_answers(Store& store, const std::string& name) {
    if (auto purged = store.purge(Group::Challenges, name); !purged) {
        base::log_warn("md", name, "old challenge data stays in the store: {}",
                       purged.error().message());
    }
}

}  // namespace

const ChallengeAnswers::Method ChallengeAnswers::methods[] = {
    {http01, &ChallengeAnswers::set_up_http01},
    {tls_alpn01, &ChallengeAnswers::set_up_alpn},
    {dns01, &ChallengeAnswers::set_up_dns01},
};

ChallengeChoice choose_challenges(const Domain& domain, const EngineSettings& settings) {
    ChallengeChoice choice;
    if (!domain.challenges.empty()) {  // as given: no guessing about reachability
        choice.types = domain.challenges;
        return choice;
    }
    if (!settings.https_reachable) {
        choice.reasons.push_back("tls-alpn-01 needs a listener that the CA reaches at port 443");
    } else if (domain.acme_tls_names.empty()) {
        choice.reasons.push_back("tls-alpn-01 needs a site with TLS for one of the names");
    } else {
        choice.types.emplace_back(tls_alpn01);
    }
    if (settings.http_reachable) {
        choice.types.emplace_back(http01);
    } else {
        choice.reasons.push_back("http-01 needs a listener that the CA reaches at port 80");
    }
    if (!dns01_command(domain, settings).empty()) {
        choice.types.emplace_back(dns01);
    } else {
        choice.reasons.push_back("dns-01 needs a program, named by challenge_dns01");
    }
    return choice;
}

std::string why_no_proof(const Domain& domain, const EngineSettings& settings,
                         const std::vector<std::string>& types) {
    const auto address =
        std::find_if(domain.names.begin(), domain.names.end(), base::is_ip_address);
    const bool can_prove_address =
        std::any_of(types.begin(), types.end(), [](const auto& type) { return type != dns01; });
    if (address != domain.names.end() && !types.empty() && !can_prove_address) {
        return fmt::format(
            "{} is an IP address, which CAs prove by http-01 and tls-alpn-01 alone (RFC 8738 7): "
            "{}",
            *address,
            domain.challenges.empty()
                ? base::join(choose_challenges(domain, settings).reasons, "; ")
                : "add one of them to ca_challenges");
    }
    const auto wildcard =
        std::find_if(domain.names.begin(), domain.names.end(),
                     [](const std::string& name) { return name.starts_with("*."); });
    if (wildcard == domain.names.end()) return "";
    const bool is_wanted = std::find(types.begin(), types.end(), dns01) != types.end();
    const bool is_possible = !dns01_command(domain, settings).empty();
    if (is_wanted && is_possible) return "";
    return fmt::format("{} is a wildcard, which CAs prove by dns-01 alone: {}", *wildcard,
                       is_possible
                           ? "add \"dns-01\" to ca_challenges"
                           : "name a program that makes the TXT records in challenge_dns01");
}

Outcome<const Challenge*> ChallengeAnswers::set_up(const std::vector<std::string>& types,
                                                   const Authorization& authorization) {
    std::vector<std::string> failures;
    for (const std::string& type : types) {
        // Not even if a CA should offer it: there is no record for an address (RFC 8738 7).
        if (type == dns01 && base::is_ip_address(authorization.name)) continue;
        const auto* method =
            std::find_if(std::begin(methods), std::end(methods),
                         [&](const Method& candidate) { return candidate.type == type; });
        if (method == std::end(methods)) continue;
        for (const Challenge& challenge : authorization.challenges) {
            if (challenge.type != type) continue;
            auto done = (this->*method->set_up)(authorization, challenge);
            if (done && parts_.announce) done = parts_.announce(type, authorization.name);
            if (!done) {
                if (is_stopping(done.error())) return done.error();
                failures.push_back(fmt::format("{}: {}", type, done.error().detail));
                continue;
            }
            base::log_info("md", parts_.domain.name, "{} is set up for {}", type,
                           authorization.shown_name());
            return &challenge;
        }
    }
    if (!failures.empty()) {
        Problem problem = make_problem(
            20014, fmt::format("no challenge for {} could be set up: {}",
                               authorization.shown_name(), base::join(failures, "; ")));
        problem.type = "challenge-setup-failure";
        return problem;
    }
    std::vector<std::string> offered;
    for (const Challenge& challenge : authorization.challenges) {
        offered.push_back(base::escape_for_log(challenge.type, 40));
    }
    Problem problem = make_problem(
        not_possible,
        fmt::format("the CA offers no challenge for {} that can be answered here: it offers {}, "
                    "usable are {}",
                    authorization.shown_name(),
                    offered.empty() ? "none" : base::join(offered, ", "),
                    types.empty() ? "none" : base::join(types, ", ")));
    problem.type = "challenge-mismatch";
    return problem;
}

Outcome<void> ChallengeAnswers::set_up_http01(const Authorization& authorization,
                                              const Challenge& challenge) {
    const std::string text = parts_.key.key_authorization(challenge.token);
    auto saved = parts_.store.save(Group::Challenges, authorization.name, http01_file, text);
    if (!saved) return saved.error();
    answers_.push_back({challenge.type, authorization.name, challenge.token, ""});
    setups_.push_back(challenge.type + ":" + authorization.name);
    parts_.port.publish_http01(authorization.name, challenge.token, text);
    return {};
}

Outcome<void> ChallengeAnswers::set_up_alpn(const Authorization& authorization,
                                            const Challenge& challenge) {
    const std::vector<uint8_t> digest = sha256(parts_.key.key_authorization(challenge.token));
    auto certificate = tls::make_challenge_certificate(
        authorization.name, std::span(digest).first<32>(), parts_.clock.now());
    if (!certificate) return make_problem(EINVAL, certificate.error().message());
    const KeySpec spec = alpn_key();
    const base::Secret key = key_to_pem(**certificate);
    auto saved = parts_.store.save_key(Group::Challenges, authorization.name,
                                       key_file(spec, alpn_prefix), key.text());
    if (saved) {
        saved = parts_.store.save(Group::Challenges, authorization.name,
                                  chain_file(spec, alpn_prefix), chain_to_pem(**certificate));
    }
    if (!saved) return saved.error();
    answers_.push_back({challenge.type, authorization.name, challenge.token, ""});
    setups_.push_back(challenge.type + ":" + authorization.name);
    parts_.port.publish_alpn(alpn_server_name(authorization.name), *certificate);
    return {};
}

Outcome<void> ChallengeAnswers::set_up_dns01(const Authorization& authorization,
                                             const Challenge& challenge) {
    const Dns01Record record{authorization.name,
                             dns01_value(parts_.key.key_authorization(challenge.token))};
    // What a program that was killed, or failed halfway, leaves is taken down, too.
    answers_.push_back({challenge.type, record.name, challenge.token, record.value});
    setups_.push_back(record.setup());
    bool has_run = false;
    auto done = parts_.remember ? parts_.remember(setups_) : Outcome<void>();
    if (done) done = parts_.dns01.set_up(record, has_run);
    if (!has_run) {
        answers_.pop_back();
        setups_.pop_back();
    }
    return done;
}

std::vector<std::string> ChallengeAnswers::withdraw() {
    std::set<std::string> names;
    std::vector<std::string> left;
    for (const Answer& answer : answers_) {
        if (answer.type == dns01) {
            const Dns01Record record{answer.name, answer.value};
            if (!parts_.dns01.tear_down(record)) left.push_back(record.setup());
            continue;
        }
        if (answer.type == http01) parts_.port.withdraw_http01(answer.name, answer.token);
        if (answer.type == tls_alpn01) parts_.port.withdraw_alpn(alpn_server_name(answer.name));
        names.insert(answer.name);
    }
    for (const std::string& name : names) remove_answers(parts_.store, name);
    answers_.clear();
    setups_ = left;
    return left;
}

std::vector<std::string> remove_stored_answers(Store& store, const Dns01& dns,
                                               const std::vector<std::string>& challenge_setups) {
    std::set<std::string> names;
    std::vector<std::string> left;
    for (const std::string& setup : challenge_setups) {
        if (const auto record = Dns01Record::parse(setup)) {
            if (!dns.tear_down(*record)) left.push_back(setup);
            continue;
        }
        const size_t colon = setup.find(':');
        if (colon == std::string::npos) continue;
        const std::string name = setup.substr(colon + 1);
        if (base::normalize_name(name)) names.insert(name);
    }
    for (const std::string& name : names) remove_answers(store, name);
    return left;
}

}  // namespace md
