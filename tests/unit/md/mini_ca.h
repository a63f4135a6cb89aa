// A CA in memory: the states of RFC 8555, signatures checked, certificates really signed. Tests
// bend it by hooks and by the numbers below.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/clock.h"
#include "md/credentials.h"
#include "md/json.h"
#include "md/transport.h"
#include "tls/certificate.h"

struct evp_pkey_st;
struct x509_st;

namespace md::test {

struct Issuer;  // store_fixture.h

/// What has to be there; the test fails if it is not.
template <typename T>
T take(Outcome<T> outcome) {
    if (!outcome) throw std::runtime_error(outcome.error().message());
    return std::move(outcome).value();
}

/// A certificate's key as the store has it in domains/.
inline std::string key_text(const tls::Certificate& certificate) {
    const base::Secret pem = key_to_pem(certificate);
    return std::string(pem.text());
}

/// A public or private key from a JWK: EC P-256 or RSA. nullptr if it is none.
std::shared_ptr<evp_pkey_st> key_from_jwk(const Json& jwk);
/// JWS signature by ES256 or RS256.
bool verify_jws(evp_pkey_st* key, const std::string& algorithm, const std::string& input,
                std::span<const uint8_t> signature);

/// What the CA sees when it looks at a name.
class Answers {
  public:
    virtual ~Answers() = default;
    virtual std::string http01_answer(const std::string& name, const std::string& token) = 0;
    virtual std::shared_ptr<const tls::Certificate> alpn_answer(const std::string& name) = 0;
    /// The values of the TXT records at _acme-challenge.<name>.
    virtual std::set<std::string> dns01_answer(const std::string& name) = 0;
};

class MiniCa {
  public:
    static inline const std::string root = "https://ca.example.net";
    static inline const std::string directory_url = root + "/dir";

    /// `base_url`: of all its resources; several CAs have different ones.
    MiniCa(base::Clock& clock, Answers& answers, std::string base_url = root);
    ~MiniCa();

    /// Called for each request; an answer of it replaces the CA's (which does nothing then).
    std::function<std::optional<Outcome<HttpResponse>>(const HttpRequest&)> before;
    /// Called with each answer of the CA, which may be changed.
    std::function<void(const HttpRequest&, HttpResponse&)> after;

    std::unique_ptr<Transport> transport();
    Outcome<HttpResponse> exchange(const HttpRequest& request);

    std::string directory() const { return base_url_ + "/dir"; }
    /// What signs its certificates, and a MiniResponder's answers about them.
    Issuer issuer() const;

    static HttpResponse problem(int status, const std::string& type, const std::string& detail);

    // How it behaves.
    std::vector<std::string> offered{"http-01", "tls-alpn-01", "dns-01"};
    base::Duration lifetime = std::chrono::hours{24 * 90};
    base::Duration not_before_offset{0};
    int processing_polls = 1;  // how often an order is told to be processing
    int bad_nonces = 0;        // so many requests are answered with badNonce
    bool external_account_required = false;
    std::string external_account_key;  // raw HMAC key of any kid
    std::vector<std::string> profiles;
    /// RFC 9773: what is answered for a certificate's id. Without it the CA has no such service.
    std::function<HttpResponse(const std::string& id)> renewal_info;
    std::set<std::string> replaced;  // ids that an order has replaced; once is enough
    std::map<std::string, std::string> refuse_names;  // name → ACME error type when validated
    bool reuse_authorizations = true;
    std::function<std::vector<std::string>(std::vector<std::string>)> change_names;
    std::map<std::string, std::string> written_names;  // name → how the CA writes it
    bool wrong_key = false;
    bool weak_signature = false;  // SHA-1
    bool without_chain = false;
    std::string ocsp_url;                      // in its certificates; "": there is none
    std::string crl_url;                       // likewise
    std::string der_chain;                     // "yes": leaf as DER with a link up
    std::vector<std::string> alternate_roots;  // names of roots that other chains lead to
    bool only_own_key_revokes = false;         // not the account
    int verify_every = 1;                      // of so many signatures one is checked

    // What happened.
    int requests = 0;
    int accounts_made = 0;
    int keys_changed = 0;
    std::map<std::string, int> revoked;  // serial → reason
    int orders_made = 0;
    std::map<std::string, int> finalized;  // order → requests that were taken
    int certificates_made = 0;
    std::vector<std::string> log;  // "POST /new-order"
    std::string last_profile;
    std::string last_replaces;
    std::vector<uint8_t> last_csr;

    std::vector<std::string> contacts() const { return accounts_.begin()->second.contacts; }
    void forget_accounts() { accounts_.clear(); }
    void deactivate_accounts() {
        for (auto& [url, account] : accounts_) account.status = "deactivated";
    }
    void forget_orders() { orders_.clear(); }
    /// What is older than that is gone: orders, authorizations, certificates, nonces.
    void expire(base::Duration age);

  private:
    struct Account {
        std::string thumbprint;
        std::string status = "valid";
        Json jwk;
        std::vector<std::string> contacts = {};
    };
    struct Authz {
        std::string name;
        bool wildcard = false;
        std::string status = "pending";
        std::string challenge;  // the type that was asked for
        std::string token;
        std::string error;
        std::string account;
        base::Time created{};
    };
    struct Order {
        std::string account;
        std::vector<std::string> names;
        std::vector<std::string> authz;
        std::string status = "pending";
        std::string certificate;
        int polls_left = 0;
        std::vector<uint8_t> csr;
        base::Time created{};
    };

    HttpResponse answer(const HttpRequest& request);
    HttpResponse signed_request(const HttpRequest& request);
    HttpResponse new_account(const Json& payload, const Json& jwk);
    HttpResponse new_order(const Json& payload, const std::string& account);
    HttpResponse show_order(const std::string& path);
    HttpResponse show_authz(const std::string& path, int status = 200);
    HttpResponse challenge(const std::string& path);
    HttpResponse finalize(const std::string& path, const Json& payload);
    HttpResponse certificate(const std::string& path);
    HttpResponse update_account(const std::string& path, const Json& payload);
    HttpResponse change_key(const Json& payload, const std::string& kid);
    HttpResponse revoke(const Json& payload, const Json& jwk, const std::string& kid);
    std::string cross_signed(const std::string& root_name);
    Json identifier(const std::string& name) const;
    Json order_json(const std::string& path);
    void progress(Order& order);
    void validate(Authz& authz, const Account& account);
    std::string issue(const Order& order);
    std::string fresh(std::string_view kind);

    base::Clock& clock_;
    Answers& answers_;
    const std::string base_url_;
    std::shared_ptr<evp_pkey_st> ca_key_;
    std::shared_ptr<x509_st> ca_certificate_;
    int counter_ = 0;
    int signatures_ = 0;
    std::set<std::string> nonces_;
    std::map<std::string, Account> accounts_;
    std::map<std::string, Authz> authz_;
    std::map<std::string, Order> orders_;
    std::map<std::string, std::string> certificates_;
    std::map<std::string, std::string> ders_;
};

}  // namespace md::test
