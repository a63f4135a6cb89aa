// What one worker's sessions share: behind ServerContext, and reached from OpenSSL's callbacks.
#pragma once

#include "tls/certificate_cache.h"
#include "tls/library.h"
#include "tls/server_context.h"

namespace tls {

/// Worker's thread only. Outlives its sessions.
struct WorkerTls {
    WorkerTls(const Snapshots& snapshots, size_t certificates_decoded_max)
        : certificates(snapshots.certificates),
          challenges(snapshots.challenges),
          ticket_keys(snapshots.ticket_keys),
          cache(library.get(), certificates_decoded_max) {}

    Library library;  // first: all that follows lives in it
    base::SnapshotReader<CertificateIndex> certificates;
    base::SnapshotReader<ChallengeCertificates> challenges;
    base::SnapshotReader<TicketKeys> ticket_keys;
    CertificateCache cache;
    CipherPtr ticket_cipher;  // fetched once, not in each handshake
    SslCtxPtr ssl_ctx;
    TlsCounters counters;
};

}  // namespace tls
