#include "tls/groups.h"

#include "tls/library.h"

namespace tls {

namespace {

constexpr std::string_view settable[] = {
    "X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "X25519", "X448", "P-256", "P-384",
    "P-521"};
constexpr std::string_view preferred[] = {"X25519MLKEM768", "X25519", "P-256", "P-384"};

}  // namespace

std::span<const std::string_view> all_groups() {
    return settable;
}

bool is_known_group(std::string_view group) {
    const SslCtxPtr context(SSL_CTX_new(TLS_server_method()));
    const bool is_known = context != nullptr &&
                          SSL_CTX_set1_groups_list(context.get(), std::string(group).c_str()) == 1;
    ERR_clear_error();
    return is_known;
}

std::vector<std::string> default_groups() {
    std::vector<std::string> groups;
    for (const std::string_view group : preferred) {
        if (is_known_group(group)) groups.emplace_back(group);
    }
    return groups;
}

std::string openssl_version() {
    return fmt::format("OpenSSL {}", ::OpenSSL_version(OPENSSL_VERSION_STRING));
}

}  // namespace tls
