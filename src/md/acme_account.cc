#include "md/acme_account.h"

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/account_rollover.h"
#include "md/acme_json.h"

namespace md {

namespace {

const std::string account_file = "account.json";
const std::string key_file_name = "account.pem";
/// Marks a directory whose registration has begun and whose account is not known yet: the key in it
/// may already be registered.
const std::string pending_file = "pending.json";
constexpr size_t host_bytes_max = 16;
constexpr int account_number_max = 9999;
constexpr std::string_view error_type_prefix = "urn:ietf:params:acme:error:";

/// Nothing changes before somebody edits the configuration: no fast retry.
Problem configuration_problem(std::string_view type, std::string detail) {
    Problem problem = make_problem(EINVAL, std::move(detail));
    problem.type = std::string(error_type_prefix) + std::string(type);
    return problem;
}

Json external_account_to_json(const ExternalAccount& account) {
    return Json{{"kid", account.kid}, {"hmac", std::string(account.hmac.text())}};
}

std::string pending_json(const std::string& ca_url, const ExternalAccount& external) {
    Json json;
    json["ca-url"] = ca_url;
    if (!external.empty()) json["kid"] = external.kid;
    return json_text(json);
}

std::string new_account_payload(const Directory& directory, const Domain& domain,
                                const std::string& binding) {
    Json payload;
    payload["contact"] = domain.contacts;
    if (!directory.terms_of_service.empty()) payload["termsOfServiceAgreed"] = true;
    if (!binding.empty()) payload["externalAccountBinding"] = Json::parse(binding);
    return payload.dump();
}

/// What has to be configured before an account can be made (mod_md.md 5.4, faults.md CA-20..22).
Outcome<void> check_configuration(const Directory& directory, const Domain& domain) {
    if (domain.contacts.empty()) {
        return configuration_problem(
            "invalidContact",
            fmt::format("an account at {} needs an address: set contact_email", directory.url));
    }
    if (domain.agreement.empty()) {
        return configuration_problem(
            "agreementRequired",
            fmt::format("the terms of service of {} have to be accepted before an account can be "
                        "made{}{}: set certificate_agreement = \"accepted\"",
                        directory.url, directory.terms_of_service.empty() ? "" : "; they are at ",
                        directory.terms_of_service));
    }
    if (directory.external_account_required && domain.external_account.empty()) {
        return configuration_problem(
            "externalAccountRequired",
            fmt::format("{} makes accounts for its customers only: set external_account_binding "
                        "to the key id and HMAC key that it gave you",
                        directory.url));
    }
    return {};
}

/// The disk or a limit of this machine is in the way, not what the file holds.
bool is_unreadable_now(const Problem& problem) {
    switch (problem.status) {
        case EIO:
        case ESTALE:
        case EACCES:
        case EPERM:
        case EMFILE:
        case ENFILE:
        case ENOMEM:
            return true;
        default:
            return false;
    }
}

/// Says which setting the CA does not like.
Problem explain(Problem problem) {
    if (is_acme_error(problem, "invalidContact") || is_acme_error(problem, "unsupportedContact")) {
        problem.detail += "; check contact_email";
    }
    return problem;
}

/// The same for a registration.
Problem explain_registration(Problem problem, const Domain& domain) {
    problem = explain(std::move(problem));
    if (is_acme_error(problem, "externalAccountRequired")) {
        problem.detail +=
            "; set external_account_binding to the key id and HMAC key that the CA gave you";
    }
    if (is_acme_error(problem, "unauthorized") && !domain.external_account.empty()) {
        problem.detail +=
            fmt::format("; check external_account_binding, key id {}", domain.external_account.kid);
        problem.pause = std::chrono::hours{24};  // faults.md CA-21: no fast retry
    }
    return problem;
}

}  // namespace

std::string account_prefix(const std::string& ca_url) {
    std::string host = https_host(ca_url);
    if (host.size() > host_bytes_max) host = host.substr(host.size() - host_bytes_max);
    return "ACME-" + host;
}

Outcome<std::optional<Account>> load_account(Store& store, Group group, const std::string& id) {
    auto text = store.load(group, id, account_file);
    if (!text) return text.error();
    if (!*text) return std::optional<Account>();
    const std::string place = fmt::format("{}/{}/{}", group_name(group), id, account_file);
    auto json = parse_acme_json(**text);
    if (!json) return make_problem(EINVAL, place + " is not JSON");
    ObjectReader reader(*json, place);
    const std::string url = reader.required_string("url");
    const std::string ca_url = reader.required_string("ca-url");
    const std::string status = reader.optional_string("status");
    if (!reader.ok()) return make_problem(EINVAL, reader.error());
    auto pem = store.load_key(group, id, key_file_name);
    if (!pem) return pem.error();
    if (!*pem) return make_problem(ENOENT, place + " has no " + key_file_name + " beside it");
    auto key = AccountKey::from_pem((*pem)->text());
    if (!key) {
        Problem problem = key.error();
        problem.detail = place + ": " + problem.detail;
        return problem;
    }
    std::vector<std::string> contacts = strings_at(*json, {"contact"});
    if (contacts.empty()) contacts = strings_at(*json, {"registration", "contact"});
    std::string agreement = string_at(*json, {"agreement"});
    if (agreement.empty()) agreement = string_at(*json, {"terms-of-service"});
    return std::optional<Account>(Account{
        .id = id,
        .status = status,
        .url = url,
        .ca_url = ca_url,
        .contacts = std::move(contacts),
        .agreement = std::move(agreement),
        .orders = string_at(*json, {"orders"}),
        .external_account = {string_at(*json, {"eab", "kid"}), take_secret(*json, {"eab", "hmac"})},
        .key = std::move(key).value()});
}

Outcome<void> save_account(Store& store, const Account& account) {
    Json json;
    if (!account.status.empty()) json["status"] = account.status;
    json["url"] = account.url;
    json["ca-url"] = account.ca_url;
    json["contact"] = account.contacts;
    if (!account.agreement.empty()) json["agreement"] = account.agreement;
    if (!account.orders.empty()) json["orders"] = account.orders;
    if (!account.external_account.empty()) {
        json["eab"] = external_account_to_json(account.external_account);
    }
    return store.save(Group::Accounts, account.id, account_file, json_text(json));
}

void AccountRegistry::remember_contacts(const std::vector<Domain>& domains) {
    const std::lock_guard lock(mutex_);
    wishes_.clear();
    for (const Domain& domain : domains) {
        wishes_.push_back({domain.ca_urls, domain.external_account, domain.contacts});
    }
}

void AccountRegistry::load() {
    auto ids = store_.names(Group::Accounts);
    if (!ids) return base::log_warn("md", "", "accounts: {}", ids.error().message());
    for (const std::string& id : *ids) {
        auto account = load_account(store_, Group::Accounts, id);
        if (account && *account) show(**account);
    }
}

void AccountRegistry::show(const Account& account) {
    AccountSummary summary{.id = account.id,
                           .ca_url = account.ca_url,
                           .url = account.url,
                           .status = account.status,
                           .contacts = account.contacts,
                           .key_type = account.key.type(),
                           .domains = {}};
    const std::lock_guard lock(mutex_);
    shown_.insert_or_assign(account.id, Shown{std::move(summary), account.external_account});
}

std::vector<AccountSummary> AccountRegistry::summaries() const {
    std::vector<AccountSummary> all;
    const std::lock_guard lock(mutex_);
    for (const auto& [id, shown] : shown_) all.push_back(shown.summary);
    return all;
}

Outcome<void> AccountRegistry::save(const Account& account) {
    auto saved = save_account(store_, account);
    if (saved) show(account);
    return saved;
}

bool AccountRegistry::has_old_contacts(const Domain& domain, const std::string& id) const {
    const std::lock_guard lock(mutex_);
    const auto found = shown_.find(id);
    if (domain.contacts.empty() || found == shown_.end()) return false;
    const auto& [account, external] = found->second;
    if (account.status != "valid" || account.contacts == domain.contacts) return false;
    // Domains with different addresses share one account: it keeps the one that it has.
    return std::none_of(wishes_.begin(), wishes_.end(), [&](const Wish& wish) {
        return wish.contacts == account.contacts && wish.external_account == external &&
               std::find(wish.ca_urls.begin(), wish.ca_urls.end(), account.ca_url) !=
                   wish.ca_urls.end();
    });
}

/// The account with that id, which signs what the client sends.
Outcome<Account> AccountRegistry::open(AcmeClient& client, const std::string& id) {
    auto account = load_account(store_, Group::Accounts, id);
    if (!account) return account.error();
    if (!*account) return make_problem(ENOENT, fmt::format("there is no account {}", id));
    if (auto settled = settle_rollover(client, store_, **account); !settled) {
        return settled.error();
    }
    client.use_account((*account)->key, (*account)->url);
    return std::move(**account);
}

Outcome<void> AccountRegistry::use(AcmeClient& client, const std::string& id) {
    const std::lock_guard lock(mutex_for(account_prefix(client.directory().url)));
    auto account = open(client, id);
    return account ? Outcome<void>() : account.error();
}

Outcome<bool> AccountRegistry::update_contacts(AcmeClient& client, const Domain& domain,
                                               const std::string& id) {
    const std::lock_guard lock(mutex_for(account_prefix(client.directory().url)));
    if (!has_old_contacts(domain, id)) return false;  // another domain has told it meanwhile
    auto account = open(client, id);
    if (!account) return account.error();
    auto response = client.post(account->url, Json{{"contact", domain.contacts}}.dump());
    if (!response) return explain(response.error());
    account->contacts = domain.contacts;
    if (auto saved = save(*account); !saved) return saved.error();
    return true;
}

Outcome<void> AccountRegistry::roll_key(AcmeClient& client, const std::string& id) {
    const std::lock_guard lock(mutex_for(account_prefix(client.directory().url)));
    auto account = open(client, id);
    if (!account) return account.error();
    auto rolled = roll_account_key(client, store_, *account);
    if (rolled) show(*account);
    return rolled;
}

std::mutex& AccountRegistry::mutex_for(const std::string& prefix) {
    const std::lock_guard lock(mutex_);
    auto& mutex = mutexes_[prefix];
    if (!mutex) mutex = std::make_unique<std::mutex>();
    return *mutex;
}

/// Local accounts that fit (mod_md.md 5.4, match rule), the preferred one first. `unreadable`
/// becomes why one cannot be read now: it is no reason to register another.
std::vector<Account> AccountRegistry::candidates(const std::string& ca_url, const Domain& domain,
                                                 const std::string& preferred,
                                                 std::optional<Problem>& unreadable) {
    std::vector<Account> found;
    auto ids = store_.names(Group::Accounts);
    if (!ids) {
        base::log_warn("md", domain.name, "accounts: {}", ids.error().message());
        unreadable = ids.error();
        return found;
    }
    for (const std::string& id : *ids) {
        if (id != preferred && !id.starts_with(account_prefix(ca_url))) continue;
        auto account = load_account(store_, Group::Accounts, id);
        if (!account) {
            base::log_warn("md", domain.name, "account {} is not used: {}", id,
                           account.error().message());
            if (is_unreadable_now(account.error())) unreadable = account.error();
            continue;
        }
        if (!*account || (*account)->status != "valid" || (*account)->ca_url != ca_url ||
            (*account)->external_account != domain.external_account) {
            continue;
        }
        const auto where = id == preferred ? found.begin() : found.end();
        found.insert(where, std::move(**account));
    }
    return found;
}

std::string AccountRegistry::known_for(const std::string& ca_url, const Domain& domain) {
    std::optional<Problem> unreadable;
    const std::vector<Account> known = candidates(ca_url, domain, "", unreadable);
    return known.empty() ? std::string() : known.front().id;
}

/// Whether the CA still knows the account. What it does not want is marked, and skipped later.
Outcome<AccountRegistry::Verdict> AccountRegistry::validate(AcmeClient& client, Account& account) {
    if (auto settled = settle_rollover(client, store_, account); !settled) return settled.error();
    client.use_account(account.key, account.url);
    auto response = client.post_as_get(account.url);
    if (!response && is_acme_error(response.error(), "malformed") &&
        (!account.agreement.empty() || client.directory().terms_of_service.empty())) {
        // Some servers refuse an empty update (mod_md.md 5.4).
        response = client.post(account.url, R"({"termsOfServiceAgreed":true})");
    }
    Verdict verdict = Verdict::Usable;
    std::string status;
    if (!response) {
        const Problem& problem = response.error();
        if (is_acme_error(problem, "accountDoesNotExist") || problem.status == ENOENT) {
            verdict = Verdict::Unknown;
        } else if (is_acme_error(problem, "unauthorized") && problem.status == EACCES) {
            verdict = Verdict::Refused;
        } else {
            return problem;
        }
    } else if (const auto json = parse_acme_json(response->body); json && json->is_object()) {
        status = string_at(*json, {"status"});
        if (status == "deactivated" || status == "revoked") verdict = Verdict::Refused;
    }
    // One that the CA has lost is registered anew with its key, and stays a candidate until that is
    // done: a process that ends in between must not make another.
    if (verdict != Verdict::Refused) return verdict;
    account.status = status;
    if (auto saved = save(account); !saved) return saved.error();
    return verdict;
}

/// `forgotten` becomes an account whose key can be registered anew, because the CA lost it.
Outcome<std::optional<Account>> AccountRegistry::find_usable(AcmeClient& client,
                                                             const Domain& domain,
                                                             const std::string& preferred,
                                                             std::optional<Account>& forgotten) {
    std::string refused;
    std::optional<Problem> unreadable;
    for (Account& account : candidates(client.directory().url, domain, preferred, unreadable)) {
        auto verdict = validate(client, account);
        if (!verdict) return verdict.error();
        switch (*verdict) {
            case Verdict::Usable:
                return std::optional<Account>(std::move(account));
            case Verdict::Unknown:
                base::log_warn("md", domain.name, "the CA does not know account {} any more",
                               account.id);
                forgotten = std::move(account);
                break;
            case Verdict::Refused:
                base::log_warn("md", domain.name, "the CA refuses account {}", account.id);
                refused = account.id;
                break;
        }
    }
    if (unreadable) return *unreadable;
    if (!refused.empty() && !forgotten) {
        // faults.md CA-18: somebody closed it on purpose. Told once, with a day to think about it;
        // the next attempt finds no account and registers one.
        Problem problem = make_problem(
            EACCES, fmt::format("the CA refuses account {}: it was deactivated or revoked; unless "
                                "this is undone, a new one is registered with the next attempt",
                                refused));
        problem.type = std::string(error_type_prefix) + "unauthorized";
        problem.pause = std::chrono::hours{24};
        return problem;
    }
    return std::optional<Account>();
}

Outcome<Account> AccountRegistry::obtain(AcmeClient& client, const Domain& domain,
                                         const std::string& preferred) {
    // Whoever comes while another domain registers waits here, and then finds its account.
    const std::lock_guard lock(mutex_for(account_prefix(client.directory().url)));
    std::optional<Account> forgotten;
    auto found = find_usable(client, domain, preferred, forgotten);
    if (!found) return found.error();
    if (*found) return std::move(**found);
    return register_account(client, domain, std::move(forgotten));
}

Outcome<std::string> AccountRegistry::free_id(const std::string& prefix) {
    auto ids = store_.names(Group::Accounts);
    if (!ids) return ids.error();
    for (int number = 0; number <= account_number_max; ++number) {
        std::string id = fmt::format("{}-{:04}", prefix, number);
        if (std::find(ids->begin(), ids->end(), id) == ids->end()) return id;
    }
    return make_problem(ENOSPC, fmt::format("there are {} accounts for {} in the store",
                                            account_number_max + 1, prefix));
}

/// A directory with a key: that of a registration that was interrupted, or a new one.
Outcome<Account> AccountRegistry::begin_registration(const Directory& directory,
                                                     const Domain& domain) {
    const std::string prefix = account_prefix(directory.url);
    const std::string pending = pending_json(directory.url, domain.external_account);
    auto ids = store_.names(Group::Accounts);
    if (!ids) return ids.error();
    std::string id;
    std::optional<AccountKey> key;
    for (const std::string& candidate : *ids) {
        if (!candidate.starts_with(prefix)) continue;
        auto marker = store_.load(Group::Accounts, candidate, pending_file);
        if (!marker && is_unreadable_now(marker.error())) return marker.error();
        if (!marker || !*marker || **marker != pending) continue;
        auto account = store_.load(Group::Accounts, candidate, account_file);
        auto pem = store_.load_key(Group::Accounts, candidate, key_file_name);
        if (!pem && is_unreadable_now(pem.error())) return pem.error();
        if (!account || *account || !pem || !*pem) continue;
        auto read = AccountKey::from_pem((*pem)->text());
        if (!read) continue;
        id = candidate;
        key = std::move(read).value();
        break;
    }
    if (!key) {
        auto next = free_id(prefix);
        if (!next) return next.error();
        id = std::move(next).value();
        auto made = AccountKey::generate();
        if (!made) return made.error();
        key = std::move(made).value();
        auto pem = key->pem();
        if (!pem) return pem.error();
        auto saved = store_.save_key(Group::Accounts, id, key_file_name, pem->text());
        if (saved) saved = store_.save(Group::Accounts, id, pending_file, pending);
        if (!saved) return saved.error();
    }
    return Account{.id = std::move(id),
                   .status = {},
                   .url = {},
                   .ca_url = directory.url,
                   .contacts = {},
                   .agreement = {},
                   .orders = {},
                   .external_account = domain.external_account,
                   .key = std::move(*key)};
}

Outcome<Account> AccountRegistry::register_account(AcmeClient& client, const Domain& domain,
                                                   std::optional<Account> forgotten) {
    const Directory& directory = client.directory();
    if (auto checked = check_configuration(directory, domain); !checked) return checked.error();
    // The CA that lost an account gets the same key again (faults.md CA-17).
    auto begun =
        forgotten ? Outcome<Account>(std::move(*forgotten)) : begin_registration(directory, domain);
    if (!begun) return begun.error();
    Account account = std::move(begun).value();
    std::string binding;
    if (!domain.external_account.empty()) {
        auto made =
            sign_external_account(account.key, domain.external_account, directory.new_account);
        if (!made) return made.error();
        binding = std::move(made).value();
    }
    auto response = client.post_with_jwk(account.key, directory.new_account,
                                         new_account_payload(directory, domain, binding));
    if (!response) return explain_registration(response.error(), domain);
    auto url = client.location(*response);
    if (!url) return url.error();
    account.url = std::move(url).value();
    account.status = "valid";
    account.contacts = domain.contacts;
    account.agreement = directory.terms_of_service;
    if (const auto json = parse_acme_json(response->body)) {
        const std::string status = string_at(*json, {"status"});
        if (!status.empty() && status != "valid") {
            return make_problem(EACCES, fmt::format("the CA made an account that is {}",
                                                    base::escape_for_log(status, 50)));
        }
        account.orders = string_at(*json, {"orders"});
    }
    auto saved = save(account);
    if (saved) saved = store_.remove(Group::Accounts, account.id, pending_file);
    if (!saved) return saved.error();
    base::log_info("md", domain.name, "registered account {} at {}", account.id, directory.url);
    return account;
}

Outcome<std::string> AccountRegistry::adopt_staged(const std::string& name) {
    auto staged = load_account(store_, Group::Staging, name);
    if (!staged) return staged.error();
    if (!*staged) return std::string();
    Account account = std::move(**staged);
    const std::string prefix = account_prefix(account.ca_url);
    const std::lock_guard lock(mutex_for(prefix));
    auto ids = store_.names(Group::Accounts);
    if (!ids) return ids.error();
    for (const std::string& id : *ids) {
        if (!id.starts_with(prefix)) continue;
        auto known = load_account(store_, Group::Accounts, id);
        // Domains that mod_md enrolled together each hold a copy (mod_md.md 3.7).
        if (known && *known && (*known)->url == account.url) return id;
    }
    auto id = free_id(prefix);
    if (!id) return id.error();
    account.id = *id;
    auto pem = account.key.pem();
    if (!pem) return pem.error();
    auto saved = store_.save_key(Group::Accounts, account.id, key_file_name, pem->text());
    if (saved) saved = save(account);
    if (!saved) return saved.error();
    base::log_info("md", name, "took over account {} from staging", account.id);
    return account.id;
}

}  // namespace md
