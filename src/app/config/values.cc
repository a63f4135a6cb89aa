#include "app/config/values.h"

#include <set>

#include "base/ip_address.h"
#include "base/text.h"
#include "tls/groups.h"

namespace app::values {

namespace {

std::string in_quotes(std::string_view text) {
    return fmt::format("\"{}\"", base::escape_for_log(text, 100));
}

bool has_control(std::string_view text) {
    return std::any_of(text.begin(), text.end(),
                       [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; });
}

std::optional<std::string> text_of(const Node& node, Reading& reading, std::string_view expected) {
    if (node.kind != Node::Kind::Text) {
        return reading.wrong(node.place, "is {}; expected {}", node.described(), expected);
    }
    if (node.text.empty()) {
        return reading.wrong(node.place, "is empty; expected {}", expected);
    }
    if (has_control(node.text)) {
        return reading.wrong(node.place, "{} has a control character in it", in_quotes(node.text));
    }
    return node.text;
}

/// The items of a list, or the value itself; those of a plain list stand where the key stands, or
/// on lines of their own.
std::vector<const Node*> items_of(const Node& node) {
    std::vector<const Node*> items;
    if (node.kind == Node::Kind::List) {
        for (const Node& item : node.items) items.push_back(&item);
    } else {
        items.push_back(&node);
    }
    return items;
}

bool is_empty_list(const Node& node, Reading& reading) {
    if (node.kind != Node::Kind::List || !node.items.empty()) return false;
    (void)reading.wrong(node.place, "is an empty list; leave the key out, or name something");
    return true;
}

bool looks_like_number(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Why a text that seems to be meant for an IP address is none; "" if it is meant for something
/// else.
std::string why_no_address(std::string_view text) {
    const size_t colon = text.find(':');
    const bool is_ipv6 = text.starts_with('[') || colon != text.rfind(':');
    if (is_ipv6 && text.find('%') != std::string_view::npos) {
        return "has a zone (%), which means something on one machine alone; write the address "
               "without it";
    }
    const size_t end =
        std::min(text.find_first_of("]:/", is_ipv6 ? text.find(']') : 0), text.size());
    const std::string_view rest = text.substr(end);
    if (rest.starts_with("]:") || (!is_ipv6 && rest.starts_with(':'))) {
        return base::is_ip_address(text.substr(is_ipv6 ? 1 : 0, end - (is_ipv6 ? 1 : 0)))
                   ? "has a port; write the address alone"
                   : "";
    }
    if (const size_t slash = text.find('/');
        slash != std::string_view::npos && base::is_ip_address(text.substr(0, slash))) {
        return "is a network; write each address alone";
    }
    if (is_ipv6) {
        return "is no IPv6 address; it has up to eight groups of hexadecimal digits: "
               "\"2001:db8::1\"";
    }
    if (looks_like_number(text.substr(text.rfind('.') + 1))) {
        return "is no IPv4 address, which has four numbers from 0 to 255 without leading zeros; no "
               "DNS name ends in a number";
    }
    return "";
}

/// Why nobody can connect to an address; "" if somebody can.
std::string why_no_host(const base::IpAddress& address) {
    using Use = base::IpAddress::Use;
    switch (address.use()) {
        case Use::Unspecified:
            return "stands for all addresses of a machine; write those that clients connect to";
        case Use::Multicast:
            return "is a multicast address, which nobody can connect to";
        case Use::Reserved:
            return "is a reserved address, which nobody can connect to";
        case Use::EmbeddedIpv4:
            return fmt::format("is an IPv4 address in IPv6's clothes; write \"{}\"",
                               base::IpAddress::from_bytes(address.bytes().last(4))->text());
        default:
            return "";
    }
}

/// Why a text is no name (faults.md CF-11, CF-12).
std::string why_no_name(std::string_view text) {
    if (text.find("://") != std::string_view::npos) return "is a URL; write the host name alone";
    if (std::string why = why_no_address(text); !why.empty()) return why;
    if (text.find('/') != std::string_view::npos) return "has a path; write the host name alone";
    if (text.find(' ') != std::string_view::npos) {
        return "has a space in it; several names are a list: [\"a.example\", \"b.example\"]";
    }
    if (text.find(':') != std::string_view::npos) return "has a port; write the host name alone";
    if (std::any_of(text.begin(), text.end(),
                    [](char c) { return static_cast<uint8_t>(c) >= 0x80; })) {
        return "is not ASCII; write the name in its DNS form, with labels that begin with xn--";
    }
    const size_t star = text.rfind('*');
    if (star != std::string_view::npos) {
        return "has a wildcard where none can be; \"*\" stands alone as the first label: "
               "\"*.example.org\"";
    }
    return "is no DNS name; it has letters, digits and '-' in labels of 1 to 63 characters";
}

std::optional<std::string> name(const Node& node, Reading& reading) {
    const auto text = text_of(node, reading, "a DNS name, as \"www.example.org\"");
    if (!text) return std::nullopt;
    std::string_view bare = *text;
    if (bare.starts_with('[') && bare.ends_with(']') && bare.find(':') != std::string_view::npos) {
        bare = bare.substr(1, bare.size() - 2);
    }
    const auto name = base::normalize_name(bare);
    if (!name) return reading.wrong(node.place, "{} {}", in_quotes(*text), why_no_name(*text));
    if (const auto address = base::IpAddress::parse(*name)) {
        const std::string why = why_no_host(*address);
        if (!why.empty()) return reading.wrong(node.place, "{} {}", in_quotes(*text), why);
        return name;
    }
    if (name->starts_with("*.") && name->find('.', 2) == std::string::npos) {
        return reading.wrong(node.place,
                             "{} would cover a whole top-level domain; write the names that you "
                             "serve",
                             in_quotes(*text));
    }
    return name;
}

}  // namespace

std::optional<bool> boolean(const Node& node, Reading& reading) {
    if (node.kind == Node::Kind::Boolean) return node.boolean;
    for (const std::string_view word : {"on", "yes", "true", "1"}) {
        if (node.kind == Node::Kind::Text && base::iequals(node.text, word)) {
            return reading.wrong(node.place, "is {}; write true, without quotes", node.described());
        }
    }
    for (const std::string_view word : {"off", "no", "false", "0"}) {
        if (node.kind == Node::Kind::Text && base::iequals(node.text, word)) {
            return reading.wrong(node.place, "is {}; write false, without quotes",
                                 node.described());
        }
    }
    return reading.wrong(node.place, "is {}; expected true or false", node.described());
}

std::optional<std::string> text(const Node& node, Reading& reading) {
    return text_of(node, reading, "a text in quotes");
}

std::optional<std::vector<std::string>> texts(const Node& node, Reading& reading) {
    if (is_empty_list(node, reading)) return std::nullopt;
    std::vector<std::string> result;
    bool good = true;
    for (const Node* item : items_of(node)) {
        const auto value = text(*item, reading);
        good = good && value;
        if (value) result.push_back(*value);
    }
    if (!good) return std::nullopt;
    return result;
}

std::optional<int64_t> integer(const Node& node, Reading& reading, int64_t low, int64_t high) {
    if (node.kind == Node::Kind::Text && looks_like_number(node.text)) {
        return reading.wrong(node.place, "is {}; expected a number, without quotes: {}",
                             node.described(), node.text);
    }
    if (node.kind != Node::Kind::Integer) {
        return reading.wrong(node.place, "is {}; expected a whole number from {} to {}",
                             node.described(), low, high);
    }
    if (node.integer < low || node.integer > high) {
        return reading.wrong(node.place, "{} is out of range; expected {} to {}", node.integer, low,
                             high);
    }
    return node.integer;
}

std::optional<base::Duration> duration(const Node& node, Reading& reading, base::Duration low,
                                       base::Duration high) {
    if (node.kind == Node::Kind::Integer) {
        return reading.wrong(node.place, "{} has no unit; write \"{}s\" (units: d, h, mi, s, ms)",
                             node.integer, node.integer);
    }
    const auto text = text_of(node, reading, "a duration with its unit, as \"30s\"");
    if (!text) return std::nullopt;
    if (looks_like_number(*text)) {
        return reading.wrong(node.place, "{} has no unit; write \"{}s\" (units: d, h, mi, s, ms)",
                             in_quotes(*text), *text);
    }
    const auto value = base::parse_duration(*text);
    if (!value) {
        return reading.wrong(node.place,
                             "{} is no duration; write a whole number and its unit without a "
                             "space: \"7d\", \"12h\", \"90mi\", \"30s\", \"500ms\"",
                             in_quotes(*text));
    }
    if (value->count() < 0) {
        return reading.wrong(node.place, "{} is negative; expected {} to {}", in_quotes(*text),
                             base::format_duration(low), base::format_duration(high));
    }
    if (*value < low || *value > high) {
        return reading.wrong(node.place, "{} is out of range; expected {} to {}", in_quotes(*text),
                             base::format_duration(low), base::format_duration(high));
    }
    return value;
}

std::optional<uint64_t> size(const Node& node, Reading& reading, uint64_t low, uint64_t high) {
    std::optional<uint64_t> value;
    if (node.kind == Node::Kind::Integer && node.integer >= 0) {
        value = static_cast<uint64_t>(node.integer);
    } else if (node.kind == Node::Kind::Text) {
        value = base::parse_size(node.text);
    }
    if (!value) {
        return reading.wrong(
            node.place,
            "{} is no size; write a whole number and its unit without a space: "
            "\"512\", \"16KiB\", \"10MiB\", \"1GiB\"",
            node.kind == Node::Kind::Text ? in_quotes(node.text) : node.described());
    }
    if (*value < low || *value > high) {
        return reading.wrong(
            node.place, "{} is out of range; expected {} to {} bytes",
            node.kind == Node::Kind::Text ? in_quotes(node.text) : node.described(), low, high);
    }
    return value;
}

std::optional<std::string> path(const Node& node, Reading& reading) {
    const auto text = text_of(node, reading, "the path of a file or directory");
    if (!text) return std::nullopt;
    if (text->starts_with('/') || !node.place.file) return text;
    return node.place.file->directory + *text;
}

std::optional<std::vector<std::string>> paths(const Node& node, Reading& reading) {
    if (is_empty_list(node, reading)) return std::nullopt;
    std::vector<std::string> result;
    bool good = true;
    for (const Node* item : items_of(node)) {
        const auto value = path(*item, reading);
        good = good && value;
        if (value) result.push_back(*value);
    }
    if (!good) return std::nullopt;
    return result;
}

std::optional<std::string> log_path(const Node& node, Reading& reading) {
    if (node.kind == Node::Kind::Text && node.text == "-") return "-";
    return path(node, reading);
}

std::optional<std::string> identifier(const Node& node, Reading& reading) {
    const auto value = text_of(node, reading, "a name");
    if (!value) return std::nullopt;
    const bool good = std::all_of(value->begin(), value->end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    });
    if (!good || value->size() > 64) {
        return reading.wrong(node.place,
                             "{} is no name; use up to 64 letters, digits, '-', '_' and '.'",
                             in_quotes(*value));
    }
    return value;
}

std::optional<std::vector<PlacedName>> names(const Node& node, Reading& reading) {
    if (is_empty_list(node, reading)) return std::nullopt;
    std::vector<PlacedName> result;
    std::set<std::string> seen;
    bool good = true;
    for (const Node* item : items_of(node)) {
        const auto one = name(*item, reading);
        good = good && one;
        if (!one) continue;
        if (seen.insert(*one).second) {
            result.push_back({item->place, *one});
        } else {
            good = false;
            (void)reading.wrong(item->place, "{} stands here twice; remove one", in_quotes(*one));
        }
    }
    if (!good) return std::nullopt;
    return result;
}

std::optional<std::vector<std::string>> groups(const Node& node, Reading& reading) {
    if (is_empty_list(node, reading)) return std::nullopt;
    const auto all = tls::all_groups();
    std::vector<std::string> result;
    bool good = true;
    const auto is_wrong = [&](const Node& item, const std::string& problem) {
        (void)reading.wrong(item.place, "{}", problem);
        good = false;
    };
    for (const Node* item : items_of(node)) {
        const auto group = text(*item, reading);
        if (!group) {
            good = false;
        } else if (std::find(all.begin(), all.end(), *group) == all.end()) {
            not_a_word(*item, reading, {all.begin(), all.end()});
            good = false;
        } else if (!tls::is_known_group(*group)) {
            is_wrong(*item, fmt::format("{} does not know {}; groups with MLKEM need OpenSSL 3.5",
                                        tls::openssl_version(), in_quotes(*group)));
        } else if (std::find(result.begin(), result.end(), *group) != result.end()) {
            is_wrong(*item, fmt::format("{} stands here twice; remove one", in_quotes(*group)));
        } else {
            result.push_back(*group);
        }
    }
    if (!good) return std::nullopt;
    return result;
}

std::optional<std::vector<std::string>> host_names(const Node& node, Reading& reading) {
    if (node.kind == Node::Kind::List && node.items.empty()) return std::vector<std::string>{};
    const auto placed = names(node, reading);
    if (!placed) return std::nullopt;
    std::vector<std::string> result;
    for (const PlacedName& one : *placed) result.push_back(one.name);
    return result;
}

std::optional<net::Address> listen_address(const Node& node, Reading& reading) {
    const auto text = text_of(node, reading, "an address with its port, as \"[::]:443\"");
    if (!text) return std::nullopt;
    if (text->starts_with("unix:") && !text->starts_with("unix:/")) {
        return reading.wrong(node.place, "{}: write the whole path: \"unix:/run/…\"",
                             in_quotes(*text));
    }
    const auto address = net::Address::parse(*text);
    if (!address) {
        return reading.wrong(
            node.place,
            "{}: {}; write \"127.0.0.1:443\", \"[::1]:443\", \"*:443\" (all IPv4), "
            "\"[::]:443\" (all) or \"unix:/path\"",
            in_quotes(*text), address.error().text);
    }
    if (!address.value().is_unix() && address.value().port() == 0) {
        return reading.wrong(node.place, "{}: port 0 is no port; expected 1 to 65535",
                             in_quotes(*text));
    }
    return address.value();
}

std::optional<std::vector<PlacedAddress>> listen_addresses(const Node& node, Reading& reading) {
    std::vector<PlacedAddress> result;
    bool good = true;
    for (const Node* item : items_of(node)) {
        const auto address = listen_address(*item, reading);
        good = good && address;
        if (address) result.push_back({item->place, *address});
    }
    if (!good) return std::nullopt;
    return result;
}

std::optional<ServerAddress> server(const std::string& text, const Place& place, Reading& reading) {
    static constexpr std::string_view forms =
        "write \"127.0.0.1:8080\", \"[::1]:8080\", \"app.internal:8080\" or \"unix:/path\"";
    if (text.find("://") != std::string::npos) {
        return reading.wrong(place, "{} is a URL; backends are spoken to in plain HTTP: {}",
                             in_quotes(text), forms);
    }
    if (!text.starts_with("unix:") && text.find_first_of("/@? ") != std::string::npos) {
        return reading.wrong(place, "{} is more than an address; {}", in_quotes(text), forms);
    }
    if (text.starts_with("*")) {
        return reading.wrong(place, "{} is no place to connect to; {}", in_quotes(text), forms);
    }
    const auto address = net::Address::parse(text);
    if (address) {
        if (!address.value().is_unix() && address.value().port() == 0) {
            return reading.wrong(place, "{}: port 0 is no port; expected 1 to 65535",
                                 in_quotes(text));
        }
        return ServerAddress{place, text, address.value()};
    }
    const size_t colon = text.rfind(':');
    if (text.starts_with("unix:") || text.starts_with("[") || colon == std::string::npos ||
        text.find(':') != colon) {
        return reading.wrong(
            place, "{}: {}; {}", in_quotes(text),
            colon == std::string::npos ? "the port is missing" : address.error().text, forms);
    }
    const std::string_view port = std::string_view(text).substr(colon + 1);
    const std::string_view host = std::string_view(text).substr(0, colon);
    if (!looks_like_number(port) || port.size() > 5 || std::stoi(std::string(port)) > 65535 ||
        std::stoi(std::string(port)) == 0) {
        return reading.wrong(place, "{}: {} is no port; expected 1 to 65535", in_quotes(text),
                             in_quotes(port));
    }
    if (!base::normalize_dns_name(host) || host.starts_with("*") ||
        looks_like_number(host.substr(host.rfind('.') + 1))) {
        return reading.wrong(place, "{}: {} is neither an address nor a host name; {}",
                             in_quotes(text), in_quotes(host), forms);
    }
    return ServerAddress{place, text, std::nullopt};
}

std::optional<std::vector<ServerAddress>> servers(const Node& node, Reading& reading) {
    if (is_empty_list(node, reading)) return std::nullopt;
    std::vector<ServerAddress> result;
    bool good = true;
    for (const Node* item : items_of(node)) {
        const auto text = text_of(*item, reading, "an address, as \"127.0.0.1:8080\"");
        const auto value = text ? server(*text, item->place, reading) : std::nullopt;
        good = good && value;
        if (value) result.push_back(*value);
    }
    if (!good) return std::nullopt;
    return result;
}

std::optional<int> workers(const Node& node, Reading& reading) {
    if (node.kind == Node::Kind::Text) {
        if (node.text == "auto") return 0;
        return reading.wrong(node.place, "is {}; write \"auto\" or a number from 1 to 512",
                             node.described());
    }
    const auto number = integer(node, reading, 1, 512);
    if (!number) return std::nullopt;
    return static_cast<int>(*number);
}

std::string alternatives(const std::vector<std::string_view>& words) {
    std::string result;
    for (size_t i = 0; i < words.size(); ++i) {
        if (i > 0) result += i + 1 == words.size() ? " or " : ", ";
        result += fmt::format("\"{}\"", words[i]);
    }
    return result;
}

void not_a_word(const Node& node, Reading& reading, const std::vector<std::string_view>& words) {
    std::string hint;
    if (node.kind == Node::Kind::Text) {
        const std::string lower = base::to_lower(node.text);
        if (const auto close = base::nearest(lower, words); close && !lower.empty()) {
            hint = fmt::format("; did you mean \"{}\"?", *close);
        }
    }
    (void)reading.wrong(node.place, "is {}; expected {}{}", node.described(), alternatives(words),
                        hint);
}

}  // namespace app::values
