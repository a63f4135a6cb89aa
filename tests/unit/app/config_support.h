// What the tests of the configuration share: reading texts, and files to name in them.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "app/config/checks.h"
#include "app/config/configuration_reader.h"
#include "app/config/toml_reader.h"
#include "app/setup.h"

/// A directory that goes away with the object.
class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string path = std::filesystem::temp_directory_path() / "mdfront-test-XXXXXX";
        path_ = ::mkdtemp(path.data());
    }
    ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    std::string write(const std::string& name, const std::string& text) const {
        const std::string path = path_ + "/" + name;
        std::filesystem::create_directories(std::filesystem::path(path).parent_path());
        std::ofstream(path) << text;
        return path;
    }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

constexpr base::Time test_now{std::chrono::hours{24 * 20'000}};

/// What a text has wrong with it, as `mdfront check` says it for a file "m.toml".
struct Told {
    std::vector<std::string> mistakes;
    std::vector<std::string> warnings;
    app::Setup setup;
};

inline Told read_text(std::string_view text, const std::string& path = "m.toml") {
    app::Mistakes mistakes;
    const app::Node document = app::read_document_text(text, path, mistakes);
    const bool whole = !mistakes.any();
    Told told;
    app::Configuration configuration = app::read_configuration(document, path, mistakes);
    if (whole) {
        app::check_configuration(configuration, mistakes);
        told.setup = app::make_setup(std::move(configuration), mistakes, test_now);
    }
    told.mistakes = mistakes.lines();
    told.warnings = mistakes.warning_lines();
    return told;
}

/// The root of the sources.
inline std::filesystem::path source_root() {
    return std::filesystem::path(__FILE__).parent_path().parent_path().parent_path().parent_path();
}

/// A configuration without mistakes: tests add to it.
inline const std::string plain_site = R"([[listen]]
address = "*:8443"
protocol = "https"
[[listen]]
address = "*:8080"
protocol = "http"
[[site]]
hosts = ["plain.example.org"]
backend = "127.0.0.1:3000"
)";

/// One with a managed domain at the end; what is appended goes into its [[md.domain]].
inline const std::string managed_site = plain_site + R"([[site]]
hosts = ["a.example.org"]
backend = "127.0.0.1:3000"
[md]
certificate_agreement = "accepted"
contact_email = "ops@example.org"
port_map = ["80:8080", "443:8443"]
[[md.domain]]
names = ["a.example.org"]
)";
