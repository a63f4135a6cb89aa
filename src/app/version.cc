#include "app/version.h"

#include <ares.h>
#include <curl/curl.h>
#include <seccomp.h>
#include <sys/utsname.h>

#include "tls/groups.h"

namespace app {

namespace {

std::string seccomp_text() {
    const scmp_version* version = seccomp_version();
    return version == nullptr
               ? std::string("libseccomp")
               : fmt::format("libseccomp {}.{}.{}", version->major, version->minor, version->micro);
}

std::string kernel() {
    utsname name{};
    return ::uname(&name) == 0 ? std::string(name.release) : std::string("unknown");
}

/// Which groups of the key exchange there are, and which only a newer OpenSSL has.
std::string describe_groups() {
    const std::vector<std::string> offered = tls::default_groups();
    std::vector<std::string_view> more;
    std::vector<std::string_view> unknown;
    for (const std::string_view group : tls::all_groups()) {
        if (std::find(offered.begin(), offered.end(), group) != offered.end()) continue;
        (tls::is_known_group(group) ? more : unknown).push_back(group);
    }
    std::string text =
        fmt::format("key exchange   {} (default of tls.groups)\n", fmt::join(offered, ", "));
    if (!more.empty()) text += fmt::format("               {} can be set\n", fmt::join(more, ", "));
    if (!unknown.empty()) {
        text += fmt::format("               {} need another OpenSSL than {}\n",
                            fmt::join(unknown, ", "), tls::openssl_version());
    }
    return text;
}

}  // namespace

std::string describe_version(bool verbose) {
    const std::string commit =
        build_commit[0] != '\0' ? fmt::format(" (commit {})", build_commit) : std::string();
    std::string text = fmt::format("mdfront {}{}\n", MDFRONT_VERSION, commit);
    text += fmt::format("runs with      {}, libcurl {}, c-ares {}, {}\n", tls::openssl_version(),
                        curl_version_info(CURLVERSION_NOW)->version, ares_version(nullptr),
                        seccomp_text());
    text += fmt::format("built with     {}\n", built_with);
    if (!verbose) return text;
    text += fmt::format("kernel         {} (6.1 or newer is needed)\n", kernel());
    text += describe_groups();
    return text;
}

}  // namespace app
