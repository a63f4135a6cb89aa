#include "md/transport.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/text.h"

namespace md {

namespace {

constexpr size_t fields_max = 256;
constexpr size_t field_bytes_max = size_t{64} * 1024;  // of all fields together
constexpr long stall_bytes_per_second = 10;

struct ListDeleter {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using ListPtr = std::unique_ptr<curl_slist, ListDeleter>;

struct HandleDeleter {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using HandlePtr = std::unique_ptr<CURL, HandleDeleter>;

/// What the callbacks of one exchange fill.
struct Reception {
    HttpResponse response;
    size_t body_max = 0;
    size_t field_bytes = 0;
    bool too_large = false;
    bool refused_address = false;
    const std::atomic<bool>* cancelled = nullptr;
};

size_t on_body(char* data, size_t size, size_t count, void* user) noexcept {
    auto& reception = *static_cast<Reception*>(user);
    const size_t bytes = size * count;
    if (bytes > reception.body_max - reception.response.body.size()) {
        reception.too_large = true;
        return 0;
    }
    reception.response.body.append(data, bytes);
    return bytes;
}

size_t on_field(char* data, size_t size, size_t count, void* user) noexcept {
    auto& reception = *static_cast<Reception*>(user);
    const size_t bytes = size * count;
    std::string_view line(data, bytes);
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) {  // also after a 1xx or a proxy's answer to CONNECT
        reception.response.fields.clear();
        reception.field_bytes = 0;
        return bytes;
    }
    reception.field_bytes += bytes;
    if (reception.field_bytes > field_bytes_max || reception.response.fields.size() >= fields_max) {
        reception.too_large = true;
        return 0;
    }
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
        reception.response.fields.emplace_back(base::to_lower(line.substr(0, colon)),
                                               std::string(base::trim(line.substr(colon + 1))));
    }
    return bytes;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
    return static_cast<const Reception*>(user)->cancelled->load(std::memory_order_relaxed) ? 1 : 0;
}

/// Whether nobody but the machine itself and its neighbours is there: link-local, unspecified and
/// group addresses.
bool is_link_local(const sockaddr* address) {
    if (address->sa_family == AF_INET) {
        in_addr v4 = reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
        const uint32_t host = ntohl(v4.s_addr);
        return host >> 16 == 0xa9fe || host >> 24 == 0 || host >> 28 >= 0xe;
    }
    if (address->sa_family != AF_INET6) return false;
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&v6)) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        std::memcpy(&v4.sin_addr, v6.s6_addr + 12, 4);
        return is_link_local(reinterpret_cast<const sockaddr*>(&v4));
    }
    return IN6_IS_ADDR_LINKLOCAL(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6) || IN6_IS_ADDR_MULTICAST(&v6);
}

/// CURLOPT_OPENSOCKETFUNCTION: the address is known here, after the name was looked up.
curl_socket_t open_far_socket(void* user, curlsocktype, curl_sockaddr* address) noexcept {
    if (is_link_local(&address->addr)) {
        static_cast<Reception*>(user)->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/// "ca.example.org:14000" of a URL, or the socket, for messages.
std::string peer_of(const HttpRequest& request) {
    if (!request.unix_socket.empty()) return request.unix_socket;
    const std::string& url = request.url;
    const size_t start = url.find("://");
    if (start == std::string::npos) return url;
    const size_t end = url.find_first_of("/?#", start + 3);
    return url.substr(start + 3, end == std::string::npos ? end : end - start - 3);
}

class CurlTransport final : public Transport {
  public:
    explicit CurlTransport(TransportOptions options) : options_(std::move(options)) {
        static std::once_flag once;
        std::call_once(once, [] { base::check(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK); });
        handle_.reset(curl_easy_init());
        base::check(handle_ != nullptr);
    }

    Outcome<HttpResponse> exchange(const HttpRequest& request) override;
    void cancel() override { cancelled_.store(true, std::memory_order_relaxed); }

  private:
    template <typename Value>
    void set(CURLoption option, Value value) {
        base::check(curl_easy_setopt(handle_.get(), option, value) == CURLE_OK);
    }
    void set_up(const HttpRequest& request, curl_slist* fields);
    Problem failure(CURLcode code, const HttpRequest& request, const Reception& reception);

    const TransportOptions options_;
    HandlePtr handle_;
    std::atomic<bool> cancelled_{false};
    char error_[CURL_ERROR_SIZE] = {};
};

void CurlTransport::set_up(const HttpRequest& request, curl_slist* fields) {
    curl_easy_reset(handle_.get());  // keeps connections and the DNS cache
    error_[0] = '\0';
    set(CURLOPT_ERRORBUFFER, error_);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_URL, request.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    set(CURLOPT_USERAGENT, options_.user_agent.c_str());
    set(CURLOPT_HTTPHEADER, fields);
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(options_.total_timeout.count()));
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
    const base::Duration stall_timeout = request.stall_timeout.value_or(options_.stall_timeout);
    set(CURLOPT_LOW_SPEED_LIMIT, stall_bytes_per_second);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(stall_timeout.count() / 1000));
    // "" means none and keeps curl from reading http_proxy and its like (faults.md 4.7).
    set(CURLOPT_PROXY, request.unix_socket.empty() ? request.proxy.c_str() : "");
    set(CURLOPT_NOPROXY, "");
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (!request.proxy_ca_file.empty()) {
        set(CURLOPT_PROXY_CAINFO, request.proxy_ca_file.c_str());
        set(CURLOPT_PROXY_CAPATH, static_cast<const char*>(nullptr));
    }
    if (!request.ca_file.empty()) {  // instead of the system's, not beside them
        set(CURLOPT_CAINFO, request.ca_file.c_str());
        set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    }
    if (!request.unix_socket.empty()) {
        set(CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
    }
    if (request.method == "HEAD") {
        set(CURLOPT_NOBODY, 1L);
    } else if (request.method == "POST") {
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
        set(CURLOPT_POSTFIELDS, request.body.c_str());
    } else {
        base::check(request.method == "GET");
    }
}

Outcome<HttpResponse> CurlTransport::exchange(const HttpRequest& request) {
    ListPtr fields(curl_slist_append(nullptr, "Expect:"));  // no 100-continue round trip
    for (const auto& [name, value] : request.fields) {
        const std::string line = name + ": " + value;
        curl_slist* longer = curl_slist_append(fields.get(), line.c_str());
        base::check(longer != nullptr);
        (void)fields.release();  // the list that `longer` now heads
        fields.reset(longer);
    }
    Reception reception;
    reception.body_max = request.response_max;
    if (request.has_secret_response) reception.response.body.reserve(request.response_max);
    reception.cancelled = &cancelled_;
    set_up(request, fields.get());
    set(CURLOPT_WRITEFUNCTION, &on_body);
    set(CURLOPT_WRITEDATA, &reception);
    set(CURLOPT_HEADERFUNCTION, &on_field);
    set(CURLOPT_HEADERDATA, &reception);
    set(CURLOPT_NOPROGRESS, 0L);
    set(CURLOPT_XFERINFOFUNCTION, &on_progress);
    set(CURLOPT_XFERINFODATA, &reception);
    if (request.refuse_link_local && request.proxy.empty()) {
        set(CURLOPT_OPENSOCKETFUNCTION, &open_far_socket);
        set(CURLOPT_OPENSOCKETDATA, &reception);
    }

    const CURLcode code = curl_easy_perform(handle_.get());
    if (code != CURLE_OK) return failure(code, request, reception);
    long status = 0;
    (void)curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &status);  // 0 if it fails
    reception.response.status = static_cast<int>(status);
    return std::move(reception.response);
}

Problem CurlTransport::failure(CURLcode code, const HttpRequest& request,
                               const Reception& reception) {
    const std::string host = peer_of(request);
    const std::string text = error_[0] != '\0' ? error_ : curl_easy_strerror(code);
    long os_error = 0;
    (void)curl_easy_getinfo(handle_.get(), CURLINFO_OS_ERRNO, &os_error);  // 0 if it fails
    if (cancelled_.load(std::memory_order_relaxed)) {
        return make_problem(ECANCELED, fmt::format("{}: given up, the server is stopping", host));
    }
    if (reception.too_large) {
        return make_problem(
            EFBIG, fmt::format("{}: the answer is larger than {} bytes or has too many fields",
                               host, request.response_max));
    }
    if (reception.refused_address) {
        return make_problem(EACCES, fmt::format("{}: its address is a link-local or group one, and "
                                                "not connected to for a URL of somebody else's",
                                                host));
    }
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
            return make_problem(EHOSTUNREACH, fmt::format("{}: the name cannot be resolved; check "
                                                          "it and the resolver ({})",
                                                          host, text));
        case CURLE_COULDNT_RESOLVE_PROXY:
            return make_problem(EHOSTUNREACH,
                                fmt::format("the proxy {} for {} cannot be resolved ({})",
                                            request.proxy, host, text));
        case CURLE_COULDNT_CONNECT: {
            const int status = os_error != 0 ? static_cast<int>(os_error) : ECONNREFUSED;
            return make_problem(
                status, fmt::format("{}: cannot connect{}: {} ({})", host,
                                    request.proxy.empty() ? std::string()
                                                          : " (proxy " + request.proxy + ")",
                                    status_description(status), text));
        }
        case CURLE_OPERATION_TIMEDOUT:
            return make_problem(ETIMEDOUT, fmt::format("{}: no answer in time ({})", host, text));
        case CURLE_PEER_FAILED_VERIFICATION:
            return make_problem(
                EPROTO,
                fmt::format("{}: its TLS certificate is not trusted ({}); if it is a private CA, "
                            "name its root in ca_certificate_file{}; a wrong clock on this machine "
                            "can be the cause, too",
                            host, text,
                            request.ca_file.empty() ? "" : " (now " + request.ca_file + ")"));
        case CURLE_SSL_CACERT_BADFILE:
            return make_problem(
                EIO, fmt::format("the CA bundle {} cannot be read ({})", request.ca_file, text));
        case CURLE_SSL_CONNECT_ERROR:
            return make_problem(EPROTO,
                                fmt::format("{}: the TLS handshake failed ({})", host, text));
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_URL_MALFORMAT:
            return make_problem(
                EINVAL, fmt::format("{}: not an http or https URL ({})", request.url, text));
        default:
            return make_problem(ECONNABORTED, fmt::format("{}: {}", host, text));
    }
}

}  // namespace

const std::string& HttpResponse::field(std::string_view name) const {
    static const std::string none;
    for (const auto& [field_name, value] : fields) {
        if (field_name == name) return value;
    }
    return none;
}

std::unique_ptr<Transport> make_curl_transport(TransportOptions options) {
    return std::make_unique<CurlTransport>(std::move(options));
}

}  // namespace md
