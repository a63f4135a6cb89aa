#include "md/key_cache.h"

#include <algorithm>

#include "md/jws.h"

namespace md {

KeyCache::Digest KeyCache::digest_of(std::string_view encrypted) {
    const std::vector<uint8_t> bytes = sha256(encrypted);
    Digest digest{};
    std::copy(bytes.begin(), bytes.end(), digest.begin());
    return digest;
}

std::optional<base::Secret> KeyCache::find(std::string_view encrypted) {
    const Digest digest = digest_of(encrypted);
    const std::lock_guard lock(mutex_);
    const auto at = std::find_if(known_.begin(), known_.end(),
                                 [&](const Known& known) { return known.digest == digest; });
    if (at == known_.end()) return std::nullopt;
    std::rotate(known_.begin(), at, at + 1);
    return known_.front().plain.copy();
}

void KeyCache::add(std::string_view encrypted, std::string_view plain) {
    const Digest digest = digest_of(encrypted);
    const std::lock_guard lock(mutex_);
    if (known_.size() == keys_max) known_.pop_back();
    known_.push_front({digest, base::Secret(plain)});
}

}  // namespace md
