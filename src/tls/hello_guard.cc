#include "tls/hello_guard.h"

namespace tls {

bool HelloGuard::pass(std::span<const uint8_t> ciphertext) {
    constexpr uint8_t handshake_record = 22;
    for (size_t i = 0; i < ciphertext.size() && !done_; ++i) {
        const uint8_t byte = ciphertext[i];
        if (payload_left_ == 0) {
            record_[record_size_++] = byte;
            if (record_size_ < record_.size()) continue;
            record_size_ = 0;
            payload_left_ = static_cast<uint16_t>(record_[3] << 8 | record_[4]);
            done_ = record_[0] != handshake_record;
            continue;
        }
        --payload_left_;
        message_[message_size_++] = byte;
        if (message_size_ < message_.size()) continue;
        done_ = true;
        return (static_cast<uint32_t>(message_[1]) << 16 | message_[2] << 8 | message_[3]) <=
               hello_bytes_max;
    }
    return true;
}

}  // namespace tls
