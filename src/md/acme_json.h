// The CA's JSON, read with suspicion (faults.md CA-13), and ours for it. Private to the room's ACME
// sources.
#pragma once

#include "md/json.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace md {

/// nullopt: not JSON, not UTF-8, a member twice, or nested deeper than 32.
std::optional<Json> parse_acme_json(std::string_view text);

/// Reads the members of one object and remembers the first that is not as it has to be. Members
/// that nobody asks for are ignored (RFC 8555 section 7.1).
class ObjectReader {
  public:
    /// `json` must outlive the reader. `what` names the object in errors: "the order".
    ObjectReader(const Json& json, std::string what);

    /// "" if missing, empty or of another type; both errors.
    std::string required_string(const char* key);
    /// "" if missing or null; another type is an error.
    std::string optional_string(const char* key);
    bool optional_bool(const char* key);
    /// Missing: empty. Anything but an array of strings is an error.
    std::vector<std::string> optional_strings(const char* key);
    /// An array of objects; missing or another type is an error.
    std::vector<Json> required_objects(const char* key);
    /// nullptr if missing or null; another type than object is an error.
    const Json* optional_object(const char* key);

    void fail(std::string_view text);
    bool ok() const { return error_.empty(); }
    /// "the order has no finalize", or "".
    const std::string& error() const { return error_; }

  private:
    const Json* member(const char* key) const;

    const Json& json_;
    std::string what_;
    std::string error_;
};

/// The identifier of a name in an order: of type "ip" (RFC 8738) or "dns".
Json make_identifier(const std::string& name);
/// The name that an identifier is for, as domains have it, so that equal names are equal texts;
/// nullopt if its type is another, or its value no address.
std::optional<std::string> identified_name(const Json& identifier);

/// At most `max` bytes of UTF-8 text, cut between characters.
std::string cut_text(std::string_view text, size_t max);

}  // namespace md
