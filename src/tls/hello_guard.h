// Bounds what a connection can claim before it has proved anything: OpenSSL 3.0 allocates and
// clears as many bytes as the first handshake message says it has, up to 128 KiB, before one of
// them has come (faults.md TL-05).
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace tls {

/// Follows the ciphertext until the length of the first handshake message is known. All else is
/// left to OpenSSL. No allocation.
class HelloGuard {
  public:
    // A ClientHello with post-quantum shares and much padding has about 4 KiB.
    static constexpr uint32_t hello_bytes_max = 32 * 1024;

    /// Looks at the next bytes of the connection; false if the message is too long.
    bool pass(std::span<const uint8_t> ciphertext);

  private:
    std::array<uint8_t, 5> record_{};   // header of the current record
    std::array<uint8_t, 4> message_{};  // header of the message: type, 24 bits of length
    uint8_t record_size_ = 0;
    uint8_t message_size_ = 0;
    uint16_t payload_left_ = 0;
    bool done_ = false;
};

}  // namespace tls
