// A map from names to shared values, as an immutable snapshot for readers that take no lock.
//
// Names are spread over shards by hash; changing one name copies its shard and the table of shards,
// and shares all the rest (design.md, section 2.3): with 100,000 names a change costs some 400
// pointers, not 100,000.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace base {

template <typename Value>
class NameMap {
  public:
    using ValuePtr = std::shared_ptr<const Value>;

    NameMap() : shards_(shard_count) {}

    /// What is under that very name; null: nothing. Never allocates.
    const ValuePtr* find(std::string_view name) const {
        const uint64_t hash = hash_of(name);
        const Shard* shard = shards_[number_of(hash)].get();
        if (shard == nullptr) return nullptr;
        const size_t at = shard->position(hash, name);
        return shard->holds(at, hash, name) ? &shard->slots[at].entry->value : nullptr;
    }

    struct Change {
        std::string name;
        ValuePtr value;  // null: the name goes
    };
    /// A copy with all these changes, the later ones last. Each shard is copied at most once.
    NameMap with_all(const std::vector<Change>& changes) const {
        NameMap next = *this;
        std::vector<Shard*> copied(shard_count);  // this call's own copies, still changeable
        for (const Change& change : changes) {
            const uint64_t hash = hash_of(change.name);
            const size_t number = number_of(hash);
            if (copied[number] == nullptr) {
                const Shard* old = shards_[number].get();
                auto copy = old ? std::make_shared<Shard>(*old) : std::make_shared<Shard>();
                copied[number] = copy.get();
                next.shards_[number] = std::move(copy);
            }
            next.apply(*copied[number], hash, change);
        }
        return next;
    }

    size_t size() const { return size_; }
    /// How many of the shards are the very same objects in `other`.
    size_t shards_shared_with(const NameMap& other) const {
        size_t shared = 0;
        for (size_t i = 0; i < shard_count; ++i) shared += shards_[i] == other.shards_[i] ? 1 : 0;
        return shared;
    }

  private:
    static constexpr size_t shard_count = 256;

    struct Entry {
        std::string name;
        ValuePtr value;
    };
    // Copying a shard copies pointers; names and values stay where they are.
    struct Slot {
        uint64_t hash;
        std::shared_ptr<const Entry> entry;
    };
    struct Shard {
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

    /// FNV-1a, and a multiply that brings its good high bits down. Keys come from our
    /// configuration, so nobody outside can choose colliding ones.
    static uint64_t hash_of(std::string_view name) {
        uint64_t hash = 0xcbf29ce484222325;
        for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
        hash ^= hash >> 32;
        return hash * 0x9e3779b97f4a7c15;
    }
    static size_t number_of(uint64_t hash) { return hash >> 56; }

    void apply(Shard& shard, uint64_t hash, const Change& change) {
        const size_t at = shard.position(hash, change.name);
        const bool is_known = shard.holds(at, hash, change.name);
        const auto where = shard.slots.begin() + static_cast<ptrdiff_t>(at);
        if (change.value == nullptr) {
            if (is_known) shard.slots.erase(where);
            size_ -= is_known ? 1 : 0;
            return;
        }
        auto entry = std::make_shared<const Entry>(Entry{change.name, change.value});
        if (is_known) {
            where->entry = std::move(entry);
        } else {
            shard.slots.insert(where, Slot{hash, std::move(entry)});
            ++size_;
        }
    }

    std::vector<std::shared_ptr<const Shard>> shards_;
    size_t size_ = 0;
};

}  // namespace base
