// A reload says what it cannot change in a running process.
#include <catch2/catch.hpp>

#include "app/config_support.h"
#include "app/server.h"

TEST_CASE("a reload names what takes effect at the next start, and nothing else") {
    const auto changes = [](const std::string& before, const std::string& after) {
        const Told a = read_text(before);
        const Told b = read_text(after);
        REQUIRE(a.mistakes.empty());
        REQUIRE(b.mistakes.empty());
        return app::changes_for_next_start(a.setup, b.setup);
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
    for (const char* key : {"stapling_keep_response = \"3d\"\n", "staple_others = false\n",
                            "stapling_renew_window = \"20%\"\n", "command_timeout = \"9s\"\n"}) {
        CHECK(changes(managed_site, with_md(key)) == List{"the engine's settings in [md]"});
    }
    // In effect at once.
    CHECK(changes(managed_site, with_md("server_status = true\n")).empty());
    CHECK(changes(managed_site, with_md("certificate_check = \"none\"\n")).empty());
    CHECK(changes(managed_site, with_md("certificate_status = false\n")).size() == 1);
    CHECK(changes(managed_site, managed_site + "renew_window = \"20d\"\n") ==
          List{"what is new of the managed domain a.example.org"});
    CHECK(changes(managed_site, managed_site + "[[md.domain]]\nnames = [\"b.org\"]\n") ==
          List{"the new managed domain b.org"});
    CHECK(changes(managed_site + "[[md.domain]]\nnames = [\"b.org\"]\n", managed_site) ==
          List{"the end of the managed domain b.org"});
}
