// A handshake with a certificate before anybody is served with it: what no look at its parts shows
// (a key that OpenSSL cannot sign with, an algorithm that it refuses) shows here.
#pragma once

#include <string>

#include "tls/certificate.h"

namespace tls {

/// Shakes hands with ourselves in memory, over TLS 1.3 and TLS 1.2, as a client that asks for
/// `name` and verifies nothing but that the certificate comes, covers the name, and its key signs.
/// "" if that works, else why not. Takes some milliseconds; any thread but a worker.
std::string why_no_handshake(const Certificate& certificate, const std::string& name);

}  // namespace tls
