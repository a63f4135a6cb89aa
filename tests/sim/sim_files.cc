#include "sim_files.h"

#include <fcntl.h>

#include <cerrno>

namespace md::test {

SimFiles::SimFiles(base::Clock& clock, base::Random& random) : clock_(clock), random_(random) {}

int SimFiles::begin_call(bool changes, bool grows) {
    if (is_over_) return -EIO;
    ++calls_;
    if (before_call) before_call();
    int error = 0;
    switch (trouble_) {
        case Trouble::None:
            break;
        case Trouble::Full:
            if (grows) error = -ENOSPC;
            break;
        case Trouble::ReadOnly:
            if (changes) error = -EROFS;
            break;
        case Trouble::Failing:
            if (random_.below(changes ? 8 : 64) == 0) error = -EIO;
            break;
    }
    if (error != 0) ++errors_;
    return error;
}

void SimFiles::end_process() {
    is_over_ = true;
}

void SimFiles::begin_process(bool after_power_cut) {
    is_over_ = false;
    open_.clear();
    if (!after_power_cut || !root_) return;
    for (const Change& change : pending_) {
        if (random_.below(2) == 0) continue;
        for (const Assignment& one : change) assign(one.directory->durable_entries, one);
    }
    pending_.clear();
    dirty_.clear();
    cut_power(root_);
}

void SimFiles::write_back() {
    for (const Change& change : pending_) {
        for (const Assignment& one : change) assign(one.directory->durable_entries, one);
    }
    pending_.clear();
    for (const NodePtr& node : dirty_) {
        if (!node->is_lost) node->durable = node->bytes;
    }
    dirty_.clear();
}

/// What is durable is what there is.
void SimFiles::cut_power(const NodePtr& node) {
    if (node->directory) {
        node->entries = node->durable_entries;
        for (const auto& [name, place] : node->entries) cut_power(place.node);
        return;
    }
    const uint64_t fate = random_.below(3);
    if (node->bytes == node->durable) return;
    if (node->is_lost || fate == 0) {
        node->bytes = node->durable;
    } else if (fate == 1) {
        node->bytes.resize(node->bytes.size() / 2);
    }
    node->durable = node->bytes;
    node->is_lost = false;
}

void SimFiles::assign(std::map<std::string, Place>& entries, const Assignment& one) {
    if (one.place.node) {
        entries[one.name] = one.place;
    } else {
        entries.erase(one.name);
    }
}

void SimFiles::apply(Change change) {
    for (const Assignment& one : change) assign(one.directory->entries, one);
    pending_.push_back(std::move(change));
}

int SimFiles::add(NodePtr node) {
    const int fd = next_fd_++;
    open_[fd] = {std::move(node)};
    return fd;
}

SimFiles::Open* SimFiles::find(int fd) {
    const auto at = open_.find(fd);
    return at == open_.end() ? nullptr : &at->second;
}

SimFiles::NodePtr SimFiles::directory_at(int fd) {
    const Open* open = find(fd);
    return open != nullptr && open->node->directory ? open->node : nullptr;
}

// The store is the only directory beneath one that is always there.

int SimFiles::open_root(const std::string& path) {
    if (const int error = begin_call(false, false); error < 0) return error;
    if (path == "/") {
        auto top = std::make_shared<Node>();
        top->directory = true;
        return add(std::move(top));
    }
    return root_ ? add(root_) : -ENOENT;
}

int SimFiles::make_root(const std::string&) {
    if (const int error = begin_call(true, true); error < 0) return error;
    if (root_) return -EEXIST;
    root_ = std::make_shared<Node>();
    root_->directory = true;
    root_->mode = 0700;
    return 0;
}

int SimFiles::open(int directory, const std::string& path, int flags) {
    const bool creates = (flags & O_CREAT) != 0;
    if (const int error = begin_call(creates, creates); error < 0) return error;
    const NodePtr parent = directory_at(directory);
    if (!parent) return -EBADF;
    const auto at = parent->entries.find(path);
    if (at != parent->entries.end()) {
        const NodePtr node = at->second.node;
        if (creates && (flags & O_EXCL) != 0) return -EEXIST;
        if ((flags & O_DIRECTORY) != 0 && !node->directory) return -ENOTDIR;
        return add(node);
    }
    if (!creates) return -ENOENT;
    auto node = std::make_shared<Node>();
    node->mode = 0600;
    node->modified = clock_.now();
    apply({{parent, path, {node, ++order_}}});
    return add(std::move(node));
}

int SimFiles::close(int fd) {
    return open_.erase(fd) == 1 ? 0 : -EBADF;
}

ssize_t SimFiles::read(int fd, std::span<char> into) {
    if (const int error = begin_call(false, false); error < 0) return error;
    Open* open = find(fd);
    if (open == nullptr) return -EBADF;
    if (open->node->directory) return -EISDIR;
    const std::string& bytes = open->node->bytes;
    const size_t from = std::min(open->offset, bytes.size());
    const size_t count = std::min(into.size(), bytes.size() - from);
    std::copy_n(bytes.data() + from, count, into.data());
    open->offset += count;
    return static_cast<ssize_t>(count);
}

ssize_t SimFiles::write(int fd, std::string_view bytes) {
    if (const int error = begin_call(true, true); error < 0) return error;
    Open* open = find(fd);
    if (open == nullptr) return -EBADF;
    Node& node = *open->node;
    node.bytes.resize(std::max(node.bytes.size(), open->offset + bytes.size()));
    std::copy(bytes.begin(), bytes.end(), node.bytes.data() + open->offset);
    open->offset += bytes.size();
    node.modified = clock_.now();
    dirty_.push_back(open->node);
    return static_cast<ssize_t>(bytes.size());
}

int SimFiles::stat(int fd, FileFacts& facts) {
    if (const int error = begin_call(false, false); error < 0) return error;
    const Open* open = find(fd);
    if (open == nullptr) return -EBADF;
    const Node& node = *open->node;
    facts = {.regular = !node.directory,
             .directory = node.directory,
             .size = node.bytes.size(),
             .links = 1,
             .mode = node.mode,
             .modified = node.modified};
    return 0;
}

int SimFiles::set_mode(int fd, unsigned mode) {
    if (const int error = begin_call(true, false); error < 0) return error;
    const Open* open = find(fd);
    if (open == nullptr) return -EBADF;
    open->node->mode = mode;
    return 0;
}

int SimFiles::sync(int fd) {
    const int error = begin_call(true, false);
    const Open* open = find(fd);
    if (open == nullptr) return error < 0 ? error : -EBADF;
    Node& node = *open->node;
    if (error < 0) {
        node.is_lost = !node.directory;
        return error;
    }
    if (!node.directory) {
        if (!node.is_lost) node.durable = node.bytes;
        return 0;
    }
    std::vector<Change> left;
    for (Change& change : pending_) {
        const bool touches = std::any_of(change.begin(), change.end(), [&](const Assignment& one) {
            return one.directory.get() == &node;
        });
        if (!touches) {
            left.push_back(std::move(change));
            continue;
        }
        for (const Assignment& one : change) assign(one.directory->durable_entries, one);
    }
    pending_ = std::move(left);
    return 0;
}

int SimFiles::list(int directory, std::vector<Entry>& entries) {
    if (const int error = begin_call(false, false); error < 0) return error;
    const NodePtr parent = directory_at(directory);
    if (!parent) return -EBADF;
    std::map<uint64_t, Entry> in_order;
    for (const auto& [name, place] : parent->entries) {
        in_order[place.order] = {name, place.node->directory};
    }
    entries.clear();
    for (auto& [order, entry] : in_order) entries.push_back(std::move(entry));
    return 0;
}

int SimFiles::rename(int from_directory, const std::string& from, int to_directory,
                     const std::string& to) {
    if (const int error = begin_call(true, false); error < 0) return error;
    const NodePtr source = directory_at(from_directory);
    const NodePtr target = directory_at(to_directory);
    if (!source || !target) return -EBADF;
    const auto at = source->entries.find(from);
    if (at == source->entries.end()) return -ENOENT;
    const NodePtr node = at->second.node;
    if (const auto old = target->entries.find(to); old != target->entries.end()) {
        const Node& there = *old->second.node;
        if (there.directory != node->directory) return there.directory ? -EISDIR : -ENOTDIR;
        if (there.directory && !there.entries.empty()) return -ENOTEMPTY;
    }
    apply({{source, from, {}}, {target, to, {node, ++order_}}});
    return 0;
}

int SimFiles::unlink(int directory, const std::string& name) {
    if (const int error = begin_call(true, false); error < 0) return error;
    const NodePtr parent = directory_at(directory);
    if (!parent) return -EBADF;
    const auto at = parent->entries.find(name);
    if (at == parent->entries.end()) return -ENOENT;
    if (at->second.node->directory) return -EISDIR;
    apply({{parent, name, {}}});
    return 0;
}

int SimFiles::make_directory(int directory, const std::string& name) {
    if (const int error = begin_call(true, true); error < 0) return error;
    const NodePtr parent = directory_at(directory);
    if (!parent) return -EBADF;
    if (parent->entries.contains(name)) return -EEXIST;
    auto node = std::make_shared<Node>();
    node->directory = true;
    node->mode = 0700;
    apply({{parent, name, {std::move(node), ++order_}}});
    return 0;
}

int SimFiles::remove_directory(int directory, const std::string& name) {
    if (const int error = begin_call(true, false); error < 0) return error;
    const NodePtr parent = directory_at(directory);
    if (!parent) return -EBADF;
    const auto at = parent->entries.find(name);
    if (at == parent->entries.end()) return -ENOENT;
    if (!at->second.node->directory) return -ENOTDIR;
    if (!at->second.node->entries.empty()) return -ENOTEMPTY;
    apply({{parent, name, {}}});
    return 0;
}

int SimFiles::lock(int fd) {
    if (const int error = begin_call(false, false); error < 0) return error;
    Open* mine = find(fd);
    if (mine == nullptr) return -EBADF;
    for (const auto& [other_fd, open] : open_) {
        if (other_fd != fd && open.node == mine->node && open.locked) return -EAGAIN;
    }
    mine->locked = true;
    return 0;
}

int SimFiles::truncate(int fd) {
    if (const int error = begin_call(true, false); error < 0) return error;
    Open* open = find(fd);
    if (open == nullptr) return -EBADF;
    open->node->bytes.clear();
    return 0;
}

void SimFiles::collect(const Node& node, const std::string& path, std::vector<std::string>& into) {
    for (const auto& [name, place] : node.entries) {
        const std::string below = path.empty() ? name : path + "/" + name;
        if (place.node->directory) {
            collect(*place.node, below, into);
        } else {
            into.push_back(below);
        }
    }
}

std::vector<std::string> SimFiles::paths() const {
    std::vector<std::string> found;
    if (root_) collect(*root_, "", found);
    return found;
}

const SimFiles::Node* SimFiles::walk(const std::string& path) const {
    const Node* node = root_.get();
    size_t at = 0;
    while (node != nullptr && at <= path.size()) {
        const size_t end = std::min(path.find('/', at), path.size());
        const auto entry = node->entries.find(path.substr(at, end - at));
        if (entry == node->entries.end()) return nullptr;
        node = entry->second.node.get();
        at = end + 1;
    }
    return node;
}

const std::string* SimFiles::bytes(const std::string& path) const {
    const Node* node = walk(path);
    return node != nullptr && !node->directory ? &node->bytes : nullptr;
}

std::optional<base::Time> SimFiles::modified(const std::string& path) const {
    const Node* node = walk(path);
    return node != nullptr ? std::optional(node->modified) : std::nullopt;
}

uint64_t SimFiles::order(const std::string& path) const {
    const size_t slash = path.rfind('/');
    const Node* directory = walk(path.substr(0, slash));
    if (directory == nullptr) return 0;
    const auto entry = directory->entries.find(path.substr(slash + 1));
    return entry == directory->entries.end() ? 0 : entry->second.order;
}

}  // namespace md::test
