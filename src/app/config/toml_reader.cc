#include "app/config/toml_reader.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <toml++/toml.h>

#include "base/secret.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace app {

namespace {

using File = std::shared_ptr<const SourceFile>;

File make_file(const std::string& path, int order) {
    const size_t slash = path.rfind('/');
    return std::make_shared<const SourceFile>(
        SourceFile{path, slash == std::string::npos ? "" : path.substr(0, slash + 1), order});
}

/// The bytes of a file; false after saying why not.
bool read_file(const File& file, std::string& bytes, Mistakes& mistakes) {
    const Place place{file, 0};
    const base::UniqueFd fd(::open(file->path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!fd || ::fstat(fd.fd(), &status) != 0) {
        mistakes.add(place, "cannot be read: {}", std::strerror(errno));
        return false;
    }
    if (!S_ISREG(status.st_mode)) {
        mistakes.add(place, "is {}; a configuration is a plain file",
                     S_ISDIR(status.st_mode) ? "a directory" : "not a file");
        return false;
    }
    if (static_cast<uint64_t>(status.st_size) > config_bytes_max) {
        mistakes.add(place, "has {} bytes; more than {} MiB is no configuration", status.st_size,
                     config_bytes_max >> 20);
        return false;
    }
    if ((status.st_mode & S_IWOTH) != 0) {
        mistakes.warn(place, "can be written by everybody (mode {:04o}); run chmod o-w on it",
                      status.st_mode & 07777u);
    }
    bytes.resize(static_cast<size_t>(status.st_size));
    size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t got = ::read(fd.fd(), bytes.data() + done, bytes.size() - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            mistakes.add(place, "cannot be read: {}", std::strerror(errno));
            return false;
        }
        if (got == 0) break;
        done += static_cast<size_t>(got);
    }
    bytes.resize(done);
    mistakes.note_read(place, file->path);
    return true;
}

Place place_of(const File& file, const toml::source_region& source) {
    return {file, source.begin.line};
}

Node convert(const toml::node& from, const File& file, int depth, Mistakes& mistakes) {
    Node node;
    node.place = place_of(file, from.source());
    if (depth > config_depth_max) {
        mistakes.add(node.place, "is nested deeper than {} tables", config_depth_max);
        return node;
    }
    if (const toml::table* table = from.as_table()) {
        node.kind = Node::Kind::Table;
        for (const auto& [key, value] : *table) {
            Node::Entry entry;
            entry.name = key.str();
            entry.place = place_of(file, key.source());
            entry.value = convert(value, file, depth + 1, mistakes);
            // A plain value is named by its key's line, also if it begins on the next one.
            if (!value.is_array_of_tables() && !value.is_table()) entry.value.place = entry.place;
            node.entries.push_back(std::move(entry));
        }
        // toml++ sorts by name; people read from top to bottom.
        std::stable_sort(
            node.entries.begin(), node.entries.end(),
            [](const Node::Entry& a, const Node::Entry& b) { return a.place.line < b.place.line; });
    } else if (const toml::array* list = from.as_array()) {
        node.kind = Node::Kind::List;
        for (const toml::node& item : *list) {
            node.items.push_back(convert(item, file, depth + 1, mistakes));
        }
    } else if (const auto* text = from.as_string()) {
        node.kind = Node::Kind::Text;
        node.text = text->get();
    } else if (const auto* integer = from.as_integer()) {
        node.kind = Node::Kind::Integer;
        node.integer = integer->get();
    } else if (const auto* real = from.as_floating_point()) {
        node.kind = Node::Kind::Real;
        node.real = real->get();
    } else if (const auto* boolean = from.as_boolean()) {
        node.kind = Node::Kind::Boolean;
        node.boolean = boolean->get();
    } else {
        node.kind = Node::Kind::Time;
    }
    return node;
}

/// What a line of TOML defines: "[name]", or the text before '='.
std::string_view defined_by(std::string_view line) {
    line = base::trim(line);
    if (line.starts_with('[')) return base::trim(line.substr(0, line.find('#')));
    return base::trim(line.substr(0, line.find('=')));
}

/// toml++ names the second definition only; the first is the nearest earlier line that defines the
/// same (faults.md CF-03). 0 if it is not found.
uint32_t first_definition(std::string_view text, uint32_t second) {
    const std::vector<std::string_view> lines = base::split(text, '\n');
    if (second == 0 || second > lines.size()) return 0;
    const std::string_view wanted = defined_by(lines[second - 1]);
    for (uint32_t line = second - 1; line > 0; --line) {
        if (!wanted.empty() && defined_by(lines[line - 1]) == wanted) return line;
    }
    return 0;
}

std::string explain(const toml::parse_error& error, std::string_view text) {
    // It may quote any byte of the file, a line break among them.
    std::string what = base::escape_for_log(error.description());
    // "Error while parsing key-value pair: cannot …" is the parser's view; people want the rest.
    if (const size_t colon = what.find(": ");
        what.starts_with("Error while") && colon != std::string::npos) {
        what.erase(0, colon + 2);
    }
    if (what.find("cannot redefine") != std::string::npos) {
        const uint32_t first = first_definition(text, error.source().begin.line);
        if (first > 0) what += fmt::format("; it is first defined in line {}", first);
        return what + "; remove one of the two";
    }
    if (what.find("could not determine value type") != std::string::npos) {
        return "this is no value; text stands in quotes: name = \"text\"";
    }
    if (what.find("invalid utf-8") != std::string::npos) {
        return "is not UTF-8; save the file in UTF-8";
    }
    if (what.find("unescaped control characters") != std::string::npos) {
        return "a text does not end in its line; close it with a quote";
    }
    return "is not valid TOML: " + what;
}

Node parse(std::string_view text, const File& file, Mistakes& mistakes) {
    try {
        return convert(toml::parse(text, file->path), file, 0, mistakes);
    } catch (const toml::parse_error& error) {
        mistakes.add(place_of(file, error.source()), "{}", explain(error, text));
    }
    Node empty;
    empty.place = {file, 0};
    return empty;
}

void merge(Node& into, Node&& from, Mistakes& mistakes) {
    for (Node::Entry& entry : from.entries) {
        const auto old = std::find_if(into.entries.begin(), into.entries.end(),
                                      [&](const Node::Entry& e) { return e.name == entry.name; });
        if (old == into.entries.end()) {
            into.entries.push_back(std::move(entry));
        } else if (old->value.kind == Node::Kind::Table && entry.value.kind == Node::Kind::Table) {
            merge(old->value, std::move(entry.value), mistakes);
        } else if (old->value.is_table_list() && entry.value.is_table_list()) {
            std::move(entry.value.items.begin(), entry.value.items.end(),
                      std::back_inserter(old->value.items));
        } else {
            mistakes.add(entry.place, "{} is already set at {}; remove one of the two", entry.name,
                         old->place.text());
        }
    }
}

/// Files that one entry of `include` names, sorted.
std::vector<std::string> expand(const Node& pattern, Mistakes& mistakes) {
    if (pattern.kind != Node::Kind::Text || pattern.text.empty()) {
        mistakes.add(pattern.place,
                     "include: is {}; write a list of file names: include = [\"conf.d/*.toml\"]",
                     pattern.described());
        return {};
    }
    const std::string path =
        pattern.text.starts_with('/') ? pattern.text : pattern.place.file->directory + pattern.text;
    glob_t found{};
    const int result = ::glob(path.c_str(), GLOB_ERR, nullptr, &found);
    std::vector<std::string> paths;
    for (size_t i = 0; result == 0 && i < found.gl_pathc; ++i) {
        paths.emplace_back(found.gl_pathv[i]);
    }
    ::globfree(&found);
    if (result == GLOB_NOMATCH) {
        // An empty conf.d is usual; a plain name that does not exist is a mistake (CF-44).
        if (path.find_first_of("*?[") == std::string::npos) {
            mistakes.add(pattern.place, "include: there is no file {}", path);
        } else {
            mistakes.warn(pattern.place, "include: no file matches {}", path);
        }
    } else if (result != 0) {
        mistakes.add(pattern.place, "include: {} cannot be listed: {}", path, std::strerror(errno));
    }
    return paths;
}

void read_includes(Node& root, const std::string& main_path, Mistakes& mistakes) {
    const auto include = std::find_if(root.entries.begin(), root.entries.end(),
                                      [](const Node::Entry& e) { return e.name == "include"; });
    if (include == root.entries.end()) return;
    const Node patterns = std::move(include->value);
    root.entries.erase(include);
    if (patterns.kind != Node::Kind::List) {
        mistakes.add(patterns.place,
                     "include: is {}; write a list of file names: include = [\"conf.d/*.toml\"]",
                     patterns.described());
        return;
    }
    std::vector<std::string> seen{main_path};
    int order = 1;
    for (Node pattern : patterns.items) {
        pattern.place = patterns.place;
        for (const std::string& path : expand(pattern, mistakes)) {
            if (std::find(seen.begin(), seen.end(), path) != seen.end()) {
                mistakes.add(pattern.place, "include: {} is included twice, or includes itself",
                             path);
                continue;
            }
            seen.push_back(path);
            const File file = make_file(path, order++);
            std::string bytes;
            if (!read_file(file, bytes, mistakes)) continue;
            Node document = parse(bytes, file, mistakes);
            base::wipe(bytes);
            if (const Node* nested = document.find("include")) {
                mistakes.add(nested->place,
                             "include: only the main file ({}) includes others; name these files "
                             "there",
                             main_path);
                std::erase_if(document.entries,
                              [](const Node::Entry& e) { return e.name == "include"; });
            }
            merge(root, std::move(document), mistakes);
        }
    }
}

}  // namespace

Node read_documents(const std::string& path, Mistakes& mistakes) {
    const File file = make_file(path, 0);
    std::string bytes;
    if (!read_file(file, bytes, mistakes)) {
        Node empty;
        empty.place = {file, 0};
        return empty;
    }
    Node document = read_document_text(bytes, path, mistakes);
    base::wipe(bytes);  // HMAC keys may stand in it
    return document;
}

Node read_document_text(std::string_view text, const std::string& path, Mistakes& mistakes) {
    const File file = make_file(path, 0);
    Node root = parse(text, file, mistakes);
    root.place = {file, 0};
    read_includes(root, path, mistakes);
    return root;
}

}  // namespace app
