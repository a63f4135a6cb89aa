// Between the engine and the workers: turns what the engine publishes into snapshots, and returns
// only when every worker has taken them (design.md, section 7). Also holds the certificates that
// come from files, and knows which name has whose.
//
// Any thread. One mutex guards the books; nobody holds it while waiting for workers.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "app/broadcast.h"
#include "app/setup.h"
#include "md/ports.h"
#include "proxy/worker.h"

namespace app {

class Bridge final : public md::ChallengePort, public md::CertificatePort, public md::StaplePort {
  public:
    /// How long a worker may take to see a new snapshot before we go on without it.
    static constexpr std::chrono::seconds settle_limit{5};

    /// `snapshots` must outlive the bridge.
    explicit Bridge(proxy::Snapshots& snapshots,
                    base::Duration limit = base::Duration{settle_limit});

    /// Where the staples of certificates are, from now on; null: nowhere. Asked with the mutex.
    void set_staples(md::StapleSource* staples);

    /// Certificates from files, hosts of domains' sites, and the default site; at the start and at
    /// each reload. What domains have published stays. A name that a domain is to serve keeps what
    /// it had until that domain publishes, and as long as what it publishes is not for that name.
    void configure(const Setup& setup);
    /// Who has to acknowledge from now on; none before they run and when they are about to end.
    void set_workers(std::vector<Post> workers);

    void publish_http01(const std::string& name, const std::string& token,
                        const std::string& key_authorization) override;
    void withdraw_http01(const std::string& name, const std::string& token) override;
    void publish_alpn(const std::string& name,
                      std::shared_ptr<const tls::Certificate> certificate) override;
    void withdraw_alpn(const std::string& name) override;
    void publish(const std::string& domain, const std::vector<std::string>& names,
                 std::vector<std::shared_ptr<const tls::Certificate>> certificates) override;
    void publish_status(const std::string& domain, const std::vector<std::string>& names,
                        std::string json) override;
    void staples_changed(
        const std::string& domain,
        const std::vector<std::shared_ptr<const tls::Certificate>>& certificates) override;

  private:
    /// What a domain serves, and under which names.
    struct Served {
        std::vector<std::string> names;  // as configured, without the hosts of its sites
        tls::CertificateSetPtr set;
    };

    struct StatusPage {
        std::vector<std::string> names;  // as configured
        std::shared_ptr<const std::string> body;
    };

    void settle(std::string_view what);
    /// The same certificates with the staples that they have now; `set` itself if it has them.
    tls::CertificateSetPtr with_staples(const tls::CertificateSetPtr& set) const;
    /// The names under which `domain` answers: its own and its sites' hosts, without those that
    /// belong to a static site or to another domain's site.
    std::set<std::string> names_of(const std::string& domain,
                                   const std::vector<std::string>& names) const;
    /// What `name` is served if its domain has `set`: that, or what there was if that alone is
    /// for the name. Another domain or a file may have had it before the domain has a certificate.
    static tls::CertificateSetPtr better(const tls::CertificateIndex& index,
                                         const std::string& name,
                                         const tls::CertificateSetPtr& set);
    /// Builds the whole index from the books and publishes it.
    void publish_index();
    /// Where the page of `domain` is found.
    std::set<std::string> status_hosts(const std::string& domain,
                                       const std::vector<std::string>& names) const;
    /// Builds all certificate-status pages anew.
    void publish_status_pages();
    std::shared_ptr<const tls::CertificateIndex> with_default(
        std::shared_ptr<const tls::CertificateIndex> index) const;

    proxy::Snapshots& snapshots_;
    const base::Duration limit_;

    std::mutex mutex_;
    md::StapleSource* staples_ = nullptr;
    std::vector<Post> workers_;
    std::vector<StaticCertificates> statics_;
    std::set<std::string> static_names_;
    std::map<std::string, std::string> host_domains_;               // host of a site → its domain
    std::map<std::string, std::vector<std::string>> domain_hosts_;  // and back
    std::vector<std::string> default_hosts_;
    std::map<std::string, std::string> wanted_;  // host of a site, or name of a domain → the domain
    std::map<std::string, Served> served_;       // by domain
    std::map<std::string, std::string> owners_;  // name in the index, not of a file → its domain
    std::map<std::string, StatusPage> status_;   // by domain
};

}  // namespace app
