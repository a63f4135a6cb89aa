// Every table and key of the configuration in one place: type, default, meaning and reader. Used to
// read files, to name unknown keys with their nearest neighbour, and by the test that holds
// docs/configuration.md and conf/mdfront.toml to it. A new key is one line in schema.cc or
// md_schema.cc.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "app/config/configuration.h"
#include "app/config/values.h"

namespace app {

/// What people are told of a key.
struct KeyText {
    std::string_view name;
    std::string_view type;           // "duration", "size", "text", "list of texts", …
    std::string_view default_value;  // as TOML; "" : none; "required"
    std::string_view meaning;
};

/// What people are told of a table.
struct TableText {
    std::string_view name;  // "server", "md.domain"
    bool is_list = false;   // [[name]]
    std::string_view meaning;
    std::vector<KeyText> keys;
};

/// All tables, in the order of the documentation.
const std::vector<TableText>& schema();

/// The tables of docs/configuration.md, in Markdown.
std::string schema_markdown();

/// A key with its reader; `T` is the struct that the table fills.
template <typename T>
struct Key : KeyText {
    void (*read)(T& into, const Node& node, Reading& reading);
};

/// A key of a table in the making, bound to what it fills.
struct BoundKey {
    std::string_view name;
    std::function<void(const Node& node, Reading& reading)> read;
};

/// Reads the keys of one table; unknown ones are mistakes with a hint. `table` as in schema().
void read_keys(const Node& node, std::string_view table, const std::vector<BoundKey>& keys,
               Mistakes& mistakes);

template <typename T>
void bind(std::vector<BoundKey>& bound, const std::vector<Key<T>>& keys, T& into) {
    for (const Key<T>& key : keys) {
        bound.push_back({key.name, [&into, read = key.read](const Node& node, Reading& reading) {
                             read(into, node, reading);
                         }});
    }
}

// The keys of each table.
const std::vector<Key<ServerSettings>>& server_keys();
const std::vector<Key<AccessLogSettings>>& access_log_keys();
const std::vector<Key<AdminSettings>>& admin_keys();
const std::vector<Key<ListenSettings>>& listen_keys();
const std::vector<Key<TlsSettings>>& tls_keys();
const std::vector<Key<proxy::Limits>>& limit_keys();
const std::vector<Key<BackendSettings>>& backend_keys();
const std::vector<Key<SiteSettings>>& site_keys();
const std::vector<Key<MdSettings>>& md_keys();
const std::vector<Key<DomainSettings>>& domain_keys();
/// Of [md] and [[md.domain]] both.
const std::vector<Key<DomainDirectives>>& directive_keys();

}  // namespace app
