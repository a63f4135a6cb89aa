// Values of mod_md's directives; grammars and errors as mod_md.md 1.2–1.7 has them, where a
// stricter check does not shut out a configuration that works.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/config/values.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "md/acme_directory.h"
#include "md/command_line.h"
#include "md/tailscale.h"

namespace app::values {

namespace {

std::string in_quotes(std::string_view text) {
    return fmt::format("\"{}\"", base::escape_for_log(text, 100));
}

/// The texts of a list, or one text, with their places.
std::optional<std::vector<std::pair<std::string, Place>>> placed_texts(const Node& node,
                                                                       Reading& reading) {
    std::vector<std::pair<std::string, Place>> result;
    bool good = true;
    const auto take = [&](const Node& item) {
        const auto value = text(item, reading);
        good = good && value;
        if (value) result.emplace_back(*value, item.place);
    };
    if (node.kind == Node::Kind::List) {
        for (const Node& item : node.items) take(item);
        if (node.items.empty()) {
            return reading.wrong(node.place,
                                 "is an empty list; leave the key out, or name something");
        }
    } else {
        take(node);
    }
    if (!good) return std::nullopt;
    return result;
}

/// Why a text is no absolute URL with that scheme; empty if it is.
std::string why_no_url(std::string_view url, std::string_view scheme) {
    const std::string prefix = std::string(scheme) + "://";
    if (!base::to_lower(url.substr(0, prefix.size())).starts_with(prefix)) {
        return fmt::format("does not begin with {}", prefix);
    }
    url.remove_prefix(prefix.size());
    if (url.find_first_of(" \t\"<>\\") != std::string_view::npos) return "has a blank in it";
    const std::string_view authority = url.substr(0, url.find_first_of("/?#"));
    if (authority.find('@') != std::string_view::npos) return "has a user name in it";
    std::string_view host = authority;
    std::string_view port;
    if (authority.starts_with('[')) {
        const size_t end = authority.find(']');
        if (end == std::string_view::npos) return "has no ']' after its address";
        host = authority.substr(0, end + 1);
        port = authority.substr(end + 1);
    } else if (const size_t colon = authority.find(':'); colon != std::string_view::npos) {
        host = authority.substr(0, colon);
        port = authority.substr(colon);
    }
    if (host.empty()) return "has no host";
    if (!port.empty()) {
        int number = 0;
        const char* last = port.data() + port.size();
        const auto [end, error] = std::from_chars(port.data() + 1, last, number);
        if (port[0] != ':' || error != std::errc{} || end != last || number < 1 || number > 65535) {
            return "has no valid port; expected 1 to 65535";
        }
    }
    return "";
}

constexpr std::string_view curves[] = {"P-256",     "P-384",     "P-521",     "secp256r1",
                                       "secp384r1", "secp521r1", "prime256v1"};

std::optional<md::KeySpec> key_spec(const std::string& text, const Place& place, Reading& reading) {
    const std::string lower = base::to_lower(text);
    md::KeySpec spec;
    if (lower == "default") return spec;
    if (lower.starts_with("rsa")) {
        spec.type = md::KeySpec::Type::Rsa;
        const std::string_view digits = base::trim(std::string_view(lower).substr(3));
        if (digits.empty()) return spec;
        const char* last = digits.data() + digits.size();
        const auto [end, error] = std::from_chars(digits.data(), last, spec.bits);
        if (error != std::errc{} || end != last) {
            return reading.wrong(place,
                                 "{} is no key; write \"RSA 2048\", \"RSA 3072\" or "
                                 "\"RSA 4096\"",
                                 in_quotes(text));
        }
        if (spec.bits < 2048 || spec.bits > 16384) {
            return reading.wrong(place, "{} has {} bits; CAs take RSA keys of 2048 to 4096 bits",
                                 in_quotes(text), spec.bits);
        }
        return spec;
    }
    for (const std::string_view curve : curves) {
        if (!base::iequals(curve, text)) continue;
        spec.type = md::KeySpec::Type::Ec;
        spec.curve = text;
        return spec;
    }
    return reading.wrong(place,
                         "{} is no key that can be made here; write \"RSA 2048\" (or more bits), "
                         "or a curve: \"P-256\", \"P-384\", \"P-521\"",
                         in_quotes(text));
}

constexpr size_t secret_file_bytes_max = size_t{64} * 1024;

/// A regular file that a value was read from; a reload reads it again. Nothing: it cannot be read,
/// and errno says why.
std::optional<base::Secret> read_small_file(const std::string& path, const Place& place,
                                            Reading& reading) {
    const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!fd || ::fstat(fd.fd(), &status) != 0) return std::nullopt;
    if (!S_ISREG(status.st_mode) || status.st_size > static_cast<off_t>(secret_file_bytes_max)) {
        errno = S_ISREG(status.st_mode) ? EFBIG : S_ISDIR(status.st_mode) ? EISDIR : ENXIO;
        return std::nullopt;
    }
    base::Secret bytes;
    bytes.resize(static_cast<size_t>(status.st_size));
    size_t done = 0;
    while (done < bytes.size()) {
        const auto rest = bytes.buffer().subspan(done);
        const ssize_t got = ::read(fd.fd(), rest.data(), rest.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return std::nullopt;
        if (got == 0) break;
        done += static_cast<size_t>(got);
    }
    bytes.resize(done);
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        reading.mistakes.warn(place,
                              "{}: {} has a secret that others can read (mode {:04o}); run chmod "
                              "600 on it",
                              reading.key, path, status.st_mode & 07777u);
    }
    reading.mistakes.note_read(place, path);
    return bytes;
}

/// A secret: as it stands, "env:NAME", or "file:path" (its first line).
std::optional<base::Secret> secret(std::string_view text, const Place& place, Reading& reading) {
    if (text.starts_with("env:")) {
        const std::string name(text.substr(4));
        const char* value = std::getenv(name.c_str());
        if (value == nullptr || *value == '\0') {
            return reading.wrong(place, "the environment has no variable {}", in_quotes(name));
        }
        if (std::string_view(value).find_first_of("\r\n") != std::string_view::npos) {
            return reading.wrong(place, "the variable {} has a line break in it", in_quotes(name));
        }
        return base::Secret(std::string_view(value));
    }
    if (text.starts_with("file:")) {
        std::string path(text.substr(5));
        if (!path.starts_with('/') && place.file) path = place.file->directory + path;
        const auto bytes = read_small_file(path, place, reading);
        if (!bytes || bytes->empty()) {
            return reading.wrong(place, "the file {} cannot be read, or is empty", in_quotes(path));
        }
        const std::string_view line = bytes->text().substr(0, bytes->text().find('\n'));
        return base::Secret(base::trim(line));
    }
    return base::Secret(text);
}

std::optional<md::ExternalAccount> account(const std::string& kid, std::string_view hmac,
                                           const Place& place, Reading& reading) {
    auto value = secret(hmac, place, reading);
    if (!value) return std::nullopt;
    // The value itself is a secret and is not shown.
    if (const auto bytes = base::secret_from_base64url(value->text()); !bytes || bytes->empty()) {
        return reading.wrong(place,
                             "the HMAC key is not base64url (A–Z a–z 0–9 - _, without padding); "
                             "write it as the CA gave it");
    }
    return md::ExternalAccount(kid, std::move(*value));
}

std::optional<md::ExternalAccount> account_file(const std::string& path, const Place& place,
                                                Reading& reading) {
    const auto bytes = read_small_file(path, place, reading);
    if (!bytes) {
        return reading.wrong(place, "the file {} cannot be read: {}", in_quotes(path),
                             std::strerror(errno));
    }
    auto json = nlohmann::json::parse(bytes->text(), nullptr, false);
    if (!json.is_object()) {
        return reading.wrong(place, "the file {} is not a JSON object {{\"kid\": …, \"hmac\": …}}",
                             in_quotes(path));
    }
    for (const char* member : {"kid", "hmac"}) {
        if (!json.contains(member) || !json[member].is_string()) {
            return reading.wrong(place, "the file {} has no text \"{}\"", in_quotes(path), member);
        }
    }
    auto& hmac = json["hmac"].get_ref<std::string&>();
    auto result = account(json["kid"].get<std::string>(), hmac, place, reading);
    base::wipe(hmac);
    return result;
}

}  // namespace

std::optional<md::Window> keep_window(const Node& node, Reading& reading) {
    constexpr base::Duration norm = std::chrono::hours{7 * 24};
    if (node.kind != Node::Kind::Text || !node.text.ends_with('%')) return window(node, reading);
    const char* last = node.text.data() + node.text.size() - 1;
    int percent = 0;
    const auto [end, error] = std::from_chars(node.text.data(), last, percent);
    if (error != std::errc{} || end != last || percent < 1 || percent > 10'000) {
        return reading.wrong(node.place,
                             "{} is no share of 7 days; write \"100%\" for all of them, or a time, "
                             "\"7d\"",
                             in_quotes(node.text));
    }
    return md::Window{0, norm * percent / 100};
}

std::optional<md::CertificateCheck> certificate_check(const Node& node, Reading& reading) {
    if (node.kind == Node::Kind::Text && node.text == "none") return md::CertificateCheck{"", ""};
    if (node.kind != Node::Kind::List || node.items.size() != 2) {
        return reading.wrong(node.place,
                             "is {}; expected a name and a URL, [\"crt.sh\", "
                             "\"https://crt.sh?q=\"], or \"none\"",
                             node.described());
    }
    const auto name = text(node.items[0], reading);
    const auto url = text(node.items[1], reading);
    if (!name || !url) return std::nullopt;
    const std::string why = why_no_url(*url, "https");
    if (!why.empty() && !why_no_url(*url, "http").empty()) {
        return reading.wrong(node.items[1].place,
                             "{} {}; write a URL that a fingerprint can be "
                             "appended to: \"https://crt.sh?q=\"",
                             in_quotes(*url), why);
    }
    return md::CertificateCheck{*name, *url};
}

std::optional<md::Window> window(const Node& node, Reading& reading) {
    const auto no_unit = [&](std::string_view given, std::string_view digits) {
        const bool percent =
            digits.size() <= 2 && !digits.starts_with('0') && !digits.starts_with('-');
        return reading.wrong(node.place, "{} has no unit; write \"{}%\" or \"30d\"", given,
                             percent ? digits : "33");
    };
    if (node.kind == Node::Kind::Integer) {
        const std::string digits = std::to_string(node.integer);
        return no_unit(digits, digits);
    }
    if (node.kind != Node::Kind::Text) {
        return reading.wrong(node.place,
                             "is {}; expected a share of the lifetime, \"33%\", or a time, \"30d\"",
                             node.described());
    }
    const std::string& given = node.text;
    if (!given.empty() && given.find_first_not_of("0123456789") == std::string::npos) {
        return no_unit(in_quotes(given), given);
    }
    std::string why;
    const auto value = md::Window::parse(given, why);
    if (!value) {
        return reading.wrong(node.place,
                             "{}: {}; write a share of the lifetime, \"33%\", or a time, \"30d\"",
                             in_quotes(given), why);
    }
    if (value->length.count() < 0 || (value->length.count() == 0 && value->percent <= 0)) {
        return reading.wrong(node.place, "{} is not positive; write \"33%\" or \"30d\"",
                             in_quotes(given));
    }
    return value;
}

std::optional<std::vector<md::KeySpec>> private_keys(const Node& node, Reading& reading) {
    const auto items = placed_texts(node, reading);
    if (!items) return std::nullopt;
    std::vector<md::KeySpec> specs;
    bool good = true;
    for (const auto& [text, place] : *items) {
        const auto spec = key_spec(text, place, reading);
        good = good && spec;
        if (!spec) continue;
        for (const md::KeySpec& other : specs) {
            // MDPrivateKeys: one RSA key, and each curve once; the file names would be the same.
            if (other.type != spec->type || !base::iequals(other.curve, spec->curve)) continue;
            good = false;
            (void)reading.wrong(
                place, "{} is the second {}; one certificate is made per kind", in_quotes(text),
                spec->type == md::KeySpec::Type::Ec ? "key on this curve" : "key of this kind");
        }
        specs.push_back(*spec);
    }
    const bool has_default = std::any_of(specs.begin(), specs.end(), [](const md::KeySpec& spec) {
        return spec.type == md::KeySpec::Type::Default;
    });
    if (good && has_default && specs.size() > 1) {
        return reading.wrong(node.place,
                             "\"Default\" stands alone; name the keys instead: "
                             "[\"P-256\", \"RSA 2048\"]");
    }
    if (!good) return std::nullopt;
    return specs;
}

std::optional<std::vector<std::string>> certificate_authority(const Node& node, Reading& reading) {
    const auto items = placed_texts(node, reading);
    if (!items) return std::nullopt;
    std::vector<std::string> urls;
    bool good = true;
    for (const auto& [text, place] : *items) {
        const auto known = std::find_if(
            std::begin(md::known_cas), std::end(md::known_cas),
            [&name = text](const md::KnownCa& ca) { return base::iequals(ca.name, name); });
        if (known != std::end(md::known_cas)) {
            urls.emplace_back(known->url);
            continue;
        }
        std::vector<std::string> lower;
        for (const md::KnownCa& ca : md::known_cas) lower.push_back(base::to_lower(ca.name));
        const std::vector<std::string_view> names(lower.begin(), lower.end());
        if (base::to_lower(text).starts_with("file:")) {
            const auto socket = md::tailscale_socket(text);
            if (socket.ok()) {
                urls.push_back(text);
                continue;
            }
            (void)reading.wrong(place, "{} {}; write the path of the tailscale daemon's socket, {}",
                                in_quotes(text), socket.error().detail,
                                in_quotes(md::tailscale_default_url));
            good = false;
        } else if (text.find("://") == std::string::npos) {
            const auto close = base::nearest(base::to_lower(text), names);
            const std::string hint =
                close ? fmt::format("; did you mean \"{}\"?", *close) : std::string();
            (void)reading.wrong(place,
                                "{} is no CA that is known by name; write {}, or the https "
                                "URL of its directory{}",
                                in_quotes(text), alternatives(names), hint);
            good = false;
        } else if (const std::string why = why_no_url(text, "https"); !why.empty()) {
            (void)reading.wrong(place, "{} {}; write the https URL of the CA's directory, or {}",
                                in_quotes(text), why, alternatives(names));
            good = false;
        } else {
            urls.push_back(text);
        }
    }
    if (!good) return std::nullopt;
    return urls;
}

std::optional<std::string> agreement(const Node& node, Reading& reading) {
    const auto value = text(node, reading);
    if (!value) return std::nullopt;
    if (base::iequals(*value, "accepted")) return "accepted";
    if (value->starts_with("https://") || value->starts_with("http://")) return value;
    return reading.wrong(node.place,
                         "{} is no agreement; write \"accepted\" if you have read the CA's terms",
                         in_quotes(*value));
}

std::optional<std::string> contact(const Node& node, Reading& reading) {
    const auto value = text(node, reading);
    if (!value) return std::nullopt;
    std::string_view address = *value;
    if (address.starts_with("mailto:")) {
        address.remove_prefix(7);
    } else if (address.find(':') != std::string_view::npos) {
        return value;  // some other URI; RFC 8555 7.3 leaves it to the CA
    }
    const size_t at = address.find('@');
    const bool good = at != std::string_view::npos && at > 0 &&
                      address.find_first_of(" ,;<>?") == std::string_view::npos &&
                      address.find('@', at + 1) == std::string_view::npos &&
                      base::normalize_dns_name(address.substr(at + 1)).has_value();
    if (!good) {
        return reading.wrong(node.place,
                             "{} is no mail address; write one, as \"hostmaster@example.org\"",
                             in_quotes(*value));
    }
    return "mailto:" + std::string(address);
}

std::optional<std::vector<std::string>> challenges(const Node& node, Reading& reading) {
    const auto items = placed_texts(node, reading);
    if (!items) return std::nullopt;
    std::vector<std::string> types;
    bool good = true;
    for (const auto& [text, place] : *items) {
        if (text != "http-01" && text != "tls-alpn-01" && text != "dns-01") {
            (void)reading.wrong(place,
                                "{} is no challenge type; write \"http-01\", \"tls-alpn-01\" or "
                                "\"dns-01\"",
                                in_quotes(text));
            good = false;
        } else {
            types.push_back(text);
        }
    }
    if (!good) return std::nullopt;
    return types;
}

std::optional<std::string> command(const Node& node, Reading& reading) {
    std::vector<std::string> words;
    if (node.kind == Node::Kind::List) {
        auto list = texts(node, reading);
        if (!list) return std::nullopt;
        words = std::move(*list);
    } else {
        const auto line = text(node, reading);
        if (!line) return std::nullopt;
        auto split = md::split_command_line(*line);
        if (!split) {
            return reading.wrong(node.place, "{}: {}; words with blanks stand in quotes",
                                 in_quotes(*line), split.error().detail);
        }
        words = std::move(*split);
        // What is no shell does not do what a shell does.
        for (const std::string& word : words) {
            if (word != "|" && word != "&&" && word != "||" && word != ";" && word != ">" &&
                word != ">>" && word != "<" && word != "&") {
                continue;
            }
            reading.mistakes.warn(node.place,
                                  "{}: no shell runs the command, {} is given to the program as it "
                                  "is; write a script and name that",
                                  reading.key, in_quotes(word));
        }
    }
    auto program = md::find_program(words.front());  // CF-30
    if (!program) return reading.wrong(node.place, "{}", program.error().detail);
    struct stat status {};
    if (::stat(program->c_str(), &status) == 0 && (status.st_mode & S_IWOTH) != 0) {
        reading.mistakes.warn(node.place,
                              "{}: {} can be written by everybody (mode {:04o}), who can so run "
                              "what they like; run chmod o-w on it",
                              reading.key, *program, status.st_mode & 07777u);
    }
    return md::quote_command_line(words);
}

std::optional<std::string> path_or_none(const Node& node, Reading& reading) {
    if (node.kind == Node::Kind::Text && base::iequals(node.text, "none")) return "";
    return path(node, reading);
}

std::optional<md::ExternalAccount> external_account(const Node& node, Reading& reading) {
    static constexpr std::string_view forms =
        "write [\"key identifier\", \"HMAC key\"], the name of a JSON file with kid and hmac, or "
        "\"none\"";
    if (node.kind == Node::Kind::Text) {
        if (base::iequals(node.text, "none")) return md::ExternalAccount{};
        if (node.text.find(' ') != std::string::npos) {
            return reading.wrong(node.place, "is one text with two words; {}", forms);
        }
        const auto file = path(node, reading);
        if (!file) return std::nullopt;
        return account_file(*file, node.place, reading);
    }
    if (node.kind != Node::Kind::List || node.items.size() != 2) {
        return reading.wrong(node.place, "is {}; {}",
                             node.kind == Node::Kind::List
                                 ? fmt::format("a list of {}", node.items.size())
                                 : node.described(),
                             forms);
    }
    const auto kid = text(node.items[0], reading);
    auto hmac = text(node.items[1], reading);
    if (!kid || !hmac) return std::nullopt;
    auto result = account(*kid, *hmac, node.items[1].place, reading);
    base::wipe(*hmac);
    return result;
}

std::optional<std::string> http_proxy(const Node& node, Reading& reading) {
    const auto value = text(node, reading);
    if (!value) return std::nullopt;
    std::string why = why_no_url(*value, "http");
    if (!why.empty() && why_no_url(*value, "https").empty()) why.clear();
    if (!why.empty()) {
        return reading.wrong(node.place, "{} {}; write \"http://proxy.example.org:3128\"",
                             in_quotes(*value), why);
    }
    return value;
}

std::optional<PortMap> port_map(const Node& node, Reading& reading) {
    const auto items = placed_texts(node, reading);
    if (!items) return std::nullopt;
    PortMap map;
    bool good = true;
    for (const auto& [text, place] : *items) {
        const size_t colon = text.find(':');
        const std::string from = base::to_lower(text.substr(0, colon));
        const std::string to = colon == std::string::npos ? "" : text.substr(colon + 1);
        const bool http = from == "http" || from == "80";
        int port = 0;
        const auto [end, error] = std::from_chars(to.data(), to.data() + to.size(), port);
        const bool is_port =
            error == std::errc{} && end == to.data() + to.size() && port >= 1 && port <= 65535;
        if ((!http && from != "https" && from != "443") || (to != "-" && !is_port)) {
            (void)reading.wrong(
                place,
                "{} maps no port; write \"80:8080\" or \"443:8443\" (the CA's port, "
                "then ours), or \"80:-\" if the CA cannot reach it",
                in_quotes(text));
            good = false;
            continue;
        }
        const std::optional<uint16_t> ours =
            is_port ? std::optional(static_cast<uint16_t>(port)) : std::nullopt;
        (http ? map.http : map.https) = ours;
    }
    if (!good) return std::nullopt;
    return map;
}

}  // namespace app::values
