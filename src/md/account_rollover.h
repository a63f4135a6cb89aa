// Giving an account a new key (RFC 8555 7.3.5), such that it is known at every instant: the new key
// is in the store before the CA hears of it, the old one until the CA has taken it (faults.md
// CA-48). One engine thread; nobody else uses the account meanwhile.
#pragma once

#include "md/acme_account.h"
#include "md/acme_client.h"
#include "md/store.h"

namespace md {

/// Makes a new ECDSA P-256 key the account's, at the CA and in the store. On an error the account
/// has its former key, or settle_rollover() finds out.
Outcome<void> roll_account_key(AcmeClient& client, Store& store, Account& account);

/// Ends a rollover whose outcome is not known: asks the CA which key it has. Nothing to do without
/// one. The Problem: it could not be asked; the account must not be used before.
Outcome<void> settle_rollover(AcmeClient& client, Store& store, Account& account);

}  // namespace md
