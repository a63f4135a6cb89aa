#include "app/command/admin_client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include <cerrno>
#include <mutex>

#include "app/config/configuration_reader.h"
#include "app/config/toml_reader.h"

namespace app {

namespace {

constexpr long connect_ms_max = 5'000;
constexpr long exchange_ms_max = 30'000;
/// 10,000 domains with their certificates are about 15 MiB.
constexpr size_t answer_bytes_max = 256 * 1024 * 1024;

struct CurlDeleter {
    void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlPtr = std::unique_ptr<CURL, CurlDeleter>;
using ListPtr = std::unique_ptr<curl_slist, CurlDeleter>;

size_t take(char* bytes, size_t size, size_t count, void* into) {
    auto& body = *static_cast<std::string*>(into);
    if (body.size() + size * count > answer_bytes_max) return 0;
    body.append(bytes, size * count);
    return size * count;
}

/// What listens on all addresses is reached at this machine's own.
net::Address reachable(net::Address address) {
    const sockaddr* data = address.data();
    bool is_any = false;
    if (data->sa_family == AF_INET) {
        is_any = reinterpret_cast<const sockaddr_in*>(data)->sin_addr.s_addr == INADDR_ANY;
    } else if (data->sa_family == AF_INET6) {
        is_any = IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(data)->sin6_addr);
    }
    if (!is_any) return address;
    const char* own = data->sa_family == AF_INET ? "127.0.0.1" : "[::1]";
    return net::Address::parse(fmt::format("{}:{}", own, address.port())).value();
}

base::Result<net::Address, std::string> address_of(const std::string& config_path) {
    Mistakes unreadable;
    const Node document = read_documents(config_path, unreadable);
    if (unreadable.any()) {
        return fmt::format("{}; or name the running mdfront's admin address with --admin ADDRESS",
                           unreadable.lines().front());
    }
    Mistakes ignored;  // `mdfront check` tells them: what runs may have been started before
    const Configuration configuration = read_configuration(document, config_path, ignored);
    const std::vector<PlacedAddress>& listen = configuration.admin.listen;
    for (const PlacedAddress& one : listen) {
        if (one.address.is_unix()) return one.address;
    }
    if (!listen.empty()) return reachable(listen.front().address);
    return fmt::format(
        "{} has no [admin] listen, which this command talks to; add listen = "
        "[\"unix:/run/mdfront/admin.sock\"] to [admin] and start mdfront anew",
        config_path);
}

}  // namespace

AdminClient::Answer<AdminClient> AdminClient::open(const std::string& address,
                                                   const std::string& config_path) {
    if (address.empty()) {
        auto found = address_of(config_path);
        if (!found) return found.error();
        return AdminClient(*found);
    }
    auto parsed = net::Address::parse(address);
    if (!parsed) {
        return fmt::format("--admin {}: {}; write \"unix:/path\" or \"127.0.0.1:9180\"", address,
                           parsed.error().text);
    }
    return AdminClient(*parsed);
}

AdminClient::Answer<AdminAnswer> AdminClient::get(const std::string& path) {
    return exchange(path, nullptr);
}

AdminClient::Answer<AdminAnswer> AdminClient::post(const std::string& path,
                                                   const std::string& json) {
    return exchange(path, &json);
}

AdminClient::Answer<AdminAnswer> AdminClient::exchange(const std::string& path,
                                                       const std::string* json) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    const CurlPtr curl(curl_easy_init());
    if (!curl) return std::string("libcurl cannot be used");
    AdminAnswer answer;
    std::string url = fmt::format("http://localhost{}", path);
    if (address_.is_unix()) {
        const std::string socket = address_.text().substr(5);
        curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, socket.c_str());  // it is copied
    } else {
        url = fmt::format("http://{}{}", address_.text(), path);
    }
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT_MS, connect_ms_max);
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, exchange_ms_max);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &take);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
    ListPtr fields;
    if (json != nullptr) {
        fields.reset(curl_slist_append(nullptr, "Content-Type: application/json"));
        curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, fields.get());
        curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(json->size()));
        curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, json->c_str());
    }
    const CURLcode code = curl_easy_perform(curl.get());
    if (code != CURLE_OK) {
        long system_error = 0;
        curl_easy_getinfo(curl.get(), CURLINFO_OS_ERRNO, &system_error);
        return why_not(code == CURLE_COULDNT_CONNECT ? static_cast<int>(system_error) : 0,
                       curl_easy_strerror(code));
    }
    long status = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    answer.status = static_cast<int>(status);
    return answer;
}

std::string AdminClient::why_not(int system_error, const char* text) const {
    const std::string where = address_.text();
    switch (system_error) {
        case ENOENT:
        case ECONNREFUSED:
            return fmt::format(
                "nobody listens on {}: mdfront does not run; start it (mdfront run), or name "
                "another "
                "address with --admin ADDRESS",
                where);
        case EACCES:
        case EPERM:
            return fmt::format(
                "you may not open {}: be root, or a member of the group that owns it (ls -l tells)",
                where);
        default:
            return fmt::format("mdfront at {} does not answer: {}; is it mdfront's [admin] listen?",
                               where, text);
    }
}

std::string path_segment(const std::string& name) {
    std::string segment;
    for (const char c : name) {
        const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
        segment += is_plain
                       ? std::string(1, c)
                       : fmt::format("%{:02X}", static_cast<unsigned>(static_cast<uint8_t>(c)));
    }
    return segment;
}

}  // namespace app
