#include "md/issuance.h"

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/activation.h"
#include "md/credentials.h"
#include "md/csr.h"
#include "md/poll.h"

namespace md {

namespace {

constexpr int unreadable_max = 3;  // downloads that cannot be read before the order is given up

constexpr int poll_failures_max = 3;

constexpr base::Duration processing_max = std::chrono::hours{24};

/// The order is gone, or not ours (any more): mod_md.md 5.5, step 3.
bool is_order_lost(const Problem& problem) {
    return problem.status == ENOENT || problem.status == EACCES ||
           is_acme_error(problem, "malformed");
}

/// One lost answer while polling is no reason to take the challenge answers away from a CA that is
/// looking at them.
bool is_worth_another_look(const Problem& problem, int& failures) {
    return !is_stopping(problem) && ++failures <= poll_failures_max;
}

}  // namespace

Issuance::Issuance(Parts parts) : parts_(std::move(parts)), names_(parts_.domain.minimal_names()) {}

Outcome<void> Issuance::run(const KeySpec& spec) {
    auto done = attempt(spec);
    if (done || !order_dead_) return done;
    if (auto dropped = drop_order(); !dropped) return dropped;
    // An order of an earlier attempt may have died since: once more, with a new one.
    if (!resumed_) return done;
    base::log_info("md", parts_.domain.name,
                   "the former order is of no use ({}), a new one is made",
                   base::escape_for_log(done.error().message()));
    done = attempt(spec);
    if (!done && order_dead_) {
        if (auto dropped = drop_order(); !dropped) return dropped;
    }
    return done;
}

Outcome<void> Issuance::attempt(const KeySpec& spec) {
    if (auto done = resume_or_create(spec); !done) return done;
    // They answer until the certificate is there: a CA may look from several places, and again
    // (faults.md CA-29).
    ChallengeAnswers answers(
        {.port = parts_.port,
         .store = parts_.store,
         .clock = parts_.client.clock(),
         .domain = parts_.domain,
         .key = parts_.client.key(),
         .dns01 = parts_.dns01,
         .remember = [this](const std::vector<std::string>& setups) { return remember(setups); },
         .announce = parts_.announce});
    auto done = complete(spec, answers);
    // What stands in order.json is what the next attempt has to take down.
    if (auto kept = remember(answers.withdraw()); !kept) {
        base::log_warn("md", parts_.domain.name, "{}", kept.error().message());
    }
    return done ? drop_order() : done;
}

Outcome<void> Issuance::complete(const KeySpec& spec, ChallengeAnswers& answers) {
    if (order_.status == OrderStatus::Pending) {
        if (auto done = authorize(answers); !done) return done;
    }
    if (order_.status == OrderStatus::Invalid) return order_is_invalid();
    if (order_.status == OrderStatus::Ready) {
        if (auto done = finalize(spec); !done) return done;
    }
    const auto valid = [](OrderStatus status) { return status == OrderStatus::Valid; };
    if (auto done = await_order("the CA to issue the certificate", valid); !done) return done;
    return download(spec);
}

Outcome<void> Issuance::remember(const std::vector<std::string>& setups) {
    if (order_.challenge_setups == setups) return {};
    order_.challenge_setups = setups;
    return save_order(parts_.store, parts_.domain.name, order_);
}

Outcome<void> Issuance::resume_or_create(const KeySpec& spec) {
    order_ = {};
    resumed_ = false;
    order_dead_ = false;
    auto stored = load_order(parts_.store, parts_.domain.name);
    if (!stored) return stored.error();
    if (*stored) {
        order_ = std::move(**stored);
        order_.challenge_setups =
            remove_stored_answers(parts_.store, parts_.dns01, order_.challenge_setups);
        if (!order_.challenge_setups.empty()) return stopping_problem();
        parts_.report("Looking at the order that was begun before");
        auto refreshed = refresh_order(parts_.client, names_, order_);
        if (!refreshed && !is_order_lost(refreshed.error())) return refreshed;
        if (refreshed && can_go_on(spec)) {
            resumed_ = true;
            return {};
        }
        if (auto dropped = drop_order(); !dropped) return dropped;
    }
    parts_.report("Creating new order");
    auto created = create_order(parts_.client, names_, parts_.profile, parts_.replaces);
    if (!created) return created.error();
    order_ = std::move(created).value();
    order_.key_file = key_file(spec);
    order_.created = parts_.client.clock().now();
    base::log_info("md", parts_.domain.name, "order created: {}", order_.url);
    return save_order(parts_.store, parts_.domain.name, order_);
}

/// Whether the order of a former attempt can still lead to the certificate for `spec`.
bool Issuance::can_go_on(const KeySpec& spec) {
    if (!order_.key_file.empty() && order_.key_file != key_file(spec)) return false;
    // A CA that does not come to an end with it in a day has lost it; one kept on with it for ever
    // would keep the domain without a certificate.
    // Nor is it known how old one is that was made by a clock that has been set back since.
    const base::Duration age = parts_.client.clock().now() - order_.created;
    const bool is_old =
        order_.created != base::Time{} && (age > processing_max || age < -clock_skew_max);
    if (order_.status == OrderStatus::Processing && is_old) return false;
    switch (order_.status) {
        case OrderStatus::Pending:
        case OrderStatus::Ready:
            return true;
        case OrderStatus::Invalid:
            return false;
        case OrderStatus::Processing:
        case OrderStatus::Valid:
            break;
    }
    // The request has been sent: without its key the certificate is worth nothing.
    auto key = parts_.store.load_key(Group::Staging, parts_.domain.name, key_file(spec));
    return key && *key;
}

Outcome<void> Issuance::authorize(ChallengeAnswers& answers) {
    std::vector<Authorization> open;
    if (auto begun = begin_authorizations(answers, open); !begun) return begun;
    if (!open.empty()) {
        parts_.report("Waiting for the CA to validate the domain names");
        if (auto done = await_authorizations(std::move(open)); !done) return done;
        base::log_info("md", parts_.domain.name, "all names are validated");
    }
    const auto ready = [](OrderStatus status) { return status != OrderStatus::Pending; };
    return await_order("the order to become ready", ready);
}

Outcome<void> Issuance::begin_authorizations(ChallengeAnswers& answers,
                                             std::vector<Authorization>& open) {
    parts_.report("Setting up challenges");
    std::vector<Authorization> refused;
    for (const std::string& url : order_.authorizations) {
        auto authorization = fetch_authorization(parts_.client, url, names_);
        if (!authorization) return authorization.error();
        if (authorization->status == AuthorizationStatus::Valid) continue;
        if (authorization->status != AuthorizationStatus::Pending) {
            refused.push_back(std::move(*authorization));
            continue;
        }
        if (auto begun = begin_authorization(answers, *authorization); !begun) return begun;
        open.push_back(std::move(*authorization));
    }
    if (!refused.empty()) return refused_authorizations(refused);
    return {};
}

Outcome<void> Issuance::begin_authorization(ChallengeAnswers& answers, const Authorization& one) {
    auto challenge = answers.set_up(parts_.challenge_types, one);
    if (!challenge) return challenge.error();
    if (auto saved = remember(answers.setups()); !saved) return saved;
    if ((*challenge)->status == "processing") return {};  // the CA was told before
    auto response = parts_.client.post((*challenge)->url, "{}");
    if (response) return {};
    if (response.error().retry_after) return response.error();
    // Its answer may be lost, and the CA be looking right now: then the answers have to stay.
    auto now = fetch_authorization(parts_.client, one.url, names_);
    if (!now) return response.error();
    for (const Challenge& told : now->challenges) {
        if (told.url == (*challenge)->url && told.status != "pending") return {};
    }
    return response.error();
}

Outcome<void> Issuance::await_authorizations(std::vector<Authorization> open) {
    Poll poll(parts_.client.clock(), "the CA to validate the domain names");
    std::optional<base::Duration> pause;
    for (int failures = 0;;) {
        if (auto waited = poll.wait(pause); !waited) return waited;
        pause.reset();
        std::vector<Authorization> still_open;
        std::vector<Authorization> refused;
        for (const Authorization& one : open) {
            if (pause && failures > 0) {  // the CA asked for silence
                still_open.push_back(one);
                continue;
            }
            auto now = fetch_authorization(parts_.client, one.url, names_);
            if (!now) {
                if (!is_worth_another_look(now.error(), failures)) return now.error();
                pause = now.error().retry_after;
                still_open.push_back(one);
                continue;
            }
            failures = 0;
            if (now->retry_after && (!pause || *now->retry_after > *pause)) {
                pause = now->retry_after;
            }
            if (now->status == AuthorizationStatus::Valid) continue;
            const bool pending = now->status == AuthorizationStatus::Pending;
            (pending ? still_open : refused).push_back(std::move(*now));
        }
        if (!refused.empty()) return refused_authorizations(refused);
        if (still_open.empty()) return {};
        open = std::move(still_open);
    }
}

/// The CA's own words for each name (faults.md CA-23, CA-28); mod_md overwrites them.
Problem Issuance::refused_authorizations(const std::vector<Authorization>& refused) {
    order_dead_ = true;
    Problem problem = refused.front().problem();
    problem.detail = fmt::format("{}: {}", refused.front().shown_name(), problem.detail);
    if (refused.size() > 1) {
        problem.detail += fmt::format(" (and {} more names)", refused.size() - 1);
    }
    for (const Authorization& one : refused) {
        const Problem reason = one.problem();
        problem.subproblems.push_back({reason.type, reason.detail, one.shown_name()});
    }
    return problem;
}

Problem Issuance::order_is_invalid() {
    order_dead_ = true;
    if (order_.error) return *order_.error;
    return make_problem(EINVAL, "the CA declared the order invalid and gives no reason");
}

Outcome<void> Issuance::await_order(std::string_view what, bool (*done)(OrderStatus)) {
    Poll poll(parts_.client.clock(), std::string(what));
    std::optional<base::Duration> pause = order_.retry_after;
    for (int failures = 0; order_.status != OrderStatus::Invalid && !done(order_.status);) {
        parts_.report(fmt::format("Waiting for {}", what));
        if (auto waited = poll.wait(pause); !waited) return waited;
        auto read = refresh_order(parts_.client, names_, order_);
        if (!read && !is_worth_another_look(read.error(), failures)) return read;
        if (read) failures = 0;
        pause = read ? order_.retry_after : read.error().retry_after;
    }
    if (order_.status == OrderStatus::Invalid) return order_is_invalid();
    return {};
}

/// The key that staging has for this spec, or a new one that is there when this returns: it has to
/// survive whatever happens once the CA has the request.
Outcome<base::Secret> Issuance::key_for(const KeySpec& spec) {
    const std::string& name = parts_.domain.name;
    auto stored = parts_.store.load_key(Group::Staging, name, key_file(spec));
    if (stored && *stored) return std::move(**stored);
    if (!stored) {
        base::log_warn("md", name, "the key in staging is replaced: {}", stored.error().message());
    }
    auto made = parts_.keys.make(spec);
    if (!made) return made;
    auto saved = parts_.store.save_key(Group::Staging, name, key_file(spec), made->text());
    if (!saved) return saved.error();
    return made;
}

Outcome<void> Issuance::finalize(const KeySpec& spec) {
    parts_.report("Sending the certificate request");
    auto key = key_for(spec);
    if (!key) return key.error();
    auto csr = make_csr(key->text(), names_, parts_.domain.must_staple);
    if (!csr) return csr.error();
    auto sent = finalize_order(parts_.client, names_, *csr, order_);
    if (sent) {
        // A CA that answers "ready" has not taken it: asking again is left to the next attempt.
        if (order_.status == OrderStatus::Ready) {
            return make_problem(20014, "the CA does not process the certificate request");
        }
        auto saved = save_order(parts_.store, parts_.domain.name, order_);
        if (saved) return saved;
        // The next attempt looks at the order first: not before the CA wants that.
        Problem problem = saved.error();
        problem.retry_after = order_.retry_after;
        return problem;
    }
    if (is_acme_error(sent.error(), "badCSR")) {
        order_dead_ = true;
        return sent;
    }
    if (sent.error().retry_after) return sent;  // the next attempt looks at the order first
    // Whether the CA got it shows in the order; it is never sent twice on suspicion (faults.md
    // CA-32).
    Order now = order_;
    if (auto read = refresh_order(parts_.client, names_, now); !read) return sent;
    order_ = std::move(now);
    if (order_.status == OrderStatus::Processing || order_.status == OrderStatus::Valid) {
        base::log_info("md", parts_.domain.name, "the CA has the certificate request, although: {}",
                       base::escape_for_log(sent.error().message()));
        return {};
    }
    order_dead_ = order_.status == OrderStatus::Invalid;
    return sent;
}

Outcome<void> Issuance::download(const KeySpec& spec) {
    parts_.report("Downloading the certificate");
    auto key = parts_.store.load_key(Group::Staging, parts_.domain.name, key_file(spec));
    if (!key) return key.error();
    Poll poll(parts_.client.clock(), "the certificate");
    for (int unreadable = 0;;) {
        // Not there yet, or cut on the way (faults.md CA-39): worth another look. A certificate
        // that can be read and is not what was asked for is not.
        auto chain =
            download_certificate(parts_.client, order_.certificate, parts_.domain.preferred_chain);
        Problem problem;
        if (chain) {
            auto certificate = read_chain(*chain, *key ? (*key)->text() : "");
            if (certificate) {
                auto good =
                    check_certificate(parts_.domain, **certificate, parts_.client.clock().now());
                if (good) return save_chain(spec, **certificate);
                return reject(spec, *chain, good.error());
            }
            problem = certificate.error();
            if (++unreadable == unreadable_max) return reject(spec, *chain, problem);
        } else {
            problem = chain.error();
        }
        if (is_stopping(problem)) return problem;
        if (auto waited = poll.wait(problem.retry_after); !waited) {
            return is_stopping(waited.error()) ? waited : Outcome<void>(problem);
        }
    }
}

/// Nothing comes of this order: another attempt needs another. What came is kept.
Problem Issuance::reject(const KeySpec& spec, const std::string& chain, const Problem& why) {
    order_dead_ = true;
    const std::string& name = parts_.domain.name;
    auto key = parts_.store.load_key(Group::Staging, name, key_file(spec));
    keep_rejected(parts_.store, name, spec, chain, key && *key ? (*key)->text() : "", why,
                  parts_.client.clock().now());
    return why;
}

Outcome<void> Issuance::save_chain(const KeySpec& spec, const tls::Certificate& certificate) {
    const std::string& name = parts_.domain.name;
    base::log_info("md", name, "certificate received, {}, valid until {}", spec.status_name(),
                   base::format_rfc3339(certificate.not_after));
    return parts_.store.save(Group::Staging, name, chain_file(spec), chain_to_pem(certificate));
}

Outcome<void> Issuance::drop_order() {
    return drop_stored_order(parts_.store, parts_.dns01, parts_.domain.name);
}

Outcome<void> drop_stored_order(Store& store, const Dns01& dns, const std::string& domain) {
    auto order = load_order(store, domain);
    if (!order) return order.error();
    if (!*order) return remove_order(store, domain);  // a file that is of no use
    const std::vector<std::string> setups = std::move((*order)->challenge_setups);
    (*order)->challenge_setups = remove_stored_answers(store, dns, setups);
    if (!(*order)->challenge_setups.empty()) return stopping_problem();
    return remove_order(store, domain);
}

}  // namespace md
