#include "md/json.h"

namespace md {

namespace {

constexpr int depth_max = 64;

/// Whether brackets outside of strings nest deeper than depth_max. Looked at before parsing: what
/// copies or prints a tree recurses.
bool too_deep(std::string_view text) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') {
                ++i;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > depth_max) return true;
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
    return false;
}

}  // namespace

Json parse_json(std::string_view text, std::string& error) {
    if (text.empty()) {
        error = "the file is empty";
        return Json(nlohmann::detail::value_t::discarded);
    }
    if (too_deep(text)) {
        error = "brackets are nested too deeply";
        return Json(nlohmann::detail::value_t::discarded);
    }
    try {
        return Json::parse(text);
    } catch (const Json::exception& e) {
        // "[json.exception.parse_error.101] parse error at line 1, column 3: …": without the tag,
        // and without an echo of bytes that may be secrets.
        std::string_view what = e.what();
        if (const size_t at = what.find("] "); at != std::string_view::npos) {
            what.remove_prefix(at + 2);
        }
        error = what.substr(0, what.find(';'));
        if (const size_t at = error.find(" - "); at != std::string::npos) error.resize(at);
        return Json(nlohmann::detail::value_t::discarded);
    }
}

Json period_json(base::Time from, base::Time until) {
    Json json;
    json["from"] = base::format_http_date(from);
    json["until"] = base::format_http_date(until);
    return json;
}

std::string json_text(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

const Json* find(const Json& json, std::initializer_list<const char*> path) {
    const Json* at = &json;
    for (const char* key : path) {
        if (!at->is_object()) return nullptr;
        const auto member = at->find(key);
        if (member == at->end()) return nullptr;
        at = &*member;
    }
    return at;
}

std::string string_at(const Json& json, std::initializer_list<const char*> path) {
    const Json* at = find(json, path);
    return at && at->is_string() ? at->get<std::string>() : "";
}

base::Secret take_secret(Json& json, std::initializer_list<const char*> path) {
    Json* at = &json;
    for (const char* key : path) {
        if (!at->is_object() || !at->contains(key)) return base::Secret();
        at = &(*at)[key];
    }
    if (!at->is_string()) return base::Secret();
    auto& text = at->get_ref<std::string&>();
    base::Secret secret(text);
    base::wipe(text);
    return secret;
}

bool bool_at(const Json& json, std::initializer_list<const char*> path, bool otherwise) {
    const Json* at = find(json, path);
    return at && at->is_boolean() ? at->get<bool>() : otherwise;
}

int64_t int_at(const Json& json, std::initializer_list<const char*> path, int64_t otherwise) {
    const Json* at = find(json, path);
    return at && at->is_number_integer() ? at->get<int64_t>() : otherwise;
}

std::optional<base::Time> time_at(const Json& json, std::initializer_list<const char*> path) {
    base::Time time{};
    if (base::parse_http_date(string_at(json, path), time)) return time;
    return std::nullopt;
}

std::vector<std::string> strings_at(const Json& json, std::initializer_list<const char*> path) {
    std::vector<std::string> strings;
    const Json* at = find(json, path);
    if (!at || !at->is_array()) return strings;
    for (const Json& element : *at) {
        if (element.is_string()) strings.push_back(element.get<std::string>());
    }
    return strings;
}

}  // namespace md
