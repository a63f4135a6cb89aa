// Readers of single values: each takes a Node, says what is wrong with it in terms of its key, and
// returns nothing then. The schema puts them into its table.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/config/configuration.h"
#include "app/config/mistakes.h"

namespace app {

/// What a reader needs besides the value.
struct Reading {
    Mistakes& mistakes;
    std::string_view key;  // as the messages call it

    template <typename... Args>
    std::nullopt_t wrong(const Place& place, fmt::format_string<Args...> format, Args&&... args) {
        mistakes.add(place, "{}: {}", key, fmt::format(format, std::forward<Args>(args)...));
        mistakes.note_unread(key);
        return std::nullopt;
    }
};

namespace values {

std::optional<bool> boolean(const Node& node, Reading& reading);
/// Not empty, without control characters.
std::optional<std::string> text(const Node& node, Reading& reading);
/// A text or a list of texts; not empty.
std::optional<std::vector<std::string>> texts(const Node& node, Reading& reading);
std::optional<int64_t> integer(const Node& node, Reading& reading, int64_t low, int64_t high);
std::optional<base::Duration> duration(const Node& node, Reading& reading, base::Duration low,
                                       base::Duration high);
std::optional<uint64_t> size(const Node& node, Reading& reading, uint64_t low, uint64_t high);
/// Resolved against the directory of the file that it stands in.
std::optional<std::string> path(const Node& node, Reading& reading);
std::optional<std::vector<std::string>> paths(const Node& node, Reading& reading);
/// "unix:/path" too; "-" stays.
std::optional<std::string> log_path(const Node& node, Reading& reading);
/// A name that runs through diagnostics: letters, digits, '-', '_', '.'.
std::optional<std::string> identifier(const Node& node, Reading& reading);

/// Names as a site or domain has them: DNS names, and IP addresses that somebody can connect to,
/// those of IPv6 maybe in brackets. Normalised, none twice.
std::optional<std::vector<PlacedName>> names(const Node& node, Reading& reading);
/// Groups of the key exchange that the OpenSSL of this process knows (tls/groups.h), none twice.
std::optional<std::vector<std::string>> groups(const Node& node, Reading& reading);
std::optional<std::vector<std::string>> host_names(const Node& node, Reading& reading);
/// An address to listen on. Port 0 is refused.
std::optional<net::Address> listen_address(const Node& node, Reading& reading);
std::optional<std::vector<PlacedAddress>> listen_addresses(const Node& node, Reading& reading);
/// Servers of a backend: addresses, or names with a port.
std::optional<std::vector<ServerAddress>> servers(const Node& node, Reading& reading);
/// One of them. Errors say the allowed forms.
std::optional<ServerAddress> server(const std::string& text, const Place& place, Reading& reading);

// The values of mod_md's directives (mod_md.md 1.2–1.7).
std::optional<md::Window> window(const Node& node, Reading& reading);
/// A window whose shares are of 7 days, and may be 100 % and more.
std::optional<md::Window> keep_window(const Node& node, Reading& reading);
/// ["name", "https://…"], or "none".
std::optional<md::CertificateCheck> certificate_check(const Node& node, Reading& reading);
std::optional<std::vector<md::KeySpec>> private_keys(const Node& node, Reading& reading);
std::optional<std::vector<std::string>> certificate_authority(const Node& node, Reading& reading);
std::optional<std::string> agreement(const Node& node, Reading& reading);
std::optional<std::string> contact(const Node& node, Reading& reading);
std::optional<std::vector<std::string>> challenges(const Node& node, Reading& reading);
/// A command line as md/command_line.h has it, from a text or a list of words; its program can be
/// run.
std::optional<std::string> command(const Node& node, Reading& reading);
std::optional<std::string> path_or_none(const Node& node, Reading& reading);
std::optional<md::ExternalAccount> external_account(const Node& node, Reading& reading);
std::optional<std::string> http_proxy(const Node& node, Reading& reading);
std::optional<PortMap> port_map(const Node& node, Reading& reading);
/// 0: "auto".
std::optional<int> workers(const Node& node, Reading& reading);

/// One of some words.
template <typename T>
struct Word {
    std::string_view word;
    T value;
};
/// For the message: `"a", "b" or "c"`.
std::string alternatives(const std::vector<std::string_view>& words);
/// Says that `node` is none of `words`, with the nearest.
void not_a_word(const Node& node, Reading& reading, const std::vector<std::string_view>& words);

template <typename T, size_t N>
std::optional<T> word(const Node& node, Reading& reading, const Word<T> (&words)[N]) {
    std::vector<std::string_view> known;
    for (const Word<T>& candidate : words) {
        if (node.kind == Node::Kind::Text && node.text == candidate.word) return candidate.value;
        known.push_back(candidate.word);
    }
    not_a_word(node, reading, known);
    return std::nullopt;
}

}  // namespace values
}  // namespace app
