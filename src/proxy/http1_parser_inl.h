// Templates of http1_parser.h.
#pragma once

#include "base/text.h"

namespace proxy {

template <typename Each>
void for_each_element(std::string_view list, Each&& each) {
    while (!list.empty()) {
        const size_t comma = list.find(',');
        const std::string_view element = base::trim(list.substr(0, comma));
        if (!element.empty()) each(element);
        if (comma == std::string_view::npos) return;
        list.remove_prefix(comma + 1);
    }
}

}  // namespace proxy
