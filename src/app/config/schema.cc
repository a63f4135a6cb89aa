#include "app/config/schema.h"

#include "app/config/fields.h"
#include "base/text.h"

namespace app {

namespace {

using namespace std::string_view_literals;

std::optional<base::LogLevel> log_level(const Node& node, Reading& reading) {
    static constexpr values::Word<base::LogLevel> words[] = {{"error", base::LogLevel::Error},
                                                             {"warn", base::LogLevel::Warn},
                                                             {"info", base::LogLevel::Info},
                                                             {"debug", base::LogLevel::Debug}};
    return values::word(node, reading, words);
}

std::optional<std::string> log_format(const Node& node, Reading& reading) {
    static constexpr values::Word<std::string_view> words[] = {{"combined", "combined"}};
    const auto value = values::word(node, reading, words);
    return value ? std::optional<std::string>(*value) : std::nullopt;
}

std::optional<proxy::Protocol> protocol(const Node& node, Reading& reading) {
    static constexpr values::Word<proxy::Protocol> words[] = {{"http", proxy::Protocol::Http},
                                                              {"https", proxy::Protocol::Https}};
    return values::word(node, reading, words);
}

std::optional<tls::Policy> policy(const Node& node, Reading& reading) {
    static constexpr values::Word<tls::Policy> words[] = {
        {"modern", tls::Policy::Modern}, {"intermediate", tls::Policy::Intermediate}};
    return values::word(node, reading, words);
}

std::optional<md::RequireHttps> require_https(const Node& node, Reading& reading) {
    static constexpr values::Word<md::RequireHttps> words[] = {
        {"off", md::RequireHttps::Off},
        {"temporary", md::RequireHttps::Temporary},
        {"permanent", md::RequireHttps::Permanent}};
    return values::word(node, reading, words);
}

void site_hosts(SiteSettings& site, const Node& node, Reading& reading) {
    if (auto names = values::names(node, reading)) site.hosts = std::move(*names);
}

/// The sub-table server.access_log.
void access_log(ServerSettings& server, const Node& node, Reading& reading) {
    server.access_log.place = node.place;
    if (node.kind != Node::Kind::Table) {
        (void)reading.wrong(node.place, "is {}; write access_log = {{ path = \"…\" }}",
                            node.described());
        return;
    }
    std::vector<BoundKey> keys;
    bind(keys, access_log_keys(), server.access_log);
    read_keys(node, "server.access_log", keys, reading.mistakes);
}

constexpr int64_t day_s = 86'400;
constexpr int64_t day_ms = day_s * 1000;

}  // namespace

const std::vector<Key<ServerSettings>>& server_keys() {
    using T = ServerSettings;
    static const std::vector<Key<T>> keys = {
        {{"workers", "number or \"auto\"", "\"auto\"",
          "Threads that serve connections, each with an io_uring of its own; \"auto\": one per "
          "CPU."},
         set<&T::workers, values::workers>},
        {{"user", "text", "",
          "User to become after listening, if started as root; the store is given to it, see Files "
          "and rights. None: stay as started."},
         set_placed<&T::user, &T::user_place, values::identifier>},
        {{"drain_timeout", "duration", "\"30s\"",
          "How long requests in flight may take to finish after SIGTERM."},
         set_duration<&T::drain_timeout, 0, day_s>},
        {{"log_level", "text", "\"info\"",
          "Diagnostics on standard error: \"error\", \"warn\", \"info\" or \"debug\"."},
         set<&T::log_level, log_level>},
        {{"access_log", "table", "", "One line per request; see [server.access_log]."}, access_log},
    };
    return keys;
}

const std::vector<Key<AccessLogSettings>>& access_log_keys() {
    using T = AccessLogSettings;
    static const std::vector<Key<T>> keys = {
        {{"path", "path", "",
          "File that lines are appended to; \"-\": standard output. None: no access log."},
         set<&T::path, values::log_path>},
        {{"format", "text", "\"combined\"", "\"combined\" (Apache's combined log format)."},
         set<&T::format, log_format>},
    };
    return keys;
}

const std::vector<Key<AdminSettings>>& admin_keys() {
    using T = AdminSettings;
    static const std::vector<Key<T>> keys = {
        {{"listen", "list of addresses", "[]",
          "Where the status page and the status in JSON are served, in plain HTTP: loopback "
          "addresses or \"unix:/path\". None: nowhere."},
         set<&T::listen, values::listen_addresses>},
        {{"hosts", "list of names", "[]",
          "Host names by which the pages may be asked for, besides localhost and loopback "
          "addresses."},
         set<&T::hosts, values::host_names>},
        {{"actions", "boolean", "false",
          "Allows actions (renew, revoke, new account key) over TCP: everybody on this machine who "
          "reaches the address may then act. Over \"unix:/path\" whoever may open the socket "
          "always "
          "may."},
         set<&T::actions, values::boolean>},
        {{"public", "boolean", "false",
          "Allows `listen` on addresses that are not loopback: anybody who reaches them can read "
          "the status."},
         set<&T::is_public, values::boolean>},
    };
    return keys;
}

const std::vector<Key<ListenSettings>>& listen_keys() {
    using T = ListenSettings;
    static const std::vector<Key<T>> keys = {
        {{"address", "address", "required",
          "\"[::]:443\" (all IPv6 and IPv4), \"*:443\" (all IPv4), \"192.0.2.1:443\", "
          "\"[2001:db8::1]:443\" or \"unix:/path\"."},
         set<&T::address, values::listen_address>},
        {{"protocol", "text", "required", "\"https\" or \"http\"."}, set<&T::protocol, protocol>},
        {{"public_port", "number", "",
          "The port that clients use, if something in front maps it: for redirects and "
          "X-Forwarded-Port. None: the address's own."},
         set_integer<&T::public_port, 1, 65535>},
        {{"backlog", "number", "4096", "Connections that may wait to be accepted, per worker."},
         set_integer<&T::backlog, 1, 65535>},
    };
    return keys;
}

const std::vector<Key<TlsSettings>>& tls_keys() {
    using T = TlsSettings;
    static const std::vector<Key<T>> keys = {
        {{"policy", "text", "\"intermediate\"",
          "\"intermediate\" (TLS 1.2 and 1.3) or \"modern\" (TLS 1.3 only), as Mozilla's server "
          "side TLS."},
         set<&T::policy, policy>},
        {{"groups", "list of texts", "",
          "Groups of the key exchange, best first. None: X25519MLKEM768, X25519, P-256 and P-384, "
          "as far as OpenSSL knows them. Possible besides: SecP256r1MLKEM768, "
          "SecP384r1MLKEM1024, X448 and P-521. Those with MLKEM withstand quantum computers, and "
          "need OpenSSL 3.5; `mdfront version --verbose` tells which are known."},
         set<&T::groups, values::groups>},
        {{"certificates_decoded_max", "number", "4096",
          "Certificates that each worker keeps ready for use; more are decoded again when needed."},
         set_integer<&T::certificates_decoded_max, 16, 1'000'000>},
    };
    return keys;
}

const std::vector<Key<proxy::Limits>>& limit_keys() {
    using T = proxy::Limits;
    static const std::vector<Key<T>> keys = {
        {{"handshake_timeout", "duration", "\"10s\"",
          "From accepting a connection to the end of its TLS handshake."},
         set_milliseconds<&T::handshake_ms, 100, day_ms>},
        {{"head_timeout", "duration", "\"10s\"",
          "From the first byte of a request's head to its end."},
         set_milliseconds<&T::head_ms, 100, day_ms>},
        {{"idle_timeout", "duration", "\"60s\"",
          "Waiting for the next request on a kept connection."},
         set_milliseconds<&T::idle_ms, 100, day_ms>},
        {{"body_timeout", "duration", "\"20s\"",
          "Without a byte of a request's body that could have been taken."},
         set_milliseconds<&T::body_ms, 100, day_ms>},
        {{"body_rate_min", "size", "\"1KiB\"",
          "Bytes per second of a request's body, averaged, from its tenth second on; 0: no limit."},
         set_size<&T::body_rate_min, 0, 1u << 30>},
        {{"response_rate_min", "size", "\"1KiB\"",
          "Bytes per second that a client takes while something waits for it, from the tenth "
          "second on; it is cut when it is 100 s behind, 400 s if it was faster before. 0: no "
          "limit."},
         set_size<&T::response_rate_min, 0, 1u << 30>},
        {{"backend_connect_timeout", "duration", "\"5s\"", "Connecting to a backend's server."},
         set_milliseconds<&T::backend_connect_ms, 10, day_ms>},
        {{"backend_response_timeout", "duration", "\"60s\"",
          "From the request sent to the first byte of its response, and between two reads of the "
          "response."},
         set_milliseconds<&T::backend_response_ms, 10, day_ms>},
        {{"backend_idle_timeout", "duration", "\"10s\"",
          "How long an unused connection to a backend is kept; less if the backend announces "
          "less."},
         set_milliseconds<&T::backend_idle_ms, 0, day_ms>},
        {{"backend_idle_max", "number", "1024",
          "Unused connections kept per server of a backend and worker, at most: no more than were "
          "in use lately."},
         set_integer<&T::backend_idle_max, 0, 100'000>},
        {{"tunnel_idle_timeout", "duration", "\"1h\"",
          "Without a byte on a WebSocket, in either direction."},
         set_milliseconds<&T::tunnel_idle_ms, 1000, 30 * day_ms>},
        {{"request_body_max", "size", "0", "Larger request bodies are refused (413); 0: no limit."},
         set_size<&T::request_body_max, 0, UINT64_MAX>},
        {{"connections_max", "number", "65536",
          "Client connections per worker; more wait in the listeners' backlogs. Lower where the "
          "process may have too few descriptors: see Descriptors and locked memory."},
         set_integer<&T::connections_max, 1, 10'000'000>},
        {{"allow_unusual_field_names", "boolean", "false",
          "Passes request fields on whose names have more than letters, digits and \"-\", as "
          "\"X_Forwarded_For\" and \"X.Forwarded.For\"; still not those that a gateway (CGI, PHP, "
          "WSGI) could take for one that we make or remove."},
         set<&T::allow_unusual_field_names, values::boolean>},
    };
    return keys;
}

const std::vector<Key<BackendSettings>>& backend_keys() {
    using T = BackendSettings;
    static const std::vector<Key<T>> keys = {
        {{"name", "text", "required", "What sites call it."}, set<&T::name, values::identifier>},
        {{"servers", "list of addresses", "required",
          "\"127.0.0.1:8080\", \"[::1]:8080\", \"unix:/path\", or a host name with a port, which "
          "is looked up when the configuration is read. Requests are spread over them."},
         set<&T::servers, values::servers>},
    };
    return keys;
}

const std::vector<Key<SiteSettings>>& site_keys() {
    using T = SiteSettings;
    static const std::vector<Key<T>> keys = {
        {{"hosts", "list of names", "required",
          "Host names of the site, the first is its name; \"*.example.org\" stands for one label."},
         site_hosts},
        {{"backend", "text", "required",
          "Name of a [[backend]], or an address as in its `servers`."},
         set_placed<&T::backend, &T::backend_place, values::text>},
        {{"managed", "boolean", "false",
          "Gets certificates for the hosts from the CA of [md]: short for an [[md.domain]] of "
          "these names."},
         set<&T::managed, values::boolean>},
        {{"certificate_file", "path or list", "",
          "PEM file(s) with certificate and chain, for a site with certificates of its own; one "
          "per key type."},
         set_placed<&T::certificate_files, &T::certificate_place, values::paths>},
        {{"certificate_key_file", "path or list", "",
          "PEM file(s) with the keys, in the same order."},
         set_placed<&T::key_files, &T::certificate_place, values::paths>},
        {{"require_https", "text", "",
          "\"off\", \"temporary\" or \"permanent\": redirects http to https; \"permanent\" also "
          "sends Strict-Transport-Security. None: as its managed domain says, else off."},
         set<&T::require_https, require_https>},
        {{"default", "boolean", "false",
          "Also answers for hosts that no site names, and its certificate for unknown names."},
         set<&T::is_default, values::boolean>},
    };
    return keys;
}

namespace {

template <typename T>
void add_texts(TableText& table, const std::vector<Key<T>>& keys) {
    table.keys.insert(table.keys.end(), keys.begin(), keys.end());
}

template <typename... T>
TableText table_of(std::string_view name, bool is_list, std::string_view meaning,
                   const std::vector<Key<T>>&... keys) {
    TableText table{name, is_list, meaning, {}};
    (add_texts(table, keys), ...);
    return table;
}

std::vector<TableText> make_schema() {
    std::vector<TableText> tables;
    tables.push_back({"",
                      false,
                      "Keys that stand before the first table.",
                      {{"include", "list of paths", "[]",
                        "More files, as \"conf.d/*.toml\", read in the order of their names: their "
                        "tables are added to this file's."}}});
    tables.push_back(table_of("server", false, "The process.", server_keys()));
    tables.push_back(table_of("server.access_log", false,
                              "The access log: access_log = { path = \"…\" } in [server].",
                              access_log_keys()));
    tables.push_back(table_of("admin", false, "The status page and its data.", admin_keys()));
    tables.push_back(table_of(
        "listen", true, "An address that clients connect to. All sites are served on all of them.",
        listen_keys()));
    tables.push_back(table_of("tls", false, "What TLS offers.", tls_keys()));
    tables.push_back(
        table_of("limits", false, "Bounds and waits of the HTTP front.", limit_keys()));
    tables.push_back(
        table_of("md", false,
                 "Managed domains: mod_md's directives without their MD, in snake_case. Those that "
                 "[[md.domain]] has too are what domains inherit.",
                 md_keys(), directive_keys()));
    TableText domain =
        table_of("md.domain", true, "A managed domain: names that share certificates (MDomain).",
                 domain_keys(), directive_keys());
    for (size_t i = domain_keys().size(); i < domain.keys.size(); ++i) {
        domain.keys[i].default_value = "as in [md]";
    }
    tables.push_back(std::move(domain));
    tables.push_back(table_of("backend", true, "Servers that answer requests, equal to each other.",
                              backend_keys()));
    tables.push_back(table_of(
        "site", true, "A virtual host: its hosts and where their requests go.", site_keys()));
    return tables;
}

/// "MDRenewWindow" and "renewWindow" as we write them: "renew_window".
std::string snake_case(std::string_view name) {
    if (name.size() > 2 && base::iequals(name.substr(0, 2), "md") && name[2] >= 'A' &&
        name[2] <= 'Z') {
        name.remove_prefix(2);
    } else if (name.starts_with("md_") || name.starts_with("MD_")) {
        name.remove_prefix(3);
    }
    std::string result;
    for (size_t i = 0; i < name.size(); ++i) {
        const bool upper = name[i] >= 'A' && name[i] <= 'Z';
        const bool after_lower = i > 0 && !(name[i - 1] >= 'A' && name[i - 1] <= 'Z');
        const bool before_lower = i + 1 < name.size() && name[i + 1] >= 'a' && name[i + 1] <= 'z';
        if (upper && i > 0 && result.back() != '_' && (after_lower || before_lower)) result += '_';
        result += name[i] == '-' ? '_' : base::to_lower(name[i]);
    }
    return result;
}

/// Names that a key has or had elsewhere, for hints.
constexpr std::pair<std::string_view, std::string_view> former_names[] = {
    {"omain", "names"},
    {"domain", "names"},
    {"domains", "names"},
    {"email", "contact_email"},
    {"server_admin", "contact_email"},
    {"ca", "certificate_authority"},
    {"server_name", "hosts"},
    {"server_alias", "hosts"},
    {"names", "hosts"},
    {"host", "hosts"},
    {"proxy_pass", "backend"},
    {"listener", "listen"},
    {"port", "address"},
    {"store", "store_dir"},
    {"renew_via_a_r_i", "renew_via_ari"},
    {"ssl_certificate_file", "certificate_file"},
    {"ssl_certificate_key_file", "certificate_key_file"},
};

std::string heading(const TableText& table) {
    if (table.name.empty()) return "the top of the file";
    return table.is_list ? fmt::format("[[{}]]", table.name) : fmt::format("[{}]", table.name);
}

std::string unknown_key_hint(std::string_view name, std::string_view table) {
    std::vector<std::string_view> known;
    const TableText* here = nullptr;
    for (const TableText& candidate : schema()) {
        if (candidate.name == table) here = &candidate;
    }
    for (const KeyText& key : here->keys) known.push_back(key.name);
    const auto has = [](const std::vector<std::string_view>& names, std::string_view wanted) {
        return std::find(names.begin(), names.end(), wanted) != names.end();
    };

    const std::string snake = snake_case(name);
    if (has(known, snake)) return fmt::format("write {}", snake);
    for (const auto& [former, now] : former_names) {
        if (former == snake && has(known, now)) return fmt::format("write {}", now);
    }
    std::vector<std::string> places;
    for (const TableText& other : schema()) {
        for (const KeyText& key : other.keys) {
            if (key.name == snake) places.push_back(heading(other));
        }
    }
    const auto close = base::nearest(snake, known);
    if (!places.empty()) {
        return fmt::format("{} belongs in {}", snake, fmt::join(places, " or "));
    }
    if (close) return fmt::format("did you mean {}?", *close);
    return fmt::format("{} has: {}", heading(*here), fmt::join(known, ", "));
}

}  // namespace

const std::vector<TableText>& schema() {
    static const std::vector<TableText> tables = make_schema();
    return tables;
}

std::string schema_markdown() {
    const auto cell = [](std::string_view text) {
        std::string result;
        for (const char c : text) {
            if (c == '|') result += '\\';
            result += c;
        }
        return result;
    };
    std::string text;
    for (const TableText& table : schema()) {
        text += table.name.empty() ? "### Top of the file\n\n"
                                   : fmt::format("### `{}`\n\n", heading(table));
        text += fmt::format("{}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n",
                            table.meaning);
        for (const KeyText& key : table.keys) {
            std::string fallback(key.default_value);
            if (fallback.empty()) {
                fallback = "none";
            } else if (fallback != "required" && fallback != "as in [md]") {
                fallback = fmt::format("`{}`", fallback);
            }
            text += fmt::format("| `{}` | {} | {} | {} |\n", key.name, cell(key.type),
                                cell(fallback), cell(key.meaning));
        }
        text += "\n";
    }
    return text;
}

namespace {

/// mod_md's own old names and second names: read like the present ones, and told of.
constexpr std::pair<std::string_view, std::string_view> second_names[] = {
    {"drive_mode", "renew_mode"},
    {"member", "names"},
    {"certificate_monitor", "certificate_check"},
};

std::string_view present_name(std::string_view name, const std::vector<BoundKey>& keys) {
    for (const auto& [old, present] : second_names) {
        if (old != name) continue;
        for (const BoundKey& key : keys) {
            if (key.name == present) return present;
        }
    }
    return name;
}

}  // namespace

void read_keys(const Node& node, std::string_view table, const std::vector<BoundKey>& keys,
               Mistakes& mistakes) {
    for (const Node::Entry& entry : node.entries) {
        const std::string_view name = present_name(entry.name, keys);
        const auto known = std::find_if(keys.begin(), keys.end(),
                                        [&](const BoundKey& key) { return key.name == name; });
        if (known == keys.end()) {
            mistakes.add(entry.place, "{}: unknown key; {}", base::escape_for_log(entry.name, 64),
                         unknown_key_hint(entry.name, table));
            continue;
        }
        if (known->name != entry.name) {
            if (std::any_of(node.entries.begin(), node.entries.end(),
                            [&](const Node::Entry& other) { return other.name == known->name; })) {
                mistakes.add(entry.place,
                             "{}: is another name of {}, which is there too; remove it", entry.name,
                             known->name);
                continue;
            }
            mistakes.warn(entry.place, "{}: is read as {}; write that", entry.name, known->name);
        }
        Reading reading{mistakes, known->name};
        known->read(entry.value, reading);
    }
}

}  // namespace app
