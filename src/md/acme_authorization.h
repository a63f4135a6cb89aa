// Authorizations and challenges as the CA tells them (RFC 8555 7.1.4, 7.1.5).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "md/acme_client.h"

namespace md {

enum class AuthorizationStatus : uint8_t { Pending, Valid, Invalid, Deactivated, Expired, Revoked };

struct Challenge {
    std::string type;  // "http-01", …
    std::string url;
    std::string token;   // checked: base64url
    std::string status;  // "pending", "processing", "valid", "invalid"
    std::optional<Problem> error;
};

struct Authorization {
    std::string url;
    AuthorizationStatus status = AuthorizationStatus::Pending;
    std::string name;  // the DNS name, of a wildcard without "*.", or the IP address
    bool wildcard = false;
    std::vector<Challenge> challenges;  // those whose token may be used
    std::optional<base::Duration> retry_after;

    /// "*.example.org" or the name.
    std::string shown_name() const { return wildcard ? "*." + name : name; }
    /// Why it is not valid: the error of its challenge, or what its status says.
    Problem problem() const;
};

/// Reads one; it has to be for one of `names`.
Outcome<Authorization> fetch_authorization(AcmeClient& client, const std::string& url,
                                           const std::vector<std::string>& names);

/// RFC 8555 8.1: base64url. Checked before a token is used for anything (faults.md CA-27).
bool is_challenge_token(std::string_view token);

}  // namespace md
