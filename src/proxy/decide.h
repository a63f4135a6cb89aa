// What becomes of a request: answered by us, asked of this process's own handler, or forwarded.
// Pure: everything it goes by is an argument. The order is mod_md's (mod_md.md section 9).
#pragma once

#include <variant>

#include "proxy/head.h"
#include "proxy/local_handler.h"
#include "proxy/routes.h"
#include "tls/session.h"

namespace proxy {

/// The snapshots that a decision goes by.
struct Answers {
    const Routes& routes;
    const Http01Answers& http01;
    const CertificateStatusAnswers& certificate_status;
    bool local_only = false;  // the admin worker: its LocalHandler answers everything
};

/// Answered at once. `close`: the connection ends after it.
struct Reply {
    LocalResponse response;
    bool close = false;
};

/// To the site's backend. `site` lives as long as the routes.
struct Forward {
    const Site* site;
    bool hsts;  // its answer gets Strict-Transport-Security
};

/// To the worker's LocalHandler, once the body is there.
struct AskLocal {};

using Decision = std::variant<Reply, Forward, AskLocal>;

/// `session`: what the TLS handshake settled; null on a plain connection.
Decision decide(const RequestHead& head, const tls::SessionInfo* session, const Answers& answers);

}  // namespace proxy
