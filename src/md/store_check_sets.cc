// What belongs together in the directories of a store: declared in store_checker.h.

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "md/acme_account.h"
#include "md/acme_order.h"
#include "md/activation.h"
#include "md/renewal.h"
#include "md/store_checker.h"

namespace md {

namespace {

std::string day(base::Time time) {
    return base::format_rfc3339(time).substr(0, 10);
}

}  // namespace

void StoreChecker::check_directory(Group group, const std::string& name, const std::string& path,
                                   const FileNames& files) {
    switch (group) {
        case Group::Accounts:
            check_account(name, path, files);
            break;
        case Group::Archive:
            note_archive(name, path);
            break;
        case Group::Challenges:
            add(Severity::Note, path, "is left of a challenge, or one is under way",
                "mdfront removes it when it starts");
            break;
        case Group::Domains:
            ++report_.domains;
            check_domain(name, path, files);
            break;
        case Group::Staging:
            check_staged_set(name, path, files);
            break;
        case Group::Tmp:
            check_tmp(name, path, files);
            break;
        case Group::Ocsp:
            break;  // nothing but single files
    }
}

std::string key_advice(Group group) {
    if (group == Group::Accounts) {
        return "restore the account from a backup; without it a new one is made";
    }
    return group == Group::Staging ? "a new key is made at the next renewal" : "";
}

void StoreChecker::check_account(const std::string& id, const std::string& path,
                                 const FileNames& files) {
    accounts_.insert(id);
    if (files.count("account.json") == 0) {
        const bool is_pending = files.count("pending.json") > 0;
        add(is_pending ? Severity::Note : Severity::Warning, path,
            is_pending ? "its registration at the CA has begun and is not finished"
                       : "has no account.json and is not used",
            is_pending ? "mdfront goes on with it at the next renewal"
                       : "restore it from a backup, or remove the directory");
        return;
    }
    auto account = load_account(store_, Group::Accounts, id);
    if (account.ok() && *account) {
        ++report_.accounts;
        const std::string& status = (*account)->status;
        if (status != "valid") {
            add(Severity::Note, path, fmt::format("its status is \"{}\": it is not used", status),
                "");
        }
        return;
    }
    if (!has_secret_ && files.count("account.pem") > 0) return;
    if (!account.ok() && !is_told(path + "/")) {
        add(Severity::Error, path, without_place(account.error()), key_advice(Group::Accounts));
    }
}

/// Of md.json; nullopt if it is missing or was told of.
std::optional<StoredDomain> StoreChecker::read_domain(Group group, const std::string& name) {
    auto bytes = store_.load(group, name, "md.json");
    if (!bytes.ok() || !*bytes) return std::nullopt;
    auto stored = domain_from_json(**bytes);
    if (!stored.ok()) return std::nullopt;
    return std::move(stored).value();
}

void StoreChecker::check_domain(const std::string& name, const std::string& path,
                                const FileNames& files) {
    if (files.count("md.json") == 0) {
        const std::string aside = path + "/md.json.bad-";
        const bool was_put_aside =
            std::any_of(report_.findings.begin(), report_.findings.end(),
                        [&](const Finding& finding) { return finding.path.starts_with(aside); });
        add(was_put_aside ? Severity::Note : Severity::Error, path, "has no md.json",
            "if it is configured, mdfront writes it when it starts; else remove the directory");
        return;
    }
    const auto stored = read_domain(Group::Domains, name);
    if (!stored) return;
    const Domain& domain = stored->domain;
    const std::string settings = path + "/md.json";
    if (domain.name != name) {
        add(Severity::Note, settings,
            fmt::format("calls the domain {}; the directory's name counts", domain.name), "");
    }
    if (!domain.contains(name)) {
        add(Severity::Warning, settings, fmt::format("{} is not among the domain's names", name),
            "if it is configured, mdfront corrects it when it starts");
    }
    if (!stored->ca_account.empty()) accounts_used_.emplace(stored->ca_account, name);
    if (domain.is_static()) return;  // its files are not in the store
    std::set<std::string> expected;
    for (const KeySpec& spec : domain.key_specs()) {
        expected.insert({key_file(spec), chain_file(spec)});
    }
    for (const std::string& file : files) {
        const bool is_pair = file.starts_with("privkey") || file.starts_with("pubcert");
        if (is_pair && expected.count(file) == 0) {
            add(Severity::Note, path + "/" + file,
                "is of a key type that the domain does not have any more",
                "it is not used; it goes to the archive with the next renewal");
        }
    }
    const std::vector<Slot> slots =
        load_credentials(store_, Group::Domains, name, domain.key_specs());
    const bool has_any = std::any_of(files.begin(), files.end(), [](const std::string& file) {
        return file.starts_with("pubcert") || file.starts_with("privkey");
    });
    if (!has_any) {
        add(Severity::Note, path, "has no certificate yet", "");
        return;
    }
    for (const Slot& slot : slots) check_slot(domain, slot, path);
    check_expiry(domain, slots, path);
}

void StoreChecker::check_slot(const Domain& domain, const Slot& slot, const std::string& path) {
    const std::string chain = path + "/" + chain_file(slot.spec);
    if (!slot.certificate) {
        if (is_told(path + "/" + key_file(slot.spec)) || is_told(chain)) return;
        add(Severity::Error, chain, slot.why,
            "mdfront serves the newest good one of the archive and renews it when it runs; or "
            "restore both files from a backup");
        return;
    }
    ++report_.certificates;
    for (const std::string& name : domain.names) {
        if (slot.certificate->covers(name)) continue;
        add(Severity::Warning, chain, fmt::format("does not cover {}", name),
            "mdfront renews it when it runs");
        break;
    }
}

void StoreChecker::check_expiry(const Domain& domain, const std::vector<Slot>& slots,
                                const std::string& path) {
    for (const Slot& slot : slots) {
        if (!slot.certificate) continue;
        const std::string chain = path + "/" + chain_file(slot.spec);
        const tls::Certificate& certificate = *slot.certificate;
        if (certificate.not_after <= options_.now) {
            add(Severity::Error, chain, "expired on " + day(certificate.not_after),
                "start mdfront; if it runs, `mdfront certs show` tells why it is not renewed");
        } else if (in_warn_window(domain, std::span(&slot, 1), options_.now)) {
            add(Severity::Warning, chain,
                fmt::format("expires on {} and is not renewed", day(certificate.not_after)),
                "start mdfront; if it runs, `mdfront certs show` tells why it is not renewed");
        } else if (certificate.not_before > options_.now + clock_skew_max) {
            add(Severity::Warning, chain,
                fmt::format("is valid from {} on only", day(certificate.not_before)),
                "check this machine's clock");
        }
    }
}

void StoreChecker::check_staged_set(const std::string& name, const std::string& path,
                                    const FileNames& files) {
    if (files.count("job.json") > 0) check_staged_job(name, path);
    if (files.count("order.json") > 0 && !is_told(path + "/order.json")) {
        auto order = load_order(store_, name);
        const bool is_usable = order.ok() && order->has_value();
        add(is_usable ? Severity::Note : Severity::Warning, path + "/order.json",
            is_usable ? "is an order that is under way" : "is no order that can be gone on with",
            is_usable ? "mdfront goes on with it when it runs"
                      : "mdfront makes a new one when it runs");
    }
    const auto stored = read_domain(Group::Staging, name);
    if (!stored) return;
    for (const Slot& slot :
         load_credentials(store_, Group::Staging, name, stored->domain.key_specs())) {
        // One of the two alone is a renewal that is under way.
        if (slot.fault != Slot::Fault::Damaged && slot.fault != Slot::Fault::Broken) continue;
        const std::string chain = path + "/" + chain_file(slot.spec);
        if (!has_secret_ || is_told(path + "/" + key_file(slot.spec)) || is_told(chain)) {
            continue;
        }
        add(Severity::Warning, chain, slot.why, "the next renewal starts anew");
    }
}

void StoreChecker::check_staged_job(const std::string& name, const std::string& path) {
    auto text = store_.load(Group::Staging, name, "job.json");
    if (!text.ok() || !*text) return;
    const auto job = job_from_json(**text, name);
    if (!job.ok()) return;  // told of
    auto believable = is_believable(store_, job.value());
    // A key that cannot be read was told of, too.
    if (!believable.ok() || *believable) return;
    add(Severity::Warning, path + "/job.json",
        "says that the renewal is finished, and what it made is not there",
        "mdfront does not believe it, and renews anew");
}

void StoreChecker::check_tmp(const std::string& name, const std::string& path,
                             const FileNames& files) {
    if (files.empty() || files == std::set<std::string>{"job.json"}) {
        add(Severity::Note, path, "is left of an activation, without a certificate in it",
            "mdfront removes it when it starts");
        return;
    }
    auto live = store_.aspects(Group::Domains, name);
    if (live.ok() && !live->empty()) {
        add(Severity::Note, path, "is left of an activation; domains/" + name + " is whole",
            "mdfront removes it when it starts, and makes it anew from staging");
        return;
    }
    if (options_.fix) {
        auto finished = store_.finish_activation(name);
        if (finished.ok() && *finished) {
            add(Severity::Error, path, "an activation stopped before its last step", "").is_fixed =
                true;
            ++report_.domains;
            return;
        }
    }
    add(Severity::Error, path, fmt::format("an activation stopped: domains/{} is missing", name),
        "--fix finishes it if the set is whole; else mdfront brings the former set back from "
        "the archive when it starts")
        .is_fixable = true;
}

void StoreChecker::note_archive(const std::string& name, const std::string& path) {
    const size_t dot = name.rfind('.');
    if (name.ends_with(".rejected")) {
        add(Severity::Note, path, "is a new set that was refused; its rejected.json tells why",
            "look at it, and remove it when it is of no use");
        return;
    }
    int number = 0;
    const char* first = dot == std::string::npos ? name.data() : name.data() + dot + 1;
    const char* last = name.data() + name.size();
    const auto [end, error] = std::from_chars(first, last, number);
    if (dot == std::string::npos || error != std::errc{} || end != last || number < 1) {
        tell_unknown(path);
        return;
    }
    ++archives_[name.substr(0, dot)];
}

void StoreChecker::tell_archives() {
    for (const auto& [name, count] : archives_) {
        if (count <= FileStore::archives_kept) continue;
        add(Severity::Note, "archive",
            fmt::format("{} has {} former sets; {} are kept", name, count,
                        FileStore::archives_kept),
            "the oldest go at the next renewal");
    }
}

void StoreChecker::tell_missing_accounts() {
    for (const auto& [id, domain] : accounts_used_) {
        if (accounts_.count(id) > 0) continue;
        add(Severity::Warning, fmt::format("domains/{}/md.json", domain),
            fmt::format("its account {} is not there", id),
            "nothing, if the CA may make a new account; else restore it from a backup");
    }
}

}  // namespace md
