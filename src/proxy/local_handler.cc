#include "proxy/local_handler.h"

#include "proxy/head.h"

namespace proxy {

namespace {

/// The first field of that (lower-case) name, or "".
std::string_view value_of(const RequestHead& head, std::string_view name) {
    for (const Field& field : head.fields()) {
        if (is_named(field.name, name)) return field.value;
    }
    return {};
}

}  // namespace

LocalRequest make_local_request(const RequestHead& head, bool is_unix) {
    const size_t mark = head.target.find('?');
    return {.method = head.method,
            .path = head.target.substr(0, mark),
            .query = mark == std::string_view::npos ? "" : head.target.substr(mark + 1),
            .host = head.host,
            .host_sent = head.host_sent,
            .content_type = value_of(head, "content-type"),
            .origin = value_of(head, "origin"),
            .fetch_site = value_of(head, "sec-fetch-site"),
            .is_unix = is_unix};
}

WaitingLocalRequest::WaitingLocalRequest(const LocalRequest& request)
    : method_(request.method),
      path_(request.path),
      query_(request.query),
      host_(request.host),
      host_sent_(request.host_sent),
      content_type_(request.content_type),
      origin_(request.origin),
      fetch_site_(request.fetch_site),
      is_unix_(request.is_unix) {}

LocalRequest WaitingLocalRequest::request() const {
    return {.method = method_,
            .path = path_,
            .query = query_,
            .host = host_,
            .host_sent = host_sent_,
            .content_type = content_type_,
            .origin = origin_,
            .fetch_site = fetch_site_,
            .body = body_,
            .is_unix = is_unix_};
}

}  // namespace proxy
