#include "proxy/responder.h"

#include <iterator>

#include "base/ip_address.h"
#include "base/text.h"

namespace proxy {

std::string_view reason_phrase(int status) {
    switch (status) {
        case 100:
            return "Continue";
        case 200:
            return "OK";
        case 204:
            return "No Content";
        case 301:
            return "Moved Permanently";
        case 302:
            return "Found";
        case 303:
            return "See Other";
        case 304:
            return "Not Modified";
        case 307:
            return "Temporary Redirect";
        case 308:
            return "Permanent Redirect";
        case 400:
            return "Bad Request";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 411:
            return "Length Required";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 417:
            return "Expectation Failed";
        case 421:
            return "Misdirected Request";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "Unknown";
    }
}

namespace {

std::string_view explanation(int status) {
    switch (status) {
        case 400:
            return "The request could not be understood.";
        case 404:
            return "There is nothing here under that name.";
        case 405:
            return "This method is not allowed here.";
        case 408:
            return "The request did not arrive in time.";
        case 413:
            return "The request is larger than this server accepts.";
        case 414:
            return "The address is longer than this server accepts.";
        case 417:
            return "The expectation in the request cannot be met.";
        case 421:
            return "This connection is not for that host. A new connection will reach it.";
        case 431:
            return "The header fields are larger than this server accepts.";
        case 501:
            return "This server cannot do what was asked.";
        case 502:
            return "The server behind this one gave no usable answer.";
        case 503:
            return "The service is not ready. Please try again in a moment.";
        case 504:
            return "The server behind this one did not answer in time.";
        case 505:
            return "This version of HTTP is not spoken here.";
        default:
            return "Something went wrong.";
    }
}

}  // namespace

LocalResponse error_page(int status) {
    LocalResponse response;
    response.status = status;
    response.content_type = "text/html; charset=utf-8";
    response.body = fmt::format(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0} {1}</title>\n"
        "<meta name=\"viewport\" content=\"width=device-width\">\n"
        "<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto;"
        "padding:0 1rem;color:#222}}h1{{font-size:1.4rem}}@media(prefers-color-scheme:dark)"
        "{{body{{background:#181818;color:#ddd}}}}</style></head>\n"
        "<body><h1>{0} {1}</h1><p>{2}</p></body></html>\n",
        status, reason_phrase(status), explanation(status));
    if (status == 405)
        response.fields.emplace_back("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS");
    if (status == 503) response.fields.emplace_back("Retry-After", "10");
    return response;
}

LocalResponse https_redirect(bool temporary, std::string_view method, std::string_view host,
                             uint16_t https_port, std::string_view target) {
    const bool safe = method == "GET" || method == "HEAD";
    LocalResponse response;
    response.status = temporary ? (safe ? 302 : 307) : (safe ? 301 : 308);
    response.content_type = "text/html; charset=utf-8";
    std::string location = fmt::format("https://{}", base::url_host(host));
    if (https_port != 443) fmt::format_to(std::back_inserter(location), ":{}", https_port);
    location += target == "*" ? "/" : target;
    response.body =
        fmt::format("<!doctype html>\n<title>{0} {1}</title>\n<a href=\"{2}\">{1}</a>\n",
                    response.status, reason_phrase(response.status), base::escape_html(location));
    response.fields.emplace_back("Location", std::move(location));
    return response;
}

void write_local_head(const LocalResponse& response, int minor, bool keep_alive, size_t body_size,
                      std::string_view date, std::string& out) {
    auto end = std::back_inserter(out);
    fmt::format_to(end, "HTTP/1.1 {} {}\r\nDate: {}\r\nServer: mdfront\r\n", response.status,
                   reason_phrase(response.status), date);
    if (!response.content_type.empty()) {
        fmt::format_to(end, "Content-Type: {}\r\n", response.content_type);
    }
    for (const auto& [name, value] : response.fields) {
        fmt::format_to(end, "{}: {}\r\n", name, value);
    }
    fmt::format_to(end, "Content-Length: {}\r\n", body_size);
    if (!keep_alive) {
        out += "Connection: close\r\n";
    } else if (minor == 0) {
        out += "Connection: keep-alive\r\n";
    }
    out += "\r\n";
}

}  // namespace proxy
