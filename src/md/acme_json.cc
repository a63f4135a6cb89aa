#include "md/acme_json.h"

#include <set>

#include "base/ip_address.h"
#include "base/text.h"

namespace md {

namespace {
constexpr int depth_max = 32;
}

std::optional<Json> parse_acme_json(std::string_view text) {
    bool refused = false;
    std::vector<std::set<std::string>> members;  // of the objects that are open
    const auto watch = [&](int depth, nlohmann::json::parse_event_t event, Json& parsed) {
        using Event = nlohmann::json::parse_event_t;
        if (depth > depth_max) refused = true;
        if (refused) return false;  // drops what follows instead of building it
        if (event == Event::object_start) members.emplace_back();
        if (event == Event::object_end) members.pop_back();
        if (event == Event::key && !members.back().insert(parsed.get<std::string>()).second) {
            refused = true;
        }
        return true;
    };
    Json json = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
    if (refused || json.is_discarded()) return std::nullopt;
    return json;
}

ObjectReader::ObjectReader(const Json& json, std::string what)
    : json_(json), what_(std::move(what)) {
    if (!json_.is_object()) fail("is not a JSON object");
}

void ObjectReader::fail(std::string_view text) {
    if (error_.empty()) error_ = what_ + " " + std::string(text);
}

const Json* ObjectReader::member(const char* key) const {
    if (!json_.is_object()) return nullptr;
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) return nullptr;
    return &*found;
}

std::string ObjectReader::required_string(const char* key) {
    std::string text = optional_string(key);
    if (text.empty()) fail(std::string("has no ") + key);
    return text;
}

std::string ObjectReader::optional_string(const char* key) {
    const Json* value = member(key);
    if (value == nullptr) return {};
    if (!value->is_string()) {
        fail(std::string("has a ") + key + " that is not a string");
        return {};
    }
    return value->get<std::string>();
}

bool ObjectReader::optional_bool(const char* key) {
    const Json* value = member(key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) {
        fail(std::string("has a ") + key + " that is not true or false");
        return false;
    }
    return value->get<bool>();
}

std::vector<std::string> ObjectReader::optional_strings(const char* key) {
    const Json* value = member(key);
    std::vector<std::string> texts;
    if (value == nullptr) return texts;
    if (!value->is_array()) {
        fail(std::string("has a ") + key + " that is not a list");
        return texts;
    }
    for (const Json& element : *value) {
        if (!element.is_string()) {
            fail(std::string("has something else than strings in ") + key);
            return {};
        }
        texts.push_back(element.get<std::string>());
    }
    return texts;
}

std::vector<Json> ObjectReader::required_objects(const char* key) {
    const Json* value = member(key);
    std::vector<Json> objects;
    if (value == nullptr || !value->is_array()) {
        fail(std::string("has no list of ") + key);
        return objects;
    }
    for (const Json& element : *value) {
        if (!element.is_object()) {
            fail(std::string("has something else than objects in ") + key);
            return {};
        }
        objects.push_back(element);
    }
    return objects;
}

const Json* ObjectReader::optional_object(const char* key) {
    const Json* value = member(key);
    if (value != nullptr && !value->is_object()) {
        fail(std::string("has a ") + key + " that is not an object");
        return nullptr;
    }
    return value;
}

Json make_identifier(const std::string& name) {
    return Json{{"type", base::is_ip_address(name) ? "ip" : "dns"}, {"value", name}};
}

std::optional<std::string> identified_name(const Json& identifier) {
    const std::string type = string_at(identifier, {"type"});
    const std::string value = string_at(identifier, {"value"});
    if (type == "dns" && !base::is_ip_address(value)) return base::to_lower(value);
    if (type != "ip") return std::nullopt;
    const std::optional<base::IpAddress> address = base::IpAddress::parse(value);
    return address ? std::optional(address->text()) : std::nullopt;
}

std::string cut_text(std::string_view text, size_t max) {
    if (text.size() <= max) return std::string(text);
    size_t end = max;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    return std::string(text.substr(0, end)) + "...";
}

}  // namespace md
