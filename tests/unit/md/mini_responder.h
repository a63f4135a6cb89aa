// A CA's OCSP responder and CRL server in memory: answers and lists really signed. Tests bend it by
// hooks, by what it knows of each certificate, and by the forms below.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "md/ocsp.h"
#include "md/store_fixture.h"
#include "md/transport.h"
#include "tls/certificate.h"

namespace md::test {

/// Who signs an OCSP answer.
enum class Signer : uint8_t {
    Issuer,
    Delegate,              // has a certificate of the issuer's for it
    DelegateWithoutUsage,  // any certificate of the issuer's
    DelegateExpired,
    DelegateOfOther,  // of a CA that calls itself as the issuer does
    Foreign           // that CA itself
};
enum class NonceReply : uint8_t { Echoed, Absent, Other };

/// What the responder knows of one certificate.
struct Verdict {
    CertificateStatus status = CertificateStatus::Good;
    base::Time revoked_at = noon;
    std::string reason{};  // "keyCompromise", …; "": none is given
};

/// How OCSP answers look.
struct OcspForm {
    Signer signer = Signer::Issuer;
    NonceReply nonce = NonceReply::Echoed;
    int error = 0;  // RFC 6960 4.2.1: 3 is tryLater; then nothing else counts
    base::Duration age = std::chrono::hours{1};                           // of thisUpdate
    std::optional<base::Duration> lifetime = std::chrono::hours{24 * 7};  // nullopt: no nextUpdate
    int others_first = 0;  // answers about other certificates, all good, before ours
    bool other_serial = false;
    bool other_issuer = false;
    bool is_sha256_id = false;  // another certificate id than the one that was asked for
};

/// How CRLs look.
struct CrlForm {
    base::Duration age{0};
    std::optional<base::Duration> lifetime = std::chrono::hours{24 * 7};
    Signer signer = Signer::Issuer;  // or Foreign
    std::string point_url{};         // in an issuing distribution point, as are the next four
    bool only_ca = false;
    bool only_attributes = false;
    bool indirect = false;
    bool some_reasons = false;
    bool delta = false;
    bool unknown_critical = false;  // an extension that nobody knows
};

/// A certificate as it is served.
inline std::shared_ptr<const tls::Certificate> make_certificate(const PairOptions& options) {
    const Pair pair = make_pair(options);
    auto certificate = tls::read_certificate(pair.chain, pair.key);
    base::check(certificate.ok());
    return *certificate;
}

class MiniResponder {
  public:
    static inline const std::string ocsp_url = "http://ocsp.example.net";
    static inline const std::string crl_url = "http://crl.example.net/1.crl";

    /// `url`: where it is asked by OCSP; several responders have different ones.
    MiniResponder(base::Clock& clock, Issuer issuer, std::string url = ocsp_url);

    /// Called for each request; an answer of it replaces the responder's.
    std::function<std::optional<Outcome<HttpResponse>>(const HttpRequest&)> before;
    /// Called with each answer, which may be changed.
    std::function<void(const HttpRequest&, HttpResponse&)> after;

    std::unique_ptr<Transport> transport();
    /// GET (RFC 6960 A.1) and POST to its URL, GET of crl_url; all else is not found.
    Outcome<HttpResponse> exchange(const HttpRequest& request);
    /// The OCSPRequest of such a GET or POST, which may be no DER; nullopt: it is none.
    std::optional<tls::Der> question_of(const HttpRequest& request) const;
    /// Which certificate an OCSPRequest is about: its serial as in `verdicts`; "" if it is none.
    static std::string serial_of(std::span<const uint8_t> request);

    /// Answers an OCSPRequest in DER.
    tls::Der answer(std::span<const uint8_t> request);
    /// A CertificateList in DER of all that is revoked, with the next number.
    tls::Der make_crl();
    /// What crl_url gives from now on. Without that it gives a day's list, as CAs do.
    void publish_crl();

    // How it behaves.
    std::map<std::string, Verdict> verdicts;  // by serial, upper-case hex; all others are good
    OcspForm form;
    CrlForm crl_form;

    // What happened.
    int requests = 0;
    int ocsp_gets = 0;
    int ocsp_posts = 0;
    int crl_gets = 0;
    int crls_unchanged = 0;        // answered with 304
    std::vector<std::string> log;  // "POST http://ocsp.example.net"

  private:
    struct List {
        tls::Der der;
        base::Time published{};
        int number = 0;
    };

    /// Certificate and key of `signer`, made at first use.
    const Issuer& identity(Signer signer);
    HttpResponse serve(const HttpRequest& request);
    HttpResponse serve_crl(const HttpRequest& request);

    base::Clock& clock_;
    const std::string url_;
    std::map<Signer, Issuer> identities_;
    int crl_number_ = 0;
    std::optional<List> published_;
};

}  // namespace md::test
