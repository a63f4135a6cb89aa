#include "tls/server_name.h"

#include "base/text.h"

namespace tls {

ServerName::ServerName(std::string_view raw) {
    if (raw.ends_with('.')) raw.remove_suffix(1);
    if (raw.empty() || raw.size() > 253) return;
    size_t label = 0;
    for (size_t i = 0; i < raw.size(); ++i) {
        const char c = base::to_lower(raw[i]);
        if (c == '.') {
            if (label == 0) return;
            label = 0;
        } else {
            const bool allowed =
                (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
            if (!allowed || ++label > 63) return;
        }
        bytes_[i + 1] = c;
    }
    if (label > 0) size_ = raw.size();
}

std::string_view ServerName::to_wildcard() {
    const size_t dot = text().find('.');
    if (dot == std::string_view::npos) return {};
    // The byte before the dot is the last one of the first label, or the spare byte: never outside.
    bytes_[dot] = '*';
    return {bytes_.data() + dot, size_ - dot + 1};
}

}  // namespace tls
