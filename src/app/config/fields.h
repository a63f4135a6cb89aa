// Glue of the schema's tables: makes a key's reader out of a member and the reader of a value.
#pragma once

#include <type_traits>

#include "app/config/values.h"

namespace app {

template <typename Pointer>
struct MemberOf;
template <typename Owner, typename Value>
struct MemberOf<Value Owner::*> {
    using owner = Owner;
    using value = Value;
};
template <auto member>
using owner_of = typename MemberOf<decltype(member)>::owner;
template <auto member>
using value_of = typename MemberOf<decltype(member)>::value;

/// Assigns what `parse` makes of the node to the member; leaves it alone after a mistake.
template <auto member, auto parse>
void set(owner_of<member>& into, const Node& node, Reading& reading) {
    if (auto value = parse(node, reading)) into.*member = std::move(*value);
}

/// As set(), and keeps the key's place in another member.
template <auto member, auto place, auto parse>
void set_placed(owner_of<member>& into, const Node& node, Reading& reading) {
    into.*place = node.place;
    set<member, parse>(into, node, reading);
}

/// A number from low to high, in the member's type.
template <auto member, int64_t low, int64_t high>
void set_integer(owner_of<member>& into, const Node& node, Reading& reading) {
    if (const auto value = values::integer(node, reading, low, high)) {
        into.*member = static_cast<value_of<member>>(*value);
    }
}

/// A duration from low to high seconds.
template <auto member, int64_t low_s, int64_t high_s>
void set_duration(owner_of<member>& into, const Node& node, Reading& reading) {
    const auto value =
        values::duration(node, reading, std::chrono::seconds{low_s}, std::chrono::seconds{high_s});
    if (value) into.*member = *value;
}

/// A duration from low to high milliseconds, kept as a number of them.
template <auto member, int64_t low_ms, int64_t high_ms>
void set_milliseconds(owner_of<member>& into, const Node& node, Reading& reading) {
    const auto value =
        values::duration(node, reading, base::Duration{low_ms}, base::Duration{high_ms});
    if (value) into.*member = static_cast<uint32_t>(value->count());
}

/// A size from low to high bytes, in the member's type.
template <auto member, uint64_t low, uint64_t high>
void set_size(owner_of<member>& into, const Node& node, Reading& reading) {
    if (const auto value = values::size(node, reading, low, high)) {
        into.*member = static_cast<value_of<member>>(*value);
    }
}

}  // namespace app
