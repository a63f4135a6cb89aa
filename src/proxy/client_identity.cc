#include "proxy/client_identity.h"

namespace proxy {

Admission admit(const tls::SessionInfo& session, std::string_view host, const Site* site,
                const Routes& routes) {
    const tls::Certificate* certificate = session.certificate;
    if (host != session.server_name) {
        // Another name than the handshake's is fine within one site, or where the certificate that
        // was shown speaks for it; else some other tenant's name was asked for. Without SNI it is
        // the address that the client connected to, or "": then the default site's certificate was
        // shown.
        const bool same_site = site != nullptr && routes.find(session.server_name) == site;
        const bool covered = certificate != nullptr && certificate->covers(host);
        if (!same_site && !covered) return Admission::Misdirected;
    }
    if (certificate != nullptr && certificate->fallback) return Admission::NotReady;
    return Admission::Served;
}

}  // namespace proxy
