#include "tls/certificate_index.h"

#include "tls/server_name.h"

namespace tls {

namespace {

/// FNV-1a, and a multiply that brings its good high bits down. Keys come from our configuration, so
/// nobody outside can choose colliding ones.
uint64_t hash_name(std::string_view name) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    hash ^= hash >> 32;
    return hash * 0x9e3779b97f4a7c15;
}

size_t shard_of(uint64_t hash) {
    return hash >> 56;
}

}  // namespace

struct CertificateIndex::Shard {
    struct Entry {
        std::string name;
        CertificateSetPtr set;
    };
    // Copying a shard copies pointers; names and sets stay where they are.
    struct Slot {
        uint64_t hash;
        std::shared_ptr<const Entry> entry;
    };
    std::vector<Slot> slots;  // by hash; few have the same

    size_t position(uint64_t hash, std::string_view name) const {
        auto it = std::lower_bound(slots.begin(), slots.end(), hash,
                                   [](const Slot& slot, uint64_t h) { return slot.hash < h; });
        for (; it != slots.end() && it->hash == hash; ++it) {
            if (it->entry->name == name) break;
        }
        return static_cast<size_t>(it - slots.begin());
    }
    bool holds(size_t at, uint64_t hash, std::string_view name) const {
        return at < slots.size() && slots[at].hash == hash && slots[at].entry->name == name;
    }
};

CertificateIndex::CertificateIndex() : shards_(shard_count) {}

const CertificateSetPtr* CertificateIndex::lookup(std::string_view normal) const {
    const uint64_t hash = hash_name(normal);
    const Shard* shard = shards_[shard_of(hash)].get();
    if (shard == nullptr) return nullptr;
    const size_t at = shard->position(hash, normal);
    return shard->holds(at, hash, normal) ? &shard->slots[at].entry->set : nullptr;
}

const CertificateSetPtr* CertificateIndex::find(std::string_view name) const {
    ServerName normal(name);
    if (!normal.valid()) return nullptr;
    if (const CertificateSetPtr* exact = lookup(normal.text())) return exact;
    const std::string_view wildcard = normal.to_wildcard();
    return wildcard.empty() ? nullptr : lookup(wildcard);
}

const CertificateSetPtr* CertificateIndex::find(const base::IpAddress& address) const {
    char room[base::IpAddress::text_bytes_max];
    return lookup(address.write_text(room));
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
    std::vector<Shard*> copied(shard_count);  // this call's own copies, still changeable
    for (const Change& change : changes) {
        const uint64_t hash = hash_name(change.name);
        const size_t number = shard_of(hash);
        if (copied[number] == nullptr) {
            const Shard* old = shards_[number].get();
            auto copy = old ? std::make_shared<Shard>(*old) : std::make_shared<Shard>();
            copied[number] = copy.get();
            next->shards_[number] = std::move(copy);
        }
        std::vector<Shard::Slot>& slots = copied[number]->slots;
        const size_t at = copied[number]->position(hash, change.name);
        const bool known = copied[number]->holds(at, hash, change.name);
        const auto where = slots.begin() + static_cast<ptrdiff_t>(at);
        if (change.set == nullptr) {
            if (known) slots.erase(where);
            next->size_ -= known ? 1 : 0;
            next->addresses_ -= known && base::is_ip_address(change.name) ? 1 : 0;
            continue;
        }
        auto entry = std::make_shared<const Shard::Entry>(Shard::Entry{change.name, change.set});
        if (known) {
            where->entry = std::move(entry);
        } else {
            slots.insert(where, Shard::Slot{hash, std::move(entry)});
            ++next->size_;
            next->addresses_ += base::is_ip_address(change.name) ? 1 : 0;
        }
    }
    return next;
}

std::shared_ptr<const CertificateIndex> CertificateIndex::with_default(
    CertificateSetPtr set) const {
    auto next = std::make_shared<CertificateIndex>(*this);
    next->default_ = std::move(set);
    return next;
}

size_t CertificateIndex::shards_shared_with(const CertificateIndex& other) const {
    size_t shared = 0;
    for (size_t i = 0; i < shard_count; ++i) shared += shards_[i] == other.shards_[i] ? 1 : 0;
    return shared;
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
