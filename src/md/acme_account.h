// Accounts at CAs (RFC 8555 7.3): kept in accounts/ACME-<h>-<NNNN>, shared by all domains whose CA
// and external account are the same (mod_md.md 5.4).
//
// A new account is written to accounts/ at once: its key before the CA hears of it, so that an
// answer that is lost finds the same account again (faults.md CA-33). mod_md keeps it in staging
// until activation and registers again after a restart in between.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "md/acme_client.h"
#include "md/domain.h"
#include "md/store.h"

namespace md {

/// account.json (mod_md.md 3.6) with its key.
struct Account {
    std::string id;      // the directory in accounts/
    std::string status;  // "valid", "deactivated", "revoked"; "": not to be used
    std::string url;     // the key id
    std::string ca_url;  // of the directory
    std::vector<std::string> contacts;
    std::string agreement;
    std::string orders;
    ExternalAccount external_account;
    AccountKey key;
};

/// nullopt if there is none. A Problem names the file that cannot be used.
Outcome<std::optional<Account>> load_account(Store& store, Group group, const std::string& id);
Outcome<void> save_account(Store& store, const Account& account);

/// "ACME-<last 16 characters of the host>": what the names of this CA's accounts begin with.
std::string account_prefix(const std::string& ca_url);

/// Finds, checks and registers accounts. One for all engine threads.
class AccountRegistry {
  public:
    explicit AccountRegistry(Store& store) : store_(store) {}

    /// An account that the CA of `client` accepts for this domain, `preferred` (its id, may be "")
    /// before others; registered if there is none. Domains that ask at the same time get the same.
    Outcome<Account> obtain(AcmeClient& client, const Domain& domain, const std::string& preferred);

    /// What mod_md left in staging/<name> becomes one of ours; "" if nothing is there, else its id.
    Outcome<std::string> adopt_staged(const std::string& name);
    /// The id of an account in the store that this domain would use at that CA; "" if there is
    /// none.
    std::string known_for(const std::string& ca_url, const Domain& domain);

  private:
    enum class Verdict : uint8_t { Usable, Unknown, Refused };

    std::mutex& mutex_for(const std::string& prefix);
    std::vector<Account> candidates(const std::string& ca_url, const Domain& domain,
                                    const std::string& preferred);
    Outcome<Verdict> validate(AcmeClient& client, Account& account);
    Outcome<std::optional<Account>> find_usable(AcmeClient& client, const Domain& domain,
                                                const std::string& preferred,
                                                std::optional<Account>& forgotten);
    Outcome<Account> register_account(AcmeClient& client, const Domain& domain,
                                      std::optional<Account> forgotten);
    Outcome<Account> begin_registration(const Directory& directory, const Domain& domain);
    Outcome<std::string> free_id(const std::string& prefix);

    Store& store_;
    std::mutex mutex_;  // of the map
    std::map<std::string, std::unique_ptr<std::mutex>> mutexes_;
};

}  // namespace md
