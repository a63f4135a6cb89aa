#include "proxy/access_log.h"

#include <ctime>
#include <iterator>

#include "base/text.h"

namespace proxy {

namespace {

constexpr size_t logged_bytes_max = 2048;

/// Appends, with control bytes, quotes, backslashes and non-ASCII as \xNN (faults.md PR-14).
void append_escaped(std::string& out, std::string_view text) {
    const bool cut = text.size() > logged_bytes_max;
    if (cut) text = text.substr(0, logged_bytes_max);
    const bool plain = std::none_of(text.begin(), text.end(), [](char c) {
        return static_cast<uint8_t>(c) < 0x20 || static_cast<uint8_t>(c) >= 0x7f || c == '"' ||
               c == '\\';
    });
    if (plain) {
        out.append(text);
    } else {
        out.append(base::escape_for_log(text, logged_bytes_max));
    }
    if (cut) out.append("...");
}

void assign_field(std::string& out, const Field* field) {
    out.clear();
    if (field == nullptr) {
        out = "-";
    } else {
        append_escaped(out, field->value);
    }
}

/// "22/Nov/2026:05:38:12 +0000": the local offset, as httpd writes it.
std::string format_date() {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    char text[64];
    const size_t size = std::strftime(text, sizeof text, "%d/%b/%Y:%H:%M:%S %z", &local);
    return {text, size};
}

}  // namespace

void AccessLog::begin(AccessRecord& record, const RequestHead& head) {
    record.request_line.clear();
    append_escaped(record.request_line, head.method);
    record.request_line += ' ';
    append_escaped(record.request_line, head.target);
    record.request_line += head.minor == 0 ? " HTTP/1.0" : " HTTP/1.1";
    assign_field(record.referer, head.find(FieldId::Referer));
    assign_field(record.user_agent, head.find(FieldId::UserAgent));
    record.status = 0;
    record.body_bytes = 0;
}

void AccessLog::begin_bad(AccessRecord& record) {
    record.request_line = record.referer = record.user_agent = "-";
    record.status = 0;
    record.body_bytes = 0;
}

void AccessLog::end(const AccessRecord& record, std::string_view client_address, uint64_t now_ms) {
    if (now_ms >= date_until_ms_) {
        date_ = format_date();
        date_until_ms_ = now_ms + 1000;
    }
    line_.clear();
    fmt::format_to(std::back_inserter(line_), "{} - - [{}] \"{}\" {} {} \"{}\" \"{}\"",
                   client_address, date_, record.request_line, record.status, record.body_bytes,
                   record.referer, record.user_agent);
    ring_->put(line_);
    base::Log::wake();
}

}  // namespace proxy
