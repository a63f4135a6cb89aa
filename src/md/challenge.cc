#include "md/challenge.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "md/credentials.h"

namespace md {

namespace {

const std::string http01_file = "acme-http-01.txt";
constexpr std::string_view alpn_prefix = "acme-tls-alpn-01-";
constexpr int not_possible = 70023;  // APR_ENOTIMPL, as mod_md stores it

/// The key of challenge certificates: what make_challenge_certificate makes.
KeySpec alpn_key() {
    return {KeySpec::Type::Ec, 0, "P-256"};
}

std::string join(const std::vector<std::string>& texts, std::string_view separator) {
    std::string joined;
    for (const std::string& text : texts) {
        if (!joined.empty()) joined += separator;
        joined += text;
    }
    return joined;
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
    return choice;
}

Outcome<const Challenge*> ChallengeAnswers::set_up(const std::vector<std::string>& types,
                                                   const Authorization& authorization) {
    std::vector<std::string> failures;
    for (const std::string& type : types) {
        const auto* method =
            std::find_if(std::begin(methods), std::end(methods),
                         [&](const Method& candidate) { return candidate.type == type; });
        if (method == std::end(methods)) continue;
        for (const Challenge& challenge : authorization.challenges) {
            if (challenge.type != type) continue;
            if (auto done = (this->*method->set_up)(authorization, challenge); !done) {
                failures.push_back(fmt::format("{}: {}", type, done.error().message()));
                continue;
            }
            setups_.push_back(type + ":" + authorization.name);
            base::log_info("md", domain_.name, "{} is set up for {}", type, authorization.name);
            return &challenge;
        }
    }
    if (!failures.empty()) {
        Problem problem =
            make_problem(20014, fmt::format("no challenge for {} could be set up: {}",
                                            authorization.shown_name(), join(failures, "; ")));
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
                    authorization.shown_name(), offered.empty() ? "none" : join(offered, ", "),
                    types.empty() ? "none" : join(types, ", ")));
    problem.type = "challenge-mismatch";
    return problem;
}

Outcome<void> ChallengeAnswers::set_up_http01(const Authorization& authorization,
                                              const Challenge& challenge) {
    const std::string text = key_.key_authorization(challenge.token);
    auto saved = store_.save(Group::Challenges, authorization.name, http01_file, text);
    if (!saved) return saved.error();
    answers_.push_back({challenge.type, authorization.name, challenge.token});
    port_.publish_http01(authorization.name, challenge.token, text);
    return {};
}

Outcome<void> ChallengeAnswers::set_up_alpn(const Authorization& authorization,
                                            const Challenge& challenge) {
    const std::vector<uint8_t> digest = sha256(key_.key_authorization(challenge.token));
    auto certificate = tls::make_challenge_certificate(authorization.name,
                                                       std::span(digest).first<32>(), clock_.now());
    if (!certificate) return make_problem(EINVAL, certificate.error().message());
    const KeySpec spec = alpn_key();
    auto saved = store_.save_key(Group::Challenges, authorization.name, key_file(spec, alpn_prefix),
                                 key_to_pem(**certificate));
    if (saved) {
        saved = store_.save(Group::Challenges, authorization.name, chain_file(spec, alpn_prefix),
                            chain_to_pem(**certificate));
    }
    if (!saved) return saved.error();
    answers_.push_back({challenge.type, authorization.name, challenge.token});
    port_.publish_alpn(authorization.name, *certificate);
    return {};
}

void ChallengeAnswers::withdraw() {
    std::set<std::string> names;
    for (const Answer& answer : answers_) {
        if (answer.type == http01) port_.withdraw_http01(answer.name, answer.token);
        if (answer.type == tls_alpn01) port_.withdraw_alpn(answer.name);
        names.insert(answer.name);
    }
    for (const std::string& name : names) remove_answers(store_, name);
    answers_.clear();
    setups_.clear();
}

void remove_stored_answers(Store& store, const std::vector<std::string>& challenge_setups) {
    std::set<std::string> names;
    for (const std::string& setup : challenge_setups) {
        const size_t colon = setup.find(':');
        if (colon == std::string::npos) continue;
        // dns-01 of mod_md carries the TXT value after a blank.
        std::string name = setup.substr(colon + 1, setup.find(' ') - colon - 1);
        if (base::normalize_dns_name(name)) names.insert(std::move(name));
    }
    for (const std::string& name : names) remove_answers(store, name);
}

}  // namespace md
