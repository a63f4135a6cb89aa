// Private keys at rest: PKCS#8 PEM, encrypted with the store's secret in accounts and staging
// (mod_md.md 3.4).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/secret.h"
#include "md/problem.h"

namespace md {

/// Plain private key PEM (PKCS#8, or a traditional form) → "ENCRYPTED PRIVATE KEY": PBES2,
/// AES-256-CBC, PBKDF2 with HMAC-SHA256 and 2048 iterations. The pass phrase is raw bytes and may
/// contain NUL.
Outcome<std::string> encrypt_key(std::string_view pem, std::span<const uint8_t> pass_phrase);

/// The other way, HMAC-SHA1 of older mod_md included, to plain PKCS#8 PEM.
Outcome<base::Secret> decrypt_key(std::string_view pem, std::span<const uint8_t> pass_phrase);

/// Whether the text holds an encrypted private key.
bool is_encrypted_key(std::string_view pem);

/// DER in PEM armour: 64 characters a line, LF. `label` is "CERTIFICATE", "PRIVATE KEY", …
std::string to_pem(std::string_view label, std::span<const uint8_t> der);
/// The same for what must not stay in memory.
base::Secret to_secret_pem(std::string_view label, std::span<const uint8_t> der);

}  // namespace md
