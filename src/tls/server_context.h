// Everything one worker needs to serve TLS: a library context, an SSL_CTX per policy, readers of
// the snapshots, and a bounded cache of decoded certificates.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "base/result.h"
#include "base/snapshot.h"
#include "tls/certificate_index.h"
#include "tls/session.h"
#include "tls/ticket_keys.h"

namespace tls {

class HandshakePool;

/// Mozilla's server-side profiles: which versions and suites are offered.
enum class Policy : uint8_t {
    Modern,        ///< TLS 1.3 only
    Intermediate,  ///< TLS 1.2 (ECDHE with AEAD) and 1.3
};

/// What all workers share; lives as long as the process.
struct Snapshots {
    base::Published<CertificateIndex> certificates;
    base::Published<ChallengeCertificates> challenges;
    base::Published<TicketKeys> ticket_keys;
};

struct ContextOptions {
    Policy policy = Policy::Intermediate;
    /// Of the key exchange, best first (groups.h); empty: default_groups().
    std::vector<std::string> groups;
    size_t certificates_decoded_max = 4096;
    /// For slow keys: sessions say NeedSlowKey, and their owner submits them. Null: they sign
    /// themselves, whatever it takes. Stopped before the context dies, destroyed after it.
    HandshakePool* handshake_pool = nullptr;
    /// Tells how long ago a resumed client was authenticated; outlives the context. Null: the
    /// system's.
    base::Clock* clock = nullptr;
};

/// How a session learns which address its client connected to. It asks only if the client sent no
/// name and there are certificates for addresses: asking is a system call.
struct LocalAddress {
    const void* connection = nullptr;  // outlives the handshake
    /// nullopt: none (a Unix socket), or the connection is gone.
    std::optional<base::IpAddress> (*ask)(const void* connection) noexcept = nullptr;
};

/// Counts of one worker.
struct TlsCounters {
    uint64_t full_handshakes = 0;
    uint64_t resumed_handshakes = 0;
    uint64_t challenge_handshakes = 0;
    uint64_t failed_handshakes = 0;                     ///< also those that were begun and given up
    std::array<uint64_t, failures> failed_by_reason{};  ///< of these, by Failure
};

class ServerContext {
  public:
    /// Worker's thread. Fails with OpenSSL's reason.
    static base::Result<std::unique_ptr<ServerContext>> create(const ContextOptions& options,
                                                               const Snapshots& snapshots);
    ~ServerContext();
    ServerContext(const ServerContext&) = delete;
    ServerContext& operator=(const ServerContext&) = delete;

    /// A session for an accepted connection; null if memory is out. The context must outlive it.
    std::unique_ptr<Session> accept(const LocalAddress& local = {});
    const TlsCounters& counters() const;

  private:
    struct Impl;
    explicit ServerContext(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace tls
