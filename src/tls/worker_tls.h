// What one worker's sessions share: behind ServerContext, and reached from OpenSSL's callbacks.
#pragma once

#include "tls/certificate_cache.h"
#include "tls/library.h"
#include "tls/server_context.h"

namespace tls {

/// Worker's thread only, but for what OpenSSL shares between threads by itself: a handshake pool's
/// thread works with SSLs of `ssl_ctx` in `library`, whose locks and reference counts allow that.
/// Random generators and error queues are per thread; OpenSSL frees the former when the thread
/// ends, which has to be before `library` goes. Outlives its sessions.
struct WorkerTls {
    WorkerTls(const Snapshots& snapshots, const ContextOptions& options)
        : certificates(snapshots.certificates),
          challenges(snapshots.challenges),
          ticket_keys(snapshots.ticket_keys),
          cache(library.get(), options.certificates_decoded_max),
          clock(options.clock),
          has_pool(options.handshake_pool != nullptr) {}

    base::Time now() const {
        return clock != nullptr
                   ? clock->now()
                   : std::chrono::floor<base::Duration>(std::chrono::system_clock::now());
    }

    Library library;  // first: all that follows lives in it
    base::SnapshotReader<CertificateIndex> certificates;
    base::SnapshotReader<ChallengeCertificates> challenges;
    base::SnapshotReader<TicketKeys> ticket_keys;
    CertificateCache cache;
    CipherPtr ticket_cipher;  // fetched once, not in each handshake
    SslCtxPtr ssl_ctx;
    TlsCounters counters;
    base::Clock* const clock;  // null: the system's
    const bool has_pool;       // sessions say NeedSlowKey
};

}  // namespace tls
