// Textual encodings (RFC 7468), read strictly: what is no block must be explanatory text.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tls {

/// One block. The bytes are wiped when it dies, for they may be a key.
struct PemBlock {
    std::string_view label;  // "CERTIFICATE", "PRIVATE KEY", ...; into the text
    std::vector<uint8_t> der;
    bool encrypted = false;  // RFC 1421 headers: the bytes are not read

    PemBlock() = default;
    PemBlock(PemBlock&&) = default;
    PemBlock& operator=(PemBlock&&) = delete;  // what it had would stay in memory
    ~PemBlock();
};

/// All blocks of `text` in order. Between them stands nothing or explanatory text: lines without
/// control bytes and without a broken boundary.
base::Result<std::vector<PemBlock>> read_pem(std::string_view text);

}  // namespace tls
