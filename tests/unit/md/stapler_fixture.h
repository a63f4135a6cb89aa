// What the tests of the stapler share: one with a responder in memory, and all that it tells.
#pragma once

#include <cerrno>

#include "base/text.h"
#include "catch.h"
#include "md/acme_fixture.h"
#include "md/json.h"
#include "md/mini_responder.h"
#include "md/stapler.h"

namespace md::test::stapling {

constexpr std::chrono::hours day{24};
inline const std::string name = "a.example";

using CertificatePtr = std::shared_ptr<const tls::Certificate>;

struct FakeStaplePort final : StaplePort {
    void staples_changed(const std::string& domain,
                         const std::vector<CertificatePtr>& certificates) override {
        for (const auto& one : certificates) changes.push_back(domain + " " + one->serial);
    }
    std::vector<std::string> changes;
};

struct FakeListener final : StaplerListener {
    void on_revoked(const std::string& domain, const RevokedCertificate& one) override {
        revoked.push_back(fmt::format("{} {} {}", domain, one.serial, one.reason));
    }
    void on_staple_report(const std::string& domain) override { reports.push_back(domain); }
    std::vector<std::string> revoked;
    std::vector<std::string> reports;
};

struct CertificateOptions {
    uint8_t serial = 1;
    bool ocsp = true;
    bool crl = false;
    bool must_staple = false;
    std::string ocsp_url = MiniResponder::ocsp_url;
    const Issuer* issuer = nullptr;  // null: the bench's
};

/// A stapler with everything around it. restart() is the next process.
struct Bench {
    explicit Bench(bool stapling = true) {
        domain.name = name;
        domain.names = {name};
        domain.stapling = stapling;
        restart();
    }

    void restart() {
        stapler.reset();
        stapler = std::make_unique<Stapler>(
            settings, store, clock, random, [this] { return responder.transport(); }, port,
            commands);
        stapler->set_listener(&listener);
    }
    CertificatePtr make(const CertificateOptions& options = {}) {
        return make_certificate(
            {.names = {name},
             .must_staple = options.must_staple,
             .serial = {0x10, options.serial},
             .ocsp_url = options.ocsp ? options.ocsp_url : "",
             .crl_points = options.crl ? std::vector<CrlPoint>{{{MiniResponder::crl_url}}}
                                       : std::vector<CrlPoint>{},
             .issuer = options.issuer != nullptr ? options.issuer : &issuer});
    }
    size_t run() { return stapler->run_due(); }
    void watch(const std::vector<CertificatePtr>& certificates) {
        stapler->watch(domain, certificates);
    }
    /// Moves to each due time and asks, until `duration` is over.
    void live(base::Duration duration) {
        live_through(
            clock, duration, [this] { run(); }, [this] { return stapler->next_due(); });
    }
    base::Duration until_due() {
        const auto next = stapler->next_due();
        REQUIRE(next);
        return *next - clock.now();
    }
    bool has_staple(const CertificatePtr& certificate) {
        return stapler->staple_of(*certificate) != nullptr;
    }
    /// Nobody is there.
    void cut() { responder.before = refuse_connection; }
    void mend() { responder.before = nullptr; }
    /// It says 503, and when to come again.
    void push_away(const std::string& retry_after) {
        responder.before = [retry_after](const HttpRequest&) {
            HttpResponse response;
            response.status = 503;
            response.fields = {{"retry-after", retry_after}};
            return std::optional<Outcome<HttpResponse>>(response);
        };
    }
    void revoke(const CertificatePtr& certificate, const std::string& reason = "keyCompromise") {
        responder.verdicts[certificate->serial] = {
            .status = CertificateStatus::Revoked, .revoked_at = clock.now(), .reason = reason};
    }
    Job job(const std::string& owner = name) {
        auto found = take(load_job(store, Group::Ocsp, owner, clock.now()));
        REQUIRE(found);
        return *found;
    }
    std::string stored(const CertificatePtr& certificate) {
        return take(store.load(Group::Ocsp, name, staple_file(*certificate))).value_or("");
    }
    void store_answer(const CertificatePtr& certificate, const std::string& text) {
        REQUIRE(store.save(Group::Ocsp, name, staple_file(*certificate), text));
    }
    std::string status(const CertificatePtr& certificate) {
        const auto report = stapler->report(*certificate);
        return report ? report->status : "none";
    }

    FakeClock clock{noon};
    MemoryStore store{clock};
    Issuer issuer = make_issuer();
    MiniResponder responder{clock, issuer};
    EngineSettings settings;
    base::SeededRandom random{11};
    FakeCommands commands;
    FakeStaplePort port;
    FakeListener listener;
    Domain domain;
    std::unique_ptr<Stapler> stapler;
};

}  // namespace md::test::stapling
