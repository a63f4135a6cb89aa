#include "app/config/configuration_reader.h"

#include "app/config/schema.h"
#include "base/text.h"

namespace app {

namespace {

/// The table of that name; null and a mistake if it is something else.
const Node* table_in(const Node& document, std::string_view name, Mistakes& mistakes) {
    const Node* node = document.find(name);
    if (node == nullptr || node->kind == Node::Kind::Table) return node;
    if (node->is_table_list()) {
        mistakes.add(node->items.front().place, "{}: there is one of these; write [{}]", name,
                     name);
    } else {
        mistakes.add(node->place, "{}: is {}; write a table: [{}]", name, node->described(), name);
    }
    return nullptr;
}

/// The tables of a list; `whole` as people write it: "md.domain".
std::vector<const Node*> tables_in(const Node& document, std::string_view name,
                                   std::string_view whole, Mistakes& mistakes) {
    std::vector<const Node*> tables;
    const Node* node = document.find(name);
    if (node == nullptr) return tables;
    if (node->kind == Node::Kind::Table) {
        mistakes.add(node->place, "{}: there can be several of these; write [[{}]]", whole, whole);
        tables.push_back(node);
    } else if (node->is_table_list()) {
        for (const Node& item : node->items) tables.push_back(&item);
    } else {
        mistakes.add(node->place, "{}: is {}; write tables: [[{}]]", whole, node->described(),
                     whole);
    }
    return tables;
}

template <typename T>
void read_table(const Node& document, std::string_view name, const std::vector<Key<T>>& keys,
                T& into, Mistakes& mistakes) {
    const Node* table = table_in(document, name, mistakes);
    if (table == nullptr) return;
    std::vector<BoundKey> bound;
    bind(bound, keys, into);
    read_keys(*table, name, bound, mistakes);
}

/// Elements of a list of tables; each has a member `place`.
template <typename T>
std::vector<T> read_tables(const Node& document, std::string_view name,
                           const std::vector<Key<T>>& keys, Mistakes& mistakes) {
    std::vector<T> all;
    for (const Node* table : tables_in(document, name, name, mistakes)) {
        T one;
        one.place = table->place;
        std::vector<BoundKey> bound;
        bind(bound, keys, one);
        read_keys(*table, name, bound, mistakes);
        for (const Key<T>& key : keys) {
            if (key.default_value == "required" && table->find(key.name) == nullptr) {
                mistakes.add(table->place, "[[{}]] has no {}; it needs one", name, key.name);
            }
        }
        all.push_back(std::move(one));
    }
    return all;
}

void read_md(const Node& document, Configuration& configuration, Mistakes& mistakes) {
    const Node* table = table_in(document, "md", mistakes);
    if (table == nullptr) return;
    MdSettings& md = configuration.md;
    md.place = table->place;
    std::vector<BoundKey> bound;
    bind(bound, md_keys(), md);
    bind(bound, directive_keys(), md.directives);
    bound.push_back({"domain", [](const Node&, Reading&) {}});  // the tables below
    read_keys(*table, "md", bound, mistakes);

    for (const Node* node : tables_in(*table, "domain", "md.domain", mistakes)) {
        DomainSettings domain;
        domain.place = node->place;
        std::vector<BoundKey> keys;
        bind(keys, domain_keys(), domain);
        bind(keys, directive_keys(), domain.directives);
        read_keys(*node, "md.domain", keys, mistakes);
        if (node->find("names") == nullptr) {
            mistakes.add(node->place, "[[md.domain]] has no names; it needs at least one");
        }
        configuration.domains.push_back(std::move(domain));
    }
}

void check_tables(const Node& document, Mistakes& mistakes) {
    std::vector<std::string_view> known{"include"};  // was taken by the TOML reader
    for (const TableText& table : schema()) {
        if (!table.name.empty() && table.name.find('.') == std::string_view::npos) {
            known.push_back(table.name);
        }
    }
    for (const Node::Entry& entry : document.entries) {
        if (std::find(known.begin(), known.end(), entry.name) != known.end()) continue;
        std::vector<std::string> homes;
        for (const TableText& table : schema()) {
            for (const KeyText& key : table.keys) {
                if (key.name == entry.name) {
                    homes.push_back(
                        fmt::format(fmt::runtime(table.is_list ? "[[{}]]" : "[{}]"), table.name));
                }
            }
        }
        const auto close = base::nearest(base::to_lower(entry.name), known);
        std::string hint = fmt::format("there are: {}", fmt::join(known, ", "));
        if (close) hint = fmt::format("did you mean {}?", *close);
        if (!homes.empty()) hint = fmt::format("it belongs in {}", fmt::join(homes, " or "));
        const bool is_table = entry.value.kind == Node::Kind::Table || entry.value.is_table_list();
        mistakes.add(entry.place, "{}: unknown {}; {}", base::escape_for_log(entry.name, 64),
                     is_table ? "table" : "key", hint);
    }
}

}  // namespace

Configuration read_configuration(const Node& document, const std::string& path,
                                 Mistakes& mistakes) {
    Configuration configuration;
    configuration.path = path;
    configuration.place = document.place;
    check_tables(document, mistakes);
    read_table(document, "server", server_keys(), configuration.server, mistakes);
    read_table(document, "admin", admin_keys(), configuration.admin, mistakes);
    if (const Node* admin = document.find("admin")) configuration.admin.place = admin->place;
    configuration.listens = read_tables(document, "listen", listen_keys(), mistakes);
    read_table(document, "tls", tls_keys(), configuration.tls, mistakes);
    read_table(document, "limits", limit_keys(), configuration.limits, mistakes);
    read_md(document, configuration, mistakes);
    configuration.backends = read_tables(document, "backend", backend_keys(), mistakes);
    configuration.sites = read_tables(document, "site", site_keys(), mistakes);

    // managed = true is short for an [[md.domain]] of the hosts.
    for (const SiteSettings& site : configuration.sites) {
        if (!site.managed || site.hosts.empty()) continue;
        DomainSettings domain;
        domain.place = site.place;
        domain.names = site.hosts;
        domain.from_site = true;
        configuration.domains.push_back(std::move(domain));
    }
    return configuration;
}

bool Configuration::listens_for(proxy::Protocol protocol) const {
    return std::any_of(listens.begin(), listens.end(),
                       [&](const ListenSettings& listen) { return listen.protocol == protocol; });
}

bool Configuration::listens_on(proxy::Protocol protocol, uint16_t port) const {
    return std::any_of(listens.begin(), listens.end(), [&](const ListenSettings& listen) {
        return listen.protocol == protocol && listen.address && !listen.address->is_unix() &&
               listen.address->port() == port;
    });
}

}  // namespace app
