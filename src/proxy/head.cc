#include "proxy/head.h"

#include <cstring>

namespace proxy {

namespace {

bool has_letters(const char* name, const char* lower, size_t size) {
    constexpr uint64_t case_bits = 0x2020202020202020;
    const auto word = [](const char* at) {
        uint64_t value;
        std::memcpy(&value, at, sizeof value);
        return value;
    };
    if (size < 8) {
        for (size_t i = 0; i < size; ++i) {
            if ((name[i] | 0x20) != lower[i]) return false;
        }
        return true;
    }
    for (size_t i = 0; i + 8 <= size; i += 8) {
        if ((word(name + i) | case_bits) != word(lower + i)) return false;
    }
    return (word(name + size - 8) | case_bits) == word(lower + size - 8);
}

struct KnownName {
    std::string_view lower;
    FieldId id = FieldId::Other;
};

constexpr KnownName known_names[] = {
    {"connection", FieldId::Connection},
    {"content-length", FieldId::ContentLength},
    {"date", FieldId::Date},
    {"expect", FieldId::Expect},
    {"forwarded", FieldId::Forwarded},
    {"host", FieldId::Host},
    {"http2-settings", FieldId::Http2Settings},
    {"keep-alive", FieldId::KeepAlive},
    {"proxy", FieldId::Proxy},
    {"proxy-authenticate", FieldId::ProxyAuthenticate},
    {"proxy-authorization", FieldId::ProxyAuthorization},
    {"proxy-connection", FieldId::ProxyConnection},
    {"server", FieldId::Server},
    {"strict-transport-security", FieldId::StrictTransportSecurity},
    {"te", FieldId::Te},
    {"trailer", FieldId::Trailer},
    {"transfer-encoding", FieldId::TransferEncoding},
    {"upgrade", FieldId::Upgrade},
    {"user-agent", FieldId::UserAgent},
    {"referer", FieldId::Referer},
    {"via", FieldId::Via},
};

// A perfect hash over length, first and last letter: one candidate per name. The factors are
// searched for by the compiler, so that a new name needs nothing but its line above.
constexpr size_t name_slots = 64;
struct NameHash {
    uint32_t by_length = 1;
    uint32_t by_first = 1;
    constexpr size_t operator()(std::string_view name) const {
        const auto letter = [](char c) { return static_cast<uint32_t>(c | 0x20) & 0x7f; };
        return (static_cast<uint32_t>(name.size()) * by_length + letter(name.front()) * by_first +
                letter(name.back())) %
               name_slots;
    }
    constexpr bool is_perfect() const {
        bool taken[name_slots] = {};
        for (const KnownName& known : known_names) {
            if (taken[(*this)(known.lower)]) return false;
            taken[(*this)(known.lower)] = true;
        }
        return true;
    }
};
constexpr NameHash name_hash = [] {
    NameHash hash;
    for (hash.by_length = 1; hash.by_length < name_slots; ++hash.by_length) {
        for (hash.by_first = 1; hash.by_first < name_slots; ++hash.by_first) {
            if (hash.is_perfect()) return hash;
        }
    }
    return NameHash{};
}();
static_assert(name_hash.is_perfect());
constexpr std::array<KnownName, name_slots> names_by_hash = [] {
    std::array<KnownName, name_slots> table{};
    for (const KnownName& known : known_names) table[name_hash(known.lower)] = known;
    return table;
}();

FieldId x_field_id(std::string_view name) {
    constexpr std::string_view prefix = "x-forwarded-";
    if (is_named(name, "x-real-ip")) return FieldId::XRealIp;
    if (name.size() < prefix.size() || !is_named(name.substr(0, prefix.size()), prefix)) {
        return FieldId::Other;
    }
    const std::string_view rest = name.substr(prefix.size());
    if (is_named(rest, "for")) return FieldId::XForwardedFor;
    if (is_named(rest, "host")) return FieldId::XForwardedHost;
    if (is_named(rest, "port")) return FieldId::XForwardedPort;
    if (is_named(rest, "proto")) return FieldId::XForwardedProto;
    if (is_named(rest, "server")) return FieldId::XForwardedServer;
    return FieldId::XForwardedOther;
}

}  // namespace

bool is_named(std::string_view name, std::string_view lower) {
    return name.size() == lower.size() && has_letters(name.data(), lower.data(), lower.size());
}

FieldId field_id(std::string_view name) {
    if (name.empty()) return FieldId::Other;
    const KnownName& candidate = names_by_hash[name_hash(name)];
    if (is_named(name, candidate.lower)) return candidate.id;
    return (name.front() | 0x20) == 'x' ? x_field_id(name) : FieldId::Other;
}

bool is_usual_name(std::string_view name) {
    static constexpr std::array<bool, 256> is_usual = [] {
        std::array<bool, 256> table{};
        for (const char c : std::string_view("-0123456789abcdefghijklmnopqrstuvwxyz"
                                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
            table[static_cast<uint8_t>(c)] = true;
        }
        return table;
    }();
    bool usual = true;  // without a branch per byte: nearly all are
    for (const char c : name) usual &= is_usual[static_cast<uint8_t>(c)];
    return usual;
}

const Field* Head::find(FieldId id) const {
    for (const Field& field : fields()) {
        if (field.id == id) return &field;
    }
    return nullptr;
}

}  // namespace proxy
