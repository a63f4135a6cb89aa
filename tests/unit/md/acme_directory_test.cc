#include "md/acme_directory.h"

#include "catch.h"
#include "md/acme_json.h"

using namespace md;

namespace {

Json complete() {
    return Json{{"newNonce", "https://ca.example.net/n"},
                {"newAccount", "https://ca.example.net/a"},
                {"newOrder", "https://ca.example.net/o"},
                {"renewalInfo", "https://ca.example.net/r"},
                {"odd-one", {{"x", 1}}},
                {"meta",
                 {{"termsOfService", "https://ca.example.net/tos"},
                  {"externalAccountRequired", true},
                  {"profiles", {{"classic", "c"}, {"ShortLived", "s"}}}}}};
}
const std::string url = "https://ca.example.net/dir";

}  // namespace

TEST_CASE("A directory is read with its meta") {
    auto directory = parse_directory(url, complete().dump());
    REQUIRE(directory);
    CHECK(directory->new_order == "https://ca.example.net/o");
    CHECK(directory->terms_of_service == "https://ca.example.net/tos");
    CHECK(directory->external_account_required);
    CHECK(directory->profile("shortlived") == "ShortLived");
    CHECK_FALSE(directory->profile("other"));
}

TEST_CASE("Each required URL has to be there, a string, and https (CA-11, CA-13)") {
    for (const char* key : {"newNonce", "newAccount", "newOrder"}) {
        for (const Json& value : {Json(), Json(5), Json(""), Json::array(), Json::object(),
                                  Json("http://ca.example.net/x"), Json("ftp://x"), Json("/x"),
                                  Json("https://user@ca.example.net/"), Json("https://a b/"),
                                  Json("https://" + std::string(3000, 'a') + "/")}) {
            CAPTURE(key, value.dump().substr(0, 100));
            Json json = complete();
            json[key] = value;
            CHECK_FALSE(parse_directory(url, json.dump()));
        }
        Json json = complete();
        json.erase(key);
        CHECK_FALSE(parse_directory(url, json.dump()));
    }
}

TEST_CASE("What is no directory is refused with a reason") {
    struct Case {
        std::string body;
        const char* reason;
    };
    const std::vector<Case> cases = {
        {"", "not JSON"},
        {"<html></html>", "not JSON"},
        {"[]", "not a JSON object"},
        {"{\"new-authz\":\"https://x\"}", "obsolete"},
        {std::string(100'000, '['), "not JSON"},
        {"{\"a\":1e999}", "not JSON"},
        {"{\"a\":1,\"a\":2}", "not JSON"},
        {std::string("{\"a\":\"\0\"}", 9), "not JSON"},
        {"{\"a\":\"\xff\"}", "not JSON"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.body.substr(0, 50));
        const auto refused = parse_directory(url, one.body);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().detail.find(one.reason) != std::string::npos);
        CHECK(refused.error().detail.find(url) != std::string::npos);
    }
    Json wrong_meta = complete();
    wrong_meta["meta"] = 5;
    CHECK_FALSE(parse_directory(url, wrong_meta.dump()));
    wrong_meta["meta"] = {{"externalAccountRequired", "yes"}};
    CHECK_FALSE(parse_directory(url, wrong_meta.dump()));
}

TEST_CASE("Answers may lead to other hosts, but not to this machine or its link (CA-12)") {
    for (const char* fine : {"https://other.example/x", "https://192.0.2.1/",
                             "https://[2001:db8::1]/", "https://ca.example.net:8443/"}) {
        CAPTURE(fine);
        CHECK(url_refusal(fine, url).empty());
    }
    for (const char* local :
         {"https://localhost/", "https://LOCALHOST:1/", "https://x.localhost/",
          "https://127.0.0.1/", "https://127.9.9.9/", "https://0.0.0.0/",
          "https://169.254.169.254/latest", "https://[::1]/", "https://[fe80::1]/",
          "https://[::ffff:127.0.0.1]/", "https://[::]/"}) {
        CAPTURE(local);
        CHECK_FALSE(url_refusal(local, url).empty());
        CHECK(url_refusal(local, "https://localhost:14000/dir").empty());
    }
}
