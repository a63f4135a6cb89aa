// Which site a request on a TLS connection may reach: the name that the handshake settled against
// the name that the request gives (RFC 9110 7.4; faults.md TL-12, TL-13, H2-41).
#pragma once

#include <string_view>

#include "proxy/routes.h"
#include "tls/session.h"

namespace proxy {

enum class Admission : uint8_t {
    Served,
    NotReady,     ///< 503: only a fallback certificate is there for this name yet
    Misdirected,  ///< 421: the certificate was for somebody else's name
};

/// `host` normalised. `site` is what routes give for `host`, or null.
Admission admit(const tls::SessionInfo& session, std::string_view host, const Site* site,
                const Routes& routes);

}  // namespace proxy
