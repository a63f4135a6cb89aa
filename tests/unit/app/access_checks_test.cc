// What root can open and `server.user` cannot comes out before the start (and as root alone: who is
// not root goes on as itself).
#include "app/config/access_checks.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config_support.h"
#include "app/identity.h"
#include "catch.h"

namespace {

constexpr const char* user_name = "nobody";

bool is_root() {
    if (app::is_root() && app::find_user(user_name)) return true;
    WARN("not root, or there is no user \"nobody\": skipped");
    return false;
}

std::string with_user(const std::string& more) {
    return plain_site + "[server]\nuser = \"" + user_name + "\"\n" + more;
}

bool has(const std::vector<std::string>& lines, const std::string& text) {
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
        return line.find(text) != std::string::npos;
    });
}

/// A directory that the user gets into.
struct Place : TemporaryDirectory {
    Place() { REQUIRE(::chmod(path().c_str(), 0755) == 0); }
    std::string at(const std::string& name) const { return path() + "/" + name; }
    void mode(const std::string& name, mode_t mode) const {
        REQUIRE(::chmod(at(name).c_str(), mode) == 0);
    }
    void give(const std::string& name) const {
        const auto user = app::find_user(user_name);
        REQUIRE(::chown(at(name).c_str(), user->uid, user->gid) == 0);
    }
};

std::string log_at(const std::string& path) {
    return with_user("access_log = { path = \"" + path + "\" }\n");
}

}  // namespace

TEST_CASE("looking with a user's rights leaves the process its own") {
    if (!is_root()) return;
    const auto user = app::find_user(user_name);
    uid_t seen = 0;
    CHECK(app::run_as(*user, [&] { seen = ::geteuid(); }));
    CHECK(seen == user->uid);
    CHECK(::geteuid() == 0);
    CHECK_FALSE(app::find_user("no-such-user-x"));
    CHECK_FALSE(app::user_after_start(""));
    CHECK_FALSE(app::user_after_start("root"));
    CHECK(app::user_after_start(user_name)->uid == user->uid);
}

TEST_CASE("an access log that the user cannot write is refused, though root could") {
    if (!is_root()) return;
    const Place place;
    // A file of root's.
    place.write("access.log", "");
    CHECK(has(read_text(log_at(place.at("access.log"))).mistakes,
              "cannot be written by the user nobody: Permission denied; run chown nobody on it"));
    place.give("access.log");
    CHECK(read_text(log_at(place.at("access.log"))).mistakes.empty());  // rotation is logrotate's

    // One that is missing, where root is not alone (/tmp leads there).
    CHECK(has(read_text(log_at(place.at("new.log"))).mistakes,
              "new.log cannot be made by the user nobody: Permission denied; let it have " +
                  place.path()));
    std::filesystem::create_directories(place.at("logs"));
    place.give("logs");
    const Told told = read_text(log_at(place.at("logs/new.log")));
    CHECK(told.mistakes.empty());
    CHECK_FALSE(has(told.warnings, "access_log"));

    // Behind a door that is closed to it.
    place.write("closed/access.log", "");
    place.give("closed/access.log");
    place.mode("closed", 0700);
    CHECK(has(read_text(log_at(place.at("closed/access.log"))).mistakes, "Permission denied"));
}

TEST_CASE("a log in a directory of root's is made at the start: rotation is warned of") {
    if (!is_root()) return;
    std::string base = "/mdfront-test-XXXXXX";
    if (::mkdtemp(base.data()) == nullptr) {
        WARN("nothing can be made in /: skipped");
        return;
    }
    const std::string text = log_at(base + "/access.log");
    CHECK(has(read_text(text).mistakes, "Permission denied"));  // 0700: it would not get in
    REQUIRE(::chmod(base.c_str(), 0755) == 0);
    const Told told = read_text(text);
    CHECK(told.mistakes.empty());
    CHECK(has(told.warnings, "let logrotate do that (create 0640 nobody adm)"));
    std::filesystem::remove_all(base);
}

TEST_CASE("files that only root can read are told of, for now or for reloads") {
    if (!is_root()) return;
    const Place place;
    const std::string roots = place.write("roots.pem", "x");
    const std::string key = place.write("key.pem", "x");
    const std::string program = place.write("program", "#!/bin/sh\n");
    const std::string hmac = place.write("hmac", "c2VjcmV0\n");
    place.mode("roots.pem", 0600);
    place.mode("key.pem", 0600);
    place.mode("hmac", 0600);
    place.mode("program", 0700);
    std::filesystem::create_directories(place.at("closed/md"));
    place.mode("closed", 0700);
    const std::string site =
        "[[site]]\nhosts = [\"b.example.org\"]\nbackend = \"127.0.0.1:1\"\n"
        "certificate_file = \"" +
        key + "\"\ncertificate_key_file = \"" + key + "\"\n";
    const auto keys = [&](const std::string& store) {
        std::string text = managed_site + "ca_certificate_file = \"" + roots + "\"\n" +
                           "http_proxy_ca_certificate_file = \"" + roots + "\"\n" +
                           "external_account_binding = [\"kid\", \"file:" + hmac + "\"]\n" + site +
                           "[server]\nuser = \"nobody\"\n";
        const std::string md = "[md]\n";
        text.insert(text.find(md) + md.size(),
                    "store_dir = \"" + place.at(store) + "\"\nmessage_cmd = \"" + program + "\"\n");
        return text;
    };
    const Told told = read_text(keys("closed/md"));
    CHECK(has(told.mistakes, "ca_certificate_file: " + roots + " cannot be read by the user"));
    CHECK(has(told.mistakes, "message_cmd: the user nobody runs it, and cannot"));
    CHECK(has(told.mistakes, "store_dir: " + place.at("closed/md") + " is out of reach"));
    CHECK(has(told.warnings, key + " can be read at the start, by root, and not by the user"));
    CHECK(has(told.warnings, hmac + " can be read at the start, by root, and not by the user"));
    CHECK(has(read_text(keys("closed/new/md")).mistakes, "is out of reach"));
    CHECK_FALSE(has(read_text(keys("new/way/md")).mistakes, "store_dir"));

    for (const char* name : {"roots.pem", "key.pem", "hmac"}) place.mode(name, 0644);
    place.mode("program", 0755);
    place.mode("closed", 0711);
    const Told good = read_text(keys("closed/md"));
    CHECK_FALSE(has(good.mistakes, "user nobody"));
    CHECK_FALSE(has(good.warnings, "user nobody"));
}
