// Every mistake of a file is told at once, with its line, in words that say what to write instead.
#include "app/config_support.h"
#include "catch.h"

namespace {

/// A text with one mistake, and a part of what is said about it.
struct Case {
    const char* what;
    std::string text;
    std::string says;
};

bool is_told(const std::vector<std::string>& lines, const std::string& part) {
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
        return line.find(part) != std::string::npos;
    });
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
}

void check_all(const std::vector<Case>& cases) {
    for (const Case& c : cases) {
        INFO(c.what);
        const Told told = read_text(c.text);
        INFO("told:\n" << joined(told.mistakes));
        CHECK(is_told(told.mistakes, c.says));
    }
}

}  // namespace

TEST_CASE("all mistakes of a file are told in one run, with lines and what to write instead") {
    const Told told = read_text(R"(includes = ["x"]
[server]
workers = "many"
drain_timeout = 30
log_levl = "info"
[[listen]]
address = "[::1:443"
protocol = "tls"
[[listen]]
address = "*:80"
protocol = "http"
[md]
renew_window = "33"
MDWarnWindow = "10%"
renewmode = "auto"
certificate_authority = "letsencript"
contact_email = "nobody"
private_keys = ["RSA 1024", "P-999"]
must_staple = "on"
retry_failover = 0
[[md.domain]]
names = ["https://a.example.org/", "a.*.example.org"]
warn_window = "120%"
[limits]
head_timeout = "10"
request_body_max = "10 MB"
[[backend]]
name = "httpd"
servers = ["http://127.0.0.1:8080"]
[[site]]
hosts = ["a.example.org", "A.example.org."]
backend = "htpd"
[[sites]]
hosts = ["b"]
)");
    // clang-format off
    const std::vector<std::string> expected = {
        R"(m.toml:1: includes: unknown key; did you mean include?)",
        R"(m.toml:3: workers: is the text "many"; write "auto" or a number from 1 to 512)",
        R"(m.toml:4: drain_timeout: 30 has no unit; write "30s" (units: d, h, mi, s, ms))",
        R"(m.toml:5: log_levl: unknown key; did you mean log_level?)",
        R"(m.toml:7: address: "[::1:443": ']' is missing; write "127.0.0.1:443", "[::1]:443", "*:443" (all IPv4), "[::]:443" (all) or "unix:/path")",
        R"(m.toml:8: protocol: is the text "tls"; expected "http" or "https")",
        R"(m.toml:13: renew_window: "33" has no unit; write "33%" or "30d")",
        R"(m.toml:14: MDWarnWindow: unknown key; write warn_window)",
        R"(m.toml:15: renewmode: unknown key; did you mean renew_mode?)",
        R"(m.toml:16: certificate_authority: "letsencript" is no CA that is known by name; write "letsencrypt", "letsencrypt-test", "buypass" or "buypass-test", or the https URL of its directory; did you mean "letsencrypt"?)",
        R"(m.toml:17: contact_email: "nobody" is no mail address; write one, as "hostmaster@example.org")",
        R"(m.toml:18: private_keys: "RSA 1024" has 1024 bits; CAs take RSA keys of 2048 to 4096 bits)",
        R"(m.toml:18: private_keys: "P-999" is no key that can be made here; write "RSA 2048" (or more bits), or a curve: "P-256", "P-384", "P-521")",
        R"(m.toml:19: must_staple: is the text "on"; write true, without quotes)",
        R"(m.toml:20: retry_failover: 0 is out of range; expected 1 to 1000000)",
        R"(m.toml:22: names: "https://a.example.org/" is a URL; write the host name alone)",
        R"(m.toml:22: names: "a.*.example.org" has a wildcard where none can be; "*" stands alone as the first label: "*.example.org")",
        R"(m.toml:23: warn_window: "120%": percent must be less than 100; write a share of the lifetime, "33%", or a time, "30d")",
        R"(m.toml:25: head_timeout: "10" has no unit; write "10s" (units: d, h, mi, s, ms))",
        R"(m.toml:26: request_body_max: "10 MB" is no size; write a whole number and its unit without a space: "512", "16KiB", "10MiB", "1GiB")",
        R"(m.toml:29: servers: "http://127.0.0.1:8080" is a URL; backends are spoken to in plain HTTP: write "127.0.0.1:8080", "[::1]:8080", "app.internal:8080" or "unix:/path")",
        R"(m.toml:31: hosts: "a.example.org" stands here twice; remove one)",
        R"(m.toml:32: backend: there is no backend "htpd"; did you mean "httpd"?)",
        R"(m.toml:33: sites: unknown table; did you mean site?)",
    };
    // clang-format on
    CHECK(joined(told.mistakes) == joined(expected));
}

TEST_CASE("a configuration without mistakes is told none") {
    CHECK(joined(read_text(plain_site).mistakes).empty());
    CHECK(joined(read_text(managed_site).mistakes).empty());
}

TEST_CASE("what is no TOML is told with its line and the rule") {
    check_all({
        {"duplicate key", "[server]\nworkers = 1\nworkers = 2\n",
         "m.toml:3: cannot redefine existing integer 'workers'; it is first defined in line 2"},
        {"duplicate table", "[tls]\n[server]\n[tls]\n", "first defined in line 1"},
        {"unclosed text", "[server]\nuser = \"x\n", "m.toml:2: a text does not end in its line"},
        {"bare word", "[server]\nuser = x\n", "text stands in quotes"},
        {"not UTF-8", "[server]\nuser = \"\xff\"\n", "is not UTF-8"},
        {"unclosed table", "[server\nworkers = 1\n", "is not valid TOML: expected ']'"},
        {"line ends in a word", "[site]\nmanaged = t\n", "expected 'true', saw 't\\x0a'"},
        {"deep nesting", "x = " + std::string(10'000, '['), "nested"},
        {"deep tables", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s = 1", "nested deeper than"},
    });
}

TEST_CASE("tables and keys in the wrong place or form are told where they belong") {
    check_all({
        {"[listen]", "[listen]\naddress = \"*:80\"\n", "write [[listen]]"},
        {"[[server]]", "[[server]]\nworkers = 1\n",
         "server: there is one of these; write [server]"},
        {"value for a table", "tls = 1\n", "tls: is the number 1; write a table: [tls]"},
        {"key of another table", "[server]\nrenew_window = \"33%\"\n",
         "renew_window belongs in [md] or [[md.domain]]"},
        {"key before a table", "workers = 3\n", "it belongs in [server]"},
        {"CamelCase", "[md]\nrenewWindow = \"33%\"\n",
         "renewWindow: unknown key; write renew_window"},
        {"with MD", "[md]\nMDRenewViaARI = true\n", "write renew_via_ari"},
        {"md_ prefix", "[md]\nmd_renew_mode = \"auto\"\n", "write renew_mode"},
        {"old and new name", "[md]\ndrive_mode = \"auto\"\nrenew_mode = \"auto\"\n",
         "drive_mode: is another name of renew_mode, which is there too; remove it"},
        {"nothing near", "[tls]\nzzzzzzzz = 1\n",
         "[tls] has: policy, groups, certificates_decoded_max"},
        {"missing address", "[[listen]]\nprotocol = \"http\"\n",
         "m.toml:1: [[listen]] has no address"},
        {"missing names", "[[md.domain]]\nmust_staple = true\n", "[[md.domain]] has no names"},
        {"no listener", "[server]\n", "there is no [[listen]]"},
        {"no site", "[server]\n", "there is no [[site]]"},
        {"access_log as text", "[server]\naccess_log = \"/x\"\n", "write access_log = { path"},
    });
}

TEST_CASE("single values are told what a good one looks like") {
    const auto md = [](std::string line) { return "[md]\n" + line + "\n"; };
    const auto site = [](std::string hosts) {
        return "[[site]]\nhosts = [\"" + hosts + "\"]\nbackend = \"127.0.0.1:1\"\n";
    };
    const auto server = [](std::string address) {
        return "[[backend]]\nname = \"b\"\nservers = [\"" + address + "\"]\n";
    };
    const auto listen = [](std::string address) {
        return "[[listen]]\nprotocol = \"http\"\naddress = \"" + address + "\"\n";
    };
    check_all({
        {"number as text", md("retry_failover = \"5\""), "expected a number, without quotes: 5"},
        {"duration year", md("retry_delay = \"1y\""), "is no duration"},
        {"duration space", md("retry_delay = \"10 d\""), "is no duration"},
        {"duration minute", md("retry_delay = \"10m\""), "is no duration"},
        {"duration exponent", md("retry_delay = \"1e9h\""), "is no duration"},
        {"duration negative", md("initial_delay = \"-5s\""), "is negative"},
        {"duration zero", md("check_interval = \"0s\""), "out of range; expected 1s to 366d"},
        {"window number", md("renew_window = 33"), "33 has no unit; write \"33%\" or \"30d\""},
        {"window days", md("renew_window = \"4711\""), "has no unit; write \"33%\" or \"30d\""},
        {"window 100 %", md("renew_window = \"100%\""), "percent must be less than 100"},
        {"window zero", md("renew_window = \"0d\""), "is not positive"},
        {"window text", md("renew_window = \"soon\""), "unrecognized"},
        {"CA http", md("certificate_authority = \"http://ca.example/dir\""),
         "does not begin with https://"},
        {"CA no host", md("certificate_authority = \"https:///dir\""), "has no host"},
        {"CA port", md("certificate_authority = \"https://ca:0/dir\""), "no valid port"},
        {"two RSA keys", md("private_keys = [\"RSA 2048\", \"rsa4096\"]"), "is the second key"},
        {"curve twice", md("private_keys = [\"P-256\", \"p-256\"]"), "second key on this curve"},
        {"default and more", md("private_keys = [\"Default\", \"P-256\"]"), "stands alone"},
        {"agreement", md("certificate_agreement = \"yes\""), "write \"accepted\""},
        {"challenge", md("ca_challenges = [\"http\"]"), "is no challenge type"},
        {"command that is missing", md("message_cmd = \"/no/such/x a\""),
         "message_cmd: /no/such/x: No such file or directory"},
        {"command that is not found", md("notify_cmd = \"no-such-program\""),
         "notify_cmd: there is no program no-such-program in /usr/local/sbin:"},
        {"command with a relative path", md("challenge_dns01 = [\"bin/dns\"]"),
         "challenge_dns01: bin/dns is a relative path; write it from / on"},
        {"command that is no file", md("message_cmd = \"/etc\""), "/etc: Is a directory"},
        {"command that cannot be executed", md("message_cmd = \"/etc/passwd\""),
         "/etc/passwd cannot be executed"},
        {"command with an open quote", md("message_cmd = \"/bin/true 'a\""),
         "a ' is not closed; words with blanks stand in quotes"},
        {"command of nothing", md("message_cmd = \"  \""), "it names no program"},
        {"command of no words", md("message_cmd = []"), "is an empty list"},
        {"command time", md("command_timeout = \"0s\""), "command_timeout: "},
        {"dns-01 version", md("challenge_dns01_version = 3"), "expected 1 to 2"},
        {"EAB one text", md("external_account_binding = \"kid hmac\""), "one text with two words"},
        {"EAB half", md("external_account_binding = [\"kid\"]"), "a list of 1"},
        {"EAB hmac", md("external_account_binding = [\"kid\", \"a+b=\"]"), "is not base64url"},
        {"EAB variable", md("external_account_binding = [\"kid\", \"env:MDFRONT_NO_SUCH\"]"),
         "the environment has no variable"},
        {"EAB file", md("external_account_binding = \"/no/such.json\""), "cannot be read"},
        {"proxy", md("http_proxy = \"proxy:3128\""), "write \"http://proxy.example.org:3128\""},
        {"port map", md("port_map = [\"8080:80\"]"), "maps no port"},
        {"port map port", md("port_map = [\"80:70000\"]"), "maps no port"},
        {"renew mode", md("renew_mode = \"always \""), "did you mean \"always\"?"},
        {"boolean", md("stapling = 1"), "expected true or false"},
        {"name with port", site("a.example.org:443"), "has a port"},
        {"name with path", site("a.example.org/x"), "has a path"},
        {"name with space", site("a.org b.org"), "several names are a list"},
        {"name in UTF-8",
         site("b\xc3\xbc"
              "cher.example"),
         "labels that begin with xn--"},
        {"name empty label", site("a..org"), "is no DNS name"},
        {"address with port", site("192.0.2.1:443"), "has a port; write the address alone"},
        {"IPv6 with port", site("[2001:db8::1]:443"), "has a port; write the address alone"},
        {"address with zone", site("fe80::1%eth0"), "has a zone (%)"},
        {"bracketed with zone", site("[fe80::1%25eth0]"), "has a zone (%)"},
        {"network", site("192.0.2.0/24"), "is a network; write each address alone"},
        {"IPv6 network", site("2001:db8::/32"), "is a network; write each address alone"},
        {"leading zero", site("192.0.02.1"), "without leading zeros"},
        {"address too large", site("192.0.2.256"), "is no IPv4 address"},
        {"address too short", site("192.0.2"), "is no IPv4 address"},
        {"address in brackets", site("[192.0.2.1]"), "is no IPv6 address"},
        {"wildcard of addresses", site("*.0.2.1"), "no DNS name ends in a number"},
        {"IPv6 too long", site("1:2:3:4:5:6:7:8:9"), "is no IPv6 address"},
        {"IPv6 half a bracket", site("[2001:db8::1"), "is no IPv6 address"},
        {"all addresses", site("0.0.0.0"), "stands for all addresses"},
        {"all IPv6 addresses", site("[::]"), "stands for all addresses"},
        {"multicast", site("224.0.0.1"), "is a multicast address"},
        {"IPv6 multicast", site("ff02::1"), "is a multicast address"},
        {"broadcast", site("255.255.255.255"), "is a reserved address"},
        {"embedded address", site("::ffff:192.0.2.1"), "write \"192.0.2.1\""},
        {"address twice", site("2001:db8::1\", \"[2001:DB8:0::1]"), "stands here twice"},
        {"whole TLD", site("*.com"), "whole top-level domain"},
        {"lone star", site("*"), "has a wildcard where none can be"},
        {"server with path", server("127.0.0.1:80/x"), "is more than an address"},
        {"server without port", server("127.0.0.1"), "the port is missing"},
        {"server port 0", server("127.0.0.1:0"), "port 0 is no port"},
        {"server port large", server("app.internal:70000"), "is no port"},
        {"server wildcard", server("*:80"), "is no place to connect to"},
        {"server no name", server("300.1.2.3:80"), "neither an address nor a host name"},
        {"listen host name", listen("example.org:80"), "write \"127.0.0.1:443\""},
        {"listen port 0", listen("*:0"), "port 0 is no port"},
        {"listen port large", listen("*:70000"), "write \"127.0.0.1:443\""},
        {"listen relative path", listen("unix:x"), "write the whole path"},
    });
}

TEST_CASE("contradictions between keys are told with both places") {
    const std::string domain = "[[md.domain]]\n";
    check_all({
        {"address twice", plain_site + "[[listen]]\naddress = \"*:8080\"\nprotocol = \"http\"\n",
         "m.toml:10: 0.0.0.0:8080 takes the same connections as 0.0.0.0:8080 at m.toml:4"},
        {"wildcard and specific",
         plain_site + "[[listen]]\naddress = \"127.0.0.1:8080\"\nprotocol = \"http\"\n",
         "takes the same connections"},
        {"both families", plain_site + "[[listen]]\naddress = \"[::]:8080\"\nprotocol = \"http\"\n",
         "takes the same connections"},
        {"admin on the same", plain_site + "[admin]\nlisten = [\"127.0.0.1:8080\"]\n",
         "takes the same connections"},
        {"public admin", plain_site + "[admin]\nlisten = [\"*:9180\"]\n", "write public = true"},
        {"unknown user", plain_site + "[server]\nuser = \"no-such-user-x\"\n", "there is no user"},
        {"root", plain_site + "[server]\nuser = \"root\"\n", "is root"},
        {"log directory", plain_site + "[server]\naccess_log = { path = \"/no/such/log\" }\n",
         "the directory /no/such/ does not exist"},
        {"log is a directory", plain_site + "[server]\naccess_log = { path = \"/tmp\" }\n",
         "is a directory"},
        {"backend twice",
         plain_site + "[[backend]]\nname = \"b\"\nservers = [\"127.0.0.1:1\"]\n[[backend]]\nname = "
                      "\"b\"\nservers = [\"127.0.0.1:2\"]\n",
         "backend \"b\" is already defined at m.toml:10"},
        {"no such backend", plain_site + "[[site]]\nhosts = [\"x.org\"]\nbackend = \"b\"\n",
         "there is no backend \"b\""},
        {"bad address as backend",
         plain_site + "[[site]]\nhosts = [\"x.org\"]\nbackend = \"http://x/\"\n", "is a URL"},
        {"loop", plain_site + "[[site]]\nhosts = [\"x.org\"]\nbackend = \"127.0.0.1:8443\"\n",
         "requests would go in circles"},
        {"host twice",
         plain_site + "[[site]]\nhosts = [\"plain.example.org\"]\nbackend = \"127.0.0.1:1\"\n",
         "plain.example.org is already a host of the site at m.toml:8"},
        {"two defaults",
         plain_site + "default = true\n[[site]]\nhosts = [\"x.org\"]\nbackend = \"127.0.0.1:1\"\n"
                      "default = true\n",
         "is already the default"},
        {"certificate without key", plain_site + "certificate_file = \"x.pem\"\n",
         "has 1 certificate_file and 0 certificate_key_file"},
        {"managed and file",
         plain_site +
             "managed = true\ncertificate_file = \"x.pem\"\ncertificate_key_file = \"k\"\n",
         "either managed = true or certificate_file"},
        {"missing file",
         plain_site + "certificate_file = \"/no/x\"\ncertificate_key_file = \"/no/k\"\n", "/no/x"},
        {"https to nowhere",
         "[[listen]]\naddress = \"*:8080\"\nprotocol = \"http\"\n[[site]]\nhosts = [\"x.org\"]\n"
         "backend = \"127.0.0.1:1\"\nrequire_https = \"permanent\"\n",
         "has nowhere to lead"},
        {"https without certificate", plain_site + "require_https = \"temporary\"\n",
         "needs a certificate"},
        {"terms", plain_site + "managed = true\n", "write certificate_agreement = \"accepted\""},
        {"contact", plain_site + "managed = true\n", "write contact_email"},
        {"no challenge", plain_site + "managed = true\n",
         "http-01: no [[listen]] with protocol \"http\" has port 80"},
        {"overlap", managed_site + domain + "names = [\"b.org\", \"a.example.org\"]\n",
         "overlap in a.example.org"},
        {"managed wildcard", managed_site + domain + "names = [\"*.b.example.org\"]\n",
         "*.b.example.org is a wildcard, which CAs prove by dns-01 alone: there is no "
         "challenge_dns01"},
        {"managed wildcard without the challenge",
         managed_site + domain +
             "names = [\"*.b.example.org\"]\nca_challenges = [\"http-01\"]\n"
             "challenge_dns01 = \"/bin/true\"\n",
         "is a wildcard, which CAs prove by dns-01 alone: it is not in ca_challenges"},
        {"managed address without a challenge for it",
         managed_site + domain +
             "names = [\"192.0.2.1\"]\nca_challenges = [\"dns-01\"]\n"
             "challenge_dns01 = \"/bin/true\"\n",
         "192.0.2.1 is an IP address, which CAs prove by http-01 and tls-alpn-01 alone: http-01 is "
         "not in ca_challenges"},
        {"managed bare name", managed_site + domain + "names = [\"intranet\"]\n", "has no dot"},
        {"managed underscore", managed_site + domain + "names = [\"a_b.example.org\"]\n",
         "has '_'"},
        {"CA file", managed_site + "ca_certificate_file = \"/no/such.pem\"\n",
         "ca_certificate_file: /no/such.pem cannot be read"},
        {"default site is not managed",
         managed_site + domain +
             "names = [\"c.example.org\"]\n[[site]]\nhosts = "
             "[\"c.example.org\"]\nbackend = \"127.0.0.1:1\"\ndefault = true\n",
         "write base_server = true"},
    });
}

TEST_CASE("hosts of sites that become members of a domain are checked as its names are") {
    const auto with_hosts = [](const std::string& hosts, const std::string& more = "") {
        std::string text = managed_site + more;
        const std::string old = "hosts = [\"a.example.org\"]";
        return text.replace(text.find(old), old.size(), "hosts = [" + hosts + "]");
    };
    const std::string wildcard = "\"a.example.org\", \"*.a.example.org\"";
    check_all({
        {"wildcard", with_hosts(wildcard),
         "m.toml:11: *.a.example.org is a wildcard, which CAs prove by dns-01 alone: there is no "
         "challenge_dns01"},
        {"wildcard without the challenge",
         with_hosts(wildcard, "challenge_dns01 = \"/bin/true\"\nca_challenges = [\"http-01\"]\n"),
         "*.a.example.org is a wildcard, which CAs prove by dns-01 alone: it is not in "
         "ca_challenges"},
        {"no dot", with_hosts("\"a.example.org\", \"intranet\""), "intranet has no dot"},
        {"underscore", with_hosts("\"a.example.org\", \"a_b.example.org\""), "has '_' in it"},
    });
    std::string names = "\"a.example.org\"";
    for (int i = 0; i < 100; ++i) names += fmt::format(", \"n{}.example.org\"", i);
    CHECK(is_told(read_text(with_hosts(names)).mistakes, "has 101 names"));

    for (const char* more : {"challenge_dns01 = \"/bin/true\"\n", "members = \"manual\"\n",
                             "renew_mode = \"manual\"\n"}) {
        INFO(more);
        const Told told = read_text(with_hosts(wildcard, more));
        INFO(joined(told.mistakes));
        CHECK(told.mistakes.empty());
    }
    // Already said of the configured names: once is enough.
    CHECK(read_text(plain_site + "[[site]]\nhosts = [\"*.w.example.org\"]\nbackend = "
                                 "\"127.0.0.1:1\"\nmanaged = true\n[md]\ncontact_email = "
                                 "\"a@b.org\"\ncertificate_agreement = \"accepted\"\nport_map = "
                                 "[\"80:8080\"]\n")
              .mistakes.size() == 1);
}

TEST_CASE("more than 100 names in a domain and more than 100 mistakes are bounded") {
    std::string names;
    for (int i = 0; i < 101; ++i) names += fmt::format("\"n{}.example.org\", ", i);
    const Told many = read_text(managed_site + "[[md.domain]]\nnames = [" + names + "]\n");
    CHECK(is_told(many.mistakes, "has 101 names; CAs put at most 100"));

    std::string unknown = "[server]\n";
    for (int i = 0; i < 150; ++i) unknown += fmt::format("qqqqqqqq{} = 1\n", i);
    const Told cut = read_text(unknown);
    CHECK(cut.mistakes.size() == 101);
    CHECK(is_told(cut.mistakes, "more"));
}

TEST_CASE("what works and looks wrong is a warning") {
    const Told unused = read_text(managed_site + "[[md.domain]]\nnames = [\"u.example.org\"]\n");
    CHECK(unused.mistakes.empty());
    const auto lines = std::count(managed_site.begin(), managed_site.end(), '\n');
    CHECK(is_told(unused.warnings, fmt::format(":{}: managed domain u.example.org has no site with "
                                               "one of its names",
                                               lines + 1)));
    const Told window = read_text(managed_site + "renew_window = \"100d\"\n");
    CHECK(is_told(window.warnings, "renewed all the time"));
    const Told warn = read_text(managed_site + "warn_window = \"50%\"\n");
    CHECK(is_told(warn.warnings, "is longer than renew_window"));
    CHECK(is_told(read_text(plain_site).warnings, "plain.example.org has no certificate"));
}

TEST_CASE("what CAs are known to want of addresses is a warning (CF-13)") {
    const auto warnings = [](const std::string& names, const std::string& more) {
        const Told told =
            read_text(managed_site + "[[md.domain]]\nnames = [\"" + names + "\"]\n" + more);
        CHECK(told.mistakes.empty());
        return joined(told.warnings);
    };
    const std::string shortlived = "write profile = \"shortlived\"";
    const std::string local = "is an address of private networks; no public CA certifies it";
    CHECK(warnings("8.8.8.8", "").find(shortlived) != std::string::npos);
    CHECK(warnings("2606:4700::1111", "").find(shortlived) != std::string::npos);
    CHECK(warnings("8.8.8.8", "profile = \"shortlived\"\n").find(shortlived) == std::string::npos);
    CHECK(warnings("10.0.0.1", "").find(local) != std::string::npos);
    CHECK(warnings("fd00::1", "certificate_authority = \"buypass\"\n").find(local) !=
          std::string::npos);
    CHECK(warnings("8.8.8.8", "certificate_authority = \"buypass\"\n").find(shortlived) ==
          std::string::npos);
    const std::string own =
        warnings("10.0.0.1", "certificate_authority = \"https://ca.internal/dir\"\n");
    CHECK(own.find(local) == std::string::npos);
    CHECK(own.find(shortlived) == std::string::npos);
}
