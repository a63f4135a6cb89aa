#include "tls/certificate_index.h"

#include <set>

#include "tls/server_name.h"

namespace tls {

const CertificateSetPtr* CertificateIndex::find(std::string_view name) const {
    ServerName normal(name);
    if (!normal.valid()) return nullptr;
    if (const CertificateSetPtr* exact = names_.find(normal.text())) return exact;
    const std::string_view wildcard = normal.to_wildcard();
    return wildcard.empty() ? nullptr : names_.find(wildcard);
}

const CertificateSetPtr* CertificateIndex::find(const base::IpAddress& address) const {
    char room[base::IpAddress::text_bytes_max];
    return names_.find(address.write_text(room));
}

std::shared_ptr<const CertificateIndex> CertificateIndex::with(
    const std::vector<std::string>& names, CertificateSetPtr set) const {
    std::vector<Change> changes;
    changes.reserve(names.size());
    for (const std::string& name : names) changes.push_back({name, set});
    return with_all(changes);
}

std::shared_ptr<const CertificateIndex> CertificateIndex::with_all(
    const std::vector<Change>& changes) const {
    auto next = std::make_shared<CertificateIndex>(*this);
    next->names_ = names_.with_all(changes);
    std::set<std::string_view> addresses;
    for (const Change& change : changes) {
        if (base::is_ip_address(change.name)) addresses.insert(change.name);
    }
    for (const std::string_view address : addresses) {
        next->addresses_ += next->names_.find(address) != nullptr ? 1 : 0;
        next->addresses_ -= names_.find(address) != nullptr ? 1 : 0;
    }
    return next;
}

std::shared_ptr<const CertificateIndex> CertificateIndex::with_default(
    CertificateSetPtr set) const {
    auto next = std::make_shared<CertificateIndex>(*this);
    next->default_ = std::move(set);
    return next;
}

std::shared_ptr<const Certificate> ChallengeCertificates::hold(std::string_view name) const {
    const ServerName normal(name);
    if (!normal.valid()) return nullptr;
    const auto it = std::lower_bound(
        entries.begin(), entries.end(), normal.text(),
        [](const Entry& entry, std::string_view wanted) { return entry.name < wanted; });
    return it != entries.end() && it->name == normal.text() ? it->certificate : nullptr;
}

const Certificate* ChallengeCertificates::find(std::string_view name) const {
    return hold(name).get();
}

}  // namespace tls
