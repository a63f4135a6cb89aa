#include "md/problem.h"

#include <cerrno>
#include <cstring>

namespace md {

namespace {

// RFC 8555 6.7 types after which retrying soon cannot help (mod_md.md 4.4).
constexpr std::string_view input_related_types[] = {
    "agreementRequired",     "badCSR",
    "badSignatureAlgorithm", "externalAccountRequired",
    "invalidContact",        "invalidProfile",
    "unsupportedContact",    "malformed",
    "rejectedIdentifier",    "unsupportedIdentifier",
    "userActionRequired",    "badRevocationReason",
};

struct AprText {
    int status;
    std::string_view text;
};
// APR's own numbers that mod_md stores; everything below 20000 is an errno.
constexpr AprText apr_texts[] = {
    {20014, "Internal error (specific information not available)"},
    {70007, "The timeout specified has expired"},
    {70008, "Partial results are valid but processing is incomplete"},
    {70013, "Missing parameter for the specified command line option"},
    {70014, "End of file found"},
    {70023, "This function has not been implemented on this platform"},
};

}  // namespace

bool Problem::is_input_related() const {
    std::string_view name = type;
    // Both prefixes that mod_md accepts; the second is that of the ACME drafts.
    for (const std::string_view prefix :
         {std::string_view{"urn:ietf:params:acme:error:"}, std::string_view{"urn:acme:error:"}}) {
        if (!name.starts_with(prefix)) continue;
        name.remove_prefix(prefix.size());
        for (const std::string_view known : input_related_types) {
            if (name == known) return true;
        }
        return false;
    }
    return false;
}

std::string Problem::message() const {
    std::string text = detail.empty() ? status_description(status) : detail;
    if (!type.empty()) text += fmt::format(" ({})", type);
    for (const Subproblem& sub : subproblems) {
        text += fmt::format("; {}: {}", sub.identifier, sub.detail.empty() ? sub.type : sub.detail);
        if (!sub.detail.empty() && !sub.type.empty()) text += fmt::format(" ({})", sub.type);
    }
    return text;
}

Problem make_problem(int status, std::string detail) {
    return Problem{.status = status,
                   .type = {},
                   .detail = std::move(detail),
                   .subproblems = {},
                   .retry_after = {}};
}

int status_of_http(int status) {
    switch (status) {
        case 400:
            return EINVAL;
        case 401:
        case 403:
            return EACCES;
        case 404:
            return ENOENT;
        default:
            return 20014;  // APR_EGENERAL
    }
}

std::string status_description(int status) {
    if (status == 0) return "";
    for (const AprText& apr : apr_texts) {
        if (apr.status == status) return std::string(apr.text);
    }
    if (status < 0 || status >= 20000) return fmt::format("error {}", status);
    char buffer[256];
    // GNU's strerror_r: thread-safe, and may return a static text instead of the buffer.
    return ::strerror_r(status, buffer, sizeof buffer);
}

}  // namespace md
