#include "acme_fixture.h"

#include <cerrno>

#include "catch.h"
#include "store_fixture.h"

namespace md::test {

Outcome<std::optional<std::string>> MemoryStore::load(Group group, const std::string& name,
                                                      const std::string& aspect) {
    const auto directory = directories_.find({group, name});
    if (directory == directories_.end()) return std::optional<std::string>();
    const auto file = directory->second.find(aspect);
    if (file == directory->second.end()) return std::optional<std::string>();
    return std::optional<std::string>(file->second.bytes);
}

Outcome<std::optional<base::Secret>> MemoryStore::load_key(Group group, const std::string& name,
                                                           const std::string& aspect) {
    const auto bytes = load(group, name, aspect);
    if (!bytes.ok()) return bytes.error();
    if (!bytes.value()) return std::optional<base::Secret>();
    return std::optional<base::Secret>(std::string_view(*bytes.value()));
}

Outcome<void> MemoryStore::save(Group group, const std::string& name, const std::string& aspect,
                                std::string_view bytes) {
    if (read_only) return make_problem(EROFS, "the store cannot be written");
    if (frozen) return {};
    if (group == Group::Domains && held_.expired()) unlocked_writes.push_back(name + "/" + aspect);
    directories_[{group, name}][aspect] = {std::string(bytes), clock_.now()};
    return {};
}

Outcome<std::shared_ptr<StoreLock>> MemoryStore::hold() {
    if (is_locked) return make_problem(EAGAIN, "the store is locked by another process");
    auto token = held_.lock();
    if (!token) token = std::make_shared<int>(0);
    held_ = token;
    // Lives as long as the lock would; there is none.
    return std::shared_ptr<StoreLock>(token, static_cast<StoreLock*>(nullptr));
}

Outcome<void> MemoryStore::remove(Group group, const std::string& name, const std::string& aspect) {
    if (frozen) return {};
    const auto directory = directories_.find({group, name});
    if (directory != directories_.end()) directory->second.erase(aspect);
    return {};
}

Outcome<void> MemoryStore::purge(Group group, const std::string& name) {
    if (!frozen) directories_.erase({group, name});
    return {};
}

Outcome<std::vector<std::string>> MemoryStore::names(Group group) {
    std::vector<std::string> found;
    for (const auto& [key, files] : directories_) {
        if (key.first == group && !files.empty()) found.push_back(key.second);
    }
    return found;
}

Outcome<std::vector<std::string>> MemoryStore::aspects(Group group, const std::string& name) {
    std::vector<std::string> found;
    const auto directory = directories_.find({group, name});
    if (directory == directories_.end()) return found;
    for (const auto& [aspect, file] : directory->second) found.push_back(aspect);
    return found;
}

std::optional<base::Time> MemoryStore::modified(Group group, const std::string& name,
                                                const std::string& aspect) {
    const auto directory = directories_.find({group, name});
    if (directory == directories_.end()) return std::nullopt;
    const auto file = directory->second.find(aspect);
    if (file == directory->second.end()) return std::nullopt;
    return file->second.modified;
}

Outcome<void> MemoryStore::rename_domain(const std::string& from, const std::string& to) {
    for (const Group group : {Group::Domains, Group::Staging}) {
        auto node = directories_.extract({group, from});
        if (node.empty()) continue;
        node.key() = {group, to};
        directories_.insert(std::move(node));
    }
    return {};
}

Outcome<void> MemoryStore::activate_tmp(const std::string& name) {
    if (frozen) return {};
    if (read_only) return make_problem(EROFS, "the store cannot be written");
    auto fresh = directories_.extract({Group::Tmp, name});
    if (fresh.empty()) return make_problem(ENOENT, "nothing in tmp");
    auto old = directories_.extract({Group::Domains, name});
    if (!old.empty()) {
        const auto archived = static_cast<int>(names(Group::Archive)->size()) + 1;
        old.key() = {Group::Archive, fmt::format("{}.{}", name, archived)};
        directories_.insert(std::move(old));
    }
    fresh.key() = {Group::Domains, name};
    directories_.insert(std::move(fresh));
    return {};
}

CommandResult FakeCommands::run(const Command& command) {
    if (command.stop.stop_requested()) return {CommandResult::End::Stopped, 0, ""};
    calls.push_back(command);
    return on_run ? on_run(command) : CommandResult{};
}

std::vector<std::string> FakeCommands::lines(size_t from) const {
    std::vector<std::string> result;
    for (size_t i = from; i < calls.size(); ++i) {
        result.push_back(fmt::format("{}", fmt::join(calls[i].argv, " ")));
    }
    return result;
}

int FakeCommands::count(const std::string& line) const {
    const auto all = lines();
    return static_cast<int>(std::count(all.begin(), all.end(), line));
}

World::World(std::vector<Domain> configured)
    : clock(noon), store(clock), ca(clock, ports), domains(std::move(configured)) {
    settings.user_agent = "test";
    settings.domains_in_parallel = 1;
    restart();
}

void World::restart() {
    engine.reset();
    ports.http01_answers.clear();
    ports.alpn_answers.clear();
    store.frozen = false;
    engine = std::make_unique<Engine>(
        settings, domains, store, files, clock, random, [this] { return ca.transport(); }, ports,
        ports, commands, keys);
    REQUIRE(engine->load());
}

void World::live(base::Duration duration) {
    live_through(
        clock, duration, [this] { run(); }, [this] { return engine->next_due(); });
}

Domain acme_domain(std::vector<std::string> names) {
    Domain domain;
    domain.name = names.front();
    domain.names = std::move(names);
    domain.contacts = {"mailto:ops@example.org"};
    domain.agreement = "accepted";
    domain.ca_urls = {MiniCa::directory_url};
    domain.private_keys = {{KeySpec::Type::Ec, 0, "P-256"}};
    return domain;
}

}  // namespace md::test
