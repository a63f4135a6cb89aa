#include "proxy/client_identity.h"

#include "catch.h"

using namespace proxy;

namespace {

std::shared_ptr<const Site> site(std::vector<std::string> hosts) {
    auto result = std::make_shared<Site>();
    result->name = hosts.front();
    result->hosts = std::move(hosts);
    return result;
}

}  // namespace

TEST_CASE("TL-13: the name of the handshake and the name of the request") {
    const Routes routes(
        {site({"a.example", "www.a.example"}), site({"b.example"}), site({"default.example"}),
         site({"192.0.2.1", "four.example"}), site({"2001:db8::1"})},
        2, {});
    tls::Certificate address;
    address.names = {"192.0.2.1"};
    tls::Certificate a;
    a.names = {"a.example"};
    tls::Certificate ab;
    ab.names = {"a.example", "b.example"};
    tls::Certificate fallback;
    fallback.names = {"a.example"};
    fallback.fallback = true;

    struct Row {
        const char* what;
        std::string_view sni;
        const tls::Certificate* certificate;
        std::string_view host;
        Admission expected;
    };
    const Row rows[] = {
        {"same name", "a.example", &a, "a.example", Admission::Served},
        {"same site, name not in the certificate yet", "a.example", &a, "www.a.example",
         Admission::Served},
        {"another tenant", "a.example", &a, "b.example", Admission::Misdirected},
        {"another site, certificate covers it", "a.example", &ab, "b.example", Admission::Served},
        {"no SNI, default site", "", &a, "default.example", Admission::Served},
        {"no SNI, unknown host is the default site's", "", &a, "192.0.2.7", Admission::Served},
        {"the address that was connected to", "192.0.2.1", &address, "192.0.2.1",
         Admission::Served},
        {"a name of the address's site", "192.0.2.1", &address, "four.example", Admission::Served},
        {"another address", "192.0.2.1", &address, "2001:db8::1", Admission::Misdirected},
        {"a name of another site", "192.0.2.1", &address, "a.example", Admission::Misdirected},
        {"the default site's name at an address", "192.0.2.1", &address, "default.example",
         Admission::Misdirected},
        {"no SNI, an address of another site", "", &a, "192.0.2.1", Admission::Misdirected},
        {"no SNI behind NAT, the default certificate is for the address", "", &address, "192.0.2.1",
         Admission::Served},
        {"an address by a name of another site", "a.example", &a, "192.0.2.1",
         Admission::Misdirected},
        {"no SNI, another site", "", &a, "b.example", Admission::Misdirected},
        {"known name, unknown host", "a.example", &a, "nobody.example", Admission::Misdirected},
        {"TL-12: fallback certificate", "a.example", &fallback, "a.example", Admission::NotReady},
        {"fallback of one tenant does not speak for another", "a.example", &fallback, "b.example",
         Admission::Misdirected},
    };
    for (const Row& row : rows) {
        INFO(row.what);
        tls::SessionInfo session;
        session.server_name = row.sni;
        session.certificate = row.certificate;
        CHECK(admit(session, row.host, routes.find(row.host), routes) == row.expected);
    }
}
