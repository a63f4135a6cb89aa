#include "tls/ticket_keys.h"

#include <openssl/crypto.h>

namespace tls {

TicketKey::~TicketKey() {
    OPENSSL_cleanse(aes.data(), aes.size());
    OPENSSL_cleanse(hmac.data(), hmac.size());
}

std::shared_ptr<const TicketKeys> TicketKeys::rotated(base::Random& random, base::Time now) const {
    constexpr size_t keys_max = 3;
    auto fresh = std::make_shared<TicketKey>();
    random.fill(fresh->name);
    random.fill(fresh->aes);
    random.fill(fresh->hmac);
    fresh->made = now;
    auto next = std::make_shared<TicketKeys>();
    next->keys.push_back(std::move(fresh));
    for (size_t i = 0; i < keys.size() && next->keys.size() < keys_max; ++i) {
        next->keys.push_back(keys[i]);
    }
    return next;
}

}  // namespace tls
