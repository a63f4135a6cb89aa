// Where the engine meets the servers. app implements these with snapshots (design.md, section 7).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tls/certificate_index.h"

namespace md {

/// Makes challenge answers reachable. Each call returns only when *all* workers answer accordingly:
/// only then is the CA told.
class ChallengePort {
  public:
    virtual ~ChallengePort() = default;
    /// http-01 (RFC 8555 8.3): GET /.well-known/acme-challenge/<token> on `name` gives the text.
    virtual void publish_http01(const std::string& name, const std::string& token,
                                const std::string& key_authorization) = 0;
    virtual void withdraw_http01(const std::string& name, const std::string& token) = 0;
    /// tls-alpn-01 (RFC 8737), for what the CA sends as SNI.
    virtual void publish_alpn(const std::string& server_name,
                              std::shared_ptr<const tls::Certificate> certificate) = 0;
    virtual void withdraw_alpn(const std::string& server_name) = 0;
};

/// What is served. publish() replaces everything that this domain served before.
class CertificatePort {
  public:
    virtual ~CertificatePort() = default;
    /// `names`: the domain's names, as configured. `certificates`: one per key type, real or
    /// fallback; empty withdraws. Returns when all workers use it.
    virtual void publish(const std::string& domain, const std::vector<std::string>& names,
                         std::vector<std::shared_ptr<const tls::Certificate>> certificates) = 0;
    /// The body of /.httpd/certificate-status (mod_md.md 7.2) for this domain.
    virtual void publish_status(const std::string& domain, const std::vector<std::string>& names,
                                std::string json) = 0;
};

/// Where the staples are that belong to certificates: asked when a set of them is put together.
class StapleSource {
  public:
    virtual ~StapleSource() = default;
    /// Null: none that says "good". Any thread.
    virtual std::shared_ptr<const tls::Staple> staple_of(const tls::Certificate& certificate) = 0;
};

/// Whoever serves staples.
class StaplePort {
  public:
    virtual ~StaplePort() = default;
    /// The StapleSource has others now for these certificates of a domain (or "other": of none).
    /// Workers use them from some handshake on; this does not wait for it.
    virtual void staples_changed(
        const std::string& domain,
        const std::vector<std::shared_ptr<const tls::Certificate>>& certificates) = 0;
};

}  // namespace md
