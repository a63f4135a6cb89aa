// JSON in this room: nlohmann's, in insertion order, read without exceptions. Included by .cc files
// only, so that the library stays out of the headers.
#pragma once

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"

namespace md {

using Json = nlohmann::ordered_json;

/// Reads a text; discarded() if it is no JSON or nested deeper than 64 (faults.md ST-08). `error`
/// says where it stops being JSON.
Json parse_json(std::string_view text, std::string& error);

struct StoredDomain;
struct Job;
/// What domain_to_json and job_to_json give as text, for status_json.
Json domain_to_json_value(const StoredDomain& stored);
Json job_to_json_value(const Job& job, bool with_log);

/// 2 spaces, no trailing newline (mod_md.md 3.5); bytes that are no UTF-8 are replaced.
std::string json_text(const Json& json);

/// A validity as mod_md has it: {"from": …, "until": …}.
Json period_json(base::Time from, base::Time until);

/// The member at a path of keys, or nullptr.
const Json* find(const Json& json, std::initializer_list<const char*> path);

/// Members of a type; the default if it is missing or of another type.
std::string string_at(const Json& json, std::initializer_list<const char*> path);
/// A text that is a secret, taken out of the JSON, which wipes its own; "" as string_at().
base::Secret take_secret(Json& json, std::initializer_list<const char*> path);
bool bool_at(const Json& json, std::initializer_list<const char*> path, bool otherwise);
int64_t int_at(const Json& json, std::initializer_list<const char*> path, int64_t otherwise);
std::optional<base::Time> time_at(const Json& json, std::initializer_list<const char*> path);
/// Strings of an array; other elements are skipped.
std::vector<std::string> strings_at(const Json& json, std::initializer_list<const char*> path);

}  // namespace md
