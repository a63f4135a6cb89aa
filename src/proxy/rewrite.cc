#include "proxy/rewrite.h"

#include <charconv>
#include <cstring>

#include "base/result.h"

namespace proxy {

namespace {

/// Appends to a span until it is full; then everything is dropped and size() is 0.
class Writer {
  public:
    explicit Writer(std::span<uint8_t> out)
        : begin_(reinterpret_cast<char*>(out.data())), at_(begin_), end_(begin_ + out.size()) {}

    // Inlined, so that literals become a few stores.
    [[gnu::always_inline]] void put(std::string_view text) {
        if (static_cast<size_t>(end_ - at_) < text.size()) [[unlikely]] {
            end_ = at_;
            full_ = true;
            return;
        }
        if (text.empty()) return;  // of nothing there is no address to copy from
        std::memcpy(at_, text.data(), text.size());
        at_ += text.size();
    }

    void put_number(uint64_t number) {
        const auto [stop, error] = std::to_chars(at_, end_, number);
        if (error != std::errc{}) {
            end_ = at_;
            full_ = true;
            return;
        }
        at_ = stop;
    }

    size_t size() const { return full_ ? 0 : static_cast<size_t>(at_ - begin_); }

  private:
    char* begin_;
    char* at_;
    char* end_;
    bool full_ = false;
};

using Drops = std::array<bool, field_ids>;

constexpr Drops drops_of(std::initializer_list<FieldId> ids) {
    Drops drops{};
    for (const FieldId id : ids) drops[static_cast<size_t>(id)] = true;
    return drops;
}

constexpr Drops request_drops = drops_of({
    // Hop-by-hop (RFC 9110 7.6.1) and what is made anew.
    FieldId::Connection,
    FieldId::ContentLength,
    FieldId::Host,
    FieldId::Http2Settings,
    FieldId::KeepAlive,
    FieldId::ProxyAuthenticate,
    FieldId::ProxyAuthorization,
    FieldId::ProxyConnection,
    FieldId::Te,
    FieldId::Trailer,
    FieldId::TransferEncoding,
    FieldId::Upgrade,
    // Answered by us.
    FieldId::Expect,
    // Not the client's to say (H1-60).
    FieldId::Forwarded,
    FieldId::Proxy,
    FieldId::XForwardedFor,
    FieldId::XForwardedHost,
    FieldId::XForwardedOther,
    FieldId::XForwardedPort,
    FieldId::XForwardedProto,
    FieldId::XForwardedServer,
    FieldId::XRealIp,
});

constexpr Drops response_drops = drops_of({
    FieldId::Connection,
    FieldId::ContentLength,
    FieldId::KeepAlive,
    FieldId::ProxyAuthenticate,
    FieldId::ProxyConnection,
    FieldId::Te,
    FieldId::Trailer,
    FieldId::TransferEncoding,
    FieldId::Upgrade,
});

/// The lines that are kept, neighbours in one copy.
template <typename Keep>
void put_fields(std::span<const Field> fields, Writer& writer, Keep&& keep) {
    std::string_view run;
    for (const Field& field : fields) {
        if (!keep(field)) continue;
        if (run.data() + run.size() == field.line.data()) {
            run = {run.data(), run.size() + field.line.size()};
        } else {
            writer.put(run);
            run = field.line;
        }
    }
    writer.put(run);
}

/// Whether a gateway that maps the other bytes of names to one ("HTTP_X_FORWARDED_FOR") takes it
/// for one of the fields that are not the client's to say.
bool imitates(std::string_view name) {
    std::array<char, field_name_bytes_max> plain;
    if (name.size() > plain.size()) return true;  // no parser of ours lets it through
    for (size_t i = 0; i < name.size(); ++i) {
        plain[i] = is_usual_name(name.substr(i, 1)) ? name[i] : '-';
    }
    return request_drops[static_cast<size_t>(field_id({plain.data(), name.size()}))];
}

void put_via(int minor, Writer& writer) {
    writer.put(minor == 0 ? std::string_view("Via: 1.0 mdfront\r\n")
                          : std::string_view("Via: 1.1 mdfront\r\n"));
}

void put_content_length(uint64_t length, Writer& writer) {
    writer.put("Content-Length: ");
    writer.put_number(length);
    writer.put("\r\n");
}

}  // namespace

size_t write_request_head(const RequestHead& head, const ForwardInfo& info,
                          std::span<uint8_t> out) {
    base::check(head.framing != Framing::UntilClose);
    Writer writer(out);
    writer.put(head.method);
    writer.put(" ");
    writer.put(head.target);
    writer.put(" HTTP/1.1\r\nHost: ");
    writer.put(info.host_sent);
    writer.put("\r\n");
    put_fields(head.fields(), writer, [&](const Field& field) {
        if (request_drops[static_cast<size_t>(field.id)] || field.nominated) return false;
        if (!field.is_unusual) [[likely]] {
            return true;
        }
        return info.allow_unusual_field_names && !imitates(field.name);
    });
    if (!info.client_address.empty()) {
        writer.put("X-Forwarded-For: ");
        writer.put(info.client_address);
        writer.put("\r\n");
    }
    writer.put("X-Forwarded-Proto: ");
    writer.put(info.proto);
    if (!info.host_sent.empty()) {
        writer.put("\r\nX-Forwarded-Host: ");
        writer.put(info.host_sent);
    }
    writer.put("\r\nX-Forwarded-Port: ");
    writer.put_number(info.port);
    writer.put("\r\n");
    put_via(head.minor, writer);
    if (head.framing == Framing::Length) put_content_length(head.content_length, writer);
    if (head.framing == Framing::Chunked) writer.put("Transfer-Encoding: chunked\r\n");
    if (info.upgrade) {
        writer.put("Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    } else if (info.close) {
        writer.put("Connection: close\r\n\r\n");
    } else {
        writer.put("Connection: keep-alive\r\n\r\n");
    }
    return writer.size();
}

size_t write_response_head(const ResponseHead& head, const ResponseRewrite& rewrite,
                           std::span<uint8_t> out) {
    base::check(rewrite.framing != Framing::Chunked || rewrite.client_minor > 0);
    const bool interim = head.status < 200 && head.status != 101;
    Writer writer(out);
    writer.put("HTTP/1.1 ");
    writer.put_number(static_cast<uint64_t>(head.status));
    writer.put(" ");
    writer.put(head.reason);
    writer.put("\r\n");
    bool has_hsts = false;
    bool has_date = false;
    put_fields(head.fields(), writer, [&](const Field& field) {
        if (field.id == FieldId::Other) return !field.nominated;
        if (field.id == FieldId::Upgrade) return rewrite.upgrade;
        if (field.nominated || response_drops[static_cast<size_t>(field.id)]) return false;
        has_hsts |= field.id == FieldId::StrictTransportSecurity;
        has_date |= field.id == FieldId::Date;
        return true;
    });
    put_via(head.minor, writer);
    if (interim) {
        writer.put("\r\n");
        return writer.size();
    }
    if (!has_date && !rewrite.date.empty()) {
        writer.put("Date: ");
        writer.put(rewrite.date);
        writer.put("\r\n");
    }
    if (rewrite.hsts && !has_hsts) {
        writer.put("Strict-Transport-Security: max-age=15768000\r\n");
    }
    switch (rewrite.framing) {
        case Framing::None:
            if (head.declared_length) put_content_length(*head.declared_length, writer);
            break;
        case Framing::Length:
            put_content_length(rewrite.content_length, writer);
            break;
        case Framing::Chunked:
            writer.put("Transfer-Encoding: chunked\r\n");
            break;
        case Framing::UntilClose:
            break;
    }
    if (rewrite.upgrade) {
        writer.put("Connection: Upgrade\r\n");
    } else if (!rewrite.keep_alive || rewrite.framing == Framing::UntilClose) {
        writer.put("Connection: close\r\n");
    } else if (rewrite.client_minor == 0) {
        writer.put("Connection: keep-alive\r\n");
    }
    writer.put("\r\n");
    return writer.size();
}

}  // namespace proxy
