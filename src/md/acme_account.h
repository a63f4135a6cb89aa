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

/// An account as people are shown it.
struct AccountSummary {
    std::string id;  // the directory in accounts/
    std::string ca_url;
    std::string url;
    std::string status;
    std::vector<std::string> contacts;
    std::string key_type;              // "EC P-256", "RSA 3072"
    std::vector<std::string> domains;  // that use it, by name
};

/// Finds, checks and registers accounts. One for all engine threads.
class AccountRegistry {
  public:
    explicit AccountRegistry(Store& store) : store_(store) {}

    /// Reads what the store has, for summaries().
    void load();
    /// Remembers which contacts the domains want their accounts to have; replaces what was
    /// remembered before.
    void remember_contacts(const std::vector<Domain>& domains);
    /// By id, without the domains. Any thread; reads no file.
    std::vector<AccountSummary> summaries() const;

    /// An account that the CA of `client` accepts for this domain, `preferred` (its id, may be "")
    /// before others; registered if there is none. Domains that ask at the same time get the same.
    Outcome<Account> obtain(AcmeClient& client, const Domain& domain, const std::string& preferred);

    /// Tells the CA the domain's contacts if the account's are those of no domain that uses it any
    /// more (RFC 8555 7.3.2). True if it had to.
    Outcome<bool> update_contacts(AcmeClient& client, const Domain& domain, const std::string& id);
    /// Whether update_contacts() would have something to tell; asks nobody.
    bool has_old_contacts(const Domain& domain, const std::string& id) const;
    /// account_rollover.h, while no domain registers or looks for an account at that CA.
    Outcome<void> roll_key(AcmeClient& client, const std::string& id);
    /// The client signs as that account from here on. Problem ENOENT if there is none.
    Outcome<void> use(AcmeClient& client, const std::string& id);

    /// What mod_md left in staging/<name> becomes one of ours; "" if nothing is there, else its id.
    Outcome<std::string> adopt_staged(const std::string& name);
    /// The id of an account in the store that this domain would use at that CA; "" if there is
    /// none.
    std::string known_for(const std::string& ca_url, const Domain& domain);

  private:
    enum class Verdict : uint8_t { Usable, Unknown, Refused };

    /// What one domain wants.
    struct Wish {
        std::vector<std::string> ca_urls;
        ExternalAccount external_account;
        std::vector<std::string> contacts;
    };

    std::mutex& mutex_for(const std::string& prefix);
    Outcome<Account> open(AcmeClient& client, const std::string& id);
    Outcome<void> save(const Account& account);
    void show(const Account& account);
    std::vector<Account> candidates(const std::string& ca_url, const Domain& domain,
                                    const std::string& preferred,
                                    std::optional<Problem>& unreadable);
    Outcome<Verdict> validate(AcmeClient& client, Account& account);
    Outcome<std::optional<Account>> find_usable(AcmeClient& client, const Domain& domain,
                                                const std::string& preferred,
                                                std::optional<Account>& forgotten);
    Outcome<Account> register_account(AcmeClient& client, const Domain& domain,
                                      std::optional<Account> forgotten);
    Outcome<Account> begin_registration(const Directory& directory, const Domain& domain);
    Outcome<std::string> free_id(const std::string& prefix);

    Store& store_;
    mutable std::mutex mutex_;  // of what follows
    std::map<std::string, std::unique_ptr<std::mutex>> mutexes_;
    std::vector<Wish> wishes_;
    struct Shown {
        AccountSummary summary;
        ExternalAccount external_account;
    };
    std::map<std::string, Shown> shown_;  // by id
};

}  // namespace md
