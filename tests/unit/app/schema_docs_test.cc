// One table of keys: the documentation and the examples say what the schema says.
#include <catch2/catch.hpp>

#include <sstream>

#include "app/config/schema.h"
#include "app/config_support.h"
#include "base/text.h"

namespace {

std::string content(const std::filesystem::path& path) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE("docs/configuration.md has every key with its type, default and meaning") {
    const std::string docs = content(source_root() / "docs/configuration.md");
    REQUIRE_FALSE(docs.empty());
    const std::string expected = app::schema_markdown();
    for (const std::string_view line : base::split(expected, '\n')) {
        INFO(line);
        CHECK(docs.find(line) != std::string::npos);
    }
    // And nothing that the schema does not have.
    for (const std::string_view line : base::split(docs, '\n')) {
        if (!line.starts_with("| `")) continue;
        INFO(line);
        CHECK(expected.find(line) != std::string::npos);
    }
}

TEST_CASE("every default in the schema is one that its reader takes") {
    for (const app::TableText& table : app::schema()) {
        if (table.name.empty()) continue;  // include is read by the TOML reader
        for (const app::KeyText& key : table.keys) {
            if (key.default_value.empty() || key.default_value == "required" ||
                key.default_value == "as in [md]") {
                continue;
            }
            const std::string heading =
                table.is_list ? fmt::format("[[{}]]", table.name) : fmt::format("[{}]", table.name);
            const std::string text =
                fmt::format("{}\n{} = {}\n", heading, key.name, key.default_value);
            app::Mistakes mistakes;
            const app::Node document = app::read_document_text(text, "m.toml", mistakes);
            (void)app::read_configuration(document, "m.toml", mistakes);
            INFO(text);
            for (const std::string& line : mistakes.lines()) {
                INFO(line);
                CHECK(line.find(fmt::format(": {}:", key.name)) == std::string::npos);
            }
        }
    }
}

TEST_CASE("conf/mdfront.toml and the examples pass the check and make nothing") {
    std::vector<std::filesystem::path> files{source_root() / "conf/mdfront.toml"};
    for (const auto& entry : std::filesystem::directory_iterator(source_root() / "conf/examples")) {
        if (entry.path().extension() == ".toml") files.push_back(entry.path());
    }
    CHECK(files.size() >= 3);
    for (const auto& file : files) {
        app::Mistakes mistakes;
        const auto setup = app::load_setup(file, mistakes, test_now);
        INFO(fmt::format("{}", fmt::join(mistakes.lines(), "\n")));
        CHECK(setup.has_value());
    }
    CHECK_FALSE(std::filesystem::exists(source_root() / "conf/examples/md"));
}
