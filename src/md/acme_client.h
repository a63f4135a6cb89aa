// Requests to one CA for one drive: nonces, signatures, problem documents, Retry-After (RFC 8555
// section 6). Knows nothing of orders. One engine thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "md/acme_directory.h"
#include "md/domain.h"
#include "md/jws.h"
#include "md/transport.h"

namespace md {

class AcmeClient {
  public:
    /// faults.md CA-01: this often a request is signed anew after badNonce.
    static constexpr int bad_nonce_retries_max = 5;

    /// Proxy and trust are the domain's. What is given must outlive the client.
    AcmeClient(Transport& transport, base::Clock& clock, const Domain& domain)
        : transport_(transport), clock_(clock), domain_(domain) {}

    /// Reads the directory; has to be the first request.
    Outcome<void> open(const std::string& directory_url);
    const Directory& directory() const { return directory_; }

    /// Whose signature the following requests carry.
    void use_account(AccountKey key, std::string account_url);
    const AccountKey& key() const;

    /// Signed requests. Any answer that is not 2xx comes back as the CA's problem.
    Outcome<HttpResponse> post(const std::string& url, const std::string& payload);
    Outcome<HttpResponse> post_as_get(const std::string& url) { return post(url, ""); }
    /// Unsigned: renewal information (RFC 9773 4.1).
    Outcome<HttpResponse> get(const std::string& url);
    /// Signed by a key that the CA does not know yet: newAccount.
    Outcome<HttpResponse> post_with_jwk(const AccountKey& key, const std::string& url,
                                        const std::string& payload);

    /// What an answer's Retry-After asks for, clamped to [1 s, 1 day]; nullopt without a valid one.
    std::optional<base::Duration> retry_after(const HttpResponse& response) const;
    /// The Location field if it is a URL that may be called.
    Outcome<std::string> location(const HttpResponse& response) const;
    /// Problem if a URL of the CA must not be called (acme_directory.h).
    Outcome<void> check_url(std::string_view url) const;

    base::Clock& clock() { return clock_; }
    /// For log lines.
    const std::string& domain_name() const { return domain_.name; }

  private:
    Outcome<HttpResponse> send(HttpRequest request);
    Outcome<HttpResponse> post_signed(const AccountKey& key, const std::string& kid,
                                      const std::string& url, const std::string& payload);
    Outcome<std::string> take_nonce();
    Problem problem_of(const HttpRequest& request, const HttpResponse& response) const;

    Transport& transport_;
    base::Clock& clock_;
    const Domain& domain_;
    Directory directory_;
    std::string nonce_;  // "": none at hand
    std::optional<AccountKey> key_;
    std::string account_url_;
};

/// "120" or an HTTP date (RFC 9110 10.2.3), clamped to [1 s, 1 day]; nullopt if it is neither.
std::optional<base::Duration> parse_retry_after(std::string_view text, base::Time now);

/// The URL references of Link fields with that relation (RFC 8288).
std::vector<std::string> links(const HttpResponse& response, std::string_view relation);

/// A problem document (RFC 7807, RFC 8555 6.7), texts cut to 2 kB (faults.md CA-15); nullopt if the
/// text is none.
std::optional<Problem> parse_problem(std::string_view body);

/// "urn:ietf:params:acme:error:<name>", in either of the accepted spellings.
bool is_acme_error(const Problem& problem, std::string_view name);

}  // namespace md
