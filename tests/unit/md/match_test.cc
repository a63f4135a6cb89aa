#include "md/match.h"

#include "catch.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;

namespace {

using Names = std::vector<std::string>;
using Rule = MatchMessage::Rule;

ConfiguredDomain managed(Names names, bool auto_members = true) {
    static int line = 0;
    ConfiguredDomain configured;
    configured.domain.name = names.front();
    configured.domain.names = std::move(names);
    configured.domain.auto_members = auto_members;
    configured.place = fmt::format("mdfront.toml:{}", ++line);
    return configured;
}

SiteNames site(Names hosts, bool https = true) {
    return {std::move(hosts), https, false, "site.toml:1"};
}

struct Case {
    const char* what;
    std::vector<ConfiguredDomain> domains;
    std::vector<SiteNames> sites;
    MatchOptions options;
    bool starts;
    std::vector<Rule> rules;  // of the messages, in order
};

const MatchOptions by_server_name{MatchNames::ServerNames, false};

}  // namespace

TEST_CASE("Matching: mod_md's acceptance list 300 (mod_md.md, section 11)") {
    const Case cases[] = {
        {"001/002/012 domains without sites", {managed({"a.org"})}, {}, {}, true, {Rule::Unused}},
        {"003 identical domains",
         {managed({"a.org", "b.org"}), managed({"a.org", "b.org"})},
         {},
         {},
         false,
         {Rule::Overlap, Rule::Unused, Rule::Unused}},
        {"004 overlapping domains",
         {managed({"a.org", "b.org"}), managed({"b.org", "c.org"})},
         {site({"a.org"}), site({"c.org"})},
         {},
         false,
         {Rule::Overlap}},
        {"006 site with the domain's names",
         {managed({"a.org", "b.org"})},
         {site({"a.org", "b.org"})},
         {},
         true,
         {}},
        {"008 two sites sharing the names of one domain",
         {managed({"a.org", "b.org"})},
         {site({"a.org"}), site({"b.org"})},
         {},
         true,
         {}},
        {"009 a site matching two domains",
         {managed({"a.org"}), managed({"b.org"})},
         {site({"a.org", "b.org"})},
         {},
         false,
         {Rule::SeveralDomains}},
        {"009 without TLS it does not matter",
         {managed({"a.org"}), managed({"b.org"})},
         {site({"a.org", "b.org"}, false)},
         {},
         true,
         {}},
        {"010 match by another host than the first",
         {managed({"b.org"})},
         {site({"a.org", "b.org"})},
         {},
         true,
         {}},
        {"011a manual domain without an alias of its site: a warning",
         {managed({"a.org"}, false)},
         {site({"a.org", "www.a.org"})},
         {},
         true,
         {Rule::NotMember}},
        {"013 one domain for two sites",
         {managed({"a.org", "b.org"})},
         {site({"a.org"}), site({"b.org", "c.org"})},
         {},
         true,
         {}},
        {"021 manual, and the first host not covered",
         {managed({"a.org"}, false)},
         {site({"x.org", "a.org"})},
         {},
         true,
         {Rule::NotMember}},
        {"021 … without TLS: nothing to say",
         {managed({"a.org"}, false)},
         {site({"x.org", "a.org"}, false)},
         {},
         true,
         {}},
        {"028 alias clash with all names",
         {managed({"a.org"}), managed({"b.org"})},
         {site({"a.org", "b.org"}), site({"b.org"})},
         {},
         false,
         {Rule::SeveralDomains}},
        {"028 alias clash with server names",
         {managed({"a.org"}), managed({"b.org"})},
         {site({"a.org", "b.org"}), site({"b.org"})},
         by_server_name,
         true,
         {}},
        {"029 wildcard and specific domain with all names",
         {managed({"x.org", "*.x.org"}), managed({"sub.x.org"})},
         {site({"x.org"}), site({"sub.x.org"})},
         {},
         false,
         {Rule::Overlap, Rule::SeveralDomains}},
        {"029 wildcard and specific domain with server names",
         {managed({"x.org", "*.x.org"}), managed({"sub.x.org"})},
         {site({"x.org"}), site({"other.x.org"}), site({"sub.x.org"})},
         by_server_name,
         true,
         {}},
        {"029 in the opposite order too, which mod_md tells later",
         {managed({"sub.x.org"}), managed({"x.org", "*.x.org"})},
         {},
         {},
         false,
         {Rule::Overlap, Rule::Unused, Rule::Unused}},
        {"100_008 a sub-domain is no overlap",
         {managed({"x.org"}), managed({"sub.x.org"})},
         {site({"x.org"}), site({"sub.x.org"})},
         {},
         true,
         {}},
    };
    for (const Case& c : cases) {
        INFO(c.what);
        const MatchResult result = match_domains(c.domains, c.sites, c.options);
        CHECK(result.ok() == c.starts);
        std::vector<Rule> rules;
        for (const MatchMessage& message : result.messages) {
            INFO(message.text);
            rules.push_back(message.rule);
            CHECK(c.domains.at(message.index).domain.name == message.domain);
        }
        CHECK(rules == c.rules);
        CHECK(result.site_domains.size() == c.sites.size());
    }
}

TEST_CASE("Matching: of a name that thousands share each but the first is told of once") {
    std::vector<ConfiguredDomain> domains;
    for (int i = 0; i < 3000; ++i) domains.push_back(managed({fmt::format("d{}.org", i), "x.org"}));
    const MatchResult result = match_domains(domains, {}, {});
    const auto overlaps =
        std::count_if(result.messages.begin(), result.messages.end(),
                      [](const MatchMessage& message) { return message.rule == Rule::Overlap; });
    CHECK(overlaps == 2999);
}

TEST_CASE("Matching: the overlap message is about one and names the other's place") {
    const std::vector<ConfiguredDomain> domains = {managed({"a.org", "*.x.org"}),
                                                   managed({"b.org", "www.x.org"})};
    const MatchResult result = match_domains(domains, {}, {});
    REQUIRE_FALSE(result.messages.empty());
    CHECK(result.messages[0].index == 1);
    CHECK_THAT(result.messages[0].text, Catch::Matchers::StartsWith("managed domain b.org") &&
                                            Catch::Matchers::ContainsSubstring(domains[0].place) &&
                                            Catch::Matchers::ContainsSubstring("a.org") &&
                                            Catch::Matchers::ContainsSubstring("www.x.org") &&
                                            Catch::Matchers::ContainsSubstring("match_names"));
}

TEST_CASE("Matching: overlap of two domains, in both directions (mod_md.md 2.1)") {
    const auto domain = [](Names names) { return managed(std::move(names)).domain; };
    CHECK(overlap(domain({"a.org", "b.org"}), domain({"c.org", "B.org"})));
    CHECK(overlap(domain({"*.a.org"}), domain({"x.a.org"})) == "x.a.org");
    CHECK(overlap(domain({"x.a.org"}), domain({"*.a.org"})) == "x.a.org");
    CHECK(overlap(domain({"*.a.org"}), domain({"*.a.org"})));
    CHECK_FALSE(overlap(domain({"*.a.org"}), domain({"a.org", "x.y.a.org"})));
}

TEST_CASE("Matching: hosts of sites with TLS become members, in order (011b, 310_117)") {
    const std::vector<ConfiguredDomain> domains = {managed({"a.org", "*.w.org"})};
    const MatchResult result =
        match_domains(domains,
                      {site({"a.org", "Z.org.", "b.org", "x.w.org", "10.0.0.1/8", "b.org"}),
                       site({"plain.org", "a.org"}, false), site({"other.org", "not-ours.org"})},
                      {});
    CHECK(result.domains[0].names == Names{"a.org", "*.w.org", "z.org", "b.org"});
    CHECK(result.domains[0].used);
    CHECK(result.site_domains == std::vector<std::optional<size_t>>{0, 0, std::nullopt});
}

TEST_CASE("Matching: an automatic member that another domain has is told") {
    const MatchResult result =
        match_domains({managed({"a.org"}), managed({"b.org"})},
                      {site({"a.org", "alias.org"}), site({"b.org", "alias.org"})}, {});
    CHECK(result.ok());
    REQUIRE(result.messages.size() == 1);
    CHECK(result.messages[0].rule == Rule::Overlap);
    CHECK(result.messages[0].level == MatchMessage::Level::Warning);
    CHECK_THAT(result.messages[0].text, Catch::Matchers::ContainsSubstring("alias.org"));
}

TEST_CASE("Matching: a name beats a wildcard with server names, in either order") {
    for (const bool wildcard_first : {true, false}) {
        std::vector<ConfiguredDomain> domains = {managed({"*.x.org"}), managed({"sub.x.org"})};
        if (!wildcard_first) std::swap(domains[0], domains[1]);
        const MatchResult result =
            match_domains(domains, {site({"sub.x.org", "alias.org"})}, by_server_name);
        CHECK(result.ok());
        REQUIRE(result.site_domains[0]);
        CHECK(result.domains[*result.site_domains[0]].name == "sub.x.org");
    }
}

TEST_CASE("Matching: a wildcard belongs to sites by their first host only") {
    const std::vector<ConfiguredDomain> domains = {managed({"*.x.org"})};
    CHECK(match_domains(domains, {site({"a.x.org"})}, {}).site_domains[0] == 0u);
    CHECK_FALSE(match_domains(domains, {site({"a.org", "a.x.org"})}, {}).site_domains[0]);
    CHECK(match_domains({managed({"a.x.org"})}, {site({"b.org", "*.x.org"})}, {}).site_domains[0] ==
          0u);
}

TEST_CASE("Matching: the default site takes part only if told so (MDBaseServer)") {
    SiteNames base = site({"a.org"});
    base.is_default = true;
    CHECK_FALSE(match_domains({managed({"a.org"})}, {base}, {}).site_domains[0]);
    CHECK(match_domains({managed({"a.org"})}, {base}, {MatchNames::All, true}).site_domains[0] ==
          0u);
}

TEST_CASE(
    "Matching: static files must come in pairs; require-https wants TLS; always needs no site") {
    ConfiguredDomain broken = managed({"a.org"});
    broken.domain.certificate_files = {"/c.pem"};
    auto result = match_domains({broken}, {site({"a.org"})}, {});
    CHECK_FALSE(result.ok());
    CHECK(result.messages[0].rule == Rule::StaticCount);

    ConfiguredDomain https = managed({"a.org"});
    https.domain.require_https = RequireHttps::Permanent;
    result = match_domains({https}, {site({"a.org"}, false)}, {});
    CHECK(result.ok());
    REQUIRE(result.messages.size() == 1);
    CHECK(result.messages[0].rule == Rule::NoHttps);

    ConfiguredDomain always = managed({"a.org"});
    always.domain.renew_mode = RenewMode::Always;
    result = match_domains({always}, {}, {});
    CHECK(result.messages.empty());
    CHECK_FALSE(result.domains[0].used);
}

TEST_CASE("Matching: ten thousand domains are checked quickly (PR-21)") {
    std::vector<ConfiguredDomain> domains;
    for (int i = 0; i < 10'000; ++i) {
        domains.push_back(managed({fmt::format("d{}.org", i), fmt::format("www.d{}.org", i)}));
    }
    CHECK(match_domains(domains, {}, {}).ok());
}
