// One table of keys: the documentation and the examples say what the schema says.
#include <sstream>

#include "app/config/schema.h"
#include "app/config_support.h"
#include "base/text.h"
#include "catch.h"

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

namespace {

/// A row of docs/mod_md.md's table of directives.
struct Row {
    std::string directive, key, where, default_value;
};

std::string without_ticks(std::string_view cell) {
    std::string text(base::trim(cell));
    std::erase(text, '`');
    return text;
}

std::vector<Row> directive_rows() {
    std::vector<Row> rows;
    const std::string docs = content(source_root() / "docs/mod_md.md");
    for (const std::string_view line : base::split(docs, '\n')) {
        if (!line.starts_with("| `MD")) continue;
        const auto cells = base::split(line, '|');
        REQUIRE(cells.size() >= 6);
        rows.push_back({without_ticks(cells[1]), without_ticks(cells[2]), without_ticks(cells[3]),
                        without_ticks(cells[4])});
    }
    return rows;
}

const app::KeyText* key_in(std::string_view table, std::string_view name) {
    for (const app::TableText& candidate : app::schema()) {
        if (candidate.name != table) continue;
        for (const app::KeyText& key : candidate.keys) {
            if (key.name == name) return &key;
        }
    }
    return nullptr;
}

}  // namespace

TEST_CASE("docs/mod_md.md's table of directives and the schema have the same keys and defaults") {
    const std::vector<Row> rows = directive_rows();
    for (const Row& row : rows) {
        INFO(row.directive << " " << row.key);
        const app::KeyText* general = key_in("md", row.key);
        const app::KeyText* own = key_in("md.domain", row.key);
        CHECK((row.where == "[md]" || row.where == "[[md.domain]]" || row.where == "both"));
        CHECK((general != nullptr) == (row.where != "[[md.domain]]"));
        CHECK((own != nullptr) == (row.where != "[md]"));
        const app::KeyText* key = general != nullptr ? general : own;
        REQUIRE(key != nullptr);
        // Each names the other; a default that is not told is that of a directive further on.
        if (row.default_value.empty()) continue;
        CHECK(key->meaning.find(row.directive) != std::string_view::npos);
        CHECK((row.default_value == "none" ? "" : row.default_value) == key->default_value);
    }
    // The other way round: whatever the schema calls a directive has its row.
    for (const std::string_view table : {"md", "md.domain"}) {
        for (const app::TableText& candidate : app::schema()) {
            if (candidate.name != table) continue;
            for (const app::KeyText& key : candidate.keys) {
                const size_t at = key.meaning.find("(MD");
                if (at == std::string_view::npos) continue;
                INFO(table << "." << key.name);
                CHECK(std::any_of(rows.begin(), rows.end(),
                                  [&](const Row& row) { return row.key == key.name; }));
            }
        }
    }
}

TEST_CASE("every directive of mod_md has a row, and the example of all of them has its key") {
    // mod_md.md, section 1. Each is looked up by name, so that none is lost from the table.
    constexpr const char* directives[] = {"ActivationDelay",
                                          "BaseServer",
                                          "CAChallenges",
                                          "CACertificateFile",
                                          "CertificateAgreement",
                                          "CertificateAuthority",
                                          "CertificateCheck",
                                          "CertificateFile",
                                          "CertificateKeyFile",
                                          "CertificateMonitor",
                                          "CertificateProtocol",
                                          "CertificateStatus",
                                          "ChallengeDns01",
                                          "ChallengeDns01Version",
                                          "CheckInterval",
                                          "ContactEmail",
                                          "DriveMode",
                                          "ExternalAccountBinding",
                                          "HttpProxy",
                                          "HttpProxyCACertificateFile",
                                          "InitialDelay",
                                          "MatchNames",
                                          "Member",
                                          "Members",
                                          "MessageCmd",
                                          "MustStaple",
                                          "NotifyCmd",
                                          "omain",
                                          "PortMap",
                                          "PrivateKeys",
                                          "Profile",
                                          "ProfileMandatory",
                                          "RenewMode",
                                          "RenewViaARI",
                                          "RenewWindow",
                                          "RequireHttps",
                                          "RetryDelay",
                                          "RetryFailover",
                                          "ServerStatus",
                                          "StapleOthers",
                                          "Stapling",
                                          "StaplingKeepResponse",
                                          "StaplingRenewWindow",
                                          "StoreDir",
                                          "StoreLocks",
                                          "WarnWindow"};
    const std::vector<Row> rows = directive_rows();
    const std::string example = content(source_root() / "conf/examples/every-directive.toml");
    for (const char* name : directives) {
        const std::string directive = std::string("MD") + name;
        INFO(directive);
        const auto row = std::find_if(rows.begin(), rows.end(),
                                      [&](const Row& one) { return one.directive == directive; });
        REQUIRE(row != rows.end());
        // At the start of a line, or commented out.
        CHECK((example.find("\n" + row->key + " = ") != std::string::npos ||
               example.find("\n# " + row->key + " = ") != std::string::npos));
    }
    CHECK(rows.size() == std::size(directives));
}

TEST_CASE("print the tables of docs/configuration.md", "[.print]") {
    fmt::print("{}", app::schema_markdown());
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
