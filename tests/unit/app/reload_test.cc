// A reload says what it cannot change in a running process.
#include "app/config_support.h"
#include "app/server.h"
#include "catch.h"

TEST_CASE("a reload names what takes effect at the next start, and nothing else") {
    const auto changes = [](const std::string& before, const std::string& after) {
        const Told a = read_text(before);
        const Told b = read_text(after);
        REQUIRE(a.mistakes.empty());
        REQUIRE(b.mistakes.empty());
        return app::changes_for_next_start(a.setup, b.setup, true);
    };
    using List = std::vector<std::string>;
    CHECK(changes(managed_site, managed_site).empty());
    CHECK(changes(plain_site, plain_site +
                                  "[server]\nlog_level = \"debug\"\n[limits]\nidle_timeout "
                                  "= \"5s\"\n")
              .empty());
    CHECK(changes(plain_site, plain_site + "[server]\nworkers = 7\n") == List{"server.workers"});
    CHECK(changes(plain_site, plain_site + "[tls]\npolicy = \"modern\"\n") == List{"[tls]"});
    CHECK(changes(plain_site, plain_site + "[md]\nstore_dir = \"/x\"\n") == List{"md.store_dir"});
    CHECK(changes(plain_site, plain_site + "[admin]\nlisten = [\"127.0.0.1:9180\"]\n") ==
          List{"[admin]"});
    CHECK(changes(plain_site,
                  plain_site + "[[listen]]\naddress = \"*:9443\"\nprotocol = \"https\"\n") ==
          List{"[[listen]]"});
    const auto with_md = [](const std::string& key) {
        const size_t at = managed_site.find("[md]\n");
        REQUIRE(at != std::string::npos);
        return std::string(managed_site).insert(at + 5, key);
    };
    CHECK(changes(managed_site, with_md("store_locks = true\n")) == List{"md.store_locks"});
    for (const char* key : {"stapling_keep_response = \"3d\"\n",
                            "stapling_renew_window = \"20%\"\n", "command_timeout = \"9s\"\n"}) {
        CHECK(changes(managed_site, with_md(key)) == List{"the engine's settings in [md]"});
    }
    // In effect at once.
    CHECK(changes(managed_site, with_md("server_status = true\n")).empty());
    CHECK(changes(managed_site, with_md("certificate_check = \"none\"\n")).empty());
    CHECK(changes(managed_site, with_md("certificate_status = false\n")).empty());
    CHECK(changes(managed_site, managed_site + "renew_window = \"20d\"\n").empty());
    CHECK(changes(managed_site, managed_site + "[[md.domain]]\nnames = [\"b.org\"]\n").empty());
    CHECK(changes(managed_site + "[[md.domain]]\nnames = [\"b.org\"]\n", managed_site).empty());
    // The engine is started with them when there is none yet.
    const Told before = read_text(plain_site);
    const Told after = read_text(with_md("store_dir = \"/x\"\nstore_locks = true\n"));
    CHECK(app::changes_for_next_start(before.setup, after.setup, false).empty());
}

TEST_CASE("what depends on listeners is for those that there are") {
    const std::string http_only =
        std::string(managed_site).replace(managed_site.find("\"https\""), 7, "\"http\"");
    Told now = read_text(managed_site);
    const Told running = read_text(http_only);
    REQUIRE(now.setup.engine.https_reachable);
    REQUIRE_FALSE(now.setup.domains.at(0).acme_tls_names.empty());
    app::keep_listeners(now.setup, running.setup.configuration);
    CHECK_FALSE(now.setup.engine.https_reachable);
    CHECK(now.setup.domains.at(0).acme_tls_names.empty());
    app::keep_listeners(now.setup, read_text(managed_site).setup.configuration);
    CHECK(now.setup.engine.https_reachable);
    CHECK(now.setup.domains.at(0).acme_tls_names == now.setup.domains.at(0).names);
}
