// Reads TOML files into a Node. The only user of toml++.
#pragma once

#include <string>

#include "app/config/document.h"
#include "app/config/mistakes.h"

namespace app {

/// No configuration needs more; a wrong path must not fill the memory (faults.md CF-48).
constexpr size_t config_bytes_max = 64 * 1024 * 1024;
/// Tables within tables; ours need three.
constexpr int config_depth_max = 16;

/// The file and those that its `include` names, merged: tables by key, lists of tables one after
/// the other. A file that cannot be read or is no TOML is a mistake; the others are still read.
Node read_documents(const std::string& path, Mistakes& mistakes);

/// As read_documents() for a text that came from `path`; for tests.
Node read_document_text(std::string_view text, const std::string& path, Mistakes& mistakes);

}  // namespace app
