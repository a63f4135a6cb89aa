// Groups of the key exchange (RFC 8446 4.2.7): those that can be offered, and those that the
// OpenSSL knows that this process runs with.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tls {

/// Names of all groups that can be set, as OpenSSL calls them. Without finite fields (slow), and
/// without curves that no browser has.
std::span<const std::string_view> all_groups();

/// Whether the OpenSSL of this process can do `group`: hybrids with ML-KEM need version 3.5.
bool is_known_group(std::string_view group);

/// What is offered if nothing is set, best first: of X25519MLKEM768, X25519, P-256 and P-384 those
/// that are known.
std::vector<std::string> default_groups();

/// Of this process, which may not be the one that it was built with: "OpenSSL 3.0.17".
std::string openssl_version();

}  // namespace tls
