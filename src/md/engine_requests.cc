// What people ask the engine for, and what the CA is told besides orders: declared in engine.h.

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "md/engine.h"
#include "md/poll.h"
#include "md/renewal.h"
#include "md/tailscale.h"

namespace md {

namespace {

/// A CA that does not take a changed contact is told again so soon.
constexpr base::Duration contacts_interval = std::chrono::hours{6};

/// A domain that cannot be renewed by request: why not; "" if it can.
std::string why_not_renewed(const Domain& domain) {
    if (!domain.is_static()) return "";
    return fmt::format("{} has certificate files of its own, nothing to renew", domain.name);
}

}  // namespace

Outcome<void> Engine::request(const std::string& name, const std::function<void(Requests&)>& ask) {
    {
        const std::lock_guard lock(mutex_);
        const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& entry) {
            return entry->stored.domain.name == name;
        });
        if (found == entries_.end()) {
            return make_problem(ENOENT, fmt::format("there is no managed domain {}", name));
        }
        Entry& entry = **found;
        if (std::string why = why_not_renewed(entry.stored.domain); !why.empty()) {
            return make_problem(EINVAL, std::move(why));
        }
        ask(entry.requests);
        if (!entry.running) {
            queue_.erase(&entry);
            entry.next_visit = base::Time::min();
            queue_.insert(&entry);
        }
    }
    wake_.notify_one();
    return {};
}

Outcome<void> Engine::renew_now(const std::string& name) {
    return request(name, [](Requests& requests) { requests.renew = true; });
}

Outcome<void> Engine::revoke_now(const std::string& name, RevocationReason reason) {
    return request(name, [&](Requests& requests) { requests.revoke = reason; });
}

Outcome<std::string> Engine::roll_account_key(const std::string& account_id) {
    std::string name;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& entry : entries_) {
            if (entry->stored.ca_account == account_id) name = entry->stored.domain.name;
        }
    }
    if (name.empty()) {
        return make_problem(ENOENT, fmt::format("no managed domain uses an account {}; `mdfront "
                                                "accounts list` shows those that there are",
                                                account_id));
    }
    auto asked = request(name, [](Requests& requests) { requests.roll_account_key = true; });
    return asked ? Outcome<std::string>(name) : asked.error();
}

std::vector<AccountSummary> Engine::accounts() const {
    std::vector<AccountSummary> all = accounts_.summaries();
    const std::lock_guard lock(mutex_);
    for (AccountSummary& account : all) {
        for (const auto& entry : entries_) {
            if (entry->stored.ca_account == account.id) {
                account.domains.push_back(entry->stored.domain.name);
            }
        }
    }
    return all;
}

/// Does what was asked for, but for the renewal, which is the visit's own business. What fails is
/// told to who asked, and is not tried again.
void Engine::answer(Visit& visit, Transport& transport, const Requests& requests) {
    const auto tell = [&](std::string_view what, const Outcome<void>& done) {
        if (done) return;
        base::log_error("md", visit.job.name, "{} failed: {}", what,
                        base::escape_for_log(done.error().message()));
        visit.failure = fmt::format("{} failed: {}", what, done.error().message());
    };
    if (requests.roll_account_key) {
        tell("changing the account's key", change_account_key(visit, transport));
    }
    if (requests.revoke) tell("revoking", revoke(visit, transport, *requests.revoke));
}

/// Each certificate that is noted as revoked is so at the CA.
Outcome<void> Engine::revoke(Visit& visit, Transport& transport, RevocationReason reason) {
    const Domain& domain = visit.stored.domain;
    AcmeClient client(transport, clock_, domain);
    if (visit.stored.ca_url.empty()) {
        return make_problem(
            ENOENT, fmt::format("no certificate of {} is known to come from a CA", domain.name));
    }
    if (tailscale_socket(visit.stored.ca_url)) {
        return make_problem(ENOSYS, fmt::format("the certificate of {} is from tailscale, whose "
                                                "daemon revokes none",
                                                domain.name));
    }
    if (auto opened = client.open(visit.stored.ca_url); !opened) return opened;
    const bool has_account =
        !visit.stored.ca_account.empty() && accounts_.use(client, visit.stored.ca_account).ok();
    // With the private keys, which the table does not keep.
    Outcome<void> done;
    bool is_any = false;
    for (const Slot& slot : load_live_credentials(store_, files_, domain)) {
        if (!slot.certificate) continue;
        is_any = true;
        if (find_revoked(visit.revoked, *slot.certificate) != nullptr) continue;
        auto revoked = revoke_certificate(client, has_account, slot, reason);
        if (!revoked) {
            done = revoked;
            continue;  // the others all the same
        }
        visit.revoked.push_back({base::hex(slot.certificate->sha256), slot.certificate->serial,
                                 std::string(revocation_reason_name(reason)), clock_.now()});
        base::log_warn("md", domain.name, "certificate ({}) {} is revoked ({})", slot.label,
                       slot.certificate->serial, revocation_reason_name(reason));
    }
    if (!is_any) {
        return make_problem(ENOENT, fmt::format("{} has no certificate to revoke", domain.name));
    }
    auto saved = keep_revoked(visit);
    publish(visit.entry);  // where one could not be revoked, that one alone
    return done ? saved : done;
}

Outcome<void> Engine::change_account_key(Visit& visit, Transport& transport) {
    AcmeClient client(transport, clock_, visit.stored.domain);
    if (auto opened = client.open(visit.stored.ca_url); !opened) return opened;
    return accounts_.roll_key(client, visit.stored.ca_account);
}

/// contact_email was changed: the CA's account follows, at a regular check after the start. No
/// renewal waits for it.
void Engine::tell_contacts(Visit& visit, Transport& transport) {
    const Domain& domain = visit.stored.domain;
    const std::string& account = visit.stored.ca_account;
    const base::Time now = clock_.now();
    {
        const std::lock_guard lock(mutex_);
        if (visit.entry.contacts_due > now) return;
        visit.entry.contacts_due = base::Time::max();
    }
    if (account.empty() || domain.is_from_tailscale() ||
        !accounts_.has_old_contacts(domain, account))
        return;
    AcmeClient client(transport, clock_, domain);
    auto opened = client.open(visit.stored.ca_url);
    auto told = opened ? accounts_.update_contacts(client, domain, account) : opened.error();
    if (told) {
        if (!*told) return;
        base::log_info("md", domain.name, "the CA has the new contact of account {}: {}", account,
                       fmt::join(domain.contacts, ", "));
        return;
    }
    if (!is_stopping(told.error())) {
        base::log_warn("md", domain.name, "the CA is not told the contact of account {}: {}",
                       account, base::escape_for_log(told.error().message()));
    }
    const std::lock_guard lock(mutex_);
    visit.entry.contacts_due = now + told.error().retry_after.value_or(contacts_interval);
}

}  // namespace md
