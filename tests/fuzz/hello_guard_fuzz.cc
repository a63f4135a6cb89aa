// Any bytes as the beginning of a connection; the first one says in what pieces they come. What
// must hold: the verdict is that of a guard that has all bytes at once and reads them in the
// plainest way, and the pieces do not matter.
#include "tls/hello_guard.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/result.h"

namespace tls {

namespace {

using base::check;

/// The length that the first handshake message claims; nullopt: it is not known, or there is none.
std::optional<size_t> claimed_length(std::span<const uint8_t> bytes) {
    std::vector<uint8_t> message;
    while (bytes.size() >= 5 && bytes[0] == 22) {
        const size_t size = static_cast<size_t>(bytes[3]) << 8 | bytes[4];
        const auto payload = bytes.subspan(5, std::min(size, bytes.size() - 5));
        message.insert(message.end(), payload.begin(), payload.end());
        if (message.size() >= 4) {
            return static_cast<size_t>(message[1]) << 16 | static_cast<size_t>(message[2]) << 8 |
                   message[3];
        }
        bytes = bytes.subspan(5 + payload.size());
    }
    return std::nullopt;
}

bool passes(std::span<const uint8_t> bytes, size_t step) {
    HelloGuard guard;
    bool passed = true;
    for (size_t at = 0; at < bytes.size() && passed; at += step) {
        passed = guard.pass(bytes.subspan(at, std::min(step, bytes.size() - at)));
    }
    return passed;
}

}  // namespace

}  // namespace tls

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const std::span<const uint8_t> bytes(data + 1, size - 1);
    const bool passes = tls::claimed_length(bytes).value_or(0) <= tls::HelloGuard::hello_bytes_max;
    for (const size_t step : {std::max<size_t>(1, bytes.size()), size_t{1}, size_t{1} + data[0]}) {
        base::check(tls::passes(bytes, step) == passes);
    }
    return 0;
}
