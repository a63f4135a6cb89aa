// Certificates for names of a tailnet, from the tailscale daemon of this machine (mod_md.md 8).
//
// The daemon orders, keeps and renews them; here they are only asked for, over its socket. What it
// expects today is not what mod_md sends: since 1.34 it refuses every Host but its own with 403,
// which is why mod_md's protocol stopped working.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/secret.h"
#include "md/problem.h"
#include "md/transport.h"
#include "tls/certificate.h"

namespace md {

/// MDCertificateAuthority of a domain with this protocol that names none.
inline constexpr std::string_view tailscale_default_url =
    "file://localhost/var/run/tailscale/tailscaled.sock";

/// The path in file://localhost/path or file:///path. The Problem says what is wrong with another
/// URL, without naming it.
Outcome<std::string> tailscale_socket(std::string_view url);

/// What the daemon gave, whatever it is.
struct TailscalePair {
    base::Secret key_pem;
    std::string chain_pem;  // from the first certificate on; may be empty
};
/// The key and the chain that the daemon at `url` has for `name`: one answer has both, so that they
/// belong together. It may order one meanwhile, which takes a minute.
Outcome<TailscalePair> fetch_from_tailscale(Transport& transport, const std::string& url,
                                            const std::string& name, base::Time now);

/// What a renewal amounts to while the daemon still gives what is served: when it sees fit to renew
/// is its own business. Looked at again after a day, sooner near the end.
Problem not_renewed_yet(const tls::Certificate& served, base::Time now);

}  // namespace md
