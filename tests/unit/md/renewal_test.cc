#include "md/renewal.h"

#include "catch.h"
#include "md/store_fixture.h"

using namespace md;
using namespace md::test;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

base::Duration days(int n) {
    return hours{24 * n};
}

std::shared_ptr<const tls::Certificate> certificate(base::Time from, base::Duration lifetime) {
    auto result = std::make_shared<tls::Certificate>();
    result->not_before = from;
    result->not_after = from + lifetime;
    return result;
}

Slot slot(base::Time from, base::Duration lifetime) {
    Slot result;
    result.fault = Slot::Fault::None;
    result.certificate = certificate(from, lifetime);
    return result;
}

/// Copies of them: slots are moved else, for the keys that they may have.
template <typename... Slots>
std::vector<Slot> list(const Slots&... slots) {
    std::vector<Slot> result;
    (result.push_back(slots.without_texts()), ...);
    return result;
}

}  // namespace

TEST_CASE("Renewal: when a certificate is due (mod_md.md 4.2)") {
    // 33% of 90 days: after 60.3 days.
    CHECK(renew_at(*certificate(noon, days(90)), Window{33, {}}) == noon + minutes{603 * 144});
    CHECK(renew_at(*certificate(noon, days(90)), Window{0, days(14)}) == noon + days(76));
    CHECK(renew_at(*certificate(noon, days(6)), Window{33, {}}) ==
          noon + days(6) - seconds{6 * 86400 * 33 / 100});
    // A window longer than the lifetime is always due.
    CHECK(renew_at(*certificate(noon, days(6)), Window{0, days(30)}) < noon);
}

TEST_CASE("Renewal: 502_201, days left and whether it is due") {
    struct Case {
        Window window;
        int left;
        int of;
        bool due;
    };
    const Case cases[] = {{{0, days(14)}, 15, 90, false},
                          {{0, days(14)}, 13, 90, true},
                          {{30, {}}, 60, 180, false},
                          {{30, {}}, 53, 179, true}};
    for (const Case& c : cases) {
        const auto cert = certificate(noon + days(c.left) - days(c.of), days(c.of));
        CHECK((renew_at(*cert, c.window) <= noon) == c.due);
    }
}

TEST_CASE("Renewal: a domain is due with its first slot, and at once while incomplete") {
    Domain domain;
    const Slot early = slot(noon - days(20), days(90));
    const Slot late = slot(noon, days(90));
    const base::Time due = noon - days(20) + minutes{603 * 144};
    CHECK(renew_at(domain, list(late, early), DomainState::Complete, noon) == due);
    CHECK(renew_at(domain, list(late, early), DomainState::Incomplete, noon) == noon);
    CHECK(renew_at(domain, list(late, Slot{}), DomainState::Complete, noon) == noon);
    CHECK(renew_at(domain, {}, DomainState::Complete, noon) == noon);
}

TEST_CASE("Renewal: inside the warn window (mod_md.md 4.8)") {
    Domain domain;
    const Slot fresh = slot(noon, days(90));
    CHECK_FALSE(in_warn_window(domain, list(fresh), noon + days(80)));
    CHECK(in_warn_window(domain, list(fresh), noon + days(81)));
    CHECK(in_warn_window(domain, list(fresh, slot(noon - days(85), days(90))), noon));
    CHECK_FALSE(in_warn_window(domain, list(Slot{}), noon));
}

TEST_CASE("Renewal: checks come between half and one and a half of the interval (4.3)") {
    base::SeededRandom random(3);
    base::Duration lowest = days(9);
    base::Duration highest{0};
    for (int i = 0; i < 20'000; ++i) {
        const auto delay = check_delay(hours{12}, random);
        lowest = std::min(lowest, delay);
        highest = std::max(highest, delay);
    }
    CHECK(lowest == hours{6});
    CHECK(highest == base::Duration(hours{12}) + base::Duration(hours{12}) / 256 * 127);
    for (const base::Duration interval :
         {base::Duration(seconds{1}), base::Duration{0}, base::Duration{-5}}) {
        CHECK(check_delay(interval, random) >= seconds{1});
        CHECK(check_delay(interval, random) < seconds{2});
    }
    CHECK(check_delay(days(365 * 100), random) > days(365 * 40));
}

TEST_CASE("Renewal: what is left is that of the certificate which ends first, of those not over") {
    const Slot month = slot(noon, days(30));
    const Slot week = slot(noon, days(7));
    CHECK(validity_left({}, noon) == base::Duration::zero());
    CHECK(validity_left(list(Slot{}), noon) == base::Duration::zero());
    CHECK(validity_left(list(month, week), noon) == days(7));
    CHECK(validity_left(list(week, Slot{}, month), noon + days(1)) == days(6));
    CHECK(validity_left(list(month, week), noon + days(7)) == days(23));
    CHECK(validity_left(list(month, week), noon + days(30)) == base::Duration::zero());
}

TEST_CASE("Renewal: when a new set may be used (mod_md.md 4.7)") {
    const std::vector<Slot> fresh = list(slot(noon - hours{1}, days(90)));
    const std::vector<Slot> future =
        list(slot(noon + hours{2}, days(90)), slot(noon + hours{1}, days(90)));
    const std::vector<Slot> served = list(slot(noon - days(70), days(90)));
    const auto complete = DomainState::Complete;
    CHECK(ready_at(served, complete, fresh, {}, noon) == noon);
    CHECK(ready_at(served, complete, future, {}, noon) == noon + hours{2});
    CHECK(ready_at(served, complete, fresh, days(1), noon) == noon + days(1));
    CHECK(ready_at(served, complete, fresh, days(30), noon) == noon + days(20));
    CHECK(ready_at(served, complete, fresh, days(-1), noon) == noon);
    CHECK(ready_at(served, DomainState::Incomplete, fresh, days(1), noon) == noon);
    CHECK(ready_at(list(slot(noon - days(99), days(90))), complete, fresh, days(1), noon) == noon);
    CHECK(ready_at(list(Slot{}), complete, fresh, days(1), noon) == noon);
    CHECK(ready_at({}, complete, fresh, days(1), noon) == noon);
}

TEST_CASE("Renewal: when a drive starts from nothing (mod_md.md 4.5)") {
    const TempDir dir;
    auto store = open_store(dir / "md");
    StoredDomain stored = stored_domain({"a.org"});
    const auto reason = [&](bool requested = false) {
        return staging_reset_reason(*store, stored.domain, requested, noon);
    };
    const auto set_age = [&](const char* group, seconds age) {
        std::filesystem::last_write_time(dir / fmt::format("md/{}/a.org/md.json", group),
                                         std::filesystem::file_time_type::clock::now() - age);
    };
    CHECK(reason() == "nothing is staged");
    REQUIRE(save_domain(*store, Group::Domains, stored).ok());
    REQUIRE(save_domain(*store, Group::Staging, stored).ok());
    set_age("domains", seconds{60});
    set_age("staging", seconds{30});
    CHECK(reason().empty());
    CHECK_THAT(reason(true), Catch::Matchers::ContainsSubstring("asked for"));
    set_age("domains", seconds{10});
    CHECK_THAT(reason(), Catch::Matchers::ContainsSubstring("settings changed"));
    set_age("domains", seconds{60});
    stored.domain.ca_urls.push_back("https://other.example/dir");
    CHECK_THAT(reason(), Catch::Matchers::ContainsSubstring("authorities changed"));
    write_text(dir / "md/staging/a.org/md.json", "{");
    CHECK(reason() == "nothing is staged");
}

TEST_CASE("Renewal: who is watched, and who may be renewed (mod_md.md 4.2)") {
    struct Case {
        RenewMode mode;
        bool used;
        bool is_static;
        DomainState state;
        bool watched;
        bool renewed;
    };
    const auto ok = DomainState::Complete;
    const Case cases[] = {{RenewMode::Auto, true, false, ok, true, true},
                          {RenewMode::Auto, false, false, ok, false, false},
                          {RenewMode::Auto, true, true, ok, true, false},
                          {RenewMode::Always, false, false, ok, true, true},
                          {RenewMode::Always, true, true, ok, true, true},
                          {RenewMode::Manual, true, false, ok, true, false},
                          {RenewMode::Manual, false, false, ok, true, false},
                          {RenewMode::Always, true, false, DomainState::Error, false, false}};
    for (const Case& c : cases) {
        Domain domain;
        domain.renew_mode = c.mode;
        domain.used = c.used;
        if (c.is_static) domain.certificate_files = {"/c.pem"};
        CHECK(is_watched(domain, c.state) == c.watched);
        CHECK(may_renew(domain, c.state) == c.renewed);
    }
}

TEST_CASE("Renewal: failover to the next CA (mod_md.md 4.4)") {
    const std::vector<std::string> urls = {"a", "b", "c"};
    CHECK(choose_ca(urls, "", 99, 13) == "a");
    CHECK(choose_ca(urls, "gone", 99, 13) == "a");
    CHECK(choose_ca(urls, "a", 12, 13) == "a");
    CHECK(choose_ca(urls, "a", 13, 13) == "b");
    CHECK(choose_ca(urls, "b", 14, 13) == "c");
    CHECK(choose_ca(urls, "c", 15, 13) == "a");
    CHECK(choose_ca({"a"}, "a", 99, 13) == "a");
    CHECK(choose_ca({}, "a", 0, 13).empty());
}
