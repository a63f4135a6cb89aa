// Any bytes as md.json, which people and mod_md write, too. What must hold: what is read is written
// and read again as the same; what is refused says why.
#include "md/domain_json.h"

#include "base/result.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    auto stored = md::domain_from_json(text);
    if (!stored) {
        base::check(!stored.error().detail.empty());
        return 0;
    }
    base::check(!stored->domain.name.empty() && !stored->domain.names.empty());
    base::check(!stored->domain.key_specs().empty());
    const std::string written = md::domain_to_json(*stored);
    auto again = md::domain_from_json(written);
    base::check(again.ok());
    base::check(md::domain_to_json(*again) == written);
    base::check(again->domain.name == stored->domain.name);
    base::check(again->domain.names == stored->domain.names);
    base::check(again->domain.ca_urls == stored->domain.ca_urls);
    base::check(again->domain.contacts == stored->domain.contacts);
    base::check(again->domain.private_keys.size() == stored->domain.private_keys.size());
    base::check(again->state == stored->state);
    return 0;
}
