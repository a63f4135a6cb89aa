#include "app/config/document.h"

#include "base/secret.h"
#include "base/text.h"

namespace app {

std::string Place::text() const {
    if (!file) return "";
    return line > 0 ? fmt::format("{}:{}", file->path, line) : file->path;
}

const Node* Node::find(std::string_view name) const {
    for (const Entry& entry : entries) {
        if (entry.name == name) return &entry.value;
    }
    return nullptr;
}

bool Node::is_table_list() const {
    return kind == Kind::List && !items.empty() &&
           std::all_of(items.begin(), items.end(),
                       [](const Node& item) { return item.kind == Kind::Table; });
}

std::string Node::described() const {
    switch (kind) {
        case Kind::Text:
            return fmt::format("the text \"{}\"", base::escape_for_log(text, 64));
        case Kind::Integer:
            return fmt::format("the number {}", integer);
        case Kind::Real:
            return fmt::format("the number {}", real);
        case Kind::Boolean:
            return boolean ? "true" : "false";
        case Kind::Time:
            return "a date or time";
        case Kind::List:
            return is_table_list() ? "a list of tables" : "a list";
        case Kind::Table:
            break;
    }
    return "a table";
}

void wipe_texts(Node& node) {
    base::wipe(node.text);
    for (Node& item : node.items) wipe_texts(item);
    for (Node::Entry& entry : node.entries) wipe_texts(entry.value);
}

}  // namespace app
