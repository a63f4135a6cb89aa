#include "md/account_rollover.h"

#include <cerrno>

#include "base/log.h"
#include "md/acme_json.h"

namespace md {

namespace {

const std::string key_file_name = "account.pem";
/// The key that the CA has been told of, or is about to be.
const std::string next_key_file = "account-next.pem";

/// The CA has the new key: so do we.
Outcome<void> take_key(Store& store, Account& account, AccountKey key, std::string_view pem) {
    auto saved = store.save_key(Group::Accounts, account.id, key_file_name, pem);
    if (saved) saved = store.remove(Group::Accounts, account.id, next_key_file);
    if (!saved) return saved;
    account.key = std::move(key);
    base::log_info("md", account.id, "the account has a new key ({})", account.key.algorithm());
    return {};
}

}  // namespace

Outcome<void> roll_account_key(AcmeClient& client, Store& store, Account& account) {
    if (auto settled = settle_rollover(client, store, account); !settled) return settled;
    const std::string& url = client.directory().key_change;
    if (url.empty()) {
        return make_problem(ENOENT, fmt::format("{} does not change account keys: its directory "
                                                "has no keyChange",
                                                client.directory().url));
    }
    auto key = AccountKey::generate();
    if (!key) return key.error();
    auto pem = key->pem();
    if (!pem) return pem.error();
    auto saved = store.save_key(Group::Accounts, account.id, next_key_file, pem->text());
    if (!saved) return saved;

    Json change;
    change["account"] = account.url;
    change["oldKey"] = Json::parse(account.key.jwk());
    auto inner = sign_jws(*key, {.url = url, .nonce = {}, .kid = {}, .payload = change.dump()});
    if (!inner) return inner.error();
    client.use_account(account.key, account.url);
    auto response = client.post(url, *inner);
    if (!response) {
        const Problem problem = response.error();
        // Whether it was done shows by asking; without an answer, with the next use of the account.
        auto settled = settle_rollover(client, store, account);
        if (!settled) return problem;
        const bool is_done = account.key.thumbprint() == key->thumbprint();
        return is_done ? Outcome<void>() : Outcome<void>(problem);
    }
    return take_key(store, account, std::move(key).value(), pem->text());
}

Outcome<void> settle_rollover(AcmeClient& client, Store& store, Account& account) {
    auto pem = store.load_key(Group::Accounts, account.id, next_key_file);
    if (!pem) return pem.error();
    if (!*pem) return {};
    auto key = AccountKey::from_pem((*pem)->text());
    if (!key) {
        base::log_warn("md", account.id, "{} is of no use: {}", next_key_file,
                       key.error().message());
        return store.remove(Group::Accounts, account.id, next_key_file);
    }
    auto response = client.post_with_jwk(*key, client.directory().new_account,
                                         R"({"onlyReturnExisting":true})");
    if (response) {
        auto url = client.location(*response);
        if (!url) return url.error();
        if (*url == account.url)
            return take_key(store, account, std::move(key).value(), (*pem)->text());
    } else if (!is_acme_error(response.error(), "accountDoesNotExist")) {
        return response.error();
    }
    return store.remove(Group::Accounts, account.id, next_key_file);
}

}  // namespace md
