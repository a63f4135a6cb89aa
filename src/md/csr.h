// Keys for certificates and the requests made with them (mod_md.md 5.9, RFC 8555 7.4), and the
// names in what comes back.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "md/domain.h"
#include "md/problem.h"

namespace md {

/// A new key: plain PKCS#8 PEM. The Problem names a curve that OpenSSL does not know.
Outcome<base::Secret> generate_key(const KeySpec& spec);

/// A PKCS#10 request in DER: CN = the first name if it is a DNS name of fewer than 64 bytes, SAN =
/// all names, IP addresses as iPAddress (RFC 8738 3).
Outcome<std::vector<uint8_t>> make_csr(std::string_view key_pem,
                                       const std::vector<std::string>& names, bool must_staple);

/// Every subjectAltName of a certificate: DNS names in lower case, IP addresses in their one form,
/// others as "<type>:…", a DNS name that reads like an IP address among them. Empty if it has none,
/// whatever its CN says.
std::vector<std::string> subject_alt_names(std::span<const uint8_t> certificate_der);

/// Common name of the issuer of the last certificate in a PEM chain: the root that it leads to. ""
/// if that cannot be read.
std::string root_name(std::string_view chain_pem);

}  // namespace md
