// Answers made by this process: small clean pages for errors, redirects, challenge answers, status.
// Pure: text in, text out; nothing of a request's bytes gets into a page unescaped (faults.md
// H1-61).
#pragma once

#include <string>
#include <string_view>

#include "proxy/local_handler.h"

namespace proxy {

/// RFC 9110 15's reason phrase; "Unknown" for a status that it does not have.
std::string_view reason_phrase(int status);

/// A page that says what happened in one sentence: for 4xx and 5xx.
LocalResponse error_page(int status);

/// MDRequireHttps (mod_md.md section 9): `temporary` 302 or 307, else 301 or 308, by whether the
/// method is GET or HEAD. Location: https://<host>[:port]<target>; both were validated by the
/// parser.
LocalResponse https_redirect(bool temporary, std::string_view method, std::string_view host,
                             uint16_t https_port, std::string_view target);

/// The head of `response`, its empty line included. `date`: RFC 9110 form. `body_size` is what
/// Content-Length says.
void write_local_head(const LocalResponse& response, int minor, bool keep_alive, size_t body_size,
                      std::string_view date, std::string& out);

}  // namespace proxy
