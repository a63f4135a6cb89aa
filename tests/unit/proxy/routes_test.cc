#include "proxy/routes.h"

#include "catch.h"

using namespace proxy;

namespace {

std::shared_ptr<const Site> site(std::vector<std::string> hosts) {
    auto result = std::make_shared<Site>();
    result->name = hosts.front();
    result->hosts = std::move(hosts);
    result->backend = std::make_shared<Backend>();
    return result;
}

std::string found(const Routes& routes, std::string_view host) {
    const Site* match = routes.find(host);
    return match == nullptr ? "" : match->name;
}

}  // namespace

TEST_CASE("hosts are found exactly, then by a one-label wildcard, then by default") {
    const std::vector<std::shared_ptr<const Site>> sites = {
        site({"a.example", "www.a.example"}), site({"*.b.example"}), site({"x.b.example"})};
    const Routes without(sites, -1, {});
    CHECK(found(without, "a.example") == "a.example");
    CHECK(found(without, "www.a.example") == "a.example");
    CHECK(found(without, "y.b.example") == "*.b.example");
    CHECK(found(without, "x.b.example") == "x.b.example");
    CHECK(found(without, "b.example") == "");
    CHECK(found(without, "z.y.b.example") == "");
    CHECK(found(without, ".b.example") == "");
    CHECK(found(without, "") == "");
    CHECK(found(without, std::string(4000, 'a') + ".b.example") == "*.b.example");

    const Routes with(sites, 0, {});
    CHECK(found(with, "nobody.example") == "a.example");
    CHECK(found(with, "y.b.example") == "*.b.example");
}

TEST_CASE("certificate status is found by host and wildcard") {
    CertificateStatusAnswers answers;
    answers.by_host =
        answers.by_host.with_all({{"a.example", std::make_shared<const std::string>("A")},
                                  {"*.b.example", std::make_shared<const std::string>("B")}});
    REQUIRE(answers.find("a.example"));
    CHECK(*answers.find("a.example") == "A");
    REQUIRE(answers.find("x.b.example"));
    CHECK(*answers.find("x.b.example") == "B");
    CHECK_FALSE(answers.find("b.example"));
    CHECK_FALSE(answers.find("c.example"));
    CHECK_FALSE(answers.find(""));
}
