// What a policy allows, said to an SSL_CTX once.
#pragma once

#include "tls/library.h"
#include "tls/server_context.h"

namespace tls {

/// Sets versions, suites, `groups` (best first), signature algorithms, options and the session id
/// context. False with OpenSSL's reason in the error queue.
bool apply_policy(SSL_CTX* context, Policy policy, const std::vector<std::string>& groups);

}  // namespace tls
