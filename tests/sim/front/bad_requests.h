// Requests that no server may see, or only the beginning of: a table of faults.md 2a in their full
// surroundings. What is to be refused is told by the ids there.
#pragma once

#include <string>
#include <string_view>

#include "dice.h"

namespace sim::front {

struct BadRequest {
    const char* fault;  // its id in faults.md
    std::string bytes;
    bool is_in_body;  // the head is fine
};

/// One of the table. `target` and `host` stand in it as those of the request, `hidden` as that of
/// one that stands in its body or behind it.
BadRequest make_bad_request(Dice& dice, std::string_view target, std::string_view host,
                            std::string_view hidden);

/// What is no TLS and no HTTP: other protocols, cut and false records (TL-06, TL-07, H1-54).
std::string make_garbage(Dice& dice);

/// Heads of responses that are none (BE-09 … BE-11), each with `mark` in a field: whoever passes
/// one on passes that on. Each is bad whatever was asked for.
std::string make_junk_response(Dice& dice, std::string_view mark);

}  // namespace sim::front
