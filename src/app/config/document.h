// What a configuration file says, freed from the TOML library: values with the places where they
// stand. Made by toml_reader, turned into a Configuration by the schema.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace app {

/// One file that was read.
struct SourceFile {
    std::string path;       // as named on the command line, or as an include found it
    std::string directory;  // "" for the working directory, else with '/' at the end
    int order = 0;          // in which the files were read
};

/// Where something stands. Without a file: nowhere in particular.
struct Place {
    std::shared_ptr<const SourceFile> file;
    uint32_t line = 0;

    /// "conf/mdfront.toml:14"
    std::string text() const;
};

/// A TOML value. Only the member that `kind` names is meant.
struct Node {
    enum class Kind : uint8_t { Text, Integer, Real, Boolean, Time, List, Table };
    struct Entry;

    Kind kind = Kind::Table;
    Place place;
    std::string text;
    int64_t integer = 0;
    double real = 0;
    bool boolean = false;
    std::vector<Node> items;
    std::vector<Entry> entries;  // in the order written

    const Node* find(std::string_view name) const;
    /// A list of at least one table and nothing else: what [[name]] makes.
    bool is_table_list() const;
    /// "text \"33\"", "the number 33", "a list": how a message calls it.
    std::string described() const;
};

/// Leaves nothing of the texts in memory: HMAC keys may stand in a configuration.
void wipe_texts(Node& node);

/// One key of a table.
struct Node::Entry {
    std::string name;
    Place place;
    Node value;
};

}  // namespace app
